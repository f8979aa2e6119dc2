# SPDX-License-Identifier: Apache-2.0
"""The advice printed at the first failed trial of a search; pure."""

from __future__ import annotations

from typing import Any

from tb_nanwatch.diagnosis.ranking import raised_failure_limit
from tb_nanwatch.wording.messages import of_traceback
from tb_nanwatch.wording.trial_names import number_of, trial_name


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
