"""What stands in for a sum: every rule against the operations themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.models import MODELS
from tb_nanwatch import NanWatch
from tb_nanwatch.record.schema import RANGE_COLUMNS
from tb_nanwatch.writing.backends.tensorflow import proofs, recompute
from tb_nanwatch.writing.backends.tensorflow.beside import Beside
from tb_nanwatch.writing.backends.tensorflow.packed import pack
from tb_nanwatch.writing.backends.tensorflow.sampling import (
    MOST_STEPS_BETWEEN,
    is_sampled,
)
from tb_nanwatch.writing.backends.tracing import Found
from tb_nanwatch.writing.recording.observer import NOT_SUMMED, is_summed
from tests.writing.logs import read_log

SHAPE = (4, 8, 8, 32)  # 2,048 elements of one example
BAD = (np.nan, np.inf, -np.inf)
# An element that a sum within the limit can hold, to the power of two.
LARGEST = 2.0**50


def found(tensor: Any, kind: Any = "activation") -> Found:
    return Found(kind, tensor.name, "layer", tensor)


def asked(
    make: Callable[..., Any],
    shape: tuple[int | None, ...] = SHAPE,
    dtype: Any = tf.float32,
) -> tuple[proofs.Proofs, list[Any]]:
    """Returns what is proved of the tensors that `make` returns, its input the first."""
    with tf.Graph().as_default():
        x = tf.compat.v1.placeholder(dtype, shape)
        made = make(x)
        tensors = [x, *(made if isinstance(made, (list, tuple)) else [made])]
        return proofs.prove([found(t) for t in tensors]), tensors


def is_implied(make: Callable[..., Any], **options: Any) -> bool:
    told, tensors = asked(make, **options)
    return id(tensors[-1]) in told.implied


# --- Finite in, finite out ----------------------------------------------------------

vector = np.linspace(-3, 3, 32).astype(np.float32)

KEEPS: dict[str, Callable[[Any], Any]] = {
    "Abs": tf.abs,
    "BroadcastTo": lambda x: tf.broadcast_to(x[:1], SHAPE),
    "EnsureShape": lambda x: tf.ensure_shape(x, SHAPE),
    "ExpandDims": lambda x: tf.expand_dims(x, 1),
    "Identity": tf.identity,
    "IdentityN": lambda x: tf.identity_n([tf.exp(x), x])[1],
    "MaxPool": lambda x: tf.nn.max_pool2d(x, 2, 1, "SAME"),
    "Neg": tf.negative,
    "Pad": lambda x: tf.pad(x, [[0, 0], [1, 1], [0, 0], [0, 0]]),
    "Relu": tf.nn.relu,
    "Relu6": tf.nn.relu6,
    "Reshape": lambda x: tf.reshape(x, [4, -1]),
    "Slice": lambda x: tf.slice(x, [0, 0, 0, 0], [4, 8, 8, 16]),
    "Squeeze": lambda x: tf.squeeze(x[:, None], 1),
    "StopGradient": tf.stop_gradient,
    "StridedSlice": lambda x: x[:, ::2],
    "Tile": lambda x: tf.tile(x, [1, 1, 1, 2]),
    "Transpose": lambda x: tf.transpose(x, [0, 3, 1, 2]),
    "Erf": tf.math.erf,
    "Elu": tf.nn.elu,
    "Erfc": tf.math.erfc,
    "Softplus": tf.math.softplus,
    "Sigmoid": tf.sigmoid,
    "Softmax": tf.nn.softmax,
    "Softsign": tf.nn.softsign,
    "Tanh": tf.tanh,
    "Add": lambda x: tf.raw_ops.Add(x=x, y=x),
    "AddV2": lambda x: x + x,
    "BiasAdd": lambda x: tf.nn.bias_add(x, vector),
    "Sub": lambda x: x - 3.0 * x,
    "AddN": lambda x: tf.add_n([x, x, x]),
    "Cast": lambda x: tf.cast(x, tf.float64),
    "ConcatV2": lambda x: tf.concat([x, x], 1),
    "Maximum": lambda x: tf.maximum(x, -x),
    "Minimum": lambda x: tf.minimum(x, 2.0 * x),
    "Mul": lambda x: x * vector,
    "Pack": lambda x: tf.stack([x, x], 1),
    "RealDiv": lambda x: x / (vector + 4.0),
    "Square": tf.square,
}


def test_every_rule_is_tested() -> None:
    named = (
        *proofs._SELECTS,
        *proofs._SQUASHES,
        *proofs._SOFTENS,
        *proofs._ADDS,
        *("AddN", "Cast", "ConcatV2", "Maximum", "Minimum", "Mul", "Pack"),
        *("IdentityN", "RealDiv", "Square"),
    )
    assert set(named) == set(KEEPS)
    spread = {*proofs._SPREADS, *proofs._PRODUCTS, *proofs._REDUCES}
    assert spread == set(SPREADS)
    assert CONTRACTIONS.keys() == proofs._CONTRACTIONS


@pytest.mark.parametrize("jit", [False, True], ids=["plain", "xla"])
@pytest.mark.parametrize("name", KEEPS)
def test_finite_values_stay_finite(name: str, jit: bool) -> None:
    make = KEEPS[name]
    told, (_, made) = asked(lambda x: tf.identity(make(x)))
    assert id(made) in told.implied and made.op.inputs[0].op.type == name
    function = tf.function(make, jit_compile=jit)
    rng = np.random.default_rng(0)
    for largest in (1.0, 1e-30, LARGEST):
        x = (rng.uniform(-1, 1, SHAPE) * largest).astype(np.float32)
        x.flat[:4] = (0.0, -0.0, largest, -largest)
        assert np.isfinite(function(tf.constant(x)).numpy()).all()


# --- Finite products, where TensorFlow makes product and activation at once --------------

Contraction = tuple[Callable[[Any, Any], Any], tuple[int, ...], tuple[int, ...]]
CONTRACTIONS: dict[str, Contraction] = {
    "Conv2D": (lambda x, w: tf.nn.conv2d(x, w, 1, "SAME"), SHAPE, (3, 3, 32, 4)),
    "DepthwiseConv2dNative": (
        lambda x, w: tf.nn.depthwise_conv2d(x, w, [1, 1, 1, 1], "SAME"),
        *(SHAPE, (3, 3, 32, 2)),
    ),
    "MatMul": (tf.matmul, (4, 6), (6, 8)),
}
MERGED = {"Elu": tf.nn.elu, "Sigmoid": tf.sigmoid, "Tanh": tf.tanh}


def product(
    name: str,
    activate: Callable[[Any], Any] | None,
    dtype: Any = tf.float32,
    known: bool = True,
) -> tuple[proofs.Proofs, Any]:
    """Returns what is proved of a product's sum with a bias, and that."""
    make, shape, weights = CONTRACTIONS[name]
    with tf.Graph().as_default():
        x = tf.compat.v1.placeholder(dtype, shape)
        kernel = tf.compat.v1.get_variable("w", weights, dtype, use_resource=True)
        read = kernel.read_value() if known else tf.identity(tf.exp(kernel))
        y = make(x, read)
        y += tf.compat.v1.get_variable("b", y.shape[-1:], dtype, use_resource=True)
        if activate is not None:
            activate(y)
        return proofs.prove([found(x), found(y)]), y


