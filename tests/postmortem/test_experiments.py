"""Experiments: what would have kept a training finite, and what the diagnosis makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tb_nanwatch.compat.keras import compiled_loss, single_losses
from tb_nanwatch.diagnosis import rules
from tb_nanwatch.diagnosis.facts import Facts
from tb_nanwatch.diagnosis.ranking import diagnose
from tb_nanwatch.postmortem import experiments, state, step_changes
from tb_nanwatch.postmortem.run import run
from tb_nanwatch.record.schema import BadTensor, Experiment, Operand, Position, PostMortem
from tb_nanwatch.writing.backends.tensorflow.tracer import StepTracer
from tests.postmortem.programs import PROGRAMS, compiled, mlp, numbers
from tests.postmortem.steps import first_step

L = keras.layers
Case = tuple[Any, Any, Any]


def named(name: str) -> Callable[[], Case]:
    return next(p.make for p in PROGRAMS if p.name == name)


def too_high_a_rate() -> Case:
    def loss(y: Any, p: Any) -> Any:
        return tf.reduce_mean(p - tf.stop_gradient(p))

    model = compiled(mlp(), loss, optimizer=keras.optimizers.SGD(3.4e38))
    return model, np.full((1, 4), 1.1, np.float32), numbers(1, 1)


def too_large_inputs() -> Case:
    return compiled(mlp()), 1e25 * numbers(8, 4), numbers(8, 1)


def too_large_labels() -> Case:
    return compiled(mlp()), numbers(8, 4), 1e25 * numbers(8, 1)


def half_precision() -> Case:
    keras.config.set_dtype_policy("mixed_float16")
    last = L.Dense(1, dtype="float32")
    model = keras.Sequential([keras.Input((4,)), L.Dense(4), last])
    small = keras.optimizers.SGD(1e-9)
    return compiled(model, "mae", optimizer=small), 1e6 * numbers(8, 4), numbers(8, 1)


def all_in_half_precision() -> Case:
    """1 - 1e-7, to which Keras' loss bounds what is predicted, is 1 in float16."""
    keras.config.set_floatx("float16")
    model = keras.Sequential([keras.Input((4,)), L.Dense(1, bias_initializer="ones")])
    labels = np.zeros((8, 1), np.float16)
    return compiled(model, "binary_crossentropy"), 0 * numbers(8, 4), labels


def steep(gradient: float, rate: float) -> Case:
    """A loss whose gradient, times the rate, is no number of float32 any more."""

    def loss(y: Any, p: Any) -> Any:
        return tf.reduce_mean(p - tf.stop_gradient(p)) * gradient

    model = compiled(mlp(), loss, optimizer=keras.optimizers.SGD(rate))
    return model, np.full((1, 4), 1.1, np.float32), numbers(1, 1)


EPSILON, ROWS = "epsilon", "rows"


