"""What would have kept a training finite, tried on the backends that can run one again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tb_nanwatch import NanWatch
from tb_nanwatch.record.schema import PostMortem
from tests.backends.models import state
from tests.writing.logs import read_log

if keras.backend.backend() != "torch":
    pytest.skip("tested elsewhere, or not made there", allow_module_level=True)

L = keras.layers
RNG = np.random.default_rng(0)
X = RNG.normal(size=(160, 6)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


class OwnStep(keras.Model):
    """Trains by a step of its own, which may do more than train."""

    def train_step(self, data: Any) -> Any:
        return super().train_step(data)


def model_of(optimizer: Any, own: bool = False) -> Any:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    hidden = L.Dense(16, activation="relu")(inputs)
    # One that draws from Keras' seeds.
    outputs = L.Dense(1)(L.Dropout(0.1)(hidden))
    model = (OwnStep if own else keras.Model)(inputs, outputs)
    model.compile(optimizer, "mse")
    return model


def trained(model: Any, place: Path | None, scale: float = 1.0, **options: Any) -> None:
    watches = [NanWatch(place, **options)] if place is not None else []
    x, y = scale * X, scale * Y
    model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=watches)


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
        states.append([state(model), keras.random.uniform((3,)).cpu().numpy()])
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


@pytest.mark.parametrize(
    ("own", "options", "why"),
    [(True, {}, "train_step of its own"), (False, {"rewind_bytes": 0}, "rewind_bytes")],
)
def test_what_cannot_be_run_again_from_before_says_so(
    own: bool, options: Any, why: str, tmp_path: Path
) -> None:
    trained(model_of(keras.optimizers.SGD(3.0), own), tmp_path, **options)
    assert why in found_in(tmp_path).untried


def test_an_infinite_rate_is_not_divided(tmp_path: Path) -> None:
    trained(model_of(keras.optimizers.SGD(float("inf"))), tmp_path)
    found = found_in(tmp_path)
    rates = [e for e in found.experiments if e.change.startswith("learning_rate/")]
    assert len(rates) <= 1 and not any(e.tried for e in rates)
    # The state from before its update was made by running the steps again.
    assert found.reproduced and found.op == "torch.add"
