# SPDX-License-Identifier: Apache-2.0
"""The report as one page that can be mailed: no script, no request, no other file.

Names and messages come from event files that anyone may have written: each goes
through `text`, which leaves one line of escaped characters. The page's own policy
forbids scripts and requests as well, should anything ever slip through.
"""

from __future__ import annotations

import html
import time
from dataclasses import replace
from typing import Final

from tb_nanwatch import __version__
from tb_nanwatch.reading.contract.overview import Overview
from tb_nanwatch.reading.contract.runs import RunSummary
from tb_nanwatch.reading.contract.searches import SearchSummary
from tb_nanwatch.reading.report import told
from tb_nanwatch.reading.report.page_table import Lanes, table, text
from tb_nanwatch.reading.report.same_cause import same_causes
from tb_nanwatch.record.schema import BAD_STATUSES
from tb_nanwatch.wording import card
from tb_nanwatch.wording import report_text as words
from tb_nanwatch.wording.answer_text import capital
from tb_nanwatch.wording.outcomes_text import replaced_text
from tb_nanwatch.wording.row_values import LEFT_OUT, NOTE
from tb_nanwatch.wording.sentences import without

_LONG: Final = 2000

_STYLE: Final = """
:root { color-scheme: light dark; --text: #1d2129; --soft: #5b6472; --line: #d9dde3;
  --back: #fff; --panel: #f5f6f8; --bad: #b3261e; --good: #1e6b34; --warn: #8a5a00;
  --g0: #e3e8f0; --g1: #c3d3e6; --g2: #93b3d6; --g3: #5b86b8; --g4: #2f5488; --g5: #14264a;
  --lost: #fbe9ec; --hatch: #cf7d8a; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e7ec; --soft: #a0a8b5;
  --line: #3a404a; --back: #16181d; --panel: #20242b; --bad: #ff9a90; --good: #85d69b;
  --warn: #eebf66; --g0: #2c3440; --g1: #33475f;
  --g2: #3f6288; --g3: #5685b8; --g4: #8db4e0; --g5: #d7e6fa; --lost: #351c22;
  --hatch: #a65361; } }
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
ul { margin: 4px 0; padding-left: 22px; } a { color: inherit; }
table { border-collapse: collapse; font-size: 13px; width: 100%; }
th, td { text-align: left; padding: 4px 10px 4px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: break-word; } th { color: var(--soft); font-weight: 600; }
td.long { min-width: 15ch; overflow-wrap: anywhere; }
td small { color: var(--soft); font-weight: 400; }
td code { font-size: 11.5px; } td.number { font-variant-numeric: tabular-nums; }
.s-bad { color: var(--bad); font-weight: 600; } .s-clean { color: var(--good); }
.s-contained { color: var(--warn); }
svg.lane { display: block; margin-top: 3px; }
.cross { stroke: var(--text); stroke-width: 2; fill: none; }
.halo { stroke: var(--back); stroke-width: 5; fill: none; }
.g0 { fill: var(--g0); } .g1 { fill: var(--g1); } .g2 { fill: var(--g2); }
.g3 { fill: var(--g3); } .g4 { fill: var(--g4); } .g5 { fill: var(--g5); }
.lost { fill: var(--lost); } .hatch { stroke: var(--hatch); stroke-width: 1.2; fill: none; }
.legend { max-width: none; } .legend span { white-space: nowrap; } .legend svg { vertical-align: middle; margin: 0 2px 0 8px; }
@media (max-width: 1000px) { body { padding: 12px; } th, td { padding-right: 7px; } }
@media print { body { padding: 0; max-width: none; } pre { overflow: visible; } }
"""


