"""Many trials' hyperparameters against going bad, pure: findings, rates, a verdict.

Trials are counted, never executions or continuations, and those of one search only.
What a finding says holds for the trials that were run; its p-value is corrected for
all the conditions that were looked at (`separation`), and it ends in the edit of the
search space (`edit`) with what that would have saved.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from tb_nanwatch.reading import edit as edits
from tb_nanwatch.reading.axes import MIN_SIDE, Axis, Bools, Condition, axes_of
from tb_nanwatch.reading.edit import Cut, Edit
from tb_nanwatch.reading.separation import ALPHA, Region, Separation, separate
from tb_nanwatch.reading.statistics import log_tails, wilson
from tb_nanwatch.schema import HParam, JSONScalar

# KerasTuner's own bookkeeping among the values; nobody chose them.
_BOOKKEEPING: Final = "tuner/"
# Findings of one search; what is left after three is noise to a reader.
_MAX_FINDINGS: Final = 3
# Bins along an axis in which rates are given.
_RATE_BINS: Final = 5
# No one runs more trials than this just to be sure.
_MAX_MORE: Final = 12
# A value shared by all bad trials is worth a word where chance gives that so rarely.
_SHARED_BY_CHANCE: Final = 0.05
# Two products of p-values count as equal within this share.
_EQUAL: Final = 1e-3


@dataclass(frozen=True)
class Trial:
    """One trial that has ended, or has gone bad already.

    Attributes:
        hparams: its hyperparameters with their space.
        bad: whether it went bad, in any execution.
        score: the tuner's; None where there is none.
        origin: (kind, name) of the first bad tensor.
        cause: id of the likeliest cause; None where it is not known.
    """

    hparams: Sequence[HParam]
    bad: bool
    score: float | None = None
    origin: tuple[str, str] | None = None
    cause: str | None = None


@dataclass(frozen=True)
class Finding:
    """A condition under which trials went bad; fields as in the report's JSON."""

    search: str
    hparam: str
    condition: str
    inside: tuple[int, int]
    outside: tuple[int, int]
    p_value: float
    edit: str
    saves: str
    text: str


@dataclass(frozen=True)
class Rate:
    """How many trials went bad at one value, or in one part of an axis.

    Attributes:
        hparam: name.
        label: of the value or the part.
        bad, total: trials.
        low, high: Wilson's interval of the rate, 95 %.
    """

    hparam: str
    label: str
    bad: int
    total: int
    low: float
    high: float


@dataclass(frozen=True)
class Analysis:
    """What the trials of one search say together.

    Attributes:
        findings: the clearest first.
        rates: of every hyperparameter that took several values.
        verdict: a sentence or two; empty where there is nothing to say beyond counts.
    """

    findings: list[Finding] = field(default_factory=list)
    rates: list[Rate] = field(default_factory=list)
    verdict: str = ""


def analyse(
    search: str,
    trials: Sequence[Trial],
    direction: str | None = "min",
    noun: str = "trial",
) -> Analysis:
    """Returns what the hyperparameters of one search say about going bad.

    Args:
        search: its id, repeated in the findings.
        trials: those that ended, each once.
        direction: "min" or "max", of the objective.
        noun: what a trial is called.
    """
    space = _Space.of(trials, direction, noun)
    rates = _rates(space)
    bad = int(space.bad.sum())
    if not 0 < bad < len(trials) or not space.axes:
        return Analysis([], rates, _without_comparison(space))
    findings: list[Finding] = []
    sentences: list[str] = []
    left = np.ones(len(trials), np.bool_)
    first: Separation | None = None
    while len(findings) < _MAX_FINDINGS:
        separation = separate(space.axes, space.bad, space.best, left)
        first = first or separation
        if separation.best is None:
            break
        finding, sentence = _finding(search, space, separation, left, bool(findings))
        findings.append(finding)
        sentences.append(sentence)
        left &= ~separation.best.inside
    if findings:
        return Analysis(findings, rates, " ".join(sentences))
    assert first is not None
    return Analysis([], rates, _nothing_found(space, first))


# --- The trials as arrays -----------------------------------------------------------


