# SPDX-License-Identifier: Apache-2.0
"""The report in a terminal, 80 columns wide: what matters first, the rest if asked for.

Names and messages come from event files that anyone may have written: every one
goes through `clean` before it reaches the terminal.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import IO, Final

from tb_nanwatch.reading.contract.overview import Overview
from tb_nanwatch.reading.contract.runs import RunSummary
from tb_nanwatch.reading.contract.searches import Aborted, Cost, SearchSummary
from tb_nanwatch.reading.report import told
from tb_nanwatch.reading.report.same_cause import same_causes
from tb_nanwatch.reading.report.tables import (
    draw,
    replay_command,
    status_text,
    table_of,
    width_of,
)
from tb_nanwatch.record.schema import BAD_STATUSES
from tb_nanwatch.wording import card
from tb_nanwatch.wording import report_text as words
from tb_nanwatch.wording.counts import counted
from tb_nanwatch.wording.edit_text import REMINDER
from tb_nanwatch.wording.outcomes_text import replaced_text
from tb_nanwatch.wording.sentences import names_text
from tb_nanwatch.wording.text import clean

# Sentences of evidence that are printed of a cause, with the first that is not.
_MOST: Final = 6
# Bad trials that have a row, where not all are asked for: those of a screen.
_MAX_BAD: Final = 30
# All trials of a search that went bad need no table as long as they are so few.
_FEW: Final = 3
# Boundaries of a frontier, and searches with bad trials whose answer is printed whole.
_MAX_BOUNDARIES: Final = 3
_MAX_WHOLE: Final = 2


def render(full: Overview, out: IO[str], every: bool = False) -> None:
    """Prints an overview for people.

    Args:
        full: the overview.
        out: where to; what went bad is red if it is a terminal.
        every: whether every trial, and all that is behind the answers, is printed.
    """
    reminded = clean_before = False
    ill = [s for s in full.searches if s.answer and (s.search or s.rates)]
    older = [] if every else ill[_MAX_WHOLE:]
    for group in [[s] for s in full.searches] if every else _groups(full):
        search = group[0]
        runs = [r for r in full.runs if r.search == search.search]
        is_clean = not every and told.is_clean(search, runs)
        if not (is_clean and clean_before) and search is not full.searches[0]:
            print(file=out)
        clean_before = is_clean
        if len(group) > 1:
            names = ", ".join(map(told.search_name, group))
            one = card.Card(f"{names}: {search.counted}", False)
            print(*card.printed(one), sep="\n", file=out)
        elif search in older:
            found = told.findings_of(full, search)
            one = told.search_card(search, told.runs_of(full, search), found, False)
            one = told.short(one, search.first.sure)
            print(*card.printed(one), sep="\n", file=out)
        else:
            reminded |= _print_whole(full, search, reminded, out, every)
        _print_damage(runs, out)
    if not every and any(r.status in BAD_STATUSES for r in full.runs):
        print(f"\n{words.MORE}", file=out)


def _groups(full: Overview) -> list[list[SearchSummary]]:
    """Returns the searches in groups; consecutive ones with the same good news form a group."""
    groups: list[list[SearchSummary]] = []
    joins = ""  # text of the last group, "" where no other search may join it
    for search in full.searches:
        runs = [r for r in full.runs if r.search == search.search]
        brief = search.search and told.is_clean(search, runs) and not search.afterwards
        said = search.counted if brief and search.frontier is None else ""
        if said and said == joins:
            groups[-1].append(search)
        else:
            groups.append([search])
        joins = said
    return groups


def _print_whole(
    full: Overview, search: SearchSummary, reminded: bool, out: IO[str], every: bool
) -> bool:
    """Prints the whole text on a search or runs; returns whether that includes the reminder.

    Args:
        full, out, every: as in `render`.
        search: which.
        reminded: whether a card before has said how to search again.
    """
    shown = told.runs_of(full, search)
    has = _print_cards(full, search, shown, reminded, out)
    _print_frontier(search, out, every, search is full.searches[0])
    if search.confirmation is not None:
        _say(search.confirmation.text, out)
    runs = [r for r in full.runs if r.search == search.search]
    brief = not every and (told.is_clean(search, runs) or search.purpose == "stability")
    if brief:
        return has
    if search.search or search.rates:
        _print_search(full, search, shown, out, every)
    else:
        for run in shown:
            _print_run(run, out, every)
        _print_cost(search.cost, out, every)
    return has


def _print_cards(
    full: Overview,
    search: SearchSummary,
    shown: list[RunSummary],
    reminded: bool,
    out: IO[str],
) -> bool:
    """Prints the cards of a search or runs; returns whether they include the reminder.

    Args:
        full, search, shown, out: as in `render`.
        reminded: whether a card before has said how to search again.
    """
    if search.search or search.rates:
        found = told.findings_of(full, search)
        cards = [told.search_card(search, shown, found, listed=False)]
    else:
        cards = told.cards_of(replace(full, searches=[search]))
    has = any(REMINDER in part.text for one in cards for part in one.parts)
    if reminded:
        cards = list(map(_without_reminder, cards))
    for i, one in enumerate(cards):
        if i and (one.parts or cards[i - 1].parts):
            print(file=out)
        print(*card.printed(one), sep="\n", file=out)
    return has


def _without_reminder(one: card.Card) -> card.Card:
    parts = (replace(p, text=p.text.replace(REMINDER, "").strip()) for p in one.parts)
    return replace(one, parts=tuple(parts))


def _print_search(
    full: Overview,
    search: SearchSummary,
    shown: list[RunSummary],
    out: IO[str],
    every: bool,
) -> None:
    """Prints the details below a search's card."""
    findings = told.findings_of(full, search)
    if every:
        for text in told.beyond(search, findings):
            _say(text, out)
        _print_cost(search.cost, out, every)
        _print_causes(search, shown, out)
        _print_closest_call(shown, out)
        if search.aborted:
            _print_aborted(search.aborted, shown, out)
    else:
        _print_other_causes(search, shown, out)
    bad = [r for r in shown if r.status in BAD_STATUSES]
    listed = shown if every else bad[:_MAX_BAD]
    # Where all few went bad, values tell nothing: the card has said it all. And where the
    # condition that leads holds of all that went bad, it says of which values they died.
    led = bool(search.first.edit) and not findings[0].outside[0]
    if every or (not led and (len(bad) < len(shown) or len(bad) > _FEW)):
        table = table_of(listed, findings, search.rates, width_of(out), every)
        if listed:
            draw(table, out)
    if led and not every:
        _say(f"Bad: {names_text(list(dict.fromkeys(r.name for r in bad)))}.", out)
    if not every:
        _print_the_others(search, shown, 0 if led else len(bad) - len(listed), out)
    replaced = sum(r.search == search.search for r in full.runs) - len(shown)
    if replaced:
        _say(replaced_text(replaced), out)
    _print_remarks(
        shown if every else [r for r in shown if r.misread or r in listed], every, out
    )
    for run in shown if every else ():
        _print_replay(run, out)


