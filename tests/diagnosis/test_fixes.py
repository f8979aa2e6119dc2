"""The fix is that of the operation that went bad, for the line that is there."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from typing import Any

import keras
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tb_nanwatch.diagnosis.measured import measure
from tb_nanwatch.diagnosis.ranking import diagnose
from tb_nanwatch.diagnosis.rules import fixes, guards, rate_fixes
from tb_nanwatch.diagnosis.rules.learning_rate import rate_too_high
from tb_nanwatch.diagnosis.rules.own_line import (
    LineEdit,
    below_its_largest,
    divides_by_a_sum,
    edited,
    rooted,
    without_comment,
    without_power,
)
from tb_nanwatch.diagnosis.rules.settings import settings_fix
from tb_nanwatch.record.schema import Experiment, Link, Operand, PostMortem, Source
from tests.diagnosis.records import facts, met, operation


def fix(found: PostMortem, origin: str = "total", **more: Any) -> str:
    return diagnose(met(facts(origin, **more), found))[0].fix


# Of each operation: what its fix speaks of. No other's is to be there.
WORDS = {
    "Log": "keras.ops.log(",
    "Log1p": "keras.ops.log1p(",
    "RealDiv": "x / ",
    "Reciprocal": "keras.ops.reciprocal(",
    "Sqrt": "keras.ops.sqrt(",
    "Rsqrt": "keras.ops.rsqrt(",
    "Pow": "keras.ops.power(",
    "Exp": "keras.ops.exp(",
    "Acos": "-0.999, 0.999",
    "Acosh": "1.001",
    "Ndtri": "1e-3, 0.999",
    "Lgamma": "gamma",
    "Cholesky": "keras.ops.eye",
    "Square": "keras.ops.clip(x, -1e6, 1e6)",
}


@pytest.mark.parametrize("op_type", WORDS)
@pytest.mark.parametrize("origin", ["total", "odd", "dense_1/kernel", "error"])
def test_the_fix_is_that_of_the_operation(op_type: str, origin: str) -> None:
    # The line does not hold the operation itself, so that the example is the general one.
    said = fix(operation(op_type, "return tools.apply(x)"), origin)
    assert said.startswith("At train.py:12, `return tools.apply(x)`: keep ")
    shown = said.partition("`: ")[2]
    assert {op for op, words in WORDS.items() if words in shown} == {op_type}


@pytest.mark.parametrize("op_type", WORDS)
def test_no_line_is_spoken_of_where_there_is_none(op_type: str) -> None:
    own_loss = operation(op_type, owner="the loss 'mse'")
    for origin in ("total", "dense_1/kernel"):
        said = fix(own_loss, origin)
        assert "This loss" in said and "train.py" not in said and "keras.ops" not in said
    said = fix(operation(op_type, layer="odd"), "odd")
    assert said.startswith("The layer odd ") and "keras.ops" not in said
    said = fix(operation(op_type, owner="the metric 'mape'"), "error")
    assert said.startswith("This metric of Keras' own ")


def test_a_loss_of_keras_own_is_mended_by_what_it_is_given() -> None:
    def of(op_type: str, **more: Any) -> str:
        return fix(operation(op_type, owner="the loss 'x'", **more))

    for words in ('"softmax"', '"sigmoid"', "from_logits=True", "[0, 1]"):
        assert words in of("Log")
    assert "from_logits=True" in of("RealDiv") and "divides" in of("RealDiv")
    for op_type in ("Log", "Square"):
        assert 'dtype="float32"' in of(op_type, dtype="float16")
    said = fix(operation("Square", owner="the loss 'mse'"), later={"label": 1e11})
    assert "labels of [-1e+11, 1e+11] and predictions of [1, 1]" in said


@pytest.mark.parametrize(
    ("op_type", "line", "shown"),
    [
        (
            "Log",
            "return -ops.sum(y * ops.log(p), axis=-1)",
            "ops.log(ops.maximum(p, 1e-7))",
        ),
        (
            "Log",
            "x = tf.math.log(a + b)  # why",
            "tf.math.log(tf.math.maximum(a + b, 1e-7))",
        ),
        ("Log", "log(p)", "log(keras.ops.maximum(p, 1e-7))"),
        (
            "RealDiv",
            "return tf.abs(y - p) / y",
            "tf.abs(y - p) / keras.ops.maximum(y, 1e-3)",
        ),
        ("RealDiv", "tf.divide(a, b)", "tf.divide(a, tf.maximum(b, 1e-3))"),
        ("Sqrt", "norm = tf.sqrt(s)", "tf.sqrt(tf.maximum(s, 1e-12))"),
        ("Pow", "z = x ** a", "keras.ops.maximum(x, 1e-7) ** a"),
        ("Exp", "return K.exp(z) * e", "K.exp(K.minimum(z, 20.0))"),
        ("Acos", "a = tf.acos(w)", "tf.acos(tf.clip_by_value(w, -0.999, 0.999))"),
        ("RealDiv", "z = a / 2.0 / b", "a / 2.0 / keras.ops.maximum(b, 1e-3)"),
        # A root that is 0 has no derivative, whatever is done with it afterwards.
        ("RealDiv", "z = a / ops.sqrt(s)", "a / ops.sqrt(ops.maximum(s, 1e-6))"),
        ("RealDiv", "a / (tf.sqrt(s) + e)", "a / (tf.sqrt(tf.maximum(s, 1e-6)) + e)"),
        (
            "RealDiv",
            "a / ops.maximum(ops.norm(a, axis=1), small)",
            "a / ops.maximum(ops.sqrt(ops.maximum(ops.sum(ops.square(a), axis=1), 1e-6)), small)",
        ),
        # Numbers and texts stay as they were written.
        (
            "Log",
            "z = ops.log(p + 1e-8, 'q')",
            "ops.log(ops.maximum(p + 1e-8, 1e-7), 'q')",
        ),
        # All of them, for none can do harm.
        (
            "Log",
            "return ops.log(p) - ops.log(q)",
            "ops.log(ops.maximum(p, 1e-7)) - ops.log(ops.maximum(q, 1e-7))",
        ),
        # Of these modules it is not known that they have a maximum.
        ("Log", "x = tf.linalg.log(a)", "tf.linalg.log(tf.maximum(a, 1e-7))"),
        ("Sqrt", "x = mine.sqrt(a)", "mine.sqrt(keras.ops.maximum(a, 1e-12))"),
        # The root is the function's own.
        (
            "Sqrt",
            "return tf.norm(w, axis=1)",
            "tf.sqrt(tf.maximum(tf.reduce_sum(tf.square(w), axis=1), 1e-12))",
        ),
        (
            "Sqrt",
            "s = ops.std(x, axis=0, keepdims=True)",
            "ops.sqrt(ops.maximum(ops.var(x, axis=0, keepdims=True), 1e-12))",
        ),
    ],
)
def test_the_users_own_expression_is_shown_mended(
    op_type: str, line: str, shown: str
) -> None:
    said = fix(operation(op_type, line))
    assert f"as in `{shown}`" in said
    assert f"`{line.partition('  #')[0]}`" in said


@pytest.mark.parametrize(
    "line",
    [
        "return helper(p)",
        "return self.log(p)",  # a method of the user's own
        "-ops.sum(y * ops.log(",  # cut
        "return ops.log()",
        "",
        "p = ops.log(" + "a + " * 60 + "b)",
    ],
)
def test_a_line_that_cannot_be_read_gets_the_general_example(line: str) -> None:
    assert "as in keras.ops.log(keras.ops.maximum(x, 1e-7))." in fix(
        operation("Log", line)
    )


def test_numbers_are_such_as_the_dtype_can_hold() -> None:
    half = operation("Log", "ops.log(p)", dtype="float16")
    assert "ops.log(ops.maximum(p, 1e-4))" in fix(half)
    assert "10.0" in fix(operation("Exp", "ops.exp(p)", dtype="float16"))
    assert "1e-12" not in fix(operation("Sqrt", "ops.sqrt(p)", dtype="float16"))
    assert "float32" in fix(operation("Mul", "a * b", dtype="float16"))


def test_a_denominator_of_either_sign_keeps_its_sign() -> None:
    inputs = [Operand("numerator"), Operand("denominator", num_zero=1, num_negative=3)]
    division = operation("RealDiv", "a / b", inputs=inputs)
    assert "keras.ops.where(keras.ops.abs(d) < 1e-3, 1e-3, d)" in fix(division)
    inputs[1].num_negative = 0
    assert "a / keras.ops.maximum(b, 1e-3)" in fix(division)


@pytest.mark.parametrize(
    "line", ["norm(x, 1)", "ops.norm(x, ord=1)", "norm(x) + norm(y)", "norm()"]
)
def test_a_norm_of_another_order_is_not_spelled_out(line: str) -> None:
    assert "as in keras.ops.sqrt(keras.ops.maximum(x, 1e-12))." in fix(
        operation("Sqrt", line)
    )


def test_denominators_that_are_usual_are_not_raised() -> None:
    def least(**more: Any) -> str:
        inputs = [Operand("numerator"), Operand("denominator", **more)]
        return fix(operation("RealDiv", "a / b", inputs=inputs))

    assert "keras.ops.maximum(b, 1e-6)" in least(num_zero=1, smallest=2.5e-5)
    # Counts: divided by 1e-3, those of 0 would be all that the loss is of.
    assert "keras.ops.maximum(b, 1e-1)" in least(num_zero=1, smallest=1.0)
    assert "keras.ops.maximum(b, 1e-1)" in least(num_zero=1, smallest=400.0)
    for others in ({}, {"smallest": 1e-20}):
        assert "keras.ops.maximum(b, 1e-3)" in least(num_zero=1, **others)
    # What overflows over a small denominator has that one to blame.
    assert "keras.ops.maximum(b, 1e-3)" in least(smallest=2.5e-5)
    half = operation("RealDiv", "a / b", dtype="float16")
    assert "keras.ops.maximum(b, 1e-2)" in fix(half)


def test_denominators_that_are_all_zero_at_first_are_weights_that_begin_so() -> None:
    def of(step: int, **more: Any) -> str:
        inputs = [Operand("numerator"), Operand("denominator", size=8, **more)]
        found = operation(
            "RealDiv", "x / ops.norm(v, axis=0)", layer="odd", inputs=inputs
        )
        return fix(found, "odd", step=step)

    assert of(0, num_zero=8).endswith('("glorot_uniform"), not with zeros.')
    for said in (of(0, num_zero=7), of(3, num_zero=8)):
        assert "glorot_uniform" not in said


def test_a_variable_that_begins_with_0_is_begun_elsewhere_before_a_line_is_guarded() -> (
    None
):
    def of(step: int = 0, zeros: int = 1, **link: Any) -> str:
        inputs = [
            Operand("numerator"),
            Operand("denominator", size=1, num_zero=zeros),
        ]
        way = {"operand": "denominator", "origin": "variable", "name": "odd/scale"}
        found = operation("RealDiv", "x / self.scale", layer="odd", inputs=inputs)
        found.chain = [Link(**{**way, **link})]
        return fix(found, "odd", step=step)

    said = of()
    assert said.startswith("Begin the variable odd/scale with another number than 0")
    assert "`x / keras.ops.maximum(self.scale, 1e-3)`" in said
    others = (
        of(step=3),
        of(zeros=0),
        of(origin="constant"),
        of(origin="operation", name="tf.reduce_sum"),
        of(operand="numerator"),
    )
    assert not any("Begin the variable" in said for said in others)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"weight_decay": 300.0}, "Lower weight_decay, e.g. to 0.004"),
        ({"momentum": 0.9999}, "Set momentum to 0.9 or less."),
        ({"beta_1": 1.0}, "Set beta_1 below 1, e.g. to 0.9."),
        ({"epsilon": 0.0, "rho": 1.5}, "Set epsilon to 1e-7 or more. Set rho below 1"),
        ({}, ""),
    ],
)
def test_the_setting_that_is_odd_is_the_one_to_change(
    setting: dict[str, float], said: str
) -> None:
    measured = measure(facts("total", optimizer={"learning_rate": 0.01, **setting}))
    if said:
        assert settings_fix(measured).startswith(said)
    else:
        assert settings_fix(measured).startswith("Go back to the optimizer's default")


def test_a_recurrent_layer_without_a_bound_gets_one() -> None:
    def of(size: float) -> str:
        run = facts("total", later={"total": 1e36, "dense": size})
        assert run.session is not None
        shapes = iter([[10, 64], [16, 64]])
        for probe in run.session.train_probes:
            if probe.kind == "weight":
                probe.layer, probe.shape = "dense", next(shapes)
        return rate_fixes.lower_rate(measure(run), 1e-3)

    assert of(1e5).startswith("Give the recurrent layer dense a bounded activation (act")
    assert of(1.0) == "Lower the learning rate, e.g. to 1e-03."


def test_the_derivative_of_a_power_overflows_by_its_base() -> None:
    inputs = [Operand("base", min=0.6, max=13.0), Operand("exponent", min=35.0, max=35.0)]
    power = operation("Pow", "d / ops.power(s, 36)", gradient=True, inputs=inputs)
    # 3 ** 36 is 1.5e17: its square can be held, which a quotient's derivative takes.
    assert "ops.power(ops.clip(s, -3, 3), 36)" in fix(power, "dense_1/kernel")
    zero = [Operand("base", max=1.0, min=0.0), Operand("exponent", min=-0.5, max=-0.5)]
    assert "ops.power(ops.maximum(s, 1e-7), 36)" in fix(
        replace(power, inputs=zero), "dense_1/kernel"
    )


@pytest.mark.parametrize(
    ("least", "made", "line", "shown"),
    [
        # A difference is negative as often as not: cut off at 0, it trains to one side.
        (
            *(-2.0, "tf.math.subtract", "d = ops.power(e, 1.5)"),
            "ops.power(ops.maximum(ops.abs(e), 1e-7), 1.5)",
        ),
        (
            *(-2.0, "torch.sub", "d = e**1.5"),
            "keras.ops.maximum(keras.ops.abs(e), 1e-7) ** 1.5",
        ),
        (
            *(-2.0, "jax.numpy.subtract", "d = tf.pow(e, g)"),
            "tf.pow(tf.maximum(tf.abs(e), 1e-7), g)",
        ),
        # What rounding leaves of 1 - p is cut off.
        (
            *(-1e-7, "tf.math.subtract", "d = ops.power(e, 1.5)"),
            "ops.power(ops.maximum(e, 1e-7), 1.5)",
        ),
        # What is no difference is not meant to be negative.
        (
            *(-2.0, "tf.math.add", "d = ops.power(e, 1.5)"),
            "ops.power(ops.maximum(e, 1e-7), 1.5)",
        ),
    ],
)
def test_a_difference_keeps_its_magnitude_under_a_power(
    least: float, made: str, line: str, shown: str
) -> None:
    inputs = [Operand("base", min=least, max=3.0), Operand("exponent", min=1.5, max=1.5)]
    chain = [Link("base", least, least, 3.0, "operation", made)]
    assert f"`{shown}`" in fix(operation("Pow", line, inputs=inputs, chain=chain))


def test_a_softmax_by_hand_loses_the_largest_of_its_row() -> None:
    said = fix(operation("Exp", "f = ops.exp(f)"))
    assert "as in `ops.exp(ops.minimum(f, 20.0))`. Other exponentials" in said
    assert "instead: `ops.exp(f - ops.max(f, axis=-1, keepdims=True))`" in said
    said = fix(operation("Exp", "p = tf.exp(f) / tf.reduce_sum(tf.exp(f), -1)"))
    assert "minimum" in said and "keras.ops.max(x, axis=-1, keepdims=True)" in said
    said = fix(operation("Exp", "p = tf.exp(f) / tf.reduce_sum(g, -1)"))
    assert "as in `tf.exp(f - tf.reduce_max(f, axis=-1, keepdims=True))`." in said
    assert "minimum" not in said
    assert "softmax" not in fix(operation("Log", "ops.log(ops.exp(f))"))


def test_a_score_divides_more_than_once() -> None:
    division = operation("RealDiv", "precision = hits / ops.sum(p)")
    assert fix(division, "error").endswith(
        "What else this metric divides by needs the same."
    )
    assert "What else" not in fix(division)


def test_clipping_is_offered_where_it_was_tried_and_helped() -> None:
    grew = {"later": {"total": 1e36, "dense/kernel": 1e20}}

    def of(*experiments: Experiment) -> str:
        found = PostMortem(reproduced=True, experiments=list(experiments))
        causes = diagnose(met(facts("total", **grew), found))
        return next(c.fix for c in causes if c.id == "learning_rate")

    assert "clip" not in of()
    assert "clip" not in of(Experiment("clip", "", finite=True, learns=False))
    assert "clip" not in of(Experiment("clip", "", finite=False))
    helped = of(Experiment("clip", "", finite=True, learns=True))
    assert helped.endswith(", or clip the gradients (global_clipnorm=1.0).")


def test_a_model_that_is_float16_throughout_is_built_anew() -> None:
    half = {"dtype": "float16", "sizes": {"odd": 6e4}}
    found = replace(operation("Mul", layer="odd"), dtype="float16")
    said = fixes.out_of_float16(measure(met(facts("odd"), found)))
    assert said.startswith("Compute the layer odd in float32 ") and "bfloat16" in said
    root = operation("Rsqrt", "ops.rsqrt(v + 1e-12)", layer="odd", dtype="float16")
    said = fixes.out_of_float16(measure(met(facts("odd"), root)))
    assert "as in `ops.rsqrt(ops.maximum(v + 1e-12, 1e-3))`. Or leave float16" in said
    run = met(facts("odd", **half), found)
    for probe in run.session.train_probes if run.session else []:
        probe.dtype = "float16"
    said = fixes.out_of_float16(measure(run))
    assert 'keras.config.set_floatx("float32")' in said and "layer" not in said


def test_weights_that_came_bad_are_mended_where_they_are_set() -> None:
    said = fixes.of_weights("top/bias")
    assert "top/bias" in said and "set_weights" in said and "nan_to_num" in said


def test_a_power_that_overflows_is_not_kept_above_zero() -> None:
    inputs = [Operand("base", min=3.0, max=1e9), Operand("exponent", min=9.0, max=9.0)]
    power = operation("Pow", "x ** 9", inputs=inputs)
    assert "keras.ops.clip(x, -100, 100)" in fix(power)
    assert "maximum" in fix(replace(power, inputs=[Operand("base", min=-1.0), inputs[1]]))


def test_an_infinity_that_was_put_there_is_what_is_to_go() -> None:
    mask = [Operand("first input"), Operand("second input", num_neg_inf=4)]
    said = fix(operation("Mul", "(1 - keep) * -1e9", inputs=mask, dtype="float16"), "odd")
    assert "keep infinities out" in said and "65504" in said and "-3e4" in said
    assert "-1e9." in fix(operation("Add", "a + m", inputs=mask), "odd")


def test_a_choice_around_it_is_said_not_to_help_a_gradient() -> None:
    line = operation("RealDiv", "tf.where(y > 0, x / y, 0.0)", gradient=True)
    assert "keras.ops.where around it is not enough" in fix(line, "dense_1/kernel")
    assert "not enough" not in fix(line)
    assert "not enough" not in fix(operation("Sqrt", "tf.sqrt(x)"), "dense_1/kernel")


def test_an_exponential_of_a_layer_is_bounded_also_where_numbers_grew() -> None:
    grew = {"sizes": {"odd": 1e5}, "later": {"total": 1e36, "prediction": 1e30}}
    own = operation("Exp", "ops.exp(z)", layer="odd")
    assert "ops.exp(ops.minimum(z, 20.0))" in fix(own, **grew)
    # The loss that overflowed in the end is not what grew.
    overflow = operation("Square", owner="the loss 'mse'")
    assert "keras.ops.exp(keras.ops.minimum(x, 20.0))" in fix(overflow, **grew)


@pytest.mark.parametrize(
    "origin", ["total", "odd", "dense/kernel", "dense_1/kernel", "error"]
)
def test_without_an_operation_no_operation_is_claimed(origin: str) -> None:
    for found in (PostMortem(reason="no time"), PostMortem(reproduced=True)):
        said = fix(found, origin)
        assert said == diagnose(facts(origin))[0].fix
        assert "keras.ops.log" not in said and "At " not in said


@given(st.text(max_size=80) | st.from_regex(r"[a-z.()/* ,=0-9]{0,40}", fullmatch=True))
def test_any_line_is_read_or_left(line: str) -> None:
    for edit in (
        LineEdit(("log",), "maximum", "1e-7", everywhere=True),
        LineEdit((), "maximum", "1e-3", 1, ast.Div),
    ):
        shown = edited(line, edit, edit.bound)
        if shown is not None:
            ast.parse(shown)
            assert "maximum(" in shown and len(shown) <= 160
    for shown in (rooted(line, "1e-12"), below_its_largest(line), without_power(line)):
        ast.parse(shown or "")
    divides_by_a_sum(line)
    assert line.startswith(without_comment(line).rstrip()[:1])


@pytest.mark.parametrize(
    ("op_type", "line", "values"),
    [
        ("Log", "ops.log(x)", [0.0, -1.0, 1.0]),
        ("Log", "tf.math.log(x) + tf.math.log(1.0 - x)", [0.0, 1.0, 0.5]),
        ("Log", "ops.where(x > 0.0, ops.log(x), 0.0)", [0.0, -3.0, 2.0]),
        ("RealDiv", "1.0 / x", [0.0, 1.0, 2.0]),
        ("RealDiv", "x / ops.norm(x, axis=-1, keepdims=True)", [0.0, 0.0, 0.0]),
        ("RealDiv", "1.0 / (tf.norm(x, axis=-1, keepdims=True) + 1e-9)", [0.0, 0.0, 0.0]),
        ("RealDiv", "x / tf.math.sqrt(tf.reduce_sum(x ** 2))", [0.0, 0.0, 0.0]),
        ("Reciprocal", "tf.math.reciprocal(x)", [0.0, 1.0, 2.0]),
        ("Sqrt", "ops.sqrt(x)", [0.0, 1.0, -1.0]),
        ("Sqrt", "tf.norm(x, axis=-1)", [0.0, 0.0, 0.0]),
        ("Sqrt", "tf.linalg.norm(x, axis=-1)", [0.0, 0.0, 0.0]),
        ("Sqrt", "ops.std(x, axis=-1)", [2.0, 2.0, 2.0]),
        ("Sqrt", "tf.math.reduce_std(x)", [2.0, 2.0, 2.0]),
        ("Rsqrt", "tf.math.rsqrt(x)", [0.0, 1.0, 2.0]),
        ("Pow", "ops.power(1.0 - x, 0.5)", [1.0, 0.5, 0.0]),
        ("Pow", "x ** 0.5", [0.0, 1.0, 2.0]),
        ("Exp", "ops.exp(x)", [1e3, 0.0, -1e3]),
        ("Exp", "tf.exp(x) / tf.reduce_sum(x)", [1e3, 0.0, -1e3]),
        ("Acos", "ops.arccos(x)", [1.0, -1.0, 0.0]),
        ("Acos", "tf.acos(x)", [1.5, -1.0, 0.0]),
    ],
)
def test_what_is_shown_is_finite_and_so_is_its_gradient(
    op_type: str, line: str, values: list[float]
) -> None:
    def of(expression: str) -> tf.Tensor:
        x = tf.constant([values])
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = eval(expression, {"keras": keras, "ops": keras.ops, "tf": tf, "x": x})
        gradient = tape.gradient(y, x)
        return tf.reduce_all(tf.math.is_finite(tf.concat([y + 0.0 * x, gradient], 0)))

    assert not of(line)
    shown = re.search(r"as in `(.+?)`", fix(operation(op_type, line)))
    assert shown is not None
    assert of(shown[1])


def test_every_guard_has_words_of_its_own() -> None:
    every = set(guards.GUARDS.values())
    assert len({g.example for g in every}) == len(every)
    for guard in every:
        assert not re.search(r"\{(?!small|tiny|squared|least|base|most)", guard.example)


def test_a_state_that_a_factor_multiplies_at_each_time_step_is_kept_by_that_factor() -> (
    None
):
    line = "total = keep * total + new"
    here = Source("train.py", 7, "step", line)

    def of(text: str = line, factor: float = 2.5, second: int = 7) -> str:
        there = replace(here, line=second)
        found = operation("Mul", text, op="tf.math.multiply", layer="odd")
        found.source = replace(here, text=text)
        found.chain = [
            Link("second input", 2e38, origin="operation", name="add", source=here),
            Link(
                "first input",
                2e38,
                origin="operation",
                name="tf.math.multiply",
                operands=[factor, 8e37],
                source=there,
            ),
        ]
        return fix(found, "odd", step=5)

    said = of()
    assert "multiplied by `keep`, which is 2.5" in said
    assert "`keep = keras.ops.minimum(keep, 1.0)`" in said
    # Of another line, of a factor that shrinks, or of one of two products: nothing known.
    others = (of(second=6), of(factor=0.9), of("total = keep * total + open * new"))
    assert all("keep what enters it small" in said for said in others)


def test_the_rate_that_a_callback_set_is_the_one_that_is_told() -> None:
    def of(*tried: Experiment) -> tuple[str, str]:
        run = facts(
            "total",
            later={"total": 1e36},
            optimizer={"class_name": "SGD", "learning_rate": 1e-3},
        )
        candidate = rate_too_high(measure(met(run, PostMortem(experiments=list(tried)))))
        assert candidate is not None
        return " ".join(candidate.evidence), candidate.fix

    raised = Experiment("learning_rate/10", "divided by 10", value=0.05)
    evidence, said = of(raised)
    assert "The learning rate is 0.5;" in evidence
    assert "by a callback: the optimizer was made with 0.001." in evidence
    assert said.endswith("That is the one that a callback sets, which was 0.5.")
    # As it was made, or never lowered: nothing is known of another.
    for tried in ((replace(raised, value=1e-4),), (replace(raised, value=None),), ()):
        evidence, said = of(*tried)
        assert "The learning rate is 0.001;" in evidence
        assert "callback" not in evidence + said


def test_a_sum_of_exponentials_that_are_all_0_is_mended_at_the_exponentials() -> None:
    line = "each = ops.exp(x / t)"

    def of(total: str = "tf.math.reduce_sum", each: str = "tf.math.exp") -> str:
        inputs = [Operand("numerator"), Operand("denominator", size=4, num_zero=1)]
        found = operation("RealDiv", "each / total", layer="odd", inputs=inputs)
        there = Source("train.py", 9, "call", line)
        found.chain = [
            Link("denominator", 0.0, origin="operation", name=total, source=found.source),
            Link("element", 0.0, origin="operation", name=each, source=there),
        ]
        return fix(found, "odd", step=5)

    said = of()
    assert said.startswith(f"At train.py:9, `{line}`: all exponentials of a row are 0")
    assert "`ops.exp(x / t - ops.max(x / t, axis=-1, keepdims=True))`" in said
    others = (of(total="tf.math.reduce_max"), of(each="tf.math.multiply"))
    assert all("`each / keras.ops.maximum(total, 1e-3)`" in said for said in others)


def from_a_layer(
    op_type: str = "Log", least: float = -0.5, first: str = "total", **link: Any
) -> str:
    """The fix of an operation on what the layer `rate` gave."""
    inputs = [Operand("argument", size=32, min=least, max=1.5, num_negative=7)]
    way = {"operand": "argument", "origin": "operation", "name": "tf.math.add"}
    found = operation(op_type, "y * ops.log(p)", inputs=inputs)
    found.chain = [Link(**{**way, "layer": "rate", **link})]
    return fix(found, first)


@pytest.mark.parametrize("op_type", ["Log", "Sqrt", "Rsqrt"])
def test_a_negative_output_is_made_positive_before_it_is_cut_off(op_type: str) -> None:
    said = from_a_layer(op_type)
    assert said.startswith("Make what the layer rate gives positive before any use of it")
    assert 'activation="softplus"' in said and " Or else: At train.py:12" in said
    if op_type == "Log":  # the line's own edit is there all the same
        assert "as in `ops.log(ops.maximum(p, 1e-7))`." in said


@pytest.mark.parametrize(
    "silent",
    [
        {"least": 0.0},  # a probability
        {"least": -1e-7},  # of one, less another
        {"origin": "data", "layer": ""},
        {"source": Source("train.py", 11, "loss", "p = p + 1")},
        {"layer": ""},
        {"first": "dense_1/kernel"},  # a branch that is not taken
        {"op_type": "Log1p"},
        {"op_type": "RealDiv", "operand": "denominator"},
    ],
    ids=str,
)
def test_a_bound_is_enough_for_what_is_not_negative_by_design(
    silent: dict[str, Any],
) -> None:
    said = from_a_layer(**silent)
    assert said.startswith("At train.py:12") and "softplus" not in said
