# SPDX-License-Identifier: Apache-2.0
"""The tensors that are met while JAX traces a step, or runs it eagerly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from tb_nanwatch.compat import jax as private
from tb_nanwatch.record.schema import Kind
from tb_nanwatch.writing.backends import tracing


class Tracer(tracing.Tracer):
    """Collects the tensors of the step that the calling thread is tracing.

    Layers run inside of `jax.grad`, but its tracers hold the value that the step around
    it computes: that one is taken, so nothing has to be handed out through the state.
    What runs in a trace of its own (a loop, a branch, a rematerialized block, a function
    that is compiled by itself) is not of the step.
    """

    def __init__(self, model: Any, note: Any) -> None:
        super().__init__(model, note)
        self._step: Any = None
        self._values: dict[int, Any] = {}

    def begin(self, state: Any, data: Any) -> None:
        """Says that a step is about to be traced (or run) with these arguments."""
        self._values = {}
        self._step = None
        for leaf in jax.tree.leaves((state, data)):
            if isinstance(leaf, jax.core.Tracer):
                self._step = private.trace_of(leaf)
                return

    def know(self, variables: Sequence[Any], values: Sequence[Any]) -> None:
        """Learns the values that variables have as the step ends."""
        self._values.update(
            (id(variable), value)
            for variable, value in zip(variables, values, strict=True)
        )

    # --- What a backend says ----------------------------------------------------

    def tensor_of(self, value: Any) -> Any:
        """Returns the tensor whose elements are the value's, None where it has none."""
        if isinstance(value, keras.Variable):
            value = self._values.get(id(value))
        if isinstance(value, float | np.floating | np.ndarray):
            return np.asarray(value)
        if not isinstance(value, jax.Array):
            return getattr(value, "data", None) if _is_sparse(value) else None
        if isinstance(value, jax.core.Tracer):
            return private.without_derivative(value)
        return value

    def can_be_bad(self, tensor: Any) -> bool:
        """Returns whether the tensor's dtype has non-finite values."""
        return bool(jnp.issubdtype(tensor.dtype, jnp.inexact))

    def is_integer(self, tensor: Any) -> bool:
        """Returns whether the tensor is of integers."""
        return bool(jnp.issubdtype(tensor.dtype, jnp.integer))

    def scope(self) -> Any:
        """Returns the trace of the step, None where it runs eagerly."""
        return self._step

    def is_of(self, tensor: Any, scope: Any) -> bool:
        """Returns whether a tensor is the step's own, and not of a trace within it."""
        if not isinstance(tensor, jax.core.Tracer):
            return True  # a constant, or a step that runs eagerly
        return scope is not None and private.trace_of(tensor) is scope

    def seen_layers(self) -> set[str]:
        """Returns the layers of which an output was met in the step itself."""
        # A gradient of theirs is met even where they run in a trace of their own.
        kinds = ("activation", "prediction")
        return {f.layer for f in self.found if f.kind in kinds}

    def add_outputs(self, kind: Kind, name: str, layer: str, outputs: Any) -> None:
        """Adds every tensor of a nested structure."""
        if kind in ("activation", "prediction"):
            tensors = [self.tensor_of(leaf) for leaf in keras.tree.flatten(outputs)]
            scope = self.scope()
            if not all(t is None or self.is_of(t, scope) for t in tensors):
                self.leave_out(layer)  # it counts as no call of the step
                return
        super().add_outputs(kind, name, layer, outputs)

    def add_if_new(self, kind: Kind, name: str, layer: str, outputs: Any) -> None:
        """Adds the outputs of a layer, unless they were met as its call returned them."""
        known = {id(f.tensor) for f in self.found}
        tensors = [self.tensor_of(leaf) for leaf in keras.tree.flatten(outputs)]
        if not all(id(tensor) in known for tensor in tensors):
            self.add_outputs(kind, name, layer, outputs)


def _is_sparse(value: Any) -> bool:
    from jax.experimental import sparse

    return isinstance(value, sparse.JAXSparse)
