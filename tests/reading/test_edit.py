"""The code of an edit: exact text, and what KerasTuner makes of it."""

from __future__ import annotations

import math
import textwrap
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
import pytest

from tb_nanwatch.declaring import cut, declaration
from tb_nanwatch.declaring.cut import Cut
from tb_nanwatch.reading.contract.searches import Finding
from tb_nanwatch.reading.search import edit
from tb_nanwatch.reading.search.analysis import analyse
from tb_nanwatch.reading.search.axes import Axis, axes_of
from tb_nanwatch.reading.search.trials import ComparedTrial
from tb_nanwatch.record.schema import Condition, Declaration, HParam
from tb_nanwatch.writing.search.declarations import shown_file
from tb_nanwatch.writing.search.tuner import _hparams
from tests.reading.searches import search


def axis(*hparams: HParam) -> Axis:
    (found,) = axes_of([[h] for h in hparams])
    return found


def code(cut: Cut, *hparams: HParam) -> str | None:
    found = edit.unconditional(cut, axis(*hparams))
    return found.code if found else None


def a_float(value: float, **changes: Any) -> HParam:
    values: dict[str, Any] = {
        "min": 0.0,
        "max": 1.0,
        "sampling": "linear",
        "default": 0.0,
    }
    return HParam("x", value, "float", **(values | changes))


def an_int(value: int, **changes: Any) -> HParam:
    values: dict[str, Any] = {"min": 16, "max": 128, "step": 16, "sampling": "linear"}
    return HParam("n", value, "int", **(values | {"default": 16} | changes))


@pytest.mark.parametrize(
    "cut, changes, expected",
    [
        (Cut("x", "ge", 0.5), {}, 'hp.Float("x", 0.0, 0.5)'),
        (Cut("x", "le", 0.25), {}, 'hp.Float("x", 0.25, 1.0)'),
        (Cut("x", "ge", 0.5), {"default": 0.3}, 'hp.Float("x", 0.0, 0.5, default=0.3)'),
        (Cut("x", "ge", 0.5), {"default": 0.7}, 'hp.Float("x", 0.0, 0.5)'),
        (Cut("x", "ge", 0.6), {"step": 0.25}, 'hp.Float("x", 0.0, 0.5, step=0.25)'),
        (
            Cut("x", "ge", 0.05),
            {"min": 1e-4, "max": 1.0, "sampling": "log"},
            'hp.Float("x", 1e-4, 0.05, sampling="log")',
        ),
        (
            Cut("x", "ge", 0.05),
            {"min": 1e-4, "max": 1.0, "sampling": "log", "step": 10},
            'hp.Float("x", 1e-4, 0.01, step=10, sampling="log")',
        ),
        (
            Cut("x", "ge", 0.5),
            {"min": 0.1, "sampling": "reverse_log", "default": 0.1},
            'hp.Float("x", 0.1, 0.5, sampling="reverse_log")',
        ),
    ],
)
def test_floats(cut: Cut, changes: dict[str, Any], expected: str) -> None:
    assert code(cut, a_float(0.2, **changes), a_float(0.9, **changes)) == expected


@pytest.mark.parametrize(
    "cut, changes, expected",
    [
        (Cut("n", "ge", 70), {}, 'hp.Int("n", 16, 64, step=16)'),
        (Cut("n", "le", 40), {}, 'hp.Int("n", 48, 128, step=16)'),
        (Cut("n", "ge", 20), {}, 'hp.Fixed("n", 16)'),
        (Cut("n", "ge", 70), {"step": 1}, 'hp.Int("n", 16, 70)'),
        (
            Cut("n", "ge", 70),
            {"step": 2, "sampling": "log"},
            'hp.Int("n", 16, 64, step=2, sampling="log")',
        ),
        (
            Cut("n", "ge", 70.5),
            {"step": None, "sampling": "log"},
            'hp.Int("n", 16, 70, sampling="log")',
        ),
        (Cut("n", "ge", 3), {}, None),
    ],
)
def test_ints(cut: Cut, changes: dict[str, Any], expected: str | None) -> None:
    assert code(cut, an_int(32, **changes), an_int(96, **changes)) == expected


def test_choices_and_booleans() -> None:
    values = ["a", 'b"); import os', "c"]
    hparams = [
        HParam("k", v, "choice", values=values, ordered=False, default="c")
        for v in values
    ]
    assert code(Cut("k", "in", values=("a",)), *hparams) == (
        'hp.Choice("k", ["b\\"); import os", "c"], default="c")'
    )
    assert code(Cut("k", "in", values=("a", "c")), *hparams) == (
        'hp.Choice("k", ["b\\"); import os"])'
    )
    assert code(Cut("k", "in", values=tuple(values)), *hparams) is None
    numbers = [
        HParam("k", v, "choice", values=[8, 16, 32], ordered=True, default=8)
        for v in (8, 16)
    ]
    assert code(Cut("k", "ge", 20), *numbers) == 'hp.Choice("k", [8, 16])'
    booleans = [HParam("b", v, "boolean", default=False) for v in (True, False)]
    assert code(Cut("b", "in", values=(True,)), *booleans) == 'hp.Fixed("b", False)'


