# SPDX-License-Identifier: Apache-2.0
"""The table of a search's trials on the HTML page; pure.

The most telling columns come first: the hyperparameters associated with going bad, how each
trial ended, and why. Cells wrap, so that a window of 900 pixels shows all of it.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Final

from tb_nanwatch.reading.contract.runs import RunSummary
from tb_nanwatch.reading.contract.searches import Finding, Rate
from tb_nanwatch.reading.report import lane_svg, told
from tb_nanwatch.reading.report.tables import (
    hparams_of,
    replay_command,
    status_text,
    value_text,
)
from tb_nanwatch.record.schema import BAD_STATUSES, FINITE_STATUSES
from tb_nanwatch.wording import report_text as words
from tb_nanwatch.wording.places import position_text, tensor_text
from tb_nanwatch.wording.text import clean

# Points of a run's lane: (last step, growth) of each.
Lanes = Mapping[tuple[str, str], tuple[list[int], list[float]]]

# Hyperparameters with a column of their own; the others share a column.
_COLUMNS: Final = 2


def text(value: object, limit: int = 200) -> str:
    """Returns a value as one line of text that is safe within an element or attribute."""
    return html.escape(clean(value, limit), quote=True)


def table(
    runs: Sequence[RunSummary],
    lanes: Lanes,
    title: str,
    findings: Sequence[Finding],
    rates: Sequence[Rate],
) -> str:
    """Returns a heading, the legend, the table and remarks on single runs.

    Args:
        runs: of one search.
        lanes: of these runs, by (run, session id).
        title: of the table.
        findings: of the search.
        rates: of the search, by hyperparameter.
    """
    same, names = hparams_of(runs, findings, rates)
    columns, others = names[:_COLUMNS], names[_COLUMNS:]
    steps = max((r.steps for r in runs), default=0)
    axis = words.axis_text(steps)
    head = ["trial", *(text(n, 40) for n in columns), "outcome", "cause", axis, "score"]
    head += ["other values"] if others else []
    rows = [_row(run, lanes, steps, columns, others) for run in runs]
    remarks = "".join(
        f"<li>{text(run.name)}: {text(sentence, 1000)}</li>"
        for run in runs
        for sentence in (*told.remarks_of(run), *(f"damage: {d}" for d in run.damage))
    )
    values = ", ".join(
        f"{clean(n, 40)} = {value_text(runs[0].hparams.get(n))}" for n in same
    )
    alike = f'<p class="soft">The same in all: {text(values, 2000)}.</p>' if same else ""
    return (
        f"<h3>{title}</h3>{_legend()}{alike}"
        f"<table><thead><tr>{''.join(f'<th>{h}</th>' for h in head)}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
        f"{f'<ul>{remarks}</ul>' if remarks else ''}"
    )


def _row(
    run: RunSummary,
    lanes: Lanes,
    steps: int,
    columns: Sequence[str],
    others: Sequence[str],
) -> str:
    score = value_text(run.score)
    tuner = f"<br><small>{text(run.tuner_status)}</small>" if run.tuner_status else ""
    cells = [
        f"<td>{text(_name(run).removeprefix('Trial '), 80)}</td>",
        *(f'<td class="number">{_own_value(run, name)}</td>' for name in columns),
        _outcome(run),
        f'<td class="long">{_cause(run)}</td>',
        f"<td>{_lane(run, lanes, steps)}</td>",
        f'<td class="number">{text(score, 60)}{tuner}</td>',
    ]
    if others:
        values = [
            f"{text(n, 40)} {_own_value(run, n)}" for n in others if n in run.hparams
        ]
        cells.append(f'<td class="long"><small>{", ".join(values)}</small></td>')
    return f"<tr>{''.join(cells)}</tr>"


def _outcome(run: RunSummary) -> str:
    bad = run.status in BAD_STATUSES
    parts = [text(status_text(run))]
    if bad and run.onset:
        parts.append(f"<small>{text(position_text(run.onset))}</small>")
    if bad and run.origin:
        parts.append(f"<small>{text(tensor_text(run.origin))}</small>")
    kind = "bad" if bad else text(run.status)
    return f'<td class="long s-{kind}">{"<br>".join(parts)}</td>'


def _cause(run: RunSummary) -> str:
    """Returns the likeliest cause, the operation with its line, and how to run it again."""
    if run.status not in BAD_STATUSES:
        return "-"
    answer, found = run.answer, run.postmortem
    parts = []
    if answer:
        sure = f" ({answer.sure})" if answer.sure else ""
        parts.append(text(f"{answer.cause}{sure}"))
    if found and found.op:
        source = found.source
        line = f" at {source.file}:{source.line}" if source else ""
        parts.append(f"<code>{text(found.op + line)}</code>")
    command = replay_command(run)
    if command:
        parts.append(f"<code>{text(command, 500)}</code>")
    return "<br>".join(parts) or "-"


def _legend() -> str:
    keys = "".join(
        f'<span><svg width="14" height="10" aria-hidden="true"><rect class="g{i}" '
        f'width="14" height="10"/></svg>{label}</span> '
        for i, label in enumerate(lane_svg.LABELS)
    )
    return (
        f'<p class="soft legend">{words.COLOUR}{keys} '
        '<span><svg width="14" height="14" aria-hidden="true"><path class="cross" '
        'd="M3 3l8 8m0-8l-8 8"/></svg>the first bad step.</span> '
        f'<span><svg width="20" height="14" aria-hidden="true">{lane_svg.lost(0, 20)}</svg>'
        f"{words.TRAINED_ON_BAD}</span></p>"
    )


def _lane(run: RunSummary, lanes: Lanes, steps: int) -> str:
    ends, growth = lanes.get((run.run, run.session), ([], []))
    bad = run.status in BAD_STATUSES
    onset = run.onset.step if run.onset and bad else None
    said = words.lane_text(run.steps, onset)
    finite = run.status in FINITE_STATUSES
    return lane_svg.lane(ends, growth, steps, onset, text(said), finite)


def _name(run: RunSummary) -> str:
    name = run.name
    if run.attempt:
        name += f" {run.attempt}"
    if run.lineage_text:
        name += f", {run.lineage_text}"
    return name


def _own_value(run: RunSummary, name: str) -> str:
    return text(value_text(run.hparams.get(name)), 60)
