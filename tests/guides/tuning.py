"""In the manner of KerasTuner's guides.

Each program searches in `directory` and returns its tuner. With `fault=True` it makes
one mistake; `Search` says in which trials it shows, and `Fault` where.
"""

from __future__ import annotations

import keras
import keras_tuner
import numpy as np
import tensorflow as tf
from keras import layers, ops

from tests.guides.guide import Fault, Search

BATCH = 16


def houses(n=64, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 6)).astype("float32")
    y = 2.0 + np.tanh(x[:, :1]) + 0.1 * rng.normal(size=(n, 1))
    return x, y.astype("float32")


def relative_error(y_true, y_pred):
    return ops.mean(ops.abs(y_true - y_pred) / ops.abs(y_true), axis=-1)


# --- Getting started ----------------------------------------------------------------------


class MyHyperModel(keras_tuner.HyperModel):
    """Tunes the model, and how the data are prepared and the model is trained."""

    def build(self, hp):
        model = keras.Sequential()
        model.add(keras.Input((6,)))
        for i in range(hp.Int("num_layers", 1, 2)):
            model.add(
                layers.Dense(
                    hp.Int(f"units_{i}", min_value=4, max_value=12, step=4),
                    activation=hp.Choice("activation", ["relu", "tanh"]),
                )
            )
        if hp.Boolean("dropout"):
            model.add(layers.Dropout(rate=0.25, seed=1))
        model.add(layers.Dense(1))
        learning_rate = hp.Float("lr", min_value=1e-4, max_value=1e-2, sampling="log")
        model.compile(
            optimizer=keras.optimizers.Adam(learning_rate), loss="mse", metrics=["mae"]
        )
        return model

    def fit(self, hp, model, x, y, validation_data, **kwargs):
        if hp.Boolean("standardize"):
            mean, deviation = x.mean(axis=0), x.std(axis=0)
            with np.errstate(invalid="ignore"):
                x = (x - mean) / deviation
                validation_data = (
                    (validation_data[0] - mean) / deviation,
                    validation_data[1],
                )
        return model.fit(
            x, y, batch_size=BATCH, validation_data=validation_data, **kwargs
        )


def getting_started(directory, callbacks, fault=False):
    x, y = houses()
    test_x, test_y = houses(32, seed=1)
    if fault:
        x[:, 3] = 1.0  # all houses have a roof: no deviation to divide by
    tuner = keras_tuner.RandomSearch(
        MyHyperModel(),
        objective=keras_tuner.Objective("val_mae", "min"),
        max_trials=3,
        executions_per_trial=1,
        overwrite=True,
        seed=3,
        directory=directory,
        project_name="helloworld",
    )
    tuner.search(
        x,
        y,
        epochs=2,
        validation_data=(test_x, test_y),
        verbose=0,
        callbacks=callbacks,
    )
    return tuner


# --- Tailor the search space --------------------------------------------------------------


class Either(keras_tuner.HyperModel):
    """One of two kinds of model; what is tuned depends on which."""

    def __init__(self, logarithmic):
        super().__init__()
        self.logarithmic = logarithmic

    def build(self, hp):
        inputs = keras.Input((6,))
        kind = hp.Choice("model_type", ["mlp", "cnn"])
        if kind == "mlp":
            with hp.conditional_scope("model_type", ["mlp"]):
                units = hp.Int("units", 4, 8, step=4)
                h = layers.Dense(units, activation="relu")(inputs)
        else:
            with hp.conditional_scope("model_type", ["cnn"]):
                h = layers.Conv1D(2, 3, activation="relu")(layers.Reshape((6, 1))(inputs))
                if self.logarithmic and hp.Boolean("logarithmic"):
                    h = ops.log(h)  # of what a ReLU made: of zeros
                h = layers.Flatten()(h)
        model = keras.Model(inputs, layers.Dense(1)(h))
        model.compile(optimizer=keras.optimizers.Adam(hp.Choice("lr", [1e-2, 1e-3])))
        return model


