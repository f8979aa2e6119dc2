"""The runs of a search as a table for terminals, with what matters most in it.

Of the hyperparameters, those come first that go with going bad; those that do not
fit into the terminal's width are left to a line below, those that all runs share too.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any, Final

from tb_nanwatch.diagnosis import position_text, tensor_text
from tb_nanwatch.schema import BAD_STATUSES, BadTensor, Position
from tb_nanwatch.text import clean, shell_word

# Columns of a text that goes into a file or a pipe.
_PLAIN_WIDTH: Final = 160
# So many hyperparameters are shown, however narrow the terminal is: rich folds them.
_MIN_VALUES: Final = 2


@dataclass
class Table:
    """Rows of cells, the heading first, and lines to be printed below.

    Attributes:
        rows: each of the same length.
        bad: for each row but the heading, whether the run went bad.
        notes: on hyperparameters that have no column.
    """

    rows: list[list[str]]
    bad: list[bool]
    notes: list[str]


def table_of(
    runs: Sequence[dict[str, Any]],
    findings: Sequence[dict[str, Any]],
    rates: Sequence[dict[str, Any]],
    width: int,
) -> Table:
    """Returns the runs of one search as a table.

    Args:
        runs: entries of an overview.
        findings: of the search.
        rates: of the search, by hyperparameter.
        width: of the terminal, in characters.
    """
    head = ["trial", "status", "first bad step", "first bad tensor", "cause"]
    rows = [head, *[_first_columns(run) for run in runs]]
    tails = [["score", "KerasTuner"], *[_last_columns(run) for run in runs]]
    if all(tail == ["-", "-"] for tail in tails[1:]):
        tails = [[] for _ in tails]  # no tuner, nothing to set beside ours
    for i in (4, 3, 2):
        if all(row[i] == "-" for row in rows[1:]):
            rows = [row[:i] + row[i + 1 :] for row in rows]
    same, names = hparams_of(runs, findings, rates)
    left = width - _width([a + b for a, b in zip(rows, tails, strict=True)])
    shown = 0
    for name in names:
        column = [clean(name, 40), *[_value_of(run, name) for run in runs]]
        left -= _width([[cell] for cell in column]) - 3
        if left < 0 and shown >= _MIN_VALUES:
            break
        rows = [[*row, cell] for row, cell in zip(rows, column, strict=True)]
        shown += 1
    notes = []
    if same:
        values = ", ".join(f"{clean(n, 40)}={_value_of(runs[0], n)}" for n in same)
        notes.append(f"The same in all: {values}.")
    if names[shown:]:
        rest = ", ".join(clean(n, 40) for n in names[shown:])
        notes.append(f"Without a column here, for want of width: {rest}.")
    rows = [[*row, *tail] for row, tail in zip(rows, tails, strict=True)]
    return Table(rows, [run["status"] in BAD_STATUSES for run in runs], notes)


def hparams_of(
    runs: Sequence[dict[str, Any]],
    findings: Sequence[dict[str, Any]],
    rates: Sequence[dict[str, Any]],
) -> tuple[list[str], list[str]]:
    """Returns the hyperparameters that all runs have the same value of, and the others.

    The others come in order of how much they go with going bad.
    """
    same, names = _names(runs)
    return same, _by_weight(names, findings, rates)


def _names(runs: Sequence[dict[str, Any]]) -> tuple[list[str], list[str]]:
    names: list[str] = []
    for run in runs:
        names += [n for n in (*run["hparams"], *run["inactive"]) if n not in names]
    same = []
    if len(runs) > 1:
        for name in names:
            values = {json.dumps(r["hparams"].get(name, [])) for r in runs}
            if len(values) == 1:
                same.append(name)
    return same, [n for n in names if n not in same]


def _by_weight(
    names: Sequence[str],
    findings: Sequence[dict[str, Any]],
    rates: Sequence[dict[str, Any]],
) -> list[str]:
    """Returns the names in order of how much they go with going bad."""
    found: list[str] = []
    for finding in findings:
        words = re.split(r" and | (?:>=|<=|=|in) ", finding["condition"])
        found += [finding["hparam"], *words]

    def spread(name: str) -> float:
        shares = [
            r["bad"] / r["total"] for r in rates if r["hparam"] == name and r["total"]
        ]
        return max(shares) - min(shares) if shares else 0.0

    return sorted(
        names, key=lambda n: (found.index(n) if n in found else len(found), -spread(n))
    )


def _value_of(run: dict[str, Any], name: str) -> str:
    return _value(run["hparams"][name]) if name in run["hparams"] else "-"


def _first_columns(run: dict[str, Any]) -> list[str]:
    name = clean(run["run"] if run["trial_id"] is None else run["trial_id"], 60)
    if run["number"] is not None:  # what KerasTuner prints; ids begin at 0
        name += f" (Trial #{run['number']})"
    if run["attempt"]:
        name += f" {run['attempt']}"
    name += _lineage_text(run["lineage"])
    onset = run["onset"]
    bad = run["status"] in BAD_STATUSES
    return [
        name,
        status_text(run),
        position_text(Position(**onset)) if onset and bad else "-",
        _origin_text(run["origin"]) if run["origin"] and bad else "-",
        _cause_text(run["causes"][0]) if run["causes"] else "-",
    ]


def _cause_text(cause: dict[str, Any]) -> str:
    sure = f" ({cause['sure']})" if cause["id"] != "unknown" else ""
    return clean(str(cause["id"]).replace("_", " "), 40) + sure


def _lineage_text(lineage: dict[str, Any] | None) -> str:
    """Returns " bracket 1 round 0, continues 0003" for a trial of Hyperband."""
    if not lineage:
        return ""
    parts = []
    if lineage["bracket"] is not None and lineage["round"] is not None:
        parts.append(f" bracket {lineage['bracket']} round {lineage['round']}")
    if lineage["trial_id"] is not None:
        parts.append(f" continues {clean(lineage['trial_id'], 40)}")
    return ",".join(parts)


def _last_columns(run: dict[str, Any]) -> list[str]:
    verdict = clean(run["tuner_status"] or "-", 40)
    return [_value(run["score"]), verdict]


def replay_command(found: dict[str, Any] | None) -> str:
    """Returns the command that runs a capsule's step again, "" where there is no capsule.

    Args:
        found: the run's post-mortem.
    """
    if not found or not found["capsule"]:
        return ""
    # The model's own code is not in the capsule.
    model = " --model FILE.py:build" if found["own_code"] else ""
    return f"tb-nanwatch replay {shell_word(found['capsule'])}{model}"


def status_text(run: dict[str, Any]) -> str:
    """Returns the status as users read it, with the state where it matters."""
    text = str(run["status"]).replace("_", " ")
    if run["state"] == "running":
        text = "clean so far" if text == "clean" else f"{text}, running"
    elif run["state"] == "failed":
        error = f": {clean(run['error_type'], 40)}" if run["error_type"] else ""
        text += f", failed{error}"
    elif run["state"] == "interrupted":
        text += ", interrupted"
    if run["misread"]:
        text += ", scored anyway"
    return text


def _origin_text(origin: dict[str, Any]) -> str:
    fields = {k: origin[k] for k in BadTensor.__dataclass_fields__}
    fields["name"] = clean(origin["name"], 80)
    return tensor_text(BadTensor(**fields))


def _value(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, str):
        return clean(value, 40)
    return clean(json.dumps(value), 40)


# --- Drawing -----------------------------------------------------------------------


def is_terminal(out: IO[str]) -> bool:
    """Returns whether someone looks at `out` as it is written."""
    try:
        return out.isatty()
    except (AttributeError, ValueError):
        return False


def width_of(out: IO[str]) -> int:
    """Returns how many characters go into a line of `out`."""
    if not is_terminal(out):
        return _PLAIN_WIDTH
    return shutil.get_terminal_size((120, 24)).columns


def draw(table: Table, out: IO[str]) -> None:
    """Prints a table: one of the library rich where `out` is a terminal and it is there."""
    if is_terminal(out):
        _rich(table.rows, table.bad, out)
    else:
        _plain(table.rows, out)
    for note in table.notes:
        print(f"  {note}", file=out)


def _width(rows: list[list[str]]) -> int:
    # As rich draws it: two spaces of padding and a line for each column.
    return sum(max(map(len, column)) + 3 for column in zip(*rows, strict=True)) + 3


def _plain(rows: list[list[str]], out: IO[str]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(("  " + "  ".join(cells)).rstrip(), file=out)


def _rich(rows: list[list[str]], bad: list[bool], out: IO[str]) -> None:
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        _plain(rows, out)
        return
    table = Table(box=None, pad_edge=True)
    for name in rows[0]:
        table.add_column(Text(name), overflow="fold")
    for row, is_bad in zip(rows[1:], bad, strict=True):
        # Text, never markup: a name may hold square brackets.
        cells = [Text(cell) for cell in row]
        if is_bad:
            cells[1].stylize("bold red")
        table.add_row(*cells)
    Console(file=out, highlight=False).print(table)
