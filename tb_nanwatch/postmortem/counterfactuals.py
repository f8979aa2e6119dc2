"""What would have kept a failing step finite: one thing changed at a time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf

from tb_nanwatch.compat.keras import sublayers
from tb_nanwatch.compat.names import MissingError
from tb_nanwatch.messages import of_error
from tb_nanwatch.postmortem import epsilon, state
from tb_nanwatch.postmortem.capsule import Capsule
from tb_nanwatch.schema import Counterfactual, PostMortem

# Steps after the failing one. What kills slowly is seen by the diagnosis, not here.
STEPS_AFTER: Final = 10
MAX_SECONDS: Final = 60.0
_CLIP_NORM: Final = 1.0
# Non-finite before the update: nothing that acts on the update can matter.
_BEFORE_UPDATE: Final = (
    *("input", "label", "sample_weight", "activation", "prediction", "loss"),
    *("metric", "gradient"),
)


class _NotApplicableError(Exception):
    """A change does not apply to this step; the message says why."""


@dataclass
class _Step:
    """The failing step."""

    model: Any
    capsule: Capsule
    found: PostMortem


@dataclass(frozen=True)
class _Change:
    """One change; `apply` yields the batch and what else is to be said."""

    id: str
    text: str
    apply: Callable[[_Step], AbstractContextManager[Any]]


def run(
    model: Any,
    capsule: Capsule,
    found: PostMortem,
    *,
    steps: int = STEPS_AFTER,
    seconds: float = MAX_SECONDS,
) -> list[Counterfactual]:
    """Runs the failing step and `steps` after it, with one thing changed at a time.

    The steps after it use the same batch again, since a capsule holds no other. The
    first entry is the control, with nothing changed; where that stays finite the
    changes would say nothing, and it is alone.

    Args:
        model: as it was trained; afterwards it is as it was.
        capsule: the failing step.
        found: its post-mortem.
        steps: after the failing one.
        seconds: for all of them together.
    """
    if not capsule.has_batch:
        return []
    deadline = time.monotonic() + seconds
    step = _Step(model, capsule, found)
    results: list[Counterfactual] = []
    with state.preserved(model):
        for change in _CHANGES:
            result = Counterfactual(change.id, change.text)
            results.append(result)
            if time.monotonic() > deadline:
                result.tried, result.note = False, "no time was left"
                continue
            try:
                state.assign(model, capsule.variables)
                with change.apply(step) as data:
                    _train(step, data, steps + 1, deadline, result)
            except _NotApplicableError as e:
                result.tried, result.note = False, str(e)
            except MissingError as e:
                e.warn()
                result.tried, result.note = False, str(e)
            except Exception as e:
                result.tried, result.note = False, of_error(e, 200)
            if change.id == "unchanged" and (result.finite or not result.tried):
                break
    return results


def _train(
    step: _Step, data: Any, steps: int, deadline: float, result: Counterfactual
) -> None:
    model, phase = step.model, step.capsule.position.phase
    tensors = keras.tree.map_structure(
        lambda leaf: leaf if leaf is None else tf.convert_to_tensor(leaf), data
    )
    run_step = model.train_step if phase == "train" else model.test_step
    for n in range(steps if phase == "train" else 1):
        if n and time.monotonic() > deadline:
            result.note = "stopped early, for time"
            break
        logs = run_step(tensors)
        result.steps = n + 1
        bad = _first_bad(model, logs)
        if bad is not None:
            result.note = f"{bad} went bad" + (
                f" {n} step{'s' if n > 1 else ''} later" if n else ""
            )
            return
    result.finite = True
    if phase == "train":
        result.note = result.note or "the same batch repeated"


def _first_bad(model: Any, logs: Any) -> str | None:
    if isinstance(logs, dict):
        for name, value in logs.items():
            if not np.isfinite(np.asarray(value, np.float64)).all():
                return str(name)
    for role, variable in state.variables_of(model):
        value = variable.numpy()
        if role != "random" and value.dtype.kind not in "iub":
            if not np.isfinite(value.astype(np.float64)).all():
                return str(variable.path)
    return None


# --- Changes ------------------------------------------------------------------


@contextlib.contextmanager
def _unchanged(step: _Step) -> Iterator[Any]:
    yield step.capsule.data


def _optimizer(step: _Step) -> Any:
    if step.capsule.position.phase != "train" or step.model.optimizer is None:
        raise _NotApplicableError("the step makes no update")
    if step.capsule.origin.kind in _BEFORE_UPDATE:
        raise _NotApplicableError("the step went bad before its update")
    optimizer = step.model.optimizer
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def _learning_rate(divisor: float) -> Callable[[_Step], AbstractContextManager[Any]]:
    @contextlib.contextmanager
    def apply(step: _Step) -> Iterator[Any]:
        optimizer = _optimizer(step)
        rate = optimizer.learning_rate
        if not hasattr(rate, "assign"):
            raise _NotApplicableError("the learning rate follows a schedule")
        rate.assign(rate / divisor)
        yield step.capsule.data  # `state.preserved` puts it back

    return apply


@contextlib.contextmanager
def _clipped(step: _Step) -> Iterator[Any]:
    optimizer = _optimizer(step)
    names = ("global_clipnorm", "clipnorm", "clipvalue")
    before = {name: getattr(optimizer, name, None) for name in names}
    try:
        for name in names:
            setattr(optimizer, name, None)
        optimizer.global_clipnorm = _CLIP_NORM
        yield step.capsule.data
    finally:
        for name, value in before.items():
            setattr(optimizer, name, value)


def _parts(step: _Step) -> tuple[Any, Any, Any]:
    parts: tuple[Any, Any, Any] = keras.utils.unpack_x_y_sample_weight(step.capsule.data)
    return parts


@contextlib.contextmanager
def _standardised(step: _Step) -> Iterator[Any]:
    x, y, weight = _parts(step)

    def standardise(leaf: Any) -> Any:
        if leaf is None or leaf.dtype.kind != "f" or not leaf.ndim:
            return leaf
        values = leaf.astype(np.float64)
        axes = tuple(range(values.ndim - 1)) if values.ndim > 1 else None
        with np.errstate(all="ignore"):
            spread = values.std(axis=axes, keepdims=True)
            scaled = (values - values.mean(axis=axes, keepdims=True)) / np.where(
                spread > 0, spread, 1
            )
        return scaled.astype(leaf.dtype)

    changed = keras.tree.map_structure(standardise, x)
    if not _differ(x, changed):
        raise _NotApplicableError("no input is a real number")
    yield keras.utils.pack_x_y_sample_weight(changed, y, weight)


@contextlib.contextmanager
def _scaled_labels(step: _Step) -> Iterator[Any]:
    x, y, weight = _parts(step)

    def scale(leaf: Any) -> Any:
        if leaf is None or leaf.dtype.kind != "f" or not leaf.size:
            return leaf
        largest = float(np.abs(leaf.astype(np.float64)).max())
        return (leaf / largest).astype(leaf.dtype) if largest > 1 else leaf

    changed = keras.tree.map_structure(scale, y)
    if not _differ(y, changed):
        raise _NotApplicableError("no label is beyond 1")
    yield keras.utils.pack_x_y_sample_weight(x, changed, weight)


def _layers(model: Any) -> list[Any]:
    """Returns a model and all layers in it, each once."""
    found: dict[int, Any] = {}
    waiting = [model]
    while waiting:
        layer = waiting.pop()
        if id(layer) not in found:
            found[id(layer)] = layer
            waiting += sublayers(layer)
    return list(found.values())


@contextlib.contextmanager
def _in_float32(step: _Step) -> Iterator[Any]:
    half = [
        layer
        for layer in _layers(step.model)
        if getattr(layer, "compute_dtype", None) == "float16"
    ]
    if not half:
        raise _NotApplicableError("nothing is computed in float16")
    before = [(layer, layer.dtype_policy) for layer in half]
    try:
        for layer in half:
            layer.dtype_policy = keras.DTypePolicy("float32")
        yield step.capsule.data
    finally:
        for layer, policy in before:
            layer.dtype_policy = policy


@contextlib.contextmanager
def _with_epsilon(step: _Step) -> Iterator[Any]:
    op_type = step.found.forward_type
    if op_type is None or not epsilon.applies(op_type):
        raise _NotApplicableError("no division, logarithm or root is to blame")
    with epsilon.added(op_type, step.found.source) as changed:
        yield step.capsule.data
    if not changed:
        raise _NotApplicableError("the operation could not be changed")


@contextlib.contextmanager
def _without_rows(step: _Step) -> Iterator[Any]:
    rows = step.found.rows
    if not rows:
        raise _NotApplicableError("no rows of the batch stand out")
    leaves = [
        a for a in keras.tree.flatten(step.capsule.data) if a is not None and a.ndim
    ]
    size = len(leaves[0])
    keep = np.setdiff1d(np.arange(size), rows)
    if not len(keep) or len(rows) >= 100:
        raise _NotApplicableError("too many rows are bad")
    yield keras.tree.map_structure(
        lambda a: a[keep] if a is not None and a.ndim and len(a) == size else a,
        step.capsule.data,
    )


def _differ(a: Any, b: Any) -> bool:
    pairs = zip(keras.tree.flatten(a), keras.tree.flatten(b), strict=True)
    return any(p is not q for p, q in pairs)


_CHANGES: Final = (
    _Change("unchanged", "nothing changed", _unchanged),
    _Change("learning_rate/10", "the learning rate divided by 10", _learning_rate(10)),
    _Change("learning_rate/100", "the learning rate divided by 100", _learning_rate(100)),
    _Change("inputs", "the inputs standardised", _standardised),
    _Change("labels", "the labels scaled into [-1, 1]", _scaled_labels),
    _Change("clip", f"gradients clipped to a global norm of {_CLIP_NORM:g}", _clipped),
    _Change("float32", "float32 instead of float16", _in_float32),
    _Change("epsilon", "an epsilon in the operation that is to blame", _with_epsilon),
    _Change("rows", "the offending rows left out", _without_rows),
)
