# SPDX-License-Identifier: Apache-2.0
"""Training steps on an accelerator: nothing of them is read before many have run.

A branch, or a gate before the update, would have the host wait for a number of each step. So
the rows stay where they are until the ring is read. A step that stood out has passed by then:
it is run again, from a state that was taken before it and the batches since.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from tb_nanwatch.postmortem import state
from tb_nanwatch.postmortem.capsule import SavedVariable, Sum
from tb_nanwatch.postmortem.tape import Tape, arrays_of
from tb_nanwatch.postmortem.variables import state_variables
from tb_nanwatch.writing.backends.kept import Kept
from tb_nanwatch.writing.backends.tensorflow.fits import WatchedFit
from tb_nanwatch.writing.backends.tensorflow.looks import Looks
from tb_nanwatch.writing.backends.tensorflow.proofs import GUARD_LIMIT
from tb_nanwatch.writing.backends.tensorflow.rewinding import Rewinding
from tb_nanwatch.writing.backends.tensorflow.ring import Ring
from tb_nanwatch.writing.backends.tensorflow.rings import Rings
from tb_nanwatch.writing.recording.observer import NO_LIMIT, Expectation, Floats

# Steps whose rows are left where they are before they are read, all at once.
LAG: Final = 64


def is_on_host(model: Any) -> bool:
    """Returns whether a model's variables lie in the host's memory, where a read is free."""
    return all(
        "GPU" not in v.value.device and "TPU" not in v.value.device
        for v in model.variables[:1]
    )


class LookBack:
    """Looks at training steps that have passed.

    Args:
        model: that is trained.
        rings: of its steps.
        looks: hand the tensors of a step to the observer.
        note: receives, in words, what could not be seen.
    """

    def __init__(
        self,
        model: Any,
        rings: Rings,
        looks: Looks,
        note: Callable[[str], None],
    ) -> None:
        self._model, self._rings, self._looks, self._note = model, rings, looks, note

    def check(
        self,
        ring: Ring,
        first: int,
        rows: Floats,
        rewinding: Rewinding | None,
        fit: WatchedFit | None,
    ) -> Floats:
        """Looks at the steps that stand out among those that have run.

        Args:
            ring: that they wrote.
            first: number of the first of them.
            rows: [steps, columns, batch size where there is one, and guard] of them.
            rewinding: what they are run again from.
            fit: whose steps they are.

        Returns:
            The rows without their guards.
        """
        rows, proved = rows[:, :-1], rows[:, -1] <= GUARD_LIMIT
        sums = rows[:, : ring.layout.num_columns]
        expected = ring.expectation
        if proved.all() and not expected.bad.any() and expected.is_met_by(sums):
            return rows
        for number, row, of_row, sure in zip(
            itertools.count(first), rows, sums, proved, strict=False
        ):
            if not ring.stands_out(of_row, proved=bool(sure)):
                continue
            tape = None
            if rewinding is not None and fit is not None:
                tape = rewinding.stretch(number, fit.train_function, fit.spec)
            # What is bad in this row is known from now on, looked at or not.
            ring.expectation = Expectation(NO_LIMIT, ~np.isfinite(of_row))
            why = "could not be looked at: it was not kept"
            if rewinding is not None and tape is not None:
                why = "came out otherwise when it was run again"
                began = time.monotonic()
                with rewinding.running_again():
                    kept = self._run_up_to(tape, number)
                    kept.sums = [Sum(*part) for part in ring.layout.sums(row)]
                    if self._looks.look_back(kept, ring, time.monotonic() - began):
                        continue
            self._note(f"train step {number} {why}; its counts are the least ones")
            self._looks.by_sums(ring, number, of_row)
        return rows

    def _run_up_to(self, tape: Tape, number: int) -> Kept:
        """Returns a step as it began; the model is as it was again."""
        at = number - tape.first
        metrics = {id(v) for v in self._model.metrics_variables}
        with state.preserved(self._model), _put_back(self._rings.own):
            for _ in tape.play(tape.batches[:at]):
                pass
            variables = [
                # A metric's sums so far play no part in the step.
                SavedVariable(
                    role, v.path, None if id(v) in metrics else np.array(v.value.numpy())
                )
                for role, v in state_variables(self._model)
            ]
        return Kept("train", number, 0, arrays_of(tape.batches[at]), variables)


@contextlib.contextmanager
def _put_back(own: list[Any]) -> Iterator[None]:
    """Puts TensorFlow's variables back as they were."""
    before = [variable.read_value() for variable in own]
    try:
        yield
    finally:
        for variable, value in zip(own, before, strict=True):
            variable.assign(value)
