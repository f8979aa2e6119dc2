# SPDX-License-Identifier: Apache-2.0
"""The steps of one phase as they run: what each told, and what stood out."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import jax
import numpy as np

from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.backends.jax.capture import Capture
from tb_nanwatch.writing.backends.jax.sums import Layouts, Told
from tb_nanwatch.writing.backends.jax.trail import Trail
from tb_nanwatch.writing.recording.health import flat_real
from tb_nanwatch.writing.recording.observer import (
    LOOK_NEXT,
    Expectation,
    Floats,
    Layout,
    Observer,
)

# Runs a step and hands out all its tensors.
Look = Callable[[Any, Any], Told]


# Multiples of the lag: more steps than these are not left unchecked.
_MOST_WAITING: Final = 4


class _Row(NamedTuple):
    """What a step told."""

    step: int
    layout: Layout
    values: Any


class _Rows(NamedTuple):
    """What steps told that follow one another: [steps, columns]."""

    first_step: int
    layout: Layout
    values: Floats


class Steps:
    """Follows the steps of one phase.

    Args:
        phase: which.
        observer: receives what is seen.
        layouts: what the steps' values stand for.
        limit: bytes of batches that may be held so that a step can be run again.
        donated: whether a step gives its state away.
        capture: keeps the step at which the run goes bad, None where nothing is kept.
        run: a step as it trains.
        looks: ways to look at a step, the cheapest first.
        note: receives, in words, what could not be seen.
        lag: steps that may run before the first of them is checked.
    """

    def __init__(  # noqa: PLR0913 (what one traced step is made of)
        self,
        phase: Phase,
        observer: Observer,
        layouts: Layouts,
        limit: int,
        donated: bool,
        capture: Capture | None,
        run: Callable[[Any, Any], tuple[Any, Any]],
        looks: list[Look],
        note: Callable[[str], None],
        lag: int,
    ) -> None:
        self._phase: Phase = phase
        self._observer, self._layouts = observer, layouts
        self._trail = Trail(limit, donated, self.check)
        self._capture, self._run, self._looks, self._note = capture, run, looks, note
        self._lag = lag
        # Not read yet, and read but not handed over.
        self._waiting: list[_Row] = []
        self._rows: list[_Rows] = []
        # By what the columns are: a last batch that is smaller has a layout of its own.
        self._expected: dict[tuple[Any, ...], Expectation] = {}
        self._keys: dict[int, tuple[Any, ...]] = {}
        self._asked = True
        self.count = 0

    def ask(self) -> None:
        """Has the next step looked at in full."""
        self._asked = True
        for key, expectation in self._expected.items():
            self._expected[key] = expectation._replace(limit=LOOK_NEXT)

    def begin(self, state: Any, data: Any) -> list[int]:
        """Says that a step begins with these.

        Returns:
            Places of what was set in the state since the step before.
        """
        return self._trail.begin(self.count, state, data, self._asked)

    def ended(self, told: Told, state: Any) -> None:
        """Takes in what a step told, and the state after it."""
        self._trail.ended(state)
        self._waiting.append(_Row(self.count, self._layouts[told.layout], told.values))
        self.count += 1
        if self._asked:
            self.check()
        elif len(self._waiting) >= self._lag:
            # Without waiting for those that still run, unless they pile up.
            piled_up = len(self._waiting) >= _MOST_WAITING * self._lag
            self.check(sum(map(_is_over, self._waiting)) if not piled_up else None)

    def clear(self) -> None:
        """Lets go of what steps could be run again from."""
        self._trail.clear()

    def check(self, steps: int | None = None) -> None:
        """Looks at the steps that stand out among those that have run.

        Args:
            steps: so many of those that wait; None for all.
        """
        waiting = self._waiting[:steps]
        self._waiting = self._waiting[len(waiting) :]
        for _, group in itertools.groupby(waiting, lambda r: id(r.layout)):
            some = list(group)
            first, layout = some[0].step, some[0].layout
            rows = np.stack([np.asarray(one.values) for one in some])
            self._rows.append(_Rows(first, layout, rows))
            key = self._key(layout)
            expected = self._expected.get(key)
            if expected is not None and expected.is_met_by(rows):
                continue
            for step, row in enumerate(rows, first):
                expected = self._expected.get(key)
                if expected is None or expected.stands_out(row):
                    self._look(step, layout, row, key)
        if waiting:
            self._asked = any(e.limit < 0 for e in self._expected.values())

    def read(self) -> None:
        """Hands the rows of all steps that have run to the observer."""
        self.check()
        rows, self._rows = self._rows, []
        for _, group in itertools.groupby(rows, lambda r: id(r.layout)):
            some = list(group)
            values = np.concatenate([r.values for r in some])
            self._observer.rows(some[0].layout, 0, some[0].first_step, values)

    def _key(self, layout: Layout) -> tuple[Any, ...]:
        """Returns what tells layouts apart whose columns stand for other tensors."""
        if id(layout) not in self._keys:
            self._keys[id(layout)] = tuple(
                (probe.kind, probe.name, column)
                for probe, column in zip(layout.probes, layout.columns, strict=True)
            )
        return self._keys[id(layout)]

    def _look(self, step: int, layout: Layout, row: Floats, key: Any) -> None:
        """Hands the tensors of a step that stood out to the observer."""
        began = time.monotonic()
        found = self._trail.before(step, self._run)
        if found is None:
            self._note(f"{self._phase} step {step} could not be looked at")
            return
        state, data = found
        tensors: list[Any] = []
        bad = ~np.isfinite(row)
        for look in self._looks:
            told = look(state, data)
            if self._layouts[told.layout] != layout:
                self._note(
                    "a step that is looked at has other tensors than one that trains"
                )
                return
            tensors = jax.tree.map(np.asarray, told.values)
            if (_overflows(tensors[: layout.num_columns]) == bad).all():
                break
        spent = time.monotonic() - began
        expectation = self._observer.observe(layout, 0, step, tensors, spent=spent)
        for other in self._expected:
            self._expected[other] = self._expected[other]._replace(
                limit=expectation.limit
            )
        self._expected[key] = expectation
        if self._capture is not None and self._observer.is_onset(self._phase, step, 0):
            self._capture.offer(self._phase, step, state, data, layout, row)


def _is_over(row: _Row) -> bool:
    """Returns whether a step has run: they run one after the other."""
    is_ready = getattr(row.values, "is_ready", None)
    return is_ready is None or bool(is_ready())


def _overflows(tensors: list[Any]) -> Any:
    """Returns [tensors] whether each has no finite sum of squares."""
    halves = []
    for tensor in tensors:
        flat = flat_real(tensor)
        if flat.dtype.itemsize < 4:
            flat = flat.astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            halves.append(np.float32(np.dot(flat, flat) / 2))
    return ~np.isfinite(np.array(halves, np.float32))
