"""Kinds of training that people make: models, ways to build them, options of `fit`.

Each is small, and made anew for each training. `outcome` trains one plain and
watched, and says whether watching changed anything.
"""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf

from tb_nanwatch import NanWatch, NanWatchWarning
from tests.support.gpu_default import gpu_default
from tests.writing.logs import read_log

L = keras.layers
# What Keras' `fit` is made of, as classes mix it in that are layers and no `keras.Model`.
Trainer = next(cls for cls in keras.Model.__mro__ if cls.__name__ == "TensorFlowTrainer")


# --- Ways to build one and the same model -----------------------------------------


def _built(base: type, **options: Any) -> Any:
    bases = (base, keras.Sequential)
    layers = [keras.Input((6,)), *_layers(**options)]
    return type("Built", bases, {})(layers, name="model")


def _lazy(base: type, **options: Any) -> Any:
    return type("Lazy", (base, keras.Sequential), {})(_layers(**options), name="model")


class _Called:
    """Its `call`, and layers in a list."""

    def __init__(self, **options: Any) -> None:
        super().__init__(name="model", **options)
        self.hidden = _layers(**options)

    def call(self, x: Any, training: bool = False) -> Any:
        for layer in self.hidden:
            takes = isinstance(layer, L.Dropout | L.BatchNormalization)
            x = layer(x, training=training) if takes else layer(x)
        return x


def _subclassed(base: type, **options: Any) -> Any:
    return type("Subclassed", (base, _Called, keras.Model), {})(**options)


def _layers(**options: Any) -> list[Any]:
    return [
        L.Dense(8, activation="relu", name="a", **options),
        L.BatchNormalization(name="norm", **options),
        L.Dropout(0.2, name="dropout", **options),
        L.Dense(1, name="b", **options),
    ]


BUILDS: Final[dict[str, Callable[..., Any]]] = {
    "built": _built,
    "Sequential without Input": _lazy,
    "subclassed": _subclassed,
}


class Plain:
    """A base that adds nothing."""


class OwnStep:
    """A training step of its own."""

    def train_step(self: Any, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
        grads = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(grads, self.trainable_variables, strict=True))
        return {"loss": loss}


class OwnLoss:
    """A loss of its own."""

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        return tf.reduce_mean(tf.abs(y - y_pred))


class AddedLoss:
    """An activity that is part of the loss."""

    def call(self: Any, x: Any, training: bool = False) -> Any:
        out = super().call(x, training=training)  # type: ignore[misc]
        self.add_loss(keras.ops.mean(keras.ops.square(out)) * 0.1)
        return out


# --- Models ------------------------------------------------------------------------


def functional_ops() -> Any:
    x = keras.Input((6,))
    h = keras.ops.sqrt(keras.ops.abs(L.Dense(8)(x)) + 1.0)
    return keras.Model(x, L.Dense(1)(h))


def nested() -> Any:
    inner = keras.Sequential(
        [L.Dense(8, name="one"), L.Dense(4, name="two")], name="inner"
    )
    x = keras.Input((6,))
    return keras.Model(x, L.Dense(1)(inner(x)))


def shared() -> Any:
    x = keras.Input((6,))
    twice = L.Dense(6, name="twice")
    return keras.Model(x, L.Dense(1)(twice(twice(x))))


class Parts(keras.Layer):
    """A layer whose output is a dict with a tuple and a None."""

    def __init__(self) -> None:
        super().__init__(name="parts")
        self.dense = L.Dense(4)

    def call(self, x: Any) -> Any:
        h = self.dense(x)
        return {"pair": (h, h + 1.0), "nothing": None}


