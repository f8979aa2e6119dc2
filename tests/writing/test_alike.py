"""Runs of a search that went bad alike share what was tried on one of them."""

from __future__ import annotations

from typing import Any

import keras

from tb_nanwatch.postmortem import optimizer_changes
from tb_nanwatch.record.schema import BadTensor, Experiment, PostMortem
from tb_nanwatch.writing.search.alike import Alike, Tried, Way, way_of


def tried(change: str, finite: bool = False, **more: Any) -> Experiment:
    return Experiment(change, f"the {change}", finite, 9, **more)


CONTROL = tried("unchanged")
WAY = Way("diverged", "learning_rate", "loss", "mse", "Square")
SPENT = "the time for experiments is spent"


def way(name: str = "dense_1/kernel", status: str = "diverged", op: str = "Mul") -> Way:
    origin = BadTensor("gradient", name, num_nan=1, size=1)
    return way_of(status, "learning_rate", origin, PostMortem(op_type=op))


def test_numbers_in_names_make_no_difference() -> None:
    assert way() == way("dense_12/kernel")
    assert way() not in (way("dense_1/bias"), way(status="score_lost"), way(op="Log"))
    assert way_of("runaway", "x", None, PostMortem()) == Way("runaway", "x", "", "", "")


def test_what_confirmed_the_cause_is_tried_first() -> None:
    inputs, labels, clip = tried("inputs"), tried("labels"), tried("clip", True)
    both = tried("inputs_and_labels", True, learns=True)
    whole = [CONTROL, inputs, labels, both, clip]
    assert Tried("trial 3", whole).settling == []
    assert Tried("trial 3", whole, clip).settling == [clip]
    # That both are needed is known only where each alone was tried.
    assert Tried("trial 3", whole, both).settling == [inputs, labels, both]


def test_a_run_that_none_was_tried_on_says_what_came_out_elsewhere() -> None:
    alike, other = Alike(), WAY._replace(cause="unscaled_inputs")
    assert not alike.first(WAY)
    kept = tried("inputs", True)
    first = PostMortem(experiments=[CONTROL, kept])
    assert alike.why_not(WAY, first) == ""
    alike.note(WAY, Tried("trial 3", first.experiments, kept))
    assert alike.first(WAY) == [kept]
    assert alike.why_not(WAY, PostMortem()) == (
        f"{SPENT}; trial 3, which went bad alike, stayed finite with the inputs"
    )
    near = WAY._replace(kind="activation")
    assert alike.first(near) == [kept]
    assert "trial 3, which has the same likely cause, stayed" in alike.why_not(
        near, PostMortem()
    )
    assert not alike.first(WAY._replace(status="score_lost"))
    late = tried("unchanged", tried=False, note="no time was left")
    assert alike.why_not(other, PostMortem(experiments=[late])) == SPENT
    assert not alike.first(other)
    error = tried("unchanged", tried=False, note="ValueError: x")
    assert alike.why_not(other, PostMortem(experiments=[error])) == ""


def test_what_confirmed_a_cause_is_kept() -> None:
    alike, clip = Alike(), tried("clip", True)
    in_vain = [CONTROL, tried("inputs"), tried("labels", tried=False)]
    alike.note(WAY, Tried("trial 1", in_vain))
    said = alike.why_not(WAY, PostMortem())
    assert said.endswith(
        "trial 1, which went bad alike, was helped by none of 1 changes that were tried"
    )
    assert not alike.first(WAY)
    alike.note(WAY, Tried("trial 2", [CONTROL, clip], clip))
    alike.note(WAY, Tried("trial 3", in_vain))
    assert alike.first(WAY) == [clip]
    # What helped and confirmed no cause has settled nothing.
    assert not Alike({WAY: Tried("trial 4", [CONTROL, clip])}).first(WAY)
    unknown = WAY._replace(cause="unknown")
    alike.note(unknown, Tried("trial 4", [CONTROL, clip], clip))
    assert not alike.first(unknown._replace(op="Sqrt"))
    # Nothing was tried where the control already stayed finite.
    other = WAY._replace(op="Log")
    alike.note(other, Tried("trial 5", [tried("unchanged", True)]))
    assert other not in alike.tested


def test_a_rate_is_lowered_to_the_one_that_helped() -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.5), "mse")
    helped = tried("learning_rate/10", True, value=0.02)
    assert optimizer_changes.alike(model, helped) == "learning_rate/25"
    model.optimizer.learning_rate = 0.03
    assert optimizer_changes.alike(model, helped) == "learning_rate/10"
    assert optimizer_changes.alike(model, tried("clip", True, value=1.0)) == "clip"
    model.compile(
        keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(1.0, 9, 0.5))
    )
    assert optimizer_changes.alike(model, helped) == "learning_rate/10"
