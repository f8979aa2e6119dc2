"""What is said at a search's end: the answer that most of its bad trials share; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tb_nanwatch.diagnosis.answer import parts_of, rank
from tb_nanwatch.record.schema import BAD_STATUSES, Status
from tb_nanwatch.wording.card import Card
from tb_nanwatch.writing.search.verdict import TrialAnswer


def card_at_end(
    statuses: Mapping[str, Status],
    answers: Mapping[str, TrialAnswer],
    see: Sequence[str],
) -> Card:
    """Returns what a search with bad trials says once it has ended.

    Args:
        statuses: of its watched trials, by id; at least one is bad.
        answers: of trials that went bad, by id.
        see: commands that show more, a line each.
    """
    bad = [trial for trial, status in statuses.items() if status in BAD_STATUSES]
    first = f"{len(bad):,} of {len(statuses):,} watched trials went bad."
    by_cause: dict[str, list[TrialAnswer]] = {}
    for trial in bad:
        if trial in answers and answers[trial].answer.sure:
            by_cause.setdefault(answers[trial].answer.cause, []).append(answers[trial])
    if not by_cause:
        return Card(first, True, see=tuple(see))
    alike = max(by_cause.values(), key=len)
    best = max(alike, key=lambda t: rank(t.answer.sure, t.held, t.about))
    name, answer = best.name, best.answer
    which = f"{name}; {len(alike)} of {len(bad)} bad alike" if len(bad) > 1 else name
    why, *rest = parts_of(answer)
    return Card(
        first,
        True,
        (replace(why, text=f"{why.text} ({which})"), *rest),
        see=tuple(see),
    )
