# SPDX-License-Identifier: Apache-2.0
"""The parts of records: searches, probes, positions, bad tensors, episodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from tb_nanwatch.record.words import HParamType, JSONScalar, Kind, Phase, Status

# The file of a `Declaration` in a notebook's cell, which has none that people know.
CELL: Final = "cell"


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
        source: "tune.py:23", the statement with the call; "cell:2" in a notebook's cell.
            "" where the text shows no single one, as for a name that is put together in a
            loop.
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
    """The identity of a search; the same in all of its sessions.

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


@dataclass(frozen=True)
class ShortTrial:
    """A short extra training on one side of a condition.

    Attributes:
        values: its hyperparameters.
        inside: whether they meet the condition.
        bad: whether it went bad.
        steps: that it trained.
    """

    values: dict[str, JSONScalar] = field(default_factory=dict)
    inside: bool = False
    bad: bool = False
    steps: int = 0


@dataclass
class Score:
    """The metric by which a training without a tuner is judged.

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
        kind: of the tensor.
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
        kinds: the kinds of MODEL_KINDS that were non-finite.
    """

    first: int
    end: int | None = None
    kinds: list[Kind] = field(default_factory=list)
