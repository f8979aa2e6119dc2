# SPDX-License-Identifier: Apache-2.0
"""The verdict on a search in which no hyperparameter was found to blame; pure."""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

import numpy as np

from tb_nanwatch.declaring.declaration import number_text
from tb_nanwatch.reading.search.axes import MIN_SIDE
from tb_nanwatch.reading.search.min_p import ALPHA
from tb_nanwatch.reading.search.separation import Region, Separation
from tb_nanwatch.reading.search.statistics import log_tails
from tb_nanwatch.reading.search.trials import (
    Space,
    bounds_of,
    common_cause,
    condition_text,
    counts,
    other_side_text,
    p_text,
)
from tb_nanwatch.wording import verdict_text as words
from tb_nanwatch.wording.answer_text import label_of
from tb_nanwatch.wording.places import probe_text

# Nobody trains more trials than this only to be sure.
_MAX_MORE: Final = 12
# Two products of p-values count as equal within this share.
_EQUAL: Final = 1e-3
# Causes that lie in the program or its data, whatever the hyperparameters.
NOT_OF_THE_SPACE: Final = (
    "unscaled_inputs",
    "unscaled_targets",
    "unscaled_data",
    "nonfinite_data",
    "outlier_data",
    "label_range",
    "loss_domain",
    "metric_domain",
    "layer_domain",
    "half_precision",
)
_OF_THE_DATA: Final = ("unscaled_inputs", "unscaled_targets", "unscaled_data")


def without_comparison(space: Space) -> str:
    """Returns the verdict where all outcomes, or all values, are the same."""
    bad, total = int(space.bad.sum()), len(space.trials)
    if not bad:
        return ""
    mend = mend_first(space)
    common = _common(space)
    if bad < total:
        return words.same_values_text(mend, common, bad, total)
    if total == 1:
        return f"{mend} {words.ONE_ALONE}".strip()
    if mend:
        return mend
    if common:
        return f"{common}. {words.NONE_LIVED}"
    return words.NONE_LIVED if space.axes else words.all_the_same_text(total)


def mend_first(space: Space) -> str:
    """Returns the cause of all bad trials and its fix; empty where the space may be to blame.

    What lies in the program or its data is not found in hyperparameters: to mend it
    comes before any comparison of their values, and before more trials.
    """
    cause = common_cause(space)
    if cause not in NOT_OF_THE_SPACE:
        return ""
    bad, total = int(space.bad.sum()), len(space.trials)
    alike = _common(space) or words.alike_text(1, _shared(space))
    if bad == total > 1 and cause not in _OF_THE_DATA:
        alike += words.BLAMELESS
    return f"{alike}. {how_to_mend(space)}".strip()


def how_to_mend(space: Space) -> str:
    """Returns the fix of a cause that all bad trials share and that the space is not to blame for."""
    cause = common_cause(space)
    if cause in _OF_THE_DATA:
        return _scale_first(space)
    fixes = Counter(t.fix for t in space.trials if t.bad and t.fix)
    if cause not in NOT_OF_THE_SPACE or not fixes:
        return ""
    ((fix, share),) = fixes.most_common(1)
    return words.fix_text(fix, share, int(space.bad.sum()))


def _scale_first(space: Space) -> str:
    """Returns the advice on unscaled data, and on the learning rates too high for them."""
    rates = [t.about for t in space.trials if t.bad and t.about is not None]
    # Keras keeps a rate in float32.
    ends = [number_text(float(f"{f(rates):.3g}")) for f in (min, max)] if rates else None
    return words.scale_first_text(
        (ends[0], ends[1]) if ends else None, bool(space.bad.all())
    )


def _common(space: Space) -> str:
    """Returns "9 of 9: <cause>, first in <tensor>" where all bad trials share it, else ""."""
    bad = int(space.bad.sum())
    parts = _shared(space)
    return words.alike_text(bad, parts) if parts and bad > 1 else ""


def _shared(space: Space) -> list[str]:
    """Returns the common properties of all bad trials: cause, first bad tensor, operation."""
    bad = [t for t in space.trials if t.bad]
    origins = Counter(t.origin for t in bad)
    cause = common_cause(space)
    parts = [label_of(cause)] if cause else []
    origin, share = origins.most_common(1)[0]
    if share == len(bad) and origin is not None:
        text = probe_text(*origin)
        known = text.startswith(f"{origin[0].replace('_', ' ')} ")  # "loss total"
        parts.append(f"first in {text}" if known else f"first in the {text}")
    made = {t.made for t in bad}
    if len(made) == 1 and None not in made:
        parts.append(f"made by {made.pop()}")
    return parts


