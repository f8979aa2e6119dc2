"""Steps into buckets: no step lost, no extreme lost, few buckets."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tb_nanwatch.record.schema import COUNT_COLUMNS, RANGE_COLUMNS
from tb_nanwatch.writing.recording.buckets import Bucket, FullLook, bucket_end
from tb_nanwatch.writing.recording.health import tensor_health

RMS = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 12), st.just(3)),
    elements=st.floats(1e-30, 1e30) | st.sampled_from([0.0, np.nan]),
)


def column(bucket: Bucket, name: str) -> Any:
    return bucket.stats()[:, RANGE_COLUMNS.index(name)]


def test_buckets_tile_a_million_steps_without_gap_or_overlap() -> None:
    start, buckets = 0, 0
    while start < 1_000_000:
        end = bucket_end(start)
        assert end >= start
        # A bucket is never wider than a small share of the steps before it.
        assert end - start + 1 <= max(1, start / 32)
        start, buckets = end + 1, buckets + 1
    assert buckets < 400
    assert [bucket_end(s) for s in range(32)] == list(range(32))


@given(RMS, st.data())
def test_merging_loses_no_extreme(rms: Any, data: st.DataObject) -> None:
    bad = np.isnan(rms) & data.draw(hnp.arrays(np.bool_, rms.shape))
    bucket, at = Bucket.empty(40, 3), 0
    while at < len(rms):
        n = data.draw(st.integers(1, len(rms) - at))
        bucket.add_rows(rms[at : at + n], bad[at : at + n])
        at += n
    assert (bucket.start, bucket.end) == (40, 40 + len(rms) - 1)
    for probe in range(3):
        known = [v for v in rms[:, probe] if not np.isnan(v)]
        got = [column(bucket, c)[probe] for c in ("rms_min", "rms_max", "rms")]
        if known:
            mean = np.sqrt(np.mean(np.square(known)))
            np.testing.assert_allclose(got, [min(known), max(known), mean], rtol=1e-6)
        else:
            assert np.isnan(got).all()
    assert (bucket.bad_steps == bad.sum(0)).all()


TENSORS = st.lists(
    hnp.arrays(np.float32, hnp.array_shapes(max_dims=2, max_side=4)),
    min_size=1,
    max_size=6,
)


@given(TENSORS)
def test_full_looks_equal_numpy_over_all_of_them(tensors: list[Any]) -> None:
    bucket = Bucket.empty(0, 2)
    for step, tensor in enumerate(tensors):
        bucket.add_look(FullLook(step, {1: [tensor_health(tensor)]}))
    every = np.concatenate([t.reshape(-1) for t in tensors])
    finite = every[np.isfinite(every)]
    expected = [finite.min(), finite.max()] if finite.size else [np.nan, np.nan]
    got = [column(bucket, "min")[1], column(bucket, "max")[1]]
    np.testing.assert_array_equal(got, expected)
    zeros = np.count_nonzero(every == 0) / every.size
    np.testing.assert_allclose(column(bucket, "zero_fraction")[1], zeros, rtol=1e-6)
    counts = [np.isnan(every).sum(), np.isposinf(every).sum(), np.isneginf(every).sum()]
    assert bucket.counts[1].tolist() == counts and len(counts) == len(COUNT_COLUMNS)
    assert bucket.measured == len(tensors)
    # The probe that no look saw knows nothing.
    assert np.isnan(bucket.stats()[0]).all() and not bucket.counts[0].any()


def test_replicas_are_merged_in_one_look() -> None:
    bucket = Bucket.empty(0, 1)
    low = tensor_health(np.array([-3.0, np.nan], np.float32))
    high = tensor_health(np.array([7.0, np.inf], np.float32))
    bucket.add_look(FullLook(0, {0: [low, high]}))
    assert (column(bucket, "min")[0], column(bucket, "max")[0]) == (-3, 7)
    assert bucket.counts[0].tolist() == [1, 1, 0] and bucket.measured == 1


def test_what_is_finite_stays_finite() -> None:
    bucket = Bucket.empty(0, 1)
    bucket.add_look(FullLook(0, {0: [tensor_health(np.array([-1e300, 1e300]))]}))
    bucket.add_rows(np.array([[1e100]]), np.array([[False]]))
    stats = bucket.stats()[0]
    assert np.isfinite(stats[RANGE_COLUMNS.index("min")])
    assert np.isfinite(stats[RANGE_COLUMNS.index("rms_max")])


@given(RMS, st.integers(0, 3))
def test_widening_keeps_what_was_known(rms: Any, more: int) -> None:
    bucket = Bucket.empty(0, 3)
    bucket.add_rows(rms, np.isnan(rms))
    before = bucket.stats()
    bucket.widen(3 + more)
    np.testing.assert_array_equal(bucket.stats()[:3], before)
    assert bucket.stats().shape == (3 + more, len(RANGE_COLUMNS))
    assert np.isnan(bucket.stats()[3:]).all()
    bucket.widen(2)  # never narrower
    assert len(bucket.stats()) == 3 + more
