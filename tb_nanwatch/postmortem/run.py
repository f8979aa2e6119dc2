# SPDX-License-Identifier: Apache-2.0
"""The post-mortem of one step: runs it once, eagerly, and names where non-finite values began."""

from __future__ import annotations

import contextlib
import itertools
import re
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from tb_nanwatch.compat.names import Feature, MissingError, require
from tb_nanwatch.compat.tensorflow import tensor_id
from tb_nanwatch.errors import CapsuleError, NanWatchWarning
from tb_nanwatch.postmortem import (
    again,
    keeping,
    operations,
    outliers,
    state,
    step_changes,
)
from tb_nanwatch.postmortem.capsule import NO_BATCH, Capsule
from tb_nanwatch.postmortem.flow import Counts, Flow, upstream
from tb_nanwatch.postmortem.naming import result_of, words
from tb_nanwatch.postmortem.rebuild import tensors_of
from tb_nanwatch.postmortem.tape import Tape
from tb_nanwatch.postmortem.variables import variables_of
from tb_nanwatch.postmortem.watch import LimitError, OpWatch, eagerly
from tb_nanwatch.record.schema import BadTensor, Kind, Outlier, Phase, PostMortem
from tb_nanwatch.wording.messages import of_error, useful

# A slow step of a large model takes seconds; a search has more to do than this.
MAX_SECONDS: Final = 60.0
MAX_BYTES: Final = 4 << 30
# How often a step that draws random numbers of its own is run with others, and for how
# long at most: what happens in one of twenty such steps is met in 96 % of 64 tries.
_DRAWS: Final = 64
_DRAW_SECONDS: Final = 8.0
_OUTSIDE: Final = "made outside of TensorFlow's operations"


class Traced(NamedTuple):
    """A watched tensor of a step that ran eagerly."""

    kind: Kind
    name: str
    layer: str
    tensor: Any


class StepTracer(Protocol):
    """Runs one step eagerly and names its tensors as the watched training did."""

    def paths(self) -> Mapping[int, str]:
        """Returns the path of each layer by its id."""

    def trace(self, phase: Phase, data: Any) -> list[Traced]:
        """Runs one step and returns its watched tensors in causal order."""


def run(
    model: Any,
    capsule: Capsule,
    tracer: StepTracer,
    *,
    tape: Tape | None = None,
    seconds: float = MAX_SECONDS,
    memory: int = MAX_BYTES,
) -> PostMortem:
    """Runs the capsule's step once more and names where its origin came from.

    The model is as it was afterwards. Never raises: what goes wrong is the result's
    `reason`, and one `NanWatchWarning`.

    Args:
        model: the model that was trained.
        capsule: the failing step.
        tracer: names the tensors of an eager step of `model`.
        tape: the steps before it: the failing batch is compared with theirs, and its
            first bad operation is run with them.
        seconds: that it may take.
        memory: bytes by which the process may grow.
    """
    began = time.monotonic()
    try:
        result = _run(model, capsule, tracer, tape, seconds, memory)
    except MissingError as e:
        e.warn()
        result = PostMortem(reason=f"{e}")
    except LimitError as e:
        result = PostMortem(reason=f"The step could not be run again: {e}.")
    except tf.errors.InvalidArgumentError as e:
        result = PostMortem(reason=_refusal(e.message))
    except Exception as e:
        said = of_error(e)
        message = f"The step could not be run again: {said.rstrip('.')}."
        result = PostMortem(reason=message)
        if not isinstance(e, CapsuleError):
            warnings.warn(
                f"NaN Watch's post-mortem failed, training is not affected. {message}",
                NanWatchWarning,
                stacklevel=2,
            )
    earlier = []
    if tape is not None:
        earlier = tape.before(capsule.position.step, outliers.EARLIER)
    result.outliers = _outliers(capsule, earlier)
    result.seconds = time.monotonic() - began
    return result


