"""The line of a bad trial shows first the hyperparameters that its cause is about."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tb_nanwatch import NanWatch
from tb_nanwatch.record.schema import HParam
from tb_nanwatch.writing.telling.concerned import concerned_first
from tests.tuner.searches import linear, make, search

MANY = {"units": 64, "drop": 0.25, "kind": "relu", "deep": True, "lr": 0.31, "m": 0.95}


def order(about: float | None, said: str = "", **more: Any) -> list[str]:
    hparams = [HParam(k, v) for k, v in (MANY | more).items()]
    return [h.name for h in concerned_first(hparams, about, said)]


def test_that_which_is_to_blame_comes_first() -> None:
    assert order(float(np.float32(0.31)))[:3] == ["lr", "units", "drop"]
    said = "The learning rate is 0.31 with momentum 0.95; 64 of 64 rows."
    assert order(0.31, said)[:3] == ["lr", "m", "units"]
    assert order(1.0, lr=1.0)[0] == "lr"


@pytest.mark.parametrize("about", [None, math.nan, 0.3101, 1.0])
def test_the_order_stays_where_none_is(about: float | None) -> None:
    said = "0.3 in step 64, at loss.py:31 of v0.25.1 and x0.95; 12,000.5 in all."
    assert order(about, said) == list(MANY)


def test_the_line_of_a_trial(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def build(hp: Any) -> Any:
        for name in "abcd":
            hp.Choice(name, [1, 2])
        return linear(hp.Choice("rate", [100.0, 200.0]))

    tuner = make("RandomSearch", build, tmp_path, max_trials=1)
    search(tuner, NanWatch(tmp_path / "log"))
    printed = " ".join(capsys.readouterr().out.split())
    (line,) = re.findall(r"diverged at epoch 1, batch \d+ \((.*?)\): ", printed)
    assert re.fullmatch(r"rate [12]00, a \d, b \d, c \d", line)
