# SPDX-License-Identifier: Apache-2.0
"""A log directory, opened as the command and a notebook do: no server, no TensorFlow."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any, Final

from tensorboard.context import RequestContext

from tb_nanwatch.compat import tensorboard
from tb_nanwatch.errors import NanWatchError
from tb_nanwatch.reading.contract.overview import Overview
from tb_nanwatch.reading.log.causes import Causes
from tb_nanwatch.reading.log.progress import Tell, untold
from tb_nanwatch.reading.log.reader import Reader
from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.reading.log.unwatched import SCALARS_PLUGIN
from tb_nanwatch.reading.report import search_entry
from tb_nanwatch.reading.report.overview import overview
from tb_nanwatch.reading.report.page_table import Lanes
from tb_nanwatch.record import metadata, schema

# Points of a scalar: more epochs than that are rare, and a scalar of each batch, which
# is not read, must not fill the memory.
_MAX_SCALARS: Final = 5_000


class CannotReadError(NanWatchError):
    """The log directory cannot be read, or holds no NaN Watch records."""


@dataclass(frozen=True)
class Logs:
    """The contents of a log directory at the time it was read.

    Attributes:
        full: the overview.
        sessions: what it was made of.
        causes: of the runs that went bad, by (run, session id).
    """

    full: Overview
    sessions: list[Session]
    causes: search_entry.CausesByRun

    def lanes(self) -> Lanes:
        """Returns the lane that the page draws for each run, by (run, session id)."""
        growth = schema.LANE_SERIES.index("growth")
        return {
            (s.run, s.id): (
                s.status.lane_steps.tolist(),
                s.status.lane[:, growth].tolist(),
            )
            for s in self.sessions
        }


def _absolute(logdir: str) -> str:
    """Returns the absolute path that a relative one stands for, in brackets."""
    if re.match(r"[a-z0-9]+://", logdir) or os.path.isabs(logdir):
        return ""
    return f" ({os.path.abspath(logdir)})"


def read(logdir: str, with_data: bool = True, tell: Tell = untold) -> Logs:
    """Reads a log directory.

    Args:
        logdir: as given to `tensorboard --logdir`.
        with_data: whether values of single rows of data are told.
        tell: hears how far it is.

    Raises:
        CannotReadError: there is no such directory, or nothing of ours in it.
    """
    tell("reading", 0, None)
    reader, ctx = Reader(make_provider(logdir)), RequestContext()
    snapshot = reader.snapshot(ctx, "")
    if not snapshot.sessions:
        raise CannotReadError(
            f"no NaN Watch records in {logdir!r}{_absolute(logdir)}. Give the directory "
            "that NanWatch(...) was given, or one above it; if nothing was trained with it "
            "yet, add one of these and run it:\n"
            f"  model.fit(x, y, callbacks=[NanWatch({logdir!r})])\n"
            f"  tuner.search(x, y, callbacks=[NanWatch({logdir!r})])"
        )
    causes = Causes(reader, with_data).of(ctx, "", snapshot.sessions, tell)
    tell("comparing", 0, None)
    full = overview(snapshot, causes, with_data)
    return Logs(full, snapshot.sessions, causes)


def make_provider(logdir: str) -> Any:
    """Returns a data provider that holds every NaN Watch record below `logdir`.

    It is TensorBoard's own, without any sampling of our records. Of scalars it keeps
    what the epochs of a long training need; everything else in the log directory is
    sampled down to one point a tag, since it is not read.

    Raises:
        CannotReadError: there is no such directory, or it cannot be read.
    """
    logdir = os.path.expanduser(logdir)
    if "://" not in logdir and not os.path.isdir(logdir):
        what = "is a file" if os.path.exists(logdir) else "does not exist"
        raise CannotReadError(
            f"the log directory {logdir!r} {what}; expected the directory that "
            "NanWatch(...) was given, or one above it"
        )
    multiplexer = tensorboard.multiplexer(
        {
            metadata.PLUGIN_NAME: 0,
            metadata.STATUS_PLUGIN_NAME: 0,
            SCALARS_PLUGIN: _MAX_SCALARS,
        }
    )
    try:
        multiplexer.AddRunsFromDirectory(logdir)
        multiplexer.Reload()
    except Exception as e:  # whatever a file system raises
        raise CannotReadError(
            f"cannot read the log directory {logdir!r}: {type(e).__name__}: {e}"
            + (
                ". What reads remote places must be installed: boto3 for s3://, TensorFlow "
                "for gs://, fsspec and its driver for others."
                if "://" in logdir
                else ""
            )
        ) from e
    return tensorboard.provider(multiplexer, logdir)


def avoid_tensorflow(logdir: str) -> None:
    """Makes TensorBoard use its own file layer in this process.

    Importing TensorFlow takes seconds and is needed only for remote places that
    TensorBoard's layer (local, s3, fsspec) does not know. The module with this name
    is how TensorBoard's builds without TensorFlow ask for that layer.
    """
    if re.match(r"(gs|hdfs|viewfs)://", logdir):
        return
    tensorboard.avoid_tensorflow()
