# SPDX-License-Identifier: Apache-2.0
"""The runs of a search as a table for terminals, with what matters most in it.

Hyperparameters associated with going bad come first. A line below the table lists those that
do not fit into the terminal's width, and those that all runs share.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import IO, Final

from tb_nanwatch.reading.contract.runs import NamedCause, RunSummary
from tb_nanwatch.reading.contract.searches import Finding, Rate
from tb_nanwatch.reading.log.progress import is_terminal
from tb_nanwatch.record.schema import BAD_STATUSES
from tb_nanwatch.record.strict_json import json_safe
from tb_nanwatch.wording.card import wrapped
from tb_nanwatch.wording.places import short_text, tensor_text
from tb_nanwatch.wording.report_text import no_column_text
from tb_nanwatch.wording.statuses import outcome_text
from tb_nanwatch.wording.text import clean, shell_word

# Columns of a text that goes into a file or a pipe.
_PLAIN_WIDTH: Final = 80
# So many hyperparameters are shown, however narrow the terminal is.
_MIN_VALUES: Final = 1
# Of those that are blamed so many: two make a condition.
_MAX_BLAMED: Final = 2
_MAX_NAME: Final = 32


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
    runs: Sequence[RunSummary],
    findings: Sequence[Finding],
    rates: Sequence[Rate],
    width: int,
    every: bool = True,
) -> Table:
    """Returns the runs of one search as a table.

    Args:
        runs: of the search.
        findings: of the search.
        rates: of the search, by hyperparameter.
        width: of the terminal, in characters.
        every: whether it is said what has no column.
    """
    same, names = _names(runs)
    blamed = _blamed(findings)
    # A hyperparameter to blame is shown, although all bad trials may share its value.
    names = _by_weight([*names, *(n for n in same if n in blamed)], blamed, rates)
    facts = {title: [cell(run, runs) for run in runs] for title, cell in _FACTS.items()}
    facts = {t: cells for t, cells in facts.items() if any(c != "-" for c in cells)}
    if not every and len({*facts.get("cause", ())}) == 1:
        del facts["cause"]  # the search's answer names it
    values = {clean(n, 40): [_value_of(run, n) for run in runs] for n in names}
    # The first of these are there at any width, the others as far as they fit.
    least = min(max(_MIN_VALUES, sum(n in blamed for n in names)), _MAX_BLAMED)
    wanted = [t for t in _ALWAYS if t in facts] + list(values)[:least]
    must = len(wanted)
    wanted += [t for t in ("cause", "score") if t in facts]
    wanted += list(values)[_MIN_VALUES:]
    wanted += [t for t in ("first bad tensor", "KerasTuner") if t in facts]
    columns = facts | values
    left, shown = width, set()
    for i, title in enumerate(wanted):
        left -= _width([title, *columns[title]])
        if left < 0 and i >= must:
            left += _width([title, *columns[title]])
            continue
        shown.add(title)
    order = [t for t in facts if t not in _LAST] + list(values)
    order = [t for t in [*order, *(t for t in _LAST if t in facts)] if t in shown]
    notes = []
    if every and same:
        told = ", ".join(f"{clean(n, 40)}={_value_of(runs[0], n)}" for n in same)
        notes.append(f"The same in all: {told}.")
    rest = [name for name in values if name not in shown]
    if every and rest:
        notes.append(no_column_text(rest))
    rows = [order, *(list(row) for row in zip(*(columns[t] for t in order), strict=True))]
    return Table(rows, [run.status in BAD_STATUSES for run in runs], notes)


def hparams_of(
    runs: Sequence[RunSummary],
    findings: Sequence[Finding],
    rates: Sequence[Rate],
) -> tuple[list[str], list[str]]:
    """Returns the hyperparameters with one value in all runs, and the other ones.

    The others come in order of how much they go with going bad.
    """
    same, names = _names(runs)
    return same, _by_weight(names, _blamed(findings), rates)


def _names(runs: Sequence[RunSummary]) -> tuple[list[str], list[str]]:
    names: list[str] = []
    for run in runs:
        names += [n for n in (*run.hparams, *run.inactive) if n not in names]
    same = []
    if len(runs) > 1:
        for name in names:
            values = {json.dumps(r.hparams.get(name, [])) for r in runs}
            if len(values) == 1:
                same.append(name)
    return same, [n for n in names if n not in same]


def _blamed(findings: Sequence[Finding]) -> list[str]:
    """Returns the hyperparameters that findings are about."""
    found: list[str] = []
    for finding in findings:
        words = re.split(r" and | (?:>=|<=|=|in) ", finding.condition)
        found += [finding.hparam, *words]
    return found


def _by_weight(
    names: Sequence[str], blamed: Sequence[str], rates: Sequence[Rate]
) -> list[str]:
    """Returns the names, those most strongly associated with going bad first."""

    def spread(name: str) -> float:
        shares = [r.bad / r.total for r in rates if r.hparam == name and r.total]
        return max(shares) - min(shares) if shares else 0.0

    return sorted(
        names,
        key=lambda n: (blamed.index(n) if n in blamed else len(blamed), -spread(n)),
    )


def _value_of(run: RunSummary, name: str) -> str:
    return value_text(run.hparams[name]) if name in run.hparams else "-"


def _name_of(run: RunSummary, runs: Sequence[RunSummary]) -> str:
    name = clean(run.name, _MAX_NAME).removeprefix("Trial ")
    if run.trial_id is None and len(run.name) > _MAX_NAME:
        name = f"…{clean(run.name)[1 - _MAX_NAME :]}"  # its end tells it from others
    if run.attempt:
        name += f" {run.attempt}"
    lineage = clean(run.lineage_text, 80)
    return f"{name} {lineage}" if lineage else name


def _step_of(run: RunSummary, runs: Sequence[RunSummary]) -> str:
    if not run.onset or run.status not in BAD_STATUSES:
        return "-"
    return short_text(run.onset)


def _tensor_of(run: RunSummary, runs: Sequence[RunSummary]) -> str:
    if run.origin is None or run.status not in BAD_STATUSES:
        return "-"
    return tensor_text(replace(run.origin, name=clean(run.origin.name, 80)))


def _cause_of(run: RunSummary, runs: Sequence[RunSummary]) -> str:
    return _cause_text(run.causes[0]) if run.causes else "-"


def _cause_text(cause: NamedCause) -> str:
    sure = f" ({cause.sure})" if cause.id != "unknown" else ""
    return clean(cause.label, 40) + sure


def replay_command(run: RunSummary) -> str:
    """Returns the command that runs a run's failing step again, "" where it has no capsule."""
    found = run.postmortem
    if not found or not found.capsule:
        return ""
    command = f"tb-nanwatch replay {shell_word(found.capsule)}"
    if not found.own_code:
        return command
    # The model's own code is not in the capsule.
    source = found.source
    return (
        f"{command} --model {shell_word(source.file) if source else 'FILE.py'}:FUNCTION"
    )


