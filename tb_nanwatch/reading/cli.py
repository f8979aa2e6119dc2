"""The command `tb-nanwatch`."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, Final

from tb_nanwatch import __version__, metadata, schema, strict_json
from tb_nanwatch.compat import tensorboard
from tb_nanwatch.errors import NanWatchError

EXIT_OK: Final = 0
EXIT_FAIL_ON: Final = 1
EXIT_ERROR: Final = 2

# "clean" and "unwatched" would fail every run there is.
_FAIL_ON: Final = tuple(s for s in schema.STATUSES if s not in ("unwatched", "clean"))


# Points of a scalar: more epochs than that are rare, and a scalar of each batch, which
# is not read, must not fill the memory.
_MAX_SCALARS: Final = 5_000


_REMOTE: Final = (
    ". What reads remote places must be installed: boto3 for s3://, TensorFlow for "
    "gs://, fsspec and its driver for others."
)


class CannotReadError(NanWatchError):
    """The log directory cannot be read, or holds nothing of ours."""


class CannotWriteError(NanWatchError):
    """The page cannot be written."""


class UsageError(NanWatchError):
    """The command was given the wrong arguments."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code.

    0: fine. 1: `--fail-on` was reached. 2: wrong usage, or nothing could be read.
    """
    arguments = _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a character shows "?", and the report goes on.
            stream.reconfigure(errors="replace")
    try:
        command = {"report": _report, "compare": _compare, "replay": _replay}[
            arguments.command
        ]
        return command(arguments)
    except NanWatchError as e:
        print(f"tb-nanwatch: {e}", file=sys.stderr)
        return EXIT_ERROR
    except BrokenPipeError:  # `tb-nanwatch report logs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tb-nanwatch",
        description="Which trials diverged, where, and with which hyperparameters.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    report = commands.add_parser(
        "report", help="print what NaN Watch recorded in a log directory"
    )
    report.add_argument("logdir", help="as given to tensorboard --logdir")
    output = report.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print JSON")
    output.add_argument(
        "--html",
        metavar="FILE",
        help="write one self-contained page to FILE instead, for mailing; - is the "
        "standard output",
    )
    report.add_argument(
        "--fail-on",
        metavar="STATUS",
        type=lambda status: status.strip().replace(" ", "_"),
        choices=_FAIL_ON,
        help="exit with 1 if any trial has this status or a worse one; one of "
        + ", ".join(_FAIL_ON),
    )
    compare = commands.add_parser(
        "compare",
        help="print what two runs, or two searches, differ in",
        usage="tb-nanwatch compare [-h] [--json] LOGDIR NAME NAME\n"
        "       tb-nanwatch compare [-h] [--json] DIRECTORY DIRECTORY",
        description="Compares a run that works with one that went bad, or a search "
        "before an edit of its space with the one after it.",
    )
    compare.add_argument(
        "what",
        nargs="+",
        metavar="LOGDIR NAME NAME | DIRECTORY DIRECTORY",
        help="a log directory and the names of two runs, trials or searches in it, with "
        "SEARCH: before a trial or run that several searches have; or two directories "
        "that hold one run, or one search, each",
    )
    compare.add_argument("--json", action="store_true", help="print JSON")
    replay = commands.add_parser(
        "replay",
        help="run the one failing step of a capsule again and name operation and line",
        description="Exits with 0 where the step went bad again in the same tensor with "
        "the same counts, with 1 where it did not, and with 2 where it could not be run.",
    )
    replay.add_argument("capsule", help="the capsule's directory")
    replay.add_argument(
        "--model",
        metavar="FILE.py:FUNCTION",
        help="the function that returns the compiled model, where that uses code of "
        "yours; module:function will do as well. The file is run as it is imported: keep "
        'what trains, tuner.search or fit, under if __name__ == "__main__":',
    )
    replay.add_argument(
        "--try",
        dest="attempt",
        action="store_true",
        help="try what would have kept the step and those after it finite",
    )
    replay.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _replay(arguments: argparse.Namespace) -> int:
    # Needs TensorFlow, as no other command does.
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        from tb_nanwatch import replay
    except ImportError as e:
        raise UsageError(
            f"replay needs TensorFlow and Keras ({e}); install them with pip install "
            '"tb-nanwatch[train]"'
        ) from e
    found = replay.replay(arguments.capsule, arguments.model, arguments.attempt)
    print(strict_json.dumps(found) if arguments.json else replay.text(found))
    sys.stdout.flush()
    return EXIT_OK if found.compiled_same else EXIT_FAIL_ON


def _compare(arguments: argparse.Namespace) -> int:
    what = [str(w) for w in arguments.what]
    if len(what) not in (2, 3):
        raise UsageError(
            f"compare was given {len(what)} argument{'' if len(what) == 1 else 's'}; "
            "expected LOGDIR NAME NAME, or two directories"
        )
    for path in what[:1] if len(what) == 3 else what:
        _avoid_tensorflow(path)
    from tensorboard.context import RequestContext

    from tb_nanwatch.reading import compare, compare_text
    from tb_nanwatch.reading.causes import Causes
    from tb_nanwatch.reading.reader import Reader

    def place(path: str, where: str) -> compare.Place:
        reader = Reader(make_provider(path))
        return compare.Place(reader, RequestContext(), "", Causes(reader), where)

    if len(what) == 3:
        here = place(what[0], "")
        found = compare.named((here, what[1]), (here, what[2]))
    else:
        found = compare.named(
            (place(what[0], what[0]), None), (place(what[1], what[1]), None)
        )
    if arguments.json:
        print(strict_json.dumps(found))
    else:
        compare_text.render(found, sys.stdout)
    sys.stdout.flush()
    return EXIT_OK


def _report(arguments: argparse.Namespace) -> int:
    _avoid_tensorflow(arguments.logdir)
    # Imported late, so that --help and usage errors are instant.
    from tensorboard.context import RequestContext

    from tb_nanwatch.reading import report, terminal
    from tb_nanwatch.reading.causes import Causes
    from tb_nanwatch.reading.reader import Reader
    from tb_nanwatch.text import clean

    provider = make_provider(arguments.logdir)
    reader, ctx = Reader(provider), RequestContext()
    snapshot = reader.snapshot(ctx, "")
    for sentence in snapshot.warnings:
        print(f"tb-nanwatch: warning: {clean(sentence, 1000)}", file=sys.stderr)
    if not snapshot.sessions:
        raise CannotReadError(
            f"no NaN Watch records in {arguments.logdir!r}. Give the directory that "
            "NanWatch(...) was given, or one above it; if the training has not begun "
            "yet, add callbacks=[NanWatch(LOGDIR)] to fit or search and run it."
        )
    full = report.overview(snapshot, Causes(reader).of(ctx, "", snapshot.sessions))
    if arguments.json:
        print(strict_json.dumps(report.report(full)))
    elif arguments.html:
        _write_page(arguments.html, full, snapshot.sessions)
    else:
        terminal.render(full, sys.stdout)
    sys.stdout.flush()
    if arguments.fail_on is not None:
        limit = schema.STATUSES.index(arguments.fail_on)
        for run in full["runs"]:
            if not run["superseded"] and schema.STATUSES.index(run["status"]) >= limit:
                return EXIT_FAIL_ON
    return EXIT_OK


def _write_page(path: str, full: dict[str, Any], sessions: Sequence[Any]) -> None:
    from tb_nanwatch.reading.page import page

    growth = schema.LANE_SERIES.index("growth")
    lanes = {
        # As the names stand in the overview.
        (strict_json.json_safe(s.run), s.id): (
            s.status.lane_steps.tolist(),
            s.status.lane[:, growth].tolist(),
        )
        for s in sessions
    }
    made = page(full, lanes)
    if path == "-":
        sys.stdout.write(made)
        return
    try:
        with open(os.path.expanduser(path), "w", encoding="utf-8") as f:
            f.write(made)
    except OSError as e:
        raise CannotWriteError(
            f"cannot write the page to {path!r}: {e.strerror or e}; expected the path of "
            "a file in a directory that exists and may be written to"
        ) from e


def make_provider(logdir: str) -> Any:
    """Returns a data provider that holds every NaN Watch record below `logdir`.

    It is TensorBoard's own, without any sampling of our records. Of scalars it keeps
    what the epochs of a long training need; everything else in the log directory is
    sampled down to one point a tag, since it is not read.

    Raises:
        CannotReadError: there is no such directory, or it cannot be read.
    """
    from tb_nanwatch.reading.unwatched import SCALARS_PLUGIN

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
            + (_REMOTE if "://" in logdir else "")
        ) from e
    return tensorboard.provider(multiplexer, logdir)


def _avoid_tensorflow(logdir: str) -> None:
    """Makes TensorBoard use its own file layer in this process.

    Importing TensorFlow takes seconds and is needed only for remote places that
    TensorBoard's layer (local, s3, fsspec) does not know. The module with this name
    is how TensorBoard's builds without TensorFlow ask for that layer.
    """
    if re.match(r"(gs|hdfs|viewfs)://", logdir):
        return
    tensorboard.avoid_tensorflow()


if __name__ == "__main__":
    sys.exit(main())
