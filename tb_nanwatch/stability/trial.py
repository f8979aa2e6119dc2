# SPDX-License-Identifier: Apache-2.0
"""One short training: at most so many steps, ended as soon as it goes bad or takes off."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import keras

from tb_nanwatch.errors import UnsupportedError
from tb_nanwatch.record.schema import BAD_STATUSES, Status
from tb_nanwatch.writing.callback import NanWatch

# Steps between looks after a runaway, which stays finite and so ends nothing by itself.
LOOK_STEPS: Final = 20
# What Keras' fit takes after the data, by place.
_FIT: Final = ("x", "y", "batch_size", "epochs", "verbose", "callbacks")
_DATA: Final = 2
# What a short trial has no use for: nothing is validated.
_UNUSED: Final = ("validation_data", "validation_steps", "validation_batch_size")


class Outcome(NamedTuple):
    """The outcome of a short training.

    Attributes:
        bad: whether it went bad.
        steps: that it trained.
    """

    bad: bool
    steps: int


def by_name(
    args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Sequence[Any], dict[str, Any]]:
    """Returns the data of a call of `fit`, and all its other arguments by name."""
    named = dict(zip(_FIT[_DATA:], args[_DATA:], strict=False))
    return args[:_DATA], {**kwargs, **named}


def train(
    fit: Callable[..., Any],
    log_dir: str,
    steps: int,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Outcome:
    """Trains for a few watched steps, and returns the outcome.

    Args:
        fit: of the model, bound to it.
        log_dir: where NaN Watch logs.
        steps: at most; with `steps_per_execution` up to one execution more.
        args, kwargs: of the real `fit`. Callbacks are copied as KerasTuner does; epochs
            and validation data are not used.

    Raises:
        Exception: what `fit` raised of a training that had not gone bad.
        UnsupportedError: `fit` was not given the callbacks.
    """
    options = dict(kwargs)
    # As KerasTuner does: a callback may hold what belongs to one training.
    watch = copy.deepcopy(ShortWatch(log_dir))
    limit = Limit(steps, watch.look, lambda: watch.status)
    callbacks = [*copy.deepcopy(options.pop("callbacks", None) or []), watch, limit]
    for name in _UNUSED:
        options.pop(name, None)
    options |= {"epochs": steps, "callbacks": callbacks}
    if options.get("validation_split"):
        options["validation_freq"] = steps + 1
    options.setdefault("verbose", 0)
    try:
        fit(*args, **options)
    except Exception:
        watch.look()
        if watch.status not in BAD_STATUSES and limit.finite:
            raise  # not by a bad value
    bad = watch.status in BAD_STATUSES or not limit.finite
    if not limit.steps and not bad:
        raise UnsupportedError(
            "no training step of the trial was seen. HyperModel.fit must pass the "
            "callbacks on: model.fit(..., callbacks=callbacks), or "
            "model.fit(..., **kwargs)."
        )
    return Outcome(bad, limit.steps)


class ShortWatch(NanWatch):
    """Watches a short training without printing; `status` is its outcome."""

    def __init__(self, log_dir: str) -> None:
        # What it needs to know is whether, and not why: nothing is kept or tried again.
        super().__init__(
            log_dir, on_nonfinite="stop", capsules=0, rewind_bytes=0, experiments=0
        )
        self.silent = True


class Limit(keras.callbacks.Callback):
    """Ends a training after so many steps, or once it went bad.

    Args:
        steps: at most; with `steps_per_execution` up to one execution more.
        look: has the watch look at the training.
        status: returns the status that it saw.

    Attributes:
        steps: that were trained.
        finite: whether every loss was.
    """

    def __init__(
        self, steps: int, look: Callable[[], None], status: Callable[[], Status | None]
    ) -> None:
        super().__init__()
        self._limit, self._look, self._status = steps, look, status
        self._before = self._looked = self.steps = 0
        self.finite = True

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Notes how many steps the epochs before had."""
        self._before = self.steps

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Ends the training where it is time."""
        self.steps = self._before + int(batch) + 1
        # Without a watch (another backend) the loss is all that is seen.
        loss = (logs or {}).get("loss")
        self.finite = self.finite and (loss is None or math.isfinite(float(loss)))
        if self.steps - self._looked >= LOOK_STEPS:
            self._looked = self.steps
            self._look()
        bad = self._status() in BAD_STATUSES or not self.finite
        if bad or self.steps >= self._limit:
            self.model.stop_training = True
