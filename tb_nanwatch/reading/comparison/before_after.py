# SPDX-License-Identifier: Apache-2.0
"""Two searches, before and after an edit of the search space; pure.

It tells how many trials went bad in each, an exact test of the difference, the edits of the
space, and which trials of the first search lie outside the edited space.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from typing import Final

from tb_nanwatch.declaring.cut import same
from tb_nanwatch.declaring.declaration import declaration, listed
from tb_nanwatch.reading.contract.comparisons import Removed, Share, SpaceChange
from tb_nanwatch.reading.search.statistics import fisher_exact, wilson
from tb_nanwatch.reading.search.trials import ComparedTrial
from tb_nanwatch.record.schema import HParam, JSONScalar
from tb_nanwatch.wording import before_after_text as words

# The usual level of significance.
_CLEAR: Final = 0.05
_EQUAL: Final = 1e-9
# An edit keeps most of a space: with fewer shared names the two count as two programs.
_AKIN: Final = 0.5


@dataclass(frozen=True)
class Half:
    """One of the two searches that are compared.

    Attributes:
        name: its name in sentences.
        trials: those whose fate is known.
        space: every declaration, those of inactive hyperparameters too.
        direction: "min" or "max", of the objective.
        objective: its name.
    """

    name: str
    trials: Sequence[ComparedTrial]
    space: Sequence[HParam]
    direction: str | None = None
    objective: str | None = None


@dataclass(frozen=True)
class BeforeAfter:
    """The effect of an edit of the search space.

    Attributes:
        shares: of both searches.
        p_value: two-sided, of Fisher's exact test on the two shares; None where a
            search has no trial.
        changes: the edited declarations of the space.
        removed: what the edit removed; None where nothing was edited, or where the
            spaces share less than half of their hyperparameters.
        best_scores: of the trials that did not go bad; None where there is none.
        verdict: the answer in a few sentences.
    """

    shares: tuple[Share, Share]
    p_value: float | None
    changes: list[SpaceChange] = field(default_factory=list)
    removed: Removed | None = None
    best_scores: tuple[float | None, float | None] = (None, None)
    verdict: str = ""


def before_after(first: Half, second: Half) -> BeforeAfter:
    """Returns the effect of the edit between two searches."""
    shares = (_share(first), _share(second))
    p_value = None
    if shares[0].total and shares[1].total:
        p_value = fisher_exact(
            (shares[0].bad, shares[0].total), (shares[1].bad, shares[1].total)
        )
    changes = _changes(first.space, second.space)
    common = _in_common(first.space, second.space)
    akin = common is None or common[0] >= _AKIN * common[1]
    removed = _removed(first, second) if changes and akin else None
    best = (_best(first), _best(second))
    verdict = _verdict(
        first, second, shares, p_value, changes, None if akin else common, removed, best
    )
    return BeforeAfter(shares, p_value, changes, removed, best, verdict)


def _share(half: Half) -> Share:
    bad = sum(t.bad for t in half.trials)
    total = len(half.trials)
    return Share(bad, total, *wilson(bad, total))


def _best(half: Half) -> float | None:
    at = _best_trial(half)
    return None if at is None else half.trials[at].score


def _best_trial(half: Half) -> int | None:
    sign = -1.0 if half.direction == "max" else 1.0
    scored = [
        (sign * t.score, i)
        for i, t in enumerate(half.trials)
        if not t.bad and t.score is not None and math.isfinite(t.score)
    ]
    return min(scored)[1] if scored else None


# --- The space --------------------------------------------------------------------------


def space_of(declared: Sequence[HParam]) -> list[HParam]:
    """Returns each declaration once; a name may stand in several scopes.

    Args:
        declared: those of all trials.
    """
    space: dict[str, HParam] = {}
    for spec in declared:
        if not spec.name.startswith("tuner/"):
            space.setdefault(_key(spec), spec)
    return list(space.values())


def _key(spec: HParam) -> str:
    return repr((spec.name, spec.conditions, _code(spec)))


def _code(spec: HParam) -> str:
    return words.declared_text(spec.name, declaration(spec), spec.conditions)


def _changes(first: Sequence[HParam], second: Sequence[HParam]) -> list[SpaceChange]:
    changes = []
    for name in dict.fromkeys(s.name for s in (*first, *second)):
        one = "; ".join(_code(s) for s in first if s.name == name) or None
        other = "; ".join(_code(s) for s in second if s.name == name) or None
        if one == other:
            continue
        text = words.change_text(name, one, other)
        changes.append(SpaceChange(name, one, other, text))
    return changes


def _in_common(
    first: Sequence[HParam], second: Sequence[HParam]
) -> tuple[int, int] | None:
    """Returns (shared, all) names of two spaces; None where a space has no names yet."""
    names = [{s.name for s in space} for space in (first, second)]
    if not all(names):
        return None
    return len(names[0] & names[1]), len(names[0] | names[1])


# --- What the edit removed ----------------------------------------------------------------


def _removed(first: Half, second: Half) -> Removed:
    known = {s.name for s in first.space}
    gone = [not _has_room(second.space, known, t) for t in first.trials]
    pairs = list(zip(first.trials, gone, strict=True))
    bad = (sum(g for t, g in pairs if t.bad), sum(t.bad for t in first.trials))
    clean = (
        sum(g for t, g in pairs if not t.bad),
        sum(not t.bad for t in first.trials),
    )
    at = _best_trial(first)
    best = gone[at] if at is not None else None
    text = words.removed_text(first.name, bad, clean, best)
    return Removed(bad, clean, best, text)


def _has_room(space: Sequence[HParam], known: set[str], trial: ComparedTrial) -> bool:
    """Returns whether a space has room for a trial of another one.

    Args:
        space: the edited one.
        known: names of the space that the trial is from.
        trial: the trial.
    """
    values = {h.name: h.value for h in trial.hparams if h.active}
    for name, value in values.items():
        if name.startswith("tuner/"):
            continue
        specs = [s for s in space if s.name == name and _reached(s, values)]
        if not specs:
            # KerasTuner cannot declare one name in two scopes with different ranges,
            # so an edit declares it there under a longer name (`edit.within`).
            specs = [
                s
                for s in space
                if s.name.startswith(f"{name}_")
                and s.name not in known
                and _reached(s, values)
            ]
        if specs and not any(_allows(s, value) for s in specs):
            return False
    return True


def _reached(spec: HParam, values: dict[str, JSONScalar]) -> bool:
    return all(
        c.name not in values or any(same(values[c.name], v) for v in c.values)
        for c in spec.conditions
    )


def _allows(spec: HParam, value: JSONScalar) -> bool:
    if spec.type in ("float", "int"):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        low, high = spec.min, spec.max
        above = not isinstance(low, int | float) or value >= low - _EQUAL * abs(low)
        below = not isinstance(high, int | float) or value <= high + _EQUAL * abs(high)
        return above and below
    if spec.type == "fixed":
        return same(spec.default if spec.value is None else spec.value, value)
    every = listed(spec)
    return every is None or any(same(v, value) for v in every)


# --- The verdict ----------------------------------------------------------------------


def _verdict(
    first: Half,
    second: Half,
    shares: tuple[Share, Share],
    p_value: float | None,
    changes: Sequence[SpaceChange],
    unlike: tuple[int, int] | None,
    removed: Removed | None,
    best: tuple[float | None, float | None],
) -> str:
    a, b = (astuple(share) for share in shares)
    clear = p_value is not None and p_value <= _CLEAR
    rates = words.rates_text((first.name, *a), (second.name, *b), p_value, clear)
    sentences = [rates]
    if unlike is not None:
        return " ".join([*sentences, words.unlike_text(*unlike)])
    if not changes:
        sentences.append(words.SAME_SPACE)
    if removed is not None:
        sentences.append(removed.text)
    if best[0] is not None and best[1] is not None:
        sentences.append(
            words.score_text(best[0], best[1], second.direction == "max")
            if first.objective == second.objective
            else words.OTHER_OBJECTIVE
        )
    return " ".join(sentences)
