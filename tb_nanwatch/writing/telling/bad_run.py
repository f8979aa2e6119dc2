# SPDX-License-Identifier: Apache-2.0
"""The argument of the `NanWatch(on_bad=...)` function: a run that went bad."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from tb_nanwatch.diagnosis.answer import Answer
from tb_nanwatch.record.schema import JSONScalar, Status
from tb_nanwatch.record.strict_json import JSONObject, json_safe


@dataclass(frozen=True)
class BadRun:
    """The facts about a run that went bad, after it has ended and was examined.

    Values of single rows of data are left out: the receiver may pass the facts on.

    Attributes:
        run: its name, "0003/execution0" in a search.
        log_dir: where it is logged, absolute.
        trial_id: of KerasTuner; None outside of a search.
        status: "diverged", "score_lost", "runaway" or "stalled".
        step: the first bad step, counted from 0; of a runaway its take-off.
        hparams: the run's hyperparameters.
        answer: what happened, why, what to change, and what was tested.
    """

    run: str
    log_dir: str
    trial_id: str | None
    status: Status
    step: int
    hparams: dict[str, JSONScalar]
    answer: Answer

    def to_dict(self) -> JSONObject:
        """Returns all fields as JSON values; non-finite numbers are strings."""
        told: JSONObject = json_safe(asdict(self))
        return told
