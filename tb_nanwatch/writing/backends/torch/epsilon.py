# SPDX-License-Identifier: Apache-2.0
"""Calls for PyTorch's operations with another argument, for the experiment with an epsilon."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import Any, Final

from torch.overrides import TorchFunctionMode

from tb_nanwatch.postmortem.epsilon import Alter

# By the type: what is called for it, and which argument is to be kept away from 0. "a / x"
# of a number is "x.__rtruediv__(a)", and multiplies by the reciprocal.
_OF_TYPE: Final[dict[str, tuple[tuple[str, int], ...]]] = {
    "RealDiv": (("div", 1), ("divide", 1), ("true_divide", 1), ("__truediv__", 1)),
    "Log": (("log", 0), ("log2", 0), ("log10", 0)),
    "Sqrt": (("sqrt", 0),),
    "Rsqrt": (("rsqrt", 0),),
    "Reciprocal": (("reciprocal", 0), ("__rtruediv__", 0), ("__rdiv__", 0)),
    "Xlogy": (("xlogy", 1),),
}


class _Altering(TorchFunctionMode):
    """Sees every call of PyTorch's functions and methods, without those within them."""

    def __init__(self, functions: dict[str, int], alter: Alter) -> None:
        super().__init__()
        self._functions, self._alter = functions, alter

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        position = self._functions.get(getattr(func, "__name__", ""))
        if position is not None and len(args) > position:
            other = self._alter(args[position], sys._getframe(1))
            args = (*args[:position], other, *args[position + 1 :])
        return func(*args, **(kwargs or {}))


def calls(op_type: str, alter: Alter) -> AbstractContextManager[Any]:
    """Has calls for operations of a type take other arguments (`postmortem.epsilon.Calls`)."""
    return _Altering(dict(_OF_TYPE.get(op_type, ())), alter)
