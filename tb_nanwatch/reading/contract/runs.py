# SPDX-License-Identifier: Apache-2.0
"""One run as overview, report and comparisons tell it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tb_nanwatch.diagnosis.answer import Answer
from tb_nanwatch.diagnosis.closest import ClosestCall
from tb_nanwatch.record.schema import (
    BadTensor,
    Episode,
    JSONScalar,
    Lineage,
    Misread,
    Position,
    PostMortem,
    State,
    Status,
)


@dataclass(frozen=True)
class Origin(BadTensor):
    """The first bad tensor of a run, with the operation that made it.

    Attributes:
        op: the operation as users know it, e.g. "tf.math.divide"; null where none is named.
        source: the user's line, "file:line"; null where none is named.
    """

    IN_REPORT: ClassVar[tuple[str, ...]] = (
        "kind",
        "name",
        "num_nan",
        "num_pos_inf",
        "num_neg_inf",
        "op",
        "source",
    )
    op: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class NamedCause:
    """Why a run went bad, with a name for people.

    Attributes:
        id: one of `CAUSES`.
        sure: "tested" where an experiment confirmed it, else "likely" or "unclear".
        record: how often causes as sure as this one were right of other people's programs,
            in words; "" of "unknown".
        confidence: the probability that this is the cause, in [0, 1].
        evidence: sentences with numbers taken from the run's own record.
        fix: what to change, in one sentence.
        label: as people say it, "division by zero in your loss".
    """

    IN_REPORT: ClassVar[tuple[str, ...]] = (
        "id",
        "sure",
        "record",
        "confidence",
        "evidence",
        "fix",
    )
    id: str
    sure: str
    record: str
    confidence: float
    evidence: list[str]
    fix: str
    label: str


@dataclass(frozen=True)
class ToldScalar:
    """A scalar of a run without NaN Watch, with epochs that were not finite.

    Attributes:
        phase: "train", "validation", or the directory's own name.
        tag: of the scalar.
        first_epoch: the first of these epochs, from 0.
        count: how many there are.
        total: epochs of the scalar that TensorBoard has kept, 1,000 at most.
        text: the same in words.
    """

    phase: str
    tag: str
    first_epoch: int
    count: int
    total: int
    text: str


@dataclass(frozen=True)
class ToldCall(ClosestCall):
    """The value of a clean run that came within a decade of its dtype's end.

    Attributes:
        text: "output of dense_1 reached 3e+04 of 65504 in float16".
    """

    text: str = ""


@dataclass(frozen=True)
class Records:
    """How much there is of what `run`, `ranges` and `flight` are made of.

    Attributes:
        read: records that TensorBoard has loaded so far.
        written: those that the run's status says were written. As long as fewer are read,
            more is on its way, or lost; then `damage` says so.
    """

    read: int
    written: int


@dataclass(frozen=True)
class RunSummary:
    """One run.

    Attributes:
        run: its name in TensorBoard; with `session` its key, since a search that is run
            again with `overwrite=True` uses names again.
        name: for people: the trial as KerasTuner prints it ("Trial #3"; "Trial ID" where it
            has no number), else the run's own name; "." as that of a directory says nothing.
        session: id of the training that wrote it.
        search: id of its search, "" for none.
        trial_id: of its trial, null outside of a search.
        number: the n of KerasTuner's "Trial #n".
        execution: of the trial, from 0.
        fit: counts, from 0, the trainings of one execution (a `HyperModel.fit` that trains
            twice, a model that is trained on). They decide together, and the trial is as bad
            as the worst of them; the tuner's score is that of the last.
        retry: attempts at the same execution before this one, in a resumed search too.
        superseded: whether it is an earlier attempt; a later session of the trial's
            execution decides, and this one is counted as no trial.
        worker: the tuner's id.
        state: how the training is going.
        stopped_by: what ended it, null for nothing but its own end.
        status: how far bad values reached. A run that ended before its first step was over
            is "unwatched".
        tuner_status: KerasTuner's own word.
        score: the tuner's, null where there is none, and in a stability search.
        best_step: the epoch, from 0, whose objective became the score.
        message: KerasTuner's whole traceback.
        failure: the exception that ended it and the useful part of what it said
            ("ValueError: units must be positive"), null where none did.
        failure_text: the same as a sentence; null too where the run's row says as much (the
            exceptions of `on_nonfinite`).
        unwatched_text: why a run that did not fail is "unwatched" (its callbacks were not
            handed to `model.fit`, say), null where nothing is known of it.
        misread: how KerasTuner took a run that went bad for a result, or null:
            `stale_score` (by an epoch from before its first bad step), `damaged_score` (by a
            finite score of an epoch at whose end weights or layer state were non-finite) or
            `infinite_score` (by an infinite one).
        misread_text: the same in words.
        hparams: the values of the active hyperparameters, by name.
        inactive: names of those that were not active.
        onset: the first bad step, or a runaway's take-off; null of a clean run.
        origin: the first bad tensor; null of a clean run.
        contained: harmless episodes, the first tensor of each, at most 20.
        postmortem: what running its failing step again has shown, or null. Values of single
            rows of data are null where they are not told.
        reproduction: a short Python script that runs that step again, null without a capsule.
        causes: why it went bad, the likeliest first.
        answer: what that comes down to, in the sentences that training, report and tab
            show; null of a run that did not go bad.
        clean_text: the sentence of a run that stayed finite, "" of others; the route `run`
            counts the tensors in it, too.
        started: seconds since the epoch.
        updated: seconds since the epoch, of the last sign of life.
        steps: training steps so far.
        epochs: begun so far.
        epochs_planned: as `fit` was asked for; null where that is not known.
        steps_after_onset: what was trained on after the first bad step.
        seconds_after_onset: the same in seconds.
        recovered: whether a run that had gone bad is finite again.
        closest: for each float dtype, the largest |value| of an activation or gradient over
            the dtype's largest finite number.
        closest_call: that of a clean run where it came within a decade of the end, else
            null.
        loss_scale: what the loss was multiplied with after the last step; null where it is
            not scaled.
        skipped_steps: how many of its steps a `LossScaleOptimizer` skipped, exact at any
            scale; null likewise.
        lineage: how a trial of Hyperband continues another, null elsewhere.
        lineage_text: the same in words, "" where there is none.
        inherited: the status of the training whose weights it began with (the trial's that
            it continues, or the `fit` before) where that had gone bad otherwise than by
            stalling, which spares the weights; else null.
        inherited_text: the same in words, or "".
        scalars: of a run without NaN Watch, those that were not finite.
        error_type: class of the exception that ended it.
        error_message: what that said.
        damage: what is missing or unreadable, a sentence each.
        records: how much of it TensorBoard has loaded.
        attempt: "exec 2/2 fit 1/2 retry 1"; "" where there is but one, and outside of
            `overview`.
    """

    IN_REPORT: ClassVar[tuple[str, ...]] = (
        "run",
        "search",
        "trial_id",
        "number",
        "execution",
        "fit",
        "retry",
        "worker",
        "state",
        "stopped_by",
        "status",
        "tuner_status",
        "score",
        "best_step",
        "message",
        "failure",
        "unwatched_text",
        "misread",
        "misread_text",
        "lineage",
        "inherited",
        "closest_call",
        "loss_scale",
        "skipped_steps",
        "scalars",
        "hparams",
        "onset",
        "origin",
        "contained",
        "postmortem",
        "reproduction",
        "causes",
        "answer",
    )
    run: str
    name: str
    session: str
    search: str
    trial_id: str | None
    number: int | None
    execution: int
    fit: int
    retry: int
    superseded: bool
    worker: str | None
    state: State
    stopped_by: str | None
    status: Status
    tuner_status: str | None
    score: float | None
    best_step: int | None
    message: str | None
    failure: str | None
    failure_text: str | None
    unwatched_text: str | None
    misread: Misread | None
    misread_text: str | None
    hparams: dict[str, JSONScalar]
    inactive: list[str]
    onset: Position | None
    origin: Origin | None
    contained: list[Episode]
    postmortem: PostMortem | None
    reproduction: str | None
    causes: list[NamedCause]
    answer: Answer | None
    clean_text: str
    started: float
    updated: float
    steps: int
    epochs: int
    epochs_planned: int | None
    steps_after_onset: int
    seconds_after_onset: float
    recovered: bool
    closest: dict[str, float]
    closest_call: ToldCall | None
    loss_scale: float | None
    skipped_steps: int | None
    lineage: Lineage | None
    lineage_text: str
    inherited: Status | None
    inherited_text: str
    scalars: list[ToldScalar]
    error_type: str | None
    error_message: str | None
    damage: list[str]
    records: Records
    attempt: str = ""
