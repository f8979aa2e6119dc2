# SPDX-License-Identifier: Apache-2.0
"""What the instruments of all backends do alike: how they stand to their fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

from tb_nanwatch.errors import warn
from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.backends import fits
from tb_nanwatch.writing.backends.apart import KeptApart
from tb_nanwatch.writing.backends.hooks import Hooks
from tb_nanwatch.writing.backends.interface import Wishes
from tb_nanwatch.writing.backends.tracing import Tracer
from tb_nanwatch.writing.recording.observer import Observer

# Rows are handed over after so long at the latest.
READ_INTERVAL_SECONDS: Final = 1.0
METHODS: Final[dict[Phase, str]] = {"train": "train_step", "validation": "test_step"}


_Fit = TypeVar("_Fit", bound=fits.WatchedFit)


class _Rewinding(Protocol):
    """What holds earlier states and the batches since."""

    def validated(self) -> None:
        """Says that a validation pass is over."""

    def went_bad(self) -> None:
        """Says that the run went bad in the call that is just over."""


class BaseInstrument:
    """Stands between a fit and what watches it (`fits.Watching`).

    Nothing that goes wrong in watching leaves it: the first such thing ends watching.

    Args:
        model: the model that is being fitted.
        observer: receives what is seen.
        wishes: how it is to be watched, and who is told.

    Attributes:
        notes: in words, what could not be watched.
    """

    _tracer: Tracer
    _rewinding: _Rewinding | None

    def __init__(self, model: Any, observer: Observer, wishes: Wishes) -> None:
        self._model, self._observer, self._wishes = model, observer, wishes
        self._hooks: Hooks | None = None
        self._fit: fits.WatchedFit | None = None
        # The first thing that went wrong in watching; nothing is watched from then on.
        self._trouble: Exception | None = None
        # One context for all hooks: to make one for each of a dozen hooks costs a small
        # model's step measurable time.
        self._apart = KeptApart(self._remember)
        self.notes: list[str] = []

    def _join(self, caller: fits.Caller, make: Callable[[], _Fit]) -> _Fit:
        """Joins the instruments of the running fit; `make` makes the first one's."""
        fit = fits.join(self._model, caller, make)
        self._fit = fit
        fit.instruments.append(self)
        self._tracer.labelled = caller.labelled
        return fit

    def uninstall(self) -> None:
        """Takes every hook out; the model is as it was. Safe to call again."""
        hooks, self._hooks = self._hooks, None
        if hooks is not None:
            hooks.remove()
        if self._fit is not None:
            self._fit.leave(self)

    # --- What the fit says (`fits.Watching`) ------------------------------------

    def called(self, phase: Phase) -> BaseException | None:
        """Takes in what a call of a function has brought.

        Returns:
            What is to end the training, by the user's own wish.
        """
        if self._trouble is None:
            with self._apart:
                return self._take_in(phase)
        if self._trouble is not None:
            self.gave_up(self._trouble)
        return None

    def _take_in(self, phase: Phase) -> BaseException | None:
        raise NotImplementedError

    def passed(self, phase: Phase) -> None:
        """Notes that a callback trains or evaluates the model, which is not watched."""
        self._note(
            "a callback trained the model; these steps were not watched"
            if phase == "train"
            else "a callback evaluated the model; these evaluations were not watched"
        )

    def failed(self, error: BaseException) -> None:
        """Says that an exception of the user's leaves the training."""
        with self._apart:
            self._wishes.on_error(error)

    def gave_up(self, error: Exception) -> None:
        """Says that watching failed, and that the training goes on."""
        self.take_out()
        with self._apart:
            self._wishes.on_failure(error)
            return
        warn(f"NaN Watch stopped watching, training goes on: {error!r}")

    def take_out(self) -> None:
        """Takes every hook out, whatever happens."""
        with self._apart:
            self.uninstall()

    # --- What the training says (`interface.Instrument`) -------------------------

    def validated(self) -> None:
        """Says that a validation pass is over."""
        if self._rewinding is not None:
            self._rewinding.validated()

    def went_bad(self) -> None:
        """Says that the run went bad in the call that is just over."""
        if self._rewinding is not None:
            self._rewinding.went_bad()

    @property
    def is_alone(self) -> bool:
        """Whether no other instrument watches the model."""
        return self._fit is None or self._fit.instruments in ([], [self])

    # --- In the step --------------------------------------------------------------

    @property
    def _watching(self) -> bool:
        """Whether a step that is traced or run now is to be watched."""
        return (
            self._hooks is not None
            and self._trouble is None
            and (self._fit is None or self._fit.active)
        )

    def _meet(self, meet: Callable[..., None], *met: Any) -> None:
        """Adds what a hook has met, while a step is traced or run.

        Args:
            meet: does so; what goes wrong in it ends watching, and only that.
            met: what it is called with.
        """
        if self._watching and self._tracer.active:
            with self._apart:
                meet(*met)

    def _kept_apart(self) -> KeptApart:
        """Keeps what goes wrong in watching from the training."""
        return self._apart

    def _remember(self, error: Exception) -> None:
        self._trouble = self._trouble or error

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)
