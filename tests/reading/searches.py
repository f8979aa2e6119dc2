"""Made-up searches with a known rule, as they come out of a random search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tb_nanwatch.reading.search.trials import ComparedTrial
from tb_nanwatch.record.schema import HParam

Values = dict[str, Any]
Rule = Callable[[Values], bool]

# SGD, and only SGD, dies at high rates; the best score of all is Adam's at 0.14.
FRONTIER = """
sgd 1.4 96 4 1 -|sgd .91 64 2 1 -|sgd .68 80 3 1 -|sgd .37 96 4 1 -|sgd .1085 96 2 1 -
sgd .026 64 3 0 1|sgd 7.1e-3 48 4 0 2|sgd 7.0e-3 112 5 0 1.2|sgd 1.9e-3 64 3 0 .677
sgd 6e-4 16 4 0 1.52|sgd 2.3e-4 32 2 0 3.87|rmsprop 1.4 112 4 0 7900
rmsprop .45 80 3 0 20.6|rmsprop .24 64 5 0 19.6|rmsprop 6.9e-2 96 5 0 5.52
rmsprop 3.4e-2 32 4 0 1.58|rmsprop 2.3e-4 48 2 0 10.4|rmsprop 1.01e-4 32 4 0 .727
adam .14 16 2 0 .0143|adam .1 80 3 0 4.7|adam 1.7e-3 64 4 0 .519|adam 3.5e-4 32 4 0 3.67
adam 2.5e-4 64 2 0 .0427|adam 1.4e-4 48 3 0 .0623
"""

OPTIMIZERS = ["sgd", "rmsprop", "adam"]
ACTIVATIONS = ["relu", "elu", "tanh"]


RULES: dict[str, tuple[Rule, set[str]]] = {
    "threshold": (lambda v: v["learning_rate"] >= 0.1, {"learning_rate"}),
    "below": (lambda v: v["units"] <= 32, {"units"}),
    "subset": (lambda v: v["activation"] == "relu", {"activation"}),
    "boolean": (lambda v: not v["normalise"], {"normalise"}),
    "within a category": (
        lambda v: v["optimizer"] != "adam" and v["learning_rate"] >= 0.02,
        {"optimizer", "learning_rate"},
    ),
    "two thresholds": (
        lambda v: v["learning_rate"] >= 0.02 and v["units"] >= 64,
        {"learning_rate", "units"},
    ),
    "subset within a range": (
        lambda v: v["activation"] != "tanh" and v["depth"] >= 3,
        {"activation", "depth"},
    ),
}


def learning_rate(value: float, high: float = 1.0) -> HParam:
    return HParam(
        "learning_rate", value, "float", min=1e-4, max=high, sampling="log", default=1e-4
    )


def units(value: int) -> HParam:
    return HParam(
        "units", value, "int", min=16, max=128, step=16, sampling="linear", default=16
    )


def choice(name: str, value: Any, values: list[Any], **changes: Any) -> HParam:
    ordered = not isinstance(values[0], str)
    return HParam(
        name,
        value,
        "choice",
        values=values,
        ordered=ordered,
        default=values[0],
        **changes,
    )


def frontier() -> list[ComparedTrial]:
    trials = []
    for line in FRONTIER.replace("\n", "|").split("|"):
        if not line.strip():
            continue
        optimizer, rate, width, depth, bad, score = line.split()
        hparams = [
            choice("optimizer", optimizer, OPTIMIZERS),
            learning_rate(float(rate), 1.5),
            units(int(width)),
            HParam("depth", int(depth), "int", min=2, max=5, step=1, default=2),
        ]
        value = None if score == "-" else float(score)
        trials.append(ComparedTrial(hparams, bad == "1", value))
    return trials


def draw(rng: np.random.Generator) -> list[HParam]:
    """Seven hyperparameters of the kinds that searches have."""
    return [
        choice("activation", str(rng.choice(ACTIVATIONS)), ACTIVATIONS),
        HParam("normalise", bool(rng.integers(2)), "boolean", default=False),
        units(int(rng.integers(1, 9) * 16)),
        HParam("depth", int(rng.integers(1, 5)), "int", min=1, max=4, step=1, default=1),
        choice("optimizer", str(rng.choice(OPTIMIZERS)), OPTIMIZERS),
        learning_rate(float(10 ** rng.uniform(-4, 0))),
        choice("batch_size", int(rng.choice([16, 32, 64])), [16, 32, 64]),
    ]


def values_of(hparams: list[HParam]) -> Values:
    return {h.name: h.value for h in hparams}


def search(n: int, rule: Rule, seed: int = 0, noise: float = 0.0) -> list[ComparedTrial]:
    rng = np.random.default_rng(seed)
    trials = []
    for _ in range(n):
        hparams = draw(rng)
        bad = rule(values_of(hparams)) != (rng.random() < noise)
        trials.append(ComparedTrial(hparams, bad, float(rng.random())))
    return trials


def without_rule(n: int, rate: float, seed: int) -> list[ComparedTrial]:
    rng = np.random.default_rng(seed)
    return [
        ComparedTrial(draw(rng), bool(rng.random() < rate), float(rng.random()))
        for _ in range(n)
    ]