def tailor_the_search_space(directory, callbacks, fault=False):
    hp = keras_tuner.HyperParameters()
    hp.Fixed("lr", value=1e-3)  # instead of the two that the model knows
    tuner = keras_tuner.GridSearch(
        Either(logarithmic=fault),
        hyperparameters=hp,
        tune_new_entries=True,
        loss="mse",  # overrides what is compiled
        metrics=["mae"],
        objective="val_loss",
        max_trials=4,
        overwrite=True,
        directory=directory,
        project_name="tailored",
    )
    tuner.search(
        *houses(),
        epochs=2,
        batch_size=BATCH,
        validation_data=houses(32, seed=1),
        verbose=0,
        callbacks=callbacks,
    )
    return tuner


# --- Tune hyperparameters in your custom training loop ------------------------------------


class EpochByEpoch(keras_tuner.HyperModel):
    """Decides after each epoch how to go on: several `fit` a trial."""

    def build(self, hp):
        model = keras.Sequential(
            [layers.Dense(hp.Choice("units", [4, 8])), layers.Dense(1)]
        )
        model.build((None, 6))
        loss = relative_error if hp.Boolean("relative", default=False) else "mse"
        model.compile(keras.optimizers.SGD(1e-2), loss=loss)
        return model

    def fit(self, hp, model, x, y, validation_data, epochs, callbacks, **kwargs):
        best = np.inf
        for _ in range(epochs):
            history = model.fit(
                x,
                y,
                batch_size=hp.Choice("batch_size", [16]),
                shuffle=False,
                callbacks=callbacks,
                **kwargs,
            )
            rate = model.optimizer.learning_rate
            model.optimizer.learning_rate = float(rate) * 0.5
            best = min(best, history.history["loss"][-1])
        # An objective that is computed by oneself is to be minimised.
        return model.evaluate(*validation_data, verbose=0)


def own_loop_of_fits(directory, callbacks, fault=False):
    x, y = houses()
    if fault:
        y[37] = 0.0
    hp = keras_tuner.HyperParameters()
    hp.Choice("relative", [False, True] if fault else [False])
    tuner = keras_tuner.GridSearch(
        EpochByEpoch(),
        hyperparameters=hp,
        max_trials=4,
        overwrite=True,
        directory=directory,
        project_name="epochs",
    )
    tuner.search(
        x,
        y,
        validation_data=houses(32, seed=1),
        epochs=2,
        verbose=0,
        callbacks=callbacks,
    )
    return tuner


class OwnSteps(keras_tuner.HyperModel):
    """A training without `fit`: the callbacks are called by hand."""

    def build(self, hp):
        model = keras.Sequential(
            [keras.Input((6,)), layers.Dense(hp.Int("units", 4, 8, 4))]
        )
        model.add(layers.Dense(1))
        return model

    def fit(self, hp, model, data, validation_data, callbacks=None, **kwargs):
        train = tf.data.Dataset.from_tensor_slices(data).batch(BATCH)
        optimizer = keras.optimizers.Adam(hp.Float("lr", 1e-4, 1e-2, sampling="log"))
        loss_fn = keras.losses.MeanSquaredError()
        for callback in callbacks:
            callback.set_model(model)

        @tf.function
        def train_step(x, y):
            with tf.GradientTape() as tape:
                loss = loss_fn(y, model(x, training=True))
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(
                zip(gradients, model.trainable_variables, strict=True)
            )

        best = np.inf
        for epoch in range(2):
            for x, y in train:
                train_step(x, y)
            loss = float(loss_fn(validation_data[1], model(validation_data[0])))
            for callback in callbacks:
                callback.on_epoch_end(epoch, logs={"my_metric": loss})
            best = min(best, loss)
        return best


def own_training_loop(directory, callbacks, fault=False):
    tuner = keras_tuner.RandomSearch(
        OwnSteps(),
        objective=keras_tuner.Objective("my_metric", "min"),
        max_trials=2,
        overwrite=True,
        seed=1,
        directory=directory,
        project_name="custom_training",
    )
    tuner.search(data=houses(), validation_data=houses(32, seed=1), callbacks=callbacks)
    return tuner


