# SPDX-License-Identifier: Apache-2.0
"""Looks at steps that stood out: their tensors are handed to the observer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import tensorflow as tf

from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.backends.kept import UPDATED
from tb_nanwatch.writing.backends.tensorflow.beside import (
    as_columns,
    as_observed,
    run_again,
)
from tb_nanwatch.writing.backends.tensorflow.capture import Capture
from tb_nanwatch.writing.backends.tensorflow.one_step import OneStep
from tb_nanwatch.writing.backends.tensorflow.step import Standing
from tb_nanwatch.writing.backends.tensorflow.tracing import Tracer
from tb_nanwatch.writing.backends.tracing import Found, in_causal_order
from tb_nanwatch.writing.recording.observer import Observer


class Looks:
    """Runs the steps of one training beside it.

    Args:
        model: that is trained.
        observer: receives what is seen.
        activations_only: leaves out gradients, slots, weights and layer state.
        capture: keeps the step at which the run goes bad; None where nothing does.
        beside: returns what runs a step; called at the first look.
        note: receives, in words, what cannot be watched.
    """

    def __init__(
        self,
        model: Any,
        observer: Observer,
        activations_only: bool,
        capture: Capture | None,
        beside: Callable[[], OneStep],
        note: Callable[[str], None],
    ) -> None:
        self._model, self._observer, self._capture = model, observer, capture
        self._activations_only, self._note = activations_only, note
        self._make_beside = beside
        self._beside: OneStep | None = None

    def look(self, standing: Standing) -> None:
        """Hands the tensors of a step that stood out to the observer."""
        kept, ring, late = standing
        began = time.monotonic()

        if UPDATED in kept.missing:
            found = [replace(f, tensor=tf.constant(value)) for f, value in late]
            found = in_causal_order([*found, *self._variables_now()])
            layout, arrays = as_observed(found, kept.phase, ring.layout, {})
        else:
            layout, arrays = run_again(
                self._model, kept, ring.layout, self._run_of(kept.phase)
            )
        spent = time.monotonic() - began
        expectation = self._observer.observe(
            layout, kept.replica, kept.step, arrays, spent=spent
        )
        bad = ring.expectation.bad
        ring.expect(as_columns(expectation, layout, ring.layout, bad))
        if self._capture is not None and self._observer.is_onset(
            kept.phase, kept.step, kept.replica
        ):
            self._capture.offer(kept)

    def _run_of(self, phase: Phase) -> Callable[[Any, bool], list[Found]]:
        def run(data: Any, compiled: bool) -> list[Found]:
            if self._beside is None:
                self._beside = self._make_beside()
            return self._beside.run_once(
                phase, data, compiled=compiled, measured=not compiled
            )

        return run

    def _variables_now(self) -> list[Found]:
        """Returns slots, weights and layer state, as eager tensors."""
        if self._activations_only:
            return []
        tracer = Tracer(self._model, self._note)
        with tracer.tracing() as found:
            tracer.add_variables()
        return found