def _outliers(capsule: Capsule, earlier: Sequence[Any]) -> list[Outlier]:
    """Returns the outliers of the batch, whether or not its step could be run again."""
    if not capsule.has_batch or capsule.replicas > 1:  # a replica's rows are its own
        return []
    try:
        return outliers.find(capsule.data, earlier) + outliers.find_before(earlier)
    except Exception as e:
        warnings.warn(
            "NaN Watch could not compare the failing step's batch with those before, "
            f"training is not affected. {of_error(e)}",
            NanWatchWarning,
            stacklevel=3,
        )
        return []


def _refusal(message: str) -> str:
    """Returns why an eager operation refused an input that the compiled one had accepted.

    XLA and GPUs give NaN for what TensorFlow's operations on a CPU refuse, such as a
    label of a class that the model has no output for.
    """
    op = re.search(r"\[Op:(\w+)\]", message)
    name = f"`{operations.public_name(op[1])}`" if op else "an operation"
    said = useful(message).rstrip(".")
    return f"Run operation by operation, {name} refuses its input: {said}."


def _run(
    model: Any,
    capsule: Capsule,
    tracer: StepTracer,
    tape: Tape | None,
    seconds: float,
    memory: int,
) -> PostMortem:
    if capsule.replicas > 1:
        return PostMortem(
            reason=f"The step ran on {capsule.replicas} replicas together; one alone "
            "cannot be run again."
        )
    if not capsule.has_batch:
        return PostMortem(reason=f"The step cannot be run again: {NO_BATCH}.")
    require(Feature.POST_MORTEM)
    with state.preserved(model):
        data = tensors_of(capsule.data)
        watch = _watch(model, capsule, tracer, seconds, memory)
        ran = _once(watch, capsule, tracer, data)
        if ran is None:
            return PostMortem(
                reason=f"Run operation by operation, the step has no tensor "
                f"{capsule.origin.name!r}, so nothing can be named."
            )
        draws = 0
        if not _same(ran.counts, capsule.origin):
            others = None
            if watch.flow.random:
                watch, others, draws = _drawn(model, capsule, tracer, data, memory)
            if others is None:
                return PostMortem(reason=_differs(ran.counts, capsule, watch.flow))
            ran = others
        flow = watch.flow
        origin = upstream(flow, ran.id)
        arrays = {at: tensor.numpy() for at, tensor in ran.names.items()}
        result = result_of(flow, origin, arrays, operations.public_name, _OUTSIDE)
        result.reproduced, result.redrawn = not draws, draws
        if origin.op is not None:
            result.in_model = watch.in_model(origin.op)
        # Run once more, it would draw others still.
        if origin.op is not None and ran.spent < again.LONGEST_STEP and not draws:
            runs = again.Again(
                keeping.by(lambda batch: tracer.trace(capsule.position.phase, batch)),
                lambda: state.assign(model, capsule.variables),
                operations.public_name,
            )
            again.say_since(result, runs, capsule, tape, flow, origin.op, data, arrays)
        if result.dtype == "float16" and not draws:
            with contextlib.suppress(Exception):  # code of the user's that wants float16
                result.finite_in_float32 = _in_float32(model, capsule, tracer, data)
    return result


class _Ran(NamedTuple):
    """The first bad tensor of a step that ran operation by operation.

    Attributes:
        id: the origin's, TensorFlow's number of it.
        counts: of it.
        first: whether no watched tensor before it was non-finite.
        names: of the batch, by id.
        spent: seconds.
    """

    id: int
    counts: Counts
    first: bool
    names: dict[int, Any]
    spent: float


def _watch(
    model: Any, capsule: Capsule, tracer: StepTracer, seconds: float, memory: int
) -> OpWatch:
    """Sets the model to its state from before the step, and returns a watch for the step.

    The order matters: the watch looks for non-finite variables when it is made.
    """
    state.assign(model, capsule.variables)
    return OpWatch(_step.__code__, tracer.paths(), _handles(model), seconds, memory)


