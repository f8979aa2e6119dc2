"""The same run under other names and with other counts of steps."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tb_nanwatch.diagnosis.ranking import Facts

FACTOR = 7


def renamed(facts: Facts) -> Facts:
    """Returns the facts with every layer, tensor, hyperparameter and loss renamed."""
    other = copy.deepcopy(facts)
    name = _namer()
    for h in other.hparams:
        h.name = name(h.name)
    if other.origin is not None:
        other.origin = replace(other.origin, name=name(other.origin.name))
    if other.session is not None:
        for probe in (*other.session.train_probes, *other.session.validation_probes):
            probe.name, probe.layer = name(probe.name), name(probe.layer)
        other.session.model = other.session.loss = "x"
        if "name" in other.session.optimizer:
            other.session.optimizer["name"] = "x"
    return other


def _namer() -> Callable[[str], str]:
    """Returns a function that renames each part of a path, the same part alike."""
    known: dict[str, str] = {"": ""}

    def name(path: str) -> str:
        parts = path.split("/")
        return "/".join(known.setdefault(p, f"q{len(known)}") for p in parts)

    return name


def longer(facts: Facts) -> Facts:
    """Returns the facts of a run that took `FACTOR` steps where this one took one."""
    other = copy.deepcopy(facts)
    other.steps *= FACTOR
    if other.onset is not None:
        other.onset.step *= FACTOR
        other.onset.batch *= FACTOR
    for record in other.ranges:
        record.steps = np.stack(
            [record.steps[:, 0] * FACTOR, record.steps[:, 1] * FACTOR + FACTOR - 1],
            axis=1,
        )
    for flight in other.flight:
        flight.steps, flight.full_steps = (
            flight.steps * FACTOR,
            flight.full_steps * FACTOR,
        )
    return other
