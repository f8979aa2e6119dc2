# SPDX-License-Identifier: Apache-2.0
"""Relates trials' hyperparameters to going bad; pure: findings, rates, a verdict.

Trials are counted, never executions or continuations, and those of one search only.
What a finding says holds for the trials that were run; its p-value is corrected for
all the conditions that were looked at (`separation`), and it ends in the edit of the
search space (`edit`) with what that would have saved.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from tb_nanwatch.declaring.cut import Cut
from tb_nanwatch.declaring.declaration import listed, number_text
from tb_nanwatch.diagnosis.rules.thresholds import at
from tb_nanwatch.reading.contract.searches import Finding, Rate
from tb_nanwatch.reading.search import edit as edits
from tb_nanwatch.reading.search.axes import Axis, Bools, HParamCondition, cut_of
from tb_nanwatch.reading.search.edit import Edit
from tb_nanwatch.reading.search.min_p import ALPHA
from tb_nanwatch.reading.search.pointed import pointed
from tb_nanwatch.reading.search.rates import rates_of
from tb_nanwatch.reading.search.separation import Region, Separation, separate
from tb_nanwatch.reading.search.trials import (
    ComparedTrial,
    Space,
    common_cause,
    condition_text,
    counts,
    p_text,
    region_text,
    suspects_of,
    threshold_text,
    tried_bounds,
    value_text,
)
from tb_nanwatch.reading.search.verdict import (
    how_to_mend,
    mend_first,
    more_needed,
    nothing_found,
    without_comparison,
    without_exception,
)
from tb_nanwatch.record.schema import JSONScalar
from tb_nanwatch.wording.answer_text import capital, label_of
from tb_nanwatch.wording.edit_text import REMINDER
from tb_nanwatch.wording.finding_text import (
    also_had_text,
    between_text,
    fared_text,
    finding_text,
    rival_text,
    saves_text,
)
from tb_nanwatch.wording.first_screen_text import BY_CHANCE, condition_went_bad_text
from tb_nanwatch.wording.verdict_text import trials_text

# Most findings of a search: a fourth one would be noise to a reader.
_MAX_FINDINGS: Final = 3
# A value shared by all bad trials is worth a word where chance gives that so rarely.
_SHARED_BY_CHANCE: Final = 0.05


@dataclass(frozen=True)
class Analysis:
    """The result of comparing the trials of one search.

    Attributes:
        findings: the clearest first.
        rates: of every hyperparameter that took several values.
        verdict: a sentence or two; empty where there is nothing to say beyond counts.
        perhaps: a sentence on the condition that holds for all bad trials and no other, where
            the counts do not prove it and chance would seldom give one; "" for none.
    """

    findings: list[Finding] = field(default_factory=list)
    rates: list[Rate] = field(default_factory=list)
    verdict: str = ""
    perhaps: str = ""


def analyse(
    search: str,
    trials: Sequence[ComparedTrial],
    direction: str | None = "min",
) -> Analysis:
    """Returns which hyperparameters of one search are associated with going bad.

    Args:
        search: its id, repeated in the findings.
        trials: those that ended, each once.
        direction: "min" or "max", of the objective.
    """
    space = Space.of(trials, direction)
    rates = rates_of(space)
    bad = int(space.bad.sum())
    if not 0 < bad < len(trials) or not space.axes:
        return Analysis([], rates, without_comparison(space))
    findings: list[Finding] = []
    sentences: list[str] = []
    first: Separation | None = None
    for separation, left in separations(space):
        first = first or separation
        if separation.best is not None:
            finding, sentence = _finding(search, space, separation, left, bool(findings))
            findings.append(finding)
            sentences.append(sentence)
    if findings:
        # What lies in the program or its data is told first, unless the counts prove
        # that hyperparameters have a part in it.
        if findings[0].p_value > ALPHA:
            sentences.insert(0, mend_first(space))
        else:
            sentences.append(how_to_mend(space))
        return Analysis(findings, rates, " ".join(filter(None, sentences)))
    assert first is not None
    return Analysis([], rates, nothing_found(space, first), _perhaps(space, first))


def stable_cuts(
    trials: Sequence[ComparedTrial], direction: str | None = "min"
) -> list[Cut]:
    """Returns a cut for each finding that holds whatever the other values are.

    It is what can be said of a space without a change of the program: a bound that
    depends on another hyperparameter cannot. Of two conditions the one is cut that
    removes most bad trials for the clean ones that it loses.

    Args:
        trials, direction: as for `analyse`.
    """
    space = Space.of(trials, direction)
    if not 0 < int(space.bad.sum()) < len(trials) or not space.axes:
        return []
    found = []
    for separation, left in separations(space):
        region, options = separation.best, []
        for condition in region.conditions if region is not None else ():
            assert region is not None
            axis = space.axes[condition.axis]
            bounds = tried_bounds(space, region, condition, left)
            cut = cut_of(axis, condition, *bounds)
            edit = edits.unconditional(cut, axis, space.known)
            if edit is not None:
                options.append((_loss(space, region, edit), cut))
        if options:
            found.append(min(options, key=lambda option: option[0])[1])
    return found


def separations(space: Space) -> Iterator[tuple[Separation, Bools]]:
    """Yields the best separation of bad trials from good ones, then that of the trials left over.

    The second item of each says which trials were looked at. The last separation may
    have no region.
    """
    suspects = suspects_of(space)
    left = np.ones(len(space.trials), np.bool_)
    for _ in range(_MAX_FINDINGS):
        separation = separate(space.axes, space.bad, space.best, left, suspects)
        everything = bool(left.all())
        if separation.best is None and everything:
            separation = replace(separation, best=pointed(space))
        yield separation, left.copy()
        if separation.best is None:
            return
        left &= ~separation.best.inside


def _perhaps(space: Space, separation: Separation) -> str:
    """Returns `Analysis.perhaps` of the whole search."""
    region = without_exception(space, separation)
    if region is None or region.p_value > at("worth_a_word"):
        return ""
    condition = region_text(space, region, np.ones(len(space.trials), np.bool_))
    sides = counts(space, region.inside), counts(space, ~region.inside)
    return f"{capital(condition_went_bad_text('trial', condition, *sides))}. {BY_CHANCE}"


# --- Findings -----------------------------------------------------------------------


def _finding(
    search: str, space: Space, separation: Separation, left: Bools, further: bool
) -> tuple[Finding, str]:
    """Returns the finding and its first sentence."""
    region = separation.best
    assert region is not None
    inside = counts(space, region.inside & left)
    outside = counts(space, left & ~region.inside)
    bounds = {c.axis: tried_bounds(space, region, c, left) for c in region.conditions}
    condition = region_text(space, region, left)
    edit = _best_edit(space, region, bounds)
    hparam = edit.hparam if edit else space.axes[region.conditions[-1].axis].name
    saves = _saves(space, edit, region, bounds) if edit else ""
    cause = common_cause(space, region.inside & left)
    proved = region.p_value <= ALPHA  # else only what they died of speaks for it
    # More trials are no use before what lies in program or data is mended.
    asks = not proved and not mend_first(space)
    sentence = finding_text(
        fared_text(condition, (inside[0], trials_text(inside[1])), outside, further),
        p_text(region.p_value),
        proved,
        label_of(cause) if cause and inside[0] > 1 else "",
        inside[0],
        more_needed(region, inside, outside) if asks else None,
    )
    rivals = " ".join(_confounding(space, separation, left))
    parts = [sentence, *filter(None, [rivals])]
    if edit:
        again = "" if edit.place == "by hand" else f" {REMINDER}"
        parts.append(f"The edit {saves}.{again}")
    finding = Finding(
        search,
        hparam,
        condition,
        inside,
        outside,
        region.p_value,
        edit.code if edit else "",
        edit.where if edit else "",
        saves,
        rivals,
        " ".join(parts),
    )
    return finding, sentence


def _best_edit(
    space: Space, region: Region, bounds: dict[int, tuple[float, float]]
) -> Edit | None:
    """Returns the edit that removes the region at the least loss of clean trials."""
    options: list[Edit | None] = []
    axes = space.axes
    cuts: dict[int, Cut] = {
        c.axis: cut_of(axes[c.axis], c, *bounds[c.axis]) for c in region.conditions
    }
    ones = [axes[at] for at in cuts]
    by_hand = edits.by_hand(list(cuts.values()), ones)
    if by_hand is not None:
        return by_hand
    if len(region.conditions) == 2:
        for one, other in (region.conditions, region.conditions[::-1]):
            parent = axes[other.axis]
            options.append(
                edits.within(
                    cuts[one.axis],
                    axes[one.axis],
                    parent,
                    _values(parent, other),
                    space.known,
                    other.axis < one.axis,
                )
            )
    else:
        (one,) = region.conditions
        options.append(edits.unconditional(cuts[one.axis], axes[one.axis], space.known))
    if not any(options):
        # KerasTuner's scopes cannot say both conditions: one of them has to do.
        options = [
            edits.unconditional(cuts[c.axis], axes[c.axis], space.known)
            for c in region.conditions
        ]
    found = [e for e in options if e is not None]

    return min(found, key=lambda edit: _loss(space, region, edit), default=None)


def _loss(space: Space, region: Region, edit: Edit) -> tuple[bool, int, bool, int]:
    """Returns an edit's cost as a sort key: the smaller, the better."""
    gone = _removed(space, edit)
    lost_best = space.best is not None and bool(gone[space.best])
    lost = int((gone & ~space.bad).sum())
    threshold = any(
        space.axes[c.axis].name == edit.hparam and c.op != "in" for c in region.conditions
    )
    return lost_best, lost - int((gone & space.bad).sum()), not threshold, lost


