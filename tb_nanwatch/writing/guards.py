# SPDX-License-Identifier: Apache-2.0
"""Ends the watching of a fit that an exception leaves, since Keras then calls no callback."""

from __future__ import annotations

import contextlib
import sys
import weakref
from types import FrameType
from typing import Any, Final

import keras

from tb_nanwatch.writing.backends.fits import Caller

_GUARDED: Final = (
    "on_epoch_begin",
    "on_epoch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_test_begin",
    "on_test_batch_begin",
    "on_test_batch_end",
    "on_test_end",
    "on_train_end",
)


def guard(callbacks: Any, watched: Any) -> None:
    """Arranges that `watched.end_with` is called when an exception leaves a callback or `fit`.

    Args:
        callbacks: the `CallbackList` of the fit.
        watched: weakly referenced.
    """
    for name in _GUARDED:
        _guard(callbacks, name, weakref.WeakMethod(watched.end_with))
    # An exception anywhere else leaves only this trace: fit's list goes away.
    weakref.finalize(callbacks, _finalize, weakref.ref(watched))


def _guard(callbacks: Any, name: str, end_with: weakref.WeakMethod[Any]) -> None:
    method = getattr(callbacks, name)

    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except BaseException as e:
            end = end_with()
            if end is not None:
                with contextlib.suppress(Exception):  # the user's error is raised
                    end(e)
            raise

    callbacks.__dict__[name] = guarded


def _finalize(watch: weakref.ref[Any]) -> None:
    alive = watch()
    if alive is not None:
        alive.end_with(None)


def running_fit() -> Caller | None:
    """Returns the `fit` whose `on_train_begin` calls, None elsewhere."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        owner = (
            frame.f_locals.get("self")
            if frame.f_code.co_name == "on_train_begin"
            else None
        )
        if isinstance(owner, keras.callbacks.CallbackList):
            fit = frame.f_back
            given = {} if fit is None else fit.f_locals
            labelled = any(given.get(n) is not None for n in ("y", "sample_weight"))
            data = given.get("x"), given.get("y")
            return Caller(owner, None if fit is None else id(fit), labelled, data)
        frame = frame.f_back
    return None
