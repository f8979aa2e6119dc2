"""A capsule is replayed in a new process: bit for bit, and its exit code tells."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tb_nanwatch.errors import CapsuleError
from tb_nanwatch.postmortem import rebuild
from tb_nanwatch.postmortem.capsule import Capsule
from tb_nanwatch.reading.cli import main
from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.reading.report import reproduction
from tb_nanwatch.record.schema import BadTensor, Position, PostMortem, StatusRecord
from tb_nanwatch.replay import replay
from tests.postmortem.programs import PROGRAMS
from tests.postmortem.steps import described, first_step

L = keras.layers


def numbers(*shape: int) -> Any:
    return np.random.default_rng(2).normal(size=shape).astype(np.float32)


def mlp() -> tuple[Any, Any, Any]:
    layers = [L.Dense(16, "relu"), L.Dropout(0.5, seed=3), L.Dense(8), L.Dropout(0.2)]
    return keras.Sequential([keras.Input((6,)), *layers, L.Dense(1)]), numbers(32, 6), 1


def conv() -> tuple[Any, Any, Any]:
    layers = [L.Conv2D(8, 3), L.BatchNormalization(), L.ReLU(), L.Flatten()]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers, L.Dense(1)])
    return model, numbers(16, 8, 8, 3), 1


def lstm() -> tuple[Any, Any, Any]:
    model = keras.Sequential([keras.Input((12, 4)), L.LSTM(8), L.Dense(1)])
    return model, numbers(16, 12, 4), 1


@pytest.mark.parametrize("make", [mlp, conv, lstm])
def test_the_compiled_step_comes_back_bit_for_bit(make: Any, tmp_path: Path) -> None:
    model, x, units = make()
    model.compile("adam", "mse")
    y = numbers(len(x), units)
    y[3] = 3e19  # its square is too large; the gradients are finite, Adam's squares not
    capsule = first_step(model, x, y)
    finite = [s for s in capsule.sums if np.isfinite(s.value)]
    assert {"activation", "gradient", "weight"} <= {s.kind for s in finite}
    vars(capsule).update(described(model))
    capsule.write(tmp_path / "c", 1 << 26)
    keras.utils.set_random_seed(99)
    found = replay(tmp_path / "c")
    assert found.compiled_same, found
    assert found.bitwise == found.compared == len(capsule.sums), found.compiled
    if make is not mlp:
        return
    status = StatusRecord(
        "0", 0, status="diverged", onset=capsule.position, origin=capsule.origin
    )
    made = PostMortem(capsule=str(tmp_path / "c"))
    script = reproduction.script(Session("run", "0", status, postmortem=made))
    with pytest.raises(SystemExit, match="1"):  # it fails as the training did
        exec(script or "", {})
    # And a batch that differs by a millionth does not.
    x[0] *= 1 + 1e-6
    (tmp_path / "d").mkdir()
    replace(capsule, data=(x, y)).write(tmp_path / "d" / "c", 1 << 26)
    assert replay(tmp_path / "d" / "c").bitwise < found.bitwise


def a_capsule(name: str, path: Path) -> Capsule:
    model, x, y = next(p for p in PROGRAMS if p.name == name).make()
    capsule = first_step(model, x, y)
    vars(capsule).update(described(model))
    capsule.write(path, 1 << 26)
    return capsule


def test_a_new_process_names_the_line_and_its_exit_code_tells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsule = a_capsule("lambda_layer", tmp_path / "c")
    assert main(["replay", str(tmp_path / "c")]) == 2
    error = capsys.readouterr().err
    assert "--model FILE.py:FUNCTION" in error and "a lambda" in error
    assert "tuner.search or fit, under if __name__" in error

    command = [sys.executable, "-m", "tb_nanwatch.reading.cli", "replay"]
    model = "tests.postmortem.programs:lambda_model"
    done = subprocess.run(
        [*command, str(tmp_path / "c"), "--model", model, "--json"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["postmortem"]["op"] == "tf.math.log"
    assert found["postmortem"]["source"]["file"].endswith("programs.py")

    capsule.origin = replace(capsule.origin, num_nan=capsule.origin.num_nan + 1)
    capsule.bad[0] = replace(capsule.bad[0], num_nan=capsule.bad[0].num_nan + 1)
    capsule.write(tmp_path / "d", 1 << 26)
    assert main(["replay", str(tmp_path / "d"), "--model", model]) == 1
    assert "did not go bad" in capsys.readouterr().out
    assert main(["replay", str(tmp_path / "nowhere")]) == 2


class OwnLayer(L.Layer):
    def call(self, x: Any) -> Any:
        return x


@keras.saving.register_keras_serializable("own")
class RegisteredLayer(OwnLayer):
    pass


class OwnModel(keras.Model):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.dense = L.Dense(1)

    def call(self, x: Any) -> Any:
        return self.dense(x)


class OwnLoss(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return keras.ops.mean(keras.ops.abs(y_true - y_pred))


class OwnMetric(keras.metrics.Mean):
    pass


class OwnOptimizer(keras.optimizers.SGD):
    pass


class OwnSchedule(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step: Any) -> Any:
        return 0.1

    def get_config(self) -> dict[str, Any]:
        return {}


def own_function(*values: Any) -> Any:
    return keras.ops.mean(keras.ops.abs(values[-1] - values[0]), axis=-1)


OWN: list[Any] = [OwnLayer, RegisteredLayer, OwnModel, OwnLoss, OwnMetric, OwnOptimizer]


def a_model(
    *layers: Any, optimizer: Any = "sgd", loss: Any = "mse", metrics: Any = ()
) -> Any:
    model = keras.Sequential([keras.Input((4,)), *layers, L.Dense(1)])
    model.compile(optimizer, loss, metrics=list(metrics))
    return model


def subclassed() -> Any:
    model = OwnModel()
    model.compile("sgd", "mse")
    model(numbers(2, 4))
    return model


OWN_CODE: dict[str, tuple[Any, list[str]]] = {
    "a layer": (lambda: a_model(OwnLayer()), ["OwnLayer"]),
    "within a layer": (lambda: a_model(keras.Sequential([OwnLayer()])), ["OwnLayer"]),
    "a registered layer": (lambda: a_model(RegisteredLayer()), ["RegisteredLayer"]),
    "a subclassed model": (subclassed, ["OwnModel"]),
    "a loss": (lambda: a_model(loss=OwnLoss()), ["OwnLoss"]),
    "a loss function": (lambda: a_model(loss=own_function), ["own_function"]),
    "a metric": (lambda: a_model(metrics=[OwnMetric()]), ["OwnMetric"]),
    "an optimizer": (lambda: a_model(optimizer=OwnOptimizer(0.1)), ["OwnOptimizer"]),
    "a schedule": (
        lambda: a_model(optimizer=keras.optimizers.SGD(OwnSchedule())),
        ["OwnSchedule"],
    ),
    "an activation": (lambda: a_model(L.Dense(2, own_function)), ["own_function"]),
    "a Lambda layer": (lambda: a_model(L.Lambda(lambda x: x)), ["a lambda"]),
    "a model of Keras' own": (
        lambda: a_model(
            L.Dense(
                4, keras.activations.gelu, kernel_regularizer=keras.regularizers.L2(0.1)
            ),
            L.BatchNormalization(),
            L.LeakyReLU(),
            optimizer=keras.optimizers.Adam(
                keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
            ),
            loss=keras.losses.Huber(),
            metrics=["mae", keras.metrics.MeanSquaredError()],
        ),
        [],
    ),
}


@pytest.mark.parametrize("what", OWN_CODE)
@pytest.mark.parametrize("home", ["__main__", __name__])
def test_own_code_is_known_wherever_it_stands(
    what: str, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Keras leaves the module out of what the program itself defines.
    for cls in (*OWN, OwnSchedule):
        monkeypatch.setattr(cls, "__module__", home)
    make, names = OWN_CODE[what]
    origin = BadTensor("loss", "loss")
    capsule = Capsule(Position("train", 0, 0, 0), origin, [origin], **described(make()))
    found = rebuild.own_code(capsule)
    assert [name.rpartition(".")[2] for name in found] == names


PROGRAM = """
import keras, numpy as np
from tb_nanwatch import NanWatch


