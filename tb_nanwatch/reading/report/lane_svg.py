# SPDX-License-Identifier: Apache-2.0
"""One run's lane as inline SVG, for a page without scripts; pure.

Colours are classes, `g0` to `g5` by the decades that the run's values have grown over
its first step, so that the page's style sheet can tell light from dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

WIDTH: Final = 170
HEIGHT: Final = 14
# Decades of growth at which a darker colour begins; float32 ends 38 above 1.
DECADES: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
LABELS: Final = ("below 3", "3", "10", "100", "1e4", "1e8 and more")


def shade(growth: float) -> int:
    """Returns the colour of a growth: how many of `DECADES` it has passed."""
    if not growth > 0 or math.isnan(growth):
        return 0
    return sum(math.log10(growth) >= decade for decade in DECADES)


def position(step: float, steps: float) -> float:
    """Returns where on the axis a step begins, in [0, WIDTH].

    The axis is logarithmic, so that an early death is seen.

    Args:
        step: the step, from 0.
        steps: of the longest run on the axis.
    """
    if steps <= 0:
        return 0.0
    return WIDTH * min(1.0, math.log1p(max(0.0, step)) / math.log1p(steps))


def lane(
    ends: Sequence[int],
    growth: Sequence[float],
    steps: int,
    onset: int | None,
    description: str,
    finite: bool = False,
) -> str:
    """Returns an `<svg>` element.

    Args:
        ends: the last step of each point; points are contiguous.
        growth: of each point.
        steps: of the longest run that shares the axis.
        onset: the first bad step; a cross stands there. What was trained after it is
            hatched, whatever was measured: a layer that makes 0 of NaN has not healed.
        description: for those who cannot see it, escaped already.
        finite: whether the run went bad without NaN or infinity; then nothing is hatched.
    """
    parts = []
    begin = 0
    open_at, colour = 0.0, -1
    end_of_sound = math.inf if onset is None or finite else onset
    for end, value in zip(ends, growth, strict=True):
        if begin > end_of_sound:
            break
        # A value that is no longer finite has the largest growth.
        now = shade(value) if math.isfinite(value) else max(colour, 0)
        if now != colour:
            if colour >= 0:
                parts.append(_bar(open_at, position(begin, steps), colour))
            open_at, colour = position(begin, steps), now
        begin = end + 1
    if colour >= 0:
        parts.append(_bar(open_at, position(begin, steps), colour))
    last = ends[-1] + 1 if ends else 0
    if begin < last:
        parts.append(lost(position(begin, steps), position(last, steps)))
    if onset is not None:
        x = min(max(position(onset, steps), 5.0), WIDTH - 5.0)
        cross = f'd="M{x - 4:.1f} 3l8 8m0-8l-8 8"/>'
        # Light around dark, or the other way round: it stands out from any colour.
        parts.append(f'<path class="halo" {cross}<path class="cross" {cross}')
    return (
        f'<svg class="lane" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{description}">{"".join(parts)}</svg>'
    )


def lost(start: float, end: float) -> str:
    """Returns a hatched bar over the steps that trained on NaN or infinity."""
    bar = (
        f'<rect class="lost" x="{start:.1f}" y="3" width="{max(end - start, 1.0):.1f}" '
        'height="8"/>'
    )
    starts = range(math.ceil(start), math.floor(end) - 5, 6)
    lines = "".join(f"M{x} 11l6-8" for x in starts)
    return bar + (f'<path class="hatch" d="{lines}"/>' if lines else "")


def _bar(start: float, end: float, colour: int) -> str:
    return (
        f'<rect class="g{colour}" x="{start:.1f}" y="3" '
        f'width="{max(end - start, 1.0):.1f}" height="8"/>'
    )
