# SPDX-License-Identifier: Apache-2.0
"""Diagnoses the runs that went bad, once each, from their full records."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from tensorboard.util import tb_logging

from tb_nanwatch.diagnosis.ranking import Cause, Facts, diagnose, facts_of, has_cause
from tb_nanwatch.reading.log.progress import Tell, untold
from tb_nanwatch.reading.log.reader import Reader
from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.record import metadata
from tb_nanwatch.record.schema import FINITE_STATUSES

logger = tb_logging.get_logger()

Key = tuple[str, str]

_KINDS: Final = (metadata.KIND_SESSION, metadata.KIND_RANGES, metadata.KIND_FLIGHT)
# A call to the data server stalls for 45 ms and waits meanwhile: side by side.
_THREADS: Final = 8
# Causes are a few hundred bytes a run.
_MAX_KEPT: Final = 20_000


class Causes:
    """Diagnoses runs and remembers the answers.

    Args:
        reader: reads the records.
        with_data: whether sentences may quote values of single rows of data.
    """

    def __init__(self, reader: Reader, with_data: bool = True) -> None:
        self._reader, self._with_data = reader, with_data
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str, str], tuple[Any, list[Cause]]] = {}

    def of(
        self,
        ctx: Any,
        experiment_id: str,
        sessions: Sequence[Session],
        tell: Tell = untold,
    ) -> dict[Key, list[Cause]]:
        """Returns the causes of each session that went bad, by (run, session id).

        Args:
            ctx: the `RequestContext`.
            experiment_id: TensorBoard's.
            sessions: of a snapshot.
            tell: hears how many of them are done.
        """
        bad = [s for s in sessions if has_cause(s.status.status, s.status.origin)]
        with self._lock:
            missing = [
                s
                for s in bad
                if self._kept.get((experiment_id, s.run, s.id), (None,))[0] != _version(s)
            ]
        if missing:
            with ThreadPoolExecutor(min(_THREADS, len(missing))) as pool:
                found = pool.map(lambda s: self._diagnose(ctx, experiment_id, s), missing)
                answers = []
                for session, causes in zip(missing, found, strict=True):
                    answers.append((session, causes))
                    tell("diagnosing", len(answers), len(missing))
            with self._lock:
                if len(self._kept) + len(answers) > _MAX_KEPT:
                    self._kept.clear()
                for session, causes in answers:
                    key = (experiment_id, session.run, session.id)
                    self._kept[key] = (_version(session), causes)
        with self._lock:
            return {
                (s.run, s.id): self._kept[(experiment_id, s.run, s.id)][1]
                for s in bad
                if (experiment_id, s.run, s.id) in self._kept
            }

    def _diagnose(self, ctx: Any, experiment_id: str, session: Session) -> list[Cause]:
        try:
            return diagnose(
                facts_in_full(self._reader, ctx, experiment_id, session, self._with_data)
            )
        except Exception:
            # Records may be damaged in any way: one such run must not hide the others.
            logger.warning("cannot diagnose run %r", session.run, exc_info=True)
            return diagnose(
                facts_of(
                    session.status,
                    session.began_with,
                    session.postmortem,
                    self._with_data,
                )
            )


def facts_in_full(
    reader: Reader,
    ctx: Any,
    experiment_id: str,
    session: Session,
    with_data: bool = True,
) -> Facts:
    """Returns all measurements of one run that can be read."""
    facts = facts_of(session.status, session.began_with, session.postmortem, with_data)
    records = reader.detail(ctx, experiment_id, session, _KINDS).records
    found = records[metadata.KIND_SESSION]
    facts.session = found[-1] if found else None
    facts.ranges = records[metadata.KIND_RANGES]
    facts.flight = records[metadata.KIND_FLIGHT]
    return facts


def _version(session: Session) -> tuple[Any, ...]:
    # Steps after the onset change no cause, so a run that goes on is not read again.
    status = session.status
    written = status.written
    return (
        status.status,
        repr(status.onset),
        repr(status.origin),
        written.get(metadata.KIND_FLIGHT, 0),
        written.get(metadata.KIND_SESSION, 0),
        bool(written.get(metadata.KIND_RANGES, 0)),
        session.began_with,
        repr(session.postmortem),
        # The last bucket of a runaway is its furthest; a stall goes on to skip steps.
        session.state if status.status in FINITE_STATUSES else "",
    )
