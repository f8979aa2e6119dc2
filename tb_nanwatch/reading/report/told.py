# SPDX-License-Identifier: Apache-2.0
"""Builds the cards that open a report: one for each search, and for each run outside of one; pure.

The terminal, the page, Markdown and a notebook draw these cards; all else that they show
stands below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from tb_nanwatch.diagnosis.answer import card_of
from tb_nanwatch.reading.contract.overview import Overview
from tb_nanwatch.reading.contract.runs import RunSummary
from tb_nanwatch.reading.contract.searches import Finding, SearchSummary
from tb_nanwatch.reading.search.aborted import was_interrupted
from tb_nanwatch.record.schema import BAD_STATUSES
from tb_nanwatch.wording.answer_text import untested
from tb_nanwatch.wording.card import Card, Part
from tb_nanwatch.wording.edit_text import REMINDER
from tb_nanwatch.wording.outcomes_text import brief_text, more_runs_text
from tb_nanwatch.wording.report_text import bad_alike_text
from tb_nanwatch.wording.sentences import first_sentence, names_text, sentences
from tb_nanwatch.wording.statuses import STATUS_TEXT

# Runs outside of a search that have a card each.
_MAX_RUNS: Final = 8


def cards_of(full: Overview) -> list[Card]:
    """Returns a card for each search of an overview, and for each run without one.

    Runs that are compared as a search's trials are have one card together.
    """
    cards = []
    for search in full.searches:
        runs = runs_of(full, search)
        if search.search or search.rates:
            cards.append(search_card(search, runs, findings_of(full, search)))
        else:
            cards += _run_cards(runs)
    return cards


def _run_cards(runs: Sequence[RunSummary]) -> list[Card]:
    """Returns a card for each of a few runs; of many, those that went bad come first."""
    if len(runs) <= _MAX_RUNS:
        return list(map(run_card, runs))
    ordered = sorted(runs, key=lambda run: not _is_bad(run))
    shown, rest = ordered[:_MAX_RUNS], ordered[_MAX_RUNS:]
    bad = sum(map(_is_bad, rest))
    cards = list(map(run_card, shown))
    return [*cards, Card(more_runs_text(len(rest), bad), bad > 0)]


def runs_of(full: Overview, search: SearchSummary) -> list[RunSummary]:
    """Returns the runs of a search that decide, without earlier attempts."""
    return [r for r in full.runs if r.search == search.search and not r.superseded]


def findings_of(full: Overview, search: SearchSummary) -> list[Finding]:
    """Returns the findings of a search."""
    return [f for f in full.findings if f.search == search.search]


def is_clean(search: SearchSummary, runs: Sequence[RunSummary]) -> bool:
    """Returns whether a search or some runs have nothing but good news."""
    quiet = all(r.status == "clean" and not (r.damage or r.failure_text) for r in runs)
    return quiet and not search.aborted


def run_card(run: RunSummary) -> Card:
    """Returns the card of one run."""
    if run.answer:
        return card_of(run.answer, run.name)
    said = run.clean_text or f"{STATUS_TEXT[run.status]}."
    remarks = filter(None, (run.failure_text, run.unwatched_text))
    return Card(f"{run.name}: {' '.join([said, *remarks])}", _is_bad(run))


def remarks_of(run: RunSummary) -> list[str]:
    """Returns the remarks on a run that its answer does not hold, a sentence each."""
    said = (run.failure_text, run.unwatched_text, run.misread_text)
    remarks = [*said, run.inherited_text, *(scalar.text for scalar in run.scalars)]
    return [remark for remark in remarks if remark]


def search_card(
    search: SearchSummary,
    runs: Sequence[RunSummary],
    findings: Sequence[Finding],
    listed: bool = True,
) -> Card:
    """Returns the card of a search.

    Args:
        search: its entry in an overview.
        runs: those of it that decide.
        findings: of it.
        listed: whether to name the trials that went bad, since no table follows.
    """
    which = _which(runs) if listed else ""
    return Card(
        f"{search_name(search)}: {brief_text(search.counted, search.by_status)}{which}",
        any(map(_is_bad, runs)) or bool(search.aborted),
        tuple(_parts(search, findings)),
    )


def search_name(search: SearchSummary) -> str:
    """Returns a search's name, "search" where it has none."""
    if not search.search:
        return "Runs without a search"
    return search.name or "search"


