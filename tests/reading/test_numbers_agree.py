"""The numbers of one screen: of the condition, of its edit, and of what was tried."""

from __future__ import annotations

import pytest

from tb_nanwatch.reading.search.analysis import analyse, stable_cuts
from tb_nanwatch.reading.search.trials import ComparedTrial
from tb_nanwatch.record.schema import HParam


def rates(
    good: list[float], bad: list[float], kind: str = "float", failed: float | None = None
) -> list[ComparedTrial]:
    """Returns a trial for each rate, declared as a `hp.Float`, a `hp.Choice` or nowhere."""

    def trial(rate: float, is_bad: bool) -> ComparedTrial:
        spec = HParam("lr", rate, "number")
        if kind == "float":
            spec = HParam("lr", rate, kind, min=1e-3, max=10.0, sampling="log")
        elif kind == "choice":
            spec = HParam("lr", rate, kind, values=[*good, *bad], default=good[0])
        cause = ("learning_rate", rate, None, "Lower it.", "tested") if is_bad else ()
        return ComparedTrial(
            [spec], is_bad, None, None, *cause, failed=failed if is_bad else None
        )

    return [*(trial(r, False) for r in good), *(trial(r, True) for r in bad)]


@pytest.mark.parametrize("kind", ["float", "number"])
def test_the_bound_of_an_edit_says_between_which_values_it_lies(kind: str) -> None:
    (found,) = analyse("s", rates([0.002, 0.021], [0.051, 0.2], kind)).findings
    assert found.condition == "lr >= 0.051" and "0.03" in found.edit
    assert found.saves.endswith("; 0.03 lies between 0.021 (good) and 0.051 (bad)")


def test_a_bound_that_was_tried_is_said_so() -> None:
    (found,) = analyse("s", rates([0.004, 0.03], [0.0305, 0.2])).findings
    assert "0.03," in found.edit
    assert found.saves.endswith("; 0.03 was good, 0.0305 bad")


def test_of_a_list_of_values_nothing_is_to_be_explained() -> None:
    (found,) = analyse("s", rates([0.004, 0.02], [0.051, 0.2], "choice")).findings
    assert "[0.004, 0.02]" in found.edit and "between" not in found.saves


def test_a_condition_is_not_rounded_to_what_its_edit_keeps() -> None:
    (found,) = analyse("s", rates([0.004, 0.0213], [0.0221, 0.2])).findings
    assert '1e-3, 0.022, sampling="log")' in found.edit.replace("0.001", "1e-3")
    assert found.condition == "lr >= 0.0221"
    assert found.saves.endswith("; 0.022 lies between 0.0213 (good) and 0.0221 (bad)")


def test_an_edit_does_not_keep_what_was_tried_and_went_bad() -> None:
    trials = rates([0.004, 0.09], [1.6], failed=0.164)
    (found,) = analyse("s", trials).findings
    assert found.condition == "lr >= 1.6"  # of the trials, as before
    assert '0.001, 0.1, sampling="log")' in found.edit
    assert found.saves.endswith(
        "; 0.1 lies between 0.09 (good) and 0.16 (bad when tried)"
    )
    assert [c.bound for c in stable_cuts(trials)] == [0.1]


@pytest.mark.parametrize("failed", [None, 0.08, 1.6])
def test_what_others_lived_at_stays(failed: float | None) -> None:
    trials = rates([0.004, 0.09], [1.6], failed=failed)
    (found,) = analyse("s", trials).findings
    assert '0.001, 0.4, sampling="log")' in found.edit
    assert found.saves.endswith("; 0.4 lies between 0.09 (good) and 1.6 (bad)")
