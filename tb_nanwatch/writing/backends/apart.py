# SPDX-License-Identifier: Apache-2.0
"""What goes wrong in watching, kept apart from the training."""

from __future__ import annotations

from collections.abc import Callable

from tb_nanwatch.errors import NanWatchWarning


class KeptApart:
    """A context that no exception leaves: `note` is called with it.

    What ends a program does leave it, and so does a warning of ours where the user has
    made errors of warnings.
    """

    def __init__(self, note: Callable[[Exception], None]) -> None:
        self._note = note

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception) or isinstance(error, NanWatchWarning):
            return False
        self._note(error)
        return True
