# SPDX-License-Identifier: Apache-2.0
"""Changes of a training's data: its inputs and labels scaled, its rows or a batch replaced."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import keras
import numpy as np

from tb_nanwatch.diagnosis.rules.thresholds import at
from tb_nanwatch.postmortem import outliers
from tb_nanwatch.postmortem.changing import Altered, Apply, Case, NotApplicableError
from tb_nanwatch.record.schema import Outlier

# Rows that can be left out: more are no outliers.
_MOST_ROWS: Final = 100


def _parts(batch: Any) -> tuple[Any, Any, Any]:
    parts: tuple[Any, Any, Any] = keras.utils.unpack_x_y_sample_weight(batch)
    return parts


def _mapped(batch: Any, part: int, scales: list[Any], scale: Callable[..., Any]) -> Any:
    parts = list(_parts(batch))
    leaves = iter(scales)
    parts[part] = keras.tree.map_structure(
        lambda leaf: scale(leaf, next(leaves)), parts[part]
    )
    if isinstance(batch, tuple):
        return tuple(parts[: len(batch)])
    return keras.utils.pack_x_y_sample_weight(*parts)


def _leaves(case: Case, part: int) -> list[list[Any]]:
    """Returns for each leaf of inputs (0) or labels (1) its arrays, one per batch."""
    all_leaves = [keras.tree.flatten(_parts(batch)[part]) for batch in case.batches]
    return [list(leaf) for leaf in zip(*all_leaves, strict=True)]


def _is_real(leaf: Any) -> bool:
    return leaf is not None and leaf.dtype.kind == "f" and leaf.ndim > 0 and leaf.size > 0


def _spread(leaves: list[Any]) -> tuple[Any, Any] | None:
    """Returns mean and deviation of each column; None for a leaf that is not real-valued."""
    if not all(map(_is_real, leaves)):
        return None
    width = leaves[0].shape[-1] if leaves[0].ndim > 1 else 1
    rows = np.concatenate([leaf.reshape(-1, width) for leaf in leaves]).astype(np.float64)
    with np.errstate(all="ignore"):
        mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    return mean, np.where(deviation > 0, deviation, 1.0)


def _standardise(leaf: Any, spread: tuple[Any, Any] | None) -> Any:
    if spread is None:
        return leaf
    with np.errstate(all="ignore"):
        wide = leaf if leaf.ndim > 1 else leaf[:, None]
        scaled = ((wide.astype(np.float64) - spread[0]) / spread[1]).astype(leaf.dtype)
    return scaled.reshape(leaf.shape)


def _largest(leaves: list[Any]) -> float | None:
    if not all(map(_is_real, leaves)):
        return None
    largest = max(float(np.abs(leaf.astype(np.float64)).max()) for leaf in leaves)
    return largest if largest > 1 else None


def _divide(leaf: Any, by: float | None) -> Any:
    return leaf if by is None else (leaf / by).astype(leaf.dtype)


def scaled_data(inputs: bool, labels: bool) -> Apply:
    """Returns the change that scales inputs to mean 0 and deviation 1, labels to at most 1."""

    @contextlib.contextmanager
    def apply(case: Case) -> Iterator[Altered]:
        spreads = [_spread(leaf) for leaf in _leaves(case, 0)] if inputs else []
        sizes = [_largest(leaf) for leaf in _leaves(case, 1)] if labels else []
        if inputs and all(spread is None for spread in spreads):
            raise NotApplicableError("no input is a real number")
        if labels and all(size is None for size in sizes):
            raise NotApplicableError("no label is beyond 1")

        def data(batch: Any, n: int) -> Any:
            if inputs:
                batch = _mapped(batch, 0, spreads, _standardise)
            if labels:
                batch = _mapped(batch, 1, sizes, _divide)
            return batch

        yield Altered(data)

    return apply


@contextlib.contextmanager
def without_rows(case: Case) -> Iterator[Altered]:
    """Replaces each outlier row by a good row, in every batch that repeats it."""
    standing_out = [o for o in case.found.outliers if o.ago == 0] or case.found.outliers
    ago = standing_out[0].ago if standing_out else 0
    rows = sorted({row for o in standing_out if o.ago == ago for row in o.rows})
    rows = rows or list(case.found.rows)
    if not rows:
        raise NotApplicableError("no rows of the batch stand out")
    if ago > case.onset:
        raise NotApplicableError("the batch of the rows was not kept")
    failing = case.batches[case.onset - ago]
    leaves = keras.tree.flatten(failing)
    size = len(next(a for a in leaves if a is not None and a.ndim))
    good = np.setdiff1d(np.arange(size), rows)
    if not len(good) or len(rows) >= _MOST_ROWS:
        raise NotApplicableError("too many rows are bad")

    stand_in = [leaf[good[0]] if _has_rows(leaf, size) else None for leaf in leaves]
    contents = _contents(leaves, size)
    bad = {contents[row] for row in rows}

    def data(batch: Any, n: int) -> Any:
        # A later epoch brings the rows again, in another batch perhaps.
        mine = keras.tree.flatten(batch)
        sizes = [len(leaf) for leaf in mine if leaf is not None and leaf.ndim]
        contents = _contents(mine, sizes[0])
        alike = _as_far_out(batch, standing_out, sizes[0])
        again = [r for r, content in enumerate(contents) if content in bad or alike[r]]
        if not again:
            return batch
        changed = []
        for leaf, good_row in zip(mine, stand_in, strict=True):
            if good_row is not None:
                leaf = leaf.copy()
                # The compiled step wants a batch of the same size.
                leaf[again] = good_row
            changed.append(leaf)
        return keras.tree.pack_sequence_as(batch, changed)

    yield Altered(data)


def _as_far_out(batch: Any, standing_out: Sequence[Outlier], size: int) -> Any:
    """Returns bool [rows]: which rows are as far out as the outliers of another batch."""
    found = np.zeros(size, np.bool_)
    for name, leaf in outliers.leaves(batch):
        usual = [o.usual for o in standing_out if o.name == name and o.usual > 0]
        if usual and _has_rows(leaf, size) and _is_real(leaf):
            sizes = np.abs(leaf.astype(np.float64)).reshape(size, -1).max(axis=1)
            found |= np.isfinite(sizes) & (sizes >= at("outlier") * max(usual))
    return found


def _has_rows(leaf: Any, size: int) -> bool:
    return leaf is not None and leaf.ndim > 0 and len(leaf) == size


def _contents(leaves: Sequence[Any], size: int) -> list[bytes]:
    """Returns the content of each row of a batch."""
    parts = [leaf for leaf in leaves if _has_rows(leaf, size) and leaf.dtype.kind != "O"]
    return [b"".join(leaf[row].tobytes() for leaf in parts) for row in range(size)]


@contextlib.contextmanager
def last_good_batch(case: Case) -> Iterator[Altered]:
    """Replaces the failing batch by the batch before it."""
    if case.before is None:
        raise NotApplicableError("no batch before it was kept")
    yield Altered(lambda batch, n: case.before if n == case.onset else batch)
