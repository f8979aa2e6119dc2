# SPDX-License-Identifier: Apache-2.0
"""Makes the tables and the picture of docs/stability.md from benchmark results; pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from typing import Any, Final

from benchmarks.stability_problems import PROBLEMS, RATE

Kept = Mapping[str, Any]

# What the frontier's place is asked to be, what a search may take of a grid's steps, and
# what may still go bad in the space that lives where so many did in the whole one.
NEAR: Final = 1 / 3
STEPS_SHARE: Final = 1 / 4
STABLE_BAD, ORIGINAL_BAD = 1 / 20, 1 / 4
_WORDS: Final = 3
IMAGE: Final = "![each problem's first search over its rates](stability.svg)"


def apart(a: float | None, b: float | None, high: float) -> float:
    """Returns the decades between two frontiers; one that is not there lies at the end."""
    return abs(math.log10((a or high) / (b or high)))


def _gaps(name: str, entry: Kept, search: Kept) -> list[float]:
    high = PROBLEMS[name].numbers[0][2]
    return [apart(search["edges"][k], edge, high) for k, edge in entry["grid"].items()]


def _edges(edges: Iterable[float | None]) -> str:
    """Returns frontiers as text: each, or the lowest and the highest."""
    texts = ["none" if e is None else f"{e:.2g}" for e in edges]
    if len(texts) <= _WORDS:
        return ", ".join(texts)
    there = sorted((t for t in texts if t != "none"), key=float)
    if not there:
        return "none"
    missing = ", and none" if "none" in texts else ""
    return f"{there[0]} to {there[-1]}{missing}"


def _space(name: str) -> str:
    problem = PROBLEMS[name]
    return ", ".join([*problem.choices, *(n for n, *_ in problem.numbers)])


def _row(cells: Iterable[object]) -> str:
    return "| " + " | ".join(str(c) for c in cells) + " |"


def frontier_table(kept: Kept) -> list[str]:
    """Returns the lines of the table of frontiers."""
    heads = (
        *("problem", "space", "places", "grid's frontier", "found"),
        *("worst, decades", "of places within a third", "trials (bad)"),
        *("steps, of the grid's", "unsure"),
    )
    lines = [_row(heads), "|" + "---|" * len(heads)]
    for name, entry in kept.items():
        quick = _searches(entry, really=False)
        if not quick:
            continue
        gaps = [g for s in quick for g in _gaps(name, entry, s)]
        share = max(s["steps"] for s in quick) / max(1, entry["grid_steps"])
        lines.append(
            _row(
                (
                    name,
                    _space(name),
                    len(entry["grid"]),
                    _edges(entry["grid"].values()),
                    _edges(quick[0]["edges"].values()),
                    f"{max(gaps):.2f}",
                    f"{sum(g <= NEAR for g in gaps)} of {len(gaps)}",
                    ", ".join(f"{s['trials']} ({s['bad']})" for s in quick),
                    f"{share:.1%}",
                    ", ".join(str(s["unsure"]) for s in quick),
                )
            )
        )
    return lines


def _searches(entry: Kept, really: bool) -> list[Kept]:
    """Returns the searches of a problem, those run as traced functions or by Keras' own fit."""
    return [s for s in entry["searches"].values() if s["really"] == really]


def fit_table(kept: Kept) -> str:
    """Returns the table of searches with Keras' own fit; "" where none was run."""
    heads = (
        *("problem", "grid's frontier", "found", "worst, decades"),
        *("of places within a third", "trials (bad)", "unsure", "seconds"),
    )
    lines = [_row(heads), "|" + "---|" * len(heads)]
    left, near, run = [], 0, 0
    for name in PROBLEMS:
        entry = kept.get(name, {"searches": {}})
        searches = _searches(entry, really=True)
        if not searches:
            left.append(name)
            continue
        gaps = [g for s in searches for g in _gaps(name, entry, s)]
        run, near = run + 1, near + (max(gaps) <= NEAR)
        cells = (
            name,
            _edges(entry["grid"].values()),
            _edges(searches[0]["edges"].values()),
            f"{max(gaps):.2f}",
            f"{sum(g <= NEAR for g in gaps)} of {len(gaps)}",
            ", ".join(f"{s['trials']} ({s['bad']})" for s in searches),
            ", ".join(str(s["unsure"]) for s in searches),
            ", ".join(f"{s['seconds']:.0f}" for s in searches),
        )
        lines.append(_row(cells))
    if not run:
        return ""
    said = f"Within a third of a decade at every place: {near} of {run} problems."
    rest = f" Not run: {', '.join(left)}." if left else ""
    return "\n".join([f"{said}{rest}", "", *lines]) + "\n"


def is_whole(kept: Kept) -> bool:
    """Returns whether every problem's searches were run with the traced functions."""
    return all(name in kept and _searches(kept[name], really=False) for name in PROBLEMS)


def _share(runs: list[Kept]) -> float:
    return float(sum(r["bad"] for r in runs) / sum(r["trials"] for r in runs))


def _is_as_good(entry: Kept) -> bool:
    """Returns whether the stable space's median best is worse by no more than the spread."""
    before, after = ([r["best"] for r in entry["random"][f]] for f in FORMS)
    spread = max(before) - min(before)
    return statistics.median(after) <= statistics.median(before) + spread


FORMS: Final = ("original", "stable")


def _compared(kept: Kept) -> dict[str, Kept]:
    return {
        name: entry
        for name, entry in kept.items()
        if all(entry["random"].get(f) for f in FORMS)
    }