def _print_remarks(runs: Sequence[RunSummary], every: bool, out: IO[str]) -> None:
    """Prints remarks on runs that their rows do not hold, each remark once."""
    said: dict[str, list[str]] = {}
    for run in runs:
        for sentence in _remarks(run, answered=not every):
            said.setdefault(sentence, []).append(run.name)
    told_of = list(said.items())[: None if every else _MOST]
    for sentence, names in told_of:
        _say(f"{names_text(list(dict.fromkeys(names)))}: {sentence}", out)
    if len(told_of) < len(said):
        _say(f"And {counted(len(said) - len(told_of), 'more remark')}.", out)


def _print_the_others(
    search: SearchSummary, shown: list[RunSummary], bad: int, out: IO[str]
) -> None:
    """Prints how many runs have no row, by outcome, and which of them is the best."""
    rest = Counter(status_text(r) for r in shown if r.status not in BAD_STATUSES)
    parts = [f"{bad:,} more bad"] if bad else []
    parts += [f"{n:,} {status}" for status, n in rest.most_common()]
    others = f"The others: {', '.join(parts)}." if parts else ""
    _say(f"{others} {_best_text(search, shown)}".strip(), out)


def _best_text(search: SearchSummary, shown: list[RunSummary]) -> str:
    """Returns a sentence on the run with the best score among those that did not go bad."""
    scores = {
        i: r.score
        for i, r in enumerate(shown)
        if r.status not in BAD_STATUSES and r.score is not None and math.isfinite(r.score)
    }
    if not scores or search.direction is None:
        return ""
    choose = max if search.direction == "max" else min
    best = choose(scores, key=scores.__getitem__)
    what = search.objective or "score"
    return f"Best: {shown[best].name}, {what} {scores[best]:.4g}."


def _print_other_causes(
    search: SearchSummary, shown: list[RunSummary], out: IO[str]
) -> None:
    """Prints the causes that the search's answer is not about."""
    answered = search.answer and search.answer.cause
    for found in same_causes(shown):
        runs = [r for r in shown if r.name in found.names and r.answer]
        if runs and any(r.answer and r.answer.cause == answered for r in runs):
            continue
        if found.name != "unknown":
            sure = f" ({found.sure})" if found.sure else ""
            _say(f"{names_text(found.names)}: {found.name}{sure}.", out)


def _print_cost(cost: Cost | None, out: IO[str], every: bool) -> None:
    if every and cost and cost.text:
        _say(cost.text, out)


