# SPDX-License-Identifier: Apache-2.0
"""The identity of a search: one for all of its workers, kept as long as it goes on.

It stands in a file in the project's directory, which every worker shares, which a
resumed search finds again and which `overwrite=True` deletes. Each worker of a
distributed search deletes it, though, whenever it is started: so a tuner remembers its own
identity, the oldest one counts, and a deleted file is written again. Where a worker learns
of an older identity late, its ended trials are moved to that.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from tb_nanwatch.compat.kerastuner import is_shared
from tb_nanwatch.record.strict_json import JSONObject

_SEARCH_FILE: Final = "nanwatch_search.json"
# How long a worker waits for the one that has the first trial: that one looks after
# the file every `_CHECK_SECONDS`, and compiling its model may take longer.
WAIT_SECONDS: Final = 15.0
_CHECK_SECONDS: Final = 5.0

Identity = tuple[str, float]
_KNOWN: weakref.WeakKeyDictionary[Any, Identity] = weakref.WeakKeyDictionary()
_CHECKED: weakref.WeakKeyDictionary[Any, float] = weakref.WeakKeyDictionary()

Listener = Callable[[Identity], None]
# Trials that a worker may end before another one, which trains, looks after the file.
_MAX_TOLD: Final = 64
_LISTENERS: weakref.WeakKeyDictionary[Any, deque[Listener]] = weakref.WeakKeyDictionary()


def of(tuner: Any, waits: bool = False, now: bool = False) -> Identity:
    """Returns the id of the tuner's search and when it began, seconds since the epoch.

    Args:
        tuner: KerasTuner's.
        waits: in a distributed search, for another worker to write it first.
        now: look after the file whether that is due or not.
    """
    project_dir = str(tuner.project_dir)
    known = _KNOWN.get(tuner)
    if known is None:
        if waits and is_shared(tuner):
            _wait_for(project_dir)
        known = _in_file(project_dir)
    elif is_shared(tuner) and (
        now or time.monotonic() - _CHECKED.get(tuner, 0.0) >= _CHECK_SECONDS
    ):
        before, known = known, _settle(project_dir, known)
        _KNOWN[tuner] = known
        if known != before:
            for listener in _LISTENERS.pop(tuner, ()):
                listener(known)
    else:
        return known
    _KNOWN[tuner], _CHECKED[tuner] = known, time.monotonic()
    return known


def when_settled(tuner: Any, listener: Listener) -> None:
    """Calls `listener` once, if the tuner's search turns out to be an older one."""
    if is_shared(tuner):
        _LISTENERS.setdefault(tuner, deque(maxlen=_MAX_TOLD)).append(listener)


def _wait_for(project_dir: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while _read(project_dir) is None and time.monotonic() < deadline:
        time.sleep(0.1)


def _read(project_dir: str) -> Identity | None:
    try:
        with open(os.path.join(project_dir, _SEARCH_FILE), encoding="utf-8") as f:
            kept = json.load(f)
        return str(kept["id"]), float(kept["started"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _settle(project_dir: str, known: Identity) -> Identity:
    """Returns the older of the known identity and that in the file, and keeps it."""
    found = _read(project_dir)
    if found is not None and (found[1], found[0]) <= (known[1], known[0]):
        return found
    path = os.path.join(project_dir, _SEARCH_FILE)
    part = f"{path}.{uuid.uuid4().hex}"
    with contextlib.suppress(OSError):  # a place that cannot hold it; tried again later
        os.makedirs(project_dir, exist_ok=True)
        with open(part, "x", encoding="utf-8") as f:
            json.dump({"id": known[0], "started": known[1]}, f)
        os.replace(part, path)
    return known


def _in_file(project_dir: str) -> tuple[str, float]:
    """Returns the search's id and when it began."""
    path = os.path.join(project_dir, _SEARCH_FILE)
    fresh = {"id": uuid.uuid4().hex[:16], "started": time.time()}
    for _ in range(20):
        try:
            with open(path, encoding="utf-8") as f:
                kept = json.load(f)
            return str(kept["id"]), float(kept["started"])
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError, OSError):
            time.sleep(0.05)  # another worker is writing it this moment
            continue
        try:
            os.makedirs(project_dir, exist_ok=True)
            part = f"{path}.{fresh['id']}"
            with open(part, "x", encoding="utf-8") as f:
                json.dump(fresh, f)
            try:
                os.link(part, path)  # appears whole, and only if no one was faster
            finally:
                os.unlink(part)
        except FileExistsError:
            continue
        except OSError:
            break
    return _without_file(project_dir, fresh)


_IDENTITIES: dict[str, tuple[str, float]] = {}


def _without_file(project_dir: str, fresh: JSONObject) -> tuple[str, float]:
    # A place that cannot hold the file (remote, read-only): the same for this
    # process, at least.
    return _IDENTITIES.setdefault(project_dir, (fresh["id"], fresh["started"]))