@pytest.mark.parametrize("name", CONTRACTIONS)
@pytest.mark.parametrize("activation", MERGED)
def test_a_product_is_not_read_beside_its_activation(name: str, activation: str) -> None:
    told, y = product(name, MERGED[activation])
    # Nor in a branch: there it is made again.
    assert id(y) in told.implied and id(y) in told.made
    assert [t.op.type for t in told.guards] == ["ReadVariableOp", "ReadVariableOp"]


def test_a_product_stays_what_it_was_when_another_update_takes_it() -> None:
    """A step with several updates is proved before each; more takes its tensors then."""
    with tf.Graph().as_default():
        x = tf.compat.v1.placeholder(tf.float32, (8, 4))
        kernel = tf.compat.v1.get_variable("kernel", (4, 4), use_resource=True)
        weights = kernel.read_value()
        product = tf.matmul(x, weights)
        out = tf.tanh(product)
        met = [found(x, "input"), found(weights, "weight"), found(product), found(out)]
        first = proofs.prove(met)
        tf.reduce_sum(product)
        second = proofs.prove(met, first.merged)
        anew = proofs.prove(met)
    assert id(product) in first.implied and id(product) in second.implied
    assert id(product) not in anew.implied


def test_any_other_product_is_summed() -> None:
    for told, y in (
        product("MatMul", None),
        product("MatMul", tf.nn.relu),
        product("MatMul", lambda y: [tf.tanh(y), tf.exp(y)]),
        product("MatMul", tf.tanh, dtype=tf.float16),
        product("MatMul", tf.tanh, known=False),
    ):
        assert id(y) not in told.implied


@pytest.mark.parametrize("activation", [tf.nn.silu, tf.nn.gelu, keras.activations.mish])
def test_a_product_is_not_read_before_a_constant_factor(activation: Any) -> None:
    # TensorFlow multiplies by the constant of a dropout where it is smallest.
    def scaled(factor: Any) -> Callable[[Any], Any]:
        def make(x: Any) -> Any:
            y = activation(x)
            tf.multiply(y, factor)
            return y

        return make

    small = (4, 8)
    assert is_implied(scaled(1.25), shape=small)
    told, (_, y) = asked(scaled(1.25), shape=small)
    assert id(y) in told.made
    assert not is_implied(activation, shape=small)
    read = tf.compat.v1.placeholder
    assert not is_implied(lambda x: scaled(read(tf.float32, []))(x), shape=small)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
