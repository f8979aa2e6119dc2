# SPDX-License-Identifier: Apache-2.0
"""The failing step run once more after a training, operation by operation."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Set
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple

import torch

from tb_nanwatch.compat.names import Feature, require
from tb_nanwatch.postmortem import again, outliers
from tb_nanwatch.postmortem.capsule import NO_BATCH, Capsule
from tb_nanwatch.postmortem.chain import Ran
from tb_nanwatch.postmortem.counting import count
from tb_nanwatch.postmortem.flow import Counts, upstream
from tb_nanwatch.postmortem.naming import result_of, words
from tb_nanwatch.postmortem.step_changes import in_float32
from tb_nanwatch.postmortem.tape import Tape
from tb_nanwatch.postmortem.variables import variables_of
from tb_nanwatch.record.schema import BadTensor, Phase, PostMortem
from tb_nanwatch.writing.backends.afterwards import (
    MAX_SECONDS,
    is_finite_up_to,
    run_again,
)
from tb_nanwatch.writing.backends.interface import Wishes
from tb_nanwatch.writing.backends.names import walk
from tb_nanwatch.writing.backends.torch.instrument import Instrument, tensors_of
from tb_nanwatch.writing.backends.torch.states import assign, preserved
from tb_nanwatch.writing.backends.torch.sums import array_of
from tb_nanwatch.writing.backends.torch.watch import OpWatch
from tb_nanwatch.writing.backends.tracing import Found
from tb_nanwatch.writing.recording.observer import Observer

_OUTSIDE: Final = "made outside of PyTorch's operations"


def post_mortem(
    model: Any,
    capsule: Capsule,
    observer: Observer,
    *,
    activations_only: bool,
    tape: Tape | None,
) -> PostMortem:
    """Returns what the failing step shows, run again; never raises.

    The model is as it was afterwards.

    Args:
        model: that was trained, no longer watched by any instrument.
        capsule: its failing step.
        observer: is told nothing.
        activations_only: as the training was watched.
        tape: the steps before it, None where they were not kept.
    """
    return run_again(lambda: _run(model, capsule, observer, activations_only, tape))


def _run(
    model: Any,
    capsule: Capsule,
    observer: Observer,
    activations_only: bool,
    tape: Tape | None,
) -> PostMortem:
    if not capsule.has_batch:
        return PostMortem(reason=f"The step cannot be run again: {NO_BATCH}.")
    if capsule.missing:
        # From another state it may fail alike, and in another place.
        return PostMortem(
            reason="The step cannot be run again as it was: "
            + "; ".join(capsule.missing)
            + "."
        )
    require(Feature.POST_MORTEM)
    with preserved(model):
        runner = _Runner(model, capsule, observer, activations_only)
        data = tensors_of(capsule.data)
        ran = runner.run(runner.restore, data)
        origin = capsule.origin
        traced = next(
            (f for f in ran.found if (f.kind, f.name) == (origin.kind, origin.name)), None
        )
        if traced is None:
            return PostMortem(
                reason=f"Run again, the step has no tensor {origin.name!r}, so nothing can "
                "be named."
            )
        counts = count(array_of(traced.tensor))
        if counts != _counts_of(origin):
            return PostMortem(
                reason=f"Run again, {origin.name} has {words(counts)}; in training it had "
                f"{words(_counts_of(origin))} (it may draw other random numbers each time "
                "it runs), so nothing is named."
            )
        watch = ran.watch
        began = upstream(watch.flow, watch.id_of(traced.tensor))
        op = began.op

        def public_name(op_type: str) -> str:
            return watch.names.get(op_type, op_type)

        result = result_of(watch.flow, began, ran.batch, public_name, _OUTSIDE)
        if op is not None and (not op.gradient or op.forward is not None):
            result.in_model = op.index in watch.in_model
        if op is not None and ran.spent < again.LONGEST_STEP:
            runs = again.Again(runner.kept, runner.restore, public_name)
            again.say_since(
                *(result, runs, capsule, tape, watch.flow, op, data, ran.batch)
            )
        if result.dtype == "float16":
            with contextlib.suppress(Exception):  # code of the user's that wants float16
                result.finite_in_float32 = _in_float32(model, capsule, observer, data)
        return result


class _Ran(NamedTuple):
    """A step that ran operation by operation.

    Attributes:
        watch: that saw it.
        found: its watched tensors, in causal order.
        batch: the arrays of its batch, by their ids in the flow.
        spent: seconds.
    """

    watch: OpWatch
    found: list[Found]
    batch: dict[int, Any]
    spent: float


class _Runner:
    """Runs the failing step's kind of step operation by operation."""

    def __init__(
        self, model: Any, capsule: Capsule, observer: Observer, activations_only: bool
    ) -> None:
        self._model, self._capsule, self._observer = model, capsule, observer
        self._wishes = Wishes(activations_only=activations_only)
        self._paths = {id(layer): path for path, layer in walk(model)}

    def restore(self) -> None:
        """Sets the model to its state from before the failing step."""
        assign(self._model, self._capsule.variables)

    def run(
        self, restore: Callable[[], Any], data: Any, wanted: Set[int] = frozenset()
    ) -> _Ran:
        """Runs a step.

        Args:
            restore: sets the model to the state from before it.
            data: its batch, with tensors.
            wanted: numbers of operations whose values are kept.
        """
        restore()
        watch = OpWatch(_step.__code__, self._paths, MAX_SECONDS, wanted)
        batch: dict[int, Any] = {}
        for name, leaf in outliers.leaves(data):
            if isinstance(leaf, torch.Tensor):
                batch[watch.add_data(name, leaf)] = array_of(leaf)
        for _, variable in variables_of(self._model):
            watch.add_variable(variable.path, variable.value)
        instrument = Instrument(self._model, self._observer, self._wishes)
        began = time.monotonic()
        found = _step(watch, instrument, self._capsule.position.phase, data)
        return _Ran(watch, found, batch, time.monotonic() - began)

    def kept(
        self, restore: Callable[[], Any], data: Any, wanted: set[int]
    ) -> dict[int, Ran]:
        """Runs a step and returns the operations that are wanted (`again.Run`)."""
        return self.run(restore, data, wanted).watch.kept


def _in_float32(
    model: Any, capsule: Capsule, observer: Observer, data: Any
) -> bool | None:
    """Returns whether the step stays finite up to the origin with float32 for float16."""
    assign(model, capsule.variables)
    phase = capsule.position.phase
    with in_float32(model), _mode(phase):
        found = Instrument(model, observer, Wishes()).run_once(phase, data)
    return is_finite_up_to(
        capsule.origin, ((f.kind, f.name, array_of(f.tensor)) for f in found)
    )


def _step(watch: OpWatch, instrument: Instrument, phase: Phase, data: Any) -> list[Found]:
    """Runs the step; the user's stack ends at this very function."""
    with _mode(phase), watch.watching():
        return instrument.run_once(phase, data)


def _mode(phase: Phase) -> AbstractContextManager[Any]:
    return contextlib.nullcontext() if phase == "train" else torch.no_grad()


def _counts_of(bad: BadTensor) -> Counts:
    return Counts(bad.num_nan, bad.num_pos_inf, bad.num_neg_inf)
