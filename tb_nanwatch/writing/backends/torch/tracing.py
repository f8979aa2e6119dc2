# SPDX-License-Identifier: Apache-2.0
"""What PyTorch's tensors are to the tracer of a step."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

import keras
import numpy as np
import torch

from tb_nanwatch.record.schema import Kind
from tb_nanwatch.writing.backends import tracing
from tb_nanwatch.writing.backends.torch.sums import Lasting

# Steps after which a model's variables are listed again, for those that were made or given
# another tensor since: in Keras' Python the list costs a small model a tenth of its step.
REFRESH: Final = 16


class Listed:
    """The variables of a model that are met in each step, as they were listed.

    Attributes:
        found: they, in the order in which they are met.
        tensors: theirs.
        ids: of these.
        kind: the same for all lists of variables of the same names, shapes and dtypes.

    Args:
        found: as the attribute.
        kinds: of the lists before it.
    """

    def __init__(self, found: list[tracing.Found], kinds: dict[Any, int]) -> None:
        self.found = found
        self.tensors = tensors = [f.tensor for f in found]
        first: dict[int, int] = {}
        key = tuple(
            (f.kind, f.name, t.shape, t.dtype, first.setdefault(id(t), i))
            for i, (f, t) in enumerate(zip(found, tensors, strict=True))
        )
        self.kind = kinds.setdefault(key, len(kinds))
        self.ids = frozenset(first)

    @functools.cached_property
    def lasting(self) -> Lasting:
        """Their elements, known from step to step."""
        return Lasting(self.tensors)


class Tracer(tracing.Tracer):
    """Collects the tensors of the step that the calling thread is running."""

    def __init__(self, model: Any, note: Callable[[str], None]) -> None:
        super().__init__(model, note)
        self._kinds: dict[Any, int] = {}
        self.listed = Listed([], self._kinds)
        self._age = 0

    def add_variables(self) -> None:
        """Adds optimizer slots, weights and layer state."""
        self.add_found(self.list_variables().found)

    def list_variables(self) -> Listed:
        """Returns the optimizer slots, weights and layer state of a step that is over."""
        # A first step makes slots, and may make more.
        if self._age < 2 or self._age % REFRESH == 0:
            self.listed = Listed(
                [
                    tracing.Found(kind, name, layer, tensor)
                    for kind, name, layer, variable in self.variables()
                    if (tensor := self.tensor_of(variable)) is not None
                    and self.can_be_bad(tensor)
                ],
                self._kinds,
            )
        self._age += 1
        return self.listed

    def add(self, kind: Kind, name: str, layer: str, value: Any) -> None:
        """Adds one tensor, unless it cannot be watched."""
        if (
            type(value) is torch.Tensor  # as most are
            and value.is_floating_point()
            and value.layout is torch.strided
            and not value.is_meta
        ):
            self.add_tensor(kind, name, layer, value)
        else:
            super().add(kind, name, layer, value)

    def tensor_of(self, value: Any) -> Any:
        """Returns the tensor whose elements are the value's, None where it has none."""
        if isinstance(value, keras.Variable):
            value = value.value
        if isinstance(value, float | np.floating | np.ndarray):
            value = torch.as_tensor(value)
        if not isinstance(value, torch.Tensor) or value.is_meta:
            return None
        if value.layout is not torch.strided:
            return value.detach().coalesce().values() if value.is_sparse else None
        return value

    def can_be_bad(self, tensor: Any) -> bool:
        """Returns whether the tensor's dtype has non-finite values."""
        return bool(tensor.is_floating_point() or tensor.is_complex())

    def is_integer(self, tensor: Any) -> bool:
        """Returns whether the tensor is of integers."""
        return not self.can_be_bad(tensor) and tensor.dtype is not torch.bool

    def add_outputs(self, kind: Kind, name: str, layer: str, outputs: Any) -> None:
        """Adds every tensor of a nested structure; shapes are inferred without values."""
        if outputs is None:
            return
        if isinstance(outputs, torch.Tensor):  # as most are: a tree of PyTorch's is slow
            if not outputs.is_meta:
                if kind in ("activation", "prediction"):
                    name = self.numbered(kind, name)
                self.add(kind, name, layer, outputs)
            return
        leaves = [t for t in keras.tree.flatten(outputs) if isinstance(t, torch.Tensor)]
        if leaves and all(t.is_meta for t in leaves):
            return
        super().add_outputs(kind, name, layer, outputs)
