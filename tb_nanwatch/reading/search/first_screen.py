# SPDX-License-Identifier: Apache-2.0
"""Builds the first screen of a search: what happened, why, what to change; pure.

A plain run has its answer (`answer.Answer`). A search also has its trials' outcomes against
their hyperparameters, more than fits on a first screen: this module decides which statements
come first and which are shown only to those who ask how sure they are. Tab, terminal, page
and notebook draw its one fix and its one edit, which go together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tb_nanwatch.diagnosis.answer import SURE
from tb_nanwatch.reading.contract.searches import (
    Aborted,
    Finding,
    FirstScreen,
    SearchAnswer,
    SearchSummary,
)
from tb_nanwatch.reading.search import aborted as aborts
from tb_nanwatch.reading.search.min_p import ALPHA
from tb_nanwatch.reading.search.verdict import NOT_OF_THE_SPACE
from tb_nanwatch.record.schema import BAD_STATUSES
from tb_nanwatch.wording import first_screen_text as words
from tb_nanwatch.wording.causes import SURENESS
from tb_nanwatch.wording.edit_text import BY_HAND, REMINDER

_DID: Final = {
    "diverged": "diverged",
    "runaway": "ran away",
    "score_lost": "lost their score",
    "stalled": "stalled",
}
_FROM_ANSWER: Final = ("why", "sure", "where", "fix", "tested")


def first_screen(
    search: SearchSummary,
    findings: Sequence[Finding],
    statistics: str,
    notes: Sequence[str],
    misread: Sequence[str],
    perhaps: str = "",
) -> FirstScreen:
    """Returns the first screen of a search.

    Args:
        search: the search; its `verdict` stands where nothing went bad.
        findings: of the search, the clearest first.
        statistics: what the comparison of its trials says (`Analysis.verdict`).
        notes: sentences on what else happened: failures, trials without NaN Watch.
        misread: names of the bad trials that have a score.
        perhaps: a condition that may be chance, in a sentence (`Analysis.perhaps`).
    """
    answer, abort = search.answer, search.aborted
    bad = sum(search.by_status.get(status, 0) for status in BAD_STATUSES)
    # A fault in the program or its data is reported before any condition.
    top = next(iter(findings), None)
    leads = top is not None and statistics.startswith(top.condition)
    told = [*notes, *([words.scored_text(misread)] if misread else [])]
    parts = {"happened": _happened(search, bad)}
    more: list[str] = []
    lone = answer is not None and answer.of == 1 and answer.sure != ""
    if leads and top is not None and top.p_value > ALPHA and answer is not None and lone:
        # One trial proves nothing, but its cause tells where to cut.
        parts |= {key: getattr(answer, key) for key in ("why", "sure", "where", "tested")}
        parts |= _narrowed(top, answer)
        told = [*_alike(answer, search), *told]
        more += [_sureness(answer), statistics, top.rivals]
    elif leads and top is not None:
        parts |= _by_condition(search, top)
        more += [statistics, top.rivals, *_numbers_of_one(answer)]
    elif answer is not None:
        parts |= {key: getattr(answer, key) for key in _FROM_ANSWER}
        parts["why"] = f"{answer.why} {perhaps}".strip()
        parts["where"], parts["fix"] = _each_once(answer.where, answer.fix)
        told = [*_alike(answer, search), *told]
        more += [_sureness(answer), statistics.removesuffix(f"Fix: {answer.fix}")]
    elif statistics:
        parts["why"] = statistics
    if abort is not None:
        parts["next"] = abort.next
        more += [*_reasons(abort), abort.fix]
    elif parts.get("edit") and parts["paste"] != BY_HAND:
        parts["next"] = REMINDER
    if search.confirmation is not None:
        more.append(search.confirmation.text)
    if search.cost is not None:
        more.append(search.cost.text)
    # No sentence appears twice.
    more = [
        text.strip() for text in dict.fromkeys(more) if text and text != parts.get("why")
    ]
    told = [text for text in told if text not in parts["happened"]]
    return FirstScreen(**parts, notes=told, more=more)


def _each_once(where: str, fix: str) -> tuple[str, str]:
    """Returns place and fix, with the user's line moved from the fix to the place."""
    what, _, line = where.partition(": ")
    begin, found, rest = fix.partition(f"`{line}`: ")
    if not (line and found and begin.startswith("At ")):
        return where, fix
    return f"{what}: `{line}`", f"{rest[:1].upper()}{rest[1:]}"