@pytest.mark.parametrize(
    "activation", [keras.activations.silu, keras.activations.gelu, keras.activations.mish]
)
def test_nor_is_an_activation_of_a_layer_before_a_dropout(
    activation: Any, dtype: Any
) -> None:
    with tf.Graph().as_default():
        x = tf.compat.v1.placeholder(dtype, (4, 6))
        kernel = tf.compat.v1.get_variable("w", (6, 8), dtype, use_resource=True)
        bias = tf.compat.v1.get_variable("b", (8,), dtype, use_resource=True)
        y = activation(tf.nn.bias_add(tf.matmul(x, kernel.read_value()), bias))
        tf.nn.dropout(y, 0.2)
        told = proofs.prove([found(x), found(y)])
    assert id(y) in told.implied and id(y) in told.made


@pytest.mark.parametrize("name", CONTRACTIONS)
def test_finite_products_stay_finite(name: str) -> None:
    make, shape, weights = CONTRACTIONS[name]
    largest = 2.0**proofs._GUARD_BITS
    x, w = tf.fill(shape, LARGEST), tf.fill(weights, largest)
    assert np.isfinite(tf.function(make)(x, w).numpy()).all()


@pytest.mark.parametrize("activation", ["tanh", "elu"])
def test_a_product_that_overflows_is_found(tmp_path: Path, activation: str) -> None:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, name="linear"),
            layers.Activation(activation),
            layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse", jit_compile=False)

    def grow(batch: int, logs: Any) -> None:
        if batch == 4:
            model.get_layer("linear").kernel.assign(np.full((6, 8), 3e38))

    x = np.ones((64, 6), np.float32)
    keep = keras.callbacks.LambdaCallback(on_train_batch_begin=grow)
    watch = NanWatch(tmp_path)
    model.fit(x, x[:, :1], batch_size=8, verbose=0, callbacks=[keep, watch])
    status = read_log(tmp_path).status
    # A hyperbolic tangent hides it again, and the run goes on.
    start, first = (
        (status.onset, status.origin)
        if activation == "elu"
        else (status.contained[0].start, status.contained[0].tensors[0])
    )
    assert start.step == 4
    assert (first.kind, first.name, first.num_pos_inf) == ("activation", "linear", 64)


# --- What is not proved ------------------------------------------------------------------

NOT_PROVED: dict[str, Callable[[Any], Any]] = {
    "exp": tf.exp,
    "log": tf.math.log,
    "division": lambda x: 1.0 / x,
    "a division by zero": lambda x: x / np.arange(32, dtype=np.float32),
    "rsqrt": tf.math.rsqrt,
    "a branch that is chosen": lambda x: tf.where(x > 0, x, np.inf),
    "a constant that is not finite": lambda x: tf.minimum(x, np.inf),
    "a matrix product": lambda x: tf.matmul(tf.reshape(x, [-1, 32]), tf.ones([32, 4096])),
    "too large a power": lambda x: tf.square(tf.square(x)),
    "an unwatched tensor of the same size": lambda x: tf.nn.relu(tf.exp(x)),
    # As large as the tensor, though its first axis hides it.
    "a reshaped one": lambda x: tf.reshape(tf.exp(tf.reshape(x, [-1, 32])), tf.shape(x)),
}


@pytest.mark.parametrize("name", NOT_PROVED)
@pytest.mark.parametrize("batch", [4, None])
def test_what_is_not_proved_is_summed(name: str, batch: int | None) -> None:
    told, tensors = asked(NOT_PROVED[name], shape=(batch, *SHAPE[1:]))
    assert not told.implied and not told.moments and not told.guards
    assert len(tensors) == 2


def test_half_precision_may_overflow_where_single_does_not() -> None:
    for dtype, fine in ((tf.float16, False), (tf.bfloat16, True), (tf.float32, True)):
        assert is_implied(lambda x: x + x, dtype=dtype) == fine
        assert is_implied(tf.nn.relu, dtype=dtype)
    assert not is_implied(lambda x: tf.cast(x, tf.float16))
    assert is_implied(lambda x: tf.cast(x, tf.float32), dtype=tf.float16)


def test_what_is_proved_carries_the_next_proof_until_it_could_overflow() -> None:
    def doubled(x: Any) -> list[Any]:
        made = [x]
        for _ in range(120):
            made.append(made[-1] + made[-1])
        return made[1:]

    told, tensors = asked(doubled)
    implied = [id(t) in told.implied for t in tensors[1:]]
    summed = implied.index(False)
    # What is summed begins anew.
    assert 2.0**summed * LARGEST < 2.0**128 and implied[summed + 1]


def test_small_tensors_are_summed_whatever_the_graph_shows() -> None:
    assert not is_implied(tf.nn.relu, shape=(4096, proofs.LARGE - 1))
    assert is_implied(tf.nn.relu, shape=(4, proofs.LARGE))
    assert is_implied(tf.nn.relu, shape=(None, proofs.LARGE))


