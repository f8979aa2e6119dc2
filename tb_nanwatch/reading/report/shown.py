# SPDX-License-Identifier: Apache-2.0
"""`tb_nanwatch.report`: what a log directory holds, for a notebook or a program."""

from __future__ import annotations

import os
from typing import Any

from tb_nanwatch.errors import NanWatchError
from tb_nanwatch.reading.contract.overview import in_report
from tb_nanwatch.reading.report import logs
from tb_nanwatch.reading.report.page import page
from tb_nanwatch.reading.report.told import cards_of
from tb_nanwatch.reading.search.outcomes import trials_to_compare
from tb_nanwatch.reading.search.stable_space import NoSpaceError, stable_space
from tb_nanwatch.record.strict_json import JSONObject
from tb_nanwatch.wording import card


class CannotWriteError(NanWatchError):
    """The page cannot be written."""


class Report:
    """What NaN Watch recorded in a log directory, as it was when it was read.

    At a notebook's prompt it shows itself: why, what to change, where; printed, it is
    the beginning of what `tb-nanwatch report` prints.

    Args:
        found: the logs, read.
    """

    def __init__(self, found: logs.Logs) -> None:
        self._logs = found
        self._cards = cards_of(found.full)

    @property
    def answer(self) -> str:
        """The answers as text, in lines of at most 80 columns."""
        return "\n\n".join("\n".join(card.printed(c)) for c in self._cards)

    @property
    def markdown(self) -> str:
        """The answers as Markdown, for an issue or a chat."""
        return card.markdown(self._cards)

    def to_dict(self) -> JSONObject:
        """Returns what `tb-nanwatch report --json` prints, see its field `schema_version`.

        Numbers that are not finite are the strings "NaN", "Infinity" and "-Infinity".
        """
        told: JSONObject = in_report(self._logs.full)
        return told

    def page(self) -> str:
        """Returns the whole report as one page without scripts."""
        return page(self._logs.full, self._logs.lanes())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the whole report as one page without scripts, for mailing.

        Args:
            path: of the page, usually one that ends in ".html"; a file there is replaced.

        Raises:
            CannotWriteError: the file cannot be written.
        """
        name = os.path.expanduser(os.fspath(path))
        try:
            with open(name, "w", encoding="utf-8") as f:
                f.write(self.page())
        except OSError as e:
            raise CannotWriteError(
                f"cannot write the page to {name!r}: {e.strerror or e}; expected the path "
                "of a file in a directory that exists and may be written to"
            ) from e

    def stable_space(self, search: str | None = None) -> Any:
        """Returns a KerasTuner search's space without the values that went bad; trains no new trial.

        Runs with `hparams=` (a loop of one's own, Optuna, Ray Tune) declare no space: of
        these the report prints which values to leave out. Hand it to the next tuner; the build function stays as it is. A bound that holds
        only where another hyperparameter has some value is left out: the printed edit
        says it. With `overwrite=False` KerasTuner reloads the old search's space instead.

        Args:
            search: its project's name or id; the newest one by default.

        Returns:
            A `keras_tuner.HyperParameters` with the defaults as values. Where nothing is
            known to avoid, the space as it was searched, with a `NanWatchWarning`.

        Raises:
            NanWatchError: there is no such search, or it declares no space.
            ImportError: KerasTuner is not installed.

        Example:
        ```python
        space = tb_nanwatch.report("logs").stable_space()
        tuner = keras_tuner.RandomSearch(
            build, objective="val_loss", hyperparameters=space, overwrite=True
        )
        ```
        """
        searches = [s for s in self._logs.full.searches if s.search]
        for found in searches:  # newest first
            if search is None or search in (found.search, found.name):
                sessions = [s for s in self._logs.sessions if s.search_id == found.search]
                trials = trials_to_compare(sessions, self._logs.causes)
                return stable_space(trials, found.direction)
        names = ", ".join(repr(s.name or s.search) for s in searches[:8])
        raise NoSpaceError(
            f"no search {'of KerasTuner' if search is None else repr(search)} in these "
            f"logs; expected {f'one of {names}' if names else 'logs of a tuner.search()'}"
        )

    # --- How it shows itself ---------------------------------------------------------------

    def __repr__(self) -> str:
        return self.answer

    def _repr_html_(self) -> str:
        return card.fragment(self._cards)


def read(logdir: str | os.PathLike[str], *, with_data: bool = False) -> Report:
    """Reads a log directory, as `tb-nanwatch report` does; TensorFlow is not needed.

    Args:
        logdir: the directory that `NanWatch(...)` was given, or one above it; a remote
            place that TensorBoard can read will do as well.
        with_data: whether values of single rows of data may be told. Without it they are
            left out, and that is said where they are: notebooks and pages are passed on.

    Returns:
        The report, which shows itself in a notebook.

    Raises:
        NanWatchError: there is no such directory, or nothing of NaN Watch's in it.

    Example:
    ```python
    found = tb_nanwatch.report("logs")
    print(found.answer)
    found.save("report.html")
    ```
    """
    return Report(logs.read(os.fsdecode(logdir), with_data))
