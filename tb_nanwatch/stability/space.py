# SPDX-License-Identifier: Apache-2.0
"""Finds the stable space: the largest part of a search space in which almost no values go bad.

Three forms are tried, and the form that keeps most is reported: one box; a box for each level
of a hyperparameter (conditional scopes); a bound that depends on another number. KerasTuner
holds the first alone without a change of the model's code: hyperparameters of one name in
several scopes lose their values (`HyperParameters.ensure_active_values`), and a bound that
is computed in `build` stays what it was at the first call. Code can say all three.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from tb_nanwatch.record.schema import HParam
from tb_nanwatch.stability.boxes import SAMPLE, Drawn, code_of, largest_box, restricted
from tb_nanwatch.stability.coordinates import Coordinates
from tb_nanwatch.stability.frontier import KnownFrontier
from tb_nanwatch.stability.model import normal_cdf
from tb_nanwatch.stability.moving_bound import moving_bound
from tb_nanwatch.stability.scoped_boxes import LEAST, scoped_boxes

# A form that is harder to read has to keep so much more.
_WORTH: Final = 1.2


@dataclass(frozen=True)
class StableSpace:
    """The part of a search space in which almost no values go bad.

    Attributes:
        specs: declarations of one box, those of what varies no more included; empty where
            nothing lives.
        kept: share of the searched space that the box keeps.
        code: declares the whole space, in the form that keeps most; "" where nothing lives.
        code_kept: share that this form keeps.
        form: "whole", "box", "scopes", "dependent" or "nothing".
    """

    specs: tuple[HParam, ...]
    kept: float
    code: str
    code_kept: float
    form: str


def stable_space_of(coordinates: Coordinates, frontier: KnownFrontier) -> StableSpace:
    """Returns the space that lives, as far as the frontier is known."""
    if not frontier.bad:
        every = coordinates.specs
        return StableSpace(every, 1.0, code_of(every), 1.0, "whole")
    drawn = _draw(coordinates, frontier)
    axes = [a for a in (frontier.main, *frontier.movers) if a is not None]
    whole = np.ones(SAMPLE, np.bool_)
    box = largest_box(drawn, axes, whole)
    if frontier.bad == frontier.trials or box.size < LEAST**2 * SAMPLE:
        return StableSpace((), 0.0, "", 0.0, "nothing")
    by_name = {a.name: a for a in coordinates.axes}
    specs = restricted(coordinates.specs, by_name, box)
    best = StableSpace(specs, box.size / SAMPLE, code_of(specs), box.size / SAMPLE, "box")
    for form, size, code in (
        scoped_boxes(coordinates, drawn, axes),
        moving_bound(coordinates, frontier, drawn, axes),
    ):
        if size > _WORTH * best.code_kept * SAMPLE:
            best = replace(best, code=code, code_kept=size / SAMPLE, form=form)
    return best


def _draw(coordinates: Coordinates, frontier: KnownFrontier) -> Drawn:
    values = coordinates.sample(SAMPLE, np.random.default_rng(1))
    mean, deviation = frontier.model.predict(coordinates.encode(values))
    at = {
        a.name: np.array(
            [a.position(v[a.name]) if a.name in v else math.nan for v in values]
        )
        for a in coordinates.axes
    }
    return Drawn(at, normal_cdf(mean / np.sqrt(1 + deviation**2)))
