# SPDX-License-Identifier: Apache-2.0
"""Non-finite elements of arrays, counted. Pure."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tb_nanwatch.postmortem.flow import Counts

# Rows that a record lists.
MAX_ROWS: Final = 100


def count(value: Any) -> Counts:
    """Returns how many elements of an array are not finite."""
    value = np.asarray(value)
    with np.errstate(all="ignore"):
        if value.dtype.kind == "f" and value.dtype.itemsize >= 4:
            flat = value.reshape(-1)
            if np.isfinite(np.dot(flat, flat)):  # no copy, and nearly always enough
                return Counts()
        if value.dtype.kind == "c":  # counted by parts, as everywhere
            value = np.ascontiguousarray(value).view(value.real.dtype)
        if np.isfinite(value).all():
            return Counts()
        return Counts(
            int(np.isnan(value).sum()),
            int((value == np.inf).sum()),
            int((value == -np.inf).sum()),
        )


def bad_rows(value: Any) -> list[int]:
    """Returns the indices along the first axis at which `value` is not finite."""
    if not value.ndim or not value.size:
        return []
    bad = ~np.isfinite(value).reshape(len(value), -1)
    return [int(i) for i in np.flatnonzero(bad.any(axis=1))[:MAX_ROWS]]