# --- A tuner of one's own -----------------------------------------------------------------


class MyTuner(keras_tuner.Tuner):
    """Trains in its own way: with a batch size that is tuned, and by the last epoch."""

    def run_trial(self, trial, x, y, validation_data, callbacks, **kwargs):
        hp = trial.hyperparameters
        model = self.hypermodel.build(hp)
        history = model.fit(
            x,
            y,
            batch_size=hp.Choice("batch_size", [16, 32]),
            shuffle=False,
            validation_data=validation_data,
            callbacks=callbacks,
            **kwargs,
        )
        self.last_weights = model.get_weights()
        return {"last_val_loss": history.history["val_loss"][-1]}


def custom_tuner(directory, callbacks, fault=False):
    x, y = houses()

    def build(hp):
        model = keras.Sequential([keras.Input((6,)), layers.Dense(8), layers.Dense(1)])
        wrong = fault and hp.get("wrong")
        model.compile(
            keras.optimizers.RMSprop(1e-3), loss=relative_error if wrong else "mse"
        )
        return model

    hp = keras_tuner.HyperParameters()
    if fault:
        y[5] = 0.0
        hp.Boolean("wrong")
    hp.Choice("batch_size", [16, 32])
    tuner = MyTuner(
        oracle=keras_tuner.oracles.GridSearchOracle(
            objective=keras_tuner.Objective("last_val_loss", "min"),
            hyperparameters=hp,
            max_trials=4,
        ),
        hypermodel=build,
        overwrite=True,
        directory=directory,
        project_name="custom_tuner",
    )
    tuner.search(
        x, y, validation_data=houses(32, seed=1), epochs=2, verbose=0, callbacks=callbacks
    )
    return tuner


# --- Handling failed trials ---------------------------------------------------------------


def failed_trials(directory, callbacks, fault=False):
    x, y = houses()
    if fault:
        x[20, 0] = 0.0  # a feature whose root has no slope there

    def build(hp):
        inputs = keras.Input((6,))
        units = hp.Choice("units", [4, 8, 12, 16])
        h = inputs
        if fault and units == 8:
            h = layers.Concatenate()([h, ops.log(ops.abs(h))])
        h = layers.Dense(units, activation="relu")(h)
        model = keras.Model(inputs, layers.Dense(1)(h))
        model.compile("adam", loss="mse")
        if model.count_params() > 120:
            raise keras_tuner.errors.FailedTrialError("Model too large!")
        if units == 12:
            raise ValueError("a model that cannot be built")
        return model

    tuner = keras_tuner.GridSearch(
        build,
        objective="val_loss",
        max_trials=4,
        max_retries_per_trial=1,
        max_consecutive_failed_trials=8,
        overwrite=True,
        directory=directory,
        project_name="failed_trials",
    )
    tuner.search(
        x,
        y,
        epochs=2,
        batch_size=BATCH,
        shuffle=False,
        validation_data=houses(32, seed=1),
        verbose=0,
        callbacks=callbacks,
    )
    return tuner


# --- Visualize the hyperparameter tuning process ------------------------------------------


def visualize_tuning(directory, callbacks, fault=False):
    test_x, test_y = houses(32, seed=1)
    if fault:
        test_y[9] = 0.0

    def build(hp):
        inputs = keras.Input((6,))
        h = layers.Dense(hp.Int("units", 4, 12, step=4), activation="relu")(inputs)
        if hp.Boolean("dropout"):
            h = layers.Dropout(0.25, seed=1)(h)
        model = keras.Model(inputs, layers.Dense(1)(h))
        model.compile(
            optimizer=keras.optimizers.Adam(hp.Float("lr", 1e-4, 1e-2, sampling="log")),
            loss="mse",
            metrics=[keras.metrics.MeanMetricWrapper(relative_error, name="relative")],
        )
        return model

    tuner = keras_tuner.RandomSearch(
        build,
        max_trials=2,
        overwrite=True,
        objective=keras_tuner.Objective("val_relative", "min"),
        seed=2,
        directory=directory,
        project_name="visualized",
    )
    tuner.search(
        *houses(),
        validation_data=(test_x, test_y),
        epochs=2,
        batch_size=BATCH,
        verbose=0,
        callbacks=[keras.callbacks.TensorBoard(f"{directory}/tb_logs"), *callbacks],
    )
    return tuner


