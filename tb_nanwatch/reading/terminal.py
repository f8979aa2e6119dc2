"""The report in a terminal: a rich table where there is one, aligned text elsewhere.

Names and messages come from event files that anyone may have written: every one
goes through `clean` before it reaches the terminal.
"""

from __future__ import annotations

import json
import shutil
from typing import IO, Any

from tb_nanwatch.diagnosis import position_text, tensor_text
from tb_nanwatch.schema import BAD_STATUSES, BadTensor, Position
from tb_nanwatch.text import clean


def render(full: dict[str, Any], out: IO[str]) -> None:
    """Prints an overview (`report.overview`) for people.

    Args:
        full: the overview.
        out: where to; a table of the library rich is used if it is a terminal and
            rich is installed.
    """
    table = _rich_table if _is_terminal(out) else _plain_table
    for search in full["searches"]:
        runs = [r for r in full["runs"] if r["search"] == search["search"]]
        shown = [r for r in runs if not r["superseded"]]
        print(_title(search), file=out)
        print(f"  {clean(search['verdict'], 1000)}", file=out)
        for finding in full["findings"]:
            if finding["search"] == search["search"]:
                _print_finding(finding, out)
        if search["cost"] and search["cost"]["text"]:
            print(f"  {clean(search['cost']['text'], 1000)}", file=out)
        _print_causes(shown, out)
        if search["aborted"]:
            _print_aborted(search["aborted"], out)
        rows, bad = _rows(shown, out)
        table(rows, bad, out)
        replaced = len(runs) - len(shown)
        if replaced:
            print(
                f"  {replaced} earlier attempt{'s' if replaced > 1 else ''} of these "
                "trials not shown; the latest decides.",
                file=out,
            )
        for run in shown:
            for sentence in _remarks(run):
                print(f"  {clean(run['run'])}: {clean(sentence, 1000)}", file=out)
            for sentence in run["damage"]:
                print(f"  Damage in {clean(run['run'])}: {clean(sentence)}", file=out)
        print(file=out)


def _is_terminal(out: IO[str]) -> bool:
    try:
        return out.isatty()
    except (AttributeError, ValueError):
        return False


def _title(search: dict[str, Any]) -> str:
    if not search["search"]:
        return "Runs without a search"
    parts = [clean(search["name"]) or "Search", clean(search["tuner"])]
    if search["objective"]:
        parts.append(f"objective {clean(search['objective'])}")
    parts.append(clean(search["search"], 40))
    return ", ".join(filter(None, parts))


def _print_finding(finding: dict[str, Any], out: IO[str]) -> None:
    print(f"  Finding: {clean(finding['text'], 2000)}", file=out)
    for line in finding["edit"].splitlines():
        indent = " " * (len(line) - len(line.lstrip(" ")))
        print(f"    {indent}{clean(line, 2000)}", file=out)


