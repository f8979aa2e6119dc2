# SPDX-License-Identifier: Apache-2.0
"""What going bad cost a search: the training time after the first bad steps; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tb_nanwatch.reading.contract.searches import Cost
from tb_nanwatch.record.schema import BAD_STATUSES, FINITE_STATUSES
from tb_nanwatch.wording.outcomes_text import cost_text

if TYPE_CHECKING:
    from tb_nanwatch.reading.log.session import Session

# Less is not worth a word: it is what a training that is stopped overshoots by.
_MIN_SHARE: Final = 0.01


def cost(sessions: Sequence[Session]) -> Cost | None:
    """Returns what going bad cost a search, or None.

    Of all trainings, attempts that a later one replaced included: their time was
    spent as well. None where no run went bad.

    Args:
        sessions: of one search.
    """
    bad = [s for s in sessions if s.status.status in BAD_STATUSES]
    if not bad:
        return None
    seconds = sum(_seconds(s) for s in sessions)
    # A run that stayed finite would have been ended by nothing.
    after = sum(
        min(_positive(s.status.seconds_after_onset), _seconds(s))
        for s in bad
        if s.status.status not in FINITE_STATUSES
    )
    share = after / seconds if seconds > 0 else 0.0
    text = cost_text(share, after, seconds) if share >= _MIN_SHARE else ""
    return Cost(seconds, after, share, text)


def _seconds(session: Session) -> float:
    # An unwatched run has no onset, so its time tells nothing.
    if session.status.status == "unwatched":
        return 0.0
    aside = session.postmortem.seconds if session.postmortem is not None else 0.0
    return _positive(session.status.updated - session.status.started - aside)


def _positive(value: float) -> float:
    return value if math.isfinite(value) and value > 0 else 0.0