def test_a_proof_rests_on_small_tensors_that_are_summed_with_it() -> None:
    told, tensors = asked(lambda x: x * tf.exp(tf.reduce_sum(x, [0, 1, 2])))
    (guard,) = told.guards
    assert guard.shape == [32] and id(tensors[-1]) in told.implied
    told, _ = asked(lambda x: x * tf.exp(x))  # as large as what it would save
    assert not told.implied and not told.guards


# --- Made again ---------------------------------------------------------------------


REPEATED = recompute._REPEATED - proofs._CONTRACTIONS


def test_every_operation_that_is_repeated_is_tested() -> None:
    assert set(KEEPS) >= REPEATED >= recompute.CHEAP
    assert recompute._REPEATED >= proofs._CONTRACTIONS


@pytest.mark.parametrize("name", CONTRACTIONS)
def test_a_product_that_is_made_again_is_as_it_was(name: str) -> None:
    make, shape, weights = CONTRACTIONS[name]

    @tf.function
    def both(x: Any, w: Any) -> Any:
        made = make(x, w)
        assert made.op.type == name
        return made, recompute.again(made.op, list(made.op.inputs))

    rng = np.random.default_rng(2)
    x, w = (rng.normal(size=s).astype(np.float32) for s in (shape, weights))
    made, again = both(x, w)
    assert made.shape == again.shape
    np.testing.assert_allclose(made, again, rtol=1e-5, atol=1e-5)


def made_twice(name: str) -> tuple[Any, Any]:
    """Returns what an operation makes, and what it makes again."""

    @tf.function
    def both(x: Any) -> Any:
        x = tf.exp(x)
        made = tf.identity(KEEPS[name](x))
        told = proofs.prove([found(x), found(made)])
        assert id(made) in told.made
        kept: list[Any] = []

        def within(tensor: Any) -> Any:
            kept.append(tensor)
            return tf.raw_ops.Switch(data=tensor, pred=tf.reduce_sum(x) < 0)[0]

        (again,) = recompute.make_again([made], told.made, within)
        assert any(t is x for t in kept) and not any(t is made for t in kept)
        return made, again

    x = np.random.default_rng(2).normal(size=SHAPE).astype(np.float32)
    made, again = both(tf.constant(x))
    assert made.dtype == again.dtype and made.shape == again.shape
    return made.numpy(), again.numpy()


@pytest.mark.parametrize("name", sorted(recompute.CHEAP))
def test_what_is_made_again_is_the_same_bit_by_bit(name: str) -> None:
    made, again = made_twice(name)
    assert made.tobytes() == again.tobytes()


@pytest.mark.parametrize("name", sorted(REPEATED - recompute.CHEAP))
def test_what_is_dear_is_made_again_to_the_last_bits(name: str) -> None:
    made, again = made_twice(name)
    np.testing.assert_allclose(made, again, rtol=1e-6)


def test_what_is_dear_is_kept() -> None:
    told, (_, pooled, out) = asked(lambda x: [p := tf.nn.max_pool2d(x, 2, 1, "SAME"), -p])
    assert {id(pooled), id(out)} <= set(told.implied)
    assert id(pooled) not in told.made and id(out) not in told.made
    # A watched one that is kept can be built upon, an unwatched one is not kept.
    told, (_, out) = asked(lambda x: -tf.nn.max_pool2d(x, 2, 1, "SAME"))
    assert id(out) in told.implied and not told.made


# --- Not finite in, not finite out ----------------------------------------------------

# What is added takes every finite element away: what is left is what was not finite.
zeros_and_more = tf.constant([[0.0, 0.0, 1.0], [0.0, -2.0, 0.0]])
SPREADS: dict[str, Callable[[Any], Any]] = {
    "Add": lambda x: tf.raw_ops.Add(x=x, y=-x),
    "AddV2": lambda x: x + -x,
    "BiasAdd": lambda x: tf.nn.bias_add(x, [-1.0, 1.0]),
    "Sub": lambda x: x - x,
    "Cast": lambda x: tf.cast(x, tf.float64),
    "Identity": tf.identity,
    "Mul": lambda x: x * tf.zeros_like(x),
    "Neg": tf.negative,
    "Reshape": lambda x: tf.reshape(x, [2, 3]),
    "Transpose": tf.transpose,
    "Square": tf.square,
    "SquaredDifference": lambda x: tf.math.squared_difference(x, tf.identity(x)),
    "Mean": lambda x: tf.reduce_mean(x, 1),
    "Sum": tf.reduce_sum,
    "MatMul": lambda x: tf.matmul(x, zeros_and_more),
    "BatchMatMulV2": lambda x: tf.raw_ops.BatchMatMulV2(
        x=x[None], y=zeros_and_more[None]
    ),
    "Einsum": lambda x: tf.einsum("bij,bjk->bik", x[None], zeros_and_more[None]),
}


