# SPDX-License-Identifier: Apache-2.0
"""The standard HParams records, for runs in which nobody else writes them."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

from tb_nanwatch.compat import tensorboard
from tb_nanwatch.record.schema import STATUSES, HParam, JSONScalar, Search, Status

STATUS_TAG: Final = "nanwatch/status"
SCORE_TAG: Final = "nanwatch/score"


def group_of(search: Search, trial_id: str) -> str:
    """Returns the name by which the HParams tab groups the executions of a trial.

    The tab merges trainings of one group, and trials of different searches share their ids.
    """
    return f"{search.name or search.tuner}/{search.id[:8]}/{trial_id}"


def session_start(hparams: Sequence[HParam], group: str | None, started: float) -> Any:
    """Returns the record with the values of one training's active hyperparameters.

    Args:
        hparams: the run's.
        group: by `group_of`; None for a run that is no trial's.
        started: seconds since the epoch.
    """
    values = {
        h.name: _readable(h.value) for h in hparams if h.active and h.value is not None
    }
    return tensorboard.session_start(values, group, started)


def _readable(value: JSONScalar) -> JSONScalar:
    # TensorBoard's HParams tab makes JSON of them, which holds no NaN: one of a single
    # run would leave the tab empty for all of them.
    finite = not isinstance(value, float) or math.isfinite(value)
    return value if finite else str(value)


def metrics(status: Status, score: float | None) -> list[Any]:
    """Returns the metrics that the HParams tab shows for a training that has ended.

    Args:
        status: of the training; its number is the place in STATUSES, the larger the worse.
        score: None where there is none. One that is not finite is left out: such a number
            would leave the tab empty for all of them.
    """
    named = ", ".join(f"{i} {name.replace('_', ' ')}" for i, name in enumerate(STATUSES))
    found = [tensorboard.scalar(STATUS_TAG, STATUSES.index(status), named)]
    if score is not None and math.isfinite(score):
        found.append(tensorboard.scalar(SCORE_TAG, score, "what the run is judged by"))
    return found


def written_by_others(callbacks: Iterable[Any], run_dir: str) -> bool:
    """Returns whether an HParams callback among `callbacks` writes into `run_dir`.

    KerasTuner adds one beside every callback whose class is named "TensorBoard",
    for the same directory; the HParams callback itself keeps no path.
    """
    callbacks = list(callbacks)
    hparams = sys.modules.get("tensorboard.plugins.hparams.api")
    if hparams is None or not any(
        isinstance(c, hparams.KerasCallback) for c in callbacks
    ):
        return False
    return any(
        type(c).__name__ == "TensorBoard"
        and os.path.abspath(str(getattr(c, "log_dir", ""))) == os.path.abspath(run_dir)
        for c in callbacks
    )
