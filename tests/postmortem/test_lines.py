"""Operation and line are right for small programs that go bad."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tb_nanwatch.errors import NanWatchWarning
from tb_nanwatch.postmortem import experiments, state
from tb_nanwatch.postmortem.run import run
from tb_nanwatch.wording.chain_text import came_from
from tb_nanwatch.writing.backends.tensorflow.compiled import run_compiled
from tb_nanwatch.writing.backends.tensorflow.tracer import StepTracer
from tests.postmortem.programs import PROGRAMS, Program, numbers
from tests.postmortem.steps import first_step

HERE = Path(__file__).parent


def marked(name: str) -> tuple[str, int]:
    for path in sorted(HERE.glob("*.py")):
        for n, line in enumerate(path.read_text().splitlines(), 1):
            if line.endswith(f"# here: {name}"):
                return path.name, n
    raise AssertionError(f"no line is marked {name!r}")


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.name)
def test_operation_and_line_are_right(program: Program) -> None:
    model, x, y = program.make()
    capsule = first_step(model, x, y)
    if program.origin is not None:
        assert capsule.origin.kind == program.origin
    before = state.snapshot(model)
    result = run(model, capsule, StepTracer(model))
    for old, new in zip(before, state.snapshot(model), strict=True):
        np.testing.assert_array_equal(old.value, new.value, old.path)
    assert result.reproduced, result.reason
    assert result.data == program.data
    assert result.gradient == program.gradient, result.text
    if program.op is not None:
        assert result.op in program.op.split("|"), result.text
    elif program.data is not None:
        assert result.op is None
    assert program.finding in result.finding, result.text
    if program.layer is not None:
        assert result.layer == program.layer
    if not program.line:
        assert result.source is None, result.text
        return
    assert result.source is not None, result.text
    name = getattr(program.make, "line_of", program.name)
    assert (Path(result.source.file).name, result.source.line) == marked(name)
    assert f"{result.source.file}:{result.source.line}" in result.text
    if name == "loss_over_several_lines" and sys.version_info >= (3, 11):
        assert result.source.text == "squares / tf.square(y)"


def root_in_the_graph() -> Any:
    """A root that no layer takes: an operation of the model's own graph."""
    inputs = keras.Input((4,))
    x = keras.layers.Dense(5)(inputs)
    x = x + keras.ops.sqrt(x - keras.ops.stop_gradient(x))
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    model.compile("sgd", "mse")
    return model, numbers(8, 4), numbers(8, 1)


@pytest.mark.parametrize(
    ("make", "in_model"),
    [
        ("gradient_in_a_layer", True),
        (root_in_the_graph, True),
        ("gradient_of_a_root", False),
        ("own_train_step", False),
    ],
)
def test_whose_derivative_it_is_is_told(make: Any, in_model: bool) -> None:
    if isinstance(make, str):
        make = next(p.make for p in PROGRAMS if p.name == make)
    model, x, y = make()
    result = run(model, first_step(model, x, y), StepTracer(model))
    assert result.gradient and result.in_model is in_model, result.text


