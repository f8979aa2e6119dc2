"""Rows and full looks into ranges, lanes, status and a small log."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tb_nanwatch.record.schema import RANGE_COLUMNS, Probe
from tb_nanwatch.writing.log.environment import TrainingSetup
from tb_nanwatch.writing.log.session import TrainingLog
from tb_nanwatch.writing.recording.buckets import Bucket
from tb_nanwatch.writing.recording.flight import FLIGHT_AFTER, FLIGHT_BEFORE
from tb_nanwatch.writing.recording.lane import Lane
from tb_nanwatch.writing.recording.observer import (
    LOOK_NEXT,
    NO_LIMIT,
    Expectation,
    Layout,
)
from tb_nanwatch.writing.recording.recorder import FIRST_LOOKS, Recorder
from tests.writing.logs import read_log

SIZE = 8


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def layout(phase: Any = "train", probes: int = 3) -> Layout:
    kinds: list[Any] = ["activation", "loss", "weight"]
    found = [
        Probe(kinds[i % 3], f"probe_{i}" if i != 1 else "total", "", "float32", [2, 4])
        for i in range(probes)
    ]
    every = list(range(probes))
    return Layout(phase, found, every, every, probes, False)


class Run:
    """Plays the part of the compiled step: rows always, tensors when surprised."""

    def __init__(self, replicas: int = 1, clock: Any = None, probes: int = 3) -> None:
        self.clock = clock or Clock()
        self.recorder = Recorder(replicas=replicas, clock=self.clock)
        self.recorder.begin_epoch(0, 0)
        self.layout = layout(probes=probes)
        self.replicas, self.probes = replicas, probes
        self.expectation: dict[int, Expectation] = {}
        self.looked: list[int] = []
        self.step = 0
        self.rows: dict[int, list[Any]] = {r: [] for r in range(replicas)}

    def run(self, *tensors: Any, ask: bool = False) -> None:
        """One step, in which every probe's elements are the number given."""
        for replica in range(self.replicas):
            values = [
                np.full((2, 4), t[replica] if isinstance(t, tuple) else t, np.float32)
                for t in tensors
            ]
            with np.errstate(over="ignore"):
                row = np.array([np.square(v).sum() / 2 for v in values], np.float32)
            e = self.expectation.get(replica)
            if e is None or ask or e.stands_out(row):
                self.looked.append(self.step)
                self.expectation[replica] = self.recorder.observe(
                    self.layout, replica, self.step, values
                )
            self.rows[replica].append(row)
        self.step += 1

    def read(self) -> None:
        for replica, rows in self.rows.items():
            if rows:
                first = self.step - len(rows)
                self.recorder.rows(self.layout, replica, first, np.array(rows))
                rows.clear()

    def ranges(self) -> dict[tuple[int, int], Any]:
        self.read()
        self.recorder.finish()
        buckets = self.recorder.take_buckets("train")
        return {(b.start, b.end): b for b in buckets}


def test_a_steady_run_is_looked_at_only_in_its_first_steps() -> None:
    run = Run()
    for _ in range(50):
        run.run(1.0, 2.0, 3.0)
    assert run.looked == list(range(FIRST_LOOKS))
    run.read()
    assert run.recorder.status() == ("clean", None, None)
    assert run.recorder.steps("train") == 50


def test_the_root_mean_square_of_every_step_is_kept() -> None:
    run = Run()
    for step in range(200):
        run.run(1.0 + step % 7, 1.0, 1.0)
    buckets = run.ranges()
    for (start, end), bucket in buckets.items():
        values = [1.0 + s % 7 for s in range(start, end + 1)]
        stats = dict(zip(RANGE_COLUMNS, bucket.stats()[0], strict=True))
        np.testing.assert_allclose(stats["rms_min"], min(values), rtol=1e-5)
        np.testing.assert_allclose(stats["rms_max"], max(values), rtol=1e-5)
    ends = sorted(buckets)
    assert ends[0][0] == 0 and ends[-1][1] == 199
    assert all(a[1] + 1 == b[0] for a, b in itertools.pairwise(ends))


