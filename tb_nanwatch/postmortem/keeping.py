# SPDX-License-Identifier: Apache-2.0
"""Runs a step eagerly again in TensorFlow, and keeps the values of some operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tb_nanwatch.postmortem.again import Run
from tb_nanwatch.postmortem.chain import Ran
from tb_nanwatch.postmortem.watch import eager_operations


def by(step: Callable[[Any], Any]) -> Run:
    """Returns a function that runs a step again and returns the operations asked for.

    Args:
        step: runs the failing step's kind of step on a batch of tensors.
    """

    def run(restore: Callable[[], Any], data: Any, wanted: set[int]) -> dict[int, Ran]:
        restore()
        keeper = _Keeper(wanted)
        with eager_operations(keeper):
            step(data)
        return keeper.kept()

    return run


class _Keeper:
    """Keeps the tensors of some operations, by their number in the order of the step."""

    def __init__(self, wanted: set[int]) -> None:
        self._wanted = wanted
        self._count = 0
        self._kept: dict[int, tuple[str, list[Any], list[Any]]] = {}

    def __call__(
        self,
        op_type: Any,
        inputs: Sequence[Any],
        attrs: Any,
        outputs: Sequence[Any],
        op_name: Any = None,
        graph: Any = None,
    ) -> None:
        if graph is not None:
            return
        self._count += 1
        if self._count in self._wanted:
            name = op_type.decode() if isinstance(op_type, bytes) else str(op_type)
            self._kept[self._count] = (name, list(inputs), list(outputs))

    def kept(self) -> dict[int, Ran]:
        return {
            number: Ran(
                name, [_array(t) for t in inputs], [_array(t) for t in outputs or ()]
            )
            for number, (name, inputs, outputs) in self._kept.items()
        }


def _array(tensor: Any) -> Any:
    if tensor.dtype in (tf.resource, tf.variant, tf.string):
        return None
    return tensor.numpy()
