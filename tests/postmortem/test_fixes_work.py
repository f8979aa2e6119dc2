"""What a fix says is run: where the operation gave no finite number, the mended one does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tb_nanwatch.diagnosis.ranking import Facts, diagnose
from tb_nanwatch.diagnosis.rules.guards import guard_of, with_numbers
from tb_nanwatch.postmortem.run import run
from tb_nanwatch.record.schema import PostMortem
from tb_nanwatch.writing.backends.tensorflow.tracer import StepTracer
from tests.diagnosis.records import facts, met
from tests.postmortem.programs import PROGRAMS
from tests.postmortem.steps import first_step

HERE = Path(__file__).parent
ONES = [1.0, 2.0]
# Of each operation: its own form, the numbers that it does not take, and what else it is given.
BAD: dict[str, tuple[str, list[float]]] = {
    "Log": ("keras.ops.log(x)", [0.0, -1.0]),
    "Log1p": ("keras.ops.log1p(x)", [-1.0, -3.0]),
    "RealDiv": ("1.0 / d", [0.0, 0.0]),
    "Reciprocal": ("keras.ops.reciprocal(x)", [0.0, 0.0]),
    "Sqrt": ("keras.ops.sqrt(x)", [0.0, -1.0]),
    "Rsqrt": ("keras.ops.rsqrt(x)", [0.0, -1.0]),
    "Pow": ("keras.ops.power(x, a)", [0.0, -1.0]),
    "Exp": ("keras.ops.exp(x)", [90.0, 1e4]),
}


def value_and_gradient(text: str, numbers: list[float], dtype: str) -> tuple[Any, Any]:
    x = tf.constant(numbers, dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        a = tf.constant(0.5, dtype)
        result = eval(text, {"keras": keras, "x": x, "d": x, "a": a})
    return result.numpy(), tape.gradient(result, x).numpy()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("op_type", BAD)
def test_the_example_is_finite_where_the_operation_is_not(
    op_type: str, dtype: str
) -> None:
    own, numbers = BAD[op_type]
    found = PostMortem(op=op_type, op_type=op_type, forward_type=op_type, dtype=dtype)
    example = with_numbers(guard_of(found).example, found).partition(", or ")[0]
    example = example.replace("x / ", "1.0 / ")
    assert not all(np.isfinite(v).all() for v in value_and_gradient(own, numbers, dtype))
    assert all(np.isfinite(v).all() for v in value_and_gradient(example, numbers, dtype))
    # What was in its domain stays what it was.
    for mended, was in zip(
        value_and_gradient(example, ONES, dtype),
        value_and_gradient(own, ONES, dtype),
        strict=True,
    ):
        np.testing.assert_array_equal(mended, was)


# Fixes are for one operation each: what the programs that go bad by another never hear.
MINE = {
    "tf.math.log": "logarithm",
    "tf.math.divide": "denominator",
    "tf.math.sqrt": "root",
    "tf.math.exp": "exponential",
}
NAMED = [p for p in PROGRAMS if p.op in MINE and p.line]


@pytest.mark.parametrize("program", NAMED, ids=lambda p: p.name)
def test_the_fix_of_a_program_is_for_its_line_and_operation(program: Any) -> None:
    model, x, y = program.make()
    capsule = first_step(model, x, y)
    found = run(model, capsule, StepTracer(model))
    assert found.source is not None
    kind = "total" if capsule.origin.kind in ("loss", "metric") else "odd"
    run_facts: Facts = met(facts(kind, bad=(1, 0)), found)
    said = diagnose(run_facts)[0].fix
    assert f":{found.source.line}, `" in said
    told = said.partition("`: keep ")[2]
    assert told and {op for op, word in MINE.items() if word in told} == {program.op}


def likelihood(least: float | None = None) -> Any:
    """A Poisson regression's own loss, of a rate that is kept at `least` in the logarithm."""

    def loss(y: Any, p: Any) -> Any:
        kept = p if least is None else keras.ops.maximum(p, least)
        return keras.ops.mean(p - y * keras.ops.log(kept), axis=-1)

    return loss


def regression(activation: str | None, loss: Any) -> tuple[Any, Any, Any]:
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(512, 4)).astype("float32")
    y = rng.poisson(np.exp(x @ [0.6, -0.4, 0.3, 0.2] + 0.3)).astype("float32")[:, None]
    layers = [keras.layers.Dense(16, activation="relu")]
    layers.append(keras.layers.Dense(1, activation=activation, name="rate"))
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile(keras.optimizers.Adam(0.01), loss)
    return model, x, y


def test_a_positive_rate_learns_where_a_bound_leaves_negative_ones() -> None:
    model, x, y = regression(None, likelihood())
    capsule = first_step(model, x[:32], y[:32])
    found = run(model, capsule, StepTracer(model))
    said = diagnose(met(facts("total", bad=(1, 0)), found))[0].fix
    assert said.startswith("Make what the layer rate gives positive")

    def trained(activation: str | None, least: float | None) -> float:
        model, x, y = regression(activation, likelihood(least))
        history = model.fit(x, y, epochs=15, verbose=0).history["loss"]
        return float(history[-1])

    assert trained("softplus", None) < trained(None, 1e-7)