@pytest.mark.parametrize(
    ("make", "finite", "bad"),
    [
        (named("loss_division"), {EPSILON, ROWS}, {"inputs"}),
        (named("gradient_of_a_root"), {EPSILON}, {"inputs"}),
        (named("own_layer"), set(), {"inputs", EPSILON}),
        (named("data_input"), {ROWS}, set()),
        (too_high_a_rate, {"learning_rate/100"}, {"learning_rate/10"}),
        (too_large_inputs, {"inputs"}, set()),
        (too_large_labels, {"labels"}, {"inputs"}),
        (half_precision, {"float32", "inputs"}, set()),
        (all_in_half_precision, {"float32", EPSILON}, set()),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_the_right_change_keeps_it_finite(
    make: Callable[[], Case], finite: set[str], bad: set[str]
) -> None:
    model, x, y = make()
    capsule = first_step(model, x, y)
    found = run(model, capsule, StepTracer(model))
    before = state.snapshot(model)
    policies = [layer.dtype_policy.name for layer in model.layers]
    results = {c.change: c for c in experiments.run(model, capsule, found)}
    for old, new in zip(before, state.snapshot(model), strict=True):
        np.testing.assert_array_equal(old.value, new.value, old.path)
    assert [layer.dtype_policy.name for layer in model.layers] == policies
    assert model.optimizer.global_clipnorm is None
    assert not results["unchanged"].finite and results["unchanged"].tried
    for change in finite:
        assert results[change].finite, results[change]
        assert results[change].steps == 11
        assert results[change].note == "the same batch repeated"
    for change in bad:
        assert results[change].tried and not results[change].finite, results[change]
        assert "went bad" in results[change].note
    if make is not too_high_a_rate:  # bad before any update: a rate cannot matter
        assert not results["learning_rate/10"].tried
    in_half = make in (half_precision, all_in_half_precision)
    assert found.finite_in_float32 is (True if in_half else None)
    if not in_half:
        assert not results["float32"].tried


def test_gradients_are_clipped_by_value_where_their_norm_is_no_number() -> None:
    def tried(gradient: float, rate: float) -> dict[str, bool]:
        model, x, y = steep(gradient, rate)
        capsule = first_step(model, x, y)
        results = experiments.run(model, capsule, run(model, capsule, StepTracer(model)))
        assert (model.optimizer.global_clipnorm, model.optimizer.clipvalue) == (
            None,
            None,
        )
        return {e.change: e.finite for e in results if e.change.startswith("clip")}

    assert tried(1e25, 1e15) == {"clip": False, "clip_values": True}
    assert tried(1e12, 1e28) == {"clip": True}


class Divided(L.Layer):
    """Divides by variables that begin with 0, twice by each."""

    def __init__(self, variables: int, trained: bool = False) -> None:
        super().__init__()
        self.number, self.trained = variables, trained

    def build(self, shape: Any) -> None:
        self.by = [
            self.add_weight((), "zeros", trainable=self.trained, name=f"by{i}")
            for i in range(self.number)
        ]

    def call(self, x: Any) -> Any:
        for by in self.by:
            x = x / by
            x = x / by
        return x


def test_a_variable_that_is_divided_by_is_begun_with_1() -> None:
    def tried(variables: int) -> dict[str, Experiment]:
        model = compiled(mlp(Divided(variables)))
        capsule = first_step(model, numbers(8, 4), numbers(8, 1))
        found = run(model, capsule, StepTracer(model))
        results = {e.change: e for e in experiments.run(model, capsule, found)}
        values = [float(by) for layer in model.layers for by in getattr(layer, "by", ())]
        assert values == [0.0] * variables  # as it was
        return results

    alone = tried(1)
    assert not alone["epsilon"].finite  # at one of the two lines
    assert alone["begun_with_1"].finite
    assert alone["begun_with_1"].text.endswith("/by0 begun with 1")
    assert not tried(2)["begun_with_1"].finite  # the other is 0 still
    model, x, y = named("loss_division")()
    capsule = first_step(model, x, y)
    found = run(model, capsule, StepTracer(model))
    others = {e.change: e for e in experiments.run(model, capsule, found)}
    assert not others["begun_with_1"].tried  # no variable is divided by


def test_a_variable_that_is_one_number_can_be_run_again() -> None:
    """Its value comes as a number, and not as an array."""
    model = compiled(mlp(Divided(1, trained=True)))
    capsule = first_step(model, numbers(8, 4), numbers(8, 1))
    assert run(model, capsule, StepTracer(model)).op == "tf.math.divide"


def test_a_fix_that_was_tried_in_vain_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def said(*tried: Experiment) -> str:
        found = [rules.Candidate("layer_domain", 3.0, evidence=["a"], fix="Guard it.")]
        monkeypatch.setattr(rules, "candidates", lambda measured: found)
        facts = Facts(
            "diverged",
            Position("train", 5, 0, 5),
            BadTensor("activation", "odd", num_nan=1, size=1),
            postmortem=PostMortem(
                experiments=list(tried),
                num_nan=1,
                inputs=[Operand("denominator", num_zero=1)],
            ),
        )
        return str(diagnose(facts)[0].fix)

    assert said() == "Guard it."
    assert said(changed("epsilon", True)) == "Guard it."
    assert said(changed("epsilon", False)) == "Not enough alone, as tried: Guard it."
    # The step itself was mended.
    assert said(changed("epsilon", False, steps=3)) == "Guard it."


def test_losses_are_of_their_own_class_and_dtype_again() -> None:
    model, x, y = all_in_half_precision()
    capsule = first_step(model, x, y)
    losses = [part.loss for part in single_losses(compiled_loss(model))]
    classes = [type(loss) for loss in losses]
    with step_changes.in_float32(model):
        assert [loss.dtype for loss in losses] == ["float32"]
        assert keras.config.floatx() == "float32"
    assert [type(loss) for loss in losses] == classes
    assert [loss.dtype for loss in losses] == ["float16"]
    assert keras.config.floatx() == "float16"
    assert run(model, capsule, StepTracer(model)).dtype == "float16"


def test_what_is_0_in_float32_as_well_is_no_matter_of_float16() -> None:
    keras.config.set_dtype_policy("mixed_float16")
    model = mlp(L.Dense(4), L.Lambda(lambda h: h / (h - h)))
    capsule = first_step(compiled(model), numbers(8, 4), numbers(8, 1))
    found = run(model, capsule, StepTracer(model))
    assert (found.dtype, found.finite_in_float32) == ("float16", False)


def test_a_step_that_stays_finite_by_itself_says_nothing() -> None:
    model, x, y = named("loss_division")()
    capsule = first_step(model, x, y)
    capsule.data = (x, y + 100)
    (control,) = experiments.run(model, capsule, PostMortem())
    assert control.finite and control.change == "unchanged"
    capsule.data = (x, y)
    assert experiments.run(model, capsule, PostMortem(), seconds=0) == []


def causes(monkeypatch: pytest.MonkeyPatch, step: int, *tried: Experiment) -> list[Any]:
    found = [
        rules.Candidate("loss_domain", 3.0, evidence=["a"]),
        rules.Candidate("learning_rate", 1.0, evidence=["b"]),
    ]
    monkeypatch.setattr(rules, "candidates", lambda measured: found)
    facts = Facts(
        "diverged",
        Position("train", step, 0, step),
        BadTensor("loss", "total", num_nan=1, size=1),
        postmortem=PostMortem(experiments=list(tried)),
    )
    return diagnose(facts)


def changed(
    change: str, finite: bool, tried: bool = True, steps: int = 1, first: int = 5
) -> Experiment:
    steps = 11 if finite else steps
    text, note = f"with {change}", "loss went bad"
    rate = 1e-6 if change.startswith("learning_rate") else None
    return Experiment(change, text, finite, steps, note, tried, first=first, value=rate)


def test_a_contradicted_cause_is_withdrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    def ids(step: int, *tried: Experiment) -> list[str]:
        return [c.id for c in causes(monkeypatch, step, *tried)]

    both = ["loss_domain", "learning_rate"]
    assert ids(5) == both
    assert ids(5, changed("epsilon", True)) == both
    assert ids(5, changed("epsilon", False), changed("rows", True)) == both
    assert ids(5, changed("epsilon", False, tried=False)) == both
    assert ids(5, changed("epsilon", False)) == ["learning_rate"]
    # It mended the step, and what went bad later may be something else.
    assert ids(5, changed("epsilon", False, steps=3)) == both
    # Too late at step 5 for a smaller rate to help, but not in the first step.
    assert ids(5, changed("learning_rate/100", False)) == both
    assert ids(0, changed("learning_rate/100", False, first=0)) == ["loss_domain"]
    assert ids(5, changed("learning_rate/100", False, first=0)) == ["loss_domain"]
    # A rate that is still high says nothing.
    high = changed("learning_rate/100", False, first=0)
    high.value = 1e-3
    assert ids(5, high) == both


def test_an_experiment_is_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = causes(monkeypatch, 5, changed("epsilon", True))
    assert any("and the 10 after it stayed finite" in e for e in first.evidence)
    (first,) = causes(monkeypatch, 5, changed("epsilon", False))
    assert any("It is not loss domain" in e for e in first.evidence)
