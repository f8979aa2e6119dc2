# SPDX-License-Identifier: Apache-2.0
"""Measures the health of one tensor: exact counts and ranges, in plain NumPy."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

# Elements converted at a time, so that a large tensor is never copied whole.
_CHUNK: Final = 1 << 13


class Health(NamedTuple):
    """The health of one tensor.

    Attributes:
        num_nan, num_pos_inf, num_neg_inf: exact element counts.
        size: elements in all.
        min, max: over the finite elements; NaN where there are none.
        sum_squares: over the finite elements, in float64.
        num_zero: elements equal to zero.
        row: index along the first axis of the first non-finite element; None where
            there is none, or for a scalar.
    """

    num_nan: int
    num_pos_inf: int
    num_neg_inf: int
    size: int
    min: float
    max: float
    sum_squares: float
    num_zero: int
    row: int | None

    @property
    def num_bad(self) -> int:
        """Non-finite elements in all."""
        return self.num_nan + self.num_pos_inf + self.num_neg_inf

    @property
    def rms(self) -> float:
        """Root mean square of the finite elements; NaN where there are none."""
        finite = self.size - self.num_bad
        return float(np.sqrt(self.sum_squares / finite)) if finite else float("nan")


def flat_real(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns the elements as one axis; of a complex array its real and imaginary parts."""
    if array.dtype.kind == "c":
        array = np.ascontiguousarray(array).view(array.real.dtype)
    return array.reshape(-1)


def health_of(tensor: npt.NDArray[Any] | Health) -> Health:
    """Returns the health of a tensor, or of one that was measured where it was met."""
    return tensor if isinstance(tensor, Health) else tensor_health(tensor)


def tensor_health(tensor: npt.ArrayLike) -> Health:
    """Returns the health of `tensor`.

    Args:
        tensor: an array of any shape, empty ones included, of a boolean, integer,
            real (bfloat16 as ml_dtypes has it too) or complex dtype. The elements
            of a complex one are its real and imaginary parts.
    """
    array: npt.NDArray[Any] = np.asarray(tensor)
    shape = array.shape
    flat = flat_real(array)
    if flat.size == 0:
        return Health(0, 0, 0, 0, np.nan, np.nan, 0.0, 0, None)
    num_nan = num_pos_inf = num_neg_inf = num_zero = 0
    low, high, sum_squares = np.inf, -np.inf, 0.0
    first_bad: int | None = None
    for start in range(0, flat.size, _CHUNK):
        part = flat[start : start + _CHUNK]
        if part.dtype.kind not in "fiu":  # bool, and bfloat16, whose kind is "V"
            part = part.astype(np.float32)
        smallest, largest = float(part.min()), float(part.max())
        num_zero += part.size - int(np.count_nonzero(part))
        # NumPy's min and max propagate NaN, so two finite ends prove all finite.
        if not (np.isfinite(smallest) and np.isfinite(largest)):
            finite = np.isfinite(part)
            num_nan += int(np.count_nonzero(np.isnan(part)))
            num_pos_inf += int(np.count_nonzero(np.isposinf(part)))
            num_neg_inf += int(np.count_nonzero(np.isneginf(part)))
            if first_bad is None:
                first_bad = start + int(np.argmin(finite))
            part = part[finite]
            if part.size == 0:
                continue
            smallest, largest = float(part.min()), float(part.max())
        low, high = min(low, smallest), max(high, largest)
        wide = part.astype(np.float64, copy=False)
        with np.errstate(over="ignore"):
            sum_squares += float(np.dot(wide, wide))
    any_finite = low <= high
    row = None
    if first_bad is not None and shape and shape[0]:
        row = first_bad // (flat.size // shape[0])
    return Health(
        num_nan,
        num_pos_inf,
        num_neg_inf,
        int(flat.size),
        low if any_finite else float("nan"),
        high if any_finite else float("nan"),
        sum_squares,
        num_zero,
        row,
    )
