# SPDX-License-Identifier: Apache-2.0
"""One run's answer, in the same words everywhere: what happened, why, what to change; pure.

The printed message, the report, the HTML page and the tab show these sentences; further
details of the run are shown behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tb_nanwatch.diagnosis.ranking import Cause, Facts, has_cause
from tb_nanwatch.wording.answer_text import (
    A_DERIVATIVE,
    NOT_KNOWN,
    PLACED,
    after_text,
    all_finite_text,
    capital,
    happened_text,
    label_of,
    rows_text,
    untested,
    where_text,
)
from tb_nanwatch.wording.card import Card, Part, printed
from tb_nanwatch.wording.chain_text import came_from

# Degrees of certainty of a cause, the lowest first; empty where it is unknown.
SURE: Final = ("", "unclear", "likely", "tested")


@dataclass(frozen=True)
class Answer:
    """The answer about a run that went bad; only the first three texts are never empty.

    Attributes:
        happened: "diverged at epoch 1, batch 3".
        cause: as people say it, "learning rate too high".
        why: sentences.
        sure: "tested", "likely" or "unclear"; empty where the cause is unknown.
        record: how often causes named as surely were right in other people's programs.
        fix: what to change, in sentences.
        tested: the result of the experiment that tested the cause, in a sentence.
        where: operation and line, or the first bad tensor.
        after: how long training went on after going bad, in a sentence.
        changed: what the experiment of `tested` ran with: "a learning rate of 0.3 instead
            of 3".
    """

    happened: str
    cause: str
    why: str
    sure: str
    record: str
    fix: str
    tested: str
    where: str
    after: str
    changed: str = field(default="", kw_only=True)


def answer_of(
    facts: Facts, causes: Sequence[Cause], steps_after: int = 0
) -> Answer | None:
    """Returns the answer of a run of which the training or a metric went bad, else None.

    Args:
        facts: of the run.
        causes: as `ranking.diagnose` ranks them.
        steps_after: training steps after the first bad one.
    """
    if not has_cause(facts.status, facts.origin) or not causes:
        return None
    first = causes[0]
    known = first.id != "unknown"
    return Answer(
        happened_text(facts.status, facts.onset),
        _label(first.id, facts),
        _why(first, facts),
        first.sure if known else "",
        first.record,
        first.fix,
        first.tested,
        where_text(facts.postmortem, facts.origin),
        after_text(facts.status, steps_after),
        changed=first.changed,
    )


def clean_text(facts: Facts, tensors: int = 0) -> str:
    """Returns the sentence for a run that stayed finite; "" for any other run.

    Args:
        facts: of the run.
        tensors: how many were watched; 0 where that is not known.
    """
    if facts.status != "clean":
        return ""
    return all_finite_text(facts.steps, tensors, facts.closest)


def _label(cause: str, facts: Facts) -> str:
    """Returns a run's cause in everyday words, vaguer where less of it is known.

    That a gradient was the first bad tensor tells that it is a derivative's; whether of the
    loss or of what is inside the model, the operation alone does.
    """
    found, origin = facts.postmortem, facts.origin
    seen = found is not None and found.op is not None
    if cause == "loss_domain" and origin is not None and origin.kind == "gradient":
        return label_of(cause, found) if seen else A_DERIVATIVE
    return label_of(cause, found)


def _why(cause: Cause, facts: Facts) -> str:
    found = facts.postmortem
    if cause.id == "unknown":
        return NOT_KNOWN
    label = _label(cause.id, facts)
    reasons = cause.reasons
    if found is not None and found.op is not None and cause.id in PLACED:
        reasons = [
            f"{capital(found.finding)}{rows_text(found)}.",
            *came_from(found, facts.with_data),
        ]
    told = [reasons[0], *reasons[-1:]] if len(reasons) > 1 else reasons
    told = [t for t in dict.fromkeys(told) if t.strip(".")]
    return " ".join([f"{capital(label)}.", *told])


def card_of(answer: Answer, name: str, see: Sequence[str] = ()) -> Card:
    """Returns the card of a run that went bad.

    Args:
        answer: of the run.
        name: of the run.
        see: commands that show more, a line each.
    """
    first = f"{name} {answer.happened}. {answer.after}".rstrip()
    return Card(first, True, parts_of(answer), see=tuple(see))


def parts_of(answer: Answer) -> tuple[Part, ...]:
    """Returns the parts of an answer below its first line, without repetitions."""
    what, _, line = answer.where.partition(": ")
    return (
        Part("Why", answer.why),
        Part("Fix", answer.fix),
        Part("", answer.tested or untested(answer.sure)),
        Part("Where", what if line and line in answer.fix else answer.where),
    )


def lines(answer: Answer, name: str, see: Sequence[str] = ()) -> list[str]:
    """Returns a printed answer, see `card_of` and `card.printed`."""
    return printed(card_of(answer, name, see))
