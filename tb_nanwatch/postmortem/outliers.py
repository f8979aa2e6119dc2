# SPDX-License-Identifier: Apache-2.0
"""Finite values of a batch that are far beyond all others of their column; NumPy alone.

A column is a place within an example: of a table its column, of a picture a pixel. Its
values are compared with those of the batches before, or, without any, with those of the
other rows of the same batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import keras
import numpy as np
import numpy.typing as npt

from tb_nanwatch.diagnosis.rules.thresholds import at
from tb_nanwatch.record.schema import Outlier

Floats = npt.NDArray[Any]

# Batches that the failing one's values are compared with.
EARLIER: Final = 64
# Rows that a record lists.
_MAX_ROWS: Final = 100
# A training that one batch throws off course goes bad within a few steps.
_MAX_AGO: Final = 8
# Columns are of different scales; below the scale of most, a small one proves nothing.
_LOW_SCALE: Final = 25


class Leaf(NamedTuple):
    """A tensor of the batch, named as the probes name it: "input['a']"."""

    name: str
    value: Any


class _Usual(NamedTuple):
    """The usual sizes of each column, from other batches or other rows.

    Attributes:
        largest: |value| of each column.
        scaled: columns with enough values other than zero to have a scale of their own.
        batches: earlier ones that this is taken from; 0 for the rest of the same batch.
    """

    largest: Floats
    scaled: npt.NDArray[np.bool_]
    batches: int


def leaves(data: Any) -> Iterator[Leaf]:
    """Yields the tensors of a batch as a training step receives it, with their names."""
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    for kind, tree in (("input", x), ("label", y), ("sample_weight", weight)):
        if tree is None:
            continue
        for path, leaf in keras.tree.flatten_with_path(tree):
            yield Leaf(kind + "".join(f"[{part!r}]" for part in path), leaf)


def find(data: Any, earlier: Sequence[Any] = ()) -> list[Outlier]:
    """Returns one record for each tensor of the batch that has outliers, the worst first.

    Args:
        data: the batch as a training step receives it; leaves may be None.
        earlier: batches before it, of the same structure.
    """
    before: dict[str, list[Any]] = {}
    for batch in earlier:
        for name, value in leaves(batch):
            before.setdefault(name, []).append(value)
    found = []
    for name, value in leaves(data):
        sizes = _sizes(value)
        if sizes is None:
            continue
        outlier = _of_tensor(name, np.asarray(value), sizes, before.get(name, ()))
        if outlier is not None:
            found.append(outlier)
    return sorted(found, key=lambda o: -abs(o.value) / o.usual)


def find_before(earlier: Sequence[Any]) -> list[Outlier]:
    """Returns the outliers, in the form of `find`, of the last of these batches that has any.

    Each is compared with those before it alone.
    """
    for ago in range(1, min(len(earlier), _MAX_AGO) + 1):
        found = find(earlier[-ago], earlier[: len(earlier) - ago])
        if found:
            return [replace(outlier, ago=ago) for outlier in found]
    return []


def _sizes(value: Any) -> Floats | None:
    """Returns |value| as a table of rows and columns, 0 where it is not finite.

    None for what is no array of real numbers with rows.
    """
    if value is None:
        return None
    array = np.asarray(value)
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        return None
    if not array.ndim or not array.size:
        return None
    if array.dtype.itemsize < 4:
        array = array.astype(np.float32)
    sizes: Floats = np.abs(array.reshape(len(array), -1))
    return np.where(np.isfinite(sizes), sizes, 0)


def _of_tensor(
    name: str, value: Floats, sizes: Floats, before: Sequence[Any]
) -> Outlier | None:
    most_rows = max(1, int(len(sizes) * at("outlier_rows")))
    usual = _earlier(value.shape[1:], before) or _other_rows(sizes, most_rows)
    if usual is None:
        return None
    limits = _limits(usual)
    with np.errstate(over="ignore"):
        out = sizes > at("outlier") * limits
    rows = np.flatnonzero(out.any(axis=1))
    if not len(rows) or len(rows) > most_rows:
        return None
    # The worst is the largest in terms of what is usual for its column.
    worst = np.where(out, sizes / limits, 0)
    row, column = np.unravel_index(int(np.argmax(worst)), worst.shape)
    place = np.unravel_index(int(column), value.shape[1:]) if value.ndim > 1 else ()
    return Outlier(
        name,
        [int(r) for r in rows[:_MAX_ROWS]],
        int(row),
        [int(i) for i in place],
        float(value.reshape(len(value), -1)[row, column]),
        float(limits[column]),
        usual.batches,
        int(out.sum()),
        len(value),
    )


def _earlier(shape: tuple[int, ...], before: Sequence[Any]) -> _Usual | None:
    """Returns the usual sizes in the batches before; None where no batch can be compared."""
    tables = [
        sizes
        for value in before
        if np.asarray(value).shape[1:] == shape and (sizes := _sizes(value)) is not None
    ]
    if not tables:
        return None
    largest = np.max([t.max(axis=0) for t in tables], axis=0)
    used = np.sum([np.count_nonzero(t, axis=0) for t in tables], axis=0)
    return _Usual(largest, used >= at("outlier_others"), len(tables))


def _other_rows(sizes: Floats, most_rows: int) -> _Usual | None:
    """Returns the usual sizes in the rows that are not outliers; None where these are too few.

    In each column that is what lies below the last gap among its largest values.
    """
    others = int(at("outlier_others"))
    first = len(sizes) - most_rows - others
    if first < 0:
        return None
    # The largest of each column that may be outliers, and those next to them.
    top = -np.sort(-np.partition(sizes, first, axis=0)[first:], axis=0)
    scaled = top[others - 1] > 0
    usual = np.where(scaled, top[0], 0)
    for n in range(1, most_rows + 1):
        gap = top[n - 1] > at("outlier") * top[n].astype(np.float64)
        usual = np.where(gap & (top[n + others - 1] > 0), top[n], usual)
    return _Usual(usual, scaled, 0)


def _limits(usual: _Usual) -> Floats:
    """Returns the usual size of each column, or the whole tensor's where a column tells too little.

    Where most columns are larger, a small one is no measure; a column of hardly anything
    but zeros has no scale of its own; and where all are such, nothing is an outlier.
    """
    known = usual.largest[usual.scaled]
    if not len(known):
        return np.full(usual.largest.shape, np.inf)
    low = np.percentile(known, _LOW_SCALE, method="nearest")
    least = np.where(usual.scaled, low, known.max())
    limits: Floats = np.maximum(usual.largest, least).astype(np.float64)
    return limits
