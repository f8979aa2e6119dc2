# SPDX-License-Identifier: Apache-2.0
"""The verdict on the differences between two runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from tb_nanwatch.diagnosis.measured import number
from tb_nanwatch.reading.comparison.differences.found import (
    ComparedRun,
)
from tb_nanwatch.reading.contract.comparisons import Difference, Parting
from tb_nanwatch.record.schema import (
    JSONScalar,
)
from tb_nanwatch.wording import comparison_text as words
from tb_nanwatch.wording.answer_text import label_of

# What the diagnosis blames, by topic and by the kind of tensor.
_ABOUT: Final[dict[str, tuple[str, ...]]] = {
    "learning_rate": ("optimizer.learning_rate",),
    "optimizer_settings": ("optimizer",),
    "unscaled_inputs": ("data.input",),
    "unscaled_targets": ("data.label",),
    "unscaled_data": ("data.input", "data.label"),
    "label_range": ("data.label", "loss"),
    "nonfinite_data": ("data",),
    "outlier_data": ("data",),
    "loss_domain": ("loss", "data.label"),
    "metric_domain": ("data.label",),
    "layer_domain": ("model", "data.input"),
    "initialization": ("initial.activation",),
    "gradient_amplification": ("initial", "model"),
    "half_precision": ("precision",),
}


def without_repeats(differences: list[Difference]) -> list[Difference]:
    """Leaves out optimizer settings whose difference a hyperparameter already shows."""
    told = [d for d in differences if d.topic == "hparam"]
    kept = []
    for d in differences:
        twin = next(
            (
                t
                for t in told
                if d.topic == "optimizer"
                and _close(d.first, t.first)
                and _close(d.second, t.second)
            ),
            None,
        )
        if twin is None:
            kept.append(d)
        elif twin in kept:
            text = words.with_setting_text(twin.text, d.name)
            kept[kept.index(twin)] = replace(twin, setting=d.name, text=text)
    return kept


def _close(a: JSONScalar, b: JSONScalar) -> bool:
    # The optimizer holds float32, a hyperparameter float64.
    x, y = number(a), number(b)
    if math.isnan(x) or math.isnan(y):
        return isinstance(a, str) and isinstance(b, str) and a.lower() == b.lower()
    return not isinstance(a, bool) and math.isclose(x, y, rel_tol=1e-5)


def blamed_by(first: ComparedRun, second: ComparedRun) -> list[str]:
    """Returns the topics and names that the likely cause blames, where exactly one run went bad."""
    if first.bad == second.bad:
        return []
    causes = (first if first.bad else second).causes
    return list(_ABOUT.get(causes[0].id, ())) if causes else []


def marked(d: Difference, blamed: Sequence[str]) -> Difference:
    """Returns the difference, marked as likely if it is about one of `blamed`."""
    key = f"optimizer.{d.setting}" if d.setting else f"{d.topic}.{d.name}"
    likely = any(f"{key}.".startswith(f"{b}.") for b in blamed)
    return replace(d, likely=likely)


def verdict(
    first: ComparedRun,
    second: ComparedRun,
    differences: Sequence[Difference],
    parting: Parting | None,
    recorded: bool,
) -> str:
    """Returns the answer in a few sentences."""
    runs = [(r.name, r.status.status, r.status.onset) for r in (first, second)]
    sentences = [words.fates_text(*runs)]
    if first.bad != second.bad:
        bad = first if first.bad else second
        cause = bad.causes[0] if bad.causes else None
        likely = next((d for d in differences if d.likely), None)
        if cause is None or cause.id == "unknown":
            sentences.append(words.NOT_DECIDED)
        else:
            names = [d.name for d in differences if d.topic == "hparam"]
            about = likely.text if likely is not None else ""
            name = label_of(cause.id)
            sentences.append(words.cause_text(name, about, bool(differences), names))
    else:
        sentences.append(words.BOTH_BAD if first.bad else words.NONE_BAD)
    if parting is not None:
        sentences.append(parting.text)
    elif recorded:
        sentences.append(words.NEVER_PART)
    return " ".join(sentences)