@pytest.mark.parametrize("again", [True, False])
def test_random_numbers_that_cannot_be_drawn_again_are_said_to_be_why(
    again: bool,
) -> None:
    """Keras keeps the state of its own, as of dropout; TensorFlow gives its to no one."""
    seed = keras.random.SeedGenerator(0)
    x, y = numbers(64, 4), numbers(64, 1)

    def noise(values: Any) -> Any:
        shape = tf.shape(values)
        drawn = (
            keras.random.normal(shape, seed=seed) if again else tf.random.normal(shape)
        )
        return values + tf.math.log(drawn)  # NaN in about half of them

    class Noisy(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.seed, self.last = seed, keras.layers.Dense(1)

        def call(self, values: Any) -> Any:
            return self.last(noise(values))

    model = Noisy()
    model.compile("sgd", "mse")
    capsule = first_step(model, x, y)
    result = run(model, capsule, StepTracer(model))
    assert result.reproduced == again and (result.redrawn > 0) != again
    assert result.op == "tf.math.log" and result.source is not None
    said = " ".join(came_from(result))
    assert ("The step draws random numbers that cannot be drawn again" in said) != again
    if not again:
        assert result.chain == []  # of yet other numbers
        assert experiments.run(model, capsule, result) == []
        assert "cannot be drawn again" in result.untried
        # What goes bad first is another tensor in every one.
        later = replace(capsule.origin, kind="loss", name="total", num_nan=9)
        other = replace(capsule, origin=later)
        result = run(model, other, StepTracer(model))
        assert result.op is None
        assert "draws other random numbers each time" in result.reason


def test_what_cannot_be_known_is_not_named() -> None:
    model, x, y = next(p for p in PROGRAMS if p.name == "own_layer").make()
    capsule = first_step(model, x, y)
    tracer = StepTracer(model)
    assert run(model, capsule, tracer).source is not None

    def reason(**options: float) -> str:
        result = run(model, capsule, tracer, **options)  # type: ignore[arg-type]
        assert not result.reproduced and result.reason and not result.text
        assert result.op is None and result.source is None
        return result.reason

    counted = capsule.origin
    capsule.origin = replace(counted, num_nan=counted.num_nan + 1)
    assert "in training it had" in reason()
    capsule.origin = replace(counted, name="nowhere")
    assert "no tensor 'nowhere'" in reason()
    capsule.origin = counted
    assert "longer than 0 s" in reason(seconds=0)
    assert "MiB" in reason(memory=-1)
    capsule.replicas = 2
    assert "2 replicas" in reason()
    capsule.replicas = 1
    capsule.variables.pop(0)
    assert "expected the model that was trained" in reason()
    capsule.variables = []
    assert "in training it had" in reason()  # the weights are NaN by now
    capsule.data = (x[:, :2], y)
    with pytest.warns(NanWatchWarning, match="training is not affected"):
        assert "could not be run again" in reason()


def test_a_step_of_validation_and_inputs_by_name() -> None:
    first, second = keras.Input((4,), name="first"), keras.Input((2,), name="second")
    both = keras.layers.Concatenate()([first, second])
    model = keras.Model({"first": first, "second": second}, keras.layers.Dense(1)(both))
    program = next(p for p in PROGRAMS if p.name == "metric_function")
    metric, _, _ = program.make()
    model.compile("sgd", "mse", metrics=[metric._compile_metrics._user_metrics[0]])
    x = {"first": numbers(8, 4), "second": numbers(8, 2)}
    y = numbers(8, 1)
    capsule = first_step(model, {**x, "second": x["second"] * np.inf}, y)
    result = run(model, capsule, StepTracer(model))
    assert (result.data, result.rows) == ("input['second']", list(range(8)))

    y[:3] = 0
    model.reset_metrics()
    capsule.variables = [s for s in capsule.variables if s.role != "model"]
    for variable in model.variables:
        variable.assign(np.ones(variable.shape))
    seen = run_compiled(model, "validation", (x, y), fixed=True)
    capsule.position.phase = "validation"
    capsule.data, capsule.bad, capsule.origin = (x, y), seen.bad, seen.bad[0]
    result = run(model, capsule, StepTracer(model))
    assert capsule.origin.kind == "metric" and result.reproduced, result.reason
    assert result.op == "tf.math.divide" and result.source is not None
    assert result.source.line == marked("metric_function")[1]


def test_weights_that_were_bad_before_blame_nobody() -> None:
    model, x, y = next(p for p in PROGRAMS if p.name == "own_activation").make()
    model.layers[0].activation = keras.activations.linear
    kernel = model.layers[0].kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    capsule = first_step(model, x, y)
    result = run(model, capsule, StepTracer(model))
    assert result.reproduced and result.op is None
    assert "dense/kernel was non-finite before the step" in result.reason
