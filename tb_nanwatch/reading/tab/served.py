# SPDX-License-Identifier: Apache-2.0
"""The overview and the lanes as they are sent, made once for each state of the log."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import os
import threading
from dataclasses import dataclass
from typing import Any, Final

from tb_nanwatch.reading.log.causes import Causes
from tb_nanwatch.reading.log.reader import NotFoundError, Reader
from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.reading.log.snapshot import Snapshot
from tb_nanwatch.reading.report import search_entry
from tb_nanwatch.reading.report.overview import overview
from tb_nanwatch.reading.tab import lanes
from tb_nanwatch.record import metadata, strict_json
from tb_nanwatch.wording.causes import MEANINGS
from tb_nanwatch.wording.damage_text import sampling_text

# Higher levels take longer than they save: the browser is on the same machine or
# network, and the overview is made again whenever a record changes.
_GZIP_LEVEL: Final = 1


@dataclass
class Served:
    """An overview as compressed bytes, and the snapshot that it was made of."""

    snapshot: Snapshot
    body: bytes
    etag: str
    # Lanes in blocks, by search: of each its version and its sessions.
    blocks: dict[str, list[tuple[str, list[Session]]]]


def _logdir(context: Any) -> str:
    """Returns the directory or directories that TensorBoard reads, "" where they are unknown."""
    flags = context.flags
    named = context.logdir or getattr(flags, "logdir_spec", "")
    text = os.fspath(named) if named else ""
    if not text or "://" in text or "," in text or ":" in os.path.splitdrive(text)[1]:
        return str(strict_json.json_safe(text))
    return str(strict_json.json_safe(os.path.abspath(os.path.expanduser(text))))


def _sampling_warnings(hints: Any) -> list[str]:
    """Returns a sentence if the user's own flag makes TensorBoard drop records."""
    limit = hints.get(metadata.PLUGIN_NAME) if isinstance(hints, dict) else None
    return [sampling_text(limit)] if limit else []


class Overviews:
    """The overviews that were asked for, and their lanes.

    Args:
        reader: reads the log.
        causes: of the sessions that it finds.
        context: TensorBoard's `TBContext`.
    """

    def __init__(self, reader: Reader, causes: Causes, context: Any) -> None:
        self._reader, self._causes = reader, causes
        self._logdir = _logdir(context)
        self._warnings = _sampling_warnings(context.sampling_hints)
        self._lock = threading.Lock()
        self._served: dict[str, Served] = {}
        # Compressed lanes with their version, by experiment, search and block.
        self._packed: dict[tuple[str, str, int], tuple[str, bytes]] = {}

    def of(self, ctx: Any, experiment_id: str) -> Served:
        """Returns the overview of an experiment as its log is now."""
        snapshot = self._reader.snapshot(ctx, experiment_id)
        # One at a time: when the records change, a hundred tabs make one overview.
        with self._lock:
            served = self._served.get(experiment_id)
            if served is None or served.snapshot is not snapshot:
                causes = self._causes.of(ctx, experiment_id, snapshot.sessions)
                served = self._made(snapshot, causes)
                if len(self._served) >= 16:
                    self._served.clear()
                    self._packed.clear()
                self._served[experiment_id] = served
        return served

    def _made(self, snapshot: Snapshot, causes: search_entry.CausesByRun) -> Served:
        full = overview(snapshot, causes)
        by_search: dict[str, list[Session]] = {}
        for session in snapshot.sessions:
            by_search.setdefault(session.search_id, []).append(session)
        blocks = {
            search: [(lanes.version(block), block) for block in lanes.blocks(sessions)]
            for search, sessions in by_search.items()
        }
        full = dataclasses.replace(
            full,
            searches=[
                dataclasses.replace(s, lanes=[version for version, _ in blocks[s.search]])
                for s in full.searches
            ],
            warnings=[*full.warnings, *self._warnings],
            logdir=self._logdir,
            meanings=dict(MEANINGS),
        )
        text = strict_json.dumps(full).encode("utf-8")
        # mtime 0: the same overview is the same bytes.
        body = gzip.compress(text, _GZIP_LEVEL, mtime=0)
        etag = f'"{hashlib.blake2b(text, digest_size=8).hexdigest()}"'
        return Served(snapshot, body, etag, blocks)

    def lanes_of(
        self, served: Served, experiment_id: str, search: str, index: int
    ) -> bytes:
        """Returns the compressed lanes of one block, ready-made where nothing changed."""
        blocks = served.blocks.get(search, [])
        if index >= len(blocks):
            raise NotFoundError(
                f"search {search!r:.200} has {len(blocks)} blocks of lanes; expected a "
                f"search that the overview lists and a block below that, not {index}"
            )
        version, block = blocks[index]
        key = (experiment_id, search, index)
        kept = self._packed.get(key)
        if kept is None or kept[0] != version:
            body = gzip.compress(lanes.packed(block), _GZIP_LEVEL, mtime=0)
            kept = self._packed[key] = (version, body)
        return kept[1]