def _say(text: str, out: IO[str], indent: str = "  ") -> None:
    """Prints a text below a card, in lines that fit."""
    safe = clean(text, 2000)
    if safe:
        print(*card.wrapped(safe, indent, indent + "  "), sep="\n", file=out)


def _print_frontier(
    search: SearchSummary, out: IO[str], every: bool, newest: bool
) -> None:
    """Prints a stability search's result, or how a search fared after one."""
    _say(search.afterwards, out)
    found = search.frontier
    if found is None:
        return
    shown = found.boundaries[: None if every else _MAX_BOUNDARIES if newest else 0]
    for boundary in shown:
        _say(boundary.text, out)
    left = len(found.boundaries) - len(shown)
    if left and shown:
        _say(words.boundaries_left_text(left), out)
    brief = not (every or newest)
    _say(words.kept_text(found.kept if found.code else None, found.steps, brief), out)
    if brief:
        return
    for line in found.code.splitlines():
        indent = " " * (len(line) - len(line.lstrip(" ")))
        print(f"    {indent}{clean(line, 2000)}", file=out)


def _print_damage(runs: Sequence[RunSummary], out: IO[str]) -> None:
    for run in runs:
        whose = words.attempt_text(clean(run.name), run.superseded)
        for sentence in run.damage:
            print(f"  {whose}: {clean(sentence)}", file=out)


def _print_run(run: RunSummary, out: IO[str], every: bool) -> None:
    """Prints the details below a run's card."""
    if every:
        _print_closest_call([run], out)
        for sentence in _behind(run):
            print(
                *card.wrapped(clean(sentence, 1000), "  - ", "    "), sep="\n", file=out
            )
    for sentence in _remarks(run, answered=True):
        _say(f"{sentence[:1].upper()}{sentence[1:]}", out)
    if every:
        _print_replay(run, out)


def _behind(run: RunSummary) -> list[str]:
    """Returns the evidence for a run's cause that its answer leaves out."""
    if not run.answer or not run.causes:
        return []
    said = f"{run.answer.why} {run.answer.tested}"
    return [e for e in run.causes[0].evidence if e not in said]


def _print_causes(search: SearchSummary, runs: list[RunSummary], out: IO[str]) -> None:
    """Prints each cause with its evidence, and which trials it was found in."""
    edited = told.narrowed_for(search)
    answered = clean(search.answer.fix, 2000) if search.answer else ""
    for found in same_causes(runs):
        sure = f" ({found.sure})" if found.sure else ""
        # The card has said what to change, in the search's words.
        fix = "" if found.name == edited or found.fix == answered else found.fix
        _say(f"Cause in {', '.join(found.names)}: {found.name}{sure}. {fix}".strip(), out)
        indent = "    "
        evidence = found.evidence[1:_MOST]  # the first says where, as the row does
        if found.whose and evidence:
            _say(found.whose, out, indent)
            indent += "  "
        for sentence in evidence:
            _say(sentence, out, indent)
        if found.next:
            _say(found.next, out, "    ")


def _print_closest_call(runs: Sequence[RunSummary], out: IO[str]) -> None:
    """Prints which run that stayed finite came nearest to an overflow, if any did."""
    near = [r for r in runs if r.closest_call]
    if not near:
        return
    run = max(near, key=lambda r: r.closest_call.share if r.closest_call else 0.0)
    text = run.closest_call.text if run.closest_call else ""
    _say(words.closest_call_text(run.name, text, len(near) - 1), out)


def _print_aborted(aborted: Aborted, runs: Sequence[RunSummary], out: IO[str]) -> None:
    names = {r.trial_id: r.name for r in runs}
    said = aborted.message.partition("\n")[0]  # the last trial's traceback follows
    _say(f"The search was aborted: {said}", out)
    for trial, reason in zip(aborted.trials, aborted.reasons, strict=True):
        _say(f"{names.get(trial, trial)}: {reason}", out, "    ")
    _say(f"What to do: {aborted.fix}", out)


def _remarks(run: RunSummary, answered: bool) -> list[str]:
    """Returns the remarks on a run that its row does not hold, one printed line each.

    Args:
        run: the run.
        answered: whether its answer has been printed.
    """
    answered = answered and run.answer is not None
    found = [] if answered else words.postmortem_texts(run.postmortem)
    return told.remarks_of(run) + found


def _print_replay(run: RunSummary, out: IO[str]) -> None:
    """Prints the command that runs a capsule's step again, in a line that can be copied."""
    command, found = replay_command(run), run.postmortem
    if not command or found is None:
        return
    _say(words.replay_text(run.name), out)
    print(f"    {command}", file=out)
    if not found.own_code:
        return
    _say(words.placeholders_text(not found.source), out, "    ")
