"""The terminal's report on a wide search: what comes first, and what is said once."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from tb_nanwatch.diagnosis.closest import LARGEST, NEAR, closest_call
from tb_nanwatch.reading.report import terminal
from tb_nanwatch.reading.report.overview import overview
from tb_nanwatch.reading.report.tables import table_of
from tb_nanwatch.record.schema import HParam
from tests.reading.records import CTX, a_status, a_verdict, write
from tests.support.told import as_json, as_overview

NOISE = [f"noise_{i}" for i in range(20)]


def a_run(index: int, bad: bool) -> list[Any]:
    rate = 0.5 + 0.01 * index if bad else 0.01 + 0.001 * index
    hparams = [HParam(name, (index * 7 + i) % 5, "int") for i, name in enumerate(NOISE)]
    hparams += [
        HParam("rate", rate, "float", min=1e-3, max=1.0, sampling="log"),
        HParam("batch_size", 32, "fixed"),
    ]
    status = a_status(index, bad=bad, trial_id=str(index), hparams=hparams)
    status.number = index + 1
    return [status, a_verdict(index, trial_id=str(index))]


@pytest.fixture
def wide(tmp_path: Path, read: Any) -> dict[str, Any]:
    """A search over 22 hyperparameters in which high rates went bad."""
    for i in range(16):
        write(tmp_path / str(i) / "execution0", *a_run(i, bad=i < 8))
    return as_json(overview(read().snapshot(CTX, "")))


def printed(full: dict[str, Any]) -> str:
    out = io.StringIO()
    terminal.render(as_overview(full), out, every=True)
    return out.getvalue()


def test_what_matters_comes_first_and_fits(wide: dict[str, Any]) -> None:
    lines = printed(wide).splitlines()
    (head,) = [line for line in lines if line.strip().startswith("trial  ")]
    titles = head.split()
    assert titles[titles.index("cause") + 1] == "rate"
    assert titles[-1] == "score"
    rows = lines[lines.index(head) + 1 :][:16]
    assert {row.split()[0] for row in rows} == {f"#{i + 1}" for i in range(16)}
    assert max(map(len, [head, *rows])) <= 80
    assert "unknown" in rows[0]
    (same,) = [line for line in lines if "The same in all" in line]
    assert same == "  The same in all: batch_size=32."
    (at,) = [i for i, line in enumerate(lines) if "Without a column" in line]
    left = " ".join(lines[at:])
    assert sum(name in titles for name in NOISE) + left.count("noise_") == 20


def test_what_went_bad_and_a_count_of_the_others(wide: dict[str, Any]) -> None:
    out = io.StringIO()
    terminal.render(as_overview(wide), out)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    # The condition that leads says of which values they died: they need no table.
    assert "  Bad: Trial #1, #2, #3, #4, #5, #6 and 2 more." in lines
    assert "  The others: 8 clean." in " ".join(lines)
    assert len(lines) <= 30


@pytest.mark.parametrize("width", [40, 220, 1000])
def test_the_width_decides_how_many_are_shown(width: int, wide: dict[str, Any]) -> None:
    full = as_overview(wide)
    table = table_of(full.runs, full.findings, full.searches[0].rates, width)
    shown = [name for name in table.rows[0] if name in ("rate", *NOISE)]
    assert shown[0] == "rate"
    assert (len(shown) == 1) == (width == 40)
    assert (len(shown) == 21) == (width == 1000)
    assert any("Without a column" in note for note in table.notes) == (width < 1000)


def test_nothing_is_said_twice(wide: dict[str, Any]) -> None:
    (search,), (finding,) = wide["searches"], wide["findings"]
    text = " ".join(printed(wide).split())
    sentence = "rate >= 0.5 went bad in 8 of 8 trials"
    assert sentence in search["verdict"] and sentence in finding["text"]
    assert text.count(sentence) == 1
    assert text.lower().count("removes 8 of 8 bad trials") == 1
    assert all(line.strip() in text for line in finding["edit"].splitlines())


def test_columns_that_say_nothing_are_left_out(tmp_path: Path, read: Any) -> None:
    write(tmp_path / "a", a_status(1), a_verdict(1))
    full = as_json(overview(read().snapshot(CTX, "")))
    assert "first bad step" not in printed(full) and "cause" not in printed(full)
    write(tmp_path / "b", a_status(2, bad=True), a_verdict(2))
    full = as_json(overview(read().snapshot(CTX, "")))
    assert "first bad step" in printed(full) and "cause" in printed(full)


# --- The closest call -------------------------------------------------------------------


def test_the_closest_call() -> None:
    tensors = {"float16": ["activation", "dense_1"]}
    call = closest_call({"float16": 30000 / 65504, "float32": 1e-35}, tensors)
    assert call is not None
    assert (call.dtype, call.kind, call.name) == ("float16", "activation", "dense_1")
    assert call.value == pytest.approx(30000) and call.limit == 65504
    # A log from before tensors were named.
    old = closest_call({"float16": 30000 / 65504})
    assert old is not None and (old.kind, old.name) == ("", "")
    nearest = closest_call({"float16": 0.3, "bfloat16": 0.9})
    assert nearest is not None and nearest.dtype == "bfloat16"


@pytest.mark.parametrize(
    "shares",
    [{}, {"float16": NEAR / 2}, {"float32": 1e-30}, {"float8": 0.5},
     {"float16": float("nan")}, {"float16": float("inf")}],
)  # fmt: skip
def test_no_close_call(shares: dict[str, float]) -> None:
    assert closest_call(shares) is None


def test_every_limit_is_the_dtypes() -> None:
    import numpy as np

    for name in ("float16", "float32", "float64"):
        assert float(np.finfo(name).max) == pytest.approx(LARGEST[name], rel=1e-7)


def test_the_closest_call_is_reported_of_clean_runs_alone(
    tmp_path: Path, read: Any
) -> None:
    near: dict[str, Any] = {
        "closest": {"float16": 30000 / 65504},
        "closest_in": {"float16": ["activation", "dense_1"]},
    }
    write(tmp_path / "a", a_status(1, **near))
    write(tmp_path / "b", a_status(2))
    write(tmp_path / "c", a_status(3, bad=True, **near))
    full = as_json(overview(read().snapshot(CTX, "")))
    calls = {r["trial_id"]: r["closest_call"] for r in full["runs"]}
    assert calls["0002"] is calls["0003"] is None
    text = "output of dense_1 reached 3e+04 of 65504 in float16"
    assert calls["0001"]["text"] == text
    lines = printed(full).splitlines()
    (at,) = [i for i, x in enumerate(lines) if "Closest call" in x]
    assert " ".join(f"{lines[at]} {lines[at + 1]}".split()) == (
        f"Closest call of what stayed finite: Trial 0001, {text}."
    )
    write(tmp_path / "a", a_status(4, trial_id="0001"))
    full = as_json(overview(read().snapshot(CTX, "")))
    assert "Closest call" not in printed(full)