@pytest.mark.parametrize("name", ['a"b', "a\nb", "é𝕏", "\\", "a'b", "lr/x y"])
def test_any_name_is_a_literal_that_reads_back(name: str) -> None:
    found = code(
        Cut(name, "ge", 0.5),
        HParam(name, 0.2, "float", min=0.0, max=1.0),
        HParam(name, 0.9, "float", min=0.0, max=1.0),
    )
    assert found is not None
    hp = keras_tuner.HyperParameters()
    exec(found, {"hp": hp})
    assert hp.values == {name: 0.0}


@pytest.mark.parametrize(
    "live, dead, log, expected",
    [
        (0.026, 0.11, True, 0.05),
        (0.0072, 0.05, True, 0.02),
        (0.31, 0.39, False, None),
        (0.5, 0.5000001, False, None),
        (1e-3, 1e-2, True, 0.003),
        (-2.0, -1.0, False, -2.0),
        (0.9, 0.1, False, 0.5),
    ],
)
def test_a_cut_has_few_digits(live: float, dead: float, log: bool, expected: Any) -> None:
    found = cut.short_between(live, dead, log)
    assert min(live, dead) <= found <= max(live, dead) and found != dead
    if expected is not None:
        assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    "value", [1e-4, 0.05, 1.0, 123456.7, 1e6, 2.5e-7, 1e300, -1e-5, 0.0]
)
def test_numbers_read_back(value: float) -> None:
    assert float(declaration.number_text(value)) == value


# --- In KerasTuner --------------------------------------------------------------------


def build_plain(hp: Any) -> None:
    hp.Choice("optimizer", ["sgd", "rmsprop", "adam"])
    hp.Choice("activation", ["relu", "elu", "tanh"])
    hp.Boolean("normalise")
    hp.Int("units", 16, 128, step=16)
    hp.Int("depth", 1, 4)
    hp.Float("learning_rate", 1e-4, 1.0, sampling="log")


def edited(build: Callable[[Any], None], finding: Finding) -> Callable[[Any], None]:
    """The build function with one declaration replaced, as a user would."""
    lines = textwrap.dedent(finding.edit)

    def run(hp: Any) -> None:
        class Others:
            """Declares everything but the edited hyperparameter."""

            def __getattr__(self, kind: str) -> Any:
                def declare(name: str, *args: Any, **kwargs: Any) -> Any:
                    if name != finding.hparam:
                        return getattr(hp, kind)(name, *args, **kwargs)
                    return None

                return declare

        build(Others())
        variables = {"hp": hp}
        exec(lines, variables)
        if "conditional_scope" in lines:
            assert variables[finding.hparam] is not None

    return run


def trials_of(tuner_class: Any, declare: Any, path: Path, n: int) -> list[list[HParam]]:
    class Tuner(tuner_class):  # type: ignore[misc]
        """Trains nothing."""

        def _populate_initial_space(self) -> None:
            # As the tuner does it, with a function that builds no model.
            self.hypermodel = types.SimpleNamespace(build=declare)
            self._activate_all_conditions()

        def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> float:
            declare(trial.hyperparameters)
            return 0.5

    tuner = Tuner(max_trials=n, seed=1, directory=path, project_name="p")
    tuner.search(verbose=0)
    return [_hparams(t.hyperparameters) for t in tuner.oracle.trials.values()]


