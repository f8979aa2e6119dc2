"""The card at a search's end and the report tell of the same trial."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import pytest

from tb_nanwatch import NanWatch
from tests.tuner.searches import good, linear, make, overview, search


def logarithm(hp: Any) -> Any:
    """A model whose loss takes the logarithm of 0, or of a negative number."""
    shift = hp.Choice("shift", [-1.0, 0.0, -2.0])

    def loss(labels: Any, found: Any) -> Any:
        return keras.ops.mean(keras.ops.log(found * 0.0 + shift))

    model = linear(0.01)
    model.compile("sgd", loss)
    return model


def test_of_two_kinds_of_a_cause_both_tell_of_the_commoner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tuner = make("GridSearch", logarithm, tmp_path, max_trials=3)
    search(tuner, NanWatch(tmp_path / "log"), epochs=1, batch_size=16)
    printed = " ".join(capsys.readouterr().out.split())
    at_end = printed[printed.index("watched trials went bad") :]
    assert "logarithm of a negative number" in at_end.lower()
    (whose,) = re.findall(r"\((Trial #\d); 2 of 3 bad alike\)", at_end)
    answer = overview(tmp_path / "log")["searches"][0]["answer"]
    assert (answer["whose"], answer["count"], answer["of"]) == (whose, 2, 3)
    assert "negative" in answer["cause"] and answer["fix"] in at_end


def test_only_the_latest_attempt_of_a_trial_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = iter([1e9, 0.01])

    class Rate(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            self.model.optimizer.learning_rate = next(rates)

    more = {"max_trials": 1, "max_retries_per_trial": 2}
    tuner = make("RandomSearch", good, tmp_path, **more)
    watch = NanWatch(tmp_path / "log", on_nonfinite="raise", experiments=0)
    search(tuner, watch, Rate(), batch_size=8)
    printed = " ".join(capsys.readouterr().out.split())
    assert not list(rates), "the trial was tried again"
    assert "All finite: 1 trial." in printed and "went bad." not in printed
    (found,) = overview(tmp_path / "log")["searches"]
    assert found["by_status"] == {"clean": 1}
