"""The report as one page that can be mailed: no script, no request, no other file.

Names and messages come from event files that anyone may have written: each goes
through `text`, which leaves one line of escaped characters. The page's own policy
forbids scripts and requests as well, should anything ever slip through.
"""

from __future__ import annotations

import html
import time
from collections.abc import Mapping
from typing import Any, Final

from tb_nanwatch import __version__, card
from tb_nanwatch.diagnosis import position_text, tensor_text
from tb_nanwatch.reading import lane_svg, told
from tb_nanwatch.reading.same_cause import same_causes
from tb_nanwatch.reading.tables import status_text
from tb_nanwatch.row_values import LEFT_OUT, NOTE
from tb_nanwatch.schema import BAD_STATUSES, BadTensor, Position
from tb_nanwatch.text import clean
from tb_nanwatch.trial_names import number_of, run_name, trial_name

# Points of a run's lane: (last step, growth) of each.
Lanes = Mapping[tuple[str, str], tuple[list[int], list[float]]]

_LONG: Final = 2000

_STYLE: Final = """
:root { color-scheme: light dark; --text: #1d2129; --soft: #5b6472; --line: #d9dde3;
  --back: #fff; --panel: #f5f6f8; --bad: #b3261e; --good: #1e6b34; --warn: #8a5a00;
  --g0: #cfe0ea; --g1: #f3dca0; --g2: #eeb866; --g3: #e08a3c; --g4: #c9542b; --g5: #8f1d1d; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e7ec; --soft: #a0a8b5;
  --line: #3a404a; --back: #16181d; --panel: #20242b; --bad: #ff9a90; --good: #85d69b;
  --warn: #eebf66; --g0: #33505f; --g1: #75632f; --g2: #99701f; --g3: #bf7526;
  --g4: #db653c; --g5: #ff8f85; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 24px; max-width: 1280px; background: var(--back);
  color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 22px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 0; }
h3 { font-size: 15px; margin: 20px 0 6px; } p { margin: 6px 0; max-width: 95ch; }
section { border-top: 1px solid var(--line); margin-top: 28px; padding-top: 20px; }
.soft { color: var(--soft); font-size: 13px; }
.note { border-left: 4px solid var(--warn); padding: 2px 12px; background: var(--panel); }
article { border-left: 4px solid var(--line); padding: 2px 12px; margin: 10px 0; }
article.bad { border-color: var(--bad); }
pre { background: var(--panel); padding: 10px 12px; overflow-x: auto; font-size: 13px; }
ul { margin: 4px 0; padding-left: 22px; } .table { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; width: 100%; }
th, td { text-align: left; padding: 4px 10px 4px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; white-space: nowrap; } th { color: var(--soft); font-weight: 600; }
td.long { white-space: normal; min-width: 16ch; } td.number { font-variant-numeric: tabular-nums; }
.s-bad { color: var(--bad); font-weight: 600; } .s-clean { color: var(--good); }
.s-contained { color: var(--warn); }
svg.lane { display: block; margin-top: 3px; }
.cross { stroke: var(--text); stroke-width: 2; fill: none; }
.halo { stroke: var(--back); stroke-width: 5; fill: none; }
.g0 { fill: var(--g0); } .g1 { fill: var(--g1); } .g2 { fill: var(--g2); }
.g3 { fill: var(--g3); } .g4 { fill: var(--g4); } .g5 { fill: var(--g5); }
.legend span { white-space: nowrap; } .legend svg { vertical-align: middle; margin: 0 2px 0 8px; }
@media print { body { padding: 0; max-width: none; } pre, .table { overflow: visible; } }
"""


def text(value: object, limit: int = 200) -> str:
    """Returns a value as one line of text that is safe within an element or attribute."""
    return html.escape(clean(value, limit), quote=True)