def _values(axis: Axis, condition: HParamCondition) -> list[JSONScalar]:
    """Returns the values of an axis at which a condition holds, as the space lists them."""
    if condition.op == "in":
        return [axis.levels[i] for i in sorted(condition.levels)]
    every = listed(axis.specs[0]) if len(axis.specs) == 1 else None
    return [
        v
        for v in every or []
        if isinstance(v, int | float)
        and (v >= condition.at if condition.op == "ge" else v <= condition.at)
    ]


def _removed(space: Space, edit: Edit) -> Bools:
    return np.array([not edit.keeps(values) for values in space.values], np.bool_)


def _saves(
    space: Space, edit: Edit, region: Region, bounds: dict[int, tuple[float, float]]
) -> str:
    gone = _removed(space, edit)
    bad = space.bad
    said = saves_text(
        (int((gone & bad).sum()), int(bad.sum())),
        (int((gone & ~bad).sum()), int((~bad).sum())),
        None if space.best is None else bool(gone[space.best]),
    )
    (condition,) = (
        c for c in region.conditions if space.axes[c.axis].name == edit.hparam
    )
    axis, (live, dead) = space.axes[condition.axis], bounds[condition.axis]
    written = number_text(cut_of(axis, condition, live, dead).bound)
    if math.isnan(live) or written not in re.findall(r"[-+.\w]+", edit.code):
        return said  # no threshold, or a grid or a list that holds no such number
    good = threshold_text(live, float(written), axis.whole)
    _, _, first_bad = condition_text(axis, condition, live, dead).rpartition(" ")
    tried = dead not in axis.numbers
    return f"{said}; {between_text(written, good, first_bad, tried)}"


def _confounding(space: Space, separation: Separation, left: Bools) -> list[str]:
    """Returns a sentence for each hyperparameter that may be to blame as well."""
    region = separation.best
    assert region is not None
    sentences = []
    told = {c.axis for c in region.conditions}
    for rival in separation.rivals:
        inside = counts(space, rival.inside & left)
        outside = counts(space, left & ~rival.inside)
        which = region_text(space, rival, left)
        better = region.conditions if separation.preferred else ()
        names = [space.axes[c.axis].name for c in better]
        p = p_text(rival.p_value)
        sentences.append(rival_text(which, inside, outside, p, names))
        told |= {c.axis for c in rival.conditions}
    for index, axis in enumerate(space.axes):
        if index in told or axis.ordered:
            continue
        sentence = _shared(space, region, axis, left)
        if sentence:
            sentences.append(sentence)
    return sentences


def _shared(space: Space, region: Region, axis: Axis, left: Bools) -> str | None:
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
    return also_had_text(axis.name, value_text(axis.levels[code]), others)
