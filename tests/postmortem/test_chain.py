"""Where the first bad operation's input came from, and whether that is new."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tb_nanwatch import NanWatch, NanWatchWarning
from tb_nanwatch.postmortem import again, chain, keeping, operations
from tb_nanwatch.postmortem.chain import Ran, follow
from tb_nanwatch.postmortem.flow import Flow, Op
from tb_nanwatch.postmortem.run import run
from tb_nanwatch.postmortem.watch import eager_operations
from tb_nanwatch.record.schema import PostMortem, Since
from tb_nanwatch.wording.chain_text import came_from
from tb_nanwatch.writing.backends.tensorflow.tracer import StepTracer
from tests.postmortem.programs import PROGRAMS, compiled, mlp, numbers
from tests.postmortem.steps import first_step
from tests.writing.logs import read_log

L = keras.layers
NUMBER = r"-?[0-9.e+-]+"
LINE = r"tests/postmortem/programs\.py:\d+"

# What is said of programs that go bad in their first step: "#" stands for a number, "@"
# for a line of the program.
SAID = {
    "loss_division": "`tf.math.divide` got the denominator 0 from `tf.math.abs` of 0 at @; "
    "the argument came from label, row 0, column 0.",
    "loss_keras_ops": "`tf.math.log` got the argument # from `tf.math.subtract` of # and "
    "100 at @.",
    "loss_closure": "`tf.math.log` got the argument 0 from `tf.math.reduce_sum` at @; its "
    "elements, 0, came from `tf.math.multiply` at @; its second inputs, from # to #, came "
    "from `tf.math.add` in the layer last.",
    "loss_power": "`tf.math.pow` got the base # from `tf.math.subtract` of # and 100 at @.",
    "loss_with_innocent_where": "`tf.math.divide` got the denominator 0 from a constant.",
    "loss_in_a_function": "`tf.math.divide` got the denominator 0 from `tf.math.subtract` "
    "of # and # at @.",
    "lambda_layer": "`tf.math.log` got the argument 0 from `tf.math.multiply` of # and 0 "
    "at @.",
    "built_in_layer": "`tf.linalg.matmul` got second inputs of 3e+38 from ?/big/kernel, as "
    "it was before the step.",
    "gradient_through_a_guard": "The gradient of `tf.math.log` got the argument 0 from "
    "`tf.nn.relu` of # at @; the argument came from `tf.math.subtract` of # and 100 at @.",
    "gradient_of_a_guarded_division": "The gradient of `tf.math.divide` got the "
    "denominator 0 from label, row 0, column 0.",
    "built_in_loss": "`tf.math.square` got the argument # from `tf.math.subtract` of # and "
    "#; the second input came from `tf.math.add` of # and 0 in the layer last.",
    "masked_away": "`tf.nn.softmax` got the argument -Inf from `tf.where` at @; its second "
    "choices, -Inf, came from a constant.",
    "optimizer_slot": "`tf.math.square` got the argument # from `tf.linalg.matmul` in the "
    "layer last.",
    "data_input": "",
    "mean_of_nothing": "",
}


@pytest.mark.parametrize("name", SAID)
def test_the_way_to_the_operation_is_told(name: str) -> None:
    (program,) = [p for p in PROGRAMS if p.name == name]
    model, x, y = program.make()
    result = run(model, first_step(model, x, y), StepTracer(model))
    said = " ".join(came_from(result))
    pattern = re.escape(SAID[name]).replace(r"\#", NUMBER)
    pattern = pattern.replace("@", LINE).replace(r"\?", r"\w+")
    assert re.fullmatch(pattern, said), said
    assert result.since is None  # no step came before


# --- Whether it is new -------------------------------------------------------------------


def divided(y: Any, p: Any) -> Any:
    return tf.reduce_mean(tf.abs(y - p) / tf.abs(y))


def train(tmp_path: Path, model: Any, x: Any, y: Any, **options: Any) -> PostMortem:
    model.fit(
        *(x, y),
        batch_size=8,
        shuffle=False,
        verbose=0,
        callbacks=[NanWatch(tmp_path, experiments=0)],
        **options,
    )
    found: PostMortem = read_log(tmp_path).all("postmortem")[-1].result
    assert found.op is not None, found.reason
    return found


def test_a_fault_of_one_batch_is_told_from_one_of_the_training(tmp_path: Path) -> None:
    x, y = numbers(64, 4), 2 + abs(numbers(64, 1))
    y[53] = 0
    found = train(tmp_path, compiled(mlp(), divided), x, y)
    assert found.since is not None
    assert (found.since.batches, found.since.bad) == (5, 0)
    assert (found.since.steps, found.since.was_bad) == (6, True)
    denominators = y[8:48]
    assert found.since.low == pytest.approx(float(denominators.min()))
    assert found.since.high == pytest.approx(float(denominators.max()))
    (text,) = [t for t in came_from(found) if "same weights" in t]
    assert text.endswith(
        "goes bad in that operation too: it is the batch, not the training."
    )


def test_a_fault_of_the_training_is_told_from_one_of_a_batch(tmp_path: Path) -> None:
    """The root of a weight that each step lowers by the same: below 0 for all batches."""

    class Sinking(L.Layer):
        def build(self, shape: Any) -> None:
            self.level = self.add_weight(shape=(), initializer="ones", name="level")

        def call(self, x: Any) -> Any:
            return x + tf.sqrt(self.level)

    model = keras.Sequential([keras.Input((4,)), Sinking(), L.Dense(1)])
    model.compile(
        keras.optimizers.SGD(0.3),
        lambda y, p: model.layers[0].level + 0.0 * tf.reduce_mean(p),
    )
    found = train(tmp_path, model, numbers(64, 4), numbers(64, 1))
    assert found.op == "tf.math.sqrt" and found.since is not None
    assert found.since.bad == found.since.batches > 1
    assert found.since.was_bad is False
    (link, *_) = found.chain
    assert link.origin == "variable" and link.name.endswith("level"), link
    said = " ".join(came_from(found))
    assert "it is not this batch alone" in said
    assert "stays finite in it: the weights have moved since." in said


def test_of_a_batch_in_validation_nothing_is_said_beside_the_others(
    tmp_path: Path,
) -> None:
    x, y = numbers(32, 4), 2 + abs(numbers(32, 1))
    model = compiled(mlp(), divided)
    found = train(tmp_path, model, x, y, validation_data=(x, 0 * y))
    assert found.chain and found.since is None


def test_a_batch_whose_step_differs_is_not_compared() -> None:
    op = Op(1, "Log", [], [], {}, [])

    def step(batch: Any) -> None:
        (tf.math.log if batch else tf.sqrt)(tf.constant([1.0, 4.0]))

    runner = again.Again(keeping.by(step), lambda: None, operations.public_name)
    assert runner.since(op, 0, [False]) is None
    assert runner.since(op, 0, [False, True]) == Since(1, 0, 1.0, 4.0)


def test_no_run_begins_when_the_time_is_over() -> None:
    def step(batch: Any) -> None:
        tf.math.log(tf.constant([1.0]))

    runner = again.Again(
        keeping.by(step), lambda: None, operations.public_name, seconds=-1
    )
    op = Op(1, "Log", [], [], {}, [])
    assert runner.since(op, 0, [1], data=1, earlier=lambda: None, steps=3) is None


def test_an_error_leaves_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("a fault of our own")

    monkeypatch.setattr(chain, "follow", failing)
    model = compiled(mlp(), divided)
    x, y = numbers(8, 4), np.zeros((8, 1), np.float32)
    capsule = first_step(model, x, y)
    with pytest.warns(NanWatchWarning, match="a fault of our own"):
        result = run(model, capsule, StepTracer(model))
    assert result.op == "tf.math.divide" and result.chain == []


# --- Elements that are only moved --------------------------------------------------------

MOVES = {
    "Transpose": lambda x: tf.transpose(x, (2, 0, 1)),
    "Reshape": lambda x: tf.reshape(x, (3, -1)),
    "StridedSlice": lambda x: x[:, 1:],
    "GatherV2": lambda x: tf.gather(x, [2, 1], axis=1),
    "ConcatV2": lambda x: tf.concat([x, x + 100.0], axis=2),
    "Tile": lambda x: tf.tile(x[:, :1], (1, 2, 1)),
    "ExpandDims": lambda x: x[:, tf.newaxis],
}


@given(st.sampled_from(list(MOVES)), st.integers(0, 10**6))
def test_an_element_is_found_where_it_came_from(name: str, which: int) -> None:
    """All elements differ: whatever position is named holds the very value."""
    kept: list[tuple[Any, Any, Any]] = []

    def callback(op_type: Any, inputs: Any, attrs: Any, outputs: Any, *rest: Any) -> None:
        name = op_type.decode() if isinstance(op_type, bytes) else op_type
        kept.append((name, inputs, outputs))

    x = tf.reshape(tf.range(24.0), (2, 3, 4))
    with eager_operations(callback):
        MOVES[name](x)
    op_type, inputs, outputs = kept[-1]
    at = Ran(op_type, [t.numpy() for t in inputs], [t.numpy() for t in outputs])
    result = at.outputs[0]
    assert result is not None
    position = np.unravel_index(which % result.size, result.shape)
    found = chain._moved(at, result, tuple(int(i) for i in position))
    if found is None or found[1] is None:
        assert op_type == "Tile"  # the value stands there twice
        return
    operand, source = found
    array = at.inputs[operand]
    assert array is not None and array[source] == result[position]


def test_what_is_no_number_is_not_said_to_be_a_constant() -> None:
    """Shapes are made by operations that are not followed."""
    flow = Flow(opaque={7})
    op = Op(1, "Log", [7], [8], {}, [])
    ran = {1: Ran("Log", [np.zeros(2)], [np.full(2, -np.inf)])}
    found = follow(flow, op, ran, [], 0)
    assert found is not None
    assert [(k.operand, k.value, k.origin) for k in found.links] == [("argument", 0, "")]
    flow.opaque.clear()
    found = follow(flow, op, ran, [], 0)
    assert found is not None and found.links[0].origin == "constant"


def test_a_long_chain_ends() -> None:
    flow = Flow()
    ops = [Op(i, "Neg", [i], [i + 1], {}, []) for i in range(1, 200)]
    flow.maker = {op.outputs[0]: op for op in ops}
    began = time.monotonic()
    assert len(chain.ancestors(flow, ops[-1])) <= chain.MAX_OPS
    zero = Ran("Neg", [np.zeros(1)], [np.zeros(1)])
    ran = {op.index: zero for op in ops} | {
        ops[-1].index: Ran("Neg", [np.zeros(1)], [np.full(1, np.nan)])
    }
    found = follow(flow, ops[-1], ran, [], 0)
    assert found is not None and len(found.links) == 4
    assert time.monotonic() - began < 10


def test_operands_have_the_names_that_users_read() -> None:
    assert operations.operand_name("RealDiv", 1, 2) == "denominator"
    assert operations.operand_name("Exp", 0, 1) == "argument"
    assert operations.operand_name("Select", 5, 6) == "input no. 6"
