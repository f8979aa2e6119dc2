# SPDX-License-Identifier: Apache-2.0
"""What is damaged or missing in a log, in words; pure."""

from __future__ import annotations

from typing import Final

from tb_nanwatch.record.metadata import PLUGIN_NAME
from tb_nanwatch.wording.counts import counted

NO_END: Final = (
    "The log ends without an end record: the training was killed, or its machine or log "
    "directory went away."
)


def unreadable_run_text(run: str, kind: str, problem: str | None) -> str:
    """Returns that the newest record of a kind cannot be read."""
    return f"Run {run!r}: its {kind} record cannot be read: {problem}"


def older_status_text(problem: str) -> str:
    """Returns that an older status record stands for one that cannot be read."""
    return f"The newest status record cannot be read ({problem}); an older one is shown."


def no_status_text(run: str, session_id: str) -> str:
    """Returns that a session has records but no status."""
    return (
        f"Run {run!r}: session {session_id} has records but no status record (its writer "
        "was stopped before the first one, or the file is damaged); it is not shown."
    )


def last_missing_text(missing: int, written: int, kind: str) -> str:
    """Returns that the last records of a kind are missing, of all that were written."""
    return (
        f"The last {missing} of {written} {kind} records are missing; the event file is "
        "damaged or incomplete."
    )


def missing_text(missing: int, expected: int, kind: str, first: int) -> str:
    """Returns that records of a kind are missing, and the number of the first of them."""
    return (
        f"{missing} of {expected} {kind} records are missing (the first is number "
        f"{first}): the event file is damaged, or TensorBoard was started with "
        f"--samples_per_plugin={PLUGIN_NAME}=..., which drops records."
    )


def unreadable_text(count: int, kind: str, problem: str) -> str:
    """Returns that records of a kind cannot be read, and what is wrong with the first."""
    return f"{counted(count, f'{kind} record')} cannot be read; the first: {problem}"


def duplicates_text(count: int, kind: str) -> str:
    """Returns that sequence numbers were used more than once."""
    return (
        f"{counted(count, f'{kind} record')} {'has' if count == 1 else 'have'} a sequence "
        "number that was used before; the later of each is shown."
    )


def sampling_text(limit: int) -> str:
    """Returns that the user's own flag makes TensorBoard drop records."""
    return (
        f"TensorBoard was started with --samples_per_plugin={PLUGIN_NAME}={limit}: it "
        f"keeps {counted(limit, 'record')} of each run and drops the rest. Restart it without that "
        "setting to see every step."
    )
