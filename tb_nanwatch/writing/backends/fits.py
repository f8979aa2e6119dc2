# SPDX-License-Identifier: Apache-2.0
"""The watched fits of a model: whose call it is, and what runs where watching fails.

A model has one training function and one test function. While a fit is watched they
belong to it: each is a function in which the probes were traced. Three kinds of call
do not want them, and get the functions that Keras made: a call out of one of the fit's
own callbacks (an `evaluate`, a `fit` within), a fit around this one that goes on after
this one has died, and a batch on which the function with the probes failed.
"""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final, NamedTuple, Protocol, TypeVar, cast

from tb_nanwatch.record.schema import Phase

FUNCTIONS: Final[dict[Phase, str]] = {
    "train": "train_function",
    "validation": "test_function",
}


class Caller(NamedTuple):
    """The fit that a callback runs in.

    Attributes:
        callbacks: stands for the fit, and is weakly referenced: its `CallbackList`
            where there is one.
        frame: `id` of the frame that runs the fit's loop; None where it is not known.
        labelled: whether `fit` was given labels, or weights of samples, by these names.
        given: what it was given as x and y.
    """

    callbacks: Any
    frame: int | None = None
    labelled: bool = False
    given: Any = None


class Watching(Protocol):
    """An instrument, as the fit that it watches sees it."""

    def take_out(self) -> None:
        """Takes the probes out of the model; never raises."""

    def called(self, phase: Phase) -> BaseException | None:
        """Says that a call was over; returns what is to end the training. Never raises."""

    def passed(self, phase: Phase) -> None:
        """Says that a callback makes a call, which is not watched; never raises."""

    def failed(self, error: BaseException) -> None:
        """Says that an exception of the user's leaves the training; never raises."""

    def gave_up(self, error: Exception) -> None:
        """Says that watching failed, and that training went on without; never raises."""


