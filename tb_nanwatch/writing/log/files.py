# SPDX-License-Identifier: Apache-2.0
"""Files that grow by whole records, on local disks and in remote stores."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import time
from typing import Any, Final, Protocol

from tb_nanwatch.compat import tensorboard
from tb_nanwatch.errors import UnsupportedError

_numbers = itertools.count()
# What brings each scheme, where neither TensorFlow nor TensorBoard knows it.
_DRIVERS: Final = {
    "s3": "boto3",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "hdfs": "pyarrow",
}


class LogFile(Protocol):
    """A file that only grows."""

    path: str

    def append(self, data: bytes) -> None:
        """Adds `data` and hands it over, so that it outlives this process.

        Raises:
            Exception: whatever the file system raises. `data` may then be appended
                again where `usable` says so, or else to another file.
        """

    def usable(self) -> bool:
        """Returns whether more can be appended."""

    def close(self) -> None:
        """Closes the file; never raises."""


def open_log(log_dir: str) -> LogFile:
    """Makes a new event file in `log_dir`, which is made too.

    Raises:
        UnsupportedError: nothing that is installed can write there.
        Exception: whatever the file system raises.
    """
    name = (
        f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}"
        f".{os.getpid()}.{next(_numbers)}.nanwatch"
    )
    if "://" in log_dir:
        return _RemoteFile(log_dir.rstrip("/"), name)
    os.makedirs(log_dir, exist_ok=True)
    return _LocalFile(os.path.join(log_dir, name))


class _LocalFile:
    """A local file, unbuffered so that appended data survive the death of the process."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._file: Any = open(path, "xb", buffering=0)  # noqa: SIM115 (closed by `close`)
        self._size = 0
        self._broken = False

    def append(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[self._file.write(view) :]
        except BaseException:
            # A full disk takes the first part of a record: readers would stop at it.
            try:
                os.ftruncate(self._file.fileno(), self._size)
                self._file.seek(self._size)
            except OSError:
                self._broken = True
            raise
        self._size += len(data)

    def usable(self) -> bool:
        return not self._broken and os.path.exists(self.path)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        if not self._size:  # nobody needs a file without a record
            with contextlib.suppress(OSError):
                os.unlink(self.path)


class _RemoteFile:
    """By TensorFlow where it knows the scheme (gs), else by TensorBoard (s3, fsspec).

    A store that knows no appending, as S3, is sent the whole file each time; that is
    a few MB at the end of a very long run.
    """

    def __init__(self, log_dir: str, name: str) -> None:
        self.path = f"{log_dir}/{name}"
        gfile = _layer(log_dir)
        gfile.makedirs(log_dir)
        self._file = gfile.GFile(self.path, "wb")
        self._broken = False

    def append(self, data: bytes) -> None:
        try:
            self._file.write(data)
            self._file.flush()
        except BaseException:
            self._broken = True  # nobody knows what arrived
            raise

    def usable(self) -> bool:
        return not self._broken

    def close(self) -> None:
        # Closing a broken one would send it once more: only what it keeps here goes.
        kept = getattr(self._file, "write_temp", None) if self._broken else self._file
        with contextlib.suppress(Exception):
            if kept is not None:
                kept.close()


def _layer(log_dir: str) -> Any:
    """Returns the module with `makedirs` and `GFile` that knows the place's scheme.

    Raises:
        UnsupportedError: none does.
    """
    scheme = log_dir.partition("://")[0]
    with contextlib.suppress(ImportError):
        import tensorflow as tf

        if scheme in tf.io.gfile.get_registered_schemes():
            return tf.io.gfile
    gfile = tensorboard.gfile()
    try:
        gfile.get_filesystem(log_dir)
    except (ImportError, ValueError) as e:
        driver = _DRIVERS.get(scheme)
        install = (
            f"pip install {driver}" if scheme == "s3" else f"pip install fsspec {driver}"
        )
        raise UnsupportedError(
            f"nothing that is installed can write to {scheme}:// ({e}). "
            + (
                f"Install what can: {install}."
                if driver
                else "Install fsspec and its driver for this scheme, or log to a local "
                "directory."
            )
        ) from e
    return gfile


def resolved(log_dir: str) -> str:
    """Returns a local log directory as an absolute path, a remote one as it is.

    So `os.chdir` during a training, or a search, does not split the log.
    """
    if "://" in log_dir:
        return log_dir
    log_dir = os.path.expanduser(log_dir)
    with contextlib.suppress(OSError):  # the working directory is gone
        log_dir = os.path.abspath(log_dir)
    return log_dir


def as_given(log_dir: str, given: str) -> str:
    """Returns a log directory as the user wrote it, where that still leads there.

    Args:
        log_dir: by `resolved`.
        given: what it was resolved from.
    """
    with contextlib.suppress(OSError):
        # A shell expands no "~" in a quoted word.
        if not given.startswith("~") and os.path.abspath(given) == log_dir:
            return given
    return log_dir


def run_directory(log_dir: str, run: str) -> str:
    """Returns the directory of a run below a log directory, local or remote."""
    if not run:
        return log_dir
    if "://" in log_dir:
        return f"{log_dir.rstrip('/')}/{run}"
    return os.path.join(log_dir, *run.split("/"))
