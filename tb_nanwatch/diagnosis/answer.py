"""One run's answer, in the same words everywhere: what happened, why, what to change; pure.

The printed message, the report, the HTML page and the tab show these sentences; all else
that is known of the run stands behind them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tb_nanwatch.diagnosis.closest import LARGEST
from tb_nanwatch.diagnosis.ranking import Cause, Facts, has_cause
from tb_nanwatch.record.schema import (
    BAD_STATUSES,
    FINITE_STATUSES,
    PostMortem,
    Status,
)
from tb_nanwatch.wording.card import Card, Part, printed
from tb_nanwatch.wording.causes import LABELS
from tb_nanwatch.wording.chain_text import came_from
from tb_nanwatch.wording.places import place_text, tensor_text

_HAPPENED: Final[dict[Status, str]] = {
    "diverged": "diverged",
    "runaway": "ran away (finite, beyond all use)",
    "score_lost": "lost its score",
    "stalled": "stalled",
    "contained": "had NaN or Inf in a metric",
}
_PLACES: Final = {
    "loss_domain": "in the loss",
    "metric_domain": "in the metric",
    "layer_domain": "in the model",
}
_A_DERIVATIVE: Final = "a derivative left its domain, in the loss or inside the model"
_DIVISIONS: Final = ("RealDiv", "Div", "FloorDiv", "FloorMod", "Xdivy", "Reciprocal")
_LOGARITHMS: Final = ("Log", "Xlogy")
_ROOTS: Final = ("Sqrt", "Rsqrt", "EuclideanNorm")
# How sure one is of a cause, the least first; empty where it is unknown.
SURE: Final = ("", "unclear", "likely", "tested")
# More rows than these are not listed.
_MAX_ROWS: Final = 5


def rank(sure: str, held: float | None, about: float | None) -> tuple[int, float, float]:
    """Returns by what the run that answers for all alike is chosen: the larger, the better.

    Args:
        sure: of its cause, one of `SURE`.
        held: value that its fix sets and that an experiment has shown to be enough.
        about: value of the setting that is to blame; either is None where there is none.
    """
    # The lowest rate that one of them needed is low enough for the others; where none was
    # tried, what is enough where the mildest value died.
    held, about = (-math.inf if v is None else -abs(v) for v in (held, about))
    return SURE.index(sure), held, about


@dataclass(frozen=True)
class Answer:
    """What a run that went bad comes down to; each text may be empty but the first three.

    Attributes:
        happened: "diverged at epoch 1, batch 3".
        cause: as people say it, "learning rate too high".
        why: sentences.
        sure: "tested", "likely" or "unclear"; empty where the cause is unknown.
        record: how often causes as sure as this were right of other people's programs.
        fix: what to change, in sentences.
        tested: what an experiment has shown of it, in a sentence.
        where: operation and line, or the first bad tensor.
        after: what was trained on after it, in a sentence.
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
    """Returns the answer of a run that went bad, or whose metric did; None of any other.

    Args:
        facts: of the run.
        causes: as `diagnosis.diagnose` ranks them.
        steps_after: training steps after the first bad one.
    """
    if not has_cause(facts.status, facts.origin) or not causes:
        return None
    first = causes[0]
    known = first.id != "unknown"
    return Answer(
        _happened(facts),
        _label(first.id, facts),
        _why(first, facts),
        first.sure if known else "",
        first.record,
        first.fix,
        first.tested,
        _where(facts),
        _after(facts, steps_after),
        changed=first.changed,
    )


def clean_text(facts: Facts, tensors: int = 0) -> str:
    """Returns what is said of a run that stayed finite, in a sentence; "" of any other.

    Args:
        facts: of the run.
        tensors: how many were watched; 0 where that is not known.
    """
    if facts.status != "clean":
        return ""
    steps = f"{facts.steps:,} step{'s' * (facts.steps != 1)}"
    if tensors:
        steps += f", {tensors:,} tensor{'s' * (tensors != 1)}"
    largest = max(facts.closest.items(), key=lambda item: item[1], default=None)
    if largest is None or not largest[1] > 0:
        return f"All finite: {steps}."
    dtype, share = largest
    limit = LARGEST.get(dtype)
    if limit is None:
        return f"All finite: {steps}."
    return (
        f"All finite: {steps}; the largest output or gradient was {_size(share * limit)} "
        f"({dtype} overflows at {_size(limit)})."
    )


