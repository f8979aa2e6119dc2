"""Every record that NaN Watch writes, and the words in it; `codec` makes bytes of them."""

from __future__ import annotations

import math
import typing
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

SCHEMA_VERSION: Final = 1

# --- The words that the report, the HTTP API and the tab share ----------------

State = Literal["running", "finished", "stopped", "failed", "interrupted"]
STATES: Final[tuple[str, ...]] = typing.get_args(State)

# By how far non-finite values reached; the worst wins, so order matters.
Status = Literal[
    "unwatched", "clean", "contained", "stalled", "score_lost", "runaway", "diverged"
]
STATUSES: Final[tuple[str, ...]] = typing.get_args(Status)
# A trial that went bad, in the sense of every statistic over trials. One that stalled
# lost nothing, but its values made it learn nothing.
BAD_STATUSES: Final[tuple[str, ...]] = ("stalled", "score_lost", "runaway", "diverged")
# What a training can have come to whose weights are no good to another. Those of one that
# stalled are as they were before it did.
HEREDITARY: Final[tuple[str, ...]] = tuple(s for s in BAD_STATUSES if s != "stalled")
# Of all these, what left every value finite: nothing that was computed is wrong.
FINITE_STATUSES: Final[tuple[str, ...]] = ("stalled", "runaway")

Misread = Literal["stale_score", "infinite_score", "damaged_score"]
MISREADS: Final[tuple[str, ...]] = typing.get_args(Misread)

Phase = Literal["train", "validation"]
PHASES: Final[tuple[str, ...]] = typing.get_args(Phase)

# In causal order within one step: a probe can only be poisoned by earlier ones.
Kind = Literal[
    "input",
    "label",
    "sample_weight",
    "activation",
    "prediction",
    "loss",
    "metric",
    "gradient",
    "optimizer",
    "weight",
    "layer_state",
]
KINDS: Final[tuple[str, ...]] = typing.get_args(Kind)
# Non-finite values here outlive the step: the run itself is damaged.
PERSISTENT_KINDS: Final[tuple[str, ...]] = ("optimizer", "weight", "layer_state")
# Of these, what a prediction is computed from.
MODEL_KINDS: Final[tuple[str, ...]] = ("weight", "layer_state")

CAUSES: Final[tuple[str, ...]] = (
    "learning_rate",
    "unscaled_inputs",
    "unscaled_targets",
    "unscaled_data",
    "nonfinite_data",
    "outlier_data",
    "label_range",
    "loss_domain",
    "metric_domain",
    "layer_domain",
    "initialization",
    "gradient_amplification",
    "half_precision",
    "optimizer_settings",
    "inherited",
    "unknown",
)

# Columns of the arrays below. New ones are appended, never put between: a log of another
# version then holds the same columns, fewer or more of them.
RANGE_COLUMNS: Final[tuple[str, ...]] = (
    "min",  # smallest finite element seen, NaN where none was
    "max",  # largest finite element seen
    "rms_min",  # smallest root mean square of a step
    "rms_max",  # largest root mean square of a step
    "rms",  # root mean square over the bucket's finite steps
    "zero_fraction",  # share of elements that are exactly zero
    # largest ||after - before|| / ||before|| of a step's update, of weights with two or
    # more dimensions; known where two consecutive steps were looked at in full
    "update_ratio",
)
COUNT_COLUMNS: Final[tuple[str, ...]] = ("num_nan", "num_pos_inf", "num_neg_inf")
# One value each for a point of a lane; NaN where nothing finite was measured.
LANE_SERIES: Final[tuple[str, ...]] = (
    "growth",  # largest rms of a weight or activation over its first non-zero rms
    "loss",  # |total loss|
    "gradient_norm",  # global norm of the gradients as they reach the optimizer
    "activation",  # largest rms of an activation
    "weight",  # largest rms of a weight with two or more dimensions
    "update_ratio",  # largest ||after - before|| / ||before|| of such a weight in a step
    "activation_max",  # largest finite |element| of an activation
)
# Of these, what is known of the steps that were looked at in full alone, and NaN in points
# that hold none; the others are of every step.
LOOKED_SERIES: Final[tuple[str, ...]] = ("update_ratio", "activation_max")