class WatchedFit:
    """One fit that is watched by one or more instruments.

    Args:
        model: that is fitted.
        caller: the fit.

    Attributes:
        instruments: those that watch it.
        probed: its functions, with the probes in them.
        is_aside: what runs now is to pass unwatched.
        end_of_data: with these a function says that the data have ended.
    """

    end_of_data: tuple[type[BaseException], ...] = (StopIteration,)

    def __init__(self, model: Any, caller: Caller) -> None:
        self.model = model
        self._callbacks = weakref.ref(caller.callbacks)
        self.frame = caller.frame
        self.instruments: list[Watching] = []
        self.is_aside = False
        below = _FITS.get(model)
        model.make_test_function()  # so that there is one without probes
        # What stood there before, and what Keras made without any probes.
        self.before = {phase: getattr(model, name) for phase, name in FUNCTIONS.items()}
        self.originals: dict[Phase, Any] = (
            below[0].originals if below else dict(self.before)
        )
        self.probed: dict[Phase, Any] = {}
        self._ran: set[Phase] = set()

    def is_of(self, caller: Caller) -> bool:
        """Returns whether this is the fit that calls."""
        return self._callbacks() is caller.callbacks

    @property
    def active(self) -> bool:
        """Whether a step that is traced or run now is one of this fit."""
        return not self.is_aside and _FITS.get(self.model, [])[-1:] == [self]

    def make_functions(self, make: Callable[[], None]) -> None:
        """Has the model's functions made again, and puts itself in front of them.

        Args:
            make: makes both functions; the probes are in the model.
        """
        make()
        self._ran.clear()
        for phase, name in FUNCTIONS.items():
            self.probed[phase] = self.as_called(getattr(self.model, name))
            setattr(self.model, name, self._function(phase))

    def as_called(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Returns what a call makes: a function of the model's, with the probes in it."""
        return function

    def _function(self, phase: Phase) -> Callable[[Any], Any]:
        def watched(*args: Any) -> Any:
            caller = sys._getframe(1)
            whose = self if id(caller) == self.frame else self._whose(caller)
            if whose is not None and whose is not self:
                return getattr(self.model, FUNCTIONS[phase])(*args)
            if whose is None:
                for instrument in self.instruments:
                    instrument.passed(phase)
            if whose is None or not self.instruments:
                return self.plainly(phase, *args)
            return self.call(phase, *args)

        return watched

    # --- Whose call -----------------------------------------------------------

    def _whose(self, frame: FrameType | None) -> WatchedFit | None:
        """Returns the fit whose step a call is; None where a callback makes it.

        A fit around this one, which was interrupted by it, goes on only once this one
        is over: it has died where that is noticed here, and its probes go.
        """
        callbacks = self._callbacks()
        while frame is not None:
            if id(frame) == self.frame:
                return self
            in_callback = frame.f_code.co_name.lstrip("_").startswith("on_")
            if in_callback and frame.f_locals.get("self", self) is callbacks:
                return None
            for fit in _FITS.get(self.model, ()):
                if fit is not self and fit.frame == id(frame):
                    remove_above(fit)
                    return fit
            frame = frame.f_back
        return self

    # --- Calls ----------------------------------------------------------------

    @property
    def train_function(self) -> Any:
        """The function that trains, with the probes in it."""
        return self.probed["train"]

    def call(self, phase: Phase, *args: Any) -> Any:
        """Makes a call that is watched, with the arguments that Keras gave."""
        try:
            if phase in self._ran:
                out = self.probed[phase](*args)
            else:
                out = self.first_call(phase, *args)
        except self.end_of_data:
            raise
        except BaseException as e:
            for instrument in list(self.instruments):
                instrument.failed(e)
            raise
        self._ran.add(phase)
        for instrument in list(self.instruments):
            ending = instrument.called(phase)
            if ending is not None:
                for other in list(self.instruments):
                    if other is not instrument:
                        other.failed(ending)
                raise ending
        return out

    def first_call(self, phase: Phase, *args: Any) -> Any:
        """Makes the first call of a function; where it is traced, that may fail."""
        return self.probed[phase](*args)

    def plainly(self, phase: Phase, *args: Any) -> Any:
        """Runs a call by the function that Keras made, without probes."""
        with self.aside():
            return self.originals[phase](*args)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Lets steps that are traced or run within pass unwatched."""
        before, self.is_aside = self.is_aside, True
        try:
            yield
        finally:
            self.is_aside = before

    # --- The end --------------------------------------------------------------

    def leave(self, instrument: Watching) -> None:
        """Says that an instrument watches no more; after the last one all is as before."""
        if instrument not in self.instruments:
            return
        self.instruments.remove(instrument)
        fits = _FITS.get(self.model, [])
        if self.instruments or self not in fits:
            return
        remove_above(self)
        fits.remove(self)
        for phase, name in FUNCTIONS.items():
            setattr(self.model, name, self.before[phase])
        if not fits:
            _FITS.pop(self.model, None)


# The watched fits of each model, each within a callback of the one before.
_FITS: weakref.WeakKeyDictionary[Any, list[WatchedFit]] = weakref.WeakKeyDictionary()


_Fit = TypeVar("_Fit", bound=WatchedFit)


def join(model: Any, caller: Caller, make: Callable[[], _Fit]) -> _Fit:
    """Returns the watched fit that calls; it becomes the innermost one of its model.

    Fits that ended unseen (they died before they could take their probes out) go first.

    Args:
        model, caller: as of `WatchedFit`.
        make: returns a new one, where none of this model is of the caller.
    """
    fits = _FITS.setdefault(model, [])
    alive = _frames()
    while fits and not fits[-1].is_of(caller) and fits[-1].frame not in alive:
        _end(fits[-1])
    if not fits or not fits[-1].is_of(caller):
        fit = make()  # looks at those below before it is one of them
        _FITS.setdefault(model, fits).append(fit)
    return cast(_Fit, _FITS[model][-1])  # a process has one backend


def remove_above(fit: WatchedFit) -> None:
    """Takes the probes of all fits within `fit` out: it goes on, so they are over."""
    fits = _FITS.get(fit.model, [])
    while fit in fits and fits[-1] is not fit:
        _end(fits[-1])


def _end(fit: WatchedFit) -> None:
    for instrument in list(fit.instruments):
        instrument.take_out()
    fits = _FITS.get(fit.model, [])
    if fit in fits:  # it had no instrument
        fits.remove(fit)


def _frames() -> set[int]:
    """Returns the ids of the frames that the caller runs in."""
    found: set[int] = set()
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        found.add(id(frame))
        frame = frame.f_back
    return found
