# SPDX-License-Identifier: Apache-2.0
"""The exceptions and warnings of NaN Watch, in one tree."""

from __future__ import annotations

import warnings


class NanWatchError(Exception):
    """Base class of every exception that NaN Watch raises on purpose."""


class NonFiniteError(NanWatchError):
    """Training met a non-finite value, and the user had set `on_nonfinite="raise"`.

    The message says what, where and why; the training step is in `step`.
    """

    def __init__(self, message: str, *, step: int) -> None:
        super().__init__(message)
        self.step = step


class UnsupportedError(NanWatchError):
    """The model, backend or library version cannot be watched."""


class RecordError(NanWatchError):
    """Bytes that claim to be a NaN Watch record are not one."""


class NewerSchemaError(RecordError):
    """A record was written by a newer version of NaN Watch than this one."""

    def __init__(self, found: int, known: int) -> None:
        super().__init__(
            f"record has schema version {found}, this tb-nanwatch reads up to {known}; "
            "upgrade tb-nanwatch to read it"
        )
        self.found = found
        self.known = known


class CapsuleError(NanWatchError):
    """A capsule cannot be written, or what claims to be one is invalid."""


class NanWatchWarning(UserWarning):
    """NaN Watch could not do all that the user asked for; training itself goes on."""


# Texts of the warnings that `warn_once` has given in this process.
_TOLD: set[str] = set()


def warn_once(message: str) -> None:
    """Warns as `warn` does, but gives each message only once in a process.

    A search trains with a copy of the callback in every trial, and Python's own filter
    forgets what it has shown whenever anybody changes a filter.
    """
    if message not in _TOLD:
        _TOLD.add(message)
        warnings.warn(message, NanWatchWarning, stacklevel=3)


def warn(message: str) -> None:
    """Warns with a `NanWatchWarning`, as from the caller's caller."""
    warnings.warn(message, NanWatchWarning, stacklevel=3)
