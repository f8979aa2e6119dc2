"""What the differences come to."""

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
from tb_nanwatch.wording.answer_text import label_of
from tb_nanwatch.wording.places import position_text

# Hyperparameters that a sentence names.
_NAMED: Final = 3
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
    """Leaves out settings of the optimizer that a hyperparameter has told already."""
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
            text = f"{twin.text[:-1]}; it is the optimizer's {d.name}."
            kept[kept.index(twin)] = replace(twin, setting=d.name, text=text)
    return kept


def _close(a: JSONScalar, b: JSONScalar) -> bool:
    # The optimizer holds float32, a hyperparameter float64.
    x, y = number(a), number(b)
    if math.isnan(x) or math.isnan(y):
        return isinstance(a, str) and isinstance(b, str) and a.lower() == b.lower()
    return not isinstance(a, bool) and math.isclose(x, y, rel_tol=1e-5)


def blamed_by(first: ComparedRun, second: ComparedRun) -> list[str]:
    """Returns what the likely cause is about, where exactly one run went bad."""
    if first.bad == second.bad:
        return []
    causes = (first if first.bad else second).causes
    return list(_ABOUT.get(causes[0].id, ())) if causes else []


def marked(d: Difference, blamed: Sequence[str]) -> Difference:
    """Returns the difference, told whether it is about one of `blamed`."""
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
    sentences = [f"{_fate(first)}; {_fate(second)}."]
    if first.bad != second.bad:
        bad = first if first.bad else second
        cause = bad.causes[0] if bad.causes else None
        if cause is None or cause.id == "unknown":
            sentences.append("The record does not decide the cause.")
        else:
            name = label_of(cause.id)
            sure = f"Likely cause: {name}"
            likely = [d for d in differences if d.likely]
            if likely:
                sentences.append(
                    f"{sure}, which goes with a difference: {likely[0].text}"
                )
            else:
                sentences.append(
                    f"{sure}; nothing that differs is about that by itself, so it takes "
                    f"effect together with what differs{_chosen(differences)}."
                    if differences
                    else f"{sure}, but the two do not differ in anything that was recorded."
                )
    elif first.bad:
        sentences.append("Both went bad: a run that works would tell more beside one.")
    else:
        sentences.append("Neither went bad.")
    if parting is not None:
        sentences.append(parting.text)
    elif recorded:
        sentences.append("They never differ in what both have recorded.")
    return " ".join(sentences)


def _chosen(differences: Sequence[Difference]) -> str:
    """Returns ": transform, lr", the hyperparameters that differ, where there are any."""
    names = [d.name for d in differences if d.topic == "hparam"]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f": {', '.join(names[:_NAMED])}{more}" if names else ""


def _fate(training: ComparedRun) -> str:
    status = training.status
    text = f"{training.name} is {status.status.replace('_', ' ')}"
    if training.bad:
        text = text.replace(" is diverged", " diverged").replace(
            " is runaway", " ran away"
        )
        text = text.replace(" is score lost", " lost its score")
        if status.onset is not None:
            text += f" at {position_text(status.onset)}"
    return text