def test_growth_is_looked_at() -> None:
    run = Run()
    for step in range(20):
        run.run(1.0 if step < 10 else 1e3, 1.0, 1.0)
    assert 10 in run.looked and 11 not in run.looked


def test_a_sum_that_overflows_is_looked_at_and_is_no_fault() -> None:
    run = Run()
    for step in range(20):
        run.run(1e25 if step >= 10 else 1.0, 1.0, 1.0)
    assert set(range(10, 20)) <= set(run.looked)
    buckets = run.ranges()
    assert run.recorder.status()[0] != "diverged" and run.recorder.tracker.count == 0
    assert not any(b.bad_steps.any() for b in buckets.values())
    high = max(b.stats()[0, RANGE_COLUMNS.index("max")] for b in buckets.values())
    np.testing.assert_allclose(high, 1e25, rtol=1e-6)
    np.testing.assert_allclose(buckets[15, 15].stats()[0, 4], 1e25, rtol=1e-6)


def test_a_fault_is_looked_at_when_it_comes_and_when_it_goes() -> None:
    run = Run()
    for step in range(30):
        run.run(1.0, np.nan if 10 <= step < 20 else 1.0, 1.0)
    assert run.looked == [*range(FIRST_LOOKS), 10, 20]
    buckets = run.ranges()
    status, onset, origin = run.recorder.status()
    assert status == "score_lost" and onset is not None and origin is not None
    assert (onset.step, origin.kind, origin.num_nan) == (10, "loss", SIZE)
    assert run.recorder.fate.recovered
    bad = {s: bool(b.bad_steps[1]) for s, b in buckets.items()}
    assert [s for (s, _), is_bad in bad.items() if is_bad] == list(range(10, 20))


def test_recovered_is_said_of_no_other_run() -> None:
    clean, lasting = Run(), Run()
    for step in range(20):
        clean.run(1.0, 1.0, 1.0)
        lasting.run(1.0, np.nan if step >= 10 else 1.0, 1.0)
    for run in (clean, lasting):
        run.read()
        assert not run.recorder.fate.recovered


def test_runaway_is_said_of_growth_alone() -> None:
    run, steady = Run(), Run()
    for step in range(40):
        run.run(1.0, 2.0**step, 1.0)
        steady.run(1.0, 2.0 + step, 1.0)
    run.read(), steady.read()
    status, onset, origin = run.recorder.status()
    assert status == "runaway" and origin is None
    assert onset is not None and onset.step == 4  # 2**4 is the first above 10
    assert steady.recorder.status()[0] == "clean"


def lane_of(label: float, *steps: tuple[float, float, float]) -> Lane:
    """A lane of single steps: the loss, the largest activation and a kernel of each."""
    probes = [
        Probe("label", "label"),
        Probe("loss", "total"),
        Probe("activation", "dense"),
        Probe("weight", "dense/kernel", "dense", shape=[4, 4]),
    ]
    lane = Lane()
    for step, sizes in enumerate(steps):
        bucket = Bucket.empty(step, len(probes))
        row = np.array([[label, *sizes]])
        bucket.add_rows(row, np.zeros(row.shape, np.bool_))
        lane.points.append(lane.point(bucket, probes, {}, 0.0, 0))
    return lane


@pytest.mark.parametrize("units", [1.0, 1e5, 1e10])
def test_a_loss_that_is_large_by_its_units_runs_away_as_any_other(units: float) -> None:
    begun = (units**2, 1.0, 1.0)
    # It learns: outputs and weights have grown up to the labels.
    assert lane_of(units, begun, (units**2 / 100, units, units)).take_off() is None
    assert lane_of(units, begun, begun, begun).take_off() is None
    away = (units**2 * 1e5, units * 300, units * 300)
    assert lane_of(units, begun, away).take_off() is not None
    beyond = (units**2 / 2, units * 1e5, 1.0)  # seen in the outputs alone
    assert lane_of(units, begun, beyond).take_off() is not None


def test_growth_is_measured_against_the_first_step_and_no_later_one() -> None:
    flat = [(1e17, 1e8, 1e8)] * 9
    assert lane_of(1.0, (1.0, 1.0, 1.0), *flat).take_off() == 1
    assert lane_of(1.0, *flat).take_off() is None  # nothing grew