@dataclass
class _Space:
    trials: Sequence[Trial]
    values: list[dict[str, HParam]]
    bad: Bools
    axes: list[Axis]
    best: int | None
    noun: str

    @classmethod
    def of(cls, trials: Sequence[Trial], direction: str | None, noun: str) -> _Space:
        kept = [
            [h for h in t.hparams if not h.name.startswith(_BOOKKEEPING)] for t in trials
        ]
        sign = -1.0 if direction == "max" else 1.0
        scored = [
            (sign * t.score, i)
            for i, t in enumerate(trials)
            if not t.bad and t.score is not None and math.isfinite(t.score)
        ]
        return cls(
            trials,
            [{h.name: h for h in hparams if h.active} for hparams in kept],
            np.array([t.bad for t in trials], np.bool_),
            axes_of(kept),
            min(scored)[1] if scored else None,
            noun,
        )

    def count(self, n: int) -> str:
        return f"{n:,} {self.noun}" + ("" if n == 1 else "s")


# --- Findings -----------------------------------------------------------------------


def _finding(
    search: str, space: _Space, separation: Separation, left: Bools, further: bool
) -> tuple[Finding, str]:
    """Returns the finding and its first sentence."""
    region = separation.best
    assert region is not None
    inside = _counts(space, region.inside & left)
    outside = _counts(space, left & ~region.inside)
    bounds = {c.axis: _bounds(space.axes, region, c, left) for c in region.conditions}
    order = sorted(region.conditions, key=lambda c: (c.op != "in", c.axis))
    condition = " and ".join(
        condition_text(space.axes[c.axis], c, *bounds[c.axis]) for c in order
    )
    edit = _best_edit(space, region, bounds)
    hparam = edit.hparam if edit else space.axes[order[-1].axis].name
    elsewhere = "elsewhere" if not further else "of the others"
    sentence = (
        f"{condition} went bad in {inside[0]} of {space.count(inside[1])}, {elsewhere} "
        f"{outside[0]} of {outside[1]}; corrected p = {p_text(region.p_value)}."
    )
    saves = _saves(space, edit) if edit else ""
    cause = _cause(space, region.inside & left)
    if cause and inside[0] > 1:
        sentence += f" Cause in all {inside[0]}: {cause.replace('_', ' ')}."
    parts = [sentence, *_confounding(space, separation, left)]
    if edit:
        parts.append(f"The edit {saves}. {edits.REMINDER}")
    finding = Finding(
        search,
        hparam,
        condition,
        inside,
        outside,
        region.p_value,
        edit.code if edit else "",
        saves,
        " ".join(parts),
    )
    return finding, sentence


def _counts(space: _Space, mask: Bools) -> tuple[int, int]:
    return int((space.bad & mask).sum()), int(mask.sum())


def _bounds(
    axes: Sequence[Axis], region: Region, condition: Condition, left: Bools
) -> tuple[float, float]:
    """Returns the values next to a threshold: the last that lives, the first that dies.

    Among the trials that meet the region's other conditions, since only these say
    where the threshold lies.
    """
    if condition.op == "in":
        return math.nan, math.nan
    others = left.copy()
    for other in region.conditions:
        if other is not condition:
            others &= axes[other.axis].holds(other)
    numbers = axes[condition.axis].numbers
    dead = numbers[others & region.inside]
    live = numbers[others & ~region.inside & ~np.isnan(numbers)]
    if condition.op == "ge":
        return (float(live.max()) if len(live) else math.nan), float(dead.min())
    return (float(live.min()) if len(live) else math.nan), float(dead.max())


def condition_text(axis: Axis, condition: Condition, live: float, dead: float) -> str:
    """Returns "learning_rate >= 0.11" or "optimizer = sgd".

    Args:
        axis: the condition's.
        condition: on it.
        live, dead: the observed values on both sides of a threshold.
    """
    if condition.op == "in":
        values = [value_text(axis.levels[i]) for i in sorted(condition.levels)]
        if len(values) == 1:
            return f"{axis.name} = {values[0]}"
        return f"{axis.name} in ({', '.join(values)})"
    sign = ">=" if condition.op == "ge" else "<="
    return f"{axis.name} {sign} {threshold_text(dead, live, axis.whole)}"


def threshold_text(dead: float, live: float, whole: bool) -> str:
    """Returns `dead` in few digits, rounded towards `live` but never up to it."""
    if whole:
        return f"{int(dead)}"
    if math.isnan(live):
        live = -math.inf
    for digits in range(2, 17):
        scale = 10.0 ** (digits - 1 - math.floor(math.log10(abs(dead)))) if dead else 1.0
        rounded = (math.floor if live < dead else math.ceil)(dead * scale) / scale
        short = float(f"{rounded:.{digits - 1}e}")
        if min(live, dead) < short <= dead if live < dead else dead <= short < live:
            return edits.number_text(short)
    return edits.number_text(dead)


