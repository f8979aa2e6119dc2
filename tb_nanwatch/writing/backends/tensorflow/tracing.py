# SPDX-License-Identifier: Apache-2.0
"""The tensors that are met while TensorFlow traces a step, or runs it eagerly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tb_nanwatch.compat.tensorflow import tensor_id
from tb_nanwatch.writing.backends import tracing
from tb_nanwatch.writing.backends.tensorflow.ops import as_tensor, can_be_bad


class Tracer(tracing.Tracer):
    """Collects the tensors of the step that the calling thread is tracing."""

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