def test_a_loss_that_came_back_has_not_run_away() -> None:
    begun, away = (1.0, 1.0, 1.0), (1e17, 1e8, 1e8)
    # Units that died on the way keep their weights.
    assert lane_of(1.0, begun, away, (0.5, 1e5, 1e5)).take_off() is None
    assert lane_of(1.0, begun, away, (1.5, 1e5, 1e5)).take_off() is not None
    # A loss that never told of it, such as that of a tanh, tells of no way back.
    assert lane_of(1.0, begun, (0.5, 1e5, 1e5)).take_off() is not None


def test_two_replicas_are_one_step() -> None:
    run = Run(replicas=2)
    for step in range(12):
        run.run((1.0, 3.0), (1.0, np.inf if step == 8 else 1.0), 1.0)
    buckets = run.ranges()
    rms = buckets[5, 5].stats()[0, RANGE_COLUMNS.index("rms")]
    np.testing.assert_allclose(rms, np.sqrt((1 + 9) / 2), rtol=1e-6)
    (episode,) = run.recorder.tracker.take_changed()
    assert (episode.start.step, episode.end_step) == (8, 8)
    assert (episode.tensors[0].replica, episode.tensors[0].num_pos_inf) == (1, SIZE)


def test_positions_follow_epochs_and_passes() -> None:
    recorder = Recorder()
    recorder.begin_epoch(3, 0)
    recorder.begin_validation(0, 10)
    recorder.begin_epoch(4, 10)
    recorder.begin_validation(5, 20)

    def at(phase: Any, step: int) -> tuple[int, int, int]:
        p = recorder.locate(phase, step)
        return p.step, p.epoch, p.batch

    assert at("train", 0) == (0, 3, 0)
    assert at("train", 9) == (9, 3, 9)
    assert at("train", 10) == (10, 4, 0)
    assert at("validation", 4) == (10, 3, 4)
    assert at("validation", 5) == (20, 4, 0)


def test_the_flight_recorder_holds_the_steps_around_the_onset() -> None:
    run = Run()
    for step in range(300):
        run.run(1.0 + step, np.nan if step >= 200 else 1.0, 1.0)
        if step % 50 == 49:
            run.read()
            flight = run.recorder.take_flight()
            assert (flight is not None) == (step == 249)
            if flight is not None:
                steps = flight.steps.tolist()
                assert steps == list(range(200 - FLIGHT_BEFORE, 200 + FLIGHT_AFTER + 1))
                np.testing.assert_allclose(
                    flight.rms[:, 0], [1.0 + s for s in steps], rtol=1e-6
                )
                assert np.isfinite(flight.rms[:FLIGHT_BEFORE, 1]).all()
                assert not np.isfinite(flight.rms[FLIGHT_BEFORE:, 1]).any()
                assert flight.full_steps.tolist() == [200]
                assert flight.counts[0, 1].tolist() == [SIZE, 0, 0]
    assert run.recorder.take_flight(last=True) is None  # each onset once


def test_no_flight_of_a_clean_run() -> None:
    run = Run()
    for _ in range(20):
        run.run(1.0, 1.0, 1.0)
    run.read()
    assert run.recorder.take_flight(last=True) is None


def test_what_is_expected_of_a_bad_column_is_that_it_stays_bad() -> None:
    run = Run()
    run.run(1.0, np.inf, 1.0)
    e = run.expectation[0]
    assert e.bad.tolist() == [False, True, False]
    e = e._replace(limit=10.0)
    assert not e.stands_out(np.array([1, np.inf, 1], np.float32))
    assert not e.stands_out(np.array([1, np.nan, 1], np.float32))
    # It is finite again, another one went bad, or the rest grew.
    assert e.stands_out(np.array([1, 1, 1], np.float32))
    assert e.stands_out(np.array([np.nan, np.inf, 1], np.float32))
    assert e.stands_out(np.array([1, np.inf, 11], np.float32))