def random_table(kept: Kept) -> list[str]:
    """Returns the lines of the table of random searches."""
    heads = (
        *("problem", "seeds", "bad in the whole space", "bad in the stable space"),
        *("best, median (from, to)", "best in the stable space", "as good"),
        *("the stability search's steps, of the random search's",),
    )
    lines = [_row(heads), "|" + "---|" * len(heads)]
    for name, entry in _compared(kept).items():
        before, after = (entry["random"][f] for f in FORMS)
        best = [[r["best"] for r in runs] for runs in (before, after)]
        steps = entry["searches"]["traced 0"]["steps"]
        lines.append(
            _row(
                (
                    name,
                    f"{len(before)}, {len(after)}",
                    f"{_share(before):.1%}",
                    f"{_share(after):.1%}",
                    f"{statistics.median(best[0]):.3g} "
                    f"({min(best[0]):.3g}, {max(best[0]):.3g})",
                    f"{statistics.median(best[1]):.3g} "
                    f"({min(best[1]):.3g}, {max(best[1]):.3g})",
                    "yes" if _is_as_good(entry) else "no",
                    f"{steps / statistics.mean(r['steps'] for r in after):.0%}",
                )
            )
        )
    return lines


def summary(kept: Kept) -> list[str]:
    """Returns sentences on which goals were reached."""
    run = {n: e for n, e in kept.items() if e["searches"]}
    quick = {
        n: [s for s in e["searches"].values() if not s["really"]] for n, e in run.items()
    }
    near = [
        n for n, e in run.items()
        if all(g <= NEAR for s in quick[n] for g in _gaps(n, e, s))
    ]  # fmt: skip
    two = [n for n in run if len(PROBLEMS[n].numbers) > 1]
    cheap = [
        n for n in two
        if all(s["steps"] <= STEPS_SHARE * run[n]["grid_steps"] for s in quick[n])
    ]  # fmt: skip
    compared = _compared(kept)
    dying = [
        n for n, e in compared.items() if _share(e["random"]["original"]) >= ORIGINAL_BAD
    ]
    mended = [n for n in dying if _share(compared[n]["random"]["stable"]) <= STABLE_BAD]
    good = [n for n, e in compared.items() if _is_as_good(e)]
    checked = [c for e in kept.values() for c in e.get("checked", ())]
    alike = sum(bool(a[0]) == bool(b[0]) for _, a, b in checked)
    lines = [
        f"- Within a third of a decade at every place, for every seed: {len(near)} of "
        f"{len(run)} problems{_but(run, near)}.",
        f"- At most a quarter of the grid's steps, with two numbers: {len(cheap)} of "
        f"{len(two)}.",
        f"- At most 1 in 20 bad in the stable space, of those with 1 in 4 or more in the "
        f"whole one: {len(mended)} of {len(dying)}{_but(dying, mended)}.",
        f"- Best score not worse than the other's median by more than its spread (highest "
        f"less lowest): {len(good)} of {len(compared)}{_but(compared, good)}.",
    ]
    if checked:
        lines.append(
            f"- Trained both ways: {alike} of {len(checked)} points ended alike, half of "
            "them chosen within half a decade of the grid's frontier."
        )
    return lines


def _but(every: Iterable[str], fine: Iterable[str]) -> str:
    missing = [n for n in every if n not in set(fine)]
    return f" (not {', '.join(missing)})" if missing else ""


def tables(kept: Kept) -> str:
    """Returns the text between the marks in docs/stability.md."""
    kept = {n: kept[n] for n in PROBLEMS if n in kept}
    left = [n for n in PROBLEMS if not kept.get(n, {}).get("searches")]
    parts = [[IMAGE], summary(kept), frontier_table(kept), random_table(kept)]
    without = [n for n in kept if n not in _compared(kept)]
    if without:
        parts.append([f"No random searches: {', '.join(without)}."])
    if left:
        parts.append([f"Not run: {', '.join(left)}."])
    return "\n\n".join("\n".join(p) for p in parts) + "\n"


def picture(kept: Kept) -> str:
    """Returns an SVG: a strip for each problem, its trials and the grid's frontiers."""
    names = [n for n in PROBLEMS if kept.get(n, {}).get("searches")]
    width, row, left = 760, 34, 130
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} '
        f'{row * len(names) + 40}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for i, name in enumerate(names):
        _, low, high = PROBLEMS[name].numbers[0]

        def at(value: float, low: float = low, high: float = high) -> float:
            share = math.log10(value / low) / math.log10(high / low)
            return left + (width - left - 20) * share

        y = 20 + row * i
        parts.append(f'<text x="8" y="{y + 4}">{name}</text>')
        parts.append(
            f'<line x1="{left}" x2="{width - 20}" y1="{y}" y2="{y}" stroke="#bbb"/>'
        )
        for edge in set(kept[name]["grid"].values()):
            if edge is not None:
                x = at(edge)
                parts.append(
                    f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 11}" y2="{y + 11}" '
                    'stroke="#333" stroke-width="2"/>'
                )
        for values, bad in _searches(kept[name], really=False)[0]["tried"]:
            colour = "#c0392b" if bad else "#2874a6"
            parts.append(
                f'<circle cx="{at(values[RATE[0]]):.1f}" cy="{y}" r="4" fill="{colour}" '
                'fill-opacity="0.6"/>'
            )
    parts.append(
        f'<text x="{left}" y="{row * len(names) + 30}">learning rate, log scale over its '
        "range; blue lived, red died; bars: the grid's frontiers</text></svg>"
    )
    return "\n".join(parts) + "\n"
