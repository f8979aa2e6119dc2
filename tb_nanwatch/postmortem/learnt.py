# SPDX-License-Identifier: Apache-2.0
"""Judges whether a repeated training learns, by comparing its loss with a constant's."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Final

import keras
import numpy as np

from tb_nanwatch.diagnosis.rules.thresholds import at
from tb_nanwatch.postmortem.tape import array_of
from tb_nanwatch.record.schema import Experiment

# Steps below which a loss says nothing of learning.
LEAST_STEPS: Final = 10
# Batches from which the loss of a constant prediction is taken.
_SOME: Final = 8
# Deviation of the predictions for a batch's rows, relative to their size.
_ALIKE: Final = 1e-6


def judge(
    model: Any,
    result: Experiment,
    losses: Sequence[float],
    batches: Sequence[Any],
    early: bool,
) -> None:
    """Notes in an experiment its first and its last loss, and whether it learns.

    Args:
        model: as the experiment left it.
        result: the experiment.
        losses: of its steps.
        batches: of its steps.
        early: whether it began before the failing step: else it says nothing of learning.
    """
    first = losses[0]
    last = float(np.mean(losses[-max(1, len(losses) // 10) :]))
    if not np.isfinite([first, last]).all():
        return
    result.first_loss, result.last_loss = first, last
    if len(losses) < LEAST_STEPS or not early:
        return
    some = [batches[n] for n in range(min(_SOME, len(batches)))]
    constant, alike = _beside_constant(model, some)
    if alike:
        result.learns = False
    elif constant is None:
        result.learns = last < (at("learnt_alone") * first if first > 0 else first)
    else:
        limit = max(at("near_constant") * constant, at("learnt") * first)
        result.learns = last < min(first, limit)


def _beside_constant(model: Any, batches: Sequence[Any]) -> tuple[float | None, bool]:
    """Returns the loss of a constant prediction, and whether the model's prediction is constant.

    Returns:
        The mean loss of the labels' mean, None where it cannot be told, and whether the
        model predicts the same for all rows of a batch.
    """
    alike = False
    with contextlib.suppress(Exception):
        parts = [keras.utils.unpack_x_y_sample_weight(batch) for batch in batches]
        predicted = array_of(model(parts[0][0], training=False)).astype(np.float64)
        if len(predicted) > 1:
            size = float(np.abs(predicted).max())
            alike = float(predicted.std(axis=0).max()) <= _ALIKE * size
        given = [array_of(y) for _, y, _ in parts]
        labels = [y.astype(np.float64) for y in given]
        if labels[0].shape not in (predicted.shape, predicted.shape[:-1]):
            return None, alike
        if given[0].dtype.kind in "iu" or predicted.size != labels[0].size:
            return None, alike
        mean = np.concatenate(labels).mean(axis=0, keepdims=True)
        losses = []
        for (x, y, weight), label in zip(parts, labels, strict=True):
            constant = np.broadcast_to(mean, label.shape).reshape(
                len(label), *predicted.shape[1:]
            )
            alike_for_all = keras.ops.convert_to_tensor(constant.astype(np.float32))
            loss = model.compute_loss(x, y, alike_for_all, weight, training=False)
            losses.append(float(loss))
        return float(np.mean(losses)), alike
    return None, alike
