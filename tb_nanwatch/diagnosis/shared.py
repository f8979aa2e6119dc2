# SPDX-License-Identifier: Apache-2.0
"""Which of several bad trainings answers for all that went bad in the same way; pure.

The card at a search's end and the report choose by it, so that both tell of one trial.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tb_nanwatch.diagnosis.answer import SURE
from tb_nanwatch.diagnosis.ranking import Cause
from tb_nanwatch.record.schema import HEREDITARY, STATUSES, PostMortem, Status
from tb_nanwatch.wording.answer_text import kind_of


@dataclass(frozen=True)
class Standing:
    """What decides whether a bad training answers for others.

    Attributes:
        cause: id of its likeliest cause.
        kind: what went wrong in the operation, "logarithm of 0"; "" where that is not known,
            or no part of the cause.
        sure: of the cause, one of `SURE`.
        confidence: of the cause.
        held: value that its fix sets and that an experiment has shown to be enough.
        about: value of the setting that is to blame; either is None where there is none.
    """

    cause: str
    kind: str = ""
    sure: str = ""
    confidence: float = 0.0
    held: float | None = None
    about: float | None = None


class Shared(NamedTuple):
    """The trainings that went bad alike, and which of them answers; as indices."""

    shown: int
    alike: list[int]


def standing_of(causes: Sequence[Cause], found: PostMortem | None) -> Standing:
    """Returns the standing of a training that went bad.

    Args:
        causes: its own, the likeliest first.
        found: its post-mortem, where there was one.
    """
    if not causes:
        return Standing("unknown")
    first = causes[0]
    return Standing(
        first.id,
        kind_of(first.id, found),
        first.sure if first.id != "unknown" else "",
        first.confidence,
        first.held,
        first.about,
    )


def shared(standings: Sequence[Standing]) -> Shared | None:
    """Returns the trainings that went bad in the commonest way, and the one that is surest of it.

    A fix belongs to the kind as much as to the cause: what mends a logarithm of 0 does not
    mend one of a negative number. Those whose kind is not known count with the commonest of
    their cause. "unknown" is no answer as long as another training has a known cause.

    Returns:
        None without any.
    """
    known = [i for i, s in enumerate(standings) if s.cause != "unknown"]
    groups: dict[tuple[str, str], list[int]] = {}
    for i in known or range(len(standings)):
        groups.setdefault((standings[i].cause, standings[i].kind), []).append(i)
    for cause, kind in list(groups):
        if not kind:
            rest = [key for key in groups if key[0] == cause and key[1]]
            if rest:
                most = max(rest, key=lambda key: len(groups[key]))
                groups[most] = sorted(groups[most] + groups.pop((cause, kind)))
    if not groups:
        return None
    alike = max(groups.values(), key=len)
    return Shared(max(alike, key=lambda i: _rank(standings[i])), alike)


def grade(status: Status, began_with: Status | None) -> tuple[bool, int]:
    """Returns a sort key: of the trainings of one trial the one with the largest tells why.

    Args:
        status: of the training.
        began_with: status of the one that its weights came from. If that went bad, this
            one tells nothing else.
    """
    return began_with not in HEREDITARY, STATUSES.index(status)


def _rank(one: Standing) -> tuple[float, ...]:
    # The lowest rate that one of them needed is low enough for the others; where none was
    # tried, what is enough where the mildest value died.
    held, about = (-math.inf if v is None else -abs(v) for v in (one.held, one.about))
    # One whose kind is not known has a vaguer answer.
    return SURE.index(one.sure), held, about, one.kind != "", one.confidence
