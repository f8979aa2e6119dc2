"""One tensor's health against a plain NumPy oracle, a loop over its elements."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tb_nanwatch.writing.recording import health as health_module
from tb_nanwatch.writing.recording.health import Health, tensor_health

FLOATS = [np.float16, np.float32, np.float64]


def oracle(tensor: Any) -> Health:
    """Counts one element after the other, in Python's own floats."""
    array = np.asarray(tensor)
    parts = 2 if array.dtype.kind == "c" else 1
    elements: list[float] = []
    for value in array.reshape(-1).tolist():
        if parts == 2:
            elements += [value.real, value.imag]
        else:
            elements.append(float(value))
    finite = [v for v in elements if math.isfinite(v)]
    bad = [i for i, v in enumerate(elements) if not math.isfinite(v)]
    row = None
    if bad and array.ndim:
        row = bad[0] // (len(elements) // array.shape[0])
    return Health(
        sum(math.isnan(v) for v in elements),
        sum(v == math.inf for v in elements),
        sum(v == -math.inf for v in elements),
        len(elements),
        min(finite, default=math.nan),
        max(finite, default=math.nan),
        math.fsum(_square(v) for v in finite),
        sum(v == 0 for v in elements),
        row,
    )


def _square(value: float) -> float:
    try:
        return value**2
    except OverflowError:
        return math.inf


def check(tensor: Any) -> None:
    got, expected = tensor_health(tensor), oracle(tensor)
    for name in ("num_nan", "num_pos_inf", "num_neg_inf", "size", "num_zero", "row"):
        assert getattr(got, name) == getattr(expected, name), name
    assert got.min == expected.min or (math.isnan(got.min) and math.isnan(expected.min))
    assert got.max == expected.max or (math.isnan(got.max) and math.isnan(expected.max))
    np.testing.assert_allclose(got.sum_squares, expected.sum_squares, rtol=1e-12)
    assert got.num_bad == got.num_nan + got.num_pos_inf + got.num_neg_inf
    finite = got.size - got.num_bad
    if finite and math.isfinite(expected.sum_squares):
        np.testing.assert_allclose(got.rms, math.sqrt(expected.sum_squares / finite))
    elif not finite:
        assert math.isnan(got.rms)


SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data())
def test_floats(dtype: Any, data: st.DataObject) -> None:
    check(data.draw(hnp.arrays(dtype, SHAPES)))


@given(hnp.arrays(np.float32, SHAPES, elements=st.floats(width=32) | st.just(math.nan)))
def test_bfloat16(array: Any) -> None:
    with np.errstate(over="ignore"):
        check(array.astype(ml_dtypes.bfloat16))


@given(hnp.arrays(hnp.integer_dtypes(), SHAPES))
def test_integers(array: Any) -> None:
    check(array)


@given(hnp.arrays(hnp.unsigned_integer_dtypes() | hnp.boolean_dtypes(), SHAPES))
def test_unsigned_integers_and_booleans(array: Any) -> None:
    check(array)


@given(hnp.arrays(hnp.complex_number_dtypes(sizes=(64, 128)), SHAPES))
def test_complex_tensors_are_their_parts(array: Any) -> None:
    check(array)


@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=3)),
    st.booleans(),
)
def test_views_and_other_orders(array: Any, reverse: bool) -> None:
    check(array.T)
    check(np.asfortranarray(array))
    check(array[::-1] if reverse else array[::2])


@settings(max_examples=50)
@given(
    size=st.integers(1, 40),
    chunk=st.integers(1, 7),
    bad=st.lists(
        st.tuples(st.integers(0, 39), st.sampled_from([np.nan, np.inf, -np.inf])),
        max_size=6,
    ),
)
def test_chunks_of_any_size_give_the_same(
    size: int, chunk: int, bad: list[tuple[int, float]]
) -> None:
    array = np.random.RandomState(size).randn(size).astype(np.float32)
    for index, value in bad:
        array[index % size] = value
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(health_module, "_CHUNK", chunk)
        check(array)
        check(array.reshape(-1, 1))


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 4)])
def test_empty(shape: tuple[int, ...]) -> None:
    got = tensor_health(np.zeros(shape, np.float32))
    np.testing.assert_equal(tuple(got), (0, 0, 0, 0, np.nan, np.nan, 0.0, 0, None))


@pytest.mark.parametrize("dtype", [*FLOATS, ml_dtypes.bfloat16, np.complex64])
def test_all_nan(dtype: Any) -> None:
    check(np.full((3, 4), np.nan).astype(dtype))


@pytest.mark.parametrize("value", [0.0, -2.5, np.nan, np.inf, -np.inf])
def test_scalars_have_no_row(value: float) -> None:
    got = tensor_health(np.float32(value))
    assert got.row is None and got.size == 1
    check(np.float32(value))


# One element beyond each border of the chunks of 2**20, and the borders themselves.
BORDERS = [0, (1 << 20) - 1, 1 << 20, (1 << 21) - 1, 1 << 21, (1 << 21) + 4]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ml_dtypes.bfloat16])
def test_beyond_a_million_elements(dtype: Any) -> None:
    n = (1 << 21) + 5
    whole = np.random.RandomState(0).randn(n).astype(np.float32).astype(dtype)
    plain = whole.astype(np.float64)
    got = tensor_health(whole)
    assert got.num_bad == 0 and got.row is None and got.size == n
    assert (got.min, got.max) == (plain.min(), plain.max())
    np.testing.assert_allclose(got.sum_squares, np.square(plain).sum(), rtol=1e-6)

    for first, border in enumerate(BORDERS):
        tensor = whole.copy()
        for i, place in enumerate(BORDERS[first:]):
            tensor[place] = (np.nan, np.inf, -np.inf)[i % 3]
        got = tensor_health(tensor)
        count = len(BORDERS) - first
        assert got.num_nan == len(range(0, count, 3))
        assert got.num_pos_inf == len(range(1, count, 3))
        assert got.num_neg_inf == len(range(2, count, 3))
        assert got.row == border
        finite = np.delete(plain, BORDERS[first:])
        assert (got.min, got.max) == (finite.min(), finite.max())


def test_the_row_of_a_large_tensor() -> None:
    tensor = np.zeros((1500, 1000), np.float32)
    tensor[1234, 999] = np.inf
    tensor[1400, 0] = np.nan
    assert tensor_health(tensor).row == 1234


def test_a_sum_that_overflows_is_no_fault() -> None:
    got = tensor_health(np.full(4, 1e200))
    assert got.num_bad == 0 and got.max == 1e200 and got.sum_squares == math.inf


def test_float32_squares_do_not_overflow() -> None:
    got = tensor_health(np.full(4, 1e30, np.float32))
    np.testing.assert_allclose(got.rms, 1e30, rtol=1e-6)
