# SPDX-License-Identifier: Apache-2.0
"""What a backend of Keras gives: the one interface that the writing side sees.

A backend lacks what it lacks: no capsule, no experiments, no operation and line. It says
so by None or in words, and never by an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tb_nanwatch.postmortem.capsule import Capsule
from tb_nanwatch.postmortem.tape import Tape
from tb_nanwatch.record.schema import Experiment, Phase, PostMortem
from tb_nanwatch.writing.backends.fits import Caller
from tb_nanwatch.writing.backends.kept import Keeper
from tb_nanwatch.writing.backends.seen import Seen
from tb_nanwatch.writing.recording.observer import Observer

# Returns, of a post-mortem, experiments on a run alike that are to be made first.
First = Callable[[PostMortem], Sequence[Experiment]]


@dataclass(frozen=True)
class Wishes:
    """How a training is to be watched, and who is told.

    Attributes:
        activations_only: leaves out gradients, slots, weights and layer state.
        after_call: called after each execution of the training function, on the
            training's own thread; returns what is to end the training, None for nothing.
        after_read: called after rows were handed over because they were due.
        on_error: called with an exception that leaves the training function.
        on_failure: called with an exception of watching itself, which ends nothing.
        acts: whether a step that goes bad is to end the training. Only then has each to
            be checked before the next one begins.
        capture_bytes: the largest bad step that is kept; 0 keeps none.
        rewind_bytes: that may be held so that steps can be run again; 0 holds nothing.
    """

    activations_only: bool = False
    after_call: Callable[[], BaseException | None] = lambda: None
    after_read: Callable[[], None] = lambda: None
    on_error: Callable[[BaseException], None] = lambda e: None
    on_failure: Callable[[Exception], None] = lambda e: None
    acts: bool = False
    capture_bytes: int = 0
    rewind_bytes: int = 0


class Instrument(Protocol):
    """Watches one training of one model.

    It reports rows and full looks to the observer that it was made with: a row of every
    step, a full look at each step that stands out from the observer's last `Expectation`
    (the first step included) and at the one that was asked for.

    Attributes:
        notes: in words, what could not be watched; part of the log.
        capture: what keeps the step at which the run goes bad; None where nothing does.
    """

    notes: list[str]

    @property
    def capture(self) -> Keeper | None:
        """What keeps the step at which the run goes bad; None where nothing does."""

    def install(self, caller: Caller) -> None:
        """Puts the probes into the model.

        Args:
            caller: the running `fit`. What a fit left behind that died goes first.
        """

    def uninstall(self) -> None:
        """Takes every probe out; the model is as it was. Safe to call again."""

    def read(self) -> None:
        """Hands all rows since the last reading to the observer."""

    def ask(self, phase: Phase) -> None:
        """Has the next step of `phase` looked at in full."""

    def steps(self, phase: Phase) -> int:
        """Returns how many steps of `phase` have run."""

    def validated(self) -> None:
        """Says that a validation pass is over."""

    def went_bad(self) -> None:
        """Says that the run went bad in the call that is just over."""

    @property
    def is_alone(self) -> bool:
        """Whether no other instrument watches the model."""

    def take_tape(self, onset: int) -> Tape | str:
        """Returns the tape from which the training can be run again; no step is watched any more.

        Args:
            onset: the training step at which it went bad.

        Returns:
            In words why not, where that is so.
        """


class Backend(Protocol):
    """One backend of Keras; its package's module is one."""

    def check_model(self, model: Any) -> None:
        """Raises `UnsupportedError` where this backend cannot watch `model`.

        Called after `supported.check_model`; the message is what the user reads.
        """

    def watch(self, model: Any, observer: Observer, wishes: Wishes) -> Instrument:
        """Returns an instrument that is not installed yet."""

    def runs(self, model: Any, capsule: Capsule) -> Iterator[Seen]:
        """Yields what is seen of a capsule's step, run as a training runs it.

        Once for each way in which Keras may have made its step; the model's state is set
        each time.

        Args:
            model: built again, watched by nothing.
            capsule: with its tensors named as in the model.

        Raises:
            CapsuleError: the model's variables are not those that were saved.
        """

    def complete(self, capsule: Capsule, tape: Tape, model: Any) -> bool:
        """Gives a capsule the state from before its step, where it holds a later one.

        Returns:
            Whether it was incomplete, and is so no more.
        """

    def examine(
        self,
        model: Any,
        capsule: Capsule,
        *,
        activations_only: bool = False,
        tape: Tape | str = "",
        seconds: float = 0.0,
        first: First = lambda found: (),
    ) -> PostMortem:
        """Returns the post-mortem of a bad step; never raises, and restores the model.

        Args:
            model: that was trained, no longer watched by any instrument.
            capsule: its failing step.
            activations_only: as the training was watched.
            tape: what the training can be run again from; in words why not.
            seconds: that the experiments may take.
            first: returns, of a post-mortem, experiments that are to be made first.
        """

    def examine_runaway(
        self,
        model: Any,
        take_off: int,
        *,
        tape: Tape | str = "",
        seconds: float = 0.0,
        first: First = lambda found: (),
    ) -> PostMortem:
        """Returns what experiments show of a run that stayed finite and ran away.

        Never raises, and leaves the model as it is.

        Args:
            take_off: number of the first step of the runaway.
            model, tape, seconds, first: as of `examine`.
        """
