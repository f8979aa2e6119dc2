# SPDX-License-Identifier: Apache-2.0
"""What a rule proposes."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Candidate:
    """A cause that a rule proposes.

    Attributes:
        id: one of `schema.CAUSES`.
        weight: how strongly; between candidates only their ratio counts.
        sure: the confidence if it stood alone.
        evidence: sentences with numbers of this run.
        fix: what to change.
        about: value of the optimizer's setting that is to blame.
    """

    id: str
    weight: float
    sure: float = 0.9
    evidence: list[str] = field(default_factory=list)
    fix: str = ""
    about: float | None = None