def status_text(run: RunSummary) -> str:
    """Returns a run's status as users read it, with the state where it matters."""
    error = clean(run.error_type or "", 40)
    return outcome_text(run.status, run.state, error, bool(run.misread))


def value_text(value: object) -> str:
    """Returns a value as a table shows it."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.5g}" if math.isfinite(value) else str(json_safe(value))
    return clean(value if isinstance(value, str | bool) else json.dumps(value), 40)


# --- Drawing -----------------------------------------------------------------------


def width_of(out: IO[str]) -> int:
    """Returns how many characters go into a line of `out`."""
    if not is_terminal(out):
        return _PLAIN_WIDTH
    return shutil.get_terminal_size((120, 24)).columns


def draw(table: Table, out: IO[str]) -> None:
    """Prints a table; bad runs are red where `out` is a terminal and rich is installed."""
    if is_terminal(out):
        _coloured(table, out)
    else:
        print(*_lines(table.rows), sep="\n", file=out)
    for note in table.notes:
        print(*wrapped(note, "  ", "    "), sep="\n", file=out)


def _width(column: Sequence[str]) -> int:
    return max(map(len, column)) + 2


def _lines(rows: list[list[str]]) -> list[str]:
    widths = [_width(column) - 2 for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def _coloured(table: Table, out: IO[str]) -> None:
    try:
        from rich.console import Console
        from rich.text import Text
    except ImportError:
        print(*_lines(table.rows), sep="\n", file=out)
        return
    console = Console(file=out, highlight=False, soft_wrap=True)
    for i, line in enumerate(_lines(table.rows)):
        # Text, never markup: a name may hold square brackets.
        shown = Text(line)
        if not i:
            shown.stylize("bold")
        elif table.bad[i - 1]:
            begin = line.find(table.rows[i][1], len(table.rows[i][0]) + 2)
            shown.stylize("bold red", begin, begin + len(table.rows[i][1]))
        console.print(shown)


_FACTS: Final[dict[str, Callable[[RunSummary, Sequence[RunSummary]], str]]] = {
    "trial": _name_of,
    "status": lambda run, _: status_text(run),
    "first bad step": _step_of,
    "first bad tensor": _tensor_of,
    "cause": _cause_of,
    "score": lambda run, _: value_text(run.score),
    "KerasTuner": lambda run, _: clean(run.tuner_status or "-", 40),
}
# Without a tuner there is nothing to set beside ours.
_LAST: Final = ("score", "KerasTuner")
_ALWAYS: Final = ("trial", "status", "first bad step")
