"""A call of Keras' step without the wrapping of its results: nothing but its time is another."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tb_nanwatch import NanWatch
from tb_nanwatch.compat import keras as private
from tb_nanwatch.writing.backends.tensorflow import fits
from tb_nanwatch.writing.backends.tensorflow.direct import direct

X = np.random.default_rng(0).normal(size=(22, 4)).astype(np.float32)
Y = X[:, :1] * 2


class Own(keras.Model):
    """A model whose step returns what an optional of `tf.data` has to put together again."""

    def train_step(self, data: Any) -> Any:
        logs = super().train_step(data)
        return {"z_first": 1.5, **logs, "a_last": tf.constant([1.0, 2.0])}


class OwnFunction(keras.Model):
    """A model that makes the function that trains itself."""

    def make_train_function(self, force: bool = False) -> Any:
        self.train_function = lambda iterator: self.train_step(next(iterator))
        return self.train_function


def model(cls: type = keras.Model, **compiled: Any) -> Any:
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,))
    x = keras.layers.Dropout(0.3)(keras.layers.Dense(8, "relu")(inputs))
    made = cls(inputs, keras.layers.Dense(1)(x))
    made.compile("adam", "mse", metrics=["mae"], **compiled)
    return made


def functions(made: Any) -> tuple[Any, Any]:
    """Returns the function that trains, as Keras made it, and what `direct` makes of it."""
    made.make_train_function()
    return made.train_function, direct(made, made.train_function)


@pytest.fixture
def wrapped(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """Counts optionals that Python takes apart."""
    count = 0
    cls = type(tf.experimental.Optional.from_value(1.0))
    original = cls.get_value

    def get_value(self: Any, name: Any = None) -> Any:
        nonlocal count
        count += tf.executing_eagerly()
        return original(self, name)

    monkeypatch.setattr(cls, "get_value", get_value)
    yield lambda: count


def unknown_length() -> Any:
    def rows() -> Iterator[Any]:
        for first in range(0, len(X), 5):  # the last batch is smaller
            yield X[first : first + 5], Y[first : first + 5]

    spec = (tf.TensorSpec([None, 4]), tf.TensorSpec([None, 1]))
    return tf.data.Dataset.from_generator(rows, output_signature=spec)


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("cls", [keras.Model, Own])
def test_a_training_is_as_without(
    cls: type, jit: bool, tmp_path: Path, wrapped: Callable[[], int]
) -> None:
    def trained(*callbacks: Any) -> tuple[Any, Any, Any, int]:
        made, logged = model(cls, jit_compile=jit), []
        keep = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: logged.append(
                [(key, np.array(value).tolist()) for key, value in logs.items()]
            )
        )
        before = wrapped()
        with warnings.catch_warnings(record=True) as caught:  # that the data have ended
            warnings.simplefilter("always")
            history = made.fit(
                unknown_length(),
                validation_data=(X, Y),
                epochs=3,
                shuffle=False,
                verbose=0,
                callbacks=[keep, *callbacks],
            )
        logged.append([str(w.message) for w in caught])
        return history.history, made.get_weights(), logged, wrapped() - before

    plain, watched = trained(), trained(NanWatch(tmp_path))
    assert repr(plain[0]) == repr(watched[0])
    assert plain[2] == watched[2]
    for a, b in zip(plain[1], watched[1], strict=True):
        np.testing.assert_array_equal(a, b)
    assert plain[3] > 15  # Keras took apart one a step, as this test counts them
    assert watched[3] == 0


def test_keras_own_function_is_called_where_its_step_is_not_all() -> None:
    for made in (
        model(steps_per_execution=2),
        model(run_eagerly=True),
        model(OwnFunction),
    ):
        function, called = functions(made)
        assert called is function
    function, called = functions(model())
    assert called is not function


def test_batches_of_another_kind_go_through_keras_own_function() -> None:
    made = model()
    _, called = functions(made)
    by_list = called(iter([(tf.constant(X[:5]), tf.constant(Y[:5]))]))
    assert {key: float(v) for key, v in by_list.items()} == pytest.approx(
        {"loss": float(by_list["loss"]), "mae": float(by_list["mae"])}
    )
    with pytest.raises((StopIteration, tf.errors.OutOfRangeError)):
        called(iter(tf.data.Dataset.from_tensors((X, Y)).take(0)))


@pytest.mark.parametrize("name", ["one_step_on_data", "multi_step_on_iterator"])
def test_without_the_name_keras_own_function_is_called(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    captured = private._captured
    monkeypatch.setattr(
        private,
        "_captured",
        lambda f: {key: value for key, value in captured(f).items() if key != name},
    )
    function, called = functions(model())
    assert called is function
    made = model()
    made.fit(X, Y, epochs=1, verbose=0, callbacks=[NanWatch(tmp_path)])
    assert not np.isnan(made.predict(X, verbose=0)).any()


def test_a_planted_step_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test of trainings can fail: a call that moved a weight would be told."""

    def moving(made: Any, function: Any) -> Any:
        def call(iterator: Any) -> Any:
            logs = function(iterator)
            made.trainable_variables[0].assign_add(made.trainable_variables[0])
            return logs

        return call

    monkeypatch.setattr(fits, "direct", moving)
    plain, watched = model(), model()
    data = tf.data.Dataset.from_tensors((X, Y)).repeat()
    how = {"steps_per_epoch": 1, "shuffle": False, "verbose": 0}
    plain.fit(data, **how)
    watched.fit(data, callbacks=[NanWatch(tmp_path)], **how)
    assert not np.array_equal(plain.get_weights()[0], watched.get_weights()[0])