class OddOutputs(keras.Model):
    """With an odd output in between."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.parts, self.out = L.Dense(8), Parts(), L.Dense(1)

    def call(self, x: Any) -> Any:
        first, second = self.parts(self.hidden(x))["pair"]
        return self.out(first + second)


def several_losses() -> Any:
    x = keras.Input((6,))
    h = L.Dense(8)(x)
    return keras.Model(x, [L.Dense(1, name="p")(h), L.Dense(1, name="q")(h)])


def recurrent() -> Any:
    return keras.Sequential(
        [
            keras.Input((None, 2)),
            L.Masking(),
            L.LSTM(4, return_sequences=True),
            L.TimeDistributed(L.Dense(3)),
            L.GRU(3),
            L.Dense(1),
        ]
    )


def embedded() -> Any:
    return keras.Sequential(
        [keras.Input((6,), dtype="int32"), L.Embedding(9, 3), L.Flatten(), L.Dense(1)]
    )


def frozen() -> Any:
    model = _built(Plain)
    model.layers[0].trainable = False
    return model


def residual() -> Any:
    x = keras.Input((6,))
    h = L.Dense(16, activation="relu")(x)
    return keras.Model(x, L.Dense(1)(L.Add()([h, L.Dense(16)(h)])))


def residual_convolutions() -> Any:
    x = keras.Input((6, 6, 3))
    h = L.ReLU()(L.BatchNormalization()(L.Conv2D(8, 3, padding="same")(x)))
    for _ in range(2):
        branch = L.BatchNormalization()(L.Conv2D(8, 3, padding="same")(h))
        h = L.ReLU()(L.Add()([h, branch]))
    return keras.Model(x, L.Dense(1)(L.GlobalAveragePooling2D()(h)))


def concatenated_convolutions() -> Any:
    x = h = keras.Input((6, 6, 3))
    for _ in range(3):
        new = L.Conv2D(4, 3, padding="same", activation="relu")(h)
        h = L.Concatenate()([h, new])
    return keras.Model(x, L.Dense(1)(L.GlobalAveragePooling2D()(h)))


def transformer() -> Any:
    x = keras.Input((6, 4))
    h = L.Dense(8)(x)
    h = L.LayerNormalization()(h + L.MultiHeadAttention(2, 4)(h, h))
    h = L.LayerNormalization()(h + L.Dense(8)(L.Dense(16, activation="gelu")(h)))
    return keras.Model(x, L.Dense(1)(L.GlobalAveragePooling1D()(h)))


class TrainerAndLayer(Trainer, keras.Layer):
    """As Keras' own tests define models."""

    def __init__(self) -> None:
        keras.Layer.__init__(self, name="mixed")
        Trainer.__init__(self)
        self.dense = L.Dense(1, name="dense")

    def call(self, x: Any, training: bool = False) -> Any:
        return self.dense(x)


class Drawing(keras.Model):
    """Draws a number while it is traced, as AugMix does; its first batch builds it."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = L.Dense(8, name="draws")
        self.out = L.Dense(1)

    def call(self, x: Any) -> Any:
        return self.out(self.dense(x) * random.uniform(0.5, 1.5))


class Triple(keras.Model):
    """Takes three inputs from a batch of three."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = L.Dense(3, name="embed")

    def call(self, x: Any) -> Any:
        return self.embed(x)

    def train_step(self, data: Any) -> Any:
        anchor, positive, negative = data
        with tf.GradientTape() as tape:
            a, p, n = self(anchor), self(positive), self(negative)
            distance = tf.reduce_sum((a - p) ** 2, 1) - tf.reduce_sum((a - n) ** 2, 1)
            loss = tf.reduce_mean(tf.maximum(distance + 0.5, 0.0))
        grads = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(grads, self.trainable_variables, strict=True))
        return {"loss": loss}


# --- Data --------------------------------------------------------------------------


