# SPDX-License-Identifier: Apache-2.0
"""Finite values of the failing step's batch that are far beyond all others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from tb_nanwatch.diagnosis.measured import Measured
from tb_nanwatch.diagnosis.rules import fixes
from tb_nanwatch.diagnosis.rules.candidate import Candidate
from tb_nanwatch.diagnosis.rules.clipping import clip
from tb_nanwatch.diagnosis.rules.data import example_text
from tb_nanwatch.diagnosis.rules.domain import domain_candidates
from tb_nanwatch.diagnosis.rules.thresholds import at
from tb_nanwatch.record.schema import Outlier, PostMortem
from tb_nanwatch.record.words import LARGEST
from tb_nanwatch.wording.chain_text import DATA_WORDS, kind_of, outlier_text
from tb_nanwatch.wording.row_values import LEFT_OUT

# Tensors that a sentence is about.
_MAX_TOLD: Final = 2


def outlier_data(m: Measured) -> list[Candidate]:
    """Returns the causes of a fault that outliers of the batch brought about.

    Empty where nothing ties the fault to an outlier.

    Signs:
        outlier_data: some finite values of the failing step's batch are {outlier} times
            or more beyond everything in the same column of the batches before (where
            none was kept, of the other rows), in at most {outlier_rows} of the rows;
            before that step nothing had grown {domain_growth}-fold; and the fault is
            theirs by measurement: in the first bad operation no other row went bad, or
            such a value is an operand of it, or with the same weights no batch before
            went bad there and with earlier weights this one did too, or its square is
            beyond the largest number of the dtype. Row, column and value are named.
        outlier_data: such values were in a batch a few steps earlier, and at that step,
            before which nothing had grown, loss, gradients or activations leapt
            {domain_growth}-fold beyond all steps before.
    """
    found = m.facts.postmortem
    if found is None or found.held or found.data:
        return []
    tied = [(o, tie) for o in found.outliers if (tie := _tie(m, found, o))]
    # Outliers of the failing step itself are reported without earlier ones.
    tied = [t for t in tied if t[0].ago == tied[0][0].ago][:_MAX_TOLD]
    if not tied:
        return []
    others = _what_met_them(m) if not tied[0][0].ago else []
    evidence = [
        text
        for outlier, tie in tied
        for text in (outlier_text(outlier, m.facts.with_data), tie)
    ]
    first = tied[0][0]
    evidence.append(example_text(m, first.row, first.size, first.ago))
    total = math.sqrt(sum(c.weight**2 for c in others)) or 1.0
    lead = math.sqrt(at("outlier_share") / (1 - at("outlier_share")))
    return [
        Candidate(
            "outlier_data",
            lead * total,
            0.97,
            list(dict.fromkeys(evidence)),
            _fix(m, [outlier for outlier, _ in tied]),
        ),
        *others,
    ]


def _what_met_them(m: Measured) -> list[Candidate]:
    """Returns the causes in the operation that cannot take the outliers, such as a logarithm.

    Settings with which all was well until then are not to blame.
    """
    if m.origin is None or m.first is None or m.onset is None:
        return []
    if m.probes[m.origin].kind in ("optimizer", "weight"):
        return []
    return domain_candidates(m)


def _fix(m: Measured, outliers: Sequence[Outlier]) -> str:
    told = m.facts.with_data
    values = " and ".join(
        f"{f'{o.value:.6g}' if told else 'those'} in the {DATA_WORDS[kind_of(o)]}"
        for o in outliers
    )
    checks = [f"np.abs({_VARIABLES[kind_of(o)]}).max(axis=0)" for o in outliers]
    show = " and ".join(checks) + (" show them" if len(checks) > 1 else " shows them")
    own = fixes.at_own_line(m)
    if outliers[0].ago:
        # The update did it: a guard at the operation that overflowed in the end would not help.
        clipped = clip(m, "clipnorm=1.0")
        own = f"Or {clipped}, which keeps one row from throwing the weights off."
    return (
        f"Before training, drop or clip values such as {values} ({show}); "
        "where they stand for what is missing or masked, put an ordinary number there."
        + (f" {own}" if own else "")
    )


def _tie(m: Measured, found: PostMortem, outlier: Outlier) -> str:
    """Returns a sentence on the evidence that an outlier caused the fault, "" without any."""
    if outlier.ago:
        return _tie_before(m, outlier)
    if m.grown_before() >= at("domain_growth"):
        return ""
    rows = set(found.rows)
    # In a batch of one row every row is bad.
    if rows and rows <= set(outlier.rows) and (outlier.size > 1 or outlier.batches):
        word = f"row {min(rows)}" if len(rows) == 1 else f"the rows {_list(found.rows)}"
        return f"In the first bad operation {word} alone went bad."
    size = abs(outlier.value)
    for operand in found.inputs:
        for extreme in (operand.min, operand.max):
            if math.isclose(abs(extreme), size, rel_tol=at("same_number")):
                told = f"{extreme:.6g}" if m.facts.with_data else LEFT_OUT
                return (
                    "The first bad operation takes in a number of that size "
                    f"({operand.name}: {told})."
                )
    if _is_of_this_batch(found):
        return (
            "With the same weights no batch before goes bad in that operation, and with "
            "earlier weights this one does too."
        )
    dtype = found.dtype or _dtype(m)
    most = LARGEST.get(dtype, LARGEST["float32"])
    if size >= math.sqrt(most):
        return f"Its square is beyond {most:.3g}, the largest {dtype}."
    return ""


def _is_of_this_batch(found: PostMortem) -> bool:
    """Returns whether running other batches and earlier weights shows that it is the batch."""
    since = found.since
    return (
        since is not None and since.batches > 0 and not since.bad and bool(since.was_bad)
    )


def _tie_before(m: Measured, outlier: Outlier) -> str:
    """Returns the evidence for an outlier of an earlier step, at which all values leapt."""
    if m.phase != "train" or m.facts.onset is None:
        return ""
    step = m.facts.onset.step - outlier.ago
    leap = m.leap(step)
    if not leap >= at("domain_growth") or m.grown_before(step) >= at("domain_growth"):
        return ""
    # That the batch was this step's is measured too.
    if not m.held(step, (kind_of(outlier),), outlier.value, outlier.size):
        return ""
    return (
        f"At that step (step {step}) loss, gradients or activations leapt {leap:.3g}-fold "
        "beyond all steps before; until then they were as at the start."
    )


def _dtype(m: Measured) -> str:
    return m.probes[m.origin].dtype if m.origin is not None else "float32"


def _list(rows: Sequence[int]) -> str:
    shown = ", ".join(map(str, rows[:10]))
    return shown + (", ..." if len(rows) > 10 else "")


# What each is usually called where data are prepared.
_VARIABLES: Final = {"input": "x", "label": "y", "sample_weight": "sample_weight"}