@pytest.mark.parametrize("jit", [False, True], ids=["plain", "xla"])
@pytest.mark.parametrize("name", SPREADS)
def test_what_is_not_finite_shows_in_the_result(name: str, jit: bool) -> None:
    function = tf.function(SPREADS[name], jit_compile=jit)
    for place in range(6):
        for bad in BAD:
            x = np.arange(6, dtype=np.float32).reshape(3, 2)
            x.flat[place] = bad
            assert not np.isfinite(function(tf.constant(x)).numpy()).all(), (place, bad)


@pytest.mark.parametrize("jit", [False, True], ids=["plain", "xla"])
@pytest.mark.parametrize("size", [1, 3, 64, 257])
def test_a_matrix_product_skips_no_zero(size: int, jit: bool) -> None:
    """Whatever kernel is chosen for the size, 0 times inf is computed."""
    product = tf.function(tf.matmul, jit_compile=jit)
    rng = np.random.default_rng(size)
    zeros = tf.zeros([size, 5])
    for bad in BAD:
        x = rng.normal(size=(33, size)).astype(np.float32)
        row, column = rng.integers(33), rng.integers(size)
        x[row, column] = bad
        rows = np.isnan(product(tf.constant(x), zeros).numpy()).all(1)
        assert rows.tolist() == [r == row for r in range(33)]


def total_of(make: Callable[[Any], Any]) -> bool:
    """Returns whether a tensor's faults show in the total that `make` returns."""
    with tf.Graph().as_default():
        x = tf.compat.v1.placeholder(tf.float32, (None, 4))
        total = make(x)
        return proofs.spreads(x, {id(total)})


def mean_by_count(x: Any) -> Any:
    number = tf.cast(tf.reduce_prod(tf.shape(x)), tf.float32)
    return tf.math.divide_no_nan(tf.reduce_sum(x), number)


def mean_of_masked(x: Any) -> Any:
    mask = tf.cast(x > 0, tf.float32)
    return tf.math.divide_no_nan(tf.reduce_sum(x), tf.reduce_sum(mask))


def mean_by_another_count(x: Any) -> Any:
    number = tf.cast(tf.reduce_prod(tf.shape(x[1:])), tf.float32)
    return tf.math.divide_no_nan(tf.reduce_sum(x), number)


def test_a_mean_over_all_there_is_tells_of_each_element() -> None:
    assert total_of(mean_by_count)
    assert total_of(lambda x: mean_by_count(tf.reduce_mean(tf.square(x - 1.0), -1)))
    loss = keras.losses.MeanSquaredError()
    assert total_of(lambda x: loss(tf.zeros_like(x), x))
    # Nothing may be left of a fault that is divided by zero.
    assert not total_of(mean_of_masked)
    assert not total_of(mean_by_another_count)
    assert not total_of(lambda x: tf.reduce_max(x))


EINSUMS: dict[tuple[str, tuple[int | None, ...]], bool] = {
    ("ij,jk->ik", (4, 3)): True,
    ("ij,ik->jk", (None, 3)): True,  # as many rows as the other has
    ("ij,ij->", (None, 4)): True,
    ("ij,jk->ik", (4, 0)): False,
    ("ij,jk->ik", (4, None)): False,
    ("ii,ij->j", (None, 3)): False,
    ("i...,...k->i...k", (4, 3)): False,
}


@pytest.mark.parametrize("equation, shape", EINSUMS)
def test_an_einsum_tells_of_what_it_multiplies(
    equation: str, shape: tuple[int | None, ...]
) -> None:
    with tf.Graph().as_default():
        x = tf.compat.v1.placeholder(tf.float32, (None, 4))
        square = tf.compat.v1.placeholder(tf.float32, (4, 4))
        x = square if equation.startswith("ii") else x
        other = tf.compat.v1.placeholder(tf.float32, shape)
        result = tf.raw_ops.Einsum(inputs=[x, other], equation=equation)
        assert proofs.spreads(x, {id(result)}) == EINSUMS[equation, shape]
        # TensorFlow may leave out what is multiplied by a constant zero.
        zeros = tf.zeros([n or 4 for n in shape])
        result = tf.raw_ops.Einsum(inputs=[x, zeros], equation=equation)
        assert not proofs.spreads(x, {id(result)})
        # A product with itself is no product with something else.
        twice = tf.raw_ops.Einsum(inputs=[x, x], equation="ij,ij->ij")
        assert not proofs.spreads(x, {id(twice)})


