"""What is said first of each search, and of each run beside none; pure.

The terminal, the page, Markdown and a notebook draw these cards; all else that they show
stands below.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from tb_nanwatch.diagnosis.answer import card_of, parts_of
from tb_nanwatch.reading.contract.overview import Overview
from tb_nanwatch.reading.contract.runs import RunSummary
from tb_nanwatch.reading.contract.searches import Finding, SearchSummary
from tb_nanwatch.reading.search.aborted import was_interrupted
from tb_nanwatch.reading.search.edit import REMINDER
from tb_nanwatch.record.schema import BAD_STATUSES
from tb_nanwatch.wording.card import Card, Part
from tb_nanwatch.wording.trial_names import run_name

_WENT_BAD: Final = {"diverged": "diverged", "stalled": "stalled", "runaway": "ran away"}
# Runs beside no search that have a card each.
_MAX_RUNS: Final = 8
# Trials that a sentence lists.
_MAX_NAMES: Final = 6


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
    return [*cards, Card(f"{len(rest):,} more runs, {bad:,} of them bad.", bad > 0)]


def runs_of(full: Overview, search: SearchSummary) -> list[RunSummary]:
    """Returns the runs of a search that decide, without earlier attempts."""
    return [r for r in full.runs if r.search == search.search and not r.superseded]


def findings_of(full: Overview, search: SearchSummary) -> list[Finding]:
    """Returns the findings of a search."""
    return [f for f in full.findings if f.search == search.search]


def is_clean(search: SearchSummary, runs: Sequence[RunSummary]) -> bool:
    """Returns whether there is nothing but good news of a search or of runs."""
    quiet = all(r.status == "clean" and not (r.damage or r.failure_text) for r in runs)
    return quiet and not search.aborted


def run_card(run: RunSummary) -> Card:
    """Returns the card of one run."""
    if run.answer:
        return card_of(run.answer, run_name(run))
    said = run.clean_text or f"{run.status.replace('_', ' ')}."
    remarks = filter(None, (run.failure_text, run.unwatched_text))
    return Card(f"{run_name(run)}: {' '.join([said, *remarks])}", _is_bad(run))


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
        f"{search_name(search)}: {_counted(search)}{which}",
        any(map(_is_bad, runs)) or bool(search.aborted),
        tuple(_parts(search, findings)),
    )


def _counted(search: SearchSummary) -> str:
    """Returns how many trials went bad, in one word where they all did alike."""
    kinds = [s for s in BAD_STATUSES if s in search.by_status]
    text = re.sub(r"^1 of 1 (\w+)s ", r"The only \1 ", search.counted)
    if len(kinds) != 1:
        return text
    word = kinds[0].replace("_", " ")
    said = f"went bad ({search.by_status[kinds[0]]} {word})"
    return text.replace(said, _WENT_BAD.get(kinds[0], said), 1)


def search_name(search: SearchSummary) -> str:
    """Returns a search's name, "search" where it has none."""
    if not search.search:
        return "Runs without a search"
    return search.name or "search"


def _is_bad(run: RunSummary) -> bool:
    return run.status in BAD_STATUSES


def _which(runs: Sequence[RunSummary]) -> str:
    """Returns " Bad: Trial #3, #15." of the trials that went bad, unless all did."""
    names = list(dict.fromkeys(run_name(r) for r in runs if _is_bad(r)))
    if not names or len(names) == len({run_name(r) for r in runs}):
        return ""
    return f" Bad: {names_text(names)}."


def names_text(names: Sequence[str]) -> str:
    """Returns "Trial #3, #15 and 2 more" of names that stand once each."""
    shown = list(names[:_MAX_NAMES])
    if all(name.startswith("Trial #") for name in shown):
        shown = [shown[0], *(name.removeprefix("Trial ") for name in shown[1:])]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def _parts(search: SearchSummary, findings: Sequence[Finding]) -> list[Part]:
    answer, aborted = search.answer, search.aborted
    parts: list[Part] = []
    if answer:
        alike = ""
        if answer.of > 1:
            alike = f" ({answer.count} of {answer.of} bad alike; {answer.whose})"
        why, fix, *rest = parts_of(answer)
        said = why.text
        if answer.sure == "tested":  # by more than the reasons that come second
            said = " ".join(sentences(said)[:2])
        where = " ".join(first_sentence(f.text) for f in findings)
        parts.append(Part("Why", f"{said}{alike} {where}".strip()))
        parts.append(fix)
        parts += rest
    elif findings:
        parts.append(Part("Why", " ".join(first_sentence(f.text) for f in findings)))
    edits = [f for f in findings if f.edit]
    for finding in edits:
        said = f"{finding.where} It {finding.saves}."
        parts.append(Part("Edit", said, finding.edit))
    if search.search and findings and not edits:  # no space whose code could be edited
        conditions = " and of ".join(f.condition for f in findings)
        parts.append(Part("Try", f"Keep out of {conditions}."))
    if aborted:
        title = "Stopped" if was_interrupted(aborted.message) else "Then"
        parts.append(Part(title, aborted.next))
    elif edits and search.search:
        parts.append(Part("Then", REMINDER))
    return parts


def beyond(search: SearchSummary, findings: Sequence[Finding]) -> list[str]:
    """Returns what statistics say of a search and its card does not, a text each."""
    if not findings:
        return list(filter(None, [_beyond(search.verdict, search.counted)]))
    texts = [_beyond(f.text, first_sentence(f.text)) for f in findings]
    return [
        text.replace(f"The edit {f.saves}. {REMINDER}", "").strip()
        for text, f in zip(texts, findings, strict=True)
    ]


def without(text: str, said: str) -> str:
    """Returns a text without the sentences that `said` holds already."""
    return " ".join(sentence for sentence in sentences(text) if sentence not in said)


def _beyond(text: str, said: str) -> str:
    """Returns a text without what it begins with."""
    return str(text).removeprefix(said).strip()


def first_sentence(text: str) -> str:
    """Returns a text's first sentence, with its full stop."""
    return sentences(text)[0]


def sentences(text: str) -> list[str]:
    """Returns a text's sentences, with their full stops; one at least."""
    return re.split(r"(?<=\.)(?<!e\.g\.) ", text)
