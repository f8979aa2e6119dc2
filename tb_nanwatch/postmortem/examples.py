# SPDX-License-Identifier: Apache-2.0
"""Finds which examples of the data given to `fit` the rows of a batch are."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, Final

import keras
import numpy as np

from tb_nanwatch.postmortem.capsule import Capsule
from tb_nanwatch.record.schema import Example, PostMortem

# More rows are not looked for.
_MOST_ROWS: Final = 5
# Number of values by which examples are preselected before they are compared in full.
_FIRST_VALUES: Final = 16
# More that may be the row are not compared.
_MOST_ALIKE: Final = 1000


def find(given: Any, batch: Any, rows: Iterable[int]) -> list[Example]:
    """Returns which examples some rows of a batch are, found by content in shuffled data.

    A row is told by what is in it: of one that stands in the data twice, or was changed on
    its way, nothing is said.

    Args:
        given: what `fit` was given as x and y; arrays alone are searched.
        batch: the batch, leaves are arrays.
        rows: of it.
    """
    whole = [leaf for leaf in keras.tree.flatten(given) if leaf is not None]
    x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
    parts = [leaf for leaf in keras.tree.flatten((x, y)) if leaf is not None]
    pairs = list(zip(whole, parts, strict=False))
    if len(whole) != len(parts) or not all(_match(w, p) for w, p in pairs):
        return []
    if len({len(w) for w in whole}) != 1:
        return []
    found = []
    for row in list(dict.fromkeys(rows))[:_MOST_ROWS]:
        alike = np.arange(len(whole[0]))
        for array, part in pairs:
            alike = _alike(array, part[row], alike)
        if len(alike) == 1:
            found.append(Example(row, int(alike[0])))
    return found


def examples_of(given: Any, capsule: Capsule, found: PostMortem) -> list[Example]:
    """Returns which examples the rows named in a post-mortem are.

    Args:
        given: what `fit` was given as x and y.
        capsule: the failing step.
        found: its post-mortem.
    """
    if given is None or not capsule.has_batch or capsule.replicas > 1:
        return []  # a replica's row numbers count within its share of the batch
    far_out = [o.row for o in found.outliers if not o.ago]
    return find(given, capsule.data, [*far_out, *found.rows])


def _match(whole: Any, part: Any) -> bool:
    return (
        isinstance(whole, np.ndarray)
        and isinstance(part, np.ndarray)
        and whole.ndim > 0
        and whole.dtype.kind in "fiub"
        and part.dtype.kind in "fiub"
        # Keras gives labels of one dimension another one.
        and whole.shape[1:] in (part.shape[1:], (*part.shape[1:], 1), part.shape[1:-1])
        and int(np.prod(whole.shape[1:])) == int(np.prod(part.shape[1:]))
    )


def _alike(whole: Any, row: Any, among: Any) -> Any:
    """Returns the examples, among some, whose values equal those of a row."""
    row = np.asarray(row).reshape(whole.shape[1:])
    # A whole data set is not copied: value by value, then what is left in full.
    places = itertools.islice(np.ndindex(*whole.shape[1:]), _FIRST_VALUES)
    for place in places:
        among = among[_equal(whole[(among, *place)], row[place])]
    if not 0 < len(among) <= _MOST_ALIKE:
        return among[:0]
    same = _equal(whole[among], row).reshape(len(among), -1).all(axis=1)
    return among[same]


def _equal(values: Any, to: Any) -> Any:
    """Returns where values are the same once Keras has cast them; NaN is NaN."""
    to = np.asarray(to)
    with np.errstate(all="ignore"):
        cast = values.astype(to.dtype)
    if to.dtype.kind != "f":
        return np.asarray(cast == to)
    return np.asarray((cast == to) | (np.isnan(cast) & np.isnan(to)))