RULES: dict[str, Callable[[dict[str, Any]], bool]] = {
    "threshold": lambda v: v["learning_rate"] >= 0.05,
    "subset": lambda v: v["activation"] == "relu",
    "within a category": lambda v: v["optimizer"] == "sgd" and v["learning_rate"] >= 0.01,
    "two thresholds": lambda v: v["units"] >= 64 and v["learning_rate"] >= 0.01,
    "within a boolean": lambda v: v["normalise"] and v["depth"] >= 3,
    "two subsets": lambda v: v["normalise"] and v["activation"] == "elu",
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(
    "tuner_class", [keras_tuner.RandomSearch, keras_tuner.BayesianOptimization]
)
def test_the_edited_space_runs_and_leaves_the_bad_region_out(
    name: str, tuner_class: Any, tmp_path: Path
) -> None:
    rule = RULES[name]
    before = trials_of(keras_tuner.RandomSearch, build_plain, tmp_path / "before", 80)
    trials = [ComparedTrial(h, rule({x.name: x.value for x in h}), 0.0) for h in before]
    (finding,) = analyse("s", trials).findings
    n = 12 if tuner_class is keras_tuner.BayesianOptimization else 60
    after = trials_of(tuner_class, edited(build_plain, finding), tmp_path / "after", n)
    values = [{h.name: h.value for h in hparams} for hparams in after]
    assert len(values) == n
    for v, hparams in zip(values, after, strict=True):
        for h in hparams:
            # The name in its scope, or the new one: one of the two is active.
            if h.active and h.name.startswith(finding.hparam):
                v[finding.hparam] = h.value
        assert all(v[h.name] is not None for h in before[0])
    # Between the last trial that lived and the first that died nobody knows.
    bad_before = sum(t.bad for t in trials) / len(trials)
    assert sum(rule(v) for v in values) / n <= bad_before / 3


def test_a_scope_cannot_be_opened_within_one_of_the_same_parent(tmp_path: Path) -> None:
    def declare(hp: Any) -> None:
        hp.Choice("optimizer", ["sgd", "rmsprop", "adam"])
        hp.Float("learning_rate", 1e-4, 1.0, sampling="log")
        with hp.conditional_scope("optimizer", ["sgd", "rmsprop"]):
            hp.Float("momentum", 0.0, 1.0)

    before = trials_of(keras_tuner.RandomSearch, declare, tmp_path / "before", 120)
    trials = []
    for hparams in before:
        v = {h.name: h.value for h in hparams}
        trials.append(
            ComparedTrial(hparams, v["optimizer"] == "sgd" and v["momentum"] > 0.6, 1.0)
        )
    (finding,) = analyse("s", trials).findings
    # KerasTuner finds no parent there: the values of one of the two have to do.
    assert finding.edit == 'hp.Choice("optimizer", ["rmsprop", "adam"])' or (
        finding.hparam == "momentum" and "rmsprop" in finding.edit
    )
    assert finding.saves.startswith("removes ")


def test_a_scope_that_kerastuner_cannot_make_is_not_proposed() -> None:
    # learning_rate stands in a scope of `model`; a scope of `normalise`, declared
    # outside of it, cannot be opened there.
    rng = np.random.default_rng(0)
    trials = []
    for hparams in (list(t.hparams) for t in search(100, lambda v: False)):
        rate = next(h for h in hparams if h.name == "learning_rate")
        rate.conditions = [Condition("model", ["mlp"])]
        normalise = next(h for h in hparams if h.name == "normalise")
        bad = bool(normalise.value) and float(rate.value or 0) > 0.01
        trials.append(ComparedTrial(hparams, bad, float(rng.random())))
    (finding,) = analyse("s", trials).findings
    assert " and " in finding.condition
    assert (
        "normalise" not in finding.edit
        or 'conditional_scope("normalise"' not in finding.edit
    )
    assert finding.edit


# --- Values that no space declares --------------------------------------------------


def by_hand(**values: Any) -> list[Axis]:
    """Returns the axes of values as `hparams=` takes them, two runs each."""
    kinds = {True: "text", False: "number"}
    trials = [
        [HParam(n, v, kinds[isinstance(v, str)]) for n, v in run.items()]  # type: ignore[arg-type]
        for run in ({n: v[i] for n, v in values.items()} for i in range(2))
    ]
    return axes_of(trials)


def test_a_loop_of_ones_own_gets_a_condition_in_its_own_words() -> None:
    axes = by_hand(lr=[0.01, 3.0], opt=["sgd", "adam"])
    cuts = [Cut("lr", "ge", 0.2), Cut("opt", "in", values=("sgd",))]
    found = edit.by_hand(cuts, axes)
    assert found is not None and found.place == "by hand"
    assert found.code == 'lr > 0.2 and opt == "sgd"'
    for lr in (0.01, 0.2, 3.0):
        for opt in ("sgd", "adam"):
            hparams = {
                "lr": HParam("lr", lr, "number"),
                "opt": HParam("opt", opt, "text"),
            }
            gone = eval(found.code, {"lr": lr, "opt": opt})
            assert gone == (not found.keeps(hparams)), (lr, opt)


def test_names_that_are_no_names_are_looked_up() -> None:
    axes = by_hand(**{"my lr": [0.01, 3.0], "lambda": ["a", "b"]})
    cuts = [Cut("my lr", "le", 0.5), Cut("lambda", "in", values=("a", "b"))]
    found = edit.by_hand(cuts, axes)
    assert found is not None
    assert found.code == 'hparams["my lr"] < 0.5 and hparams["lambda"] in ("a", "b")'
    hparams = {"my lr": 0.1, "lambda": "a"}
    assert eval(found.code, {"hparams": hparams}) is True


def test_what_a_space_declares_has_its_own_edit() -> None:
    assert edit.by_hand([Cut("x", "ge", 0.5)], [axis(a_float(0.1), a_float(0.9))]) is None
    assert edit.by_hand([Cut("lr", "ge", math.inf)], by_hand(lr=[0.1, 1.0])) is None
    assert edit.by_hand([Cut("y", "ge", 1.0)], [Axis("y")]) is None


@pytest.mark.parametrize(
    "path, shown",
    [
        ("/tmp/ipykernel_123/1768324295.py", "in line 7 of its cell"),
        ("<ipython-input-3-0a1b>", "in line 7 of its cell"),
        ("/home/me/tune.py", "at tune.py:7"),
    ],
)
def test_a_notebooks_cell_is_called_so(path: str, shown: str) -> None:
    where = Declaration(f"{shown_file(path)}:7", line=7, variable="x", assigned=True)
    found = edit.unconditional(
        Cut("x", "ge", 0.5),
        axis(a_float(0.1, declared=where), a_float(0.9, declared=where)),
    )
    assert found is not None and found.where == f"Replace the statement {shown} by this."