def value_text(value: JSONScalar) -> str:
    """Returns a value of a choice as users read it."""
    return edits.number_text(value) if isinstance(value, float) else str(value)


def p_text(p: float) -> str:
    """Returns a p-value at one digit, "0.002" or "5e-06"."""
    return f"{p:.1g}" if p > 0 else "1e-300"


def _best_edit(
    space: _Space, region: Region, bounds: dict[int, tuple[float, float]]
) -> Edit | None:
    """Returns the edit that removes the region at the least loss of clean trials."""
    options: list[Edit | None] = []
    axes = space.axes
    taken = {name for values in space.values for name in values}
    cuts: dict[int, Cut] = {
        c.axis: edits.cut_of(axes[c.axis], c, *bounds[c.axis]) for c in region.conditions
    }
    if len(region.conditions) == 2:
        for one, other in (region.conditions, region.conditions[::-1]):
            parent = axes[other.axis]
            options.append(
                edits.within(
                    cuts[one.axis], axes[one.axis], parent, _values(parent, other), taken
                )
            )
    else:
        (one,) = region.conditions
        options.append(edits.unconditional(cuts[one.axis], axes[one.axis]))
    if not any(options):
        # KerasTuner's scopes cannot say both conditions: one of them has to do.
        options = [
            edits.unconditional(cuts[c.axis], axes[c.axis]) for c in region.conditions
        ]
    found = [e for e in options if e is not None]

    def loss(edit: Edit) -> tuple[bool, int, bool, int]:
        gone = _removed(space, edit)
        lost_best = space.best is not None and bool(gone[space.best])
        lost = int((gone & ~space.bad).sum())
        threshold = any(
            axes[c.axis].name == edit.hparam and c.op != "in" for c in region.conditions
        )
        return lost_best, lost - int((gone & space.bad).sum()), not threshold, lost

    return min(found, key=loss, default=None)


def _values(axis: Axis, condition: Condition) -> list[JSONScalar]:
    """Returns the values of an axis at which a condition holds, as the space lists them."""
    if condition.op == "in":
        return [axis.levels[i] for i in sorted(condition.levels)]
    listed = edits.listed(axis.specs[0]) if len(axis.specs) == 1 else None
    return [
        v
        for v in listed or []
        if isinstance(v, int | float)
        and (v >= condition.at if condition.op == "ge" else v <= condition.at)
    ]


def _removed(space: _Space, edit: Edit) -> Bools:
    return np.array([not edit.keeps(values) for values in space.values], np.bool_)


def _saves(space: _Space, edit: Edit) -> str:
    gone = _removed(space, edit)
    bad, clean = int(space.bad.sum()), int((~space.bad).sum())
    text = (
        f"removes {int((gone & space.bad).sum())} of {bad} bad "
        f"{space.noun}{'' if bad == 1 else 's'}, "
        f"loses {int((gone & ~space.bad).sum())} of {clean} clean"
    )
    if space.best is not None:
        text += ", best score " + ("lost" if gone[space.best] else "kept")
    return text


def _confounding(space: _Space, separation: Separation, left: Bools) -> list[str]:
    """Returns a sentence for each hyperparameter that may be to blame as well."""
    region = separation.best
    assert region is not None
    sentences = []
    told = {c.axis for c in region.conditions}
    for rival in separation.rivals:
        (condition,) = rival.conditions
        axis = space.axes[condition.axis]
        bounds = _bounds(space.axes, rival, condition, left)
        inside = _counts(space, rival.inside & left)
        outside = _counts(space, left & ~rival.inside)
        sentences.append(
            f"{condition_text(axis, condition, *bounds)} goes with it about as well "
            f"({inside[0]} of {inside[1]}, elsewhere {outside[0]} of {outside[1]}): these "
            f"{space.noun}s cannot tell the two apart."
        )
        told.add(condition.axis)
    for index, axis in enumerate(space.axes):
        if index in told or axis.ordered:
            continue
        sentence = _shared(space, region, axis, left)
        if sentence:
            sentences.append(sentence)
    return sentences


