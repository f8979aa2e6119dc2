# SPDX-License-Identifier: Apache-2.0
"""Sentences on why a search was aborted, and how to continue; pure."""

from __future__ import annotations

from typing import Any, Final

from tb_nanwatch.wording.edit_text import REMINDER
from tb_nanwatch.wording.messages import of_traceback
from tb_nanwatch.wording.trial_names import number_of, trial_name

# Why a trial failed of which KerasTuner kept no message, and which had not gone bad. A
# retried one has its metrics already, so that it takes no new ones (KerasTuner 1.4.8).
KEPT_NAN: Final = "KerasTuner kept the NaN objective of an earlier attempt at this trial"
NO_MESSAGE: Final = "unwatched; KerasTuner gave no message: its objective was NaN"
FINITE_BUT_NAN: Final = (
    "its objective was NaN, although all that was watched stayed finite"
)


def goes_on_text(interrupted: bool, resumes: bool) -> str:
    """Returns how a search goes on that an exception ended.

    Args:
        interrupted: whether somebody stopped it by hand.
        resumes: whether KerasTuner can go on with it: not with a grid search.
    """
    why = (
        "The search was interrupted by hand; run it again"
        if interrupted
        else "The search ended with an exception of the program itself; correct it and "
        "run the search again"
    )
    return (
        f"{why} with overwrite=False to go on where it ended."
        if resumes
        else f"{why} with overwrite=True or a new project_name, since KerasTuner cannot "
        "go on with a grid search."
    )


def next_text(shared: bool, raised: int | None, resumes: bool) -> str:
    """Returns how to go on after trials that failed in a row, in short.

    Args:
        shared: whether they share a cause that no value of the space would mend.
        raised: the higher limit; None where it was at its last trial.
        resumes: as of `goes_on_text`.
    """
    if shared:
        return f"{REMINDER} A higher limit would only let more trials fail."
    if raised is None:
        return REMINDER
    if not resumes:
        return (
            f"{REMINDER} With max_consecutive_failed_trials={raised} it goes on after such "
            "trials."
        )
    return (
        f"{REMINDER} To go on where it ended instead: overwrite=False and "
        f"max_consecutive_failed_trials={raised}."
    )


def in_a_row_text(
    failed: tuple[int, int],
    limit: int,
    max_trials: int | None,
    shared: str,
    raised: int | None,
    resumes: bool,
) -> str:
    """Returns advice on trials that failed in a row, with reasons.

    Args:
        failed: how many, and how many of them by going bad.
        limit: so many end a search.
        max_trials: of the search.
        shared: the cause that they share and no value of the space would mend, in
            words; "" for none.
        raised, resumes: as of `next_text`.
    """
    count, bad = failed
    which = "These trials all" if bad == count else f"{bad} of these {count} trials"
    if count == 1:
        which = "This trial"
    told = (
        f"{which} went bad, and KerasTuner counts a NaN objective as a failure"
        if bad
        else f"The last {f'{count} trials' if count > 1 else 'trial'} failed, and not by going bad"
    )
    told += f"; after {limit if limit > 1 else 'one'}{' in a row' * (limit > 1)} it gives the whole search up."
    if shared:
        return (
            f"{told} They share their cause ({shared}), which does not lie in the search "
            "space. Correct it and search again, with overwrite=True or a new "
            "project_name; a higher limit would only let more trials fail."
        )
    if raised is None:
        return (
            f"{told} It was at the last of its {max_trials} trials, so that a higher "
            "limit would have let no more of them run: remove the cause, and search "
            "again with overwrite=True or a new project_name."
        )
    # A resumed grid search of KerasTuner 1.4 has lost its place in the grid: it ends at
    # once, or with a KeyError.
    how = (
        ": with overwrite=False the search then goes on where it ended. To narrow the "
        "search space to values that live as well, use overwrite=True or a new "
        "project_name (otherwise the old space is reloaded)."
        if resumes
        else ", and overwrite=True or a new project_name, since KerasTuner cannot go on "
        "with a grid search; narrow the search space to values that live as well."
    )
    return (
        f"{told} Remove the cause first. A higher limit only lets the search go on: give "
        f"the tuner max_consecutive_failed_trials={raised}{how}"
    )


def raised_failure_limit(limit: int, max_trials: int | None = None) -> int:
    """Returns the `max_consecutive_failed_trials` to set where `limit` ends searches.

    A trial costs little once it is known to fail: three times the limit, and 10 at
    least, lets a search through a bad corner of its space and still ends a broken one.
    A search of `max_trials` has no more of them to fail.
    """
    raised = max(10, 3 * limit)
    return raised if max_trials is None else min(raised, max_trials)


def before_abort(
    trial_id: str, message: str | None, limit: Any, max_trials: Any
) -> str | None:
    """Returns the setting that keeps the search from being aborted, None where it cannot be.

    Args:
        trial_id: of the first trial that failed.
        message: the traceback that KerasTuner keeps of it; None where its objective
            was NaN.
        limit: the tuner's `max_consecutive_failed_trials`.
        max_trials: the tuner's, None where it has none.
    """
    if not isinstance(limit, int) or limit < 1:
        return None
    if not isinstance(max_trials, int):
        max_trials = None
    elif max_trials <= limit:
        return None  # it could be given up at its end, if at all
    reason = of_traceback(message or "") or "its objective was NaN"
    times = f"{limit} trials in a row fail" if limit > 1 else "one trial fails"
    return (
        f"NaN Watch: {trial_name(trial_id, number_of(trial_id))} failed ({reason.rstrip('.')}). KerasTuner gives the "
        f"whole search up once {times}. To let it go on, give the tuner "
        f"max_consecutive_failed_trials={raised_failure_limit(limit, max_trials)}."
    )
