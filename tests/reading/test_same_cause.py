"""Runs of the same cause are told once: whose numbers, and what came second."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path
from typing import Any

import pytest

from tb_nanwatch.diagnosis.ranking import Cause
from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.reading.log.snapshot import Snapshot
from tb_nanwatch.reading.report import terminal
from tb_nanwatch.reading.report.overview import overview
from tb_nanwatch.reading.report.page import page
from tb_nanwatch.reading.report.same_cause import MIN_RUNNER_UP, same_causes
from tests.reading.records import a_status
from tests.support.told import as_json, as_overview


def told(*causes: list[Cause], **changes: Any) -> dict[str, Any]:
    """The overview of a search whose trials 0001, 0002 ... died of `causes`."""
    sessions, known = [], {}
    for number, those in enumerate(causes, 1):
        status = a_status(number, bad=True, **changes)
        run = f"{number:04d}/execution0"
        sessions.append(Session(run, status.session_id, status, state=status.state))
        known[run, status.session_id] = those
    return as_json(overview(Snapshot(sessions, []), known))


def rate(value: float, confidence: float = 0.9) -> Cause:
    evidence = ["where", f"The learning rate is {value:g}."]
    sure = "likely" if confidence >= 0.7 else "unclear"
    return Cause("learning_rate", confidence, evidence, "Lower it.", sure=sure)


def second(cause: str, confidence: float) -> Cause:
    return Cause(cause, confidence, ["of it"], "Mend it.")


def in_words(full: dict[str, Any]) -> tuple[list[str], str]:
    """What the terminal's lines say of causes, and the page as text."""
    out = io.StringIO()
    terminal.render(as_overview(full), out, every=True)
    lines = out.getvalue().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("  Cause in"))
    end = next(i for i, line in enumerate(lines) if line.startswith("  trial"))
    made = re.sub(r"<[^>]+>", " ", page(as_overview(full), {}, now=0))
    return lines[start:end], " ".join(made.split())


def test_the_numbers_of_several_trials_are_said_to_be_one_trials() -> None:
    lines, made = in_words(told([rate(10, 0.6)], [rate(20, 0.9)], [rate(30, 0.7)]))
    assert lines == [
        "  Cause in Trial 0001, Trial 0002, Trial 0003: learning rate too high (likely in",
        "    2 of 3, else unclear).",
        "    In Trial 0002:",
        "      The learning rate is 20.",
    ]
    assert (
        "Learning rate too high (likely in 2 of 3, else unclear) in Trial 0001, Trial 0002, Trial "
        "0003 In Trial 0002: where" in made
    )
    # The card says it; below it, it is not told again.
    assert made.count("The learning rate is 20.") == made.count("Lower it.") == 1


def test_of_one_trial_or_of_trials_alike_nobody_asks_whose_they_are() -> None:
    for causes in ([[rate(10)]], [[rate(10)], [rate(10)]]):
        full = told(*causes)
        lines, made = in_words(full)
        assert lines[1:] == ["    The learning rate is 10."]
        assert "In Trial" not in made


def test_runs_without_a_trial_are_called_runs() -> None:
    full = told([rate(10)], [rate(20)], trial_id=None, search=None)
    (found,) = same_causes(as_overview(full).runs)
    assert found.names == ["0001/execution0", "0002/execution0"]
    assert found.whose == "In 0001/execution0:"


def test_the_cause_that_came_second_is_told() -> None:
    inputs = [rate(10), second("unscaled_inputs", 0.26), second("label_range", 0.05)]
    lines, made = in_words(told(inputs))
    assert lines[-1] == "    Next likely: inputs not scaled."
    assert "Next likely: inputs not scaled." in made
    # Of several trials: over all of them, or in which.
    weaker = [rate(20), second("unscaled_inputs", 0.12)]
    assert in_words(told(inputs, weaker))[0][-1] == (
        "    Next likely: inputs not scaled."
    )
    other = [rate(30), second("label_range", 0.3)]
    said = " ".join(in_words(told(inputs, weaker, other, [rate(40)]))[0])
    assert " ".join(said.split()).endswith(
        "Next likely: labels outside of what the loss takes in Trial 0003; inputs not scaled in Trial 0001, Trial 0002."
    )


@pytest.mark.parametrize("sure", [0.0, 0.04, math.nextafter(MIN_RUNNER_UP, 0)])
def test_a_second_cause_that_is_hardly_likely_is_not_told(sure: float) -> None:
    lines, made = in_words(told([rate(10), second("unscaled_inputs", sure)]))
    assert "unscaled" not in made and not any("Next" in line for line in lines)


def test_what_would_have_been_named_stands_beside_unknown() -> None:
    unknown = Cause("unknown", 0.0, ["where"], "Look.")
    lines, _ = in_words(told([unknown, rate(10, 0.39)]))
    assert lines == [
        "  Cause in Trial 0001: unknown.",
        "    Next likely: learning rate too high.",
    ]


def test_the_threshold_is_where_no_cause_was_right() -> None:
    """On the programs of docs/diagnosis.md, among all that were named."""
    path = Path(__file__).parents[2] / "docs" / "diagnosis.md"
    rows = re.findall(
        r"^\| (0\.\d) to (\d\.\d) \| (\d+) \| [\d.]+ \| (\d+) \(", path.read_text(), re.M
    )
    below = [row for row in rows if float(row[1]) <= MIN_RUNNER_UP]
    above = [row for row in rows if float(row[0]) >= MIN_RUNNER_UP]
    assert len(below) + len(above) == len(rows) >= 2
    assert below and all(right == "0" for *_, right in below)
    assert all(int(right) > 0 for *_, right in above)


def test_names_of_others_do_no_harm() -> None:
    evil = "\x1b[31m\u202e<b>"
    full = told([rate(10)], [rate(20)], trial_id=evil)
    (found,) = same_causes(as_overview(full).runs)
    assert found.whose == "In Trial \ufffd<b>:"
    assert "&lt;b&gt;" in page(as_overview(full), {}) and "\x1b" not in found.whose