# What a search is for: scores, or the frontier of what can be trained at all.
PURPOSES: Final[tuple[str, ...]] = ("search", "stability")

HParamType = Literal["int", "float", "choice", "boolean", "fixed", "text", "number"]

# A number that is not finite comes back as its word ("Infinity"): it cannot be told from
# a text, and no order or threshold would hold for it.
JSONScalar: TypeAlias = bool | int | float | str | None
# What Keras' `get_config` and its like return.
Config: TypeAlias = dict[str, Any]
Array: TypeAlias = npt.NDArray[Any]


# --- Parts of records ---------------------------------------------------------


@dataclass
class Condition:
    """A hyperparameter is active where its parent has one of some values.

    Attributes:
        name: of the parent.
        values: of the parent.
    """

    name: str
    values: list[JSONScalar]


@dataclass
class Declaration:
    """Where the user's program declares a hyperparameter, as its source text says.

    Attributes:
        source: "tune.py:23", the statement with the call. "" where the text shows no
            single one, as for a name that is put together in a loop.
        function: the function that the statement stands in.
        line: of the statement in its file, from 1.
        variable: what the statement assigns the value to; where it assigns none, a
            name that is free there.
        assigned: whether the statement is that assignment and nothing else.
        always: whether it runs whenever the function does, and not in a branch or loop.
        hp: what the function calls its `HyperParameters`.
    """

    source: str = ""
    function: str = "build"
    line: int = 0
    variable: str = ""
    assigned: bool = False
    always: bool = False
    hp: str = "hp"


@dataclass
class HParam:
    """One hyperparameter of a run: its value and the space it was drawn from.

    Attributes:
        name: the hyperparameter's name.
        value: its value in this run; None where it is inactive.
        type: which KerasTuner class declared it; "number" and "text" for values
            that came without a search space.
        active: whether the conditions held in this run.
        min, max, step: bounds of an "int" or "float".
        sampling: "linear", "log" or "reverse_log"; None where it has none.
        values: the values of a "choice".
        ordered: whether a "choice" has an order.
        default: the value that the space names as default.
        conditions: all must hold for the hyperparameter to be active.
        declared: where; None where the program's source could not be read.
    """

    name: str
    value: JSONScalar = None
    type: HParamType = "text"
    active: bool = True
    min: JSONScalar = None
    max: JSONScalar = None
    step: JSONScalar = None
    sampling: str | None = None
    values: list[JSONScalar] | None = None
    ordered: bool | None = None
    default: JSONScalar = None
    conditions: list[Condition] = field(default_factory=list)
    declared: Declaration | None = None


@dataclass
class Search:
    """What identifies a search; the same in all of its sessions.

    Attributes:
        id: made once for a search, kept when it is resumed, new after
            `overwrite=True`; shared by all workers.
        name: KerasTuner's project name.
        tuner: class name of the tuner.
        objective: name of the objective, or several joined by ", ".
        direction: "min" or "max".
        started: seconds since the epoch.
        max_trials: None where the tuner has none.
        max_consecutive_failed_trials: after so many the tuner aborts.
        executions_per_trial: trainings of one set of values.
        oracle: class name of KerasTuner's that the oracle is, or derives from.
        purpose: "stability" where the trials are short and look for the frontier between
            values that live and those that go bad; their scores are none.
    """

    id: str
    name: str = ""
    tuner: str = ""
    objective: str | None = None
    direction: str | None = None
    started: float = 0.0
    max_trials: int | None = None
    max_consecutive_failed_trials: int | None = None
    executions_per_trial: int = 1
    oracle: str | None = None
    purpose: str = "search"