@pytest.mark.parametrize("rest", ["sum", "difference", "exp"])
def test_a_product_that_xla_adds_up_at_once_is_not_read(rest: str) -> None:
    """XLA rounds it twice where it is read; what it goes into is summed, or it is read."""
    into = {
        "sum": tf.reduce_sum,
        "difference": lambda x: tf.reduce_sum(tf.square(x - 1.0)),
        "exp": lambda x: tf.reduce_sum(tf.exp(-x)),
    }[rest]
    with tf.Graph().as_default():
        x = tf.compat.v1.placeholder(tf.float32, (8, 4))
        product = tf.reshape(x * x, [4, 8])
        total = into(product)
        met = [found(x, "input"), found(product), found(total, "loss")]
        sums, parts = pack(met, "train")
        with tf.compat.v1.Session() as session:
            values = session.run(sums.row, {x: np.ones((8, 4), np.float32)})
    summed = [bool(is_summed(values[column])) for column in parts.columns]
    assert summed == [True, rest == "exp", True]


def normalised(x: Any) -> Any:
    mean, variance = tf.nn.moments(x, [0, 1, 2])
    return tf.nn.batch_normalization(x, mean, variance, None, None, 1e-3)


def test_a_branch_is_finite_where_the_sum_is_that_it_is_added_into() -> None:
    def branch(x: Any) -> list[Any]:
        exp = tf.exp(x)  # nothing forward proves it
        both = exp + x
        return [exp, both, normalised(both)]

    told, (_, exp, both, out) = asked(branch)
    assert (
        id(exp) in told.implied and id(both) in told.moments and id(out) in told.implied
    )

    def hidden(x: Any) -> list[Any]:
        exp = tf.exp(x)
        both = tf.nn.relu(exp) + x  # ReLU makes 0 of -inf
        return [exp, both, normalised(both)]

    told, (_, exp, both, _) = asked(hidden)
    assert id(exp) not in told.implied and id(both) in told.moments


# --- Mean and variance ------------------------------------------------------------------


@given(
    axes=st.sampled_from([(0, 1, 2), (3,), (1, 2), (0, 1, 2, 3)]),
    scale=st.floats(1e-6, 1e6),
    offset=st.floats(-1e3, 1e3),
    bad=st.sampled_from([None, *BAD]),
    at=st.integers(0, 4 * 8 * 8 * 32 - 1),
    keep=st.booleans(),
)
def test_moments_are_the_sum_of_squares(
    axes: tuple[int, ...], scale: float, offset: float, bad: Any, at: int, keep: bool
) -> None:
    x = np.random.default_rng(1).normal(size=SHAPE) * scale + offset
    x = x.astype(np.float32)
    if bad is not None:
        x.flat[at] = bad

    @tf.function
    def half(x: Any) -> Any:
        tf.nn.moments(x, axes, keepdims=keep)
        moments = proofs.prove([found(x)]).moments[id(x)]
        return proofs.half_sum_by_moments(x, moments)

    got = float(half(tf.constant(x)))
    if bad is None:
        assert got == pytest.approx(0.5 * np.square(x.astype(np.float64)).sum(), rel=1e-4)
    else:
        assert not np.isfinite(got)


def test_a_mean_alone_or_over_other_axes_is_no_sum_of_squares() -> None:
    told, _ = asked(lambda x: tf.reduce_mean(x, 1))
    assert not told.moments

    def others(x: Any) -> Any:
        mean = tf.reduce_mean(x, [1, 2], keepdims=True)
        return tf.reduce_mean(tf.math.squared_difference(x, mean), [0, 3])

    told, _ = asked(others)
    assert not told.moments

    def elsewhere(x: Any) -> Any:
        mean = tf.reduce_mean(2.0 * x, [1, 2], keepdims=True)
        return tf.reduce_mean(tf.math.squared_difference(x, mean), [1, 2])

    told, _ = asked(elsewhere)
    assert not told.moments

    def turned(x: Any) -> Any:  # the mean of a row, taken from a column
        mean = tf.reshape(tf.reduce_mean(x, [0, 2, 3]), [1, 1, 8, 1])
        return tf.reduce_mean(tf.math.squared_difference(x, mean), [0, 2, 3])

    told, _ = asked(turned)
    assert not told.moments


# --- In a training ------------------------------------------------------------------------


