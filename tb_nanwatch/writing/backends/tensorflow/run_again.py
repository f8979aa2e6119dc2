# SPDX-License-Identifier: Apache-2.0
"""A step that stood out, run again beside the training: its tensors, as arrays.

The model's state is that from before the step while it runs, and its own again
afterwards, whatever happens.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tb_nanwatch.postmortem import state
from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.backends.kept import Kept
from tb_nanwatch.writing.backends.tensorflow.packed import layout_of, places
from tb_nanwatch.writing.backends.tensorflow.tracing import Measured, array_of
from tb_nanwatch.writing.backends.tracing import Found
from tb_nanwatch.writing.recording.health import Health, tensor_health
from tb_nanwatch.writing.recording.observer import Bools, Expectation, Layout

Array = npt.NDArray[Any]
_LARGEST_SUM: Final = float(np.finfo(np.float32).max)


def run_again(
    model: Any, kept: Kept, trained: Layout, run: Callable[[Any, bool], list[Found]]
) -> tuple[Layout, list[Array | Health], bool]:
    """Runs a step once more.

    It runs operation by operation, which compiles nothing. Where that fails, or other
    tensors are non-finite than were in training, it is compiled as it was trained: XLA
    has another mind on what is out of range, such as a label without a class.

    Args:
        model: that was trained.
        kept: the step.
        trained: what the step's sums stand for.
        run: runs a step on a batch, compiled or not, and returns its tensors.

    Returns:
        What its tensors stand for; the tensors; whether those are non-finite that were so
        in training, and no others.
    """
    expected = {(s.kind, s.name) for s in kept.sums if not np.isfinite(s.value)}
    known = {(s.kind, s.name) for s in kept.sums}
    found: list[Found] = []
    healths: dict[int, Health] = {}
    is_same = False
    with state.preserved(model), contextlib.redirect_stdout(io.StringIO()):
        for compiled in (False, True):
            state.assign(model, kept.variables)
            data = keras.tree.map_structure(_tensor, kept.data)
            try:
                found = run(data, compiled)
            except Exception:
                if compiled:
                    raise
                continue
            healths = _healths(found)
            is_same = _overflowing(found, healths) & known == expected
            if is_same:
                break
        return *as_observed(found, kept.phase, trained, healths), is_same


def as_observed(
    found: list[Found], phase: Phase, trained: Layout, healths: dict[int, Health]
) -> tuple[Layout, list[Array | Health]]:
    """Returns eager tensors as they are observed, and what they stand for.

    Args:
        found: in causal order.
        phase: of the step that they are of.
        trained: what the step's sums stand for.
        healths: of tensors that are measured already, by their ids.
    """
    place = places(found)
    observed: dict[int, Array | Health] = {}
    for f in found:
        tensor = f.tensor
        # Of weights the elements are asked for, too: how far have they moved?
        measured = None if f.kind == "weight" else healths.get(id(tensor))
        value = array_of(tensor) if measured is None else measured
        if not isinstance(observed.get(place[id(tensor)]), np.ndarray):
            observed[place[id(tensor)]] = value
    layout = layout_of(found, phase, trained)
    return layout, [observed[i] for i in range(len(observed))]


def _tensor(value: Any) -> Any:
    return value if value is None else tf.convert_to_tensor(value)


def _healths(found: list[Found]) -> dict[int, Health]:
    """Returns the health of each tensor by its id."""
    healths: dict[int, Health] = {}
    for f in found:
        tensor = f.tensor
        if isinstance(tensor, Measured):
            healths[id(tensor)] = tensor.health
        elif id(tensor) not in healths:
            healths[id(tensor)] = tensor_health(array_of(tensor))
    return healths


def _overflowing(found: list[Found], healths: dict[int, Health]) -> set[tuple[str, str]]:
    """Returns kind and name of what has no finite sum of squares."""
    keys: set[tuple[str, str]] = set()
    for f in found:
        health = healths[id(f.tensor)]
        if health.num_bad or health.sum_squares / 2 > _LARGEST_SUM:
            keys.add((f.kind, f.name))
    return keys


def as_columns(
    expectation: Expectation, of: Layout, trained: Layout, bad: Bools
) -> Expectation:
    """Returns an expectation for the columns of the step as it was trained.

    Args:
        expectation: for the columns of `of`.
        of: the layout of what was looked at.
        trained: that of the step as it was trained.
        bad: [columns of `trained`] what its sums say of what was not looked at.
    """
    known = {
        (probe.kind, probe.name): bool(expectation.bad[column])
        for probe, column in zip(of.probes, of.columns, strict=True)
        if column >= 0
    }
    seen = np.zeros(trained.num_columns, np.bool_)
    looked_at = np.zeros(trained.num_columns, np.bool_)
    for probe, column in zip(trained.probes, trained.columns, strict=True):
        key = probe.kind, probe.name
        if column >= 0 and key in known:
            looked_at[column] |= known[key]
            seen[column] = True
    return expectation._replace(bad=np.where(seen, looked_at, bad))