def data(n: int = 88, shape: tuple[int, ...] = (6,)) -> tuple[Any, Any]:
    """Returns `n` examples: the last batch of 32 has fewer."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, *shape)).astype("float32")
    return x, rng.normal(size=(n, 1)).astype("float32")


def words() -> tuple[Any, Any]:
    x, y = data()
    return (np.abs(x) * 3).astype("int32") % 9, y


def two_labels() -> tuple[Any, Any]:
    x, y = data()
    return x, [y, y]


def triples() -> tuple[Any, Any]:
    x, _ = data()
    return tf.data.Dataset.from_tensor_slices((x, x + 0.1, x[::-1].copy())).batch(
        32
    ), None


def unknown_length() -> tuple[Any, Any]:
    x, y = data()

    def pairs() -> Iterator[Any]:
        yield from zip(x, y, strict=True)

    spec = (tf.TensorSpec((6,), tf.float32), tf.TensorSpec((1,), tf.float32))
    return tf.data.Dataset.from_generator(pairs, output_signature=spec).batch(32), None


class Batches(keras.utils.PyDataset):
    """Batches that Python makes."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        x, y = data()
        return x[32 * index : 32 * index + 32], y[32 * index : 32 * index + 32]


# --- Kinds -------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """A kind of training.

    Attributes:
        name: as the table of what can be watched has it.
        probes: kind and name of probes that must be there.
        model: makes the model; None where it is one of `BUILDS`.
        base: of one of `BUILDS`.
        optimizer: makes the optimizer.
        loss: as `compile` takes it.
        compiled, fit: further arguments.
        data: returns inputs and labels.
        policy: the global dtype policy.
        validates: whether `fit` is given validation data.
        metrics: of `compile`.
    """

    name: str
    probes: tuple[tuple[str, str], ...] = ()
    model: Callable[[], Any] | None = None
    base: type = Plain
    optimizer: Callable[[], Any] = lambda: keras.optimizers.Adam()
    loss: Any = "mse"
    compiled: Mapping[str, Any] = field(default_factory=dict)
    fit: Mapping[str, Any] = field(default_factory=dict)
    data: Callable[[], tuple[Any, Any]] = data
    policy: str = "float32"
    validates: bool = True
    metrics: tuple[str, ...] = ("mae",)

    @property
    def builds(self) -> tuple[str, ...]:
        """The ways in which the model is built."""
        return tuple(BUILDS) if self.model is None else ("its own",)


A, G, W, SLOT = "activation", "gradient", "weight", "optimizer"
opt = keras.optimizers
KINDS: Final = (
    Kind("`fit` with validation and metrics", ((A, "a"), (G, "b/kernel"), (W, "a/bias"))),
    Kind(
        "class weights",
        (("sample_weight", "sample_weight"),),
        data=lambda: (data()[0], (data()[1] > 0).astype("float32")),
        loss="binary_crossentropy",
        fit={"class_weight": {0: 1.0, 1: 3.0}},
    ),
    Kind(
        "sample weights",
        (("sample_weight", "sample_weight"),),
        fit={"sample_weight": np.linspace(0.1, 2.0, 88, dtype="float32")},
    ),
    Kind(
        "weight decay and moving averages in the optimizer",
        ((G, "a/kernel"),),
        optimizer=lambda: opt.AdamW(weight_decay=0.01, use_ema=True),
    ),
    Kind(
        "gradient accumulation",
        ((G, "a/kernel"),),
        optimizer=lambda: opt.Adam(gradient_accumulation_steps=2),
    ),
    Kind(
        "gradient clipping: gradients before it",
        ((G, "a/kernel"),),
        optimizer=lambda: opt.SGD(clipnorm=1.0, momentum=0.9),
    ),
    Kind(
        "mixed_float16 with loss scaling; a skipped step is contained",
        ((SLOT, "loss_scale_optimizer/dynamic_scale"),),
        policy="mixed_float16",
    ),
    Kind(
        "mixed_float16 as the model's own policy",
        ((A, "a"), (SLOT, "loss_scale_optimizer/dynamic_scale")),
        model=lambda: _subclassed(Plain, dtype="mixed_float16"),
    ),
    Kind("mixed_bfloat16", ((A, "a"),), policy="mixed_bfloat16"),
    Kind("float64", ((A, "a"),), policy="float64"),
    Kind(
        "`steps_per_execution` above 1",
        ((A, "a"),),
        compiled={"steps_per_execution": 2},
    ),
    Kind(
        "a `train_step` of one's own",
        (("loss", "loss"), (G, "a/kernel")),
        base=OwnStep,
        loss=None,
        metrics=(),  # it updates none
        validates=False,
    ),
    Kind("a `compute_loss` of one's own", (("loss", "total"),), base=OwnLoss),
    Kind("`add_loss`: in the total", (("loss", "total"),), base=AddedLoss),
    Kind(
        "`tf.data` of unknown length",
        ((A, "a"),),
        data=unknown_length,
        validates=False,
    ),
    Kind(
        "batches of a `PyDataset`",
        ((A, "a"),),
        data=lambda: (Batches(), None),
        validates=False,
    ),
    Kind(
        "more steps in an execution than are kept between readings",
        ((A, "a"),),
        model=lambda: _built(Plain),
        compiled={"steps_per_execution": 300},
        data=lambda: data(32 * 301),
        validates=False,
    ),
    Kind(
        "Functional with bare `keras.ops`",
        ((A, "sqrt"), (A, "absolute")),
        model=functional_ops,
    ),
    Kind("nested models", ((A, "inner/one"), (G, "inner/two/kernel")), model=nested),
    Kind(
        "shared layers: each call",
        ((A, "twice"), (A, "twice (call 2)")),
        model=shared,
    ),
    Kind(
        "layers with dict, tuple and None outputs",
        ((A, "parts['pair'][0]"), (A, "parts['pair'][1]")),
        model=OddOutputs,
    ),
    Kind(
        "several outputs and losses",
        (("loss", "p"), ("loss", "q")),
        model=several_losses,
        loss=["mse", "mae"],
        metrics=(),
        data=two_labels,
    ),
    Kind(
        "RNN, masks and TimeDistributed: outputs, not what happens inside the loop",
        ((A, "lstm"), (A, "time_distributed"), (G, "lstm/lstm_cell/kernel")),
        model=recurrent,
        data=lambda: data(shape=(3, 2)),
    ),
    Kind(
        "sparse gradients (embeddings)",
        ((G, "embedding/embeddings"),),
        model=embedded,
        data=words,
        optimizer=lambda: opt.SGD(),
    ),
    Kind(
        "a linear layer, and tanh after it",
        ((A, "dense"),),
        model=lambda: keras.Sequential(
            [keras.Input((6,)), L.Dense(8), L.Activation("tanh"), L.Dense(1)]
        ),
    ),
    Kind(
        "an activation that is a product (swish), and dropout after it",
        ((A, "activation"),),
        model=lambda: keras.Sequential(
            [
                *(keras.Input((6,)), L.Dense(8), L.Activation("swish"), L.Dropout(0.2)),
                L.Dense(1),
            ]
        ),
    ),
    Kind(
        "an optimizer that sets its slots while it is built",
        ((G, "a/kernel"),),
        optimizer=lambda: getattr(opt, "ScheduleFreeAdamW", opt.Adam)(1e-2),
    ),
    Kind(
        "numbers that a step draws from Python's `random` while it is traced",
        ((A, "draws"),),
        model=Drawing,
    ),
    Kind("frozen layers", ((W, "a/kernel"),), model=frozen),
    Kind("residual: Dense and Add", ((A, "add"),), model=residual),
    Kind(
        "residual: convolutions, batch normalisation, Add, ReLU",
        (("layer_state", "batch_normalization/moving_variance"),),
        model=residual_convolutions,
        data=lambda: data(shape=(6, 6, 3)),
    ),
    Kind(
        "concatenated convolutions",
        ((A, "conv2d_2"),),
        model=concatenated_convolutions,
        data=lambda: data(shape=(6, 6, 3)),
    ),
    Kind(
        "Transformer block",
        ((A, "multi_head_attention"),),
        model=transformer,
        data=lambda: data(shape=(6, 4)),
    ),
    Kind(
        "a class that mixes Keras' Trainer and Layer",
        ((A, "dense"), (G, "dense/kernel")),
        model=TrainerAndLayer,
    ),
    Kind(
        "three inputs to a `train_step` of one's own",
        (("input", "input[0]"), ("input", "input[2]")),
        model=Triple,
        data=triples,
        loss=None,
        metrics=(),
        validates=False,
    ),
)

MODES: Final = ("graph", "XLA", "eager")


@contextlib.contextmanager
def mode_of(name: str) -> Iterator[dict[str, Any]]:
    """Yields the arguments of `compile` by which a model is run in a mode.

    XLA is Keras' own default, as it is where a GPU is seen.
    """
    if name != "XLA":
        yield {"run_eagerly": True} if name == "eager" else {}
        return
    with gpu_default():
        yield {}


def train(kind: Kind, build: str, mode: str, callbacks: list[Any]) -> dict[str, Any]:
    """Trains, and returns all that it comes to, by name.

    Raises:
        Exception: what the training raises; `NanWatchWarning` among them.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(3)
    keras.config.set_dtype_policy(kind.policy)
    model = BUILDS[build](kind.base) if kind.model is None else kind.model()
    x, y = kind.data()
    with warnings.catch_warnings(), mode_of(mode) as compiled:
        # Keras' own, on ends of data and on tf.data; ours stay errors.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", NanWatchWarning)
        model.compile(
            kind.optimizer(),
            kind.loss,
            metrics=list(kind.metrics) or None,
            **kind.compiled,
            **compiled,
        )
        held_out = {"validation_data": (x, y)} if kind.validates else {}
        history = model.fit(
            x, y, epochs=2, verbose=0, callbacks=callbacks, **held_out, **kind.fit
        ).history
    variables = [
        *model.variables,
        *([] if model.optimizer is None else model.optimizer.variables),
    ]
    return {
        "weights": [v.numpy() for v in variables],
        "history": [np.array(v) for _, v in sorted(history.items())],
        "random state": [
            np.array(random.random()),
            np.random.rand(2),  # noqa: NPY002
            tf.random.uniform((2,)).numpy(),
            keras.random.uniform((2,)).numpy(),
        ],
    }


