# SPDX-License-Identifier: Apache-2.0
"""Moves a run that has ended to another search, once the two turn out to be one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tb_nanwatch.record.schema import Search, StatusRecord
from tb_nanwatch.writing.log.summary import EventWriter


def search_of(
    status: StatusRecord, run_dir: str, place: str | None = None
) -> Callable[[Search], None]:
    """Returns a function that writes a run's last status again, with another search in it.

    It holds nothing else of the run.

    Args:
        status: the last that was written.
        run_dir: directory of the run's event file.
        place: the log directory as the user gave it.
    """

    def rename(search: Search) -> None:
        writer = EventWriter(run_dir, place=place)
        writer.write(replace(status, seq=status.seq + 1, search=search))
        writer.close()

    return rename
