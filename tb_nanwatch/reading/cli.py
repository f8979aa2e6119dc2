# SPDX-License-Identifier: Apache-2.0
"""The command `tb-nanwatch`."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from tb_nanwatch import __version__
from tb_nanwatch.errors import NanWatchError
from tb_nanwatch.reading import model_name
from tb_nanwatch.record import metadata, schema, strict_json

EXIT_OK: Final = 0
EXIT_FAIL_ON: Final = 1
EXIT_ERROR: Final = 2

# "clean" and "unwatched" would fail every run there is.
_FAIL_ON: Final = tuple(s for s in schema.STATUSES if s not in ("unwatched", "clean"))


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
    _add_report(commands)
    _add_compare(commands)
    _add_replay(commands)
    return parser


def _add_report(commands: Any) -> None:
    report = commands.add_parser(
        "report", help="print what NaN Watch recorded in a log directory"
    )
    report.add_argument("logdir", help="as given to tensorboard --logdir")
    output = report.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print JSON")
    output.add_argument(
        "--markdown",
        action="store_true",
        help="print the answers alone, as Markdown: for an issue, a chat, or "
        '>> "$GITHUB_STEP_SUMMARY"',
    )
    output.add_argument(
        "--html",
        metavar="FILE",
        help="write one self-contained page to FILE instead, for mailing; - is the "
        "standard output",
    )
    report.add_argument(
        "--all", action="store_true", help="print every trial, and all that is known"
    )
    report.add_argument(
        "--with-data",
        action="store_true",
        help="tell values of single rows of data in JSON, Markdown and HTML too, which "
        "leave them out",
    )
    report.add_argument(
        "--fail-on",
        metavar="STATUS",
        type=lambda status: status.strip().replace(" ", "_"),
        choices=_FAIL_ON,
        help="exit with 1 if any trial has this status or a worse one; one of "
        + ", ".join(_FAIL_ON),
    )


def _add_compare(commands: Any) -> None:
    compare = commands.add_parser(
        "compare",
        help="print what two runs, or two searches, differ in",
        usage="tb-nanwatch compare [-h] [--json] LOGDIR NAME NAME\n"
        "       tb-nanwatch compare [-h] [--json] DIRECTORY DIRECTORY\n"
        "       tb-nanwatch compare [-h] [--json] LOGDIR",
        description="Compares a run that works with one that went bad, or a search "
        "before an edit of its space with the one after it.",
    )
    compare.add_argument(
        "what",
        nargs="+",
        metavar="LOGDIR NAME NAME | DIRECTORY DIRECTORY | LOGDIR",
        help="a log directory and the names of two runs, trials or searches in it, with "
        "SEARCH: before a trial or run that several searches have; or two directories "
        "that hold one run, or one search, each; or a log directory alone, for its newest "
        "search and the older one of the same project",
    )
    compare.add_argument("--json", action="store_true", help="print JSON")


def _add_replay(commands: Any) -> None:
    replay = commands.add_parser(
        "replay",
        help="run the one failing step of a capsule again and name operation and line",
        description="Exits with 0 where the step went bad again in the same tensor with "
        "the same counts, with 1 where it did not, and with 2 where it could not be run.",
    )
    replay.add_argument("capsule", help="the capsule's directory, or its run's")
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


def _replay(arguments: argparse.Namespace) -> int:
    # Errors in the arguments are reported before seconds go into importing.
    capsule = _capsule_at(arguments.capsule)
    if arguments.model is not None:
        model_name.check(arguments.model)
    # Needs Keras and its backend, as no other command does.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from tb_nanwatch import replay

    found = replay.replay(capsule, arguments.model, arguments.attempt)
    print(strict_json.dumps(found) if arguments.json else replay.text(found))
    sys.stdout.flush()
    return EXIT_OK if found.compiled_same else EXIT_FAIL_ON


def _capsule_at(path: str) -> str:
    """Returns the capsule's directory that a path means: it, or that of its run."""
    place = os.path.expanduser(path)
    for directory in (place, os.path.join(place, metadata.CAPSULE)):
        if os.path.isfile(os.path.join(directory, metadata.CAPSULE_HEADER)):
            return directory
    what = "does not exist"
    if os.path.isdir(place):
        what = "holds no capsule"
    elif os.path.exists(place):
        what = "is a file"
    raise UsageError(
        f"{path!r} {what}; expected the directory {metadata.CAPSULE} that a run which went "
        "bad leaves beside its event file, or the run's directory. tb-nanwatch report "
        "LOGDIR --all prints the command of each run that has one"
    )


def _compare(arguments: argparse.Namespace) -> int:
    what = [str(w) for w in arguments.what]
    if len(what) not in (1, 2, 3):
        raise UsageError(
            f"compare was given {len(what)} arguments; expected LOGDIR NAME NAME, two "
            "directories, or LOGDIR alone for its newest search and the one before it"
        )
    from tb_nanwatch.reading.report import logs

    for path in what[:1] if len(what) == 3 else what:
        logs.avoid_tensorflow(path)
    from tensorboard.context import RequestContext

    from tb_nanwatch.reading.comparison import compare, compare_text
    from tb_nanwatch.reading.contract.comparisons import RunComparison, SearchComparison
    from tb_nanwatch.reading.log.causes import Causes
    from tb_nanwatch.reading.log.reader import Reader

    def place(path: str, where: str) -> compare.ComparedLog:
        reader = Reader(logs.make_provider(path))
        return compare.ComparedLog(reader, RequestContext(), "", Causes(reader), where)

    if len(what) == 1:
        found: RunComparison | SearchComparison = compare.newest(place(what[0], ""))
    elif len(what) == 3:
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
    # Imported late, so that --help and usage errors are instant.
    from tb_nanwatch.reading.log import progress
    from tb_nanwatch.reading.report import logs, shown, terminal
    from tb_nanwatch.wording.text import clean

    # Arguments about printing are used here; all others are passed on.
    printed = not (arguments.json or arguments.html or arguments.markdown)
    logs.avoid_tensorflow(arguments.logdir)
    with progress.bar(sys.stderr) as tell:
        found = logs.read(
            arguments.logdir, with_data=printed or arguments.with_data, tell=tell
        )
    for sentence in found.full.warnings:
        print(f"tb-nanwatch: warning: {clean(sentence, 1000)}", file=sys.stderr)
    told = shown.Report(found)
    if arguments.json:
        print(strict_json.dumps(told.to_dict()))
    elif arguments.markdown:
        print(told.markdown, end="")
    elif arguments.html == "-":
        sys.stdout.write(told.page())
    elif arguments.html:
        told.save(arguments.html)
    else:
        terminal.render(found.full, sys.stdout, every=arguments.all)
    sys.stdout.flush()
    if arguments.fail_on is not None:
        limit = schema.STATUSES.index(arguments.fail_on)
        for run in found.full.runs:
            if not run.superseded and schema.STATUSES.index(run.status) >= limit:
                return EXIT_FAIL_ON
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
