# SPDX-License-Identifier: Apache-2.0
"""What the step computes: sums, the ring, the gate before the update, the slow branch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import tensorflow as tf

from tb_nanwatch.compat.tensorflow import resource_variable
from tb_nanwatch.postmortem.capsule import Sum
from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.backends.kept import MANY_UPDATES, UPDATED, Kept
from tb_nanwatch.writing.backends.tensorflow.addends import read_where_added
from tb_nanwatch.writing.backends.tensorflow.capture import Capture
from tb_nanwatch.writing.backends.tensorflow.ops import (
    batch_size,
    can_be_bad,
    one_after,
    replica_id,
)
from tb_nanwatch.writing.backends.tensorflow.packed import Packed, Parts
from tb_nanwatch.writing.backends.tensorflow.proofs import (
    GUARD_LIMIT,
    PROOF_LIMIT,
)
from tb_nanwatch.writing.backends.tensorflow.recompute import make_again
from tb_nanwatch.writing.backends.tensorflow.ring import Ring, new_limit
from tb_nanwatch.writing.backends.tensorflow.traced_step import VARIABLES, Step, Sums
from tb_nanwatch.writing.backends.tracing import Found, in_causal_order
from tb_nanwatch.writing.recording.observer import (
    NO_LIMIT,
    NOT_SUMMED,
    Expectation,
    Layout,
    Observer,
)

# Steps of one call that stood out and wait to be looked at; each holds a copy of all
# variables.
_MOST_STANDING: Final = 4


class Standing(NamedTuple):
    """A step that stood out, to be looked at once its call is over.

    Attributes:
        kept: the step, from before its update unless something is missing.
        ring: that has its row.
        late: what the step computed after its gate, but for variables.
    """

    kept: Kept
    ring: Ring
    late: list[tuple[Found, Any]]


# Elements of a tensor that costs nothing to hold until the step's end.
_FEW: Final = 64


def _late(found: Sequence[Found], at_gate: set[int]) -> list[Found] | None:
    """Returns what a step computed after its gate, but for variables.

    Args:
        found: all that the step has met.
        at_gate: ids of what it had computed by then.

    Returns:
        None where some of it is not small: to hold it would cost.
    """
    late = {
        id(f.tensor): f
        for f in found
        if f.kind not in VARIABLES
        and id(f.tensor) not in at_gate
        and can_be_bad(f.tensor)
    }
    sizes = [f.tensor.shape.num_elements() for f in late.values()]
    return list(late.values()) if all(n and n <= _FEW for n in sizes) else None


def _row_of(sums: Sums, size: Any) -> Any:
    """Returns [columns and batch size] of a step, as float32."""
    last = [] if size is None else [size]
    if sums.vectors:
        return tf.concat([tf.stack(sums.scalars), *sums.vectors, tf.stack(last)], 0)
    return tf.stack([*sums.scalars, *last])


def _write(ring: Ring, number: Any, row: Any) -> None:
    tf.raw_ops.ResourceScatterUpdate(
        resource=ring.values.handle,
        indices=tf.math.floormod(number, ring.size),
        updates=row,
    )


class StepGraph:
    """Builds what is added to the steps of one model.

    Args:
        observer: receives what is seen.
        capture: of the steps of the model.
        keeps: whether bad steps are kept, for a capsule.
        steps_per_call: returns how many steps one call of the function runs.
        note: receives, in words, what went wrong in watching.
    """

    def __init__(
        self,
        observer: Observer,
        capture: Capture,
        keeps: bool,
        steps_per_call: Callable[[], int],
        note: Callable[[str], None],
    ) -> None:
        self._observer = observer
        self._capture = capture
        self._keeps = keeps
        self._standing: list[Standing] = []
        self._steps_per_call = steps_per_call
        self._note = note
        self._lock = threading.Lock()
        self._layouts: list[Layout] = []
        self._steps: dict[tuple[Phase, int], Any] = {}
        # An eager step is no trace of its own: all share one limit.
        self._eager_limits: dict[tuple[Phase, int], Any] = {}
        self.rings: dict[Phase, list[Ring]] = {"train": [], "validation": []}
        # Steps that are run again afterwards are not looked at.
        self.muted = False
        # Whether a step stood out since this was set to False.
        self.has_news = False

    def steps(self, phase: Phase) -> int:
        """Returns how many steps of `phase` have run."""
        step = self._steps.get((phase, 0))
        return 0 if step is None else int(step.numpy())

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
        with self._lock, tf.init_scope():
            key = (phase, replica)
            if key not in self._steps:
                self._steps[key] = resource_variable(np.int64(0))
        if tf.executing_eagerly():
            limit = self._eager_limits.setdefault(key, new_limit())
        else:
            with tf.init_scope():
                limit = new_limit()
        wanted = self._keeps or beside
        batch = self._capture.begin(data, beside) if wanted else None
        step = Step(phase, self._steps[key].read_value(), limit, replica, batch)
        step.beside = gated and batch is not None and batch.complete
        return step

    def read(self, step: Step) -> None:
        """Reads what tracing the step has made: an optimizer's slots."""
        if step.batch is not None:
            self._capture.read(step.batch)

    def gate(self, step: Step, found: Sequence[Found]) -> Any:
        """Returns what an update has to wait for: a bad step is kept before it.

        To have the gradients alone wait for it costs nothing that can be measured; to
        have every operation of the update wait takes a twentieth of a small step.

        Args:
            step: the step that makes the update.
            found: all that it has met, the gradients of this update included.
        """
        capture, batch = self._capture, step.batch
        found = read_where_added(found, step.read_as)
        tensors = list({id(f.tensor): f.tensor for f in found}.values())
        tensors = [t for t in tensors if can_be_bad(t)]
        if not self._keeps or batch is None or not tensors:
            return None
        step.learn(found)
        sums = step.add(tensors)
        if sums.total is None:
            return None
        step.gates += 1
        step.at_gate.update(id(t) for t in tensors)
        missing = [MANY_UPDATES] if step.gates > 1 else []
        parts = [*sums.scalars, *sums.vectors]
        split = len(parts)
        known_bad = np.zeros(len(parts) if step.beside else len(tensors), np.bool_)

        def before_update(_: Any, number: Any, limit: Any, *arrays: Any) -> Any:
            nonlocal known_bad
            if self.muted:
                return np.int64(1)
            try:
                bad = ~np.isfinite(np.concatenate([np.ravel(a) for a in arrays[:split]]))
                new = bool((bad & ~known_bad).any())
                if step.beside:  # then it is kept for the look, too
                    new = bool((bad != known_bad).any()) or step.is_asked_for()
                    new = new or (not bad.any() and step.may_be_over())
                known_bad = bad
                # A step that is looked at for no such reason is not kept.
                extreme = limit >= 0 and not bad.any()
                # What an earlier update of this very step kept is from before it all.
                kept = capture.has(step.phase, step.replica, int(number))
                if (new or extreme) and not (missing and kept):
                    capture.keep(
                        batch,
                        step.phase,
                        step.replica,
                        int(number),
                        arrays[split:],
                        missing,
                        step.beside,
                    )
            except Exception as e:  # watching must never end a training
                self._note(f"a step could not be kept: {type(e).__name__}: {e}")
            return np.int64(1)

        limit = step.limit_value()
        inputs = [step.number, limit, *parts, *batch.inputs]
        step.passed = one_after(step.is_calm(), before_update, inputs)
        return step.passed

    def record(self, step: Step, found: list[Found]) -> None:
        """Adds the row, the ring and the slow branch to the step."""
        found = in_causal_order(read_where_added(found, step.read_as))
        unique: dict[int, Any] = {}
        for f in found:
            unique.setdefault(id(f.tensor), f.tensor)
        columns = [t for t in unique.values() if can_be_bad(t)]
        if not columns:
            return
        step.learn(found)
        sums = step.add(columns)
        # Tensors that can be non-finite first: they are the ring's columns.
        tensors = [*sums.tensors, *(t for t in unique.values() if not can_be_bad(t))]
        place = {id(t): i for i, t in enumerate(tensors)}
        size = batch_size(found)
        layout = self._layout(step.phase, found, place, len(columns), size is not None)
        ring = self._ring(layout, step)
        row = _row_of(sums, size)
        _write(ring, step.number, row)
        batch = step.batch
        extra = [] if batch is None else batch.inputs
        made = step.proofs.made
        kept = [i for i, t in enumerate(tensors) if id(t) not in made]
        remade = [i for i, t in enumerate(tensors) if id(t) in made]
        split = len(kept) + len(extra)
        places = np.argsort([*kept, *remade])

        def look(_: Any, number: Any, row: Any, *arrays: Any) -> Any:
            if self.muted:
                return np.int64(1)
            try:
                if ring.expectation.stands_out(row[: layout.num_columns]):
                    self.has_news = True
                    values = [*arrays[: len(kept)], *arrays[split:]]
                    values = [values[i] for i in places]
                    ring.expect(
                        self._observer.observe(layout, step.replica, int(number), values)
                    )
                    self._settle(
                        step, layout, int(number), row, arrays[len(kept) : split]
                    )
            except Exception as e:  # watching must never end a training
                self._note(f"a step could not be looked at: {type(e).__name__}: {e}")
            return np.int64(1)

        calm = sums.total <= step.limit_value()
        one = one_after(
            calm,
            look,
            [step.number, row, *(tensors[i] for i in kept), *extra],
            lambda within: make_again([tensors[i] for i in remade], made, within),
        )
        ring.step.assign_add(one, read_value=False)

    def record_gated(self, step: Step, found: Sequence[Found]) -> bool:
        """Adds the ring to a step of which nothing is held, and that is looked at beside.

        What its gate kept is the whole step, from before its update. Where only what the
        update made stands out, the gate saw nothing: then the variables are looked at.

        Args:
            step: the step, whose update is over.
            found: all that it has met.

        Returns:
            Whether it could be: else nothing was added, and it has to be looked at as it
            runs.
        """
        found = in_causal_order(read_where_added(found, step.read_as))
        late = _late(found, step.at_gate)
        if step.gates != 1 or step.batch is None or late is None:
            return False
        unique = {id(f.tensor): f.tensor for f in found}
        columns = [t for t in unique.values() if can_be_bad(t)]
        step.learn(found)
        sums = step.add(columns)
        implied = [t for t in columns if id(t) not in step.checked]
        tensors = [*sums.tensors, *implied]
        n = len(tensors)
        tensors += [t for t in unique.values() if not can_be_bad(t)]
        place = {id(t): i for i, t in enumerate(tensors)}
        size = batch_size(found)
        layout = self._layout(step.phase, found, place, n, size is not None)
        not_summed = tf.constant(NOT_SUMMED)
        row = [*sums.scalars, *(not_summed for _ in implied)]
        row = tf.stack([*row, *([] if size is None else [size])])
        step.ring = self._ring(layout, step, PROOF_LIMIT)
        guards = step.guards()
        guards = tf.constant(0.0) if guards is None else guards
        self._write_ring(step, step.ring, row, guards, step.is_calm(), late)
        return True

    def record_packed(self, step: Step, parts: Parts, sums: Packed) -> None:
        """Adds the ring to a step that XLA compiled, and keeps it where it stands out.

        Args:
            step: the step, whose update is over.
            parts: what the elements of its row stand for.
            sums: that left it.
        """
        if not parts.num_columns or step.batch is None:
            return
        ring = self._ring(self._layout_of(step, parts), step, PROOF_LIMIT)
        calm = sums.total <= step.limit_value()
        self._write_ring(step, ring, sums.row, sums.guards, calm, [])

    def record_later(self, step: Step, parts: Parts, sums: Packed) -> None:
        """Adds the ring to a step of which the host reads nothing until the ring is read.

        Args:
            step, parts, sums: as of `record_packed`.
        """
        if not parts.num_columns:
            return
        ring = self._ring(self._layout_of(step, parts), step, PROOF_LIMIT, guarded=True)
        _write(ring, step.number, tf.concat([sums.row, [sums.guards]], 0))
        ring.step.assign_add(np.int64(1), read_value=False)

    def _layout_of(self, step: Step, parts: Parts) -> Layout:
        places = list(range(len(parts.probes)))
        return self._known(
            Layout(
                *(step.phase, parts.probes, parts.columns),
                *(places, parts.num_columns, parts.has_batch),
            )
        )

    def _write_ring(
        self,
        step: Step,
        ring: Ring,
        row: Any,
        guards: Any,
        calm: Any,
        late: Sequence[Found],
    ) -> None:
        """Writes a row, and has a step that stands out kept until its call is over.

        Args:
            step: that is looked at beside.
            ring: that it has.
            row: [columns and batch size] of the step.
            guards: the half sum of squares of what the proofs rest on.
            calm: whether the step is not to be asked any further.
            late: what it computed after its gate, but for variables; all small.
        """
        assert step.batch is not None
        batch, n = step.batch, ring.layout.num_columns
        end = len(late) + len(batch.inputs)
        _write(ring, step.number, row)

        def keep(_: Any, number: Any, row: Any, guards: Any, *inputs: Any) -> Any:
            if self.muted:
                return np.int64(1)
            try:
                if ring.stands_out(row[:n], proved=bool(guards <= GUARD_LIMIT)):
                    self.has_news = True
                    # Until it has been looked at, only news stand out.
                    ring.expectation = Expectation(NO_LIMIT, ~np.isfinite(row[:n]))
                    if len(self._standing) < _MOST_STANDING:
                        sums = [Sum(*part) for part in ring.layout.sums(row)]
                        which = (step.phase, step.replica, int(number))
                        arrays, rest = inputs[: len(late)], inputs[len(late) : end]
                        kept = self._capture.kept_by_gate(*which, sums)
                        if kept is None:
                            missing = [UPDATED] if step.beside else []
                            kept = self._capture.make(batch, *which, rest, missing, sums)
                        values = [
                            (f, np.array(a)) for f, a in zip(late, arrays, strict=True)
                        ]
                        self._standing.append(Standing(kept, ring, values))
            except Exception as e:  # watching must never end a training
                self._note(f"a step could not be kept: {type(e).__name__}: {e}")
            return np.int64(1)

        inputs = [step.number, row, guards, *(f.tensor for f in late), *batch.inputs]
        if step.passed is not None:  # not before the gate has kept the step
            inputs.append(step.passed)
        one = one_after(calm, keep, inputs)
        ring.step.assign_add(one, read_value=False)

    @property
    def own(self) -> list[Any]:
        """The variables that are written by the steps, or for them."""
        rings = [ring for of_phase in self.rings.values() for ring in of_phase]
        own = [variable for ring in rings for variable in (ring.values, *ring.limits)]
        return [*self._steps.values(), *own, *self._eager_limits.values()]

    def mute(self) -> None:
        """Looks at no step from now on."""
        self.muted = True
        for rings in self.rings.values():
            for ring in rings:
                for limit in ring.limits:
                    limit.assign(np.float32(NO_LIMIT))

    def take_standing(self) -> list[Standing]:
        """Returns the steps that stood out since the last call."""
        standing, self._standing = self._standing, []
        return standing

    def _settle(
        self, step: Step, layout: Layout, number: int, row: Any, extra: Sequence[Any]
    ) -> None:
        """Keeps the step that was just observed, if it is the run's onset."""
        capture, batch = self._capture, step.batch
        if not self._keeps or batch is None:
            return
        wanted = self._observer.is_onset(step.phase, number, step.replica)
        if wanted and not capture.has(step.phase, step.replica, number):
            # Validation updates nothing, and XLA's step was read before it began.
            whole = step.phase == "validation" or batch.everything
            missing = [] if whole else [UPDATED]
            capture.keep(batch, step.phase, step.replica, number, extra, missing)
        sums = [Sum(*part) for part in layout.sums(row)]
        capture.settle(step.phase, step.replica, wanted, sums)

    def _layout(
        self,
        phase: Phase,
        found: list[Found],
        place: dict[int, int],
        n: int,
        has_batch: bool,
    ) -> Layout:
        probes = [f.probe() for f in found]
        sources = [place[id(f.tensor)] for f in found]
        columns = [s if s < n else -1 for s in sources]
        return self._known(Layout(phase, probes, columns, sources, n, has_batch))

    def _known(self, new: Layout) -> Layout:
        """Returns the layout that another trace of the same step had, or else `new`."""
        keys = [(p.kind, p.name) for p in new.probes]
        with self._lock:
            for layout in self._layouts:
                if (
                    layout.phase == new.phase
                    and layout.columns == new.columns
                    and layout.has_batch == new.has_batch
                    and [(p.kind, p.name) for p in layout.probes] == keys
                ):
                    return layout
            self._layouts.append(new)
            return new

    def _ring(
        self,
        layout: Layout,
        step: Step,
        most: float = NO_LIMIT,
        *,
        guarded: bool = False,
    ) -> Ring:
        # Made outside the traced function, and as plain variables even under a
        # distribution strategy: mirrored ones misreport a fault of one replica.
        with self._lock, tf.init_scope():
            for ring in self.rings[layout.phase]:
                if ring.layout is layout and ring.replica == step.replica:
                    break
            else:
                number = self._steps[layout.phase, step.replica]
                rows = 2 * self._steps_per_call()
                which = (layout, step.replica, number)
                ring = Ring(*which, rows, most, guarded=guarded)
                self.rings[layout.phase].append(ring)
            if not any(limit is step.limit for limit in ring.limits):
                ring.limits.append(step.limit)
            return ring
