# SPDX-License-Identifier: Apache-2.0
"""The card at a search's end: the answer that most of its bad trials share; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tb_nanwatch.diagnosis.answer import parts_of
from tb_nanwatch.diagnosis.shared import shared
from tb_nanwatch.record.schema import BAD_STATUSES, JSONScalar, Status
from tb_nanwatch.wording.card import Card, Part
from tb_nanwatch.wording.counts import counted
from tb_nanwatch.writing.search.verdict import TrialAnswer
from tb_nanwatch.writing.telling.concerned import as_number, is_about

Values = Mapping[str, Mapping[str, JSONScalar]]


def card_at_end(
    statuses: Mapping[str, Status],
    answers: Mapping[str, TrialAnswer],
    see: Sequence[str],
    values: Values,
    confirmed: str = "",
) -> Card:
    """Returns the card of a search that has ended.

    Args:
        statuses: of its watched trials, by id.
        answers: of trials that went bad, by id.
        see: commands that show more, a line each; the first prints the edit of the space.
        values: the active hyperparameters of each trial, by its id and their names.
        confirmed: what short extra trials made of the search's hint, "" without any.
    """
    bad = [trial for trial, status in statuses.items() if status in BAD_STATUSES]
    if not bad:
        return Card(_clean_text(statuses), False)
    first = f"{len(bad):,} of {counted(len(statuses), 'watched trial')} went bad."
    known = [trial for trial in bad if trial in answers]
    tried = (Part("Tried", confirmed),) if confirmed else ()
    chosen = shared([answers[trial].standing for trial in known])
    if chosen is None or not answers[known[chosen.shown]].answer.sure:
        return Card(first, True, tried, tuple(see))
    alike = [known[i] for i in chosen.alike]
    name, answer = answers[known[chosen.shown]][:2]
    which = f"{name}; {len(alike)} of {len(bad)} bad alike" if len(bad) > 1 else name
    why, fix, *rest = parts_of(answer)
    live = [trial for trial in statuses if trial not in bad]
    about = {t: answers[t].standing.about for t in alike}
    hparam = _blamed(about, values)
    if narrow := _narrow(hparam, about, live, values):
        # As the report says it: one trial's rate is not the search's bound.
        more = f" `{see[0]}` has the edit to paste." if see else ""
        fix = replace(fix, text=narrow + more)
    elif hparam and live and see:
        more = f"That is for {name}; `{see[0]}` compares all trials by `{hparam}`."
        fix = replace(fix, text=f"{fix.text} {more}")
    return Card(
        first,
        True,
        (replace(why, text=f"{why.text} ({which})"), fix, *rest, *tried),
        see=tuple(see),
    )


def _clean_text(statuses: Mapping[str, Status]) -> str:
    counted = Counter(statuses.values())
    total = len(statuses)
    if counted["clean"] == total:
        return f"All finite: {total:,} trial{'s' * (total != 1)}."
    kinds = ", ".join(f"{n:,} {s.replace('_', ' ')}" for s, n in counted.most_common())
    return f"No trial went bad: {kinds}."


def _blamed(about: Mapping[str, float | None], values: Values) -> str:
    """Returns the one hyperparameter that gave the values to blame, "" where none or several did.

    Args:
        about: the value that each trial with the shared cause died of.
        values: of all trials.
    """
    names = [
        name
        for name in values.get(next(iter(about)), {})
        if all(is_about(values.get(t, {}).get(name), a) for t, a in about.items())
    ]
    return names[0] if len(names) == 1 else ""


def _narrow(
    name: str,
    about: Mapping[str, float | None],
    live: Sequence[str],
    values: Values,
) -> str:
    """Returns where the values that went bad begin, in a sentence.

    "" where no hyperparameter is known to be to blame, or where others lived there.

    Args:
        name: the hyperparameter's, "" for none.
        about, values: as of `_blamed`.
        live: ids of the trials that did not go bad.
    """
    dead = [a for a in about.values() if a is not None]
    lived = [v for t in live if (v := as_number(values.get(t, {}).get(name))) is not None]
    if not (name and dead and lived) or max(lived) >= min(dead):
        return ""
    return (
        f"Narrow `{name}` in the search space: {min(dead):.3g} and more went bad, "
        f"{max(lived):.3g} and less stayed finite."
    )