def _happened(search: SearchSummary, bad: int) -> str:
    abort, answer = search.aborted, search.answer
    total = search.trials
    noun = "trial" if search.search else "run"
    if abort is not None:
        return _ended(abort, answer, total)
    if not bad:
        return search.verdict
    kinds = {s: n for s, n in search.by_status.items() if s in BAD_STATUSES}
    if bad == 1 and answer is not None:
        among = f" of {total}" if total > 1 and search.search else ""
        return f"{answer.whose}{among} {answer.happened}"
    which = f"All {total:,} {noun}s" if bad == total else f"{bad:,} of {total:,} {noun}s"
    if len(kinds) == 1:
        return f"{which} {_DID[next(iter(kinds))]}"
    listed = ", ".join(f"{n} {s.replace('_', ' ')}" for s, n in kinds.items())
    return f"{which} went bad: {listed}"


def _ended(abort: Aborted, answer: SearchAnswer | None, total: int) -> str:
    message = abort.message
    if aborts.was_interrupted(message):
        return words.stopped_text(total)
    if not aborts.in_a_row(message):
        return words.stopped_text(total, message.splitlines()[0])
    row = len(abort.trials)
    alike = answer is not None and answer.count == answer.of == row
    return words.aborted_text(row, alike)


def _by_condition(search: SearchSummary, top: Finding) -> dict[str, str]:
    """Returns the reason and the change where a condition on the hyperparameters gives them."""
    answer = search.answer
    noun = "trial" if search.search else "run"
    counted = words.condition_went_bad_text(noun, top.condition, top.inside, top.outside)
    proven = top.p_value <= ALPHA
    known = answer is not None and answer.sure and 2 * answer.count > answer.of
    # Counts that prove the condition are not an experiment that confirmed it.
    sure = "likely" if proven else "unclear"
    counted = f"{counted}." if proven else f"{counted}. {words.BY_CHANCE}"
    if not known or answer is None:
        alone = f"{counted[:1].upper()}{counted[1:]}"
        return {"why": alone, "sure": sure, **_narrowed(top, None)}
    why = f"{answer.cause[:1].upper()}{answer.cause[1:]}: {counted}"
    # The word is that of the cause, as everywhere.
    sure = max(sure, answer.sure, key=SURE.index)
    # Of one trial, whose numbers stand behind "how sure?".
    tested = words.tested_text(answer.whose, answer.changed) if answer.tested else ""
    return {"why": why, "sure": sure, "tested": tested, **_narrowed(top, answer)}


def _narrowed(top: Finding, answer: SearchAnswer | None) -> dict[str, str]:
    """Returns the change to the search space, or to the user's own loop that chooses values.

    What lies in program or data is mended there: to narrow the space is the other way.

    Args:
        top: the condition that leads.
        answer: of the trials that went bad there, None where their cause is not known.
    """
    mend = answer.fix if answer is not None and answer.id in NOT_OF_THE_SPACE else ""
    if not top.edit:
        fix = f"Keep out of {top.condition}."
        whose = f"For {answer.whose}: {answer.fix}" if answer is not None else ""
        return {"fix": f"{mend} Or k{fix[1:]}" if mend else f"{fix} {whose}".strip()}
    fix = words.narrow_text(top.hparam, top.saves, top.where == BY_HAND)
    if mend:
        fix = f"{mend} Or {fix[:1].lower()}{fix[1:]}"
    return {"fix": fix, "edit": top.edit, "paste": top.where}


def _numbers_of_one(answer: SearchAnswer | None) -> list[str]:
    """Returns the reasons given for the trial whose cause is surest."""
    if answer is None or not answer.sure:
        return []
    said = f"{answer.whose} {answer.happened}. {answer.why} {answer.tested}"
    return [said.strip(), _sureness(answer)]


def _sureness(answer: SearchAnswer) -> str:
    meaning = SURENESS.get(answer.sure, "")
    if not meaning:
        return ""
    record = f"; {answer.record}" if answer.record else ""
    return f"The cause is {answer.sure}: {meaning}{record}."


def _alike(answer: SearchAnswer, search: SearchSummary) -> list[str]:
    if answer.of < 2:
        return []
    noun = "trials" if search.search else "runs"
    return [words.alike_text(noun, answer.count, answer.of, answer.whose)]


def _reasons(abort: Aborted) -> list[str]:
    reasons = zip(abort.names, abort.reasons, strict=True)
    return [f"{name}: {reason}." for name, reason in reasons if reason]