def _once(watch: OpWatch, capsule: Capsule, tracer: StepTracer, data: Any) -> _Ran | None:
    """Runs the step; None where the step has no tensor that matches the origin."""
    names = _name_data(watch, data)
    began = time.monotonic()
    found = _step(watch, tracer, capsule.position.phase, data)
    spent = time.monotonic() - began
    traced = _find(found, capsule.origin)
    if traced is None:
        return None
    before = itertools.takewhile(lambda t: t is not traced, found)
    counted = [watch.flow.counts.get(tensor_id(t.tensor), Counts()) for t in before]
    at = tensor_id(traced.tensor)
    counts = watch.flow.counts.get(at, Counts())
    return _Ran(at, counts, all(c == Counts() for c in counted), names, spent)


def _drawn(
    model: Any, capsule: Capsule, tracer: StepTracer, data: Any, memory: int
) -> tuple[OpWatch, _Ran | None, int]:
    """Runs a step with random numbers of its own until it goes bad in the recorded tensor.

    Returns:
        The last run, None in its place where none went bad in the same tensor, and how
        many there were.
    """
    began, draws = time.monotonic(), 0
    while True:
        left = _DRAW_SECONDS - (time.monotonic() - began)
        watch = _watch(model, capsule, tracer, left, memory)
        draws += 1
        try:
            ran = _once(watch, capsule, tracer, data)
        except LimitError:
            return watch, None, draws
        if ran is not None and ran.first and ran.counts != Counts():
            return watch, ran, draws
        if draws >= _DRAWS or time.monotonic() - began > _DRAW_SECONDS:
            return watch, None, draws


def _step(watch: OpWatch, tracer: StepTracer, phase: Phase, data: Any) -> list[Traced]:
    """Runs the step; the user's stack ends at this very function."""
    with watch.watching():
        return tracer.trace(phase, data)


def _handles(model: Any) -> list[tuple[str, Any]]:
    found = []
    for _, variable in variables_of(model):
        value = variable.value
        if isinstance(value, tf.Variable):
            found.append((variable.path, value))
    return found


def _name_data(watch: OpWatch, data: Any) -> dict[int, Any]:
    """Names the batch's tensors as the probes do; returns them by id."""
    tensors: dict[int, Any] = {}
    for name, leaf in outliers.leaves(data):
        if isinstance(leaf, tf.Tensor):
            watch.add_data(name, leaf)
            tensors[tensor_id(leaf)] = leaf
    return tensors


def _find(found: list[Traced], origin: BadTensor) -> Traced | None:
    for traced in found:
        if (traced.kind, traced.name) == (origin.kind, origin.name):
            return traced
    return None


def _same(counts: Counts, bad: BadTensor) -> bool:
    return counts == Counts(bad.num_nan, bad.num_pos_inf, bad.num_neg_inf)


def _differs(counts: Counts, capsule: Capsule, flow: Flow) -> str:
    origin = capsule.origin
    why = "rounding or fused kernels differ"
    if capsule.jit_compile:
        why = "XLA compiled the step that trained"
    if flow.random:
        why = (
            "it draws other random numbers each time it runs; keras.random with a "
            "keras.random.SeedGenerator could be run again"
        )
    if capsule.partial:
        why = "the capsule is partial: " + "; ".join(capsule.missing)
    return (
        f"Run operation by operation, {origin.name} has {words(counts)}; in training it "
        f"had {words(Counts(origin.num_nan, origin.num_pos_inf, origin.num_neg_inf))} "
        f"({why}), so nothing is named."
    )


def _in_float32(
    model: Any, capsule: Capsule, tracer: StepTracer, data: Any
) -> bool | None:
    """Returns whether the step stays finite up to the origin with float32 for float16."""
    state.assign(model, capsule.variables)
    with step_changes.in_float32(model), eagerly():
        found = tracer.trace(capsule.position.phase, data)
    traced = _find(found, capsule.origin)
    if traced is None:
        return None
    before = itertools.takewhile(lambda t: t is not traced, found)
    return all(_is_finite(t.tensor) for t in (*before, traced))


def _is_finite(tensor: Any) -> bool:
    return bool(np.isfinite(np.asarray(tensor).astype(np.float64)).all())
