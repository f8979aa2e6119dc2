# SPDX-License-Identifier: Apache-2.0
"""Trains the extra trials of `NanWatch(confirm=...)` at the end of a search."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

import keras
import numpy as np

from tb_nanwatch.compat.kerastuner import built, is_shared, trains_by_itself
from tb_nanwatch.confirming.draw import least_p, p_value_of, sides_of
from tb_nanwatch.errors import NanWatchError, warn
from tb_nanwatch.postmortem.state import random_state_kept
from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.reading.report import logs
from tb_nanwatch.reading.search.hint import Hint, hint_of
from tb_nanwatch.reading.search.outcomes import trials_to_compare
from tb_nanwatch.record.schema import BAD_STATUSES, ConfirmationRecord, ShortTrial
from tb_nanwatch.stability.coordinates import Coordinates, Values
from tb_nanwatch.stability.trial import LOOK_STEPS, by_name, train
from tb_nanwatch.wording.finding_text import LEVEL, confirmation_text
from tb_nanwatch.wording.messages import of_error
from tb_nanwatch.wording.text import clean
from tb_nanwatch.writing.log.files import resolved
from tb_nanwatch.writing.log.summary import EventWriter
from tb_nanwatch.writing.search import identities
from tb_nanwatch.writing.search.tuner import declared

# The run that holds the confirmation's result, beside the trials' runs.
RUN: Final = "confirmation"
# A trial has twice the steps after which the search's trials had gone bad, within these.
_STEPS: Final = 2
_LEAST_STEPS: Final = 2 * LOOK_STEPS
_MOST_STEPS: Final = 1_000


class CannotConfirmError(NanWatchError):
    """The extra trials cannot be trained, or would prove nothing."""


def confirm(
    tuner: Any, log_dir: str, count: int, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> str:
    """Trains short trials on both sides of a search's hint, and logs how many went bad.

    Args:
        tuner: KerasTuner's; its search has ended, or is about to be given up.
        log_dir: of the search's `NanWatch`.
        count: of trials.
        args, kwargs: that its trials were trained with.

    Returns:
        What came of it, in a sentence; empty where there was no hint, or a warning has
        said why none could be tested.
    """
    try:
        _check(tuner, count)
        hint, sessions = _hint(tuner, log_dir)
        if hint is None:
            return ""
        record = _tested(tuner, hint, sessions, count, by_name(args, kwargs))
    except CannotConfirmError as e:
        warn(f"NaN Watch: confirm={count} tested nothing: {e}")
        return ""
    except Exception as e:
        warn(f"NaN Watch: confirm={count} could not test the hint: {of_error(e)}")
        return ""
    try:
        writer = EventWriter(os.path.join(resolved(log_dir), RUN))
        writer.write(record)
        writer.close()
    except Exception as e:
        warn(f"NaN Watch could not log what the short trials came to: {of_error(e)}")
    return confirmation_text(record)


def _check(tuner: Any, count: int) -> None:
    """Raises CannotConfirmError where no extra trials can be trained for this search."""
    if is_shared(tuner):
        raise CannotConfirmError(
            "a worker of a distributed search does not know the others' trials. Search "
            "with one worker, or try values on both sides of the report's hint yourself."
        )
    if not trains_by_itself(tuner):
        raise CannotConfirmError(
            "its models are trained by a fit or run_trial of your own, and not by "
            "KerasTuner's, so that nobody else can train one shortly."
        )
    if least_p(count) > LEVEL * (1 + 1e-9):
        raise CannotConfirmError(
            f"{count} trials prove nothing, whatever becomes of them (p >= "
            f"{least_p(count):.2g}); give at least 6."
        )


def _hint(tuner: Any, log_dir: str) -> tuple[Hint | None, list[Session]]:
    """Returns the hint as the report has it, and the search's sessions."""
    search_id, _ = identities.of(tuner)
    found = logs.read(log_dir)
    sessions = [s for s in found.sessions if s.search_id == search_id]
    direction = next(s.direction for s in found.full.searches if s.search == search_id)
    return hint_of(trials_to_compare(sessions, found.causes), direction), sessions


def _tested(
    tuner: Any,
    hint: Hint,
    sessions: Sequence[Session],
    count: int,
    given: tuple[Sequence[Any], dict[str, Any]],
) -> ConfirmationRecord:
    steps = _steps_of(sessions)
    search_id, _ = identities.of(tuner)
    # All that is to be decided is decided here, before the first of them is trained.
    space = Coordinates.of(declared(tuner.oracle.get_space()))
    sides = sides_of(space, hint, count, np.random.default_rng(0))
    if sides is None:
        raise CannotConfirmError(
            f"the search space has no values on both sides of {hint.text}."
        )
    with contextlib.suppress(Exception):  # standard output may be closed
        print(
            f"NaN Watch: {count} more trials of at most {steps:,} steps, {count // 2} of "
            f"them with {clean(hint.text)}, test that hint.",
            flush=True,
        )
    began = time.monotonic()
    with random_state_kept(keras.backend.backend() == "tensorflow"):
        trials = [_trained(tuner, inside, v, steps, given) for inside, v in sides]
    return ConfirmationRecord(
        uuid.uuid4().hex[:16],
        0,
        search_id=search_id,
        condition=hint.text,
        other=hint.other,
        trials=trials,
        p_value=p_value_of(trials),
        steps=steps,
        seconds=time.monotonic() - began,
        written_at=time.time(),
    )


def _steps_of(sessions: Sequence[Session]) -> int:
    """Returns how many steps a trial needs to go bad as the search's bad trials did.

    Raises:
        CannotConfirmError: most of them went bad later than a short trial lasts.
    """
    onsets = sorted(
        s.status.onset.step + 1
        for s in sessions
        if s.status.status in BAD_STATUSES and s.status.onset is not None
    )
    usual = onsets[len(onsets) // 2] if onsets else 0
    if usual >= _MOST_STEPS:
        raise CannotConfirmError(
            f"half of the bad trials went bad after step {usual:,} or later, and a short "
            f"trial has at most {_MOST_STEPS:,} steps."
        )
    latest = onsets[-1] if onsets else 0
    return min(max(_STEPS * latest, _LEAST_STEPS), _MOST_STEPS)


def _trained(
    tuner: Any,
    inside: bool,
    values: Values,
    steps: int,
    given: tuple[Sequence[Any], dict[str, Any]],
) -> ShortTrial:
    hyperparameters = tuner.oracle.get_space()
    hyperparameters.values = dict(values)
    model = built(tuner, hyperparameters)
    fit = functools.partial(tuner.hypermodel.fit, hyperparameters, model)
    args, kwargs = given
    # The user's callbacks are for the search's own trials: they may save or report.
    kwargs = {k: v for k, v in kwargs.items() if k not in ("callbacks", "initial_epoch")}
    # Its log is no part of the search: its results are in one record.
    with tempfile.TemporaryDirectory(prefix="nanwatch") as place:
        outcome = train(fit, place, steps, args, kwargs | {"verbose": 0})
    return ShortTrial(dict(values), inside, outcome.bad, outcome.steps)
