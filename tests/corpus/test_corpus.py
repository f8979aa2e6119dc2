"""Programs with a known fault, really run: is their cause named?

A fixed subset that stays within the time of a test: of each cause the first program whose
fault has a consequence, of two. NANWATCH_CORPUS=12 runs so many programs of each cause.
`make corpus` runs the whole of it into docs/diagnosis.md.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tb_nanwatch import NanWatch
from tb_nanwatch.diagnosis.ranking import Cause, Facts, diagnose
from tests.corpus.programs import CAUSES, CLEAN, CONTAINED, programs
from tests.corpus.renamed import longer, renamed
from tests.corpus.run import facts_from, name_of, read_facts
from tests.tuner.searches import sessions

PER_CAUSE = int(os.environ.get("NANWATCH_CORPUS", "2"))
ONE_IS_ENOUGH = "NANWATCH_CORPUS" not in os.environ
SEED = 20


def decided(causes: list[Cause]) -> list[tuple[str, float, str]]:
    """Returns what is decided; that a fix calls a layer by its name is no decision."""
    return [
        (c.id, c.confidence, re.sub(r"\blayer \S+", "layer _", c.fix)) for c in causes
    ]


@pytest.mark.slow
@pytest.mark.parametrize("cause", CAUSES)
def test_the_cause_is_named(cause: str) -> None:
    mine = [p for p in programs(SEED, PER_CAUSE) if p.cause == cause]
    assert len(mine) == PER_CAUSE
    named = []
    for program in mine:
        named.append(check(facts_from(program)))
        if ONE_IS_ENOUGH and tells(named[-1], cause):
            break
    if cause == CLEAN:
        assert named == [CLEAN] * len(named)
        return
    if cause == CONTAINED:
        assert set(named) <= {CLEAN, CONTAINED} and CONTAINED in named
        return
    # A fault may stay without consequence; then nothing is to be named.
    consequent = [n for n in named if n not in (CLEAN, CONTAINED)]
    assert consequent
    right = sum(n == cause for n in consequent)
    assert right >= len(consequent) - len(consequent) // 4, named


def tells(named: str, cause: str) -> bool:
    """Whether a program is no longer one whose fault may have had no consequence."""
    silent = {CLEAN: (), CONTAINED: (CLEAN,)}.get(cause, (CLEAN, CONTAINED))
    return named not in silent


@pytest.mark.parametrize(("highest", "named"), [(9, "label_range"), (7, CLEAN)])
def test_a_class_without_an_output(highest: int, named: str, tmp_path: Path) -> None:
    """With XLA its loss is NaN; without, TensorFlow's operation raises an error."""
    x = np.random.RandomState(0).randn(256, 6).astype("float32")
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, jit_compile=True)
    labels = np.arange(256) % 8
    labels[200] = highest
    watch = NanWatch(tmp_path / "run")
    model.fit(x, labels, verbose=0, shuffle=False, callbacks=[watch])
    facts = read_facts(str(tmp_path))
    assert check(facts) == named
    if facts.onset is not None:
        assert facts.onset.step == 200 // 32
        (fix,) = [c.fix for c in diagnose(facts) if c.id == named]
        assert "0 to 7" in fix and "10 or more" in fix
        # Operation by operation it is refused, which says why as well.
        (session,) = sessions(tmp_path)
        assert session.postmortem is not None
        assert "label value of 9 which is outside the valid range of [0, 8)" in (
            session.postmortem.reason
        )


class Between(keras.Model):
    """Three layers, and an operation of the program's own before the last."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.parts = [keras.layers.Dense(16), keras.layers.Dense(16)]
        self.last = keras.layers.Dense(1)
        self.factor = factor

    def call(self, x: Any) -> Any:
        for part in self.parts:
            x = part(x)
        return self.last(keras.ops.exp(self.factor * x))


@pytest.mark.parametrize(
    ("factor", "rate", "named"),
    [(4.0, 1e-2, "layer_domain"), (0.1, 1e-2, CLEAN), (0.1, 30.0, "learning_rate")],
)
def test_growth_between_two_layers(
    factor: float, rate: float, named: str, tmp_path: Path
) -> None:
    """An exponential that is no layer, as a variational autoencoder has one."""
    keras.utils.set_random_seed(1)
    x = np.random.RandomState(0).randn(256, 6).astype("float32")
    model = Between(factor)
    model.compile(keras.optimizers.SGD(rate), "mse")
    watch = NanWatch(tmp_path / "run")
    model.fit(x, x[:, :1], epochs=3, verbose=0, callbacks=[watch])
    assert check(read_facts(str(tmp_path))) == named


def check(facts: Facts) -> str:
    """Returns what is named; no name and no count of steps may change it."""
    causes = diagnose(facts)
    for found in causes:
        assert 0 <= found.confidence <= 1
        assert found.fix and found.evidence
    assert sum(found.confidence for found in causes) <= 1
    assert decided(diagnose(renamed(facts))) == decided(causes)
    assert decided(diagnose(longer(facts))) == decided(causes)
    return name_of(facts, causes)
