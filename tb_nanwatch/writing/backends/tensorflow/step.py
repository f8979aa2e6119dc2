# SPDX-License-Identifier: Apache-2.0
"""What is added to the steps of one training: begun here, gated, and recorded one way or another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.backends.tensorflow.beside import Beside
from tb_nanwatch.writing.backends.tensorflow.capture import Capture
from tb_nanwatch.writing.backends.tensorflow.gate import Gate
from tb_nanwatch.writing.backends.tensorflow.news import News
from tb_nanwatch.writing.backends.tensorflow.ops import replica_id
from tb_nanwatch.writing.backends.tensorflow.rings import Rings
from tb_nanwatch.writing.backends.tensorflow.traced_step import Step
from tb_nanwatch.writing.backends.tensorflow.within import Within
from tb_nanwatch.writing.recording.observer import Observer


class StepGraph:
    """Builds what is added to the steps of one model.

    Args:
        observer: receives what is seen.
        capture: of the steps of the model.
        keeps: whether bad steps are kept, for a capsule.
        steps_per_call: returns how many steps one call of the function runs.
        note: receives, in words, what went wrong in watching.

    Attributes:
        rings: that the steps write.
        news: what they have brought.
        within, beside: record a step that is looked at as it runs, or once its call is over.
    """

    def __init__(
        self,
        observer: Observer,
        capture: Capture,
        keeps: bool,
        steps_per_call: Callable[[], int],
        note: Callable[[str], None],
    ) -> None:
        self._capture = capture
        self._keeps = keeps
        self.news = News()
        self.rings = Rings(steps_per_call)
        self._gate = Gate(capture, self.news, note)
        kept = capture if keeps else None
        self.within = Within(observer, self.rings, kept, self.news, note)
        self.beside = Beside(self.rings, capture, self.news, note)

    def begin(
        self, phase: Phase, data: Any, beside: bool = False, gated: bool = False
    ) -> Step:
        """Begins a step, before anything of it has run.

        Args:
            phase: of the step.
            data: as `train_step` received it.
            beside: whether the step is looked at beside: all its state is read before it.
            gated: whether it is looked at beside from what its gate keeps.
        """
        replica = replica_id()
        number, limit = self.rings.begin(phase, replica)
        wanted = self._keeps or beside
        batch = self._capture.begin(data, beside) if wanted else None
        step = Step(phase, number, limit, replica, batch)
        step.beside = gated and batch is not None and batch.complete
        return step

    def read(self, step: Step) -> None:
        """Reads what tracing the step has made: an optimizer's slots."""
        if step.batch is not None:
            self._capture.read(step.batch)

    def gate(self, step: Step, found: Any) -> Any:
        """Returns what an update has to wait for, None for nothing; see `Gate`."""
        return self._gate.add(step, found) if self._keeps else None

    def mute(self) -> None:
        """Looks at no step from now on."""
        self.news.muted = True
        self.rings.let_pass()
