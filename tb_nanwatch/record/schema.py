# SPDX-License-Identifier: Apache-2.0
"""Every record that NaN Watch writes; `codec` makes bytes of them.

The words in them and their parts have modules of their own, and are names of this one too.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass, field
from typing import ClassVar, Final, TypeAlias

import numpy as np

from tb_nanwatch.record.found import (
    Example,
    Experiment,
    Link,
    Operand,
    Outlier,
    PostMortem,
    Since,
    Source,
)
from tb_nanwatch.record.parts import (
    BadTensor,
    Boundary,
    Condition,
    Damage,
    Declaration,
    Episode,
    HParam,
    Lineage,
    Position,
    Probe,
    Score,
    Search,
    ShortTrial,
)
from tb_nanwatch.record.words import (
    BAD_STATUSES,
    CAUSES,
    COUNT_COLUMNS,
    FINITE_STATUSES,
    HEREDITARY,
    KINDS,
    LANE_SERIES,
    LOOKED_SERIES,
    MISREADS,
    MODEL_KINDS,
    PERSISTENT_KINDS,
    PHASES,
    PURPOSES,
    RANGE_COLUMNS,
    STATES,
    STATUSES,
    Array,
    Config,
    HParamType,
    JSONScalar,
    Kind,
    Misread,
    Phase,
    State,
    Status,
)

__all__ = [
    "BAD_STATUSES",
    "CAUSES",
    "COUNT_COLUMNS",
    "FINITE_STATUSES",
    "HEREDITARY",
    "KINDS",
    "LANE_SERIES",
    "LOOKED_SERIES",
    "MISREADS",
    "MODEL_KINDS",
    "PERSISTENT_KINDS",
    "PHASES",
    "PURPOSES",
    "RANGE_COLUMNS",
    "RECORDS",
    "SCHEMA_VERSION",
    "STATES",
    "STATUSES",
    "AnyRecord",
    "Array",
    "BadTensor",
    "Boundary",
    "Condition",
    "Config",
    "ConfirmationRecord",
    "Damage",
    "Declaration",
    "Episode",
    "EventsRecord",
    "Example",
    "Experiment",
    "FlightRecord",
    "FrontierRecord",
    "HParam",
    "HParamType",
    "HeartbeatRecord",
    "JSONScalar",
    "Kind",
    "Lineage",
    "Link",
    "Misread",
    "Operand",
    "Outlier",
    "Phase",
    "Position",
    "PostMortem",
    "PostMortemRecord",
    "Probe",
    "RangesRecord",
    "Record",
    "Score",
    "Search",
    "SessionRecord",
    "ShortTrial",
    "Since",
    "Source",
    "State",
    "Status",
    "StatusRecord",
    "TrialRecord",
]

SCHEMA_VERSION: Final = 1


@dataclass
class Record:
    """The fields of every record: its session and its place in the sequence."""

    KIND: ClassVar[str] = ""
    session_id: str
    seq: int


@dataclass
class SessionRecord(Record):
    """The training's set-up and its probes; rewritten whole when probes are added.

    Attributes:
        train_probes, validation_probes: in causal order; arrays of the other
            records index their probe axis by these. Probes that appear later are
            appended, so an index never changes its meaning.
        optimizer: class name and configuration.
        loss: how the model was compiled.
        label_interval: the smallest and the largest label that its losses are made for,
            where all are Keras' own and of one such interval; else empty.
        precision: the dtype policy's name.
        versions: of tensorflow, keras, keras_tuner, tb_nanwatch and python.
        notes: what could not be watched, a sentence each.
    """

    KIND: ClassVar[str] = "session"
    train_probes: list[Probe]
    validation_probes: list[Probe]
    model: str = ""
    optimizer: Config = field(default_factory=dict)
    loss: str = ""
    label_interval: list[float] = field(default_factory=list)
    precision: str = ""
    replicas: int = 1
    jit_compile: bool = False
    steps_per_execution: int = 1
    versions: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass
class RangesRecord(Record):
    """Buckets of steps, each with the ranges of every probe.

    Buckets never overlap; they widen as training goes on. Merging never loses an
    extreme: `min` and `max` are those of all the steps that were measured in full,
    `rms_min` and `rms_max` those of every step; of a large tensor that the step proves to
    be finite without summing it, those of some steps, at least one in 32.

    Attributes:
        phase: of the steps.
        steps: int64 [buckets, 2], first and last step of each bucket.
        stats: float32 [buckets, probes, len(RANGE_COLUMNS)].
        counts: int64 [buckets, probes, len(COUNT_COLUMNS)], non-finite elements
            summed over the steps that were measured in full.
        bad_steps: int64 [buckets, probes], steps in which the probe was non-finite.
        measured: int64 [buckets], steps measured in full.
    """

    KIND: ClassVar[str] = "ranges"
    phase: Phase
    steps: Array
    stats: Array
    counts: Array
    bad_steps: Array
    measured: Array


@dataclass
class EventsRecord(Record):
    """Episodes that began, ended or changed since the record before."""

    KIND: ClassVar[str] = "events"
    episodes: list[Episode]
    # Episodes beyond the log's limit, counted but not described.
    dropped: int = 0


@dataclass
class FlightRecord(Record):
    """The flight recorder: every step around the onset.

    Attributes:
        steps: int64 [n], consecutive.
        rms: float32 [n, probes]; Inf where the probe was non-finite, NaN where it was
            finite but not summed, or had no elements.
        full_steps: int64 [m], the steps among them that were measured in full.
        stats: float32 [m, probes, len(RANGE_COLUMNS)].
        counts: int64 [m, probes, len(COUNT_COLUMNS)].
    """

    KIND: ClassVar[str] = "flight"
    phase: Phase
    steps: Array
    rms: Array
    full_steps: Array
    stats: Array
    counts: Array


@dataclass
class StatusRecord(Record):
    """Everything that the overview shows about one run, cumulative.

    Attributes:
        run: the run's name as the callback knew it, for reproduction only.
        search: None for a plain `fit`.
        trial_id, number: the trial's id, and the n of KerasTuner's "Trial #n".
        execution, attempt: from 0; an attempt above 0 is a retry.
        fit: which training of the execution this is, from 0: a `HyperModel.fit` may
            train several times, and a model may be trained on.
        continues: id of the session whose model this one trains on, in one process.
        worker: the tuner id.
        lineage: the trial that this one continues.
        state, stopped_by, error_type, error_message: how the training is going.
        started, updated: seconds since the epoch, of this record's writing.
        heartbeat: seconds within which the next record is due while running.
        steps: training steps so far. epochs: epochs begun so far.
        steps_after_onset, seconds_after_onset: what was spent after the onset.
        status: how far bad values reached, a word of `words.STATUSES`.
        onset: the first bad step; null when clean. origin: the first bad tensor of the
            onset, in the order of computation; null when clean.
        contained: harmless episodes, the first tensor of each, at most 20.
        num_episodes: all of them.
        recovered: whether a run that had gone bad is finite again.
        why_unwatched: of a run with the status "unwatched", a sentence without a full
            stop; empty where an exception says it.
        damage: epochs at whose end weights or layer state were non-finite, the first
            100 stretches of them; None where it is not known (an older log).
        closest: for each float dtype, the largest |value| of an activation or
            gradient over the dtype's largest finite number, in [0, 1].
        closest_in: for each of these dtypes, kind and name of that tensor.
        lane_steps: int64 [n], the last step of each point. Points are contiguous.
        lane: float32 [n, len(LANE_SERIES)].
        lane_seconds: float32 [n], seconds since `started` at the end of the point.
        lane_epochs: int32 [n], epoch of the point's last step.
        lane_loss_scale: float32 [n], the loss scale after the point's last step; [0]
            where the optimizer scales no loss, or is not watched.
        lane_skipped: int64 [n], the point's steps that the optimizer skipped, since a
            gradient of the scaled loss was non-finite; [0] likewise.
        last_update: the last step that was not skipped where the loss is scaled; None
            where there was none, or no loss is scaled.
        lost_updates: steps that were not skipped, but had gradients of zero alone, at a
            loss scale below 1.
        score: of a training that no tuner judges; None where it has none.
        written: by kind, how many records were written before this one, so that a
            reader sees a gap.
    """

    KIND: ClassVar[str] = "status"
    run: str = ""
    search: Search | None = None
    trial_id: str | None = None
    number: int | None = None
    execution: int = 0
    attempt: int = 0
    fit: int = 0
    continues: str | None = None
    worker: str | None = None
    lineage: Lineage | None = None
    hparams: list[HParam] = field(default_factory=list)
    state: State = "running"
    stopped_by: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    started: float = 0.0
    updated: float = 0.0
    heartbeat: float = 60.0
    steps: int = 0
    epochs: int = 0
    epochs_planned: int | None = None
    steps_after_onset: int = 0
    seconds_after_onset: float = 0.0
    status: Status = "clean"
    onset: Position | None = None
    origin: BadTensor | None = None
    contained: list[Episode] = field(default_factory=list)
    num_episodes: int = 0
    recovered: bool = False
    why_unwatched: str = ""
    damage: list[Damage] | None = None
    closest: dict[str, float] = field(default_factory=dict)
    closest_in: dict[str, list[str]] = field(default_factory=dict)
    lane_steps: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    lane: Array = field(
        default_factory=lambda: np.zeros((0, len(LANE_SERIES)), np.float32)
    )
    lane_seconds: Array = field(default_factory=lambda: np.zeros(0, np.float32))
    lane_epochs: Array = field(default_factory=lambda: np.zeros(0, np.int32))
    lane_loss_scale: Array = field(default_factory=lambda: np.zeros(0, np.float32))
    lane_skipped: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    last_update: int | None = None
    lost_updates: int = 0
    score: Score | None = None
    written: dict[str, int] = field(default_factory=dict)


@dataclass
class TrialRecord(Record):
    """The tuner's own verdict, written after the trial has ended.

    Attributes:
        search_id, trial_id: whose verdict it is.
        tuner_status: KerasTuner's word: COMPLETED, INVALID, FAILED, ...
        score: the oracle's score; None until there is one.
        best_step: the epoch, from 0, whose objective became the score.
        message: the traceback that KerasTuner keeps, where there is one.
        own_best_epoch: the epoch of this training, from 0 for its first one, whose
            objective goes into the score; `best_step` is a mean where a trial has
            several executions. None where its objective was NaN or is not known.
        aborted: the exception with which the search ended here, where it did.
    """

    KIND: ClassVar[str] = "trial"
    search_id: str
    trial_id: str
    tuner_status: str
    score: float | None = None
    best_step: int | None = None
    message: str | None = None
    aborted: str | None = None
    own_best_epoch: int | None = None


@dataclass
class PostMortemRecord(Record):
    """The failing step run again; written once, after the training has ended."""

    KIND: ClassVar[str] = "postmortem"
    result: PostMortem


@dataclass
class FrontierRecord(Record):
    """The result of a stability search; written at its end, once each time it is run.

    Attributes:
        search_id: whose frontier it is.
        boundaries: along one number, at values of what moves them.
        space: declarations of the box that lives; none where nothing lives.
        code: that declares the space that lives.
        kept: share of the searched space that the box keeps.
        trials, bad: short trials, and how many of them went bad.
        steps: of training for which it holds: those of a short trial.
        spent_steps, seconds: of all trials together.
        written_at: seconds since the epoch.
    """

    KIND: ClassVar[str] = "frontier"
    search_id: str
    boundaries: list[Boundary] = field(default_factory=list)
    space: list[HParam] = field(default_factory=list)
    code: str = ""
    kept: float = 1.0
    trials: int = 0
    bad: int = 0
    steps: int = 0
    spent_steps: int = 0
    seconds: float = 0.0
    written_at: float = 0.0


@dataclass
class ConfirmationRecord(Record):
    """Short extra trials on both sides of a hint; written after a search's last trial.

    They are no trials of the search: no score, count or hint of it rests on them.

    Attributes:
        search_id: whose hint it is.
        condition: as the hint has it, fixed before the first of these trials.
        other: its other side, likewise; "" where that is all else.
        trials: in the order in which they were trained.
        p_value: of Fisher's exact test over these trials alone, one-sided: how likely
            chance puts at least so many of the bad ones where the condition holds.
        steps: of a trial, at most.
        seconds: of all of them together.
        written_at: seconds since the epoch.
    """

    KIND: ClassVar[str] = "confirmation"
    search_id: str
    condition: str = ""
    other: str = ""
    trials: list[ShortTrial] = field(default_factory=list)
    p_value: float = 1.0
    steps: int = 0
    seconds: float = 0.0
    written_at: float = 0.0


@dataclass
class HeartbeatRecord(Record):
    """A sign of life of a few hundred bytes, while no status is due.

    Attributes:
        updated: seconds since the epoch, of this record's writing.
        heartbeat: seconds within which the next record is due.
    """

    KIND: ClassVar[str] = "heartbeat"
    updated: float = 0.0
    heartbeat: float = 60.0


AnyRecord: TypeAlias = (
    SessionRecord
    | RangesRecord
    | EventsRecord
    | FlightRecord
    | StatusRecord
    | TrialRecord
    | PostMortemRecord
    | HeartbeatRecord
    | FrontierRecord
    | ConfirmationRecord
)
RECORDS: Final[dict[str, type[AnyRecord]]] = {
    cls.KIND: cls for cls in typing.get_args(AnyRecord)
}
