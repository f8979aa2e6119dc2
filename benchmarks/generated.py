# SPDX-License-Identifier: Apache-2.0
"""A log directory of many made-up trials, written by the project's own writer, fast.

`python -m benchmarks.generated LOGDIR --trials 1000 --epochs 100 --layers 50`. Beside NaN
Watch's records stand those that KerasTuner's own TensorBoard callback would leave: the
HParams plugin's session and a scalar of each epoch. Trials with a high learning rate
diverge. For measurements of the tab only: no number in it was trained.
"""

from __future__ import annotations

import argparse
import functools
import math
import pathlib
import time
import zlib
from typing import Any

import numpy as np
from tensorboard.compat.proto import summary_pb2
from tensorboard.plugins.hparams import summary as hparams_summary

from tb_nanwatch.record import schema
from tb_nanwatch.record.schema import (
    BadTensor,
    Episode,
    EventsRecord,
    FlightRecord,
    HParam,
    Position,
    Probe,
    RangesRecord,
    Search,
    SessionRecord,
    StatusRecord,
    TrialRecord,
)
from tb_nanwatch.writing.log.summary import EventWriter
from tb_nanwatch.writing.recording.buckets import bucket_end
from tb_nanwatch.writing.recording.recorder import FIRST_LOOKS

STEPS_PER_EPOCH = 100
STARTED = 1_700_000_000.0
# Trials differ in their lanes and values; as many different ranges are enough.
SHAPES = 8
RECORDS = 10
DEADLY_RATE = 0.1


def write(
    logdir: pathlib.Path,
    trials: int,
    epochs: int,
    layers: int,
    *,
    scalars: bool = True,
    seed: int = 0,
) -> None:
    """Writes a search of `trials` trials below `logdir`.

    Args:
        logdir: made if it does not exist.
        trials: how many; about a quarter of them diverge.
        epochs: of each, of `STEPS_PER_EPOCH` steps.
        layers: watched activations of the model.
        scalars: write each trial's scalars, too, in an event file of their own.
        seed: of all that is drawn.
    """
    rng = np.random.default_rng(seed)
    search = Search(
        id=f"generated-{seed}",
        name="generated",
        tuner="RandomSearch",
        objective="val_loss",
        direction="min",
        started=STARTED,
        max_trials=trials,
        oracle="RandomSearchOracle",
    )
    probes = [
        *(Probe("activation", f"dense_{i}", f"dense_{i}") for i in range(layers)),
        Probe("loss", "total"),
    ]
    compress = zlib.compress
    # The same arrays are compressed once, or the writing would take minutes.
    zlib.compress = functools.lru_cache(maxsize=512)(compress)
    try:
        for number in range(trials):
            _write_trial(logdir, number, search, probes, epochs, rng, scalars)
    finally:
        zlib.compress = compress


