# SPDX-License-Identifier: Apache-2.0
"""The health vector of a step: half the sum of squares of each tensor."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import jax
import jax.numpy as jnp
import keras
import numpy as np

from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.backends.jax.implied import implied
from tb_nanwatch.writing.backends.jax.tracing import Tracer
from tb_nanwatch.writing.backends.tracing import Found, in_causal_order
from tb_nanwatch.writing.recording.observer import Layout

# Tensors of at most so many elements are copied into one array, whose rows are summed:
# three operations for all of them, where each of its own would cost more than its sum.
_SMALL: Final = 1 << 14
# Elements of a row; none belongs to two tensors.
_ROW: Final = 64


def half_sums_of_squares(tensors: Sequence[Any]) -> Any:
    """Returns half the sum of squares of each tensor, [tensors] float32."""
    real = [_real(jnp.asarray(tensor)) for tensor in tensors]
    sums: dict[int, Any] = {}
    # On several devices the tensors may be spread out, each in its own way.
    if keras.distribution.distribution() is None:
        small = [
            i
            for i, tensor in enumerate(real)
            if 0 < tensor.size <= _SMALL and tensor.dtype == jnp.float32
        ]
        if len(small) > 1:
            together = _sums_together([real[i] for i in small])
            sums = {i: together[k] for k, i in enumerate(small)}
            if len(small) == len(real):
                return together
    return jnp.stack(
        [sums[i] if i in sums else _half_sum(tensor) for i, tensor in enumerate(real)]
    )


def _real(tensor: Any) -> Any:
    if jnp.iscomplexobj(tensor):
        tensor = jnp.abs(tensor)
    if tensor.dtype.itemsize < 4:  # half precision would overflow at 256
        tensor = tensor.astype(jnp.float32)
    return tensor


def _half_sum(tensor: Any) -> Any:
    return (0.5 * jnp.sum(tensor * tensor)).astype(jnp.float32)


def _sums_together(tensors: Sequence[Any]) -> Any:
    """Returns the sums of small float32 tensors.

    Whole rows are summed first; what is left of a tensor is a row's sum by itself. Nothing
    is filled up with zeros: XLA makes such constants in every step, and each is one more
    operation that can begin at once, of which a few make it wake other threads.
    """
    rows: list[Any] = []
    rests: list[Any] = []
    owners: list[int] = []
    owners_of_rests: list[int] = []
    for i, tensor in enumerate(tensors):
        flat = tensor.reshape(-1)
        whole = tensor.size // _ROW
        if whole:
            rows.append(flat[: whole * _ROW])
            owners += [i] * whole
        if rest := tensor.size - whole * _ROW:
            rests.append(flat[whole * _ROW :])
            owners_of_rests += [i] * rest
    parts: list[Any] = []
    if rows:
        of_rows = jnp.concatenate(rows).reshape(-1, _ROW)
        parts.append(jnp.sum(of_rows * of_rows, axis=1))
    if rests:
        single = jnp.concatenate(rests)
        parts.append(single * single)
    # Chosen, not multiplied: what is not finite in one is nothing to the others.
    whose = np.arange(len(tensors))[:, None] == np.array(owners + owners_of_rests)
    return 0.5 * jnp.sum(jnp.where(whose, jnp.concatenate(parts), 0), axis=1)


# Not by methods of its own: what is told is taken apart twice a step.
@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["logs", "values"],
    meta_fields=["layout", "owner"],
)
@dataclass
class Told:
    """What a step returns in the place of its logs.

    JAX keeps what is static of a traced function's result by each trace: so each call
    tells which trace it was.

    Attributes:
        logs: as the step returned them.
        values: [columns] float32 sums; of a step that looks all its tensors, one a source
            of the layout.
        layout: place of the trace's layout in `Layouts`; static.
        owner: id of the `Layouts`; static.
    """

    logs: Any
    values: Any
    layout: int
    owner: int


def plain_logs(logs: Any) -> Any:
    """Returns the logs of the step itself."""
    while isinstance(logs, Told):
        logs = logs.logs
    return logs


def told_to(layouts: Layouts, logs: Any) -> Told | None:
    """Returns what a step told by these layouts; None where it was traced without."""
    while isinstance(logs, Told):
        if logs.owner == id(layouts):
            return logs
        logs = logs.logs
    return None


class Layouts:
    """The layouts of a model's traces, each once."""

    def __init__(self) -> None:
        self._layouts: list[Layout] = []

    def __getitem__(self, place: int) -> Layout:
        return self._layouts[place]

    def place(self, layout: Layout) -> int:
        """Returns the place of a layout; it is added where it is new."""
        if layout not in self._layouts:
            self._layouts.append(layout)
        return self._layouts.index(layout)


def told(
    logs: Any,
    found: Sequence[Found],
    phase: Phase,
    tracer: Tracer,
    layouts: Layouts,
    *,
    looks: bool,
) -> Told:
    """Returns what a step returns in the place of its logs.

    Args:
        logs: its own.
        found: the tensors that it has met.
        phase: of the step.
        tracer: that met them.
        layouts: receives what the values stand for.
        looks: hand out the tensors, not their sums.
    """
    found = in_causal_order(found)
    unique = {id(f.tensor): f.tensor for f in found}
    unread = _values_of_losses(found)
    rest = [f for f in found if id(f.tensor) not in unread]
    unread |= implied(rest, tracer.scope())
    bad = {
        key: tracer.can_be_bad(tensor) and key not in unread
        for key, tensor in unique.items()
    }
    # Tensors that have a sum first: they are the columns.
    tensors = sorted(unique, key=lambda key: not bad[key])
    place = {key: i for i, key in enumerate(tensors)}
    n = sum(bad.values())
    sources = [place[id(f.tensor)] for f in found]
    layout = Layout(
        phase,
        [f.probe() for f in found],
        [source if source < n else -1 for source in sources],
        sources,
        n,
        False,
    )
    values: Any
    if looks:
        values = [unique[key] for key in tensors]
    elif n:
        values = half_sums_of_squares([unique[key] for key in tensors[:n]])
    else:
        values = jnp.zeros((0,), jnp.float32)
    return Told(logs, values, layouts.place(layout), id(layouts))


def _values_of_losses(found: Sequence[Found]) -> set[int]:
    """Returns ids of the losses of single examples, where the total is there.

    It is not finite if one of them is not. XLA makes them and their sum at once, and
    rounds otherwise where they are read.
    """
    losses = [f for f in found if f.kind == "loss"]
    total = {id(f.tensor) for f in losses if f.name == "total"}
    return {id(f.tensor) for f in losses} - total if total else set()
