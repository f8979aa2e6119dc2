"""What a training says as it goes bad, and at its end."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tb_nanwatch import NanWatch
from tb_nanwatch.diagnosis.answer import Answer, answer_of, lines
from tb_nanwatch.diagnosis.facts import Facts
from tb_nanwatch.diagnosis.ranking import Cause
from tb_nanwatch.diagnosis.shared import Standing
from tb_nanwatch.record.schema import (
    BAD_STATUSES,
    CAUSES,
    STATUSES,
    BadTensor,
    Position,
    PostMortem,
    Status,
)
from tb_nanwatch.wording.answer_text import label_of
from tb_nanwatch.wording.card import WIDTH, Card
from tb_nanwatch.wording.causes import LABELS
from tb_nanwatch.writing.search.verdict import TrialAnswer
from tb_nanwatch.writing.telling.search_end import card_at_end
from tests.tuner.searches import bad, good, make, search
from tests.writing.test_callback import fit, mlp


def texts() -> Any:
    return st.text(max_size=300)


@given(st.builds(Answer, *[texts()] * 9), texts(), st.lists(st.just("tb-nanwatch")))
def test_an_answer_is_printed_in_80_columns(
    answer: Answer, name: str, see: list[str]
) -> None:
    """Words that are longer stay whole; a terminal obeys nothing in them."""
    for line in lines(answer, name, see):
        assert line.isprintable(), line
        words = line.split()
        assert len(line) <= WIDTH or max(map(len, words)) > WIDTH - 10, line


@pytest.mark.parametrize("status", STATUSES)
def test_only_what_went_bad_has_an_answer(status: Any) -> None:
    facts = Facts(status, Position("train", 2, 0, 2))
    found = answer_of(facts, [Cause("unknown", 0.0, [], "Look.")])
    assert (found is None) == (status not in BAD_STATUSES)
    metric = BadTensor("metric", "f1", 1)
    found = answer_of(replace(facts, origin=metric), [Cause("unknown", 0.0, [], "Look.")])
    assert (found is None) == (status not in (*BAD_STATUSES, "contained"))
    if found is not None:
        assert found.happened.endswith("at epoch 1, batch 3") and found.sure == ""


def test_every_cause_has_words() -> None:
    assert set(LABELS) == set(CAUSES)
    assert not any("_" in label for label in LABELS.values())


@pytest.mark.parametrize(
    ("op_type", "gradient", "finding", "words"),
    [
        ("RealDiv", False, "3 of 8 denominators are 0", "division by zero"),
        ("RealDiv", False, "the result is beyond 3.4e+38, the largest", "overflow"),
        ("Log", False, "1 of 8 arguments is 0", "logarithm of 0"),
        ("Log", False, "1 argument is negative", "logarithm of a negative number"),
        ("Sqrt", True, "8 of 8 square roots are 0", "gradient of a root of 0"),
        ("Acos", False, "1 is outside [-1, 1]", "`acos` out of its domain"),
    ],
)
def test_an_operation_has_words(
    op_type: str, gradient: bool, finding: str, words: str
) -> None:
    found = PostMortem(
        op=f"tf.math.{op_type.lower()}",
        op_type=op_type,
        forward_type=op_type,
        gradient=gradient,
        finding=finding,
    )
    assert label_of("loss_domain", found) == f"{words} in the loss"
    found.layer = "gate"
    assert label_of("layer_domain", found) == f"{words} in the layer gate"
    assert label_of("learning_rate", found) == LABELS["learning_rate"]


def test_a_search_says_a_line_for_a_bad_trial_and_the_answer_at_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search(make("RandomSearch", bad, tmp_path), NanWatch(tmp_path / "log"))
    out = capsys.readouterr().out
    said = [li for li in out.splitlines() if "NaN Watch: " in li]
    trials = [line for line in said if " diverged at epoch 1, batch " in line]
    assert trials and all(line.startswith("NaN Watch: Trial #") for line in trials)
    assert said[-1].endswith(" watched trials went bad.")
    at_end = out[out.index(said[-1]) :]
    for title in ("Why", "Fix", "See"):
        assert at_end.count(f"\n  {title:<7}") == 1
    assert "tb-nanwatch report" in at_end and "#nanwatch" in at_end
    # One as it goes bad, one at its end.
    assert len(said) == 2 * len(trials) + 1


def test_a_good_search_says_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tuner = make("RandomSearch", good, tmp_path)
    search(tuner, NanWatch(tmp_path / "log"), batch_size=16)
    said = [line for line in capsys.readouterr().out.splitlines() if "NaN Watch" in line]
    (line,) = said
    assert re.fullmatch(r"NaN Watch: All finite: \d+ trials?\.", line)


def test_nothing_is_printed_where_standard_output_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed:
        def write(self, text: str) -> int:
            raise ValueError("I/O operation on closed file")

        def flush(self) -> None: ...

    monkeypatch.setattr("tb_nanwatch.writing.telling.outlets.sys.stdout", Closed())
    history = fit(mlp(), NanWatch(tmp_path), bad=13)
    assert len(history.history["loss"]) == 2


def test_an_exception_says_it_all_and_nothing_is_said_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Exception, match="went bad at epoch 1, batch 2"):
        fit(mlp(), NanWatch(tmp_path, on_nonfinite="raise"), bad=13)
    assert capsys.readouterr() == ("", "")
    keras.backend.clear_session()


def answer(cause: str, sure: str) -> Answer:
    return Answer(
        "diverged", cause, f"{cause}.", sure, "", f"Fix of {cause}.", "", "", ""
    )


def told(
    number: int, cause: str, sure: str, about: float | None = None, **case: Any
) -> TrialAnswer:
    known = Standing(cause, sure=sure, about=about, **case)
    return TrialAnswer(f"Trial #{number}", answer(cause, sure), known)


def test_a_searchs_end_tells_the_cause_that_most_bad_trials_share() -> None:
    statuses: Any = {"0": "diverged", "1": "runaway", "2": "clean", "3": "diverged"}
    answers = {
        "0": told(1, "rate", "likely"),
        "1": told(2, "rate", "tested"),
        "2": told(3, "data", "tested"),  # before a clean one
        "3": told(4, "data", "tested"),
    }
    said = card_at_end(statuses, answers, ["see"], {})
    assert said.first == "3 of 4 watched trials went bad." and said.see == ("see",)
    assert said.parts[0].text == "rate. (Trial #2; 2 of 3 bad alike)"
    assert said.parts[1].text == "Fix of rate."
    unknown = {"0": told(1, "unknown", "")}
    assert card_at_end(statuses, unknown, [], {}).parts == ()
    # What is enough for the mildest value is enough for the others.
    rates = {
        str(i): told(i + 1, "rate", "tested", about)
        for i, about in ((0, 0.9), (1, 0.2), (3, 0.4))
    }
    said = card_at_end(statuses, rates, [], {})
    assert said.parts[0].text == "rate. (Trial #2; 3 of 3 bad alike)"
    # Low enough for all is what one of them needed.
    rates["3"] = told(4, "rate", "tested", 0.4, held=0.01)
    rates["1"] = told(2, "rate", "tested", 0.2, held=0.1)
    said = card_at_end(statuses, rates, [], {})
    assert said.parts[0].text == "rate. (Trial #4; 3 of 3 bad alike)"


def test_a_search_that_died_of_one_value_says_where_to_cut() -> None:
    bad = {
        str(i): told(i + 1, "rate", "tested", about) for i, about in ((0, 0.9), (1, 0.3))
    }
    statuses: dict[str, Status] = {"0": "diverged", "1": "diverged", "2": "clean"}
    values = {"0": {"lr": 0.9, "n": 1}, "1": {"lr": 0.3, "n": 1}, "2": {"lr": 0.1}}
    (_, fix, *_) = card_at_end(statuses, bad, ["the report"], values).parts
    assert fix.text == (
        "Narrow `lr` in the search space: 0.3 and more went bad, 0.1 and less stayed "
        "finite. `the report` has the edit to paste."
    )
    # Where a trial lived at such a value, or none lived, the trial's own fix stands.
    values["2"]["lr"] = 0.5
    assert card_at_end(statuses, bad, [], values).parts[1].text == "Fix of rate."
    assert card_at_end(statuses, bad, ["the report"], values).parts[1].text == (
        "Fix of rate. That is for Trial #2; `the report` compares all trials by `lr`."
    )
    values["1"]["m"] = values["0"]["m"] = 0.3  # one of two may be to blame
    values["0"]["m"], values["0"]["n"] = 0.9, 2
    assert card_at_end(statuses, bad, ["see"], values).parts[1].text == "Fix of rate."
    del values["0"]["m"], values["1"]["m"]
    alone = {k: statuses[k] for k in "01"}
    assert card_at_end(alone, bad, [], values).parts[1].text == "Fix of rate."


def test_a_search_without_bad_trials_says_so_in_a_line() -> None:
    clean: dict[str, Status] = {"0": "clean", "1": "clean"}
    assert card_at_end(clean, {}, ["see"], {}) == Card("All finite: 2 trials.", False)
    mixed: dict[str, Status] = {**clean, "2": "contained"}
    said = card_at_end(mixed, {}, ["see"], {})
    assert said.first == "No trial went bad: 2 clean, 1 contained."


@pytest.mark.parametrize("saves", [True, False])
@pytest.mark.parametrize("rate", [1e30, 3.0], ids=["at once", "later"])
def test_the_last_sound_checkpoint_is_named(
    rate: float, saves: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import keras
    import numpy as np

    x = np.ones((8, 1), np.float32)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(rate), "mse")
    sound: list[int] = []

    class Weights(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if all(np.isfinite(w).all() for w in self.model.get_weights()):
                sound.append(epoch + 1)

    watch = NanWatch(tmp_path, experiments=0)
    callbacks: list[Any] = [watch, Weights()]
    if saves:
        place = str(tmp_path / "kept.weights.h5")
        callbacks.append(keras.callbacks.ModelCheckpoint(place, save_weights_only=True))
    model.fit(x, y=-x, epochs=60, batch_size=8, verbose=0, callbacks=callbacks)
    out = " ".join(capsys.readouterr().out.split())
    if not saves:
        assert "diverged" in out and "heckpoints of" not in out
    elif sound:
        assert f"that of epoch {sound[-1]} is the last sound one" in out
    else:
        assert "The checkpoints of every epoch hold NaN" in out


@pytest.mark.parametrize("fails", [True, False])
def test_a_training_without_a_whole_step_is_not_called_finite(
    fails: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import keras
    import numpy as np

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((8, 2 if fails else 1), np.float32)
    try:
        model.fit(x, x, verbose=0, callbacks=[NanWatch(tmp_path)])
    except ValueError:
        assert fails
    out = " ".join(capsys.readouterr().out.split())
    assert ("No training step came to its end." in out) == fails
    assert ("All finite" in out) == (not fails)