@given(st.integers(0, 1 << 40))
def test_every_bucket_holds_a_step_in_which_all_is_summed(start: int) -> None:
    from tb_nanwatch.writing.recording.buckets import bucket_end

    steps = range(start, min(bucket_end(start), start + MOST_STEPS_BETWEEN) + 1)
    assert any(bool(is_sampled(tf.constant(s, tf.int64))) for s in steps)
    if start >= 1 << 10:
        first = -(-start // MOST_STEPS_BETWEEN) * MOST_STEPS_BETWEEN
        assert bool(is_sampled(tf.constant(first, tf.int64)))
        assert not bool(is_sampled(tf.constant(first + 1, tf.int64)))


class Scale(keras.layers.Layer):
    """Multiplies by a vector and adds one: finite where these are."""

    def build(self, shape: Any) -> None:
        self.times = self.add_weight(shape=shape[-1:], initializer="ones", name="times")
        self.plus = self.add_weight(shape=shape[-1:], initializer="zeros", name="plus")

    def call(self, x: Any) -> Any:
        return x * self.times + self.plus


class Mask(keras.layers.Layer):
    """Sets one channel to -inf."""

    def call(self, x: Any) -> Any:
        return x + np.array([-np.inf, *[0.0] * 31], np.float32)


class Break(keras.callbacks.Callback):
    """Sets one element of a layer's vector before a step, and mends it after it."""

    def __init__(self, plan: dict[int, tuple[str, str, float]]) -> None:
        super().__init__()
        self._plan, self._step = plan, 0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._weights = self.model.get_weights()
        if self._step in self._plan:
            layer, name, bad = self._plan[self._step]
            variable = getattr(self.model.get_layer(layer), name)
            value = variable.numpy()
            value[3] = bad
            variable.assign(value)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._step in self._plan:
            self.model.set_weights(self._weights)
        self._step += 1


def scaled(jit: bool) -> Any:
    """Returns a model whose large tensors are proved, but for the first."""
    inputs = keras.Input((8, 8, 4))
    x = keras.layers.Conv2D(32, 1, name="conv")(inputs)
    x = Scale(name="scale")(x)
    x = keras.layers.ReLU(name="relu")(x)
    y = Scale(name="again")(x)
    y = keras.layers.Add(name="both")([x, y])
    y = keras.layers.GlobalAveragePooling2D(name="pool")(y)
    model = keras.Model(inputs, keras.layers.Dense(1, name="last")(y))
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=jit)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("jit", [False, True], ids=["plain", "xla"])
def test_faults_in_what_is_proved_are_found_at_their_step(
    tmp_path: Path, jit: bool
) -> None:
    """A vector's element goes bad: the step is exact, and so are the counts.

    The vectors are weights, whose own probes are read after the update: the onset of
    the fault is the activation that they make.
    """
    keras.utils.set_random_seed(3)
    model = scaled(jit)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, 8, 8, 4)).astype(np.float32)
    # Late enough that most steps sum nothing that is proved.
    plan = {
        i: (layer, name, bad)
        for i, (layer, name, bad) in zip(
            range(301, 410, 9),
            [
                (la, n, b)
                for la in ("scale", "again")
                for n in ("times", "plus")
                for b in BAD
            ],
            strict=False,
        )
    }
    assert any(step % MOST_STEPS_BETWEEN for step in plan)
    model.fit(
        np.tile(x, (32, 1, 1, 1)),
        np.ones((512, 1), np.float32),
        batch_size=16,
        epochs=13,
        shuffle=False,
        verbose=0,
        callbacks=[NanWatch(tmp_path, experiments=0), Break(plan)],
    )
    log = read_log(tmp_path)
    expected = {}
    for step, (layer, name, bad) in plan.items():
        if layer == "scale":
            made = model.layers[1](x).numpy()[..., 3]
        else:
            made = keras.Model(model.input, model.get_layer("relu").output)(x).numpy()
            made = made[..., 3]
        with np.errstate(invalid="ignore"):
            made = made * bad if name == "times" else made + bad
        counts = np.isnan(made).sum(), (made == np.inf).sum(), (made == -np.inf).sum()
        expected[step] = (layer, *map(int, counts))
    got = {}
    for episode in log.episodes:
        tensor = episode.tensors[episode.new[0]]
        got[episode.start.step] = (
            tensor.name,
            tensor.num_nan,
            tensor.num_pos_inf,
            tensor.num_neg_inf,
        )
    assert got == expected


def test_a_contained_fault_does_not_hide_a_later_one(tmp_path: Path) -> None:
    """While -inf stands before a ReLU, what is proved by it is summed in every step."""
    inputs = keras.Input((8, 8, 4))
    x = keras.layers.Conv2D(32, 1, name="conv")(inputs)
    x = Scale(name="scale")(x)
    x = Mask(name="mask")(x)
    x = keras.layers.ReLU(name="relu")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(inputs, keras.layers.Dense(1, name="last")(x))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    data = np.random.default_rng(0).normal(size=(16, 8, 8, 4)).astype(np.float32)
    model.fit(
        np.tile(data, (50, 1, 1, 1)),
        np.ones((800, 1), np.float32),
        batch_size=16,
        epochs=2,
        shuffle=False,
        verbose=0,
        callbacks=[
            NanWatch(tmp_path, experiments=0),
            Break({77: ("scale", "plus", np.nan)}),
        ],
    )
    log = read_log(tmp_path)
    first, second, *rest = log.episodes
    assert first.start.step == 0 and first.level == "contained"
    assert [first.tensors[i].name for i in first.new] == ["mask"]
    assert second.start.step == 77 and second.level == "diverged"
    new = [second.tensors[i] for i in second.new]
    assert new[0].name == "scale" and "relu" in {t.name for t in new}
    assert log.status.origin == new[0]
    assert all(e.level == "contained" and not e.new for e in rest)