def _size(value: float) -> str:
    """Returns "53", "1e5" or "3e38": about how large a number is."""
    if 1e-3 <= value < 1e5:
        return f"{float(f'{value:.2g}'):,.10g}"
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def label_of(cause: str, found: PostMortem | None = None) -> str:
    """Returns a cause as people say it, e.g. "division by zero in the loss".

    Args:
        cause: its id.
        found: the post-mortem of the run, where there was one.
    """
    place = _PLACES.get(cause)
    if place is None or found is None or found.op is None:
        return LABELS.get(cause, cause.replace("_", " "))
    if cause == "layer_domain" and found.layer:
        place = f"in the layer {found.layer}"
    if found.source is not None:
        place = place.replace("the loss", "your loss").replace(
            "the metric", "your metric"
        )
    return f"{_what_went_wrong(found)} {place}"


def _label(cause: str, facts: Facts) -> str:
    """Returns a run's cause as people say it, and no more than is known of it.

    That a gradient was the first bad tensor tells that it is a derivative's; whether of the
    loss or of what is inside the model, the operation alone does.
    """
    found, origin = facts.postmortem, facts.origin
    seen = found is not None and found.op is not None
    if cause == "loss_domain" and origin is not None and origin.kind == "gradient":
        return label_of(cause, found) if seen else _A_DERIVATIVE
    return label_of(cause, found)


def _what_went_wrong(found: PostMortem) -> str:
    op_type = found.forward_type or found.op_type or ""
    gradient = "gradient of a " if found.gradient else ""
    if " is beyond " in found.finding or "result is beyond" in found.finding:
        return "overflow"
    if op_type in _DIVISIONS and " 0" in found.finding:
        return "division by zero"
    if op_type in _LOGARITHMS and "negative" in found.finding:
        return f"{gradient}logarithm of a negative number"
    if op_type in _LOGARITHMS:
        return f"{gradient}logarithm of 0"
    if op_type in _ROOTS and "negative" in found.finding:
        return f"{gradient}root of a negative number"
    if op_type in _ROOTS and found.finding:
        return f"{gradient}root of 0" if found.gradient else "division by a root of 0"
    name = (found.op or op_type).rpartition(".")[2]
    return f"{'gradient of ' if found.gradient else ''}`{name}` out of its domain"


def _happened(facts: Facts) -> str:
    how = _HAPPENED.get(facts.status, facts.status)
    return f"{how} {place_text(facts.onset)}" if facts.onset is not None else how


def _why(cause: Cause, facts: Facts) -> str:
    found = facts.postmortem
    if cause.id == "unknown":
        return "Not known: what was recorded fits no cause, or several."
    label = _label(cause.id, facts)
    reasons = cause.reasons
    if found is not None and found.op is not None and cause.id in _PLACES:
        reasons = [
            f"{_sentence(found.finding)}{_rows(found)}.",
            *came_from(found, facts.with_data),
        ]
    told = [reasons[0], *reasons[-1:]] if len(reasons) > 1 else reasons
    told = [t for t in dict.fromkeys(told) if t.strip(".")]
    return " ".join([f"{_sentence(label)}.", *told])


def _rows(found: PostMortem) -> str:
    """Returns which rows of the batch it was in, where they are few."""
    rows = found.rows
    if not rows or len(rows) > _MAX_ROWS or found.shape[:1] == [len(rows)]:
        return ""
    numbers = ", ".join(map(str, rows))
    return f", in row{'s' * (len(rows) > 1)} {numbers} of the batch (counted from 0)"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _where(facts: Facts) -> str:
    found = facts.postmortem
    if found is not None and found.op is not None:
        what = found.text.partition(": ")[0]
        if found.source is not None and found.source.text:
            return f"{_sentence(what)}: {found.source.text}"
        return _sentence(what)
    if found is not None and found.data is not None:
        return _sentence(found.text)
    return _sentence(tensor_text(facts.origin)) if facts.origin is not None else ""


def _after(facts: Facts, steps: int) -> str:
    if not steps or facts.status in FINITE_STATUSES or facts.status not in BAD_STATUSES:
        return ""
    more = "step" if steps == 1 else "steps"
    return f'{steps:,} more {more} ran after it; on_nonfinite="stop" would have ended it.'


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
    """Returns what an answer says below its first line, each thing once."""
    what, _, line = answer.where.partition(": ")
    return (
        Part("Why", answer.why),
        Part("Fix", answer.fix),
        Part("", answer.tested or untested(answer.sure)),
        Part("Where", what if line and line in answer.fix else answer.where),
    )


def untested(sure: str) -> str:
    """Returns what is said of a cause that no experiment has confirmed, "" of none."""
    return f"{_sentence(sure)}; not tested." if sure and sure != "tested" else ""


def lines(answer: Answer, name: str, see: Sequence[str] = ()) -> list[str]:
    """Returns a printed answer, see `card_of` and `card.printed`."""
    return printed(card_of(answer, name, see))
