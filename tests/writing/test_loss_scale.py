"""The loss scale and the steps that it skips are series of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tb_nanwatch import NanWatch
from tests.writing.logs import Log, read_log

STEPS = 40  # the last points of the lane stand for two steps each


class Scales(keras.callbacks.Callback):
    """Reads the scale after each step: the oracle."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen.append(float(self.model.optimizer.dynamic_scale.numpy()))


def train(log_dir: Path, optimizer: Any, *callbacks: Any, **options: Any) -> Log:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(optimizer, "mse", auto_scale_loss=False)
    x = np.random.RandomState(0).randn(STEPS * 4, 3).astype(np.float32)
    model.fit(
        x, x[:, :2], 4, verbose=0, callbacks=[NanWatch(log_dir, **options), *callbacks]
    )
    return read_log(log_dir)


def scaled(initial_scale: float) -> Any:
    return keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(1e-3), initial_scale=initial_scale, dynamic_growth_steps=8
    )


def test_scale_and_skipped_steps_are_those_of_the_optimizer(tmp_path: Path) -> None:
    keras.config.set_dtype_policy("mixed_float16")
    first, scales = 2.0**30, Scales()
    status = train(tmp_path, scaled(first), scales).status
    seen = np.array(scales.seen)
    skipped = seen < np.array([first, *seen[:-1]])
    assert skipped[0] and 5 < skipped.sum() < STEPS  # it must fire, and grow again
    assert (seen[1:] > seen[:-1]).any()
    ends = status.lane_steps
    np.testing.assert_array_equal(status.lane_loss_scale, seen[ends])
    until = np.cumsum(skipped)[ends]
    np.testing.assert_array_equal(status.lane_skipped, np.diff(until, prepend=0))
    assert status.status == "contained"
    assert status.onset is None or status.origin.kind == "gradient"


def test_a_scale_that_fits_skips_nothing(tmp_path: Path) -> None:
    keras.config.set_dtype_policy("mixed_float16")
    status = train(tmp_path, scaled(4.0)).status
    assert status.status == "clean"
    assert status.lane_skipped.sum() == 0
    # Eight finite steps double it.
    assert status.lane_loss_scale[0] == 4.0 and status.lane_loss_scale[8] == 8.0


@pytest.mark.parametrize("options", [{}, {"activations_only": True}])
def test_there_is_no_series_where_nothing_is_scaled_or_watched(
    options: dict[str, bool], tmp_path: Path
) -> None:
    optimizer = scaled(4.0) if options else "sgd"
    status = train(tmp_path, optimizer, **options).status
    assert status.lane_loss_scale.shape == status.lane_skipped.shape == (0,)
    assert len(status.lane_steps) > 0
