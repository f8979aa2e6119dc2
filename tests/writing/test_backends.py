"""On another backend of Keras, without TensorFlow: one sentence, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import keras
import pytest

from tb_nanwatch import NanWatch, NanWatchWarning, errors
from tests.writing.test_callback import fit, mlp

# TensorFlow cannot be imported here, and Keras runs on NumPy: a backend of its own, which
# trains nothing, so that what Keras' fit calls is called by hand.
BEFORE = """
import sys, types, unittest.mock, warnings

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "tf_keras"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
warnings.simplefilter("always")

# Keras' NumPy backend takes some operations of JAX, none of which runs here.
sys.modules.update(dict.fromkeys(("jax", "jax.lax"), unittest.mock.MagicMock()))
for name in ("keras.src.backend.jax", "keras.src.backend.jax.math"):
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(fft=None, fft2=None)

import keras
assert keras.backend.backend() == "numpy"

def told(caught):
    return [str(w.message) for w in caught if "NanWatch" in w.category.__name__]

def train(model, callbacks):
    hooks = keras.callbacks.CallbackList(callbacks, model=model)
    hooks.on_train_begin()
    for epoch in range(2):
        hooks.on_epoch_begin(epoch)
        hooks.on_train_batch_begin(0)
        hooks.on_train_batch_end(0, {"loss": 1.0})
        hooks.on_test_begin()
        hooks.on_test_end()
        hooks.on_epoch_end(epoch, {"loss": 1.0})
    hooks.on_train_end()

def model():
    found = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    found.compile("sgd", "mse")
    return found

log, project = sys.argv[1:]
"""
SENTENCE = (
    "NaN Watch watches Keras 3 on TensorFlow, PyTorch and JAX; the backend here is 'numpy'. "
    'Set the environment variable KERAS_BACKEND="tensorflow" or "torch" or "jax" before '
    "importing keras."
)


def run(code: str, tmp_path: Path) -> list[str]:
    """Returns the lines that a program prints on Keras' NumPy backend."""
    environment = os.environ | {"KERAS_BACKEND": "numpy"}
    program = BEFORE + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "log", tmp_path / "tuner"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_blocker_blocks(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="No module named 'tensorflow"):
        run("import tensorflow", tmp_path)


def test_trainings_are_told_once_and_left_alone(tmp_path: Path) -> None:
    lines = run(
        """
        from tb_nanwatch import NanWatch
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            one = model()
            before = dict(vars(one))
            train(one, [NanWatch(log)])
            assert {k: v for k, v in vars(one).items() if before.get(k) is not v} == {}
            train(one, [NanWatch(log)])
            train(model(), [NanWatch(log)])
        print("\\n".join(told(caught)))
        assert "tensorflow" not in sys.modules
        """,
        tmp_path,
    )
    assert lines == [SENTENCE]
    assert not (tmp_path / "log").exists()


def test_a_search_is_told_once(tmp_path: Path) -> None:
    lines = run(
        """
        import keras_tuner
        from tb_nanwatch import NanWatch

        class Own(keras_tuner.HyperModel):
            def build(self, hp):
                hp.Int("units", 1, 8)
                return model()
            def fit(self, hp, model, callbacks=None, **kwargs):
                # Saving the best epoch takes a training.
                train(model, [c for c in callbacks if isinstance(c, NanWatch)])
                return 1.0

        tuner = keras_tuner.RandomSearch(
            Own(), keras_tuner.Objective("default_objective", "min"), 3, directory=project
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            tuner.search(callbacks=[NanWatch(log)], verbose=0)
        print("\\n".join(told(caught)))
        print(sorted(t.status for t in tuner.oracle.trials.values()))
        assert "tensorflow" not in sys.modules
        """,
        tmp_path,
    )
    assert lines[0] == SENTENCE and "COMPLETED" in lines[-1]
    assert len(lines) == 2, lines


@pytest.mark.parametrize("backend", ["openvino"])
def test_the_sentence_comes_before_anything_of_the_model_is_touched(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "_TOLD", set())
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)

    class Untouchable(keras.Model):
        @property
        def distribute_strategy(self) -> Any:
            raise AttributeError("distribute_strategy")

        @distribute_strategy.setter
        def distribute_strategy(self, value: Any) -> None:
            pass

    with pytest.warns(NanWatchWarning) as caught:
        for _ in range(3):
            watch = NanWatch(tmp_path)
            watch.set_model(Untouchable())
            watch.on_train_begin()
            watch.on_epoch_end(0)
            watch.on_train_end()
    (message,) = [str(w.message) for w in caught]
    assert message == SENTENCE.replace("'numpy'", repr(backend))
    assert list(tmp_path.iterdir()) == []


def test_on_tensorflow_nothing_is_said(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    fit(mlp(), NanWatch(tmp_path))
    assert [w for w in recwarn if w.category is NanWatchWarning] == []
    assert list(tmp_path.iterdir()) != []
