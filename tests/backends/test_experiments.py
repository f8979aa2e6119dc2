"""What would have kept a training finite, tried on the backends that can run one again."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tb_nanwatch import NanWatch, NonFiniteError
from tb_nanwatch.record.schema import PostMortem
from tests.backends.models import state
from tests.writing.logs import read_log

BACKEND = keras.backend.backend()
if BACKEND == "tensorflow":
    pytest.skip("tested elsewhere", allow_module_level=True)

L = keras.layers
# On a machine that has much else to do, a step takes long to compile.
SECONDS = 60.0
ON_JAX = pytest.mark.skipif(BACKEND != "jax", reason="of a compiled step")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(160, 6)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


class OwnStep(keras.Model):
    """Trains by a step of its own, which may do more than train."""

    def train_step(self, *args: Any) -> Any:
        return super().train_step(*args)


class Printing(keras.Model):
    """Calls Python in each step that JAX has compiled."""

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        loss = super().compute_loss(*args, **kwargs)
        if BACKEND == "jax":
            import jax

            jax.debug.callback(lambda value: None, loss)
        return loss


def model_of(optimizer: Any, cls: Any = keras.Model, **compiled: Any) -> Any:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    hidden = L.Dense(16, activation="relu")(inputs)
    # One that draws from Keras' seeds.
    outputs = L.Dense(1)(L.Dropout(0.1)(hidden))
    model = cls(inputs, outputs)
    model.compile(optimizer, "mse", **compiled)
    return model


def trained(model: Any, place: Path | None, scale: float = 1.0, **options: Any) -> None:
    options.setdefault("experiments", SECONDS)
    watches = [NanWatch(place, **options)] if place is not None else []
    x, y = scale * X, scale * Y
    model.fit(
        *(x, y),
        batch_size=8,
        epochs=2,
        shuffle=False,
        verbose=0,
        validation_data=(x[:16], y[:16]),
        callbacks=watches,
    )


def found_in(place: Path) -> PostMortem:
    result: PostMortem = read_log(place).all("postmortem")[-1].result
    return result


def test_a_rate_that_is_too_high(tmp_path: Path) -> None:
    # With a momentum and a validation pass there is more to be set back.
    model = model_of(keras.optimizers.SGD(3.0, momentum=0.5))
    trained(model, tmp_path)
    found = found_in(tmp_path)
    tried = {e.change: e for e in found.experiments}
    assert not found.untried and not tried["unchanged"].finite
    onset = read_log(tmp_path).status.onset
    # From before the failing step, which failed again, and no earlier.
    assert onset is not None and 0 == tried["unchanged"].first < onset.step
    assert tried["unchanged"].steps == onset.step + 1
    lower = [e for e in tried.values() if e.change.startswith("learning_rate/")]
    assert any(e.succeeded for e in lower)
    assert read_log(tmp_path).all("status")[-1].status == "diverged"


def test_the_model_is_as_it_was_and_its_generators_too(tmp_path: Path) -> None:
    states = []
    for place in (None, tmp_path):
        model = model_of(keras.optimizers.SGD(3.0))
        trained(model, place)
        model.optimizer.learning_rate = 1e-3
        states.append(
            [state(model), keras.ops.convert_to_numpy(keras.random.uniform((3,)))]
        )
        assert "assign" not in vars(model.optimizer.learning_rate)
    for a, b in zip(states[0][0], states[1][0], strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(states[0][1], states[1][1])


def test_what_a_callback_sets_is_set_again(tmp_path: Path) -> None:
    class Raises(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 9:
                self.model.optimizer.learning_rate = 30.0

    model = model_of(keras.optimizers.SGD(1e-3))
    model.fit(
        *(X, Y),
        batch_size=8,
        shuffle=False,
        verbose=0,
        callbacks=[Raises(), NanWatch(tmp_path)],
    )
    found = found_in(tmp_path)
    control = next(e for e in found.experiments if e.change == "unchanged")
    assert not found.untried and control.first == 0 and not control.finite


EAGER = {"run_eagerly": True}


@pytest.mark.parametrize(
    ("cls", "compiled", "options", "why"),
    [
        (OwnStep, EAGER, {}, "train_step of its own"),
        (keras.Model, {}, {"rewind_bytes": 0}, "rewind_bytes"),
        (keras.Model, {}, {"rewind_bytes": 1000}, "rewind_bytes"),
        pytest.param(*(Printing, {}, {}, "leaves traces"), marks=ON_JAX),
    ],
)
def test_what_cannot_be_run_again_from_before_says_so(
    cls: Any, compiled: Any, options: Any, why: str, tmp_path: Path
) -> None:
    model = model_of(keras.optimizers.SGD(3.0), cls, **compiled)
    trained(model, tmp_path, **options)
    found = found_in(tmp_path)
    assert why in found.untried
    # What begins with the failing step is tried all the same.
    assert found.experiments and found.experiments[0].first > 0


def test_an_infinite_rate_is_not_divided(tmp_path: Path) -> None:
    trained(model_of(keras.optimizers.SGD(float("inf"))), tmp_path)
    found = found_in(tmp_path)
    rates = [e for e in found.experiments if e.change.startswith("learning_rate/")]
    assert len(rates) <= 1 and not any(e.tried for e in rates)
    # PyTorch: the state from before its update was made by running the steps again.
    assert found.reproduced and found.op == {"torch": "torch.add"}.get(BACKEND)


def test_what_acts_on_the_settings_of_a_step_is_seen_by_it(tmp_path: Path) -> None:
    # Too large a leap, and no more: gradients of at most 1 are no danger at this rate.
    model = model_of(keras.optimizers.SGD(0.5))
    trained(model, tmp_path, scale=30.0)
    tried = {e.change: e for e in found_in(tmp_path).experiments}
    assert not tried["unchanged"].finite and tried["clip"].finite
    assert model.optimizer.global_clipnorm is None


@pytest.mark.parametrize("at", [0, 6])
def test_a_bad_row_is_left_out(at: int, tmp_path: Path) -> None:
    model = model_of(keras.optimizers.SGD(1e-3))
    x = X.copy()
    x[8 * at + 5] = 1e30
    watch = NanWatch(tmp_path, experiments=SECONDS)
    model.fit(x, Y, batch_size=8, shuffle=False, verbose=0, callbacks=[watch])
    tried = {e.change: e for e in found_in(tmp_path).experiments}
    assert not tried["unchanged"].finite and tried["rows"].finite
    # A second epoch's batches are the first one's again.
    assert tried["rows"].steps > at + 1


def test_a_row_of_an_earlier_batch_is_found_and_left_out(tmp_path: Path) -> None:
    model = model_of(keras.optimizers.SGD(1e-2))
    x = X.copy()
    x[8 * 3 + 5] = 1e6
    watch = NanWatch(tmp_path, experiments=SECONDS)
    model.fit(x, Y, batch_size=8, shuffle=False, verbose=0, callbacks=[watch])
    found = found_in(tmp_path)
    onset = read_log(tmp_path).status.onset
    assert onset is not None and onset.step > 3
    assert {(o.rows[0], o.ago) for o in found.outliers} == {(5, onset.step - 3)}
    tried = {e.change: e for e in found.experiments}
    assert not tried["unchanged"].finite and tried["rows"].finite


def test_a_run_that_runs_away_and_stays_finite(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), L.Dense(1)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    trained(model, tmp_path)
    assert read_log(tmp_path).all("status")[-1].status == "runaway"
    tried = {e.change: e for e in found_in(tmp_path).experiments}
    assert tried["unchanged"].finite and not tried["unchanged"].learns
    assert tried["learning_rate/10"].learns


@pytest.mark.parametrize("mode", ["stop", "raise"])
def test_it_is_tried_where_the_training_is_ended(mode: Any, tmp_path: Path) -> None:
    model = model_of(keras.optimizers.SGD(3.0))
    ended = pytest.raises(NonFiniteError) if mode == "raise" else nullcontext()
    with ended:
        trained(model, tmp_path, on_nonfinite=mode)
    tried = {e.change: e for e in found_in(tmp_path).experiments}
    assert tried["learning_rate/10"].finite or tried["learning_rate/100"].finite


@ON_JAX
def test_a_compiled_step_is_run_again_and_not_traced_again(tmp_path: Path) -> None:
    traced = [0]

    class Counts(keras.Model):
        def train_step(self, *args: Any) -> Any:
            traced[0] += 1
            return super().train_step(*args)

    seen = []
    for options in ({"experiments": 0}, {}):
        traced[0] = 0
        model = model_of(keras.optimizers.SGD(3.0, momentum=0.5), Counts)
        trained(model, tmp_path / str(len(seen)), **options)
        seen.append(traced[0])
    found = found_in(tmp_path / "1")
    tried = [e for e in found.experiments if e.tried]
    assert not found.untried and len(tried) > 4
    # Once for all that begin with the failing step, and for each that a compiled step
    # does not see.
    anew = {"clip", "clip_values", "optimizer", "float32"}
    begins_late = any(e.first > 0 for e in tried if e.change not in anew)
    assert seen[1] - seen[0] == begins_late + sum(e.change in anew for e in tried)
