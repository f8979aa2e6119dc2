"""The edited space of a search that was run, as the next tuner takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tb_nanwatch
from tb_nanwatch.reading.search.stable_space import NoSpaceError, declared, stable_space
from tb_nanwatch.reading.search.trials import ComparedTrial
from tb_nanwatch.record.schema import HParam
from tests.reading.edited_programs import explored, loaded
from tests.reading.records import a_status, write

BUILD = """
def build(hp):
    used = {}
    used["rate"] = hp.Float("rate", 1e-4, 1.0, sampling="log")
    used["kind"] = hp.Choice("kind", ["a", "b", "c"], default="b")
    with hp.conditional_scope("kind", ["a", "b"]):
        used["depth"] = hp.Int("depth", 1, 9)
    used["flag"], used["batch"] = hp.Boolean("flag", default=True), hp.Fixed("batch", 32)
    return used
"""


def searched(path: Path, bad: Any) -> tuple[Any, list[ComparedTrial]]:
    model = loaded(BUILD, path / "prog.py")
    trials, used = explored(model, 60)
    return model, [
        ComparedTrial(h, bad(u), 0.0) for h, u in zip(trials, used, strict=True)
    ]


def again(model: Any, space: Any, n: int = 40) -> list[dict[str, Any]]:
    """What the same program uses once the space is handed to its tuner."""
    import keras_tuner

    oracle = keras_tuner.oracles.RandomSearchOracle(
        objective=keras_tuner.Objective("loss", "min"), max_trials=n, seed=2,
        hyperparameters=space,
    )  # fmt: skip
    found = []
    for _ in range(n):
        hp = oracle.get_space()
        hp.values = oracle._random_values()
        found.append(model.build(hp))
        oracle.update_space(hp)
    return found


def test_the_same_program_stays_out_of_what_went_bad(tmp_path: Path) -> None:
    model, trials = searched(tmp_path, lambda u: u["rate"] > 0.05)
    space = stable_space(trials)
    assert [h.name for h in space.space] == ["rate", "kind", "depth", "flag", "batch"]
    used = again(model, space)
    # Between the last that lived and the first that died nobody knows.
    died = min(t.hparams[0].value for t in trials if t.bad)  # type: ignore[type-var]
    assert max(u["rate"] for u in used) < died
    assert {u["kind"] for u in used} == {"a", "b", "c"}
    assert {u["depth"] for u in used if u["kind"] == "c"} == {None}
    assert {u["flag"] for u in used} == {True, False}
    assert [d.spec.name for d in declared(trials) if d.changed] == ["rate"]


def test_of_two_conditions_one_is_cut(tmp_path: Path) -> None:
    model, trials = searched(tmp_path, lambda u: u["kind"] == "a" and u["rate"] > 0.02)
    used = again(model, stable_space(trials))
    assert not any(u["kind"] == "a" and u["rate"] > 0.2 for u in used)


def test_a_clean_search_keeps_its_space(tmp_path: Path) -> None:
    _, trials = searched(tmp_path, lambda u: False)
    assert not any(d.changed for d in declared(trials))
    rate = stable_space(trials).space[0]
    assert (rate.min_value, rate.max_value, rate.sampling) == (1e-4, 1.0, "log")


def test_values_alone_are_no_space() -> None:
    trials = [ComparedTrial([HParam("lr", v, "number")], v > 1) for v in (0.1, 0.2, 2.0)]
    with pytest.raises(NoSpaceError, match="declare no search space"):
        stable_space(trials)


def test_the_report_of_a_search_gives_its_space(tmp_path: Path) -> None:
    for number in range(1, 13):
        rate = HParam("lr", 0.1 * number, "float", min=0.1, max=10.0)
        write(tmp_path / str(number), a_status(number, bad=number > 6, hparams=[rate]))
    found = tb_nanwatch.report(tmp_path)
    (rate,) = found.stable_space().space
    assert rate.min_value == 0.1 and 0.6 <= rate.max_value < 0.1 * 7
    with pytest.raises(NoSpaceError, match="no search 'other'"):
        found.stable_space("other")
