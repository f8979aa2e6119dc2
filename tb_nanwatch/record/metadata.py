# SPDX-License-Identifier: Apache-2.0
"""Plugin names and tags: the one place where writer and reader agree on them.

Two plugin names are used. Records that grow with the run go under `nanwatch`;
the small cumulative records that the overview needs go under `nanwatch_status`,
so that TensorBoard may keep just the newest of those and the overview never has
to list the rest.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

PLUGIN_NAME: Final = "nanwatch"
STATUS_PLUGIN_NAME: Final = "nanwatch_status"

# The directory of a capsule, beside its run's event file, and the file that makes it one.
CAPSULE: Final = "nanwatch_capsule"
CAPSULE_HEADER: Final = "capsule.json"

# Kinds of record, and the plugin name under which each is stored.
KIND_SESSION: Final = "session"
KIND_RANGES: Final = "ranges"
KIND_EVENTS: Final = "events"
KIND_FLIGHT: Final = "flight"
KIND_STATUS: Final = "status"
KIND_TRIAL: Final = "trial"
KIND_POSTMORTEM: Final = "postmortem"
KIND_HEARTBEAT: Final = "heartbeat"
KIND_FRONTIER: Final = "frontier"
KIND_CONFIRMATION: Final = "confirmation"

PLUGIN_OF_KIND: Final[dict[str, str]] = {
    KIND_SESSION: PLUGIN_NAME,
    KIND_RANGES: PLUGIN_NAME,
    KIND_EVENTS: PLUGIN_NAME,
    KIND_FLIGHT: PLUGIN_NAME,
    KIND_STATUS: STATUS_PLUGIN_NAME,
    KIND_TRIAL: STATUS_PLUGIN_NAME,
    # Small, once a run, and named by the overview's verdict.
    KIND_POSTMORTEM: STATUS_PLUGIN_NAME,
    KIND_HEARTBEAT: STATUS_PLUGIN_NAME,
    KIND_FRONTIER: STATUS_PLUGIN_NAME,
    KIND_CONFIRMATION: STATUS_PLUGIN_NAME,
}

_TAG = re.compile(r"nanwatch/([0-9a-f]{16})/([a-z]+)")


class Tag(NamedTuple):
    """A parsed tag: which writing session, which kind of record."""

    session_id: str
    kind: str


def make_tag(session_id: str, kind: str) -> str:
    """Returns the tag under which `kind` records of one session are written.

    One tag belongs to one writing session: TensorBoard's data server deletes the
    records of a tag at steps at or after that of a new record, so that a second
    writer under the same tag would erase the first one's records.
    """
    if kind not in PLUGIN_OF_KIND:
        raise ValueError(
            f"unknown record kind {kind!r}; expected one of {sorted(PLUGIN_OF_KIND)}"
        )
    return f"nanwatch/{session_id}/{kind}"


def parse_tag(tag: str) -> Tag | None:
    """Returns the parts of `tag`, or None where it is not a NaN Watch tag."""
    match = _TAG.fullmatch(tag)
    if match is None or match[2] not in PLUGIN_OF_KIND:
        return None
    return Tag(match[1], match[2])
