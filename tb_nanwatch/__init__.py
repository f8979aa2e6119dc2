# SPDX-License-Identifier: Apache-2.0
"""NaN Watch: why a KerasTuner search goes NaN when plain training works.

Public names are loaded when first used: viewing logs needs neither TensorFlow
nor Keras.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "NanWatch",
    "NanWatchError",
    "NanWatchWarning",
    "NonFiniteError",
    "StabilitySearch",
    "UnsupportedError",
    "__version__",
    "report",
]

if TYPE_CHECKING:
    from tb_nanwatch.errors import (
        NanWatchError,
        NanWatchWarning,
        NonFiniteError,
        UnsupportedError,
    )
    from tb_nanwatch.reading.report.shown import read as report
    from tb_nanwatch.stability.tuner import StabilitySearch
    from tb_nanwatch.writing.callback import NanWatch


def __getattr__(name: str) -> Any:
    if name == "NanWatch":
        from tb_nanwatch.writing.callback import NanWatch

        NanWatch.confirmer = _confirm
        return NanWatch
    if name == "report":
        from tb_nanwatch.reading.report.shown import read

        return read
    if name == "StabilitySearch":
        from tb_nanwatch.stability.tuner import StabilitySearch

        return StabilitySearch
    if name in __all__:
        from tb_nanwatch import errors

        return getattr(errors, name)
    raise AttributeError(f"module 'tb_nanwatch' has no attribute {name!r}")


def _confirm(*args: Any) -> str:
    from tb_nanwatch.confirming.end import confirm

    return confirm(*args)


def __dir__() -> list[str]:
    return sorted(__all__)