class Log(keras.layers.Layer):
    def call(self, x):
        return keras.ops.log(x)


def build():
    model = keras.Sequential([keras.Input((4,)), Log(), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    return model


if __name__ == "__main__":
    x = np.ones((8, 4), "float32")
    x[3, 2] = -1
    build().fit(x, np.ones(8), batch_size=8, verbose=0, callbacks=[NanWatch("logs/run")])
"""


def test_a_program_with_a_layer_of_its_own_is_replayed_with_its_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(PROGRAM)
    subprocess.run([sys.executable, "train.py"], check=True, capture_output=True)
    assert main(["report", "logs", "--all"]) == 0
    capsule = str(tmp_path / "logs/run/nanwatch_capsule")
    assert f"replay {capsule} --model train.py:FUNCTION" in capsys.readouterr().out
    assert main(["replay", capsule]) == 2
    error = capsys.readouterr().err
    assert "uses code that the capsule does not hold: Log. Pass --model" in error
    assert main(["replay", capsule, "--model", "train.py:build"]) == 0
    assert "train.py:" in capsys.readouterr().out


def test_code_that_the_capsule_names_is_not_imported(tmp_path: Path) -> None:
    capsule = a_capsule("loss_division", tmp_path / "c")
    with pytest.raises(CapsuleError, match="uses code that the capsule does not hold"):
        rebuild.model_of(capsule)
    assert capsule.model is not None
    capsule.model["config"]["layers"][0]["module"] = "antigravity"
    with pytest.raises(CapsuleError, match=r"antigravity\.InputLayer"):
        rebuild.model_of(capsule)
    assert "antigravity" not in sys.modules
    with pytest.raises(CapsuleError, match=r"expected FILE\.py:FUNCTION"):
        rebuild.model_of(capsule, "nonsense")
    with pytest.raises(CapsuleError, match="expected a compiled"):
        rebuild.model_of(capsule, "tests.postmortem.programs:numbers")
