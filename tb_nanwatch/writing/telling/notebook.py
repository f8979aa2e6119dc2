# SPDX-License-Identifier: Apache-2.0
"""Notebooks: one display that is updated in place, and outlives a cleared cell.

KerasTuner clears the cell's output after each trial: printed text and displayed cards are
gone. IPython is never imported, only found where it runs already.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import uuid
import weakref
from typing import Any, Final, Protocol

from tb_nanwatch.wording.card import Card, fragment, printed


class Ends(Protocol):
    """An object that must be ended even where an exception went unnoticed."""

    def end_with(self, error: BaseException | None) -> None:
        """Ends it."""


# The display of each search that is under way, by its tuner.
OF_SEARCHES: Final[weakref.WeakKeyDictionary[Any, Any]] = weakref.WeakKeyDictionary()
# What the running cell has begun.
_BEGUN: Final[weakref.WeakSet[Any]] = weakref.WeakSet()
# How often a cell's output was cleared, in this process.
_cleared = [0]
# Shells that tell us.
_HEARD: Final[weakref.WeakSet[Any]] = weakref.WeakSet()


def is_notebook() -> bool:
    """Returns whether this process is a notebook's kernel."""
    return getattr(_shell(), "kernel", None) is not None


def _shell() -> Any:
    ipython = sys.modules.get("IPython")
    with contextlib.suppress(Exception):
        return ipython.get_ipython() if ipython is not None else None
    return None


def when_cell_ends(watch: Ends) -> None:
    """Arranges that `watch.end_with` is called when the cell is over, at the latest.

    A notebook keeps the traceback of the last exception, and with it whatever was alive
    in it: that something is gone tells nothing there. What another thread trains may
    outlive the cell.
    """
    if threading.current_thread() is threading.main_thread() and is_notebook():
        _listen(_shell())
        _BEGUN.add(watch)


class LiveDisplay:
    """A card in the output of the cell, updated in place.

    It is displayed again where the cell was cleared since.
    """

    def __init__(self) -> None:
        self._id = uuid.uuid4().hex
        self._shown_at: int | None = None

    def show(self, card: Card) -> None:
        """Draws a card.

        Raises:
            Exception: there is no notebook.
        """
        shell = _shell()
        _listen(shell)
        shell.display_pub.publish(
            {"text/plain": "\n".join(printed(card)), "text/html": fragment([card])},
            transient={"display_id": self._id},
            update=self._shown_at == _cleared[0],
        )
        self._shown_at = _cleared[0]


def _listen(shell: Any) -> None:
    """Subscribes to IPython's events for cleared cells and cells that end."""
    if shell is None or shell in _HEARD:
        return
    _HEARD.add(shell)
    with contextlib.suppress(Exception):  # a kernel of another make may lack it
        shell.display_pub.register_hook(_message)
    with contextlib.suppress(Exception):
        shell.events.register("post_run_cell", _cell_ended)


def _message(message: Any) -> Any:
    """Notes that a cell was cleared, and passes the message on."""
    with contextlib.suppress(Exception):
        if message["header"]["msg_type"] == "clear_output":
            _cleared[0] += 1
    return message


def _cell_ended(result: Any = None) -> None:
    begun = list(_BEGUN)
    _BEGUN.clear()
    error = getattr(result, "error_in_exec", None)
    for watch in begun:
        with contextlib.suppress(Exception):
            watch.end_with(error)
