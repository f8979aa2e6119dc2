"""The report in a terminal: a rich table where there is one, aligned text elsewhere.

Names and messages come from event files that anyone may have written: every one
goes through `clean` before it reaches the terminal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import IO, Any, Final

from tb_nanwatch.answer import Answer, lines, wrapped
from tb_nanwatch.reading.aborted import in_a_row
from tb_nanwatch.reading.same_cause import same_causes
from tb_nanwatch.reading.tables import draw, table_of, width_of
from tb_nanwatch.text import clean, shell_word

# Sentences of evidence that are printed of a cause, with the first that is not.
_MOST: Final = 6


def render(full: dict[str, Any], out: IO[str]) -> None:
    """Prints an overview (`report.overview`) for people.

    Args:
        full: the overview.
        out: where to; a table of the library rich is used if it is a terminal and
            rich is installed.
    """
    for search in full["searches"]:
        runs = [r for r in full["runs"] if r["search"] == search["search"]]
        shown = [r for r in runs if not r["superseded"]]
        findings = [f for f in full["findings"] if f["search"] == search["search"]]
        no_search = not search["search"]
        if no_search and len(shown) == 1:
            _print_run(shown[0], search["cost"], out)
            continue
        print(_title(search), file=out)
        print(f"  {clean(search['verdict'], 2000)}", file=out)
        _print_frontier(search, out)
        for finding in findings:
            _print_finding(finding, search["verdict"], len(findings) > 1, out)
        if search["cost"] and search["cost"]["text"]:
            print(f"  {clean(search['cost']['text'], 1000)}", file=out)
        _print_causes(shown, out)
        _print_closest_call(shown, out)
        if search["aborted"]:
            _print_aborted(search["aborted"], out)
        draw(table_of(shown, findings, search["rates"], width_of(out)), out)
        replaced = len(runs) - len(shown)
        if replaced:
            print(
                f"  {replaced} earlier attempt{'s' if replaced > 1 else ''} of these "
                "trials not shown; the latest decides.",
                file=out,
            )
        said: dict[str, list[str]] = {}
        for run in shown:
            for sentence in _remarks(run, answered=False):
                said.setdefault(sentence, []).append(
                    clean(run["trial_id"] or run["run"], 40)
                )
        told: set[str] = set()
        for run in shown:
            for sentence in _remarks(run, answered=False):
                if sentence in told:
                    continue
                told.add(sentence)
                others = list(dict.fromkeys(said[sentence][1:]))
                also = f" (also in {', '.join(others)})" if others else ""
                print(f"  {clean(run['name'])}{also}: {sentence}", file=out)
        _print_damage(runs, out)
        print(file=out)


def _print_damage(runs: Sequence[dict[str, Any]], out: IO[str]) -> None:
    for run in runs:
        which = "an earlier attempt of " if run["superseded"] else ""
        for sentence in run["damage"]:
            name = f"{which}{clean(run['name'])}"
            print(f"  Damage in {name}: {clean(sentence)}", file=out)


def _print_run(run: dict[str, Any], cost: dict[str, Any] | None, out: IO[str]) -> None:
    """Prints a run that has nothing beside it: its answer, and what else is to be said."""
    name = clean(run["name"])
    if run["answer"]:
        print(*lines(Answer(**run["answer"]), name), sep="\n", file=out)
    elif run["clean_text"]:
        print(f"{name}: {run['clean_text']}", file=out)
    else:
        print(f"{name}: {run['status'].replace('_', ' ')}", file=out)
    _print_closest_call([run], out)
    for sentence in _behind(run):
        print(*wrapped(clean(sentence, 1000), "  - ", "    "), sep="\n", file=out)
    for sentence in _remarks(run, answered=True):
        print(f"  {sentence[:1].upper()}{sentence[1:]}", file=out)
    if cost and cost["text"]:
        print(f"  {clean(cost['text'], 1000)}", file=out)
    _print_damage([run], out)
    print(file=out)


def _title(search: dict[str, Any]) -> str:
    if not search["search"]:
        return "Runs without a search"
    parts = [clean(search["name"]) or "Search", clean(search["tuner"])]
    if search["purpose"] == "stability":
        parts.append("stability search")
    elif search["objective"]:
        parts.append(f"objective {clean(search['objective'])}")
    parts.append(clean(search["search"], 40))
    return ", ".join(filter(None, parts))


def _print_frontier(search: dict[str, Any], out: IO[str]) -> None:
    """Prints what a stability search found, and what came of the one before a search."""
    if search["afterwards"]:
        print(f"  {clean(search['afterwards'], 1000)}", file=out)
    found = search["frontier"]
    if found is None:
        return
    for boundary in found["boundaries"]:
        print(f"    {clean(boundary['text'], 1000)}", file=out)
    print(
        f"  This holds for {found['steps']:,} steps of training; "
        f"the space that lives keeps {found['kept']:.0%} of what was searched.",
        file=out,
    )
    for line in found["code"].splitlines():
        indent = " " * (len(line) - len(line.lstrip(" ")))
        print(f"    {indent}{clean(line, 2000)}", file=out)


def _print_finding(
    finding: dict[str, Any], verdict: str, several: bool, out: IO[str]
) -> None:
    """Prints what a finding adds to the verdict, which quotes its first sentences."""
    text = _beyond(finding["text"], verdict)
    if text:
        which = f"{clean(finding['condition'])}: " if several else ""
        print(f"  {which}{clean(text, 2000)}", file=out)
    for line in finding["edit"].splitlines():
        indent = " " * (len(line) - len(line.lstrip(" ")))
        print(f"    {indent}{clean(line, 2000)}", file=out)


def _beyond(text: str, said: str) -> str:
    """Returns `text` without the sentences at its beginning that `said` holds."""
    ends = [m.end() for m in re.finditer(r"\.(?: |$)", text)]
    return text[max((e for e in ends if text[:e].strip() in said), default=0) :]


def _behind(run: dict[str, Any]) -> list[str]:
    """Returns the evidence for a run's answer that the answer does not hold."""
    if not run["answer"] or not run["causes"]:
        return []
    said = f"{run['answer']['why']} {run['answer']['tested']}"
    return [e for e in run["causes"][0]["evidence"] if e not in said]


