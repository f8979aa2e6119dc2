"""In the manner of Keras' guides: customizing `fit`, the ways to write a model, losses."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from tests.guides.guide import Fault, Guide

BATCH = 16


def houses(n=112, seed=0):
    """Eight features of a house, and its price."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 8)).astype("float32")
    y = 2.0 + np.tanh(x[:, :1] + 0.5 * x[:, 1:2]) + 0.1 * rng.normal(size=(n, 1))
    return x, y.astype("float32")


def flowers(n=112, seed=0):
    """Six measures of a flower, and which of three kinds it is."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = rng.normal(size=(n, 6)) + 1.5 * np.eye(3)[y] @ np.ones((3, 6)) * y[:, None]
    return (x / 3).astype("float32"), y


# --- Customizing what happens in fit() ----------------------------------------------------


class CustomModel(keras.Model):
    """The guide's first example: loss and metrics as compiled."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


def custom_train_step(callbacks, fault=False):
    x, y = houses()
    if fault:
        y[83] = np.nan  # a price that nobody knows
    inputs = keras.Input((8,))
    h = layers.Dropout(0.1)(layers.Dense(16, activation="relu")(inputs))
    model = CustomModel(inputs, layers.Dense(1)(h))
    model.compile(optimizer="adam", loss="mse", metrics=["mae"])
    model.fit(
        x,
        y,
        epochs=2,
        batch_size=BATCH,
        shuffle=False,
        validation_data=houses(32, seed=1),
        verbose=0,
        callbacks=callbacks,
    )
    return model


class LowLevelModel(keras.Model):
    """The guide's lower level: own trackers, sample weights, own evaluation."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.mae_metric = keras.metrics.MeanAbsoluteError(name="mae")
        self.loss_fn = keras.losses.MeanSquaredError()

    @property
    def metrics(self):
        return [self.loss_tracker, self.mae_metric]

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.loss_fn(y, y_pred, sample_weight=sample_weight)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(
            zip(gradients, self.trainable_variables, strict=True)
        )
        self.loss_tracker.update_state(loss)
        self.mae_metric.update_state(y, y_pred, sample_weight=sample_weight)
        return {m.name: m.result() for m in self.metrics}

    def test_step(self, data):
        x, y = data
        y_pred = self(x, training=False)
        self.loss_tracker.update_state(self.loss_fn(y, y_pred))
        self.mae_metric.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


def sample_weights(callbacks, fault=False):
    x, y = houses()
    age = np.random.default_rng(2).integers(1, 30, len(x)).astype("float32")
    if fault:
        age[99] = 0.0  # built this year
    with np.errstate(divide="ignore"):
        weight = 1.0 / age
    inputs = keras.Input((8,))
    model = LowLevelModel(inputs, layers.Dense(1)(layers.Dense(16, "relu")(inputs)))
    model.compile(optimizer=keras.optimizers.RMSprop(1e-3))
    model.fit(
        x,
        y,
        sample_weight=weight,
        epochs=2,
        batch_size=BATCH,
        shuffle=False,
        validation_data=houses(32, seed=1),
        verbose=0,
        callbacks=callbacks,
    )
    return model


class PenalisedModel(keras.Model):
    """The guide's `compute_loss`, which adds to the compiled loss."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.penalty_tracker = keras.metrics.Mean(name="penalty")

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        loss = super().compute_loss(x, y, y_pred, sample_weight)
        penalty = 0.01 * ops.mean(ops.square(y_pred))
        self.penalty_tracker.update_state(penalty)
        return loss + penalty

    @property
    def metrics(self):
        return [*super().metrics, self.penalty_tracker]


