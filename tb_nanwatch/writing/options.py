# SPDX-License-Identifier: Apache-2.0
"""Checks the callback's options."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal, get_args

from tb_nanwatch.errors import warn

OnNonFinite = Literal["record", "stop", "fail", "raise"]


def refuse_unknown(given: Mapping[str, Any]) -> None:
    """Raises where an option does not exist, or no longer."""
    if "counterfactuals" in given:
        raise TypeError(
            "counterfactuals was replaced by experiments: the seconds that they may "
            f"take, 10 by default, 0 for none; received counterfactuals="
            f"{given['counterfactuals']!r}. Pass experiments=0 or nothing instead."
        )
    if given:
        raise TypeError(
            f"NanWatch() got an unexpected keyword argument {next(iter(given))!r}"
        )


def check_seconds(name: str, value: Any) -> None:
    """Raises where an option is no finite number of seconds."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value < float("inf"):
        raise ValueError(
            f"{name} must be a finite number of seconds of at least 0; received {value!r}."
        )


def check_types(log_dir: Any, hparams: Any, on_bad: Any) -> None:
    """Raises where the directory, the hyperparameters or the function have the wrong type."""
    if not isinstance(log_dir, str | os.PathLike):
        raise TypeError(
            f"log_dir must be a path; received {log_dir!r} of type "
            f"{type(log_dir).__name__}. Pass the directory to log to."
        )
    if hparams is not None and not isinstance(hparams, Mapping):
        raise TypeError(
            "hparams must be a mapping of names to values; received "
            f"{hparams!r:.200} of type {type(hparams).__name__}."
        )
    if on_bad is not None and not callable(on_bad):
        raise TypeError(
            "on_bad must be a function that takes a BadRun, or None; received "
            f"{on_bad!r:.200} of type {type(on_bad).__name__}."
        )


def check_on_nonfinite(value: Any) -> None:
    """Raises where `on_nonfinite` is not one of its allowed values."""
    if value not in get_args(OnNonFinite):
        raise ValueError(
            f"on_nonfinite must be one of {', '.join(map(repr, get_args(OnNonFinite)))}; "
            f"received {value!r}."
        )


def check_at_least_0(**values: Any) -> None:
    """Raises where an option is no integer of at least 0."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ValueError(
                f"{name} must be an integer of at least 0; received {value!r}."
            )


def trials_to_confirm(value: Any) -> int:
    """Returns how many extra trials were asked for; 0, with a warning, where none can be."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    warn(
        "NaN Watch: confirm must be a number of trials of at least 6, or 0 for none; "
        f"received {value!r:.200}. No extra trials are trained."
    )
    return 0
