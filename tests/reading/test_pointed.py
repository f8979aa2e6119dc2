"""The bound that the bad trials' causes point at where counts prove none."""

from __future__ import annotations

import warnings

import pytest

from tb_nanwatch.errors import NanWatchWarning
from tb_nanwatch.reading.search.analysis import Analysis, analyse
from tb_nanwatch.reading.search.stable_space import stable_space
from tb_nanwatch.reading.search.trials import ComparedTrial
from tb_nanwatch.record.schema import HParam


def trial(
    rate: float, bad: bool, kind: str = "sgd", sure: str = "tested", other: float = 0.5
) -> ComparedTrial:
    hparams = [
        HParam("lr", rate, "float", min=1e-3, max=10.0, sampling="log", default=1e-3),
        HParam("kind", kind, "choice", values=["sgd", "adam"], default="sgd"),
        HParam("rate", other, "float", min=0.0, max=1.0, sampling="linear", default=0.0),
    ]
    if not bad:
        return ComparedTrial(hparams, False, rate)
    cause = ("loss total", "learning_rate", rate, None, "Lower it.", sure)
    return ComparedTrial(hparams, True, None, ("loss", "total"), *cause[1:])


def small(*trials: ComparedTrial) -> Analysis:
    return analyse("search", trials)


def test_one_trial_of_three_tells_where_to_cut() -> None:
    found = small(trial(0.31, True), trial(0.02, False), trial(0.07, False, other=0.1))
    (finding,) = found.findings
    assert finding.condition == "lr >= 0.31" and finding.hparam == "lr"
    assert finding.inside == (1, 1) and finding.outside == (0, 2)
    assert 'hp.Float("lr"' in finding.edit and "best score kept" in finding.saves
    assert finding.p_value > 0.03 and "A hint" in found.verdict


@pytest.mark.parametrize(
    "trials",
    [
        # Nobody is sure of the cause.
        (trial(0.31, True, sure="unclear"), trial(0.02, False), trial(0.07, False)),
        # Two hyperparameters have the value that the cause is about.
        (trial(0.31, True, other=0.31), trial(0.02, False), trial(0.07, False)),
        # Most lived at larger values.
        (trial(0.31, True), trial(0.02, False), *[trial(1.0 + i, False) for i in range(3)]),
    ],
)  # fmt: skip
def test_it_stays_silent(trials: tuple[ComparedTrial, ...]) -> None:
    assert small(*trials).findings == []


def test_one_more_condition_where_that_loses_fewer_clean_trials() -> None:
    found = small(
        trial(1.0, True), trial(3.0, True), trial(0.1, False),
        trial(1.0, False, "adam"), trial(3.0, False, "adam"), trial(0.1, False, "adam"),
    )  # fmt: skip
    assert found.findings[0].condition == "kind = sgd and lr >= 1.0"
    assert found.findings[0].inside == (2, 2)


def test_the_space_of_a_small_search() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cut = stable_space([trial(0.31, True), trial(0.02, False), trial(0.07, False)])
    (rate,) = [h for h in cut.space if h.name == "lr"]
    assert 0.07 <= rate.max_value < 0.31
    with pytest.warns(NanWatchWarning, match="nothing was cut away.*1 of 3 trials"):
        left = stable_space(
            [trial(0.31, True, sure=""), trial(0.02, False), trial(0.07, False)]
        )
    assert [h.max_value for h in left.space if h.name == "lr"] == [10.0]
