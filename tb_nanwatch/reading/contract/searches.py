# SPDX-License-Identifier: Apache-2.0
"""One search as overview, report and comparisons tell it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from tb_nanwatch.diagnosis.answer import Answer
from tb_nanwatch.record.schema import Boundary, Condition, HParamType, JSONScalar


@dataclass(frozen=True)
class SpaceHParam:
    """A hyperparameter of the search space, without a value.

    Attributes:
        name: the hyperparameter's name.
        type: which KerasTuner class declared it; "number" and "text" for values that came
            without a search space.
        active: whether the conditions held in any run.
        min: least value of an "int" or "float".
        max: largest value of these.
        step: between their values.
        sampling: "linear", "log" or "reverse_log"; null where it has none.
        values: of a "choice".
        ordered: whether a "choice" has an order.
        default: the value that the space names as default.
        conditions: all must hold for the hyperparameter to be active.
    """

    name: str
    type: HParamType
    active: bool
    min: JSONScalar
    max: JSONScalar
    step: JSONScalar
    sampling: str | None
    values: list[JSONScalar] | None
    ordered: bool | None
    default: JSONScalar
    conditions: list[Condition]


@dataclass(frozen=True)
class Rate:
    """How many trials went bad at one value, or in one part of an axis.

    Attributes:
        hparam: name.
        label: of the value or the part.
        bad: trials that went bad.
        total: trials.
        low: lower end of the rate's interval, Wilson's of 95 %.
        high: its upper end.
    """

    hparam: str
    label: str
    bad: int
    total: int
    low: float
    high: float


@dataclass(frozen=True)
class Finding:
    """A condition under which trials went bad.

    Attributes:
        search: id.
        hparam: the hyperparameter that the edit is of.
        condition: "learning_rate >= 0.3".
        inside: bad trials, and all, where it holds.
        outside: the same where it does not.
        p_value: corrected for all the conditions that were looked at.
        edit: code, "" where there is none; of values that no space declares, a condition in
            Python that holds for those to leave out.
        where: a sentence on where to paste it, "" likewise.
        saves: what it would have saved, in words, and how its bound relates to what was tried.
        rivals: sentences on the conditions that fit the counts as well or better, "" where
            there are none; `text` has them too.
        text: all of it in sentences.
    """

    search: str
    hparam: str
    condition: str
    inside: tuple[int, int]
    outside: tuple[int, int]
    p_value: float
    edit: str
    where: str
    saves: str
    rivals: str
    text: str


@dataclass(frozen=True)
class FirstScreen:
    """The sentences of the first screen; each but the first may be empty.

    Attributes:
        happened: "4 of 24 trials diverged".
        why: what most bad trials have in common: their cause, their hyperparameters.
        sure: "tested", "likely" or "unclear"; empty where the cause is unknown.
        where: operation and line, or the first bad tensor, where that tells something of
            all bad trials.
        fix: what to change.
        tested: what an experiment has shown of `fix`.
        edit: the one edit that goes with `fix`: code to paste, "" where there is none.
        paste: a sentence on where to paste it, "" likewise.
        next: how to go on once that is changed.
        notes: what nobody must miss beside it.
        more: what the answer rests on: counts, p values, what else fits them, the reasons
            of an abort, cost.
    """

    happened: str = ""
    why: str = ""
    sure: str = ""
    where: str = ""
    fix: str = ""
    tested: str = ""
    edit: str = ""
    paste: str = ""
    next: str = ""
    notes: list[str] = field(default_factory=list)
    more: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Aborted:
    """A search that ended early: by the tuner, by an exception, or by hand.

    Attributes:
        trials: ids of the trials that caused it.
        names: of these, for people.
        reasons: why each of them failed, in one line.
        message: of the exception.
        fix: what to do, with reasons.
        next: the same in short, for where the cause and its fix are told already.
    """

    trials: list[str]
    names: list[str]
    reasons: list[str]
    message: str
    fix: str
    next: str


@dataclass(frozen=True)
class Cost:
    """The training time that going bad cost a search, replaced attempts included.

    Attributes:
        seconds: of training.
        seconds_after_onset: those after the first bad step of trainings that went
            non-finite (a runaway's are not counted: `on_nonfinite="stop"` would not have
            ended it).
        share: of the second in the first.
        text: a sentence, "" where that is less than one percent.
    """

    seconds: float
    seconds_after_onset: float
    share: float
    text: str


@dataclass(frozen=True)
class SearchAnswer(Answer):
    """The answer of the trial that is surest of the cause which most bad trials share.

    Attributes:
        count: bad trials that share it.
        of: bad trials in all.
        whose: the trial whose numbers these are, "Trial #3".
        names: of the first few that share it.
        id: of the cause, one of `CAUSES`.
    """

    count: int
    of: int
    whose: str
    names: list[str]
    id: str


@dataclass(frozen=True)
class ToldBoundary(Boundary):
    """Where, along one number, trainings begin to go bad, in words too.

    Attributes:
        text: a sentence.
    """

    text: str = ""


@dataclass(frozen=True)
class Frontier:
    """The result of a stability search.

    Attributes:
        boundaries: along one number each, at values of what moves them.
        code: that declares the space that lives.
        kept: share of the searched space that it keeps.
        trials: short ones.
        bad: how many of them went bad.
        steps: of training for which it holds: those of a short trial.
        spent_steps: of all trials together.
        seconds: of all trials together.
    """

    boundaries: list[ToldBoundary]
    code: str
    kept: float
    trials: int
    bad: int
    steps: int
    spent_steps: int
    seconds: float


@dataclass(frozen=True)
class Confirmation:
    """The result of testing a search's hint by short extra trials, which are not part of the search.

    Attributes:
        condition: "learning_rate >= 0.3", fixed before the first of them.
        other: "learning_rate <= 0.1", its other side, fixed likewise; "" where that is all
            else.
        inside: bad trials, and all, where it holds.
        outside: the same on its other side.
        p_value: of Fisher's exact test over these trials alone, one-sided.
        confirmed: whether that is at most 0.05.
        steps: of a trial, at most.
        seconds: of all of them together.
        text: all of it in a sentence.
    """

    condition: str
    other: str
    inside: tuple[int, int]
    outside: tuple[int, int]
    p_value: float
    confirmed: bool
    steps: int
    seconds: float
    text: str


@dataclass(frozen=True)
class SearchSummary:
    """One search, or the runs without one.

    Attributes:
        search: id; "by-hand:DIRECTORY" of runs with `hparams=` that share a directory, "" for
            others without a tuner.
        name: KerasTuner's project name.
        tuner: class of the tuner, "" where it is not known.
        objective: its name; null where it is not known.
        direction: "min" or "max" of the objective; null where it is not known.
        started: seconds since the epoch.
        trials: how many.
        by_status: how many came to each status that occurs.
        aborted: null where it ran to its end, or still runs.
        cost: null where no run went bad.
        counted: the part of `verdict` that counts trials, without what they say together.
        verdict: what became of the trials and what they say together, in sentences.
        answer: null where no trial went bad, and of a stability search, where they were to.
        hparams: the search space.
        purpose: "search" or "stability"; runs of the latter have no score.
        frontier: what a stability search found; null elsewhere.
        afterwards: how the space that lives fared in this later search, "" without one.
        confirmation: what short extra trials made of the search's hint; null without any.
        rates: how many trials went bad along each hyperparameter that took several values.
        first: what the first screen says.
        lanes: version of each block of `lanes`, which changes when a lane in it does; empty
            outside of `overview`.
    """

    IN_REPORT: ClassVar[tuple[str, ...]] = (
        "search",
        "tuner",
        "objective",
        "trials",
        "by_status",
        "aborted",
        "cost",
        "verdict",
        "answer",
        "purpose",
        "frontier",
        "afterwards",
        "confirmation",
    )
    search: str
    name: str
    tuner: str
    objective: str | None
    direction: str | None
    started: float
    trials: int
    by_status: dict[str, int]
    aborted: Aborted | None
    cost: Cost | None
    counted: str
    verdict: str
    answer: SearchAnswer | None
    hparams: list[SpaceHParam]
    purpose: str = "search"
    frontier: Frontier | None = None
    afterwards: str = ""
    confirmation: Confirmation | None = None
    rates: list[Rate] = field(default_factory=list)
    first: FirstScreen = field(default_factory=FirstScreen)
    lanes: list[str] = field(default_factory=list)
