"""What the callback's options do, on the backend that Keras runs on."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tb_nanwatch import NanWatch, NanWatchWarning, NonFiniteError, errors
from tests.backends.models import BATCH, STEPS, compiled, data_of, fit, state
from tests.writing.logs import read_log

BACKEND = keras.backend.backend()
ROOT = Path(__file__).parents[2]


def bad_data(model: Any, at: int = 4) -> Any:
    x, y, weights = data_of(model)
    x[at * BATCH] = np.nan
    return x, y, weights


def test_record_goes_on(tmp_path: Path) -> None:
    model = compiled("dense")
    fit(model, bad_data(model), NanWatch(tmp_path, experiments=0), epochs=2)
    assert read_log(tmp_path).status.steps == 2 * STEPS


def test_stop_ends_the_training(tmp_path: Path) -> None:
    model = compiled("dense")
    watch = NanWatch(tmp_path, on_nonfinite="stop", experiments=0)
    history = fit(model, bad_data(model), watch, epochs=3)
    assert len(history.history["loss"]) == 1
    status = read_log(tmp_path).status
    assert status.state == "stopped" and status.steps < STEPS


# Once with experiments, which hook into the model once more.
@pytest.mark.parametrize(("mode", "seconds"), [("raise", 10), ("fail", 0)])
def test_raise_ends_it_with_the_error_and_leaves_no_hook(
    mode: Any, seconds: int, tmp_path: Path
) -> None:
    model = compiled("dense")
    watch = NanWatch(tmp_path, on_nonfinite=mode, experiments=seconds)
    with pytest.raises(NonFiniteError) as caught:
        fit(model, bad_data(model), watch)
    assert caught.value.step == 4
    assert read_log(tmp_path).status.state == "failed"
    assert "train_step" not in vars(model)
    # It trains on, watched or not.
    again = tmp_path / "again"
    model = compiled("dense")
    fit(model, data_of(model), NanWatch(again))
    assert read_log(again).status.status == "clean"


def test_an_error_of_the_users_comes_through(tmp_path: Path) -> None:
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 3:
                raise KeyError("mine")

    model = compiled("dense")
    with pytest.raises(KeyError, match="mine"):
        fit(model, data_of(model), NanWatch(tmp_path), Stop())
    assert "train_step" not in vars(model)
    status = read_log(tmp_path).status
    assert status.state == "failed" and status.error_type == "KeyError"


def test_activations_only(tmp_path: Path) -> None:
    model = compiled("dense")
    watch = NanWatch(tmp_path, activations_only=True, experiments=0)
    fit(model, bad_data(model), watch)
    log = read_log(tmp_path)
    kinds = {p.kind for p in log.session.train_probes}
    assert not kinds & {"gradient", "optimizer", "weight", "layer_state"}
    assert log.episodes[0].start.step == 4


def test_two_watches_in_one_fit(tmp_path: Path) -> None:
    model = compiled("dense")
    watches = [NanWatch(tmp_path / place, experiments=0) for place in ("a", "b")]
    fit(model, bad_data(model), *watches)
    for place in ("a", "b"):
        assert read_log(tmp_path / place).episodes[0].start.step == 4
    assert "train_step" not in vars(model)


def test_evaluate_within_a_callback_is_left_alone(tmp_path: Path) -> None:
    class Looks(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            x, y, _ = data_of(self.model)
            self.model.evaluate(x, y, verbose=0)

    trained = []
    for watched in ([], [NanWatch(tmp_path)]):
        model = compiled("dense")
        fit(model, data_of(model), Looks(), *watched, epochs=2)
        trained.append(state(model))
    for a, b in zip(*trained, strict=True):
        np.testing.assert_array_equal(a, b)
    log = read_log(tmp_path)
    assert log.status.steps == 2 * STEPS
    assert any("evaluated the model" in note for note in log.session.notes)


class OwnStep(keras.Model):
    """A subclassed model that its first batch builds."""

    def __init__(self) -> None:
        super().__init__(name="own")
        self.hidden = [keras.layers.Dense(4, name=f"hidden_{i}") for i in range(2)]
        self.last = keras.layers.Dense(1, name="last")

    def call(self, x: Any, training: bool = False) -> Any:
        for layer in self.hidden:
            x = keras.ops.tanh(layer(x))
        return self.last(x)


def test_a_model_that_its_first_batch_builds(tmp_path: Path) -> None:
    x = np.zeros((BATCH * STEPS, 3), "float32")
    x[6 * BATCH] = np.inf
    keras.utils.set_random_seed(1)
    model = OwnStep()
    model.compile("adam", "mse")
    watch = NanWatch(tmp_path, experiments=0)
    fit(model, (x, np.zeros((len(x), 1)), None), watch)
    first = read_log(tmp_path).episodes[0]
    assert first.start.step == 6 and first.tensors[0].kind == "input"
    assert any(t.name.startswith("hidden_0") for t in first.tensors)


def test_watching_that_fails_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tb_nanwatch.writing.recording.recorder import Recorder

    def failing(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("a fault of our own")

    model = compiled("dense")
    fit(model, data_of(model), epochs=2)
    plain = state(model)
    monkeypatch.setattr(Recorder, "rows", failing)
    model = compiled("dense")
    with pytest.warns(NanWatchWarning, match="training goes on: RuntimeError"):
        fit(model, data_of(model), NanWatch(tmp_path), epochs=2)
    for a, b in zip(plain, state(model), strict=True):
        np.testing.assert_array_equal(a, b)
    assert "train_step" not in vars(model)


@pytest.mark.skipif(BACKEND != "torch", reason="the others compile, and are watched")
def test_what_pytorch_compiles_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "_TOLD", set())
    model = compiled("dense", jit_compile=True)
    watch = NanWatch(tmp_path)
    watch.set_model(model)
    with pytest.warns(NanWatchWarning, match="jit_compile=True") as caught:
        watch.on_train_begin()
        watch.on_epoch_begin(0)
        watch.on_train_end()
    assert len(caught) == 1 and list(tmp_path.iterdir()) == []


def test_no_other_backend_is_imported(tmp_path: Path) -> None:
    code = """
        import sys
        import keras
        import numpy as np
        from tb_nanwatch import NanWatch
        x = np.ones((16, 2), "float32")
        x[9] = np.nan
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("adam", "mse")
        model.fit(x, x[:, :1], batch_size=4, verbose=0, callbacks=[NanWatch(sys.argv[1], experiments=0)])
        others = {"tensorflow", "torch", "jax"} - {keras.backend.backend()}
        print("others:", sorted(others & set(sys.modules)))
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)],
        env=os.environ | {"KERAS_BACKEND": BACKEND},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "others: []" in done.stdout, done.stdout
    assert read_log(tmp_path).status.status == "diverged"