def test_a_proved_tensor_is_measured_now_and_then(tmp_path: Path) -> None:
    """Where a step is looked at as it runs; elsewhere a proved tensor is not read at all."""
    model = scaled(False)
    model.compile(keras.optimizers.SGD(0.0), "mse", steps_per_execution=2)
    x = np.ones((16, 8, 8, 4), np.float32)
    model.fit(
        np.tile(x, (400, 1, 1, 1)),
        np.ones((6400, 1), np.float32),
        batch_size=16,
        shuffle=False,
        verbose=0,
        callbacks=[NanWatch(tmp_path)],
    )
    log = read_log(tmp_path)
    assert log.status.status == "clean" and log.status.steps == 400
    names = [p.name for p in log.session.train_probes]
    column = RANGE_COLUMNS.index("rms")
    seen = 0
    for record in [r for r in log.all("ranges") if r.phase == "train"]:
        rms = record.stats[:, names.index("relu"), column]
        if record.steps[-1, 1] == 399:  # the training ended within this bucket
            rms = rms[:-1]
        # The weights stand still, and so does every output.
        assert rms == pytest.approx(np.full(len(rms), rms[0]), rel=1e-6)
        seen += len(rms)
    assert seen > 50


@pytest.mark.parametrize("jit", [False, True], ids=["plain", "xla"])
def test_ranges_of_what_is_made_again_are_those_of_the_tensor(
    tmp_path: Path, jit: bool
) -> None:
    inputs = keras.Input((8, 8, 4))
    x = keras.layers.Conv2D(32, 3, name="conv")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.ReLU(name="relu")(x)
    x = keras.layers.LayerNormalization(name="layer_norm")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=jit)
    data = np.random.default_rng(0).normal(size=(16, 8, 8, 4)).astype(np.float32)
    names = ["conv", "norm", "relu", "layer_norm"]
    outputs = [model.get_layer(name).output for name in names]
    expected = keras.Model(model.input, outputs)(data, training=True)
    model.fit(data, np.ones((16, 1)), 16, verbose=0, callbacks=[NanWatch(tmp_path)])
    log = read_log(tmp_path)
    (record,) = [r for r in log.all("ranges") if r.phase == "train"]
    probes = [p.name for p in log.session.train_probes]
    for name, tensor in zip(names, expected, strict=True):
        stats = dict(zip(RANGE_COLUMNS, record.stats[0, probes.index(name)], strict=True))
        value = tensor.numpy().astype(np.float64)
        assert stats["min"] == pytest.approx(value.min(), rel=1e-4, abs=1e-6)
        assert stats["max"] == pytest.approx(value.max(), rel=1e-4)
        assert stats["rms"] == pytest.approx(np.sqrt(np.square(value).mean()), rel=1e-4)


def test_the_mark_of_what_is_not_summed_is_no_sum() -> None:
    rows = np.array([NOT_SUMMED, 0.0, 1.0, np.nan, -np.nan, np.inf], np.float32)
    assert is_summed(rows).tolist() == [False, True, True, True, True, True]
    zeros = tf.nn.l2_loss(-0.0 * tf.ones([4])).numpy()
    assert is_summed(np.array([zeros], np.float32)).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "whole", "left"), [("conv", 103, 1.5), ("transformer", 71, 16.8)]
)
def test_of_the_benchmarks_models_little_is_left_to_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, whole: float, left: float
) -> None:
    """The README's numbers: megabytes of watched tensors, and of those that are summed."""
    megabytes: dict[str, float] = {}
    record = Beside.record_gated

    def counted(graph: Beside, step: Any, met: list[Found]) -> bool:
        recorded = record(graph, step, met)
        tensors = {id(f.tensor): f.tensor for f in met if f.tensor.dtype.is_floating}
        read = {id(t): t for t in (step.read_as.get(k, t) for k, t in tensors.items())}
        known = step.proofs.moments.keys() | step.proofs.implied
        left = [t for key, t in read.items() if key not in known]
        for part, summed in (("whole", tensors.values()), ("left", left)):
            size = sum(t.shape.num_elements() * t.dtype.size for t in summed) / 1e6
            megabytes[part] = megabytes.get(part, 0.0) + size
        return recorded

    monkeypatch.setattr(Beside, "record_gated", counted)
    model, data = MODELS[name]()
    watch = [NanWatch(tmp_path)]
    model.fit(data, steps_per_epoch=1, shuffle=False, verbose=0, callbacks=watch)
    traces = round(megabytes["whole"] / whole)
    assert megabytes["whole"] / traces == pytest.approx(whole, abs=0.6)
    assert megabytes["left"] / traces == pytest.approx(left, abs=0.2)
