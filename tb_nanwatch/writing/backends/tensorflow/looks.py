# SPDX-License-Identifier: Apache-2.0
"""Looks at steps that stood out: their tensors are handed to the observer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from tb_nanwatch.record.schema import Phase, Probe
from tb_nanwatch.writing.backends.kept import UPDATED, Kept
from tb_nanwatch.writing.backends.tensorflow.capture import Capture
from tb_nanwatch.writing.backends.tensorflow.news import Standing
from tb_nanwatch.writing.backends.tensorflow.one_step import OneStep
from tb_nanwatch.writing.backends.tensorflow.ring import Ring
from tb_nanwatch.writing.backends.tensorflow.run_again import (
    as_columns,
    as_observed,
    run_again,
)
from tb_nanwatch.writing.backends.tensorflow.tracing import Tracer
from tb_nanwatch.writing.backends.tracing import Found, in_causal_order
from tb_nanwatch.writing.recording.health import Health
from tb_nanwatch.writing.recording.observer import Floats, Layout, Observer


def _at_least(probe: Probe, half_sum: float) -> Health:
    """Returns what a sum of squares that is not finite proves of a tensor."""
    size = math.prod(n or 1 for n in probe.shape)
    is_nan = math.isnan(half_sum)
    return Health(is_nan, not is_nan, 0, size, math.nan, math.nan, 0.0, 0, None)


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
            run = self._run_of(kept.phase)
            layout, arrays, _ = run_again(self._model, kept, ring.layout, run)
        self._observe(kept, ring, layout, arrays, time.monotonic() - began)

    def look_back(self, kept: Kept, ring: Ring, spent: float) -> bool:
        """Hands the tensors of a step that has passed to the observer.

        Args:
            kept: the step as it began when what led to it was run again.
            ring: the ring that has its row.
            spent: seconds that it took to have it.

        Returns:
            Whether the same tensors were non-finite as in training; else nothing was
            handed over. A device whose operations are not deterministic rounds otherwise.
        """
        began = time.monotonic()
        run = self._run_of(kept.phase)
        layout, arrays, is_same = run_again(self._model, kept, ring.layout, run)
        if is_same:
            spent += time.monotonic() - began
            self._observe(kept, ring, layout, arrays, spent)
        return is_same

    def by_sums(self, ring: Ring, number: int, row: Floats) -> None:
        """Tells the observer which tensors of a step hold NaN, where nothing else is known.

        A sum of squares that is NaN proves a NaN. One that is infinite proves an infinite
        element or a giant one, and is told where there is NaN, too. The counts are the
        least ones.

        Args:
            ring: the ring that has the step's row.
            number: of the training step.
            row: [columns] of it.
        """
        if not np.isnan(row).any():
            return
        trained = ring.layout
        bad = [
            (probe, column)
            for probe, column in zip(trained.probes, trained.columns, strict=True)
            if column >= 0 and not np.isfinite(row[column])
        ]
        places = list(range(len(bad)))
        probes = [probe for probe, _ in bad]
        layout = Layout(trained.phase, probes, places, places, len(bad), False)
        healths = [_at_least(probe, float(row[column])) for probe, column in bad]
        self._observer.observe(layout, ring.replica, number, healths)

    def _observe(
        self, kept: Kept, ring: Ring, layout: Layout, arrays: Sequence[Any], spent: float
    ) -> None:
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
