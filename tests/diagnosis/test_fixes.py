"""The fix is that of the operation that went bad, for the line that is there."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tb_nanwatch.diagnosis import diagnose
from tb_nanwatch.rules import fixes
from tb_nanwatch.rules.own_line import Edit, edited, without_comment
from tb_nanwatch.schema import Operand, PostMortem
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
        "return ops.log(p) + ops.log(q)",  # which of them?
        "return helper(p)",
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
        Edit(("log",), "maximum", "1e-7"),
        Edit((), "maximum", "1e-3", 1, ast.Div),
    ):
        shown = edited(line, edit, edit.bound)
        if shown is not None:
            ast.parse(shown)
            assert "maximum(" in shown and len(shown) <= 120
    assert line.startswith(without_comment(line).rstrip()[:1])


def test_every_guard_has_words_of_its_own() -> None:
    guards = set(fixes._GUARDS.values())
    assert len({g.example for g in guards}) == len(guards)
    for guard in guards:
        assert not re.search(r"\{(?!small|tiny|most)", guard.example)
