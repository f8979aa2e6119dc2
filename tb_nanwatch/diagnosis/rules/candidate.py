# SPDX-License-Identifier: Apache-2.0
"""A cause that a rule proposes, with its weight and evidence."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Candidate:
    """A cause that a rule proposes.

    Attributes:
        id: one of `schema.CAUSES`.
        weight: of this cause; only the ratio between candidates' weights counts.
        sure: the confidence if this were the only candidate, in [0, 1].
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
