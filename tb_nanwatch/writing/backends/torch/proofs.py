# SPDX-License-Identifier: Apache-2.0
"""Which large outputs of layers need no pass of their own: another one proves them finite.

Proofs rest on what autograd keeps of the very step. A sum, a difference or a product is
not finite wherever an operand is not (infinity times zero is NaN), so a finite result
proves what went into it: the input of a normalisation, the branches that are added. What
`relu` makes of finite values is finite.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

# Elements below which a sum costs less than a proof.
LARGE: Final = 1 << 14
# Each element of an operand is in the result, changed by no more than + - *, or not at all.
_CARRIES: Final = frozenset(
    f"{name}Backward0"
    for name in (
        *("Add", "Sub", "Mul", "Neg", "Permute", "Transpose", "View", "Reshape"),
        *("UnsafeView", "Unsqueeze", "Squeeze", "Expand", "Clone", "T"),
    )
)
# An output of finite values is finite.
_KEEPS: Final = frozenset(["ReluBackward0"])
# Nodes that are looked at for one tensor.
_MOST: Final = 32


def proofs(tensors: Mapping[int, Any]) -> dict[int, int]:
    """Returns the tensors that need no sum, each with the one that proves it finite.

    Args:
        tensors: of one step, by their ids.

    Returns:
        Ids; a proof has no proof itself.
    """
    made: dict[Any, int] = {}
    for key, tensor in tensors.items():
        if tensor.numel() >= LARGE and tensor.grad_fn is not None:
            made.setdefault(tensor.grad_fn, key)
    found: dict[int, int] = {}
    for node, key in made.items():
        if node.name() in _KEEPS:
            before = made.get(node.next_functions[0][0])
            if before is not None:
                found[key] = before
        elif node.name() in _CARRIES:
            for part in _carried(node, made):
                found.setdefault(part, key)
    return {key: _last(found, proof) for key, proof in found.items()}


def _carried(node: Any, made: Mapping[Any, int]) -> list[int]:
    """Returns the tensors all of whose elements a node's result carries."""
    found: list[int] = []
    waiting, seen = [node], 0
    while waiting and seen < _MOST:
        seen += 1
        for before, _ in waiting.pop().next_functions:
            if before in made:
                found.append(made[before])
            elif before is not None and before.name() in _CARRIES:
                waiting.append(before)
    return found


def _last(found: Mapping[int, int], key: int) -> int:
    while key in found:
        key = found[key]
    return key
