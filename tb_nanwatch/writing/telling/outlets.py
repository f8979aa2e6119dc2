# SPDX-License-Identifier: Apache-2.0
"""Where a training's messages go: to standard output, or into a notebook's cell."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from typing import Final, Protocol

from tb_nanwatch.wording.card import Card, Part, printed
from tb_nanwatch.writing.telling import notebook

# Trials that went bad and have a line each in the card of a search.
_MAX_TRIALS: Final = 6


class Outlet(Protocol):
    """The receiver of the messages of one fit, or of all fits of one search.

    Attributes:
        is_passed_on: whether others may read the messages, since they stay in a document.
    """

    is_passed_on: bool

    def watching(self, card: Card) -> None:
        """Receives the state of a training that goes on and is well."""

    def onset(self, card: Card) -> None:
        """Receives the message that the training has gone bad, or stalled."""

    def trial(self, card: Card) -> None:
        """Receives the outcome of a trial."""

    def raised(self, card: Card) -> None:
        """Receives the answer that an exception is about to state in its message."""

    def end(self, card: Card, alone: bool) -> None:
        """Receives the answer of the fit, or of the search.

        Args:
            card: the answer.
            alone: it may stand on a line that a progress bar has left.
        """


def outlet_of(search: object | None) -> Outlet:
    """Returns where the messages of a fit go.

    Args:
        search: what lives as long as the search that the fit belongs to; None for none.
    """
    return Cell.of(search) if notebook.is_notebook() else Console()


class Console:
    """Standard output, where Keras and KerasTuner print what they have to say."""

    is_passed_on = False

    def watching(self, card: Card) -> None:
        """Says nothing: a progress bar is under way."""

    def onset(self, card: Card) -> None:
        """Prints it; the progress bar stands where it begins."""
        _print(card, "\n")

    def trial(self, card: Card) -> None:
        """Prints its first line: the answer is the search's."""
        _print(replace(card, parts=()), "")

    def raised(self, card: Card) -> None:
        """Says nothing: the exception's message says it all."""

    def end(self, card: Card, alone: bool) -> None:
        """Prints the answer."""
        _print(card, "" if alone else "\n")


def _print(card: Card, begin: str) -> None:
    with contextlib.suppress(Exception):  # standard output may be closed
        said = "\n".join(printed(card))
        sys.stdout.write(f"{begin}{said}\n")
        sys.stdout.flush()


class Nowhere:
    """Prints nothing, for trainings whose caller reports them itself."""

    is_passed_on = False

    def watching(self, card: Card) -> None:
        """Says nothing."""

    onset = trial = raised = watching

    def end(self, card: Card, alone: bool) -> None:
        """Says nothing."""


class Cell:
    """One card in a notebook's cell, replaced at each message.

    Where it cannot be drawn, messages are printed.

    Args:
        of_search: whether it is for all fits of a search, and not for one fit.
    """

    is_passed_on = True

    def __init__(self, of_search: bool) -> None:
        self._of_search = of_search
        self._begin()

    def _begin(self) -> None:
        self._live = notebook.LiveDisplay()
        self._trials: list[Card] = []

    @classmethod
    def of(cls, search: object | None) -> Cell:
        """Returns the search's cell: all its fits share it."""
        if search is None:
            return cls(of_search=False)
        found = notebook.OF_SEARCHES.get(search)
        if not isinstance(found, cls):
            found = notebook.OF_SEARCHES[search] = cls(of_search=True)
        return found

    def watching(self, card: Card) -> None:
        """Draws it."""
        with contextlib.suppress(Exception):
            self._live.show(self._with_trials(card))

    def onset(self, card: Card) -> None:
        """Draws it, or prints it."""
        try:
            self._live.show(self._with_trials(card))
        except Exception:
            Console().onset(card)

    def trial(self, card: Card) -> None:
        """Draws the outcome of the trial, and of those before it."""
        self.onset(card)
        self._trials.append(card)

    def raised(self, card: Card) -> None:
        """Draws the answer: the traceback that follows says the rest."""
        if self._of_search:
            self.trial(card)
        else:
            self.end(card, alone=False)

    def end(self, card: Card, alone: bool) -> None:
        """Draws the answer for good: another search begins another card."""
        self.onset(card)
        self._begin()

    def _with_trials(self, card: Card) -> Card:
        lines = [c.first for c in self._trials]
        more = len(lines) - _MAX_TRIALS
        if more > 0:
            lines = [*lines[:_MAX_TRIALS], f"and {more:,} more"]
        parts = [Part("" if i else "Trials", line) for i, line in enumerate(lines)]
        return replace(card, parts=(*card.parts, *parts))
