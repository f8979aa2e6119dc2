# SPDX-License-Identifier: Apache-2.0
"""Counts with their nouns, singular where there is one; pure."""

from __future__ import annotations


def counted(n: int, noun: str, plural: str = "s") -> str:
    """Returns "1 step", "1,200 steps" or, with `plural="es"`, "2 searches"."""
    return f"{n:,} {noun}{'' if n == 1 else plural}"