@dataclass(frozen=True)
class Boundary:
    """Where, along one number, trainings begin to go bad.

    Attributes:
        name: the hyperparameter's along which it runs; "" where no number moves it.
        where: values of the others that move it.
        dead_above: whether the larger values die; else the smaller ones do.
        living: the last value that is known to live, None for none.
        dead: the first value that is known to die, None for none.
        middle: at which about half of the seeds die.
        all_living, all_dead: the whole range is on one side.
        sure: whether `living` and `dead` are as near as was wanted.
    """

    name: str
    where: dict[str, JSONScalar] = field(default_factory=dict)
    dead_above: bool = True
    living: JSONScalar = None
    dead: JSONScalar = None
    middle: JSONScalar = None
    all_living: bool = False
    all_dead: bool = False
    sure: bool = False


@dataclass
class Score:
    """What a training without a tuner is judged by.

    Attributes:
        name: of a metric in the logs that Keras gives to callbacks.
        value: that of the last epoch.
        direction: "min" or "max"; None where nobody knows which is better.
        epoch: that it is from, from 0, as Keras counts.
    """

    name: str
    value: float
    direction: str | None
    epoch: int


@dataclass
class Lineage:
    """How a trial continues another one (Hyperband's bookkeeping values).

    Attributes:
        trial_id: the trial that it continues, None for none.
        initial_epoch: the epoch that it begins with, from 0.
        epochs: the epoch that it ends before.
        bracket, round: of Hyperband.
    """

    trial_id: str | None = None
    initial_epoch: int | None = None
    epochs: int | None = None
    bracket: int | None = None
    round: int | None = None


@dataclass
class Probe:
    """One watched tensor.

    Attributes:
        kind: what the tensor is.
        name: unique among the run's probes of one kind and phase; the path that
            `model.summary()` shows, or of the variable.
        layer: path of the layer it belongs to, "" where it belongs to none.
        dtype: NumPy name of the dtype.
        shape: static shape, None for an unknown dimension.
    """

    kind: Kind
    name: str
    layer: str = ""
    dtype: str = "float32"
    shape: list[int | None] = field(default_factory=list)


@dataclass
class Position:
    """A point of a training.

    Attributes:
        phase: training or validation.
        step: training steps of the run before it, from 0.
        epoch: from 0, as Keras counts (it starts at `initial_epoch`).
        batch: within the epoch, or within the validation pass, from 0.
    """

    phase: Phase
    step: int
    epoch: int
    batch: int


@dataclass(frozen=True)
class BadTensor:
    """A probe that was non-finite, with exact counts at the step named.

    Attributes:
        kind, name: the probe's.
        num_nan, num_pos_inf, num_neg_inf: elements.
        size: elements of the tensor in all.
        row: index along the first axis of the first bad element, None for a scalar.
        replica: which replica saw it first.
    """

    kind: Kind
    name: str
    num_nan: int = 0
    num_pos_inf: int = 0
    num_neg_inf: int = 0
    size: int = 0
    row: int | None = None
    replica: int = 0


@dataclass
class Operand:
    """One input of an operation, measured.

    Attributes:
        name: what it is to the operation, e.g. "denominator".
        dtype, shape: NumPy's name and the shape.
        size: elements in all.
        min, max: of the finite elements, NaN where there are none.
        smallest: the smallest non-zero |element|, NaN where there are none.
        num_zero, num_negative: elements.
        num_nan, num_pos_inf, num_neg_inf: elements.
    """

    name: str
    dtype: str = ""
    shape: list[int] = field(default_factory=list)
    size: int = 0
    min: float = math.nan
    max: float = math.nan
    smallest: float = math.nan
    num_zero: int = 0
    num_negative: int = 0
    num_nan: int = 0
    num_pos_inf: int = 0
    num_neg_inf: int = 0


@dataclass
class Source:
    """A line of the user's code.

    Attributes:
        file: relative to the directory in which the training ran, where it is below.
        line: from 1.
        function: the function's name.
        text: of the expression, in one line; "" where the source cannot be read.
    """

    file: str
    line: int
    function: str = ""
    text: str = ""


