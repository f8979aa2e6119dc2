# SPDX-License-Identifier: Apache-2.0
"""The answers that compare two runs, or two searches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from tb_nanwatch.reading.contract.runs import RunSummary
from tb_nanwatch.reading.contract.searches import SearchSummary
from tb_nanwatch.record.schema import JSONScalar

COMPARE_VERSION: Final = 1


@dataclass(frozen=True)
class Difference:
    """One difference between two runs.

    Attributes:
        topic: "hparam", "optimizer", "loss", "model", "data", "precision", "setup" or
            "initial"; the latter are of the first step, before any update.
        name: of what differs. That of "initial" and "data" begins with the kind of the
            tensor ("activation.dense", "label.range"); tensors are paired by kind and place,
            never by name, and a root mean square differs where one is more than half a decade
            above the other.
        first: of the first run; null where it has no such thing.
        second: of the second run.
        decades: log10 of the ratio of two numbers, else null.
        likely: whether the likely cause of the one run that went bad is about this.
        text: the sentence, with its full stop.
        setting: name of the optimizer's setting that a hyperparameter sets, else null.
    """

    topic: str
    name: str
    first: JSONScalar
    second: JSONScalar
    decades: float | None
    likely: bool
    text: str
    setting: str | None = None


@dataclass(frozen=True)
class PartingTensor:
    """A tensor that differs where two runs part.

    Attributes:
        kind: of the tensor.
        name: of the tensor.
        first: its root mean square in the first run, "NaN" where non-finite.
        second: the same in the second run.
    """

    kind: str
    name: str
    first: float
    second: float


@dataclass(frozen=True)
class Parting:
    """Where two runs part.

    Attributes:
        step: the first step, or bucket of steps, at which they differ.
        last_step: the last step of that bucket.
        tensors: the first to differ, at most three, in causal order.
        text: the sentence.
    """

    step: int
    last_step: int
    tensors: list[PartingTensor]
    text: str


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """The differences between two runs.

    Attributes:
        schema_version: rises where a reader must know.
        kind: "runs".
        runs: as in the overview, in the order of the request.
        names: what the sentences call them.
        verdict: a few sentences.
        differences: in the order of the topics.
        parting: null where they never part, or it was not recorded.
        alike: topics that were compared and do not differ.
        notes: what could not be compared, a sentence each.
    """

    schema_version: int = COMPARE_VERSION
    kind: str = "runs"
    runs: list[RunSummary]
    names: list[str]
    verdict: str
    differences: list[Difference]
    parting: Parting | None
    alike: list[str]
    notes: list[str]


@dataclass(frozen=True)
class Share:
    """How many trials went bad.

    Attributes:
        bad: trials that did.
        total: trials whose fate is known.
        low: lower end of the rate's interval, Wilson's of 95 %.
        high: its upper end.
    """

    bad: int
    total: int
    low: float
    high: float


@dataclass(frozen=True)
class SpaceChange:
    """One declaration that was edited.

    Attributes:
        hparam: name.
        first: code of the first search; null where it is not in the space.
        second: code of the second search.
        text: the sentence.
    """

    hparam: str
    first: str | None
    second: str | None
    text: str


@dataclass(frozen=True)
class Removed:
    """The first search's trials that are outside of the second one's space.

    Attributes:
        bad: outside, and in all.
        clean: the same of those that did not go bad.
        best: whether the best trial of the first search is among them; null where it has no
            scored trial.
        text: the sentence.
    """

    bad: tuple[int, int]
    clean: tuple[int, int]
    best: bool | None
    text: str


@dataclass(frozen=True, kw_only=True)
class SearchComparison:
    """The effect of an edit of a search's space.

    Attributes:
        schema_version: rises where a reader must know.
        kind: "searches".
        searches: as in the overview.
        names: what the sentences call them.
        verdict: a few sentences.
        shares: of both searches.
        p_value: two-sided, of Fisher's exact test; null where a search has no trial whose
            fate is known.
        changes: declarations that were edited.
        removed: null where the space is the same in both, and where the two share less than
            half of their hyperparameters (`verdict` then says that they look like different
            programs).
        best_scores: of the trials that did not go bad; null where there is none.
    """

    schema_version: int = COMPARE_VERSION
    kind: str = "searches"
    searches: list[SearchSummary]
    names: list[str]
    verdict: str
    shares: tuple[Share, Share]
    p_value: float | None
    changes: list[SpaceChange] = field(default_factory=list)
    removed: Removed | None = None
    best_scores: tuple[float | None, float | None] = (None, None)
