# SPDX-License-Identifier: Apache-2.0
"""Compares the choices in two runs: hyperparameters, optimizer, loss, model, precision, set-up."""

from __future__ import annotations

import math
from typing import Final

from tb_nanwatch.reading.comparison.differences.found import (
    ComparedRun,
)
from tb_nanwatch.reading.comparison.differences.values import compared
from tb_nanwatch.reading.contract.comparisons import Difference
from tb_nanwatch.record.schema import (
    Config,
    JSONScalar,
    SessionRecord,
)


def hparams(first: ComparedRun, second: ComparedRun) -> list[Difference]:
    """Compares hyperparameters, except those that a tuner adds for its bookkeeping."""
    a = {h.name: h.value for h in first.status.hparams if h.active}
    b = {h.name: h.value for h in second.status.hparams if h.active}
    for values in (a, b):
        for name in [n for n in values if n.startswith("tuner/")]:
            del values[name]
    return compared("hparam", a, b)


def optimizer(a: SessionRecord, b: SessionRecord) -> list[Difference]:
    """Compares the optimizers and their settings."""
    return compared("optimizer", _flat(a.optimizer), _flat(b.optimizer))


def _flat(config: Config, prefix: str = "") -> dict[str, JSONScalar]:
    """Returns a configuration without nesting; a wrapped optimizer's settings stand first."""
    inner = config.get("inner_optimizer")
    if isinstance(inner, dict) and isinstance(inner.get("config"), dict):
        flat = _flat({"class_name": inner.get("class_name"), **inner["config"]})
        return {**flat, "loss_scaling": True}
    flat = {}
    for name, value in config.items():
        if name == "name":  # what Keras calls the object
            continue
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        elif value is None or isinstance(value, bool | int | float | str):
            flat[f"{prefix}{name}"] = value
        else:
            flat[f"{prefix}{name}"] = str(value)
    return flat


def setup(session: SessionRecord) -> dict[str, JSONScalar]:
    """Compares how the trainings were run: replicas, compilation, versions."""
    return {
        "replicas": session.replicas,
        "jit_compile": session.jit_compile,
        "steps_per_execution": session.steps_per_execution,
        **{f"{name} version": v for name, v in session.versions.items()},
    }


def model(a: SessionRecord, b: SessionRecord) -> list[Difference]:
    """Compares the weights' shapes: a model's own name says nothing."""

    def shape(session: SessionRecord) -> dict[str, JSONScalar]:
        weights = [p.shape for p in session.train_probes if p.kind == "weight"]
        sizes = [math.prod(n or 1 for n in s) for s in weights]
        return {
            "weights": len(weights),
            "parameters": sum(sizes),
            "shapes of the weights": ", ".join(str(s) for s in weights) or "none",
        }

    found = compared("model", shape(a), shape(b))
    # Shapes are many: they are listed only where the counts are equal.
    return [d for d in found if d.name != "shapes of the weights"] or found


def precision(a: SessionRecord, b: SessionRecord) -> list[Difference]:
    """Compares the dtype policy and the dtypes of tensors, kind by kind."""

    def dtypes(session: SessionRecord) -> dict[str, JSONScalar]:
        kinds = ("activation", "prediction", "gradient", "weight")
        kept: dict[str, JSONScalar] = {"policy": session.precision}
        for kind in kinds:
            found = sorted({p.dtype for p in session.train_probes if p.kind == kind})
            kept[f"dtype of {_PLURAL[kind]}"] = ", ".join(found)
        return kept

    return compared("precision", dtypes(a), dtypes(b))


_PLURAL: Final = {
    "activation": "activations",
    "prediction": "predictions",
    "gradient": "gradients",
    "weight": "weights",
}
