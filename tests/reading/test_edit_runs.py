"""Each edit is applied as its words say to the program it was made for, which is then run.

The edited space has the bounds that the edit claims, and the rest as it was.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tb_nanwatch.declaring.cut import Cut, short_between
from tb_nanwatch.declaring.declaration import listed
from tb_nanwatch.reading.search import edit as edits
from tb_nanwatch.reading.search.axes import Axis, axes_of
from tb_nanwatch.reading.search.edit import Edit
from tb_nanwatch.record.schema import HParam
from tests.reading.edited_programs import edited, explored, loaded, program

DEMO = Path(__file__).resolve().parents[2] / "demo"
_TRIALS = 24
_EDITS = 12  # of each program
_PLACES: Counter[str] = Counter()


def cuts(axis: Axis) -> Iterator[Cut]:
    """Cuts that leave something over."""
    if axis.ordered:
        values = sorted({float(v) for v in axis.numbers if not math.isnan(v)})
        bound = short_between(values[0], values[-1], axis.log)
        yield Cut(axis.name, "ge", bound)
        yield Cut(axis.name, "le", bound)
    else:
        yield Cut(axis.name, "in", values=(axis.levels[0],))


def offers(trials: list[list[HParam]]) -> Iterator[tuple[Edit, Cut, str | None]]:
    """All edits of a space, with their cuts and the parent of a conditional one."""
    axes = axes_of(trials)
    known = list({(h.name, repr(h.conditions)): h for t in trials for h in t}.values())
    for index, axis in enumerate(axes):
        for cut in cuts(axis):
            found = edits.unconditional(cut, axis, known)
            if found is not None:
                yield found, cut, None
            for at, parent in enumerate(axes):
                levels = listed(parent.specs[0]) if parent is not axis else None
                if not levels:
                    continue
                for few in (levels[:1], levels[-1:]):
                    found = edits.within(cut, axis, parent, few, known, at < index)
                    if found is not None:
                        yield found, cut, parent.name


def specs(trials: list[list[HParam]]) -> dict[tuple[str, str], tuple[object, ...]]:
    return {
        (h.name, repr(h.conditions)): (
            h.type, h.min, h.max, h.step, h.sampling, h.values, h.ordered, h.default,
        )
        for t in trials
        for h in t
        if h.active
    }  # fmt: skip


def check(
    text: str,
    edit: Edit,
    cut: Cut,
    parent: str | None,
    path: Path,
    before: list[list[HParam]],
    read: bool = True,
) -> None:
    changed = edited(text, edit)
    after, used = explored(loaded(changed, path), len(before), read)
    told = f"{edit.where}\n{changed}"
    for trial, taken in zip(after, used, strict=True):
        if not isinstance(taken, dict):  # a model, of a program that nobody made for this
            taken = {h.name: h.value for h in trial if h.active}
        assert None not in taken.values(), told
        # An edit that does nothing would leave values on the wrong side of the cut.
        if edit.hparam in taken and cut.takes(taken[edit.hparam]):
            active = {h.name: h for h in trial if h.active}
            assert parent is not None and edit.keeps(active), told
    old, new = specs(before), specs(after)
    added = {name for name, _ in new} - {name for name, _ in old}
    assert len(added) == (parent is not None), told
    for key, spec in old.items():
        if key[0] != edit.hparam and key in new:
            assert new[key] == spec, (key, told)


@pytest.mark.parametrize("seed", range(30))
def test_edits_of_a_generated_program_run(seed: int, tmp_path: Path) -> None:
    path, text = tmp_path / "prog.py", program(seed)
    before, _ = explored(loaded(text, path), _TRIALS)
    offered = list(offers(before))
    rng = random.Random(seed)
    for edit, cut, parent in rng.sample(offered, min(_EDITS, len(offered))):
        _PLACES[edit.place] += 1
        check(text, edit, cut, parent, path, before)


@pytest.mark.parametrize("read", [True, False])
@pytest.mark.parametrize(
    "program",
    ["01_as_asked.py", "02_unscaled_data.py", "03_custom_loss.py", "04_wide_search.py"],
)
def test_edits_of_the_demo_run(
    program: str, read: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(DEMO))
    path, text = tmp_path / program, (DEMO / program).read_text("utf-8")
    before, _ = explored(loaded(text, path), 6, read)
    offered = list(offers(before))
    assert offered
    rng = random.Random(0)
    for edit, cut, parent in rng.sample(offered, min(4, len(offered))):
        if read:
            assert edit.place != "declaration"
        check(text, edit, cut, parent, path, before, read)


def test_every_kind_of_place_was_among_them() -> None:
    if sum(_PLACES.values()) < 100:
        pytest.skip("the programs above ran in another process, or not at all")
    assert set(_PLACES) == {"first", "statement", "call", "above"}