def _shared(space: _Space, region: Region, axis: Axis, left: Bools) -> str | None:
    bad = space.bad & region.inside & left
    codes = set(axis.codes[bad].tolist())
    if len(codes) != 1 or -1 in codes:
        return None
    (code,) = codes
    same = (axis.codes == code) & left
    share = same.sum() / max(1, left.sum())
    if share == 1 or share ** int(bad.sum()) > _SHARED_BY_CHANCE:
        return None
    others = int((region.inside & left & ~same).sum())
    text = f"Every bad {space.noun} of these also had {axis.name} = {value_text(axis.levels[code])}"
    if others == 0:
        return (
            text + f", and no {space.noun} there had another: that cannot be told apart."
        )
    return text + f"; only {space.count(others)} there had another."


# --- Verdicts -----------------------------------------------------------------------


# Causes that lie in the program or its data, whatever the hyperparameters.
_NOT_OF_THE_SPACE: Final = (
    "unscaled_inputs",
    "unscaled_targets",
    "nonfinite_data",
    "label_range",
    "loss_domain",
    "metric_domain",
    "layer_domain",
    "half_precision",
)
_NONE_LIVED: Final = (
    "No {} stayed finite, so none of the values that were tried is known to live; widen "
    "the space towards milder ones (a smaller learning rate first), or look for what all "
    "have in common: data, loss or model."
)


def _cause(space: _Space, within: Bools | None = None) -> str | None:
    """Returns the cause that all bad trials share, None where they do not."""
    mask = space.bad if within is None else space.bad & within
    causes = {t.cause for t, is_bad in zip(space.trials, mask, strict=True) if is_bad}
    (cause,) = causes if len(causes) == 1 else (None,)
    return None if cause == "unknown" else cause


def _without_comparison(space: _Space) -> str:
    """Returns what to say where no two outcomes, or no two values, can be compared."""
    bad, total = int(space.bad.sum()), len(space.trials)
    if not bad:
        return ""
    common = _common(space)
    if bad == total:
        if total == 1:
            return "One trial alone says nothing about its hyperparameters.".replace(
                "trial", space.noun
            )
        if common and _cause(space) in _NOT_OF_THE_SPACE:
            return f"{common}: no hyperparameter is to blame."
        if common:
            return f"{common}. {_NONE_LIVED.format(space.noun)}"
        if not space.axes:
            return f"All {space.count(total)} used the same values."
        return _NONE_LIVED.format(space.noun)
    if common:
        return f"{common}; all {space.noun}s used the same hyperparameter values."
    return (
        f"No hyperparameter took two values, so none can be compared; {bad} of "
        f"{space.count(total)} went bad by chance (initial weights, order of the data)."
    )


def _common(space: _Space) -> str | None:
    """Returns "9 of 9: <cause>, first in <tensor>" where all bad trials share it."""
    bad = [t for t in space.trials if t.bad]
    origins = Counter(t.origin for t in bad)
    cause = _cause(space)
    parts = [cause.replace("_", " ")] if cause else []
    origin, share = origins.most_common(1)[0]
    if share == len(bad) and origin is not None:
        kind, name = origin
        label = kind.replace("_", " ")
        parts.append(
            f"first in {label} {name}"
            if name and name != kind
            else f"first in the {label}"
        )
    if not parts or (len(bad) < 2):
        return None
    return f"{len(bad)} of {len(bad)} bad {space.noun}s alike: {', '.join(parts)}"


def _nothing_found(space: _Space, separation: Separation) -> str:
    total = len(space.trials)
    few = _too_few(space, separation)
    if few:
        return few
    text = "No hyperparameter goes with going bad"
    common = _common(space)
    if common:
        text += f" ({common})"
    closest = separation.closest
    if closest is None:
        return text + "."
    (condition,) = closest.conditions
    axis = space.axes[condition.axis]
    bounds = _bounds(space.axes, closest, condition, np.ones(total, np.bool_))
    inside, outside = _counts(space, closest.inside), _counts(space, ~closest.inside)
    return (
        f"{text}; the closest is {condition_text(axis, condition, *bounds)} "
        f"({inside[0]} of {inside[1]}, elsewhere {outside[0]} of {outside[1]}; corrected "
        f"p = {p_text(closest.p_value)})."
    )