def page(full: dict[str, Any], lanes: Lanes, now: float | None = None) -> str:
    """Returns the report as an HTML document.

    Args:
        full: the overview (`report.overview`).
        lanes: of its runs, by (run, session id) as they stand in it.
        now: seconds since the epoch.
    """
    made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    body = [
        "<h1>NaN Watch report</h1>",
        f'<p class="soft">Made {made} by tb-nanwatch {text(__version__)}. Epochs and '
        "batches count from 1, steps from 0.</p>",
        *(f'<p class="note">{text(w, _LONG)}</p>' for w in full["warnings"]),
        *(_search(search, full, lanes) for search in full["searches"]),
    ]
    if any(LEFT_OUT in part for part in body):
        body.insert(2, f'<p class="soft">{text(NOTE, _LONG)}</p>')
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>NaN Watch report</title>\n<style>{_STYLE}{card.STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _search(search: dict[str, Any], full: dict[str, Any], lanes: Lanes) -> str:
    runs = [r for r in full["runs"] if r["search"] == search["search"]]
    shown = told.runs_of(full, search)
    findings = told.findings_of(full, search)
    cards = told.cards_of({**full, "searches": [search]})
    parts = [_title(search), card.in_html(cards)]
    if search["aborted"]:
        parts.append(_aborted(search["aborted"], shown))
    beyond = told.beyond(search, findings)
    if beyond:
        parts.append("<h3>How sure</h3>")
        parts += [f"<p>{text(said, _LONG)}</p>" for said in beyond]
    parts += _causes(shown)
    if search["cost"] and search["cost"]["text"]:
        parts.append(f"<h3>Cost</h3><p>{text(search['cost']['text'], _LONG)}</p>")
    parts.append(_table(shown, lanes, "Trials" if search["search"] else "Runs"))
    replaced = len(runs) - len(shown)
    if replaced:
        parts.append(
            f'<p class="soft">{replaced} earlier attempt{"s" if replaced > 1 else ""} '
            "not shown; the latest decides.</p>"
        )
    parts += [
        f'<p class="soft">Damage in an earlier attempt of {text(r["run"])}: '
        f"{text(sentence)}</p>"
        for r in runs
        if r["superseded"]
        for sentence in r["damage"]
    ]
    return f"<section>{''.join(parts)}</section>"


def _title(search: dict[str, Any]) -> str:
    if not search["search"]:
        return "<h2>Runs without a search</h2>"
    about = [text(search["tuner"])] if search["tuner"] else []
    if search["objective"]:
        about.append(f"objective {text(search['objective'])}")
    if search["started"]:
        started = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(search["started"]))
        about.append(f"started {started}")
    about.append(text(search["search"], 40))
    return (
        f"<h2>{text(search['name']) or 'Search'}</h2>"
        f'<p class="soft">{", ".join(about)}</p>'
    )


def _aborted(aborted: dict[str, Any], runs: list[dict[str, Any]]) -> str:
    names = {run["trial_id"]: run_name(run) for run in runs}
    reasons = "".join(
        f"<li>{text(names.get(trial, trial), 60)}: {text(reason, 500)}</li>"
        for trial, reason in zip(aborted["trials"], aborted["reasons"], strict=True)
    )
    return (
        '<h3>The search was aborted</h3><article class="bad">'
        f"<p>{text(aborted['message'], 1000)}</p>"
        f"{f'<ul>{reasons}</ul>' if reasons else ''}"
        f"<p>What to do: {text(aborted['fix'], _LONG)}</p></article>"
    )


def _causes(runs: list[dict[str, Any]]) -> list[str]:
    """Returns each cause once with its fix, and which trials it was found in."""
    causes = same_causes(runs)
    parts = ["<h3>Causes</h3>"] if causes else []
    for found in causes:
        sure = f" ({text(found.sure)})" if found.sure else ""
        trials = ", ".join(text(name) for name in found.names)
        whose = f"<p>{text(found.whose)}</p>" if found.whose else ""
        evidence = "".join(f"<li>{text(e, 1000)}</li>" for e in found.evidence)
        parts.append(
            f'<article class="bad"><p><b>{text(found.name.capitalize())}</b>{sure} in '
            f"{trials}</p>{whose}<ul>{evidence}</ul><p>Fix: {text(found.fix, _LONG)}</p>"
            + (f'<p class="soft">{text(found.next, _LONG)}</p>' if found.next else "")
            + "</article>"
        )
    return parts