def _is_bad(run: RunSummary) -> bool:
    return run.status in BAD_STATUSES


def _which(runs: Sequence[RunSummary]) -> str:
    """Returns " Bad: Trial #3, #15." of the trials that went bad, unless all did."""
    names = list(dict.fromkeys(r.name for r in runs if _is_bad(r)))
    if not names or len(names) == len({r.name for r in runs}):
        return ""
    return f" Bad: {names_text(names)}."


def _parts(search: SearchSummary, findings: Sequence[Finding]) -> list[Part]:
    """Returns the first screen of a search as the parts of a card."""
    first, answer, aborted = search.first, search.answer, search.aborted
    if search.purpose == "stability" or not (answer or first.fix):
        return []  # a frontier has its own place below
    why = first.why
    if answer is not None and answer.of > 1 and why.startswith(answer.why):
        why, perhaps = answer.why, why.removeprefix(answer.why)
        if answer.sure == "tested":  # no further reasons needed
            why = " ".join(sentences(why)[:2])
        why += f" {bad_alike_text(answer.count, answer.of, answer.whose)}{perhaps}"
    where, _, line = first.where.partition(": ")
    unsure = "" if first.tested else untested(first.sure)
    parts = [
        Part("Why", why),
        Part("Fix", f"{first.fix} {unsure}".strip()),
        Part("", first.tested),
        Part("", first.paste, first.edit),
        *_further(first.edit, findings),
        Part("Where", where if line and line in first.fix else first.where),
    ]
    title = "Stopped" if aborted and was_interrupted(aborted.message) else "Then"
    return [*parts, Part(title, first.next)]


def _further(edit: str, findings: Sequence[Finding]) -> list[Part]:
    """Returns further edits that narrow the space: the first one for each hyperparameter.

    Args:
        edit: of the answer; where it is "", no edit is proposed yet.
        findings: of the search, the clearest first.
    """
    if not edit:
        return []
    parts, edited = [], {f.hparam for f in findings if f.edit == edit}
    for found in findings:
        if found.edit == edit:
            continue
        said, code = f"{first_sentence(found.text)}", ""
        if found.edit and found.hparam not in edited:
            edited.add(found.hparam)
            said, code = f"{said} {found.where} It {found.saves}.", found.edit
        parts.append(Part("Also", said, code))
    return parts


def narrowed_for(search: SearchSummary) -> str:
    """Returns the cause that the search's edit fixes, "" where it fixes none.

    What would have kept one trial finite is another value than the bound of the edit: it
    is told of no trial beside that.
    """
    first, answer = search.first, search.answer
    led = answer is not None and first.edit != "" and answer.fix not in first.fix
    return answer.cause if led and answer is not None else ""


def short(one: Card, sure: str) -> Card:
    """Returns the card of an older search: why, and what to change, without its code.

    Args:
        one: its whole card.
        sure: how sure the cause is, "" where it is unknown.
    """
    why, *rest = (p for p in one.parts if p.title in ("Why", "Fix"))
    said = first_sentence(why.text)
    if sure:
        said = f"{said.removesuffix('.')} ({sure})."
    return replace(one, parts=(replace(why, text=said), *rest))


def beyond(search: SearchSummary, findings: Sequence[Finding]) -> list[str]:
    """Returns statistical results on a search that its card leaves out, a text each."""
    if not findings:
        text = search.verdict.removeprefix(search.counted).strip()
        return [text] if text else []
    return [
        f.text.replace(f"The edit {f.saves}.", "").replace(REMINDER, "").strip()
        for f in findings
    ]