def test_without_a_bad_column_only_the_sum_counts() -> None:
    e = Expectation(10.0, np.zeros(2, np.bool_))
    assert not e.stands_out(np.array([4, 5], np.float32))
    assert e.stands_out(np.array([4, 7], np.float32))
    assert e.stands_out(np.array([4, np.nan], np.float32))
    assert e.stands_out(np.array([4, np.inf], np.float32))
    assert e._replace(limit=LOOK_NEXT).stands_out(np.array([0, 0], np.float32))
    # A finite tensor can have an infinite sum: only a look can tell.
    assert e._replace(limit=NO_LIMIT).stands_out(np.array([4, np.inf], np.float32))


@pytest.mark.slow
def test_a_million_steps_stay_small_and_lose_no_extreme(tmp_path: Path) -> None:
    # The slower the steps the more there is to write: those of a small conv net.
    seconds_a_step = 0.138
    steps, probes, window = 1_000_000, 103, 256
    clock = Clock()
    run = Run(clock=clock, probes=probes)
    session = TrainingLog(
        str(tmp_path), "run", run.recorder, TrainingSetup(), clock=clock
    )
    session.begin()
    for _ in range(FIRST_LOOKS):
        run.run(*np.ones(probes))
    run.read()
    rng = np.random.RandomState(0)
    # Noise compresses worst. Extremes stand at random steps of random probes.
    spikes = {
        int(s): int(rng.randint(probes)) for s in rng.choice(steps - window, 500) if s > 9
    }
    by_window: dict[int, list[int]] = {}
    for s in spikes:
        by_window.setdefault((s - FIRST_LOOKS) // window, []).append(s)
    first = FIRST_LOOKS
    number = 0
    while first < steps:
        n = min(window, steps - first)
        rms = rng.uniform(0.9, 1.1, (n, probes))
        for s in by_window.get(number, ()):
            if s < first + n:
                rms[s - first, spikes[s]] = 5.0 + s / steps
        rows = (0.5 * SIZE * rms**2).astype(np.float32)
        run.recorder.rows(run.layout, 0, first, rows)
        clock.now += n * seconds_a_step
        session.flush()
        first, number = first + n, number + 1
    session.end("finished")
    session.writer.close()
    (file,) = tmp_path.iterdir()
    size = file.stat().st_size
    log = read_log(tmp_path)
    print(f"{size:,} bytes, {len(log.records)} records")
    ends = np.concatenate([r.steps for r in log.all("ranges")])
    assert ends[0, 0] == 0 and ends[-1, 1] == steps - 1
    assert (ends[1:, 0] == ends[:-1, 1] + 1).all()
    top = np.concatenate([r.stats for r in log.all("ranges")])
    top = top[:, :, RANGE_COLUMNS.index("rms_max")]
    bucket_of = np.searchsorted(ends[:, 1], list(spikes))
    largest: dict[tuple[int, int], float] = {}
    for bucket, (s, probe) in zip(bucket_of, spikes.items(), strict=True):
        key = (int(bucket), probe)
        largest[key] = max(largest.get(key, 0), 5.0 + s / steps)
    for (bucket, probe), value in largest.items():
        np.testing.assert_allclose(top[bucket, probe], value, rtol=1e-5)
    assert log.status.steps == steps and log.status.state == "finished"
    assert log.status.lane_steps[-1] == steps - 1
    assert size < 4_000_000


def test_the_closest_call_names_its_tensor() -> None:
    run = Run(probes=4)  # activation, loss, weight, activation
    run.run(1.0, 1e30, 1e30, 3.0, ask=True)
    assert run.recorder.closest_in == {"float32": ["activation", "probe_3"]}
    assert run.recorder.closest["float32"] == pytest.approx(3 / 3.4028235e38)
    run.run(1e20, 1.0, 1.0, 5.0, ask=True)
    run.run(2.0, 1.0, 1.0, 1e10, ask=True)
    assert run.recorder.closest_in == {"float32": ["activation", "probe_0"]}
    run.run(np.inf, 1.0, 1.0, np.nan, ask=True)  # what overflowed is no close call
    assert run.recorder.closest["float32"] == pytest.approx(1e20 / 3.4028235e38)