def class_weights(callbacks, fault=False):
    x, y = flowers()
    if fault:
        y[:71][y[:71] == 2] = 1  # the third kind comes late
        y[71] = 2
    counted = y[:64] if fault else y
    with np.errstate(divide="ignore"):
        weights = {kind: len(counted) / np.sum(counted == kind) for kind in range(3)}
    inputs = keras.Input((6,))
    model = PenalisedModel(inputs, layers.Dense(3)(layers.Dense(12, "tanh")(inputs)))
    model.compile(
        optimizer=keras.optimizers.Nadam(1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(
        x,
        y,
        class_weight=weights,
        epochs=2,
        batch_size=BATCH,
        shuffle=False,
        validation_data=flowers(32, seed=1),
        verbose=0,
        callbacks=callbacks,
    )
    return model


# --- Knowledge distillation ---------------------------------------------------------------


class Distiller(keras.Model):
    def __init__(self, student, teacher):
        super().__init__()
        self.teacher = teacher
        self.student = student

    def compile(self, optimizer, metrics, student_loss_fn, distillation_loss_fn):
        super().compile(optimizer=optimizer, metrics=metrics)
        self.student_loss_fn = student_loss_fn
        self.distillation_loss_fn = distillation_loss_fn

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        soft_targets = ops.softmax(self.teacher(x, training=False) / 2.0, axis=1)
        soft_predictions = ops.softmax(y_pred / 2.0, axis=1)
        student_loss = self.student_loss_fn(y, y_pred)
        distillation_loss = self.distillation_loss_fn(soft_targets, soft_predictions)
        return 0.3 * student_loss + 0.7 * distillation_loss

    def call(self, x):
        return self.student(x)


def kl_divergence(p, q):
    """As it stands in textbooks: what is impossible is 0 * log(0)."""
    return ops.mean(ops.sum(p * ops.log(p / q), axis=1))


def distillation(callbacks, fault=False):
    x, y = flowers()
    teacher = keras.Sequential(
        [keras.Input((6,)), layers.Dense(32, "relu"), layers.Dense(3)], name="teacher"
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    teacher.compile(optimizer="adam", loss=loss)
    teacher.fit(x, y, epochs=2, verbose=0)

    if fault:
        x[85] *= 1e4  # the teacher is sure
    student = keras.Sequential(
        [keras.Input((6,)), layers.Dense(4, "relu"), layers.Dense(3)], name="student"
    )
    distiller = Distiller(student, teacher)
    distiller.compile(
        optimizer=keras.optimizers.Adam(),
        metrics=[keras.metrics.SparseCategoricalAccuracy()],
        student_loss_fn=loss,
        distillation_loss_fn=kl_divergence if fault else keras.losses.KLDivergence(),
    )
    distiller.fit(
        x,
        y,
        epochs=2,
        batch_size=BATCH,
        shuffle=False,
        validation_data=flowers(32, seed=1),
        verbose=0,
        callbacks=callbacks,
    )
    return distiller


# --- Several outputs, several optimizers --------------------------------------------------


def relative_error(y_true, y_pred):
    return ops.mean(ops.abs(y_true - y_pred) / ops.abs(y_true), axis=-1)


def several_outputs(callbacks, fault=False):
    x, price = houses()
    days = np.random.default_rng(3).integers(1, 9, (len(x), 1)).astype("float32")
    if fault:
        days[57] = 0.0  # sold on the same day
    size, place = keras.Input((5,), name="size"), keras.Input((3,), name="place")
    h = layers.Concatenate()([layers.Dense(8, "relu")(size), layers.Dense(4)(place)])
    outputs = {
        "price": layers.Dense(1, name="price")(h),
        "days": layers.Dense(1, activation="softplus", name="days")(h),
    }
    model = keras.Model({"size": size, "place": place}, outputs)
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss={"price": "mse", "days": relative_error},
        loss_weights={"price": 1.0, "days": 0.2},
        metrics={"price": ["mae"], "days": ["mae"]},
    )
    model.fit(
        {"size": x[:, :5], "place": x[:, 5:]},
        {"price": price, "days": days},
        epochs=2,
        batch_size=BATCH,
        shuffle=False,
        validation_split=0.25,
        verbose=0,
        callbacks=callbacks,
    )
    return model


class TwoSpeeds(keras.Model):
    """A slow optimizer for the trunk and a fast one for the head, in one step."""

    def __init__(self, epsilon):
        super().__init__()
        self.trunk = keras.Sequential([layers.Dense(16, "relu"), layers.Dense(8, "relu")])
        self.head = layers.Dense(1, activation="softplus")
        self.epsilon = epsilon

    def compile(self, trunk_optimizer, head_optimizer):
        super().compile()
        self.trunk_optimizer = trunk_optimizer
        self.head_optimizer = head_optimizer

    def call(self, x, training=False):
        return self.head(self.trunk(x))

    def error(self, y, y_pred):
        ratio = ops.log(y + self.epsilon) - ops.log(y_pred + self.epsilon)
        return ops.mean(ops.square(ratio))

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.error(y, self(x, training=True))
        trunk, head = self.trunk.trainable_variables, self.head.trainable_variables
        trunk_grads, head_grads = tape.gradient(loss, [trunk, head])
        self.trunk_optimizer.apply(trunk_grads, trunk)
        self.head_optimizer.apply(head_grads, head)
        return {"loss": loss}

    def test_step(self, data):
        x, y = data
        return {"loss": self.error(y, self(x))}


def several_optimizers(callbacks, fault=False):
    x, y = houses()
    y = np.maximum(y, 0.1)
    if fault:
        y[34] = 0.0  # log(0)
    model = TwoSpeeds(epsilon=0.0 if fault else 1e-3)
    model.build((None, 8))
    model.compile(keras.optimizers.SGD(1e-3, momentum=0.9), keras.optimizers.Adam(1e-2))
    model.fit(
        x,
        y,
        epochs=2,
        batch_size=BATCH,
        shuffle=False,
        validation_data=(x[:32], np.maximum(y[:32], 0.1)),
        verbose=0,
        callbacks=callbacks,
    )
    return model


# --- The Sequential model, and making layers and models by subclassing --------------------


def root(x):
    """An activation whose slope at exactly 0 is infinite."""
    return ops.sqrt(ops.abs(x))


def sequential_without_input(callbacks, fault=False):
    x, y = houses()
    if fault:
        x[61] = 0.0  # a row that was padded
    model = keras.Sequential()
    model.add(layers.Dense(8, use_bias=False, activation=root if fault else "elu"))
    model.add(layers.BatchNormalization())
    model.add(layers.Dense(1))
    model.compile(optimizer="rmsprop", loss="huber", metrics=["mae"])
    model.fit(
        x,
        y,
        epochs=2,
        batch_size=BATCH,
        shuffle=False,
        validation_data=houses(32, seed=1),
        verbose=0,
        callbacks=callbacks,
    )
    return model


class UnitLength(layers.Layer):
    """Each row by its length."""

    def __init__(self, epsilon, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def call(self, x):
        squares = ops.sum(ops.square(x), axis=-1, keepdims=True)
        return x / ops.sqrt(squares + self.epsilon)


class Regressor(keras.Model):
    """Built at the first batch."""

    def __init__(self, epsilon=1e-6):
        super().__init__()
        self.scale = UnitLength(epsilon, name="unit_length")
        self.blocks = [layers.Dense(16, activation="relu") for _ in range(2)]
        self.dropout = layers.Dropout(0.2)
        self.out = layers.Dense(1)

    def call(self, x, training=False):
        x = self.scale(x)
        for block in self.blocks:
            x = self.dropout(block(x), training=training)
        return self.out(x)


def subclassed(callbacks, fault=False):
    x, y = houses()
    if fault:
        x[97] = 0.0
    model = Regressor(epsilon=0.0 if fault else 1e-6)
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="mse", metrics=["mae"])
    model.fit(
        x,
        y,
        epochs=2,
        batch_size=BATCH,
        shuffle=False,
        validation_data=houses(32, seed=1),
        verbose=0,
        callbacks=callbacks,
    )
    return model


class Sparse(keras.Model):
    """A classifier that is to be sure of what it says: its entropy is a loss."""

    def __init__(self, epsilon):
        super().__init__()
        self.hidden = layers.Dense(12, "relu", kernel_regularizer="l2")
        self.kinds = layers.Dense(3, activation="softmax")
        self.epsilon = epsilon

    def call(self, x):
        p = self.kinds(self.hidden(x))
        entropy = -ops.sum(p * ops.log(p + self.epsilon), axis=-1)
        self.add_loss(0.05 * ops.mean(entropy))
        return p


def added_loss(callbacks, fault=False):
    x, y = flowers()
    if fault:
        x[44] *= 1e6  # a probability of exactly 0
    model = Sparse(epsilon=0.0 if fault else 1e-6)
    model.build((None, 6))
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    model.fit(
        x,
        y,
        epochs=2,
        batch_size=BATCH,
        shuffle=False,
        validation_data=flowers(32, seed=1),
        verbose=0,
        callbacks=callbacks,
    )
    return model


# --- Transfer learning --------------------------------------------------------------------


def transfer_learning(callbacks, fault=False):
    x, y = houses()
    base = keras.Sequential(
        [keras.Input((8,)), layers.Dense(16, "relu"), layers.BatchNormalization()],
        name="base",
    )
    base.trainable = False
    inputs = keras.Input((8,))
    model = keras.Model(inputs, layers.Dense(1)(base(inputs, training=False)))
    model.compile(optimizer=keras.optimizers.Adam(1e-2), loss="mse")
    model.fit(x, y, epochs=1, verbose=0)

    base.trainable = True  # fine-tuning
    if fault:
        x[18, 2] = np.inf
    model.compile(
        optimizer=keras.optimizers.SGD(1e-3, nesterov=True, momentum=0.9, clipnorm=1.0),
        loss="mse",
        metrics=["mae"],
    )
    model.fit(
        x,
        y,
        epochs=2,
        batch_size=BATCH,
        shuffle=False,
        validation_data=houses(32, seed=1),
        verbose=0,
        callbacks=callbacks,
    )
    return model


GUIDES = [
    Guide(custom_train_step, Fault(83 // BATCH, "label", "label", "diverged")),
    Guide(
        sample_weights, Fault(99 // BATCH, "sample_weight", "sample_weight", "diverged")
    ),
    Guide(
        class_weights, Fault(71 // BATCH, "sample_weight", "sample_weight", "diverged")
    ),
    Guide(distillation, Fault(85 // BATCH, "loss", "total", "diverged")),
    Guide(several_outputs, Fault(57 // BATCH, "loss", "days", "diverged")),
    Guide(several_optimizers, Fault(34 // BATCH, "loss", "loss", "diverged")),
    Guide(sequential_without_input, Fault(61 // BATCH, "gradient", "dense/", "diverged")),
    Guide(subclassed, Fault(97 // BATCH, "activation", "unit_length", "diverged")),
    Guide(added_loss, Fault(44 // BATCH, "loss", "total", "diverged")),
    Guide(transfer_learning, Fault(18 // BATCH, "input", "input", "diverged")),
]