def _print_causes(runs: list[dict[str, Any]], out: IO[str]) -> None:
    """Prints each cause with its fix once, and which trials it was found in."""
    for found in same_causes(runs):
        sure = f" ({found.sure})" if found.sure else ""
        print(
            f"  Cause in {', '.join(found.names)}: {found.name}{sure}. Fix: {found.fix}",
            file=out,
        )
        indent = "    "
        evidence = found.evidence[1:_MOST]  # the first says where, as the row does
        if found.whose and evidence:
            print(f"    {found.whose}", file=out)
            indent += "  "
        for sentence in evidence:
            print(f"{indent}{clean(sentence, 500)}", file=out)
        if found.next:
            print(f"    {found.next}", file=out)


def _print_closest_call(runs: Sequence[dict[str, Any]], out: IO[str]) -> None:
    """Prints which run that stayed finite came nearest to an overflow, if any did."""
    near = [r for r in runs if r["closest_call"]]
    if not near:
        return
    run = max(near, key=lambda r: float(r["closest_call"]["share"]))
    name = clean(run["trial_id"] or run["run"], 40)
    more = f"; {len(near) - 1} more came within a decade" if len(near) > 1 else ""
    text = clean(run["closest_call"]["text"], 300)
    print(f"  Closest call of what stayed finite: {name}, {text}{more}.", file=out)


def _print_aborted(aborted: dict[str, Any], out: IO[str]) -> None:
    trials = ", ".join(clean(t, 40) for t in aborted["trials"])
    said = aborted["message"].partition("\n")[0]  # the last trial's traceback follows
    print(f"  The search was aborted: {clean(said)}", file=out)
    if trials:
        which = "Trials in a row that failed" if in_a_row(said) else "It ended in trial"
        print(f"  {which}: {trials}", file=out)
    for trial, reason in zip(aborted["trials"], aborted["reasons"], strict=True):
        print(f"    {clean(trial, 40)}: {clean(reason, 300)}", file=out)
    print(f"  What to do: {clean(aborted['fix'], 1000)}", file=out)


def _remarks(run: dict[str, Any], answered: bool) -> list[str]:
    """Returns what is to be said of a run beside its row, a line each, to be printed.

    Args:
        run: entry of an overview.
        answered: whether its answer has been printed.
    """
    remarks = [
        run[t] for t in ("failure_text", "unwatched_text", "misread_text") if run[t]
    ]
    if not (answered and run["answer"]):
        remarks += _postmortem(run["postmortem"])
    lineage = run["lineage"]
    if run["inherited"]:
        bad = run["inherited"].replace("_", " ")
        parent = lineage["trial_id"] if lineage and not run["fit"] else None
        whose = f"trial {parent}" if parent is not None else "its earlier fit"
        remarks.append(f"its weights come from {whose}, which had gone bad ({bad}).")
    remarks += [scalar["text"] for scalar in run["scalars"]]
    return [clean(remark, 1000) for remark in remarks] + _replay(run["postmortem"])


def _postmortem(found: dict[str, Any] | None) -> list[str]:
    if not found:
        return []
    said = []
    if found["text"]:
        source = found["source"]
        line = f" (the line: {source['text']})" if source and source["text"] else ""
        said.append(f"the first bad tensor comes from {found['text']}{line}.")
    elif found["reason"]:
        said.append(found["reason"])
    kept = [
        e["text"]
        for e in found["experiments"]
        if e["finite"] and e["learns"] is not False
    ]
    if kept:
        said.append(f"it would have stayed finite with {', or '.join(kept)}.")
    return said


def _replay(found: dict[str, Any] | None) -> list[str]:
    """Returns the command that runs a capsule's step again."""
    if not found or not found["capsule"]:
        return []
    # The model's own code is not in the capsule.
    model = " --model FILE.py:build" if found["own_code"] else ""
    path = shell_word(found["capsule"])
    return [f"to run the step again: tb-nanwatch replay {path}{model}"]