def _write_trial(
    logdir: pathlib.Path,
    number: int,
    search: Search,
    probes: list[Probe],
    epochs: int,
    rng: np.random.Generator,
    scalars: bool,
) -> None:
    trial, session = f"{number:05d}", f"{number:016x}"
    rate = 10 ** rng.uniform(-4, 0)
    optimizer = ["sgd", "adam", "rmsprop"][number % 3]
    values: dict[str, Any] = {
        "learning_rate": rate,
        "units": int(rng.integers(1, 9)) * 32,
        "depth": int(rng.integers(1, 6)),
        "optimizer": optimizer,
    }
    onset = None
    if (optimizer == "sgd" and rate > DEADLY_RATE) or rng.random() < 0.02:
        onset = int(10 ** rng.uniform(0.5, math.log10(epochs * STEPS_PER_EPOCH)))
    steps = epochs * STEPS_PER_EPOCH
    ends = _ends(steps)
    started = STARTED + 60.0 * number
    seconds = steps * 0.002
    loss = float(10 ** rng.uniform(-2, 1))
    status = StatusRecord(
        session,
        0,
        search=search,
        trial_id=trial,
        number=number + 1,
        worker="tuner0",
        hparams=_hparams(values),
        state="finished",
        started=started,
        updated=started + seconds,
        steps=steps,
        epochs=epochs,
        epochs_planned=epochs,
        lane_steps=np.array(ends, np.int64),
        lane=_lane(ends, onset, rate, loss, rng),
        lane_seconds=np.array([seconds * (e + 1) / steps for e in ends], np.float32),
        lane_epochs=np.array([e // STEPS_PER_EPOCH for e in ends], np.int32),
        closest={"float32": 1e-30},
    )
    records: list[Any] = [
        SessionRecord(
            session,
            0,
            probes,
            [],
            model="generated",
            optimizer={"class_name": optimizer, "config": {"learning_rate": rate}},
            loss="mse",
            precision="float32",
            versions={"keras": "3"},
        ),
        *_ranges(session, number % SHAPES, ends, len(probes)),
    ]
    if onset is not None:
        where = Position(
            "train", onset, onset // STEPS_PER_EPOCH, onset % STEPS_PER_EPOCH
        )
        tensor = BadTensor("activation", "dense_0", num_pos_inf=3, size=4096)
        status.status, status.onset, status.origin = "diverged", where, tensor
        status.num_episodes = 1
        status.steps_after_onset = steps - onset
        status.seconds_after_onset = seconds * (steps - onset) / steps
        records += [
            EventsRecord(
                session, 0, [Episode(0, where, None, "diverged", [tensor], [0])]
            ),
            _flight(session, onset, len(probes)),
        ]
    for record in records:
        status.written[record.KIND] = status.written.get(record.KIND, 0) + 1
    score = math.nan if onset is not None else loss
    run = logdir / trial / "execution0"
    writer = EventWriter(str(run), clock=lambda: started)
    verdict = TrialRecord(
        session,
        0,
        search.id,
        trial,
        "FAILED" if onset is not None else "COMPLETED",
        score=score,
        best_step=epochs - 1,
    )
    writer.write(*records, status, verdict)
    for pb in (
        hparams_summary.session_start_pb(values, group_name=trial),
        hparams_summary.session_end_pb("STATUS_SUCCESS"),
    ):
        writer.write_summary(pb)
    writer.close()
    if scalars:
        _write_scalars(run / "validation", epochs, loss, started)


def _ends(steps: int) -> list[int]:
    """Returns the last steps of the buckets, as the writer makes them."""
    ends = []
    start = 0
    while start < steps:
        ends.append(min(bucket_end(start), steps - 1))
        start = ends[-1] + 1
    return ends


def _hparams(values: dict[str, Any]) -> list[HParam]:
    return [
        HParam(
            "learning_rate",
            values["learning_rate"],
            "float",
            min=1e-4,
            max=1.0,
            sampling="log",
        ),
        HParam("units", values["units"], "int", min=32, max=256, step=32),
        HParam("depth", values["depth"], "int", min=1, max=5, step=1),
        HParam(
            "optimizer",
            values["optimizer"],
            "choice",
            values=["sgd", "adam", "rmsprop"],
            ordered=False,
        ),
    ]


def _lane(
    ends: list[int],
    onset: int | None,
    rate: float,
    loss: float,
    rng: np.random.Generator,
) -> Any:
    at = np.array(ends, np.float64)
    drift = np.log10(at + 1) * (0.2 + rate)
    if onset is not None:
        drift = np.where(at < onset, 30 * ((at + 1) / (onset + 1)) ** 3, np.nan)
    noise = rng.normal(0, 0.05, (len(ends), len(schema.LANE_SERIES)))
    first = np.array([0.0, math.log10(loss), 0.3, 0.0, -0.5, -3.0, 0.7])
    with np.errstate(over="ignore"):
        lane = 10 ** np.minimum(first + drift[:, None] + noise, 38)
    # A step of 2 ms is looked at once a second: few of the first points hold one.
    wide = np.diff(at, prepend=-1) >= 500
    looked = wide | (at < FIRST_LOOKS) | (rng.random(len(at)) < 0.02)
    for i, name in enumerate(schema.LANE_SERIES):
        if name in schema.LOOKED_SERIES:
            lane[~looked, i] = np.nan
    return lane.astype(np.float32)


@functools.lru_cache(maxsize=64)
def _shape(shape: int, part: int, buckets: int, probes: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(1000 * shape + part)
    stats = rng.lognormal(0, 1, (buckets, probes, len(schema.RANGE_COLUMNS)))
    counts = np.zeros((buckets, probes, len(schema.COUNT_COLUMNS)), np.int64)
    return stats.astype(np.float32), counts


def _ranges(session: str, shape: int, ends: list[int], probes: int) -> list[RangesRecord]:
    starts = [0, *(e + 1 for e in ends[:-1])]
    records = []
    for seq, part in enumerate(np.array_split(np.arange(len(ends)), RECORDS)):
        stats, counts = _shape(shape, seq, len(part), probes)
        steps = np.array([[starts[i], ends[i]] for i in part], np.int64).reshape(-1, 2)
        bad = np.zeros((len(part), probes), np.int64)
        measured = np.ones(len(part), np.int64)
        records.append(
            RangesRecord(session, seq, "train", steps, stats, counts, bad, measured)
        )
    return records


def _flight(session: str, onset: int, probes: int) -> FlightRecord:
    steps = np.arange(max(0, onset - 8), onset + 1)
    return FlightRecord(
        session,
        0,
        "train",
        steps,
        np.ones((len(steps), probes), np.float32),
        steps[-1:],
        np.ones((1, probes, len(schema.RANGE_COLUMNS)), np.float32),
        np.zeros((1, probes, len(schema.COUNT_COLUMNS)), np.int64),
    )


def _write_scalars(run: pathlib.Path, epochs: int, loss: float, started: float) -> None:
    """Writes what Keras' TensorBoard callback would: the loss of each epoch."""
    from tensorboard.compat.proto import event_pb2

    writer = EventWriter(str(run), clock=lambda: started)
    events = []
    for epoch in range(epochs):
        event = event_pb2.Event(wall_time=started + epoch, step=epoch)
        value = event.summary.value.add(
            tag="epoch_loss",
            metadata=summary_pb2.SummaryMetadata(
                plugin_data={"plugin_name": "scalars"},
                data_class=summary_pb2.DATA_CLASS_SCALAR,
            ),
        )
        value.tensor.dtype = 1
        value.tensor.float_val.append(loss * (1 + 1 / (epoch + 1)))
        events.append(event.SerializeToString())
    writer._append(events)  # noqa: SLF001
    writer.close()


def main() -> None:
    """Writes the directory that the arguments describe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("logdir", type=pathlib.Path)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--layers", type=int, default=50)
    a = parser.parse_args()
    began = time.monotonic()
    write(a.logdir, a.trials, a.epochs, a.layers)
    print(f"{a.trials} trials in {time.monotonic() - began:.0f} s: {a.logdir}")


if __name__ == "__main__":
    main()
