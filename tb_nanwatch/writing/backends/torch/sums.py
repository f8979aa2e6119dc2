# SPDX-License-Identifier: Apache-2.0
"""Half sums of squares of tensors, and tensors as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
import torch

# Dtypes in whose sums NumPy does not overflow, and which it has.
_SUMMED_BY_NUMPY: Final = frozenset((torch.float32, torch.float64))


def half_sums(tensors: Sequence[Any]) -> list[float]:
    """Returns half the sum of squares of each tensor.

    Of tensors in a device's memory all are read at once, which waits for the device.

    Args:
        tensors: of floating-point or complex dtypes; half precision is summed in float32.
    """
    sums: list[float] = []
    elsewhere: list[int] = []
    for tensor in tensors:
        if tensor.is_cpu and tensor.dtype in _SUMMED_BY_NUMPY:
            sums.append(_half_sum(_elements(tensor)))
        else:
            elsewhere.append(len(sums))
            sums.append(0.0)
    if elsewhere:
        found = sums_there([tensors[i] for i in elsewhere]).tolist()
        for i, one in zip(elsewhere, found, strict=True):
            sums[i] = one
    return sums


class Lasting:
    """Tensors that live on from step to step, and where their elements lie: no copy is made.

    Args:
        tensors: as of `half_sums`.
    """

    def __init__(self, tensors: Sequence[Any]) -> None:
        self._tensors = tensors
        # Only of those whose memory says whether it is still theirs.
        self._known = [
            (t.data_ptr, t.data_ptr(), _elements(t))
            if t.is_cpu and t.dtype in _SUMMED_BY_NUMPY and t.numel() and not t.is_neg()
            else None
            for t in tensors
        ]

    def half_sums(self) -> list[float]:
        """Returns half the sum of squares of each of them as it is now."""
        sums: list[float] = []
        others: list[int] = []
        for known in self._known:
            if known is not None and known[0]() == known[1]:
                sums.append(_half_sum(known[2]))
            else:
                others.append(len(sums))
                sums.append(0.0)
        if others:
            found = half_sums([self._tensors[i] for i in others])
            for i, one in zip(others, found, strict=True):
                sums[i] = one
        return sums


def _half_sum(elements: npt.NDArray[Any]) -> float:
    # On a CPU a dot product of NumPy's costs half of PyTorch's norm. Of NumPy's this one
    # alone says nothing of an overflow: to have it kept quiet costs as much as a sum.
    return 0.5 * float(np.vdot(elements, elements))


def _elements(tensor: Any) -> npt.NDArray[Any]:
    # Half as dear as `detach` and then `numpy`.
    array: npt.NDArray[Any] = tensor.numpy(force=True)
    if array.flags.c_contiguous:
        return array
    # With its dimensions as they lie in memory no copy is made of it.
    return array.transpose(sorted(range(array.ndim), key=lambda d: -array.strides[d]))


def sums_there(tensors: Sequence[Any]) -> Any:
    """Returns half the sum of squares of each tensor, a tensor where they are.

    Nothing waits for the device.
    """
    with torch.no_grad():
        norms = torch.stack([_norm(tensor.detach()) for tensor in tensors])
        return (0.5 * norms * norms).float()


def _norm(tensor: Any) -> Any:
    if tensor.dtype in (torch.float16, torch.bfloat16):
        return torch.linalg.vector_norm(tensor, dtype=torch.float32).double()
    if not (tensor.is_complex() or tensor.dtype in _SUMMED_BY_NUMPY):  # float8
        tensor = tensor.float()
    return torch.linalg.vector_norm(tensor).double()


def array_of(tensor: Any) -> npt.NDArray[Any]:
    """Returns the elements of a tensor; on a CPU the array may share its memory."""
    tensor = tensor.detach()
    if tensor.device.type == "cpu" and tensor.dtype is not torch.bfloat16:
        found: npt.NDArray[Any] = tensor.resolve_conj().resolve_neg().numpy()
        return found
    return np.asarray(keras.ops.convert_to_numpy(tensor))
