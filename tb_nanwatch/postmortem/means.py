# SPDX-License-Identifier: Apache-2.0
"""The functions of a backend that experiments need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from tb_nanwatch.postmortem.capsule import SavedVariable
from tb_nanwatch.postmortem.epsilon import Calls
from tb_nanwatch.postmortem.tape import Steps, Train


def by_eager_steps(model: Any, trains: bool) -> Train:
    """Returns a function that trains a model step by step, where Keras runs eagerly.

    Args:
        model: to be trained, or tested.
        trains: whether by `train_step`; else by `test_step`.
    """

    def train(batches: Sequence[Any]) -> Steps:
        step = model.train_step if trains else model.test_step
        for n in range(len(batches)):
            model.reset_metrics()
            logs = step(batches[n])
            yield 1, dict(logs) if isinstance(logs, dict) else {}

    return train


@dataclass(frozen=True)
class Means:
    """How a model's step is set up and run again on one backend.

    Attributes:
        tensors_of: returns a batch of arrays as a training step receives it.
        snapshot: returns the values of all that a training step can change.
        assign: sets a model to the values of a capsule.
        preserved: returns a context that restores the model when it ends.
        steps: takes a model and whether to train (else to test); returns a function that
            does so step by step, with the model's code and settings as they then are.
        calls: returns a context that alters an argument of operations of one type.
    """

    tensors_of: Callable[[Any], Any]
    snapshot: Callable[[Any], list[SavedVariable]]
    assign: Callable[[Any, list[SavedVariable]], object]
    preserved: Callable[[Any], AbstractContextManager[None]]
    calls: Calls
    steps: Callable[[Any, bool], Train] = by_eager_steps


def of_tensorflow() -> Means:
    """Returns TensorFlow's functions; TensorFlow is imported only when this is called."""
    from tb_nanwatch.postmortem import epsilon, rebuild, state

    return Means(
        rebuild.tensors_of,
        state.snapshot,
        state.assign,
        state.preserved,
        epsilon.of_tensorflow,
    )