def page(full: Overview, lanes: Lanes, now: float | None = None) -> str:
    """Returns the report as an HTML document.

    Args:
        full: the overview.
        lanes: of its runs, by (run, session id) as they stand in it.
        now: seconds since the epoch.
    """
    made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    body = [
        "<h1>NaN Watch report</h1>",
        f'<p class="soft">{words.made_text(made, text(__version__))}</p>',
        *(f'<p class="note">{text(w, _LONG)}</p>' for w in full.warnings),
        _contents(full.searches),
        *(_search(search, full, lanes) for search in full.searches),
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


def _search(search: SearchSummary, full: Overview, lanes: Lanes) -> str:
    runs = [r for r in full.runs if r.search == search.search]
    shown = told.runs_of(full, search)
    findings = told.findings_of(full, search)
    # These are asked about.
    shown.sort(key=lambda run: run.status not in BAD_STATUSES)
    cards = told.cards_of(replace(full, searches=[search]))
    parts = [_title(search), card.in_html(cards)]
    # Each fact stands once: sentences of a card are not repeated below it.
    said = " ".join(text for c in cards for text in (c.first, *(p.text for p in c.parts)))
    more = [without(text, said) for text in search.first.more]
    if any(more):
        listed = "".join(f"<li>{card.words_in_html(text)}</li>" for text in more if text)
        parts.append(f"<h3>How sure</h3><ul>{listed}</ul>")
    parts += _frontier(search)
    if search.purpose != "stability":  # whose trials go bad on purpose
        edited = told.narrowed_for(search)
        parts += _causes(shown, f"{said} {' '.join(more)}", edited)
    title = "Trials" if search.search else "Runs"
    parts.append(table(shown, lanes, title, findings, search.rates))
    replaced = len(runs) - len(shown)
    if replaced:
        parts.append(f'<p class="soft">{replaced_text(replaced)}</p>')
    parts += [
        f'<p class="soft">{words.attempt_text(text(r.name), True)}: {text(sentence)}</p>'
        for r in runs
        if r.superseded
        for sentence in r.damage
    ]
    return (
        f'<section id="{_anchor(full.searches.index(search))}">{"".join(parts)}</section>'
    )


def _frontier(search: SearchSummary) -> list[str]:
    """Returns a stability search's result, or how a search fared after one."""
    parts = [f"<p>{text(search.afterwards, _LONG)}</p>"] if search.afterwards else []
    found = search.frontier
    if found is not None:
        listed = "".join(f"<li>{text(b.text, _LONG)}</li>" for b in found.boundaries)
        code = "\n".join(map(html.escape, card.code_lines(found.code)))
        parts.append(f"<h3>{words.WHERE_BAD}</h3><ul>{listed}</ul>")
        if code:
            parts.append(f"<h3>The space that lives</h3><pre>{code}</pre>")
    return parts


def _contents(searches: list[SearchSummary]) -> str:
    """Returns a table of contents, where the page has more than one section."""
    if len(searches) < 2:
        return ""
    items = "".join(
        f'<li><a href="#{_anchor(i)}">{_heading(search)}</a>: '
        f"{text(search.first.happened, _LONG)}</li>"
        for i, search in enumerate(searches)
    )
    return f"<nav><h2>Contents</h2><ul>{items}</ul></nav>"


def _anchor(index: int) -> str:
    return f"search-{index}"  # never a name: those come from a log


def _heading(search: SearchSummary) -> str:
    return text(capital(told.search_name(search)))


def _title(search: SearchSummary) -> str:
    if not search.search:
        return f"<h2>{_heading(search)}</h2>"
    about = [text(search.tuner)] if search.tuner else []
    if search.objective:
        about.append(f"objective {text(search.objective)}")
    if search.started:
        started = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(search.started))
        about.append(f"started {started}")
    about.append(text(search.search, 40))
    return f'<h2>{_heading(search)}</h2><p class="soft">{", ".join(about)}</p>'


def _causes(runs: list[RunSummary], said: str, edited: str) -> list[str]:
    """Returns each cause once with its trials, and those of its sentences that `said` lacks.

    Args:
        runs: of the search.
        said: above.
        edited: the cause whose fix is the search's edit.
    """
    causes = same_causes(runs)
    parts = ["<h3>Causes</h3>"] if causes else []
    for found in causes:
        sure = f" ({text(found.sure)})" if found.sure else ""
        trials = ", ".join(text(name) for name in found.names)
        evidence = [e for e in found.evidence if e not in said]
        listed = "".join(f"<li>{card.words_in_html(e)}</li>" for e in evidence)
        whose = f"<p>{text(found.whose)}</p>" if found.whose and evidence else ""
        has = found.fix in said or found.name == edited
        fix = "" if has else f"<p>Fix: {card.words_in_html(found.fix)}</p>"
        name = capital(found.name)
        parts.append(
            f'<article class="bad"><p><b>{text(name)}</b>{sure} in '
            f"{trials}</p>{whose}{f'<ul>{listed}</ul>' if listed else ''}{fix}"
            + (f'<p class="soft">{text(found.next, _LONG)}</p>' if found.next else "")
            + "</article>"
        )
    return parts
