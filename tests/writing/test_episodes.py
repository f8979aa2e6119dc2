"""Bad tensors, step by step, to episodes, onset and status."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tb_nanwatch.record.schema import Damage, Phase, Position, Probe
from tb_nanwatch.writing.recording.episodes import EpisodeTracker
from tb_nanwatch.writing.recording.health import tensor_health

PROBES = [
    Probe("input", "input"),
    Probe("activation", "mask"),
    Probe("activation", "dense"),
    Probe("loss", "total"),
    Probe("metric", "error"),
    Probe("gradient", "dense/kernel"),
    Probe("weight", "dense/kernel"),
]
MASK, DENSE, LOSS, METRIC, GRADIENT, WEIGHT = 1, 2, 3, 4, 5, 6
GOOD = tensor_health(np.ones(4, np.float32))


def bad(value: float = np.nan, count: int = 1) -> Any:
    tensor = np.ones(8, np.float32)
    tensor[3 : 3 + count] = value
    return tensor_health(tensor)


def locate(phase: Phase, step: int) -> Position:
    return Position(phase, step, step // 10, step % 10)


def tracker(*objectives: str) -> EpisodeTracker:
    return EpisodeTracker(objectives, locate)


def see(
    t: EpisodeTracker, step: int, *indices: int, replica: int = 0, **kwargs: Any
) -> None:
    """Tells the tracker that at `step` exactly these probes are bad."""
    phase = kwargs.pop("phase", "train")
    healths = [bad(**kwargs) if i in indices else GOOD for i in range(len(PROBES))]
    t.observe(phase, step, replica, PROBES, healths, range(len(PROBES)))


def test_a_clean_run_has_no_episodes() -> None:
    t = tracker()
    for step in range(5):
        see(t, step)
    t.end("train", 4)
    assert (t.status, t.count, t.take_changed(), t.origin) == ("clean", 0, [], None)


def test_epochs_that_end_with_a_damaged_model() -> None:
    t = tracker()
    for step in range(8):
        see(t, step, LOSS)  # ten steps an epoch; a loss damages nothing
    see(t, 8, WEIGHT)
    see(t, 9)  # finite again before the epoch's end
    assert t.damage == []
    for step in range(15, 31):
        see(t, step, LOSS, WEIGHT)
    assert t.damage == [Damage(1, None, ["weight"])]
    see(t, 31, LOSS)
    see(t, 35, WEIGHT, phase="validation")
    assert t.damage == [Damage(1, 3, ["weight"])]
    see(t, 45, WEIGHT)
    assert t.damage == [Damage(1, 3, ["weight"]), Damage(4, None, ["weight"])]


def test_a_mask_contained_from_the_start_takes_no_blame() -> None:
    t = tracker()
    see(t, 0, MASK, value=-np.inf)
    assert t.status == "contained" and not t.is_bad_now
    see(t, 500, MASK, DENSE, LOSS, GRADIENT, WEIGHT)
    t.end("train", 510)
    assert t.status == "diverged"
    assert t.deciding is not None and t.deciding.start.step == 500
    assert t.origin is not None and t.origin.name == "dense"
    first, second = t.take_changed()
    assert (first.level, first.start.step, first.end_step) == ("contained", 0, 499)
    assert first.tensors[0].num_neg_inf == 1
    assert (second.start.step, second.end_step) == (500, 510)
    assert [second.tensors[i].name for i in second.new] == [
        *("dense", "total", "dense/kernel", "dense/kernel")
    ]
    assert [e.id for e in t.contained] == [0]


def test_a_mask_that_comes_and_goes_takes_no_blame_either() -> None:
    t = tracker()
    for step in (0, 2, 4):
        see(t, step, MASK)
        see(t, step + 1)
    see(t, 6, MASK, LOSS)  # both are new in this step
    assert t.origin is not None and (t.origin.kind, t.origin.name) == ("loss", "total")


def test_a_tensor_that_was_never_harmless_takes_the_blame() -> None:
    t = tracker()
    see(t, 6, MASK, LOSS)
    assert t.origin is not None and t.origin.name == "mask"


def test_a_fault_that_comes_and_goes_is_as_many_episodes() -> None:
    t = tracker()
    for k in range(7):
        see(t, 10 * k, DENSE, LOSS)
        see(t, 10 * k + 3)
    episodes = t.take_changed()
    assert [(e.id, e.start.step, e.end_step) for e in episodes] == [
        (k, 10 * k, 10 * k + 2) for k in range(7)
    ]
    assert t.deciding is not None and t.deciding.id == 0 and not t.is_bad_now


def test_the_level_is_how_far_it_reached() -> None:
    for indices, objectives, level in (
        ((DENSE,), (), "contained"),
        ((GRADIENT,), (), "contained"),
        ((METRIC,), (), "contained"),
        ((METRIC,), ("error",), "score_lost"),
        ((METRIC,), ("val_error",), "contained"),
        ((LOSS,), (), "score_lost"),
        ((WEIGHT,), (), "diverged"),
        ((LOSS, WEIGHT), (), "diverged"),
    ):
        t = tracker(*objectives)
        see(t, 1, *indices)
        assert t.status == level, indices


def test_validation_has_its_own_phase_and_objective() -> None:
    t = tracker("val_error")
    see(t, 3, METRIC, phase="validation")
    assert t.status == "score_lost"
    assert t.deciding is not None and t.deciding.start.phase == "validation"
    see(t, 4)
    assert t.is_bad_now  # training being finite does not heal validation
    see(t, 4, phase="validation")
    assert not t.is_bad_now


def test_a_loss_that_takes_the_weights_along_is_one_fault() -> None:
    t = tracker()
    see(t, 5, LOSS)
    see(t, 6, LOSS, GRADIENT, WEIGHT)
    assert t.status == "diverged"
    assert t.deciding is not None and t.deciding.start.step == 5
    assert t.origin is not None and t.origin.kind == "loss"


def test_a_later_divergence_of_its_own_decides() -> None:
    t = tracker()
    see(t, 5, LOSS)
    see(t, 6)
    see(t, 9, GRADIENT, WEIGHT)
    assert t.deciding is not None and t.deciding.start.step == 9
    assert t.origin is not None and t.origin.kind == "gradient"


def test_replicas_add_up_in_the_step_of_the_onset() -> None:
    t = tracker()
    see(t, 5, DENSE, WEIGHT, replica=1, count=2)
    see(t, 5, DENSE, WEIGHT, replica=0, count=3)
    (episode,) = t.take_changed()
    dense, weight = episode.tensors
    # Parts of the batch are added, copies of a variable are not.
    assert (dense.num_nan, dense.size, dense.replica) == (5, 16, 0)
    assert (weight.num_nan, weight.size) == (3, 8)
    assert t.count == 1


def test_counts_stay_those_of_the_onset() -> None:
    t = tracker()
    see(t, 5, DENSE, count=2)
    see(t, 6, DENSE, count=5)
    see(t, 6, DENSE, replica=1, count=5)
    (episode,) = t.take_changed()
    assert episode.tensors[0].num_nan == 2 and t.count == 1


def test_replicas_that_recover_one_after_the_other_leave_no_episode() -> None:
    t = tracker()
    for replica in (0, 1):
        see(t, 5, *((DENSE, WEIGHT) if replica == 0 else (WEIGHT,)), replica=replica)
    see(t, 6, replica=0)  # replica 1 has not said yet that it is finite again
    see(t, 6, replica=1)
    t.end("train", 9)
    (episode,) = t.take_changed()
    assert (episode.start.step, episode.end_step, t.count) == (5, 5, 1)
    assert not t.is_bad_now
    see(t, 12, LOSS)
    assert [e.id for e in t.take_changed()] == [1]


STEP = st.frozensets(st.sampled_from([MASK, DENSE, LOSS, METRIC, WEIGHT]))


@given(st.lists(STEP, min_size=1, max_size=30), st.integers(1, 2))
def test_episodes_are_the_stretches_of_equal_steps(
    steps: list[frozenset[int]], replicas: int
) -> None:
    t = tracker()
    for step, indices in enumerate(steps):
        for replica in range(replicas):
            see(t, step, *indices, replica=replica)
    t.end("train", len(steps) - 1)

    expected = []
    for step, indices in enumerate(steps):
        if indices and (step == 0 or steps[step - 1] != indices):
            expected.append([step, step, indices])
        elif indices:
            expected[-1][1] = step
    got = {e.id: e for e in t.take_changed()}
    assert sorted(got) == list(range(len(expected)))
    for episode, (start, end, indices) in zip(got.values(), expected, strict=True):
        assert (episode.start.step, episode.end_step) == (start, end)
        names = [(PROBES[i].kind, PROBES[i].name) for i in sorted(indices)]
        assert [(x.kind, x.name) for x in episode.tensors] == names
        before = steps[start - 1] if start else frozenset()
        new = [k for k, i in enumerate(sorted(indices)) if i not in before]
        assert episode.new == new
    levels = {frozenset(): "clean"} | {
        i: "diverged" if WEIGHT in i else "score_lost" if LOSS in i else "contained"
        for i in steps
        if i
    }
    order = ["clean", "contained", "score_lost", "diverged"]
    assert t.status == max((levels[i] for i in steps), key=order.index)


def test_a_probe_that_was_met_late_stands_where_it_is_computed() -> None:
    """A layer that is built within another's first call has a later number than that."""
    t = tracker()
    probes = [*PROBES, Probe("activation", "dense/key")]
    order = [0, MASK, len(PROBES), DENSE, LOSS, METRIC, GRADIENT, WEIGHT]
    broken = {DENSE, LOSS, len(PROBES)}
    healths = [bad() if i in broken else GOOD for i in order]
    t.observe("train", 0, 0, probes, healths, order)
    assert t.origin is not None and t.origin.name == "dense/key"
    (episode,) = t.take_changed()
    assert [tensor.name for tensor in episode.tensors] == ["dense/key", "dense", "total"]
