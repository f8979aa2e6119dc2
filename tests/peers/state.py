"""What a fit leaves behind, as digests that two processes can compare."""

from __future__ import annotations

import hashlib
import pickle
import random
import re
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.random import seed_generator
from tensorflow.python.eager import context

# What differs between two processes that do the same: addresses, temporary paths,
# counters in the names of functions and threads.
_ADDRESS = re.compile(r"0x[0-9a-fA-F]+|/tmp/\S+|__\w+?_\d+|\b\d{6,}\b")


def after_fit(model: Any, history: Any) -> dict[str, Any]:
    """Returns digests of all that a training changes.

    Args:
        model: after `fit`, whether it returned or raised.
        history: what `fit` returned; None where it raised.

    Returns:
        "weights" (layer state and metrics too), "optimizer", "history" and "random",
        each a dict of names to digests.
    """
    logs = getattr(history or getattr(model, "history", None), "history", None)
    return {
        "weights": _attempt(lambda: _variables([*model.variables, *_metrics(model)])),
        "optimizer": _attempt(lambda: _variables(_slots(model))),
        "history": {name: exact(values) for name, values in (logs or {}).items()},
        "random": _random_state(),
    }


def normalised(message: str) -> str:
    """Returns the first lines of an error's message without what is different each time."""
    return _ADDRESS.sub("#", message)[:300]


def exact(value: Any) -> Any:
    """Returns `value` as JSON that keeps every bit of a number."""
    if isinstance(value, dict):
        return {str(k): exact(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [exact(v) for v in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float | np.floating):
        return repr(float(value))
    return _digest(_array(value))


def _metrics(model: Any) -> Iterable[Any]:
    known = {id(v) for v in model.variables}
    return [v for v in model.metrics_variables if id(v) not in known]


def _slots(model: Any) -> Iterable[Any]:
    optimizer = getattr(model, "optimizer", None)
    return getattr(optimizer, "variables", ())


def _variables(variables: Iterable[Any]) -> dict[str, str]:
    return {f"{i} {v.path}": _digest(_array(v)) for i, v in enumerate(variables)}


def _array(value: Any) -> Any:
    try:
        return np.asarray(keras.ops.convert_to_numpy(value))
    except Exception:  # strings, ragged tensors, a user's own objects
        return np.asarray(normalised(repr(value)))


def _digest(array: Any) -> str:
    data = array.tobytes() if array.dtype != object else repr(array.tolist()).encode()
    kept = hashlib.sha256(data).hexdigest()[:16]
    words = f"{array.dtype} {list(array.shape)} {kept}"
    if array.dtype.kind in "fiu" and array.size:
        # The sum shows at a glance whether a difference is one of a last bit.
        words += f" {np.sum(array, dtype=np.float64)!r}"
    return words


def _attempt(make: Callable[[], dict[str, str]]) -> dict[str, str]:
    try:
        return make()
    except Exception as e:  # a model without variables yet, or one that forbids reading
        return {"unreadable": f"{type(e).__name__}: {normalised(str(e))}"}


def _random_state() -> dict[str, str]:
    own = global_state.get_global_attribute(seed_generator.GLOBAL_SEED_GENERATOR)
    eager = getattr(context.context(), "_rng", None)
    states = {
        "python": random.getstate(),
        # The legacy generator is what Keras draws from.
        "numpy": pickle.dumps(np.random.get_state()),  # noqa: NPY002
        "keras": None if own is None else _digest(_array(own.state)),
        "tensorflow": None if eager is None else eager.getstate(),
    }
    return {
        name: hashlib.sha256(repr(state).encode()).hexdigest()[:16]
        for name, state in states.items()
    }