@dataclass
class Experiment:
    """The training run again with one thing changed.

    Attributes:
        change: which change, e.g. "learning_rate/10".
        text: the change in words.
        finite: whether everything stayed finite.
        steps: steps that were run, the failing one included.
        note: where it went bad all the same, or why it could not be tried.
        tried: False where it does not apply.
        first: number of the training step that it began with.
        learns: whether the loss fell as that of a training does, None where too few steps
            were run to tell.
        value: the number that was set, such as a learning rate; None for none.
        first_loss, last_loss: of the first step, and the mean of the last tenth of the
            steps; None where there is none.
    """

    change: str
    text: str
    finite: bool = False
    steps: int = 0
    note: str = ""
    tried: bool = True
    first: int = 0
    learns: bool | None = None
    value: float | None = None
    first_loss: float | None = None
    last_loss: float | None = None

    @property
    def succeeded(self) -> bool:
        """Whether it stayed finite and, where that can be told, learnt."""
        return self.tried and self.finite and self.learns is not False


@dataclass
class Link:
    """A value on the way to the first bad one, and where it came from.

    Attributes:
        operand: what it is to the operation that took it, e.g. "denominator".
        value: of the element that matters, NaN where no single one does.
        low, high: of all elements but NaN, or where the row is known of that row's.
        origin: "data", "variable", "constant" or "operation"; "" where that is unknown.
        name: of the data's tensor, path of the variable, or the operation as users know
            it.
        layer: path of the layer in which the operation ran, "" for none.
        source: the line of the user's that called it, None where there is none.
        operands: what it took for this element, where it works element by element.
        row: of the batch, -1 where it is unknown.
        column: of data, the index within the example; empty where it is unknown.
    """

    operand: str
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    origin: str = ""
    name: str = ""
    layer: str = ""
    source: Source | None = None
    operands: list[float] = field(default_factory=list)
    row: int = -1
    column: list[int] = field(default_factory=list)


@dataclass
class Since:
    """Whether the first bad operation goes bad with other batches and earlier weights.

    Attributes:
        batches: how many batches before the failing one were run with the state from
            before the failing step.
        bad: with how many of these its result was not finite.
        low, high: of the operand that the chain begins with, in these.
        steps: how many steps before the failing one the earlier state is from, 0 for none.
        was_bad: whether the failing batch gives a bad result with that, None where that was
            not tried.
    """

    batches: int = 0
    bad: int = 0
    low: float = math.nan
    high: float = math.nan
    steps: int = 0
    was_bad: bool | None = None


@dataclass
class Outlier:
    """Finite values of a batch that are far beyond those of the others.

    Attributes:
        name: of the tensor, as the probes name it: "input", "label['a']".
        rows: of the batch that hold such values, at most 100.
        row, column: where the worst of them is; `column` is the index within the
            example, empty for a tensor of one number an example.
        value: the worst.
        usual: the largest |value| that it is compared with.
        batches: before this one, in which `usual` was the largest; 0 where it is that of
            the other rows of the same batch.
        count: such values in all.
        size: rows of the batch.
        ago: how many steps before the failing one its batch came; 0 for the failing one.
    """

    name: str
    rows: list[int] = field(default_factory=list)
    row: int = 0
    column: list[int] = field(default_factory=list)
    value: float = math.nan
    usual: float = math.nan
    batches: int = 0
    count: int = 1
    size: int = 0
    ago: int = 0


