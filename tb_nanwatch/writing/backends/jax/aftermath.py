# SPDX-License-Identifier: Apache-2.0
"""The failing step run once more after a training, equation by equation."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Sequence, Set
from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax.extend.core import Var, jaxpr_as_fun

from tb_nanwatch.postmortem import again, outliers
from tb_nanwatch.postmortem.capsule import NO_BATCH, Capsule
from tb_nanwatch.postmortem.flow import Counts, Flow, Op, upstream
from tb_nanwatch.postmortem.naming import result_of, words
from tb_nanwatch.postmortem.step_changes import in_float32
from tb_nanwatch.postmortem.tape import Tape
from tb_nanwatch.postmortem.variables import trained_variables
from tb_nanwatch.record.schema import BadTensor, Phase, PostMortem
from tb_nanwatch.writing.backends.afterwards import (
    MAX_SECONDS,
    is_finite_up_to,
    run_again,
)
from tb_nanwatch.writing.backends.interface import Wishes
from tb_nanwatch.writing.backends.jax.instrument import Instrument
from tb_nanwatch.writing.backends.jax.interpret import Interpreter, needed_for
from tb_nanwatch.writing.backends.jax.operations import public_name
from tb_nanwatch.writing.backends.jax.states import parts_of, preserved, state_of
from tb_nanwatch.writing.recording.observer import Layout, Observer

_OUTSIDE: Final = "made outside of JAX's operations"
_BACKWARDS: Final = ("gradient", "optimizer", "weight")


def post_mortem(
    model: Any,
    capsule: Capsule,
    observer: Observer,
    *,
    activations_only: bool,
    tape: Tape | None,
) -> PostMortem:
    """Returns what the failing step shows, run again; never raises.

    The model takes no part but by its code: its values are the capsule's.

    Args:
        model: that was trained, no longer watched by any instrument.
        capsule: its failing step.
        observer: is told nothing.
        activations_only: as the training was watched.
        tape: the steps before it, None where they were not kept.
    """
    drawn = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        return run_again(lambda: _run(model, capsule, observer, activations_only, tape))
    finally:
        random.setstate(drawn[0])
        np.random.set_state(drawn[1])  # noqa: NPY002


def _run(
    model: Any,
    capsule: Capsule,
    observer: Observer,
    activations_only: bool,
    tape: Tape | None,
) -> PostMortem:
    if not capsule.has_batch:
        return PostMortem(reason=f"The step cannot be run again: {NO_BATCH}.")
    phase, origin = capsule.position.phase, capsule.origin
    state, paths = _state_of(model, phase, capsule)
    data = jax.tree.map(jnp.asarray, capsule.data)
    instrument = Instrument(model, observer, Wishes(activations_only=activations_only))
    traced, layout = instrument.traced(phase, state, data)
    place = _place(layout, origin)
    if place is None:
        return PostMortem(
            reason=f"Run again, the step has no tensor {origin.name!r}, so nothing can be "
            "named."
        )
    runner = _Runner(traced, layout, place, paths)
    ran = runner.run(state, data)
    flow = ran.interpreter.flow
    counts = flow.counts.get(ran.output, Counts())
    expected = Counts(origin.num_nan, origin.num_pos_inf, origin.num_neg_inf)
    if counts != expected:
        return PostMortem(
            reason=f"Run equation by equation, {origin.name} has {words(counts)}; in "
            f"training it had {words(expected)} (XLA compiled the step that trained), so "
            "nothing is named."
        )
    began = upstream(flow, ran.output)
    result = result_of(flow, began, ran.batch, public_name, _OUTSIDE)
    if began.op is not None:
        _say_layer(result, began.op, ran.interpreter, _layers(traced.jaxpr, layout))
        if ran.spent < again.LONGEST_STEP:

            def kept(restore: Callable[[], Any], batch: Any, wanted: set[int]) -> Any:
                # Where nothing is returned, it has set the model's variables.
                from_here = restore() or state_of(model, phase, state)
                if _shapes(batch) != _shapes(data):
                    return {}  # it was traced for others
                return runner.run(from_here, batch, wanted).interpreter.kept

            runs = again.Again(kept, lambda: state, public_name)
            with preserved(model):
                again.say_since(
                    *(result, runs, capsule, tape, flow, began.op, data, ran.batch)
                )
    if result.dtype == "float16":
        with contextlib.suppress(Exception):  # code of the user's that wants float16
            result.finite_in_float32 = _in_float32(model, capsule, observer, state, data)
    return result


def _shapes(data: Any) -> list[tuple[int, ...]]:
    return [np.shape(leaf) for leaf in jax.tree.leaves(data)]


class _Ran(NamedTuple):
    """A step that ran equation by equation, up to its origin.

    Attributes:
        interpreter: that ran it.
        output: number of the origin's value in the flow.
        batch: the arrays of its batch, by their numbers.
        spent: seconds.
    """

    interpreter: Interpreter
    output: int
    batch: dict[int, Any]
    spent: float


class _Runner:
    """Runs a traced step.

    Args:
        traced: the step.
        layout: what its outputs stand for.
        place: of the output that is wanted.
        paths: of the state's variables.
    """

    def __init__(
        self, traced: Any, layout: Layout, place: int, paths: Sequence[tuple[str, Any]]
    ) -> None:
        self._paths, self._consts = paths, traced.consts
        jaxpr = traced.jaxpr
        self._one = _One(jaxpr, jaxpr.outvars[place])
        self._needed = needed_for(jaxpr, self._one.outvars)
        self._forward = needed_for(
            jaxpr,
            [
                jaxpr.outvars[source]
                for probe, source in zip(layout.probes, layout.sources, strict=True)
                if probe.kind not in _BACKWARDS
            ],
        )

    def run(self, state: Any, data: Any, wanted: Set[int] = frozenset()) -> _Ran:
        """Runs it.

        Args:
            state, data: its arguments.
            wanted: numbers of operations whose values are kept.
        """
        began = time.monotonic()
        interpreter = Interpreter(Instrument.all_tensors.__code__, MAX_SECONDS, wanted)
        leaves = [interpreter.value(leaf) for leaf in jax.tree.leaves((state, data))]
        batch = _name(interpreter.flow, leaves, self._paths, data)
        (output,) = interpreter.run(
            self._one,
            [interpreter.value(c) for c in self._consts],
            leaves,
            needed=self._needed,
            forward=self._forward,
        )
        return _Ran(interpreter, output.number, batch, time.monotonic() - began)


def _name(
    flow: Flow, leaves: Sequence[Any], paths: Sequence[tuple[str, Any]], data: Any
) -> dict[int, Any]:
    """Names what a step begins with; returns the batch's arrays by their numbers.

    Args:
        flow: receives the names.
        leaves: values of the state, and after them of the batch.
        paths: of the state's variables.
        data: the batch.
    """
    for (path, _), value in zip(paths, leaves, strict=False):
        flow.read[value.number] = path
        if value.number in flow.counts:
            flow.held[value.number] = path
    names = {id(leaf): name for name, leaf in outliers.leaves(data)}
    arrays: dict[int, Any] = {}
    for value in leaves[len(paths) :]:
        flow.data[value.number] = names.get(id(value.array), "input")
        arrays[value.number] = np.asarray(value.array)
    return arrays


def _in_float32(
    model: Any, capsule: Capsule, observer: Observer, state: Any, data: Any
) -> bool | None:
    """Returns whether the step stays finite up to the origin with float32 for float16."""
    instrument = Instrument(model, observer, Wishes())
    with in_float32(model):
        traced, layout = instrument.traced(capsule.position.phase, state, data)
    made = jaxpr_as_fun(traced)(*jax.tree.leaves((state, data)))
    tensors = zip(layout.probes, layout.sources, strict=True)
    return is_finite_up_to(
        capsule.origin, ((p.kind, p.name, made[source]) for p, source in tensors)
    )


def _say_layer(
    result: PostMortem, op: Op, interpreter: Interpreter, layers: dict[int, str]
) -> None:
    """Names the layer that an operation ran in, and those of the operations before it."""
    for maker in interpreter.flow.maker.values():
        maker.layer = layers.get(interpreter.equation_of[maker.index], "")
    # A derivative is where its operation is, if that is known.
    of = op.forward if op.gradient else op
    if of is not None:
        result.in_model = interpreter.equation_of[of.index] in layers
        result.layer = "" if op.gradient else op.layer


def _layers(jaxpr: Any, layout: Layout) -> dict[int, str]:
    """Returns the layers of whose outputs the equations are part; none of one of the loss.

    That is the first of which it is: layers within others come first.
    """
    maker = {v: n for n, equation in enumerate(jaxpr.eqns) for v in equation.outvars}
    found: dict[int, str] = {}
    for probe, source in zip(layout.probes, layout.sources, strict=True):
        if probe.kind not in ("activation", "prediction"):
            continue
        waiting = [jaxpr.outvars[source]]
        while waiting:
            variable = waiting.pop()
            at = maker.get(variable) if isinstance(variable, Var) else None
            if at is not None and at not in found:
                found[at] = probe.layer
                waiting += jaxpr.eqns[at].invars
    return found


class _One:
    """A traced function of which one output is wanted."""

    def __init__(self, jaxpr: Any, variable: Any) -> None:
        self.constvars, self.invars, self.eqns = jaxpr.constvars, jaxpr.invars, jaxpr.eqns
        self.outvars = [variable]


def _state_of(
    model: Any, phase: Phase, capsule: Capsule
) -> tuple[Any, list[tuple[str, Any]]]:
    """Returns the state that the step began with, and the path of each of its values."""
    own = trained_variables(model)
    kept = [s for s in capsule.variables if s.role != "random"]
    if [role for role, _ in own] != [s.role for s in kept]:
        raise ValueError("the model has other variables than before its step")
    values = {id(v): s.value for (_, v), s in zip(own, kept, strict=True)}
    paths: list[tuple[str, Any]] = []

    def value_of(variable: Any) -> Any:
        paths.append((variable.path, variable))
        value = values.get(id(variable))
        if value is None:  # a metric's sums so far were finite, and play no other part
            value = np.zeros(
                variable.shape, keras.backend.standardize_dtype(variable.dtype)
            )
        return jnp.asarray(value)

    return tuple([value_of(v) for v in part] for part in parts_of(model, phase)), paths


def _place(layout: Layout, origin: BadTensor) -> int | None:
    for probe, source in zip(layout.probes, layout.sources, strict=True):
        if (probe.kind, probe.name) == (origin.kind, origin.name):
            return source
    return None
