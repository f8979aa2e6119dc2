"""Advice to clip gradients knows of the clipping that is in force."""

from __future__ import annotations

from typing import Any

import pytest

from tb_nanwatch.diagnosis.measured import measure
from tb_nanwatch.diagnosis.ranking import diagnose
from tb_nanwatch.diagnosis.rules import outlier as outlier_rules
from tb_nanwatch.diagnosis.rules import rate_fixes
from tb_nanwatch.record.schema import Experiment, PostMortem
from tests.diagnosis.records import GREW, SGD, facts, met, outlier


def amplified(**setting: Any) -> str:
    optimizer = {**SGD, **setting}
    run = facts("total", sizes={"dense/kernel": 1e4}, later=GREW, optimizer=optimizer)
    (cause, *_) = diagnose(run)
    assert cause.id == "gradient_amplification"
    return cause.fix


@pytest.mark.parametrize("setting", [{}, {"clipnorm": None}, {"clipvalue": 0}])
def test_gradients_that_are_not_clipped_may_be(setting: dict[str, Any]) -> None:
    assert ", clip the gradients (clipnorm=1.0, or clipvalue=1.0 where" in amplified(
        **setting
    )


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"clipnorm": 50.0}, "lower than by clipnorm=50 (e.g. clipnorm=1)"),
        ({"clipnorm": 1.0}, "lower than by clipnorm=1 (e.g. clipnorm=0.1)"),
        ({"clipvalue": 0.5}, "lower than by clipvalue=0.5 (e.g. clipvalue=0.05)"),
        (
            {"global_clipnorm": 10, "clipnorm": None},
            "lower than by global_clipnorm=10 (e.g. global_clipnorm=1)",
        ),
    ],
)
def test_gradients_that_are_clipped_are_clipped_lower(
    setting: dict[str, Any], said: str
) -> None:
    fix = amplified(**setting)
    # Keras takes one of the three settings: no other is named.
    assert f", clip the gradients {said}, and for" in fix and "1.0" not in fix


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({}, ", or clip the gradients (global_clipnorm=1.0)."),
        (
            {"clipnorm": 5.0},
            ", or clip the gradients lower (global_clipnorm=1.0 instead of clipnorm=5).",
        ),
        ({"global_clipnorm": 1.0}, "to 1e-03."),
        ({"global_clipnorm": 0.5}, "to 1e-03."),
    ],
)
def test_what_helped_when_tried_says_what_it_replaces(
    setting: dict[str, Any], said: str
) -> None:
    tried = Experiment("clip", "clipped", finite=True, steps=9, learns=True)
    run = met(
        facts("total", optimizer={**SGD, **setting}), PostMortem(experiments=[tried])
    )
    assert rate_fixes.lower_rate(measure(run), 1e-3).endswith(said)


@pytest.mark.parametrize("norm", [None, 3.0])
def test_an_outlier_of_an_earlier_batch(norm: float | None) -> None:
    run = facts("total", optimizer={**SGD, "clipnorm": norm})
    found = PostMortem(outliers=[outlier(ago=1)])
    said = outlier_rules._fix(measure(met(run, found)), found.outliers)
    lower = " lower than by clipnorm=3 (e.g. clipnorm=1)" if norm else " (clipnorm=1.0)"
    assert f" Or clip the gradients{lower}, which keeps one row" in said