def _too_few(space: _Space, separation: Separation) -> str | None:
    """Returns the sentence where even a perfect split would prove nothing."""
    bad, total = int(space.bad.sum()), len(space.trials)
    log_perfect = float(log_tails(total, bad, np.array([bad]))[0, bad])
    regions = max(1, separation.single_regions)
    testable = min(bad, total - bad) >= MIN_SIDE and log_perfect <= math.log(ALPHA)
    if testable and math.exp(log_perfect) * regions < separation.critical * (1 - _EQUAL):
        return None
    what = (
        space.count(total)
        if total <= 2 * bad + 4
        else f"{bad} bad of {space.count(total)}"
    )
    verb = "is" if what == f"1 {space.noun}" else "are"
    text = f"{what} {verb} too few to tell which hyperparameter is to blame"
    more = _more_trials(space, separation)
    return f"{text}; {more}." if more else f"{text}."


def _more_trials(space: _Space, separation: Separation) -> str | None:
    """Returns "3 more at learning_rate <= 1e-3 would" for the closest region.

    So many that the exact test would pass, if they fare as those around them did.
    """
    region = separation.closest
    if region is None:
        return None
    inside, outside = _counts(space, region.inside), _counts(space, ~region.inside)
    if inside[0] < inside[1] or outside[0]:
        return None  # nobody knows how more of a mixture would fare
    for more in range(1, _MAX_MORE + 1):
        # As few as possible on the side where trials go bad: those are wasted.
        for dead in range(more // 2 + 1):
            counts = inside[0] + dead, inside[1] + dead
            n, bad = len(space.bad) + more, int(space.bad.sum()) + dead
            tail = float(log_tails(n, bad, np.array([counts[1]]))[0, counts[0]])
            # Bonferroni's bound, half of which is kept for conjunctions.
            if math.exp(tail) * separation.single_regions <= ALPHA / 2:
                return _more_text(space, region, more - dead, dead)
    return None


def _more_text(space: _Space, region: Region, live: int, dead: int) -> str | None:
    (condition,) = region.conditions
    axis = space.axes[condition.axis]
    bounds = _bounds(space.axes, region, condition, np.ones(len(space.bad), np.bool_))
    there = condition_text(axis, condition, *bounds)
    if condition.op == "in":
        rest = [i for i in range(len(axis.levels)) if i not in condition.levels]
        other = Condition(condition.axis, "in", levels=frozenset(rest))
        away = condition_text(axis, other, *bounds)
    elif math.isnan(bounds[0]):
        return None
    else:
        sign = "<=" if condition.op == "ge" else ">="
        away = f"{axis.name} {sign} {threshold_text(bounds[0], bounds[1], axis.whole)}"
    text = f"{live} more at {away}"
    if dead:
        text += f" and {dead} more at {there}"
    return f"{text} would, if they fare as these did"


# --- Rates --------------------------------------------------------------------------


def _rates(space: _Space) -> list[Rate]:
    rates = []
    for axis in space.axes:
        for label, mask in _parts(axis):
            bad, total = _counts(space, mask)
            rates.append(Rate(axis.name, label, bad, total, *wilson(bad, total)))
    return rates


def _parts(axis: Axis) -> list[tuple[str, Bools]]:
    """Returns the axis in parts: its values, or bins with as many trials each."""
    if not axis.ordered:
        return [(value_text(v), axis.codes == i) for i, v in enumerate(axis.levels)]
    known = axis.numbers[~np.isnan(axis.numbers)]
    values = np.unique(known)
    if len(values) <= 2 * _RATE_BINS:
        return [(_short(v, axis), axis.numbers == v) for v in values]
    edges: Any = np.unique(np.quantile(known, np.linspace(0, 1, _RATE_BINS + 1)))
    parts = []
    for i in range(len(edges) - 1):
        last = i == len(edges) - 2
        with np.errstate(invalid="ignore"):
            below = axis.numbers <= edges[i + 1] if last else axis.numbers < edges[i + 1]
            mask = (axis.numbers >= edges[i]) & below
        if mask.any():
            low, high = axis.numbers[mask].min(), axis.numbers[mask].max()
            parts.append((f"{_short(low, axis)} to {_short(high, axis)}", mask))
    return parts


def _short(value: float, axis: Axis) -> str:
    return f"{int(value)}" if axis.whole else f"{value:.3g}"


__all__ = ["ALPHA", "Analysis", "Finding", "Rate", "Trial", "analyse"]
