# SPDX-License-Identifier: Apache-2.0
"""Earlier trainings of a model in this process: a `fit` may continue with their weights."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

from tb_nanwatch.record.schema import Status


@dataclass
class Training:
    """One watched training of a model.

    Attributes:
        session_id: of its records.
        run_dir: where they are.
        fit: which `fit` of its run it was, from 0.
        status: how far non-finite values had reached when it ended.
    """

    session_id: str
    run_dir: str
    fit: int
    status: Status = "unwatched"


_TRAININGS: weakref.WeakKeyDictionary[Any, Training] = weakref.WeakKeyDictionary()


def training_of(model: Any) -> Training | None:
    """Returns the last watched training of `model`, None where there was none."""
    return _TRAININGS.get(model)


def begin(model: Any, training: Training) -> None:
    """Notes that a training of `model` begins."""
    _TRAININGS[model] = training
