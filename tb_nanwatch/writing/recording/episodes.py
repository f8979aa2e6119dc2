# SPDX-License-Identifier: Apache-2.0
"""Turns each step's bad tensors into episodes, the onset and the status."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tb_nanwatch.record.schema import (
    BAD_STATUSES,
    MODEL_KINDS,
    PERSISTENT_KINDS,
    STATUSES,
    BadTensor,
    Damage,
    Episode,
    Kind,
    Phase,
    Position,
    Probe,
    Status,
)
from tb_nanwatch.writing.recording.health import Health

# Episodes described one by one. A tensor that flickers at every other step would
# fill the log; those beyond are counted, and their elements stand in the ranges.
MAX_EPISODES: Final = 10_000
# Stretches of epochs in which the model was damaged; each stands in every status record.
_MAX_DAMAGE: Final = 100


def level_of(
    tensors: Iterable[BadTensor], phase: Phase, objectives: Sequence[str]
) -> Status:
    """Returns how far an episode with these non-finite tensors reached."""
    level: Status = "contained"
    for tensor in tensors:
        if tensor.kind in PERSISTENT_KINDS:
            return "diverged"
        name = f"val_{tensor.name}" if phase == "validation" else tensor.name
        if tensor.kind == "loss" or (tensor.kind == "metric" and name in objectives):
            level = "score_lost"
    return level


@dataclass
class _Replica:
    """The tensors that are non-finite on one replica now: probe index to health."""

    bad: dict[int, Health]

    def update(self, indices: Sequence[int], healths: Sequence[Health]) -> bool:
        """Takes in a step; returns whether a probe is non-finite that was finite."""
        fresh = False
        for index, health in zip(indices, healths, strict=True):
            if health.num_bad:
                # The counts are those of the step at which it went bad.
                fresh |= index not in self.bad
                self.bad.setdefault(index, health)
            else:
                self.bad.pop(index, None)
        return fresh


class EpisodeTracker:
    """Follows one run. Calls must come in the order of the steps, a phase each.

    Args:
        objectives: names of the metrics that are the search's objective, or that callbacks
            go by.
        locate: maps phase and that phase's step to a position.
    """

    def __init__(
        self, objectives: Sequence[str], locate: Callable[[Phase, int], Position]
    ) -> None:
        self._objectives = objectives
        self._locate = locate
        self._replicas: dict[tuple[Phase, int], _Replica] = {}
        self._open: dict[Phase, Episode] = {}
        self._opened_at: dict[Phase, int] = {}
        # Probes that were bad in the last step seen, and in the step before the open episode.
        self._before: dict[Phase, frozenset[int]] = {}
        self._previous: dict[Phase, frozenset[int]] = {}
        self._harmless: dict[Phase, set[tuple[str, str]]] = {
            "train": set(),
            "validation": set(),
        }
        self._first_steps: dict[int, int] = {}  # of the episodes that once decided
        self._level_now: dict[Phase, Status] = {}
        self._count = 0
        self.changed: dict[int, Episode] = {}
        self.contained: list[Episode] = []
        self._damage: list[Damage] = []
        self.dropped = 0
        self.deciding: Episode | None = None
        self.origin: BadTensor | None = None
        self._status: Status = "clean"
        # Bad since the deciding episode began, without a harmless step in between.
        self._unbroken = False

    @property
    def count(self) -> int:
        """Episodes so far, those beyond the limit included."""
        return self._count

    @property
    def status(self) -> Status:
        """The worst level that an episode reached."""
        return self._status

    @property
    def damage(self) -> list[Damage]:
        """The epochs at whose end the model was non-finite, the first 100 stretches."""
        # A copy, since records are encoded while the run goes on.
        return [replace(d, kinds=list(d.kinds)) for d in self._damage]

    def opened_step(self, episode: Episode) -> int:
        """Returns the first step of `episode` in its phase's own count."""
        return self._first_steps.get(episode.id, episode.start.step)

    def begun_at(self, phase: Phase, step: int) -> Episode | None:
        """Returns the episode of a phase that began at its step, if it is open."""
        return self._open.get(phase) if self._opened_at.get(phase) == step else None

    @property
    def is_bad_now(self) -> bool:
        """Whether the last step seen of a phase was non-finite, and not harmlessly."""
        return any(level in BAD_STATUSES for level in self._level_now.values())

    def observe(
        self,
        phase: Phase,
        step: int,
        replica: int,
        probes: Sequence[Probe],
        healths: Sequence[Health],
        indices: Sequence[int],
    ) -> bool:
        """Takes in one replica's tensors at one step; returns whether anything changed.

        Args:
            phase: of the step.
            step: of the phase, from 0.
            replica: which replica saw the tensors.
            probes: all probes of the phase.
            healths: of the tensors that were looked at, in causal order.
            indices: for each of them its index among `probes`.
        """
        state = self._replicas.setdefault((phase, replica), _Replica({}))
        fresh = state.update(indices, healths)
        bad = {
            index
            for (other, _), replica_state in self._replicas.items()
            if other == phase
            for index in replica_state.bad
        }
        if phase == "train":
            self._damaged(
                step, {probes[i].kind for i in bad if probes[i].kind in MODEL_KINDS}
            )
        current = self._open.get(phase)
        known = self._before.get(phase, frozenset())
        same_step = current is not None and self._opened_at[phase] == step
        # The same probes on another replica add to the counts of the onset.
        if bad == known and not (same_step and fresh):
            return False
        if current is not None and not same_step:
            current.end_step = self._locate(phase, step).step - (phase == "train")
            self._close(phase)
            current = None
        if current is not None and not bad:
            self._forget(phase)
        self._level_now[phase] = "clean"
        if bad:
            before = self._previous[phase] if same_step else known
            self._previous[phase] = before
            # Probes are numbered as they are met; a layer that its first call has built is
            # met late. In this step it is where it was computed.
            place = {index: i for i, index in reversed(list(enumerate(indices)))}
            ordered = sorted(bad, key=lambda i: (place.get(i, len(probes)), i))
            self._begin(phase, step, ordered, before, probes, current)
        self._before[phase] = frozenset(bad)
        deciding = self.deciding
        if deciding is not None and deciding.start.phase == phase:
            self._unbroken &= self._level_now[phase] in BAD_STATUSES
        return True

    def _damaged(self, step: int, kinds: set[Kind]) -> None:
        """Notes which of the model's own values are non-finite after a training step."""
        last = self._damage[-1] if self._damage else None
        if last is not None and last.end is not None:
            last = None
        if last is None and not kinds:
            return  # as in nearly all steps
        epoch = self._locate("train", step).epoch
        if last is None:
            if len(self._damage) < _MAX_DAMAGE:
                self._damage.append(Damage(epoch, None, sorted(kinds)))
        elif kinds:
            last.kinds = sorted({*last.kinds, *kinds})
        elif last.first == epoch:
            self._damage.pop()  # finite again before the epoch was over
        else:
            last.end = epoch

    def _forget(self, phase: Phase) -> None:
        """Removes the episode opened in this step: one replica had only shown the step before.

        The replicas report one after the other, so that one of them may still count
        as bad while the other is known to be finite again.
        """
        episode = self._open.pop(phase)
        self.changed.pop(episode.id, None)
        self._count -= episode.id == self._count - 1

    def _begin(
        self,
        phase: Phase,
        step: int,
        bad: list[int],
        before: frozenset[int],
        probes: Sequence[Probe],
        current: Episode | None,
    ) -> None:
        tensors = [self._tensor(phase, index, probes[index]) for index in bad]
        new = [i for i, index in enumerate(bad) if index not in before]
        level = level_of(tensors, phase, self._objectives)
        if current is None:
            start = self._locate(phase, step)
            episode = Episode(self._count, start, None, level, tensors, new)
            self._count += 1
        else:  # another replica adds to what the first one saw in this step
            episode = current
            episode.level, episode.tensors, episode.new = level, tensors, new
        self._open[phase] = episode
        self._opened_at[phase] = step
        self._level_now[phase] = level
        if episode.id < MAX_EPISODES or STATUSES.index(level) > STATUSES.index(
            self.status
        ):
            self.changed[episode.id] = episode
        else:
            self.dropped += 1
        self._decide(phase, episode)

    def _tensor(self, phase: Phase, index: int, probe: Probe) -> BadTensor:
        seen = [
            (replica, state.bad[index])
            for (other, replica), state in sorted(self._replicas.items())
            if other == phase and index in state.bad
        ]
        # Replicas hold parts of the batch, but copies of the variables.
        counted = seen[:1] if probe.kind in PERSISTENT_KINDS else seen
        return BadTensor(
            probe.kind,
            probe.name,
            sum(h.num_nan for _, h in counted),
            sum(h.num_pos_inf for _, h in counted),
            sum(h.num_neg_inf for _, h in counted),
            sum(h.size for _, h in counted),
            seen[0][1].row,
            seen[0][0],
        )

    def _decide(self, phase: Phase, episode: Episode) -> None:
        worse = STATUSES.index(episode.level) > STATUSES.index(self._status)
        if worse:
            self._status = episode.level
        if self.deciding is not None and self.deciding is not episode:
            same_phase = self.deciding.start.phase == phase
            # A loss that went bad and took the weights along one step later is one
            # fault: it began where the loss did.
            if not worse or (self._unbroken and same_phase):
                return
        self._unbroken = episode.level in BAD_STATUSES
        self.deciding = episode
        self._first_steps[episode.id] = self._opened_at[phase]
        fresh = [
            episode.tensors[i]
            for i in episode.new
            if (episode.tensors[i].kind, episode.tensors[i].name)
            not in self._harmless[phase]
        ]
        # A mask that was non-finite on harmless steps takes no blame for this one,
        # unless nothing else is new.
        candidates = fresh or [episode.tensors[i] for i in episode.new] or episode.tensors
        self.origin = candidates[0]

    def _close(self, phase: Phase) -> None:
        episode = self._open.pop(phase)
        if episode.id < MAX_EPISODES or episode is self.deciding:
            self.changed[episode.id] = episode
        if episode.level == "contained":
            self._harmless[phase] |= {(t.kind, t.name) for t in episode.tensors}
            if len(self.contained) < 20:
                self.contained.append(episode)

    def end(self, phase: Phase, step: int) -> None:
        """Closes the open episode; `step` is the last step of the phase's own count."""
        episode = self._open.get(phase)
        if episode is not None:
            episode.end_step = max(episode.start.step, self._locate(phase, step).step)
            self._close(phase)

    def take_changed(self) -> list[Episode]:
        """Returns the episodes that changed since the last call."""
        changed = [self.changed[i] for i in sorted(self.changed)]
        self.changed.clear()
        return changed
