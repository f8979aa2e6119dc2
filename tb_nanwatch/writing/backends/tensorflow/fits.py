# SPDX-License-Identifier: Apache-2.0
"""A watched fit of which functions are traced: what runs where tracing them fails."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import tensorflow as tf

from tb_nanwatch.compat.keras import replicas_of
from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.backends import fits
from tb_nanwatch.writing.backends.tensorflow.batches import take
from tb_nanwatch.writing.backends.tensorflow.direct import direct
from tb_nanwatch.writing.backends.tensorflow.states import Held

# With these a function says that the data have ended.
END_OF_DATA: Final = (StopIteration, tf.errors.OutOfRangeError)


class WatchedFit(fits.WatchedFit):
    """One fit that is watched by one or more instruments.

    Args:
        model: that is fitted.
        caller: the fit.
        variables: returns the Keras variables that a step can change.
        prepare: called before the first step of the training is traced.

    Attributes:
        spec: of the batches that the training's function takes; None where they do not
            come from an iterator of `tf.data`.
    """

    end_of_data = END_OF_DATA

    def __init__(
        self,
        model: Any,
        caller: fits.Caller,
        variables: Callable[[], list[Any]],
        prepare: Callable[[], None],
    ) -> None:
        super().__init__(model, caller)
        self._variables, self._prepare = variables, prepare
        self.spec: Any = None
        self._replicas = replicas_of(model)
        # While a first call is under way: what its step begins from, once it is traced.
        self._first = False
        self._states: list[Held] = []

    def as_called(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Returns what a call makes: the step of Keras' function, without its wrapping."""
        return direct(self.model, function)

    def call(self, phase: Phase, *args: Any) -> Any:
        """Makes a call that is watched, with the arguments that Keras gave."""
        if phase == "train" and self.spec is None:
            self.spec = getattr(args[0], "element_spec", None)
        return super().call(phase, *args)

    def first_call(self, phase: Phase, *args: Any) -> Any:
        """Calls a function that is to be traced and compiled with the probes in it.

        Where that fails the same batches go through the function without probes, from
        the same state: it shows whose error it is, and nothing of the training is lost.
        """
        (iterator,) = args
        if self.model.run_eagerly:
            return super().first_call(phase, iterator)
        if phase == "train":
            self._prepare()
        batches = take(iterator, int(self.model.steps_per_execution))
        drawn = random.getstate(), np.random.get_state()  # noqa: NPY002
        made = self._num_variables()
        self._first, states = True, self._states
        error: Exception
        try:
            return self.probed[phase](iterator if batches is None else batches.again())
        except END_OF_DATA:
            raise
        except Exception as e:
            error = e
        finally:
            self._first, self._states = False, []
        if batches is None and states:
            raise error  # its batch is gone, and with several replicas so is the state
        instruments = list(self.instruments)
        for instrument in instruments:
            instrument.take_out()
        for state in states:
            state.restore()
        # What the step draws while it is traced it draws again. The seeds of variables
        # that it made, which Keras draws from Python's generator, it does not.
        np.random.set_state(drawn[1])  # noqa: NPY002
        if self._num_variables() == made:
            random.setstate(drawn[0])
        again = iterator if batches is None else batches.again()
        return self._without(instruments, error, phase, again)

    def _without(
        self, instruments: list[Any], error: Exception, phase: Phase, data: Any
    ) -> Any:
        """Makes a call without probes after it failed with them; says whose error it is."""
        try:
            out = self.plainly(phase, data)
        except BaseException as e:  # so it is the user's own
            for instrument in instruments:
                instrument.failed(e)
            raise
        for instrument in instruments:
            instrument.gave_up(error)
        return out

    def _num_variables(self) -> int:
        with contextlib.suppress(Exception):
            return len(self._variables())
        return 0

    def traced(self) -> None:
        """Says that a step has been traced; it runs next."""
        if self._first and not self._states:
            self._states.append(Held([] if self._replicas > 1 else self._variables()))