def outcome(kind: Kind, build: str, mode: str, log_dir: Path) -> str:
    """Trains plain, plain and watched, and says what watching changed.

    Returns:
        "identical", "differs (...)", or why it says nothing: Keras itself cannot do it, or
        plain training differs from itself.
    """
    try:
        plain = train(kind, build, mode, [])
    except Exception as e:
        return f"not by Keras ({type(e).__name__})"
    try:
        found = train(kind, build, mode, [NanWatch(log_dir)])
    except Exception as e:
        return f"raises {type(e).__name__}: {str(e)[:200]}"
    log = read_log(log_dir)
    probes = {(p.kind, p.name) for p in log.session.train_probes}
    missing = set(kind.probes) - probes
    if log.status.state != "finished" or log.status.status not in ("clean", "contained"):
        return f"is said to be {log.status.state}, {log.status.status}"
    if missing or not {"input", "prediction", "loss", "gradient", "weight"} <= {
        k for k, _ in probes
    }:
        return f"lacks probes: {sorted(missing)}"
    differing = _differing(plain, found)
    if differing and _differing(plain, train(kind, build, mode, [])):
        return "Keras itself differs from run to run"
    return f"differs ({', '.join(differing)})" if differing else "identical"


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Returns the names of what is not the same bit for bit."""
    return [
        name
        for name in a
        if len(a[name]) != len(b[name])
        or any(x.tobytes() != y.tobytes() for x, y in zip(a[name], b[name], strict=True))
    ]
