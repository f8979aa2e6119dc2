"""Every kind of training that is said to be watched, trained; the README's table.

`NANWATCH_UPDATE_README=1` writes the table into the README anew; otherwise the test
holds that the README says what happened here.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from benchmarks.made import put
from tb_nanwatch import NanWatch, NanWatchWarning
from tb_nanwatch.errors import UnsupportedError
from tb_nanwatch.writing.probes import check_supported
from tests.writing.faults import two_replicas
from tests.writing.logs import Log, read_log

L = keras.layers
README = Path(__file__).parent.parent.parent / "README.md"
START, END = (
    "<!-- coverage: made by tests/writing/test_coverage.py -->",
    "<!-- /coverage -->",
)
ROWS: dict[str, str] = {}


def data(n: int = 96, inputs: int = 6, outputs: int = 1) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, inputs)).astype("float32")
    return x, rng.normal(size=(n, outputs)).astype("float32")


def sequential(optimizer: Any = "adam", lazy: bool = False, **options: Any) -> Any:
    model = keras.Sequential(
        [
            *([] if lazy else [keras.Input((6,))]),
            L.Dense(8, activation="relu", name="a"),
            L.Dropout(0.2),
            L.Dense(1, name="b"),
        ]
    )
    model.compile(optimizer, "mse", metrics=["mae"], **options)
    return model


def functional_ops() -> Any:
    x = keras.Input((6,))
    h = keras.ops.sqrt(keras.ops.abs(L.Dense(8)(x)) + 1.0)
    model = keras.Model(x, L.Dense(1)(h))
    model.compile("adam", "mse")
    return model


def nested() -> Any:
    inner = keras.Sequential(
        [L.Dense(8, name="one"), L.Dense(4, name="two")], name="inner"
    )
    x = keras.Input((6,))
    model = keras.Model(x, L.Dense(1)(inner(x)))
    model.compile("adam", "mse")
    return model


def shared() -> Any:
    x = keras.Input((6,))
    twice = L.Dense(6, name="twice")
    model = keras.Model(x, L.Dense(1)(twice(twice(x))))
    model.compile("adam", "mse")
    return model


class Subclassed(keras.Model):
    """Built at the first batch; layers in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = [L.Dense(8), L.Dense(4)]
        self.out = L.Dense(1)

    def call(self, x: Any) -> Any:
        for layer in self.hidden:
            x = layer(x)
        return self.out(x)


class Parts(keras.Layer):
    """A layer whose output is a dict with a tuple and a None."""

    def __init__(self) -> None:
        super().__init__(name="parts")
        self.dense = L.Dense(4)

    def call(self, x: Any) -> Any:
        h = self.dense(x)
        return {"pair": (h, h + 1.0), "nothing": None}


class OddOutputs(Subclassed):
    """With an odd output in between."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = Parts()

    def call(self, x: Any) -> Any:
        for layer in self.hidden:
            x = layer(x)
        first, second = self.parts(x)["pair"]
        return self.out(first + second)


def odd_outputs() -> Any:
    model = OddOutputs()
    model.compile("adam", "mse")
    return model


def subclassed() -> Any:
    model = Subclassed()
    model.compile("adam", "mse")
    return model


class OwnStep(Subclassed):
    """A training step of its own."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
        grads = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(grads, self.trainable_variables, strict=True))
        return {"loss": loss}


def own_step() -> Any:
    model = OwnStep()
    model.compile("adam", "mse")
    return model


class OwnLoss(Subclassed):
    """A loss of its own."""

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None
    ) -> Any:
        return tf.reduce_mean(tf.abs(y - y_pred))


def own_loss() -> Any:
    model = OwnLoss()
    model.compile("adam")
    return model


def several_losses() -> Any:
    x = keras.Input((6,))
    h = L.Dense(8)(x)
    model = keras.Model(x, [L.Dense(1, name="p")(h), L.Dense(1, name="q")(h)])
    model.compile("adam", ["mse", "mae"], loss_weights=[1.0, 0.5])
    return model


