# SPDX-License-Identifier: Apache-2.0
"""One writing session, as the reader found it."""

from __future__ import annotations

from dataclasses import dataclass, field

from tb_nanwatch.reading.log.unwatched import BadScalar
from tb_nanwatch.record import schema
from tb_nanwatch.record.schema import PostMortem, State, StatusRecord, TrialRecord


@dataclass
class Session:
    """One writing session as far as the overview needs it.

    Attributes:
        run, id: its key; a run may hold several sessions.
        status: its newest status record. Where a trial ended without a training
            (its model could not be built) this is made from the tuner's verdict,
            with the status "unwatched".
        trial: the tuner's verdict, where there is one.
        state: as in `status`, or "interrupted".
        damage: what is missing or unreadable, a sentence each.
        superseded: whether a later session of the same trial and execution (a
            retry, a resumed run) decides instead of this one.
        goes_on: whether a later training of the same attempt follows.
        retry: how many attempts at the same execution of the trial came before.
        nth: how many runs outside of a search began before it in the same directory.
        began_with: the status of the training whose weights this one began with,
            "unwatched" where it is not known; None for a model's first training.
        by_hand: what it belongs to together with the runs beside it, where no tuner ran it.
        scalars: of a run that NaN Watch did not watch, those that were not finite.
        postmortem: of its failing step, where there was one.
        version: changes whenever the status record does, or the post-mortem.
        read, written: how many records, of the kinds that are read on demand,
            TensorBoard has loaded so far, and how many the status says there are.
            Fewer read than written: more is on its way, or lost.
    """

    run: str
    id: str
    status: StatusRecord
    trial: TrialRecord | None = None
    state: State = "running"
    damage: list[str] = field(default_factory=list)
    superseded: bool = False
    goes_on: bool = False
    retry: int = 0
    nth: int = 0
    began_with: schema.Status | None = None
    by_hand: schema.Search | None = None
    scalars: list[BadScalar] = field(default_factory=list)
    postmortem: PostMortem | None = None
    version: str = ""
    read: int = 0
    written: int = 0

    @property
    def inherited(self) -> schema.Status | None:
        """`began_with`, where that training had gone bad and its weights with it."""
        return self.began_with if self.began_with in schema.HEREDITARY else None

    @property
    def name(self) -> str:
        """The run's name for people; where that is ".", the directory's name.

        A later run in the same directory has its number.
        """
        name = self.run if self.run != "." else self.status.run or "."
        return f"{name} (run {self.nth + 1})" if self.nth else name

    @property
    def search(self) -> schema.Search | None:
        """The search that it belongs to, None for a run without one."""
        return self.status.search or self.by_hand

    @property
    def search_id(self) -> str:
        """The search's id, or "" for a run without one."""
        return self.search.id if self.search else ""

    @property
    def score(self) -> float | None:
        """The tuner's score of the trial, or the metric that judges a run without a tuner."""
        if self.trial is not None:
            return self.trial.score
        return self.status.score.value if self.status.score else None

    @property
    def best_epoch(self) -> int | None:
        """The epoch, from 0, that the score is from."""
        if self.trial is not None:
            return self.trial.best_step
        return self.status.score.epoch if self.status.score else None

    @property
    def trial_key(self) -> tuple[str, str]:
        """The key by which trials are counted: the trial's id in a search, else the run."""
        if self.status.search and self.status.trial_id is not None:
            return (self.search_id, self.status.trial_id)
        return (self.search_id, f"run:{self.run}:{self.nth}")
