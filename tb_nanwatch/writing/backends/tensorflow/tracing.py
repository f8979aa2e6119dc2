# SPDX-License-Identifier: Apache-2.0
"""The tensors that are met while TensorFlow traces a step, or runs it eagerly."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tb_nanwatch.compat.tensorflow import tensor_id
from tb_nanwatch.record.schema import Kind
from tb_nanwatch.writing.backends import tracing
from tb_nanwatch.writing.backends.tensorflow.ops import as_tensor, can_be_bad
from tb_nanwatch.writing.recording.health import Health, tensor_health


@dataclass(eq=False)
class Measured:
    """Stands for an eager tensor that was measured and let go of."""

    shape: Any
    dtype: Any
    health: Health


def array_of(tensor: Any) -> npt.NDArray[Any]:
    """Returns the elements of an eager tensor, which on CPU are not copied."""
    if tensor.shape.rank == 0:  # TensorFlow makes no array of one number in bfloat16
        return np.asarray(tensor.numpy())
    return np.asarray(tensor)


class Tracer(tracing.Tracer):
    """Collects the tensors of the step that the calling thread is tracing.

    Attributes:
        measures: measures what layers return as it is met, and does not hold it: an eager
            step then needs no more memory than it does unwatched.
    """

    def __init__(self, model: Any, note: Callable[[str], None]) -> None:
        super().__init__(model, note)
        self.measures = False
        # By the ids of tensors, for as long as these live: a tensor that is met once more
        # is the same one.
        self._measured: dict[int, tuple[weakref.ref[Any], Measured]] = {}

    def add(self, kind: Kind, name: str, layer: str, value: Any) -> None:
        """Adds one tensor, unless it cannot be watched."""
        before = len(self.found)
        super().add(kind, name, layer, value)
        if self.measures and len(self.found) > before:
            *others, last = self.found
            tensor = last.tensor
            ref, known = self._measured.get(id(tensor), (lambda: None, None))
            if ref() is tensor:
                last.tensor = known
            elif kind == "activation" and all(f.tensor is not tensor for f in others):
                known = Measured(
                    tensor.shape, tensor.dtype, tensor_health(array_of(tensor))
                )
                self._measured[id(tensor)] = weakref.ref(tensor), known
                last.tensor = known

    def tensor_of(self, value: Any) -> Any:
        """Returns the tensor whose elements are the value's, None where it has none."""
        return as_tensor(value)

    def can_be_bad(self, tensor: Any) -> bool:
        """Returns whether the tensor's dtype has non-finite values."""
        return can_be_bad(tensor)

    def is_integer(self, tensor: Any) -> bool:
        """Returns whether the tensor is of integers."""
        return bool(tensor.dtype.is_integer)

    def scope(self) -> Any:
        """Returns the graph that is being built, None where operations run eagerly."""
        return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()

    def is_of(self, tensor: Any, scope: Any) -> bool:
        """Returns whether a tensor belongs to a graph; one that is eager has none."""
        return getattr(tensor, "graph", None) is scope

    def places(self, scope: Any) -> Callable[[Any], int]:
        """Returns what tells the place of a tensor in the order in which they were made."""
        operations = [] if scope is None else scope.get_operations()
        places = {operation.name: i for i, operation in enumerate(operations)}

        def place_of(tensor: Any) -> int:
            if places:
                return places.get(tensor.op.name, len(places))
            return tensor_id(tensor, 0)

        return place_of