@dataclass
class PostMortem:
    """What running the failing step again, operation by operation, has shown.

    Attributes:
        reproduced: the origin was non-finite again, with the same counts.
        reason: why nothing is named, where nothing is; a sentence.
        text: what is named, in one line without a full stop.
        op: the operation as users know it, e.g. "tf.math.divide".
        op_type: TensorFlow's type of the operation that ran, e.g. "RealDiv".
        forward_type: TensorFlow's type of `op`.
        gradient: `op_type` belongs to the gradient of `op`.
        layer: path of the layer in which it ran, "" for none.
        in_model: whether `op` ran in a call of the model or of one of its layers, and not in
            the loss or the step; None where it is not known.
        owner: of library code that no line of the user's calls: what it is.
        source: the user's line, None where none can be named.
        finding: what was wrong with the inputs, e.g. "3 of 32 denominators are 0".
        inputs: of the operation.
        chain: where the input that matters came from, the operation's own first.
        since: whether other batches and earlier weights do the same.
        num_nan, num_pos_inf, num_neg_inf: of its output. size: of its output.
        shape, dtype: of its output.
        finite_in_float32: of a step whose first bad operation computes in float16: whether
            it stays finite up to the origin when run in float32; None where that was not
            tried.
        data: name of the input, label or sample weight that is non-finite itself.
        held: path of a variable that was non-finite before the step already, "" for none.
        rows: of the batch that are bad there, at most 100.
        outliers: of the batch, one for each tensor that has some, the worst first; then
            those of the last batch before it that had some.
        capsule: where the capsule lies that the step can be run again from, "" for
            nowhere.
        own_code: what the model uses that the capsule does not hold, by name; a replay
            of the capsule needs the code that makes the model.
        seconds: what it took.
        experiments: changes that were tried, the control first.
        untried: why none was tried from before the failing step, in words.
    """

    reproduced: bool = False
    reason: str = ""
    text: str = ""
    op: str | None = None
    op_type: str | None = None
    forward_type: str | None = None
    gradient: bool = False
    layer: str = ""
    in_model: bool | None = None
    owner: str = ""
    source: Source | None = None
    finding: str = ""
    inputs: list[Operand] = field(default_factory=list)
    chain: list[Link] = field(default_factory=list)
    since: Since | None = None
    num_nan: int = 0
    num_pos_inf: int = 0
    num_neg_inf: int = 0
    size: int = 0
    shape: list[int] = field(default_factory=list)
    dtype: str = ""
    finite_in_float32: bool | None = None
    data: str | None = None
    held: str = ""
    rows: list[int] = field(default_factory=list)
    outliers: list[Outlier] = field(default_factory=list)
    capsule: str = ""
    own_code: list[str] = field(default_factory=list)
    seconds: float = 0.0
    experiments: list[Experiment] = field(default_factory=list)
    untried: str = ""


@dataclass
class Episode:
    """A stretch of steps in which the same probes were non-finite.

    Attributes:
        id: counts the run's episodes from 0; a later record with the same id
            replaces an earlier one.
        start: its first step.
        end_step: its last step; None while it is open.
        level: how far it reached: "contained", "score_lost" or "diverged".
        tensors: the non-finite probes in causal order, counts as of `start`.
        new: names the probes among `tensors`, by index, that were finite in the
            step before.
    """

    id: int
    start: Position
    end_step: int | None
    level: Status
    tensors: list[BadTensor]
    new: list[int] = field(default_factory=list)


@dataclass
class Damage:
    """Epochs at whose end the model itself was non-finite.

    Attributes:
        first: the first such epoch, from 0.
        end: the epoch in which the model was finite again; None if it never was.
        kinds: what was non-finite, of MODEL_KINDS.
    """

    first: int
    end: int | None = None
    kinds: list[Kind] = field(default_factory=list)


# --- Records ------------------------------------------------------------------


@dataclass
class Record:
    """What every record carries: its session and its place in the sequence."""

    KIND: ClassVar[str] = ""
    session_id: str
    seq: int


@dataclass
class SessionRecord(Record):
    """What was trained and watched; rewritten whole when probes are added.

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
    """All that the overview shows of one run, cumulative.

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
        status, onset, origin: see DESIGN; onset and origin are null when clean.
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
        seq_*: how many records of each kind were written before this one, so that
            a reader sees a gap.
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
    """What a stability search found; written at its end, once each time it is run.

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
)
RECORDS: Final[dict[str, type[AnyRecord]]] = {
    cls.KIND: cls for cls in typing.get_args(AnyRecord)
}
