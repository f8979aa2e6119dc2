"""Exact tests and intervals against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from tb_nanwatch.reading.search.statistics import (
    PRIOR,
    Marginal,
    fisher_exact,
    log_tails,
    wilson,
)

counts = st.integers(0, 300)


@settings(deadline=None)
@given(counts, counts, counts, counts)
def test_fisher_agrees_with_scipy(a: int, b: int, c: int, d: int) -> None:
    ours = fisher_exact((a, a + b), (c, c + d))
    theirs = scipy.stats.fisher_exact([[a, b], [c, d]]).pvalue
    assert ours == pytest.approx(theirs, rel=1e-8, abs=1e-300)


@settings(deadline=None)
@given(st.integers(1, 400), st.data())
def test_tails_agree_with_scipy(total: int, data: st.DataObject) -> None:
    bad = data.draw(st.integers(0, total))
    size = data.draw(st.integers(0, total))
    ours = np.exp(log_tails(total, bad, np.array([size]))[0])
    theirs = scipy.stats.hypergeom.sf(np.arange(bad + 1) - 1, total, bad, size)
    # SciPy's own sum of many terms is good to about ten digits.
    np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-300)


@settings(deadline=None)
@given(st.integers(1, 2000), st.data())
def test_wilson_agrees_with_scipy(total: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, total))
    interval = scipy.stats.binomtest(hits, total).proportion_ci(0.95, method="wilson")
    assert wilson(hits, total) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_nothing_tried_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_marginal_is_the_beta_integral() -> None:
    bad, total = np.array([0, 3, 10]), np.array([10, 10, 10])
    a = PRIOR
    theirs = scipy.special.betaln(bad + a, total - bad + a) - scipy.special.betaln(a, a)
    np.testing.assert_allclose(Marginal(20)(bad, total), theirs, rtol=1e-12)