def nothing_found(space: Space, separation: Separation) -> str:
    """Returns the verdict where trials differ and no difference stands out."""
    mend = mend_first(space)
    if _too_few(space, separation):
        bad, total = int(space.bad.sum()), len(space.trials)
        further = (_perfect if mend else _more_trials)(space, separation)
        return words.too_few_text(bad, total, mend, further)
    closest = separation.closest
    best = "" if closest is None else _closest_text(space, closest)
    return words.none_found_text(mend, _common(space), best)


def _closest_text(space: Space, closest: Region) -> str:
    """Returns "the closest is learning_rate >= 0.1 (2 of 2, elsewhere 0 of 3; ...)"."""
    (condition,) = closest.conditions
    axis = space.axes[condition.axis]
    everyone = np.ones(len(space.trials), np.bool_)
    bounds = bounds_of(space.axes, closest, condition, everyone)
    inside, outside = counts(space, closest.inside), counts(space, ~closest.inside)
    there = condition_text(axis, condition, *bounds)
    return words.closest_text(there, inside, outside, p_text(closest.p_value))


def without_exception(space: Space, separation: Separation) -> Region | None:
    """Returns the region on one axis that holds all bad trials and no good one.

    The part of the program that is to blame may be a choice of the space. None where
    there is none: of an imperfect one, so few trials say nothing.
    """
    closest = separation.closest
    parts = closest is not None and np.array_equal(closest.inside, space.bad)
    return closest if parts else None


def _perfect(space: Space, separation: Separation) -> str:
    """Returns `without_exception` in words, "" for none."""
    region = without_exception(space, separation)
    return "" if region is None else _closest_text(space, region)


def more_needed(
    region: Region, inside: tuple[int, int], outside: tuple[int, int]
) -> int | None:
    """Returns how many more trials would settle a region, None where too many.

    Half of them inside, half outside of it, if they fare as the (bad, total) of each
    side did, and as many regions are looked at as now.
    """
    looks = region.p_value / max(region.raw_p, 1e-300)
    for more in range(2, 2 * _MAX_MORE + 1, 2):
        half = more // 2
        hits = inside[0] + round(half * inside[0] / inside[1])
        others = outside[0] + round(half * outside[0] / max(1, outside[1]))
        size, n = inside[1] + half, inside[1] + outside[1] + more
        bad = hits + others
        tail = float(log_tails(n, bad, np.array([size]))[0, hits])
        if math.exp(tail) * looks <= ALPHA:
            return more
    return None


def _too_few(space: Space, separation: Separation) -> bool:
    """Returns whether even a perfect split would prove nothing."""
    bad, total = int(space.bad.sum()), len(space.trials)
    log_perfect = float(log_tails(total, bad, np.array([bad]))[0, bad])
    regions = max(1, separation.single_regions)
    testable = min(bad, total - bad) >= MIN_SIDE and log_perfect <= math.log(ALPHA)
    settles = math.exp(log_perfect) * regions < separation.critical * (1 - _EQUAL)
    return not (testable and settles)


def _more_trials(space: Space, separation: Separation) -> str:
    """Returns "3 more at learning_rate <= 1e-3 would" for the closest region, else "".

    So many that the exact test would pass, if they fare as those around them did.
    """
    region = separation.closest
    if region is None:
        return ""
    inside, outside = counts(space, region.inside), counts(space, ~region.inside)
    if inside[0] < inside[1] or outside[0]:
        return ""  # further trials of a mixture may end either way
    for more in range(1, _MAX_MORE + 1):
        # As few as possible on the side where trials go bad: those are wasted.
        for dead in range(more // 2 + 1):
            hits, size = inside[0] + dead, inside[1] + dead
            n, bad = len(space.bad) + more, int(space.bad.sum()) + dead
            tail = float(log_tails(n, bad, np.array([size]))[0, hits])
            # Bonferroni's bound, half of which is kept for conjunctions.
            if math.exp(tail) * separation.single_regions <= ALPHA / 2:
                return _more_text(space, region, more - dead, dead)
    return ""


def _more_text(space: Space, region: Region, live: int, dead: int) -> str:
    (condition,) = region.conditions
    axis = space.axes[condition.axis]
    bounds = bounds_of(space.axes, region, condition, np.ones(len(space.bad), np.bool_))
    there = condition_text(axis, condition, *bounds)
    away = other_side_text(axis, condition, *bounds)
    return words.more_text(live, away, dead, there) if away else ""