def _print_causes(runs: list[dict[str, Any]], out: IO[str]) -> None:
    """Prints each cause with its fix once, and which trials it was found in."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in runs:
        for cause in run["causes"][:1]:
            found.setdefault((cause["id"], cause["fix"]), []).append(run)
    for (cause_id, fix), those in found.items():
        trials = dict.fromkeys(clean(r["trial_id"] or r["run"], 40) for r in those)
        cause = max((r["causes"][0] for r in those), key=lambda c: float(c["confidence"]))
        sure = f" ({cause['confidence']:.2f})" if cause["confidence"] else ""
        name = clean(cause_id.replace("_", " "))
        print(
            f"  Cause in {', '.join(trials)}: {name}{sure}. Fix: {clean(fix, 1000)}",
            file=out,
        )
        for sentence in cause["evidence"][1:4]:  # the first says where, as the row does
            print(f"    {clean(sentence, 500)}", file=out)


def _print_aborted(aborted: dict[str, Any], out: IO[str]) -> None:
    trials = ", ".join(clean(t, 40) for t in aborted["trials"])
    print(f"  The search was aborted: {clean(aborted['message'])}", file=out)
    if trials:
        print(f"  Trials in a row that failed: {trials}", file=out)
    for trial, reason in zip(aborted["trials"], aborted["reasons"], strict=True):
        print(f"    {clean(trial, 40)}: {clean(reason, 300)}", file=out)
    print(f"  What to do: {clean(aborted['fix'], 1000)}", file=out)


def _remarks(run: dict[str, Any]) -> list[str]:
    """Returns what is to be said of a run beside its row, a sentence each."""
    remarks = [run["misread_text"]] if run["misread_text"] else []
    remarks += _postmortem(run["postmortem"])
    lineage = run["lineage"]
    if lineage and lineage["trial_id"] is not None and run["inherited"]:
        bad = run["inherited"].replace("_", " ")
        remarks.append(
            f"its weights come from trial {lineage['trial_id']}, which had gone bad "
            f"({bad})."
        )
    return remarks + [scalar["text"] for scalar in run["scalars"]]


def _postmortem(found: dict[str, Any] | None) -> list[str]:
    if not found:
        return []
    if not found["text"]:
        return [f"the step was run again. {found['reason']}"] if found["reason"] else []
    source = found["source"]
    line = f" (the line: {source['text']})" if source and source["text"] else ""
    return [f"the first bad tensor comes from {found['text']}{line}."]


def _rows(runs: list[dict[str, Any]], out: IO[str]) -> tuple[list[list[str]], list[bool]]:
    """Returns the table's rows, the heading first, and which of them went bad."""
    head = ["trial", "status", "first bad step", "first bad tensor"]
    tail = ["score", "KerasTuner"]
    names: list[str] = []
    for run in runs:
        names += [n for n in (*run["hparams"], *run["inactive"]) if n not in names]
    fixed = []
    values = []
    for run in runs:
        fixed.append((_first_columns(run, runs), _last_columns(run)))
        values.append(
            [_value(run["hparams"][n]) if n in run["hparams"] else "-" for n in names]
        )
    columns = [clean(n, 40) for n in names]
    rows = [[*head, *columns, *tail]]
    rows += [[*a, *v, *b] for (a, b), v in zip(fixed, values, strict=True)]
    if names and _width(rows) > _terminal_width(out):
        # One column for all values keeps the lines of a wide search in one piece.
        rows = [[*head, "values", *tail]]
        for run, (a, b) in zip(runs, fixed, strict=True):
            pairs = [f"{clean(n, 40)}={_value(x)}" for n, x in run["hparams"].items()]
            rows.append([*a, ", ".join(pairs) or "-", *b])
    if all(row[-2:] == ["-", "-"] for row in rows[1:]):
        rows = [row[:-2] for row in rows]  # no tuner, nothing to set beside ours
    return rows, [run["status"] in BAD_STATUSES for run in runs]


def _first_columns(run: dict[str, Any], runs: list[dict[str, Any]]) -> list[str]:
    name = clean(run["run"] if run["trial_id"] is None else run["trial_id"], 60)
    siblings = sum(
        r["trial_id"] == run["trial_id"] for r in runs if r["trial_id"] is not None
    )
    if siblings > 1:
        name += f" exec {run['execution'] + 1}/{siblings}"
    if run["retry"]:
        name += f" retry {run['retry']}"
    name += _lineage_text(run["lineage"])
    if run["number"] is not None:  # what KerasTuner prints; ids begin at 0
        name += f" (Trial #{run['number']})"
    onset = run["onset"]
    bad = run["status"] in BAD_STATUSES
    return [
        name,
        status_text(run),
        position_text(Position(**onset)) if onset and bad else "-",
        _origin_text(run["origin"]) if run["origin"] and bad else "-",
    ]


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


# --- Tables -----------------------------------------------------------------------


def _width(rows: list[list[str]]) -> int:
    # As rich draws it: two spaces of padding and a line for each column.
    return sum(max(map(len, column)) + 3 for column in zip(*rows, strict=True)) + 3


def _terminal_width(out: IO[str]) -> int:
    return shutil.get_terminal_size((120, 24)).columns if _is_terminal(out) else 160


def _plain_table(rows: list[list[str]], bad: list[bool], out: IO[str]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(("  " + "  ".join(cells)).rstrip(), file=out)


def _rich_table(rows: list[list[str]], bad: list[bool], out: IO[str]) -> None:
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        _plain_table(rows, bad, out)
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