def added_losses() -> Any:
    model = keras.Sequential(
        [
            keras.Input((6,)),
            L.Dense(8, kernel_regularizer="l2", activity_regularizer="l1"),
            L.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    return model


def recurrent() -> Any:
    model = keras.Sequential(
        [
            keras.Input((None, 2)),
            L.Masking(),
            L.LSTM(4, return_sequences=True),
            L.TimeDistributed(L.Dense(3)),
            L.GRU(3),
            L.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    return model


def embedded() -> Any:
    model = keras.Sequential(
        [keras.Input((6,), dtype="int32"), L.Embedding(9, 3), L.Flatten(), L.Dense(1)]
    )
    model.compile("sgd", "mse")
    return model


def normalised() -> Any:
    model = keras.Sequential(
        [keras.Input((6,)), L.Dense(8), L.BatchNormalization(), L.Dense(1)]
    )
    model.compile("adam", "mse")
    return model


def frozen() -> Any:
    model = sequential()
    model.layers[0].trainable = False
    model.compile("adam", "mse")
    return model


def half(policy: str) -> Callable[[], Any]:
    def build() -> Any:
        keras.config.set_dtype_policy(policy)
        return sequential()

    return build


def mirrored() -> Any:
    with two_replicas().scope():
        return sequential()


def sequences() -> tuple[Any, Any]:
    x, y = data()
    return x.reshape(96, 3, 2), y


def words() -> tuple[Any, Any]:
    x, y = data()
    return (np.abs(x) * 3).astype("int32") % 9, y


def two_labels() -> tuple[Any, Any]:
    x, y = data()
    return x, [y, y]


def unknown_length(x: Any, y: Any) -> Any:
    def pairs() -> Any:
        yield from zip(x, y, strict=True)

    spec = (tf.TensorSpec((6,), tf.float32), tf.TensorSpec((1,), tf.float32))
    return tf.data.Dataset.from_generator(pairs, output_signature=spec).batch(32)


# Name, model, data, `fit` arguments, (kind, name) of probes that must be there.
A, G, W, SLOT = "activation", "gradient", "weight", "optimizer"
CASES: list[tuple[str, Callable[[], Any], Callable[[], Any], list[tuple[str, str]]]] = [
    ("Sequential", sequential, data, [(A, "a"), (G, "b/kernel"), (W, "a/bias")]),
    (
        "Functional with bare `keras.ops`",
        functional_ops,
        data,
        [(A, "sqrt"), (A, "absolute")],
    ),
    ("nested models", nested, data, [(A, "inner/one"), (G, "inner/two/kernel")]),
    ("shared layers: each call", shared, data, [(A, "twice"), (A, "twice (call 2)")]),
    (
        "subclassed, built at the first batch",
        subclassed,
        data,
        [(A, "dense"), (A, "dense_2")],
    ),
    (
        "layers with dict, tuple and None outputs",
        odd_outputs,
        data,
        [(A, "parts['pair'][0]"), (A, "parts['pair'][1]")],
    ),
    (
        "a `train_step` of one's own",
        own_step,
        data,
        [("loss", "loss"), (G, "dense/kernel")],
    ),
    ("a `compute_loss` of one's own", own_loss, data, [("loss", "total")]),
    (
        "several outputs and losses",
        several_losses,
        two_labels,
        [("loss", "p"), ("loss", "q")],
    ),
    (
        "`add_loss` and regularizers: in the total",
        added_losses,
        data,
        [("loss", "total")],
    ),
    (
        "RNN, masks and TimeDistributed: outputs, not what happens inside the loop",
        recurrent,
        sequences,
        [(A, "lstm"), (A, "time_distributed"), (G, "lstm/lstm_cell/kernel")],
    ),
    ("sparse gradients (embeddings)", embedded, words, [(G, "embedding/embeddings")]),
    (
        "batch normalisation's statistics",
        normalised,
        data,
        [("layer_state", "batch_normalization/moving_variance")],
    ),
    ("frozen layers", frozen, data, [(W, "a/kernel")]),
    (
        "mixed_float16 with loss scaling; a skipped step is contained",
        half("mixed_float16"),
        data,
        [(SLOT, "loss_scale_optimizer/dynamic_scale")],
    ),
    ("mixed_bfloat16", half("mixed_bfloat16"), data, [(A, "a")]),
    (
        "Sequential without an input shape: built at the first batch",
        lambda: sequential(lazy=True),
        data,
        [(A, "a"), (G, "a/kernel"), (W, "a/kernel")],
    ),
    (
        "weight decay and moving averages in the optimizer",
        lambda: sequential(keras.optimizers.AdamW(weight_decay=0.01, use_ema=True)),
        data,
        [(G, "a/kernel"), (W, "a/kernel")],
    ),
    (
        '`jit_compile="auto"`',
        lambda: sequential(jit_compile="auto"),
        data,
        [(A, "a")],
    ),
    ("`jit_compile=True`", lambda: sequential(jit_compile=True), data, [(A, "a")]),
    ("`jit_compile=False`", lambda: sequential(jit_compile=False), data, [(A, "a")]),
    (
        "`steps_per_execution` above 1, and above the 256 steps that are kept between readings",
        lambda: sequential(steps_per_execution=300),
        lambda: data(32 * 301),
        [(A, "a")],
    ),
    ("`run_eagerly=True`", lambda: sequential(run_eagerly=True), data, [(A, "a")]),
    (
        "gradient accumulation",
        lambda: sequential(keras.optimizers.Adam(gradient_accumulation_steps=2)),
        data,
        [(G, "a/kernel")],
    ),
    (
        "gradient clipping: gradients before it",
        lambda: sequential(keras.optimizers.SGD(clipnorm=1.0)),
        data,
        [(G, "a/kernel")],
    ),
    ("MirroredStrategy: each replica", mirrored, data, [(A, "a")]),
    (
        "`tf.data` of unknown length",
        sequential,
        lambda: (unknown_length(*data()), None),
        [(A, "a")],
    ),
]


def train(build: Any, make: Any, callbacks: list[Any]) -> list[Any]:
    keras.backend.clear_session()
    keras.utils.set_random_seed(3)
    model = build()
    x, y = make()
    with warnings.catch_warnings():
        # Keras' own, on ends of data and on tf.data; ours stay errors.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", NanWatchWarning)
        model.fit(x, y, epochs=2, verbose=0, callbacks=callbacks)
    return [np.array(w) for w in model.get_weights()]


@pytest.mark.parametrize(
    ("name", "build", "make", "probes"), CASES, ids=[c[0] for c in CASES]
)
def test_is_watched(
    name: str, build: Any, make: Any, probes: Any, tmp_path: Path
) -> None:
    plain = train(build, make, [])
    watched = train(build, make, [NanWatch(tmp_path)])
    log: Log = read_log(tmp_path)
    found = {(p.kind, p.name) for p in log.session.train_probes}
    assert set(probes) <= found
    assert log.status.state == "finished"
    assert log.status.status in ("clean", "contained")
    assert log.status.steps > 0
    assert {"input", "prediction", "loss", "gradient", "weight"} <= {k for k, _ in found}
    # TensorFlow merges additions whose intermediate result nobody else reads; one that
    # is watched is rounded by itself.
    merged = build is odd_outputs
    for a, b in zip(plain, watched, strict=True):
        if merged:
            np.testing.assert_allclose(a, b, rtol=1e-5)
        else:
            np.testing.assert_array_equal(a, b)
    weights = "the last bit may differ" if merged else "identical"
    ROWS[name] = f"| {name} | yes | {weights} |"


def test_two_fits_of_one_model(tmp_path: Path) -> None:
    model = sequential()
    x, y = data()
    model.fit(x, y, verbose=0, callbacks=[NanWatch(tmp_path / "1")])
    model.fit(
        x, y, epochs=3, initial_epoch=1, verbose=0, callbacks=[NanWatch(tmp_path / "2")]
    )
    assert read_log(tmp_path / "1").status.steps == 3
    second = read_log(tmp_path / "2").status
    assert (second.steps, second.epochs) == (6, 3)
    ROWS["`fit` called again, with `initial_epoch`"] = (
        "| `fit` called again, with `initial_epoch`: a new trace each time | yes | identical |"
    )


def test_train_on_batch_has_no_callbacks(tmp_path: Path) -> None:
    model = sequential()
    x, y = data()
    NanWatch(tmp_path).set_model(model)
    model.train_on_batch(x, y)
    assert not list(tmp_path.iterdir())
    ROWS["`train_on_batch`"] = (
        "| `train_on_batch`, `predict` | no: Keras gives them no callbacks | |"
    )


def test_others_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Foreign:
        """Stands for a model of tf.keras 2."""

    with pytest.raises(UnsupportedError, match="not with `tf_keras`"):
        check_supported(Foreign())
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    model = sequential()
    x, y = data()
    before = [np.array(w) for w in model.get_weights()]
    with pytest.warns(NanWatchWarning, match="the backend here is 'torch'") as caught:
        model.fit(x, y, verbose=0, callbacks=[NanWatch(tmp_path)])
    assert len([w for w in caught if w.category is NanWatchWarning]) == 1
    assert not np.array_equal(before[0], model.get_weights()[0])  # it trained
    ROWS["refused"] = (
        "| tf.keras 2, Keras on JAX or PyTorch | refused: one warning, training goes on | |"
    )


def test_the_readme_says_so() -> None:
    if len(ROWS) < len(CASES) + 3:
        pytest.skip("the table is made when all of this file's tests have run")
    table = "\n".join(
        ["| training | watched | weights |", "|---|---|---|", *ROWS.values()]
    )
    if os.environ.get("NANWATCH_UPDATE_README"):
        put(README, START, END, table)
    assert f"{START}\n{table}\n{END}" in README.read_text(encoding="utf-8"), (
        "run NANWATCH_UPDATE_README=1 pytest tests/writing/test_coverage.py"
    )
