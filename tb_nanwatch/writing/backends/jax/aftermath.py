"""The failing step run once more after a training, equation by equation."""

from __future__ import annotations

import contextlib
import random
from typing import Any, Final

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax.extend.core import jaxpr_as_fun

from tb_nanwatch.postmortem import outliers
from tb_nanwatch.postmortem.capsule import NO_BATCH, Capsule
from tb_nanwatch.postmortem.flow import Counts, upstream
from tb_nanwatch.postmortem.naming import result_of, words
from tb_nanwatch.postmortem.step_changes import in_float32
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
from tb_nanwatch.writing.backends.jax.states import parts_of
from tb_nanwatch.writing.recording.observer import Layout, Observer

_OUTSIDE: Final = "made outside of JAX's operations"
_BACKWARDS: Final = ("gradient", "optimizer", "weight")


def post_mortem(
    model: Any, capsule: Capsule, observer: Observer, *, activations_only: bool
) -> PostMortem:
    """Returns what the failing step shows, run again; never raises.

    The model takes no part but by its code: its values are the capsule's.

    Args:
        model: that was trained, no longer watched by any instrument.
        capsule: its failing step.
        observer: is told nothing.
        activations_only: as the training was watched.
    """
    drawn = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        return run_again(lambda: _run(model, capsule, observer, activations_only))
    finally:
        random.setstate(drawn[0])
        np.random.set_state(drawn[1])  # noqa: NPY002


def _run(
    model: Any, capsule: Capsule, observer: Observer, activations_only: bool
) -> PostMortem:
    if not capsule.has_batch:
        return PostMortem(reason=f"The step cannot be run again: {NO_BATCH}.")
    phase, origin = capsule.position.phase, capsule.origin
    state, paths = _state_of(model, phase, capsule)
    data = jax.tree.map(jnp.asarray, capsule.data)
    instrument = Instrument(model, observer, Wishes(activations_only=activations_only))
    traced, layout = instrument.traced(phase, state, data)
    jaxpr = traced.jaxpr
    place = _place(layout, origin)
    if place is None:
        return PostMortem(
            reason=f"Run again, the step has no tensor {origin.name!r}, so nothing can be "
            "named."
        )
    forward = needed_for(
        jaxpr,
        [
            jaxpr.outvars[source]
            for probe, source in zip(layout.probes, layout.sources, strict=True)
            if probe.kind not in _BACKWARDS
        ],
    )
    interpreter = Interpreter(Instrument.all_tensors.__code__, MAX_SECONDS)
    flow = interpreter.flow
    leaves = [interpreter.value(leaf) for leaf in jax.tree.leaves((state, data))]
    arrays: dict[int, Any] = {}
    for (path, _), value in zip(paths, leaves, strict=False):
        if value.number in flow.counts:
            flow.held[value.number] = path
    held = len(jax.tree.leaves(state))
    names = {id(leaf): name for name, leaf in outliers.leaves(data)}
    for value in leaves[held:]:
        flow.data[value.number] = names.get(id(value.array), "input")
        arrays[value.number] = np.asarray(value.array)
    target = jaxpr.outvars[place]
    outputs = interpreter.run(
        _One(jaxpr, target),
        [interpreter.value(c) for c in traced.consts],
        leaves,
        needed=needed_for(jaxpr, [target]),
        forward=forward,
    )
    counts = flow.counts.get(outputs[0].number, Counts())
    expected = Counts(origin.num_nan, origin.num_pos_inf, origin.num_neg_inf)
    if counts != expected:
        return PostMortem(
            reason=f"Run equation by equation, {origin.name} has {words(counts)}; in "
            f"training it had {words(expected)} (XLA compiled the step that trained), so "
            "nothing is named."
        )
    began = upstream(flow, outputs[0].number)
    result = result_of(flow, began, arrays, public_name, _OUTSIDE)
    op = began.op
    # A derivative is where its operation is, if that is known.
    of = op if op is None or not op.gradient else op.forward
    if op is not None and of is not None:
        layer = _layer_of(jaxpr, layout, interpreter.equation_of[of.index])
        result.in_model = layer is not None
        if not op.gradient:
            result.layer = layer or ""
    if result.dtype == "float16":
        with contextlib.suppress(Exception):  # code of the user's that wants float16
            result.finite_in_float32 = _in_float32(model, capsule, observer, state, data)
    return result


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


def _layer_of(jaxpr: Any, layout: Layout, equation: int) -> str | None:
    """Returns the layer of whose output an equation is part; None of one of the loss.

    That is the first of which it is: layers within others come first.
    """
    for probe, source in zip(layout.probes, layout.sources, strict=True):
        if probe.kind not in ("activation", "prediction"):
            continue
        if equation in needed_for(jaxpr, [jaxpr.outvars[source]]):
            return probe.layer
    return None


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