# --- The table ------------------------------------------------------------------------


def _table(runs: list[dict[str, Any]], lanes: Lanes, title: str) -> str:
    names = list(dict.fromkeys(n for r in runs for n in (*r["hparams"], *r["inactive"])))
    steps = max((r["steps"] for r in runs), default=0)
    head = ["trial", "status", _axis(steps), "first bad step", "first bad tensor"]
    head += [text(n, 40) for n in names] + ["score", "KerasTuner"]
    rows = []
    for run in runs:
        bad = run["status"] in BAD_STATUSES
        cells = [
            f"<td>{text(_name(run), 80)}</td>",
            f'<td class="s-{"bad" if bad else text(run["status"])}">'
            f"{text(status_text(run))}</td>",
            f"<td>{_lane(run, lanes, steps)}</td>",
            f"<td>{text(position_text(Position(**run['onset'])) if bad else '-')}</td>"
            if run["onset"]
            else "<td>-</td>",
            f'<td class="long">{_origin(run["origin"]) if bad else "-"}</td>',
        ]
        cells += [_number(run["hparams"].get(name)) for name in names]
        cells += [_number(run["score"]), f"<td>{text(run['tuner_status'] or '-')}</td>"]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    remarks = "".join(
        f"<li>{text(run_name(run))}: {text(sentence, 1000)}</li>"
        for run in runs
        for sentence in _remarks(run)
    )
    return (
        f"<h3>{title}</h3>{_legend()}"
        f'<div class="table"><table><thead><tr>'
        f"{''.join(f'<th>{h}</th>' for h in head)}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        f"{f'<ul>{remarks}</ul>' if remarks else ''}"
    )


def _axis(steps: int) -> str:
    return f"training (step 0 to {max(0, steps - 1):,}, logarithmic)"


def _legend() -> str:
    keys = "".join(
        f'<span><svg width="14" height="10" aria-hidden="true"><rect class="g{i}" '
        f'width="14" height="10"/></svg>{label}</span> '
        for i, label in enumerate(lane_svg.LABELS)
    )
    return (
        '<p class="soft legend">Colour: how many times larger than in the first step the '
        f"values have become:{keys}. "
        '<svg width="14" height="14" aria-hidden="true"><path class="cross" '
        'd="M3 3l8 8m0-8l-8 8"/></svg>the first bad step.</p>'
    )


def _lane(run: dict[str, Any], lanes: Lanes, steps: int) -> str:
    ends, growth = lanes.get((run["run"], run["session"]), ([], []))
    bad = run["status"] in BAD_STATUSES and run["onset"]
    onset = run["onset"]["step"] if bad else None
    said = f"{run['steps']:,} steps"
    if onset is not None:
        said += f", the first bad one {onset:,}"
    return lane_svg.lane(ends, growth, steps, onset, text(said))


def _name(run: dict[str, Any]) -> str:
    name = run_name(run)
    if run["execution"]:
        name += f", execution {run['execution'] + 1}"
    if run["retry"]:
        name += f", retry {run['retry']}"
    lineage = run["lineage"]
    if lineage and lineage["trial_id"] is not None:
        parent = lineage["trial_id"]
        name += f", continues {trial_name(parent, number_of(parent))}"
    return name


def _origin(origin: dict[str, Any] | None) -> str:
    if origin is None:
        return "-"
    return text(tensor_text(BadTensor(**{k: origin[k] for k in _ORIGIN})))


_ORIGIN: Final = tuple(BadTensor.__dataclass_fields__)


def _remarks(run: dict[str, Any]) -> list[str]:
    remarks = [
        run[t] for t in ("failure_text", "unwatched_text", "misread_text") if run[t]
    ]
    remarks += [scalar["text"] for scalar in run["scalars"]]
    return remarks + [f"damage: {sentence}" for sentence in run["damage"]]


def _number(value: object) -> str:
    if isinstance(value, float):
        return f'<td class="number">{value:.5g}</td>'
    return f'<td class="number">{text("-" if value is None else value, 60)}</td>'
