# SPDX-License-Identifier: Apache-2.0
"""Half sums of squares of tensors, and tensors as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
import torch

from tb_nanwatch.writing.recording.observer import Floats

# Dtypes in whose sums NumPy does not overflow, and which it has.
_SUMMED_BY_NUMPY: Final = (torch.float32, torch.float64)


def half_sums(tensors: Sequence[Any]) -> Floats:
    """Returns half the sum of squares of each tensor, [tensors] float32.

    Of tensors in a device's memory all are read at once, which waits for the device.

    Args:
        tensors: of floating-point or complex dtypes; half precision is summed in float32.
    """
    sums = np.zeros(len(tensors), np.float32)
    elsewhere: list[int] = []
    with np.errstate(over="ignore", invalid="ignore"):
        for i, tensor in enumerate(tensors):
            if tensor.dtype in _SUMMED_BY_NUMPY and tensor.device.type == "cpu":
                # On a CPU a dot product of NumPy's costs half of PyTorch's norm.
                if tensor.is_neg():
                    tensor = tensor.resolve_neg()
                flat = _in_memory(tensor.detach().numpy()).reshape(-1)
                sums[i] = 0.5 * np.dot(flat, flat)
            else:
                elsewhere.append(i)
        if elsewhere:
            sums[elsewhere] = sums_there([tensors[i] for i in elsewhere]).cpu().numpy()
    return sums


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