# --- The other tuners ---------------------------------------------------------------------


def build_one_of(hp):
    """A model whose loss is chosen, where there is a choice."""
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(hp.Int("units", 4, 12), "relu"), layers.Dense(1)]
    )
    relative = hp.get("loss") == "relative"
    model.compile(
        keras.optimizers.Adam(hp.Float("lr", 1e-4, 1e-2, sampling="log")),
        loss=relative_error if relative else "mse",
    )
    return model


def choice_of_losses(fault):
    hp = keras_tuner.HyperParameters()
    hp.Choice("loss", ["mse", "relative"] if fault else ["mse"])
    return hp


def search_losses(tuner, callbacks, fault, **kwargs):
    x, y = houses()
    if fault:
        y[55] = 0.0
    tuner.search(
        x,
        y,
        batch_size=BATCH,
        shuffle=False,
        validation_data=houses(32, seed=1),
        verbose=0,
        callbacks=callbacks,
        **kwargs,
    )
    return tuner


def hyperband(directory, callbacks, fault=False):
    tuner = keras_tuner.Hyperband(
        build_one_of,
        objective="val_loss",
        max_epochs=2,
        factor=2,
        hyperband_iterations=1,
        hyperparameters=choice_of_losses(fault),
        max_consecutive_failed_trials=8,
        overwrite=True,
        seed=1,
        directory=directory,
        project_name="hyperband",
    )
    stop = keras.callbacks.EarlyStopping(monitor="val_loss", patience=5)
    return search_losses(tuner, [stop, *callbacks], fault)


def bayesian_optimization(directory, callbacks, fault=False):
    tuner = keras_tuner.BayesianOptimization(
        build_one_of,
        objective="val_loss",
        max_trials=4,
        num_initial_points=3,
        hyperparameters=choice_of_losses(fault),
        max_consecutive_failed_trials=8,
        overwrite=True,
        seed=3,  # draws both losses
        directory=directory,
        project_name="bayesian",
    )
    return search_losses(tuner, callbacks, fault, epochs=2)


GUIDES = [
    Search(
        getting_started,
        Fault(0, "input", "input", "diverged"),
        lambda values: values["standardize"],
    ),
    Search(
        tailor_the_search_space,
        Fault(0, "activation", "log", "diverged"),
        lambda values: values.get("logarithmic", False),
    ),
    Search(
        own_loop_of_fits,
        Fault(37 // BATCH, "loss", "", "diverged"),
        lambda values: values["relative"],
    ),
    Search(
        custom_tuner,
        Fault(0, "loss", "", "diverged"),  # row 5 is in the first batch of either size
        lambda values: values["wrong"],
    ),
    Search(
        failed_trials,
        Fault(20 // BATCH, "activation", "log", "diverged"),
        lambda values: values["units"] == 8,
    ),
    # Of the objective alone, in the validation after the first epoch's four steps.
    Search(
        visualize_tuning,
        Fault(4, "metric", "relative", "score_lost"),
        lambda values: True,
    ),
    Search(
        hyperband,
        Fault(55 // BATCH, "loss", "", "diverged"),
        lambda values: values["loss"] == "relative",
    ),
    Search(
        bayesian_optimization,
        Fault(55 // BATCH, "loss", "", "diverged"),
        lambda values: values["loss"] == "relative",
    ),
    # Nothing calls NaN Watch's own hooks: never in the way, but nothing is watched.
    Search(own_training_loop, None, lambda values: False),
]
