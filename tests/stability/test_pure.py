"""Frontier, choice of trials and stable space on synthetic frontiers of known truth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras_tuner
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tb_nanwatch.record.schema import Condition, HParam
from tb_nanwatch.stability.coordinates import Coordinates, Values
from tb_nanwatch.stability.design import enough, next_values
from tb_nanwatch.stability.frontier import KnownFrontier, frontier_of
from tb_nanwatch.stability.log import hyperparameters_of
from tb_nanwatch.stability.space import StableSpace, stable_space_of

# Decades over the frontier, above 0 dead.
Truth = Callable[[Values], float]


def number(name: str, low: float, high: float, sampling: str = "log") -> HParam:
    return HParam(name, type="float", min=low, max=high, sampling=sampling, default=low)


def choice(name: str, *values: str) -> HParam:
    return HParam(
        name, type="choice", values=list(values), ordered=False, default=values[0]
    )


RATE = number("rate", 1e-5, 1.0)
SCALE = number("scale", 1.0, 1e4)
OPTIMIZER = choice("optimizer", "sgd", "adam")


def search(
    specs: list[HParam],
    truth: Truth,
    trials: int = 40,
    noise: float = 0.02,
    seed: int = 0,
) -> tuple[Coordinates, KnownFrontier]:
    """Runs a stability search without any training; noise is in decades."""
    space, rng = Coordinates.of(specs), np.random.default_rng(seed)
    values: list[Values] = []
    bad: list[float] = []
    for _ in range(trials):
        chosen = next_values(space, values, np.array(bad), seed=seed)
        values.append(chosen)
        bad.append(float(truth(chosen) + noise * rng.normal() > 0))
        found = frontier_of(space, values, np.array(bad))
        if enough(space, found):
            break
    return space, found


def log_of(value: Any) -> float:
    return math.log10(float(value))


@settings(max_examples=8)
@given(st.floats(-4.6, -0.4), st.integers(0, 3))
def test_one_number_is_bisected(edge: float, seed: int) -> None:
    _, found = search([RATE], lambda v: log_of(v["rate"]) - edge, seed=seed)
    (boundary,) = found.boundaries
    assert boundary.sure and boundary.dead_above and found.trials <= 20
    assert log_of(boundary.living) - 0.1 <= edge <= log_of(boundary.dead) + 0.1
    assert log_of(boundary.dead) - log_of(boundary.living) <= 1 / 3 + 1e-6
    assert abs(log_of(boundary.middle) - edge) < 1 / 3


def test_what_dies_below_is_told_as_such() -> None:
    _, found = search([RATE], lambda v: -2.5 - log_of(v["rate"]))
    (boundary,) = found.boundaries
    assert not boundary.dead_above
    assert float(str(boundary.dead)) < 10**-2.5 < float(str(boundary.living))


@pytest.mark.parametrize("fate", [-1.0, 1.0])
def test_a_range_of_one_fate_is_told_after_few_trials(fate: float) -> None:
    space, found = search([RATE, SCALE, OPTIMIZER], lambda v: fate)
    (boundary,) = found.boundaries
    assert boundary.all_living == (fate < 0) and boundary.all_dead == (fate > 0)
    assert found.trials <= 10
    stable = stable_space_of(space, found)
    assert stable.form == ("whole" if fate < 0 else "nothing")
    declared = {h.name for h in hyperparameters_of(stable.specs).space}
    assert declared == (set() if fate > 0 else {"rate", "scale", "optimizer"})


def test_a_level_that_alone_dies_is_found() -> None:
    # All but one corner live: what was tried of the other level says nothing of it.
    _, found = search(
        [RATE, OPTIMIZER],
        lambda v: log_of(v["rate"]) + 1 if v["optimizer"] == "adam" else -1.0,
    )
    assert found.bad
    by_level = {b.where.get("optimizer"): b for b in found.boundaries}
    assert by_level["sgd"].all_living and not by_level["adam"].all_living
    assert abs(log_of(by_level["adam"].middle) + 1) < 1 / 3


def test_each_optimizer_has_its_own_frontier() -> None:
    edges = {"sgd": -3.0, "adam": -1.0}
    space, found = search(
        [RATE, OPTIMIZER], lambda v: log_of(v["rate"]) - edges[str(v["optimizer"])]
    )
    for boundary in found.boundaries:
        edge = edges[str(boundary.where["optimizer"])]
        assert abs(log_of(boundary.middle) - edge) < 1 / 3
    stable = stable_space_of(space, found)
    assert stable.form == "scopes"
    assert_code_lives(stable, lambda v: log_of(v["rate"]) - edges[v["optimizer"]])


@pytest.mark.parametrize("adams", [-2.0, 9.0])
def test_rates_with_scopes_of_their_own_have_frontiers_of_their_own(adams: float) -> None:
    edges = {"sgd": -3.0, "adam": adams}
    specs = [OPTIMIZER]
    for name in edges:
        rate = number(f"{name} rate", 1e-5, 1.0)
        specs.append(replace(rate, conditions=[Condition("optimizer", [name])]))

    def truth(v: Values) -> float:
        name = str(v["optimizer"])
        return log_of(v[f"{name} rate"]) - edges[name]

    space, found = search(specs, truth)
    by_level = {b.where["optimizer"]: b for b in found.boundaries}
    assert by_level["sgd"].name == "sgd rate"
    assert abs(log_of(by_level["sgd"].middle) + 3) < 1 / 3
    if adams > 0:
        assert by_level["adam"].all_living
    else:
        assert by_level["adam"].name == "adam rate"
        assert abs(log_of(by_level["adam"].middle) - adams) < 1 / 3
    stable = stable_space_of(space, found)
    assert stable.kept > 0.3
    assert_box_lives(stable, truth)


def test_two_numbers_that_work_together() -> None:
    def truth(v: Values) -> float:
        return log_of(v["rate"]) + log_of(v["scale"]) - 0.5

    space, found = search([RATE, SCALE], truth)
    assert found.main is not None and len(found.movers) == 1
    for boundary in found.boundaries:
        if boundary.middle is None:
            continue
        there = dict(boundary.where) | {boundary.name: boundary.middle}
        assert abs(truth(there)) < 1 / 3
    stable = stable_space_of(space, found)
    assert stable.form == "dependent" and stable.code_kept > 1.2 * stable.kept
    assert_code_lives(stable, truth)
    assert_box_lives(stable, truth)


def assert_box_lives(stable: StableSpace, truth: Truth) -> None:
    values = Coordinates.of(stable.specs).sample(400, np.random.default_rng(5))
    assert np.mean([truth(v) > 0 for v in values]) <= 0.05


def assert_code_lives(stable: StableSpace, truth: Truth) -> None:
    """Runs the code with random values, as a search would."""

    def run(hp: Any) -> Values:
        variables: dict[str, Any] = {"hp": hp, "math": math}
        exec(stable.code, variables)
        return variables

    declared = keras_tuner.HyperParameters()
    run(declared)
    rng = np.random.default_rng(6)
    dead = 0
    for _ in range(200):
        hp = keras_tuner.HyperParameters.from_config(declared.get_config())
        hp.values = {}
        for spec in hp.space:
            if hp.is_active(spec):
                hp.values[spec.name] = spec.prob_to_value(rng.random())
        dead += truth(run(hp)) > 0
    assert dead <= 10


def test_whole_numbers_choices_and_scopes_have_places() -> None:
    specs = [
        HParam("depth", type="int", min=1, max=4, sampling="linear", default=1),
        HParam("batch", type="choice", values=[64, 16, 32], ordered=True, default=16),
        HParam("clip", type="boolean", default=False),
        OPTIMIZER,
        HParam(
            "momentum", type="float", min=0.0, max=0.9, sampling="linear", default=0.0,
            conditions=[Condition("optimizer", ["sgd"])],
        ),
        HParam("seed", type="fixed", value=3, default=3),
    ]  # fmt: skip
    space = Coordinates.of(specs)
    assert [a.name for a in space.axes] == [
        "depth",
        "batch",
        "clip",
        "optimizer",
        "momentum",
    ]
    assert [a.units for a in space.axes if a.numeric] == [3.0, 2.0, 12.0]
    for values in space.sample(50, np.random.default_rng(0)):
        assert isinstance(values["depth"], int) and 1 <= values["depth"] <= 4
        assert values["batch"] in (16, 32, 64) and values["clip"] in (False, True)
        assert ("momentum" in values) == (values["optimizer"] == "sgd")
        point = space.encode([values])
        again = space.decode(
            {
                a.name: a.position(values[a.name]) if a.name in values else 0.0
                for a in space.axes
            }
        )
        assert again == pytest.approx(values) and len(point) == 1


def test_a_trial_can_be_chosen_while_others_run() -> None:
    space = Coordinates.of([RATE])
    values: list[Values] = [{"rate": 1e-5}, {"rate": 1.0}]
    bad = np.array([0.0, 1.0])
    running: list[Values] = []
    for _ in range(3):
        running.append(next_values(space, values, bad, pending=running))
    # None is spent on an end, whose outcome is foreseen.
    assert all(-4.8 < log_of(v["rate"]) < -0.2 for v in running)
