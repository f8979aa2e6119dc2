# SPDX-License-Identifier: Apache-2.0
"""Hooks a model that PyTorch runs eagerly, and looks at the very tensors of its steps."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import keras
import numpy as np
import torch

from tb_nanwatch.compat.names import Feature, has
from tb_nanwatch.postmortem.capsule import Sum
from tb_nanwatch.postmortem.tape import Tape
from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.backends import fits
from tb_nanwatch.writing.backends.base import (
    METHODS,
    READ_INTERVAL_SECONDS,
)
from tb_nanwatch.writing.backends.hooks import Hooks, original
from tb_nanwatch.writing.backends.interface import Wishes
from tb_nanwatch.writing.backends.kept import MANY_UPDATES, UPDATED
from tb_nanwatch.writing.backends.one_step import StepRunner
from tb_nanwatch.writing.backends.torch.capture import Capture
from tb_nanwatch.writing.backends.torch.columns import Columns, Layouts
from tb_nanwatch.writing.backends.torch.journal import Journal, PartPlan
from tb_nanwatch.writing.backends.torch.rewinding import Rewinding
from tb_nanwatch.writing.backends.torch.rows import Rows
from tb_nanwatch.writing.backends.torch.running import Step
from tb_nanwatch.writing.backends.torch.states import preserved
from tb_nanwatch.writing.backends.torch.sums import array_of, sums_there
from tb_nanwatch.writing.backends.torch.tracing import REFRESH, Tracer
from tb_nanwatch.writing.backends.tracing import Found
from tb_nanwatch.writing.recording.observer import (
    Floats,
    Observer,
)

# Rows that are handed over together.
_ROWS: Final = 256
# Steps whose sums an accelerator holds before they are read, all at once.
_LAG: Final = 64


class _Pending(NamedTuple):
    """A training step of which the sums were not read yet.

    Attributes:
        number: of the step.
        columns: of its row.
        sums: the row, a tensor.
    """

    number: int
    columns: Columns
    sums: Any


class _Current(threading.local):
    """The step that a thread is running."""

    step: Step | None = None


class Instrument(StepRunner):
    """Watches one training (`interface.Instrument`).

    Args:
        model: the model that is being fitted.
        observer: receives what is seen.
        wishes: how it is to be watched, and who is told.
    """

    _tracer: Tracer
    _rewinding: Rewinding | None

    def __init__(self, model: Any, observer: Observer, wishes: Wishes) -> None:
        super().__init__(model, observer, wishes)
        self._tracer = Tracer(model, self._note)
        self._current = _Current()
        keeps = wishes.capture_bytes > 0 and has(Feature.CAPSULE)
        self.capture = Capture(model, wishes.capture_bytes) if keeps else None
        self._rewinding = None
        self._steps: dict[Phase, int] = {"train": 0, "validation": 0}
        self._asked: set[Phase] = set()
        self._layouts = Layouts()
        self._plans: dict[Phase, PartPlan] = {
            "train": PartPlan(),
            "validation": PartPlan(),
        }
        self._on_host = True
        # What was not finite when a phase was last looked at: kind and name.
        self._bad: dict[Phase, set[tuple[str, str]]] = {
            "train": set(),
            "validation": set(),
        }
        self._pending: list[_Pending] = []
        self._rows = Rows()
        self._read_at = time.monotonic()

    # --- Installing -----------------------------------------------------------

    def install(self, caller: fits.Caller) -> None:
        """Hooks the model.

        Args:
            caller: the running `fit`; see `interface.Instrument`.
        """
        model = self._model
        fit = self._join(caller, lambda: fits.WatchedFit(model, caller))
        self._hooks = hooks = Hooks()
        try:
            self._hook_parts(hooks)
            if self._wishes.rewind_bytes:
                limit = self._wishes.rewind_bytes
                self._rewinding = Rewinding(model, limit, hooks)
            for phase, name in METHODS.items():
                hooks.put(model, name, self._watch_step(phase))
            fit.make_functions(self._make_functions)
        except BaseException:
            self.uninstall()
            raise

    def _make_functions(self) -> None:
        self._model.make_train_function(force=True)
        self._model.make_test_function(force=True)

    def run_once(self, phase: Phase, data: Any) -> list[Found]:
        """Runs one step and returns its watched tensors; the model is not watched then.

        Args:
            phase: which step.
            data: the batch, as `train_step` receives it.
        """
        return self._run_once(phase, data, self._found_in_step)

    def _take_in(self, phase: Phase) -> BaseException | None:
        waited = time.monotonic() - self._read_at
        if self._rows.count >= _ROWS or waited > READ_INTERVAL_SECONDS:
            self.read()
            self._wishes.after_read()
        return self._wishes.after_call()

    # --- What the training says (`interface.Instrument`) -------------------------

    def read(self) -> None:
        """Hands all rows since the last reading to the observer."""
        self._read_at = time.monotonic()
        self._check()
        for layout, first, some in self._rows.take():
            self._observer.rows(layout, 0, first, np.stack(some))

    def ask(self, phase: Phase) -> None:
        """Has the next step of `phase` looked at in full."""
        self._asked.add(phase)

    def steps(self, phase: Phase) -> int:
        """Returns how many steps of `phase` have run."""
        return self._steps[phase]

    def take_tape(self, onset: int) -> Tape | str:
        """Returns what the training can be run again from; see `interface.Instrument`."""
        if self._rewinding is None:
            return f"rewind_bytes={self._wishes.rewind_bytes} keeps nothing"
        return self._rewinding.take(onset)

    # --- In the step --------------------------------------------------------------

    def _meet(self, meet: Callable[..., None], *met: Any) -> None:
        """Adds what a hook has met: to the step's journal, where it has one."""
        step, fit = self._current.step, self._fit
        if step is not None and fit is not None and not fit.is_aside:
            try:  # in vain it costs nothing, and a step has many hooks
                step.journal.add(meet, met)
            except Exception as e:
                with self._apart:
                    raise e
        elif self._is_met:
            with self._apart:
                meet(*met)

    @property
    def _is_met(self) -> bool:
        """Whether what a hook meets now is of a step that is watched."""
        fit = self._fit
        return (
            self._tracer.active
            and self._trouble is None
            # In a step that began watched; a call in it may go by unwatched all the same.
            and self._hooks is not None
            and (fit is None or not fit.is_aside)
        )

    def _watch_step(self, phase: Phase) -> Callable[[Any, Any], Any]:
        def wrap(model: Any, train_step: Any) -> Any:
            def watched(data: Any) -> Any:
                step: Step | None = None
                if self._watching:
                    with self._kept_apart():
                        step = self._begin(phase, data)
                if step is None:
                    return train_step(data)
                logs, found = self._run(step, train_step)
                self._steps[phase] += 1
                if phase == "train" and self._rewinding is not None:
                    with self._kept_apart():
                        self._rewinding.ended(self._steps[phase])
                if self._trouble is None:
                    with self._kept_apart():
                        self._settle(step, found)
                return logs

            return watched

        return wrap

    def _run(self, step: Step, train_step: Any) -> tuple[Any, list[Found]]:
        """Runs a step; returns its logs and what it met, nothing where it is like another."""
        before, self._current.step = self._current.step, step
        try:
            with self._tracer.tracing() as found:
                self._meet(self._tracer.add_data, step.data)
                logs = train_step(step.data)
                self._meet(self._tracer.add_logs, logs)
                if self._is_met:
                    with self._apart:
                        self._close(step)
                return logs, found
        finally:
            self._current.step = before

    def _close(self, step: Step) -> None:
        """Says that a step is over, and names what it met unless it is like another."""
        if step.phase == "train" and not self._wishes.activations_only:
            step.listed = self._tracer.list_variables()
        plan = step.journal.close(step.listed)
        if step.journal.is_named or plan is None or plan.columns is None:
            self._name(step)
        step.is_over = True

    def _name(self, step: Step) -> None:
        """Has the tracer name what a step met, within `tracing`."""
        step.journal.name()
        if step.listed is not None:
            self._tracer.add_found(step.listed.found)
        self._tracer.finish()

    def _begin(self, phase: Phase, data: Any) -> Step:
        tracer = self._tracer
        journal = Journal(self._plans[phase], at_once=tracer.is_triple(data))
        step = Step(phase, self._steps[phase], data, tracer.can_be_bad, journal)
        if phase == "train" and self._rewinding is not None:
            self._rewinding.begins(step.number, data)
            if step.number < 2 or step.number % REFRESH == 0:
                self._on_host = is_on_host(self._model)
            step.later = (
                not self._on_host
                and not self._wishes.acts
                and phase not in self._asked
                and self._rewinding.has_begun
            )
        if step.later:
            return step
        if self.capture is not None and not self.capture.closed:
            step.early = self.capture.begin()
        return step

    def _watch_apply(self, optimizer: Any, apply: Any) -> Any:
        def watched(grads: Any, *args: Any, **kwargs: Any) -> Any:
            grads = list(grads)  # what is given may be read only once
            variables = kwargs.get("trainable_variables", args[0] if args else None)
            if self._is_met:
                with self._apart:
                    self._before_update(optimizer, grads, variables)
            return apply(grads, *args, **kwargs)

        return watched

    def _before_update(
        self, optimizer: Any, grads: list[Any], trainable_variables: Any
    ) -> None:
        """Adds the gradients, and keeps the step where something is bad by now."""
        variables = self._add_gradients(optimizer, grads, trainable_variables)
        step = self._current.step
        if step is None:
            return
        step.journal.tell_apart(variables)
        plan = step.journal.close()
        if step.early is None:
            return
        step.add_planned()
        if plan is None or not math.isfinite(step.total):
            step.journal.name()
            self._keep(step, self._tracer.found, [MANY_UPDATES] if step.updates else [])
        step.updates += 1

    def _keep(self, step: Step, found: list[Found], missing: list[str]) -> None:
        """Keeps a step that is bad where it was not before."""
        if self.capture is None or step.early is None or step.kept is not None:
            return
        known = self._bad[step.phase]
        if step.bad_of(found) - known:
            step.kept = self.capture.make(
                step.early, step.phase, step.number, step.data, missing
            )

    # --- After the step -------------------------------------------------------------

    def _settle(self, step: Step, found: list[Found]) -> None:
        """Reports a step that has run, and looks at it where it stands out."""
        if not step.is_over:
            return  # the hooks were taken out within it
        journal, plan = step.journal, step.journal.plan
        if not journal.is_named and plan is not None and plan.columns is not None:
            columns = plan.columns
            if step.later:
                tensors = [journal.tensors[i] for i in plan.places]
                self._leave(step, columns, tensors)
                return
            self._check()
            step.add_planned()
            row = step.planned_row(plan)
            if self._is_quiet(step, columns, row):
                self._rows.add(columns.layout, step.number, row)
                return
            with self._tracer.tracing() as found:
                self._name(step)
        elif step.later and self._settle_later(step, found):
            return
        self._check()
        step.add_sums(found)
        columns = self._layouts.of(step.phase, step.sums, found)
        journal.learn(columns, found)
        row = step.row(columns.summed(found))
        self._rows.add(columns.layout, step.number, row)
        if not self._is_quiet(step, columns, row):
            self._asked.discard(step.phase)
            self._look(step, found, columns, row)

    def _is_quiet(self, step: Step, columns: Columns, row: Floats) -> bool:
        """Returns whether a step need not be looked at."""
        return step.phase not in self._asked and columns.outlook.is_met(step.total, row)

    def _look(
        self, step: Step, found: list[Found], columns: Columns, row: Floats
    ) -> None:
        """Hands the tensors of a step to the observer."""
        found = [found[i] for i in columns.order]
        layout = columns.layout
        tensors = [found[i].tensor for i in columns.keys]
        self._keep(step, found, [UPDATED] if step.phase == "train" else [])
        arrays = [array_of(tensor) for tensor in tensors]
        expected = self._observer.observe(layout, 0, step.number, arrays)
        columns.outlook.expect(expected)
        # Not those of which the sum alone is too large: they may go bad yet.
        self._bad[step.phase] = {
            (probe.kind, probe.name)
            for probe, column in zip(layout.probes, layout.columns, strict=True)
            if column >= 0 and expected.bad[column]
        }
        if self.capture is not None and self._observer.is_onset(
            step.phase, step.number, 0
        ):
            if step.kept is not None:
                step.kept.sums = [Sum(*part) for part in layout.sums(row)]
            self.capture.keep(step.kept)

    # --- Steps that are read later ----------------------------------------------------

    def _settle_later(self, step: Step, found: list[Found]) -> bool:
        """Leaves a step's sums where they are; returns whether it need not be read now."""
        known = {id(f.tensor) for f in found if self._tracer.can_be_bad(f.tensor)}
        step.sums = dict.fromkeys(known, 0.0)
        columns = self._layouts.of(step.phase, step.sums, found)
        step.sums = {}
        if columns.outlook.expected is None or not known:
            return False
        step.journal.learn(columns, found)
        self._leave(step, columns, columns.summed(found))
        return True

    def _leave(self, step: Step, columns: Columns, tensors: Sequence[Any]) -> None:
        """Leaves a step's sums where they are, to be read with those of others."""
        self._pending.append(_Pending(step.number, columns, sums_there(tensors)))
        if len(self._pending) >= _LAG:
            self._check()

    def _check(self) -> None:
        """Reads the sums of the steps that wait, and looks at those that stand out."""
        pending, self._pending = self._pending, []
        for _, group in itertools.groupby(pending, lambda p: id(p.columns)):
            steps = list(group)
            columns = steps[0].columns
            rows = torch.stack([p.sums for p in steps]).cpu().numpy()
            for one, row in zip(steps, rows, strict=True):
                self._rows.add(columns.layout, one.number, row)
            if columns.outlook.is_met_by(rows):
                continue
            for one, row in zip(steps, rows, strict=True):
                if columns.outlook.stands_out(row):
                    self._look_back(one.number, row)

    def _look_back(self, number: int, row: Floats) -> None:
        """Runs a training step that has passed again, and looks at its tensors."""
        rewinding, fit, model = self._rewinding, self._fit, self._model
        tape = rewinding.stretch(number) if rewinding is not None else None
        if rewinding is None or fit is None or tape is None:
            self._note(f"train step {number} could not be looked at: it was not kept")
            return
        at = number - tape.first
        journal = Journal(self._plans["train"], at_once=True)
        can_be_bad = self._tracer.can_be_bad
        step = Step("train", number, tape.batches[at], can_be_bad, journal)
        with preserved(model), rewinding.aside():
            with fit.aside():
                for _ in tape.play(tape.batches[:at]):
                    pass
            if self.capture is not None and not self.capture.closed:
                step.early = self.capture.begin()
            _, found = self._run(step, original(model, "train_step"))
            step.add_sums(found)
            columns = self._layouts.of(step.phase, step.sums, found)
            again = step.row(columns.summed(found))
            if not np.array_equal(np.isfinite(again), np.isfinite(row)):
                self._note(
                    f"train step {number} came out otherwise when it was run again"
                )
                return
            self._look(step, found, columns, again)


def is_on_host(model: Any) -> bool:
    """Returns whether a model's variables lie in the host's memory, where a read is free."""
    return all(v.value.device.type == "cpu" for v in model.variables[:1])


def tensors_of(data: Any) -> Any:
    """Returns a batch of arrays as a training step receives it: with tensors."""
    return keras.tree.map_structure(
        lambda leaf: None if leaf is None else keras.ops.convert_to_tensor(leaf), data
    )
