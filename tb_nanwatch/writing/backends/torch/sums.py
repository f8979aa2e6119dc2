# SPDX-License-Identifier: Apache-2.0
"""Half sums of squares of tensors, and tensors as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
import torch

# Dtypes in whose sums NumPy does not overflow, and which it has.
_SUMMED_BY_NUMPY: Final = frozenset((torch.float32, torch.float64))
# Elements of a tensor on a CPU, in one dimension, and where they lie.
Flat = tuple[int, npt.NDArray[Any]]


def half_sums(tensors: Sequence[Any], flats: Mapping[int, Flat]) -> list[float]:
    """Returns half the sum of squares of each tensor.

    Of tensors in a device's memory all are read at once, which waits for the device.

    Args:
        tensors: of floating-point or complex dtypes; half precision is summed in float32.
        flats: elements of tensors by the tensor's id, where they are known from before.
    """
    sums: list[float] = []
    elsewhere: list[int] = []
    with np.errstate(over="ignore", invalid="ignore"):
        for tensor in tensors:
            flat = flats.get(id(tensor))
            if flat is not None and flat[0] == tensor.data_ptr():
                elements = flat[1]
            elif tensor.is_cpu and tensor.dtype in _SUMMED_BY_NUMPY:
                elements = _elements(tensor)
            else:
                elsewhere.append(len(sums))
                sums.append(0.0)
                continue
            # On a CPU a dot product of NumPy's costs half of PyTorch's norm.
            sums.append(0.5 * float(elements.dot(elements)))
    if elsewhere:
        found = sums_there([tensors[i] for i in elsewhere]).tolist()
        for i, one in zip(elsewhere, found, strict=True):
            sums[i] = one
    return sums


def flats_of(tensors: Sequence[Any]) -> dict[int, Flat]:
    """Returns the elements of tensors that live on, by their ids: no copy is made.

    Only of those whose memory says whether it is still theirs.
    """
    return {
        id(t): (t.data_ptr(), _elements(t))
        for t in tensors
        if t.is_cpu and t.dtype in _SUMMED_BY_NUMPY and t.numel() and not t.is_neg()
    }


def _elements(tensor: Any) -> npt.NDArray[Any]:
    if tensor.is_neg():
        tensor = tensor.resolve_neg()
    return _in_memory(tensor.detach().numpy()).reshape(-1)


def sums_there(tensors: Sequence[Any]) -> Any:
    """Returns half the sum of squares of each tensor, a tensor where they are.

    Nothing waits for the device.
    """
    with torch.no_grad():
        norms = torch.stack([_norm(tensor.detach()) for tensor in tensors])
        return (0.5 * norms * norms).float()


def _in_memory(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns an array with its dimensions as they lie in memory: no copy is made of it."""
    if array.flags.c_contiguous:
        return array
    return array.transpose(sorted(range(array.ndim), key=lambda d: -array.strides[d]))


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
