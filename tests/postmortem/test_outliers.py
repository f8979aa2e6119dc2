"""What stands out in a batch: found where it was put, and nothing in ordinary data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tb_nanwatch.diagnosis.rules.thresholds import at
from tb_nanwatch.errors import NanWatchWarning
from tb_nanwatch.postmortem import outliers
from tb_nanwatch.postmortem.outliers import find, find_before
from tb_nanwatch.postmortem.run import run
from tb_nanwatch.postmortem.tape import Tape
from tb_nanwatch.record.schema import Outlier
from tb_nanwatch.writing.backends.tensorflow.tracer import StepTracer
from tests.postmortem.programs import compiled, mlp, numbers
from tests.postmortem.steps import first_step

Draw = Callable[[np.random.Generator, tuple[int, ...]], Any]
quick = settings(max_examples=60, deadline=None)

ORDINARY: dict[str, Draw] = {
    "normal": lambda r, shape: r.normal(size=shape),
    "shares": lambda r, shape: r.random(shape),
    "log-normal": lambda r, shape: np.exp(1.5 * r.normal(size=shape)),
    "Student's t": lambda r, shape: r.standard_t(3, shape),
    "exponential": lambda r, shape: r.exponential(size=shape),
    "columns of other scales": lambda r, shape: (
        r.normal(size=shape)
        * np.logspace(-6, 6, int(np.prod(shape[1:]))).reshape(shape[1:])
    ),
    "mostly zeros": lambda r, shape: r.exponential(size=shape) * (r.random(shape) < 0.05),
    "one of many": lambda r, shape: (r.random(shape) < 0.02).astype(float),
    "claims, rare and large": lambda r, shape: (
        1e5 * r.exponential(size=shape) * (r.random(shape) < 0.02)
    ),
    "bytes": lambda r, shape: r.integers(0, 256, shape) * (r.random(shape) < 0.3),
    "constant": lambda r, shape: np.full(shape, 1e20),
    "a fill value in every batch": lambda r, shape: np.where(
        np.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 1)) == 3,
        1e20,
        r.normal(size=shape),
    ),
}
shapes = st.sampled_from([(32, 4), (32, 6, 5, 2), (48,), (8, 3), (32, 40)])
seeds = st.integers(0, 1 << 32)


def batch(draw: Draw, seed: int, shape: tuple[int, ...], n: int = 0) -> Any:
    return draw(np.random.default_rng([seed, n]), shape).astype(np.float32)


@quick
@given(st.sampled_from(sorted(ORDINARY)), seeds, shapes, st.integers(0, 5))
def test_ordinary_data_have_none(
    name: str, seed: int, shape: tuple[int, ...], before: int
) -> None:
    if name == "a fill value in every batch" and not before:
        return  # of one batch alone nobody can tell
    batches = [batch(ORDINARY[name], seed, shape, n) for n in range(before + 1)]
    assert find((batches[-1], None), [(b, None) for b in batches[:-1]]) == []


@quick
@given(
    st.sampled_from(
        ["normal", "shares", "log-normal", "columns of other scales", "bytes"]
    ),
    seeds,
    st.sampled_from([(32, 4), (32, 6, 5, 2), (32, 40)]),
    st.integers(0, 5),
    st.sampled_from([1e7, -1e7, 9.97e36, -3e38, 1e20]),
    st.data(),
)
def test_what_was_put_there_is_found(
    name: str, seed: int, shape: tuple[int, ...], before: int, factor: float, data: Any
) -> None:
    place = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    batches = [batch(ORDINARY[name], seed, shape, n) for n in range(before + 1)]
    last = batches[-1]
    column = (slice(None), *place[1:])
    usual = max(float(np.abs(b[column]).max()) for b in (batches[:-1] or batches))
    value = np.float32(np.clip(max(usual, 1.0) * factor, -3.3e38, 3.3e38))
    last[place] = 0
    others = sum(np.count_nonzero(b[column]) for b in (batches[:-1] or batches))
    assume(others > at("outlier_others"))  # of fewer a column has no scale of its own
    last[place] = value
    (found,) = find({"x": last}, [{"x": b} for b in batches[:-1]])
    assert (found.name, found.rows, found.row) == ("input['x']", [place[0]], place[0])
    assert found.column == list(place[1:])
    assert np.float32(found.value) == value
    assert (found.count, found.size, found.batches) == (1, shape[0], before)
    # No value of the column was larger, as an independent look at all of them says.
    others = np.delete(last[column], place[0])
    elsewhere = [b[column] for b in batches[:-1]] or [others]
    assert found.usual >= max(float(np.abs(e).max()) for e in elsewhere)
    assert abs(found.value) > 1e3 * found.usual


@quick
@given(
    hnp.arrays(
        st.sampled_from([np.float16, np.float32, np.float64]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9),
    ),
    st.integers(0, 3),
)
def test_any_numbers_give_true_statements(values: Any, copies: int) -> None:
    for found in find(values, [values] * copies):
        place = (found.row, *found.column)
        assert values[place] == found.value and np.isfinite(found.value)
        assert found.row in found.rows and len(found.rows) <= max(1, len(values) // 4)
        assert abs(found.value) > 1e3 * found.usual > 0
    # Whatever was there before as well is none.
    assert not copies or find(values, [values] * copies) == []


@quick
@given(seeds, st.permutations(range(32)))
def test_the_order_of_rows_does_not_matter(seed: int, order: list[int]) -> None:
    x = batch(ORDINARY["normal"], seed, (32, 4))
    x[5, 2], x[9, 1] = 1e9, -4e7
    (one,), (other,) = find(x), find(x[order])
    assert one.value == other.value and one.usual == other.usual
    assert sorted(order[r] for r in other.rows) == one.rows == [5, 9]


def table(rows: int = 32, seed: int = 0) -> Any:
    return batch(ORDINARY["normal"], seed, (rows, 4))


def test_a_value_in_several_rows_is_one_only_where_it_is_new() -> None:
    x = table()
    x[[2, 7, 11], 1] = 1e20
    (found,) = find(x, [table(seed=1), table(seed=2)])
    assert found.rows == [2, 7, 11] and found.count == 3 and found.batches == 2
    assert find(x, [table(seed=1), x]) == []
    (found,) = find(x)
    assert found.rows == [2, 7, 11] and found.batches == 0


def test_a_batch_of_another_scale_has_no_outliers() -> None:
    assert find(1e6 * table(), [table(seed=1)]) == []
    x = table()
    x[:20] *= 1e6
    assert find(x, [table(seed=1)]) == find(x) == []


def test_a_column_of_nothing_but_zeros_is_measured_by_the_others() -> None:
    before = table(seed=1)
    before[:, 3] = 0
    x = table()
    x[:, 3] = 0
    x[4, 3] = 1.0  # the first of its kind, of ordinary size
    assert find(x, [before]) == find(x) == []
    x[4, 3] = -9999
    assert find(x, [before])[0].column == find(x)[0].column == [3]


def test_small_numbers_in_one_of_many_columns_prove_nothing() -> None:
    before, x = table(64, seed=1), table()
    before[:, 2] *= 1e-9
    x[:, 2] *= 1e-9
    x[3, 2] = 0.5
    assert find(x, [before]) == find(x) == []


def test_labels_and_weights_are_named_and_the_worst_comes_first() -> None:
    x, y, weight = table(), table()[:, 0], np.ones(32, np.float32)
    x[3, 1], y[3], weight[8] = -9999, 1e20, 1e5
    names = [(o.name, o.row, o.column) for o in find((x, {"a": y}, weight))]
    assert names == [("label['a']", 3, []), ("sample_weight", 8, []), ("input", 3, [1])]


@pytest.mark.parametrize(
    "data",
    [
        None,
        np.arange(32).reshape(8, 4) ** 9,  # integers: indices, not sizes
        np.float32(1e30),
        np.zeros((0, 4), np.float32),
        np.array([["a"] * 4] * 8),
        np.float32([[1.0], [1e30]]),  # too few rows to compare with
        np.full((32, 4), np.nan, np.float32),
    ],
)
def test_what_cannot_be_compared_has_none(data: Any) -> None:
    assert find((data, None, None)) == find(data, [data, data]) == []


def test_tensors_and_half_precision_are_read_like_arrays() -> None:
    x = table()
    x[3, 1] = -9999
    expected = find(x, [table(seed=1)])
    tensors = [tf.constant(table(seed=1))]
    assert find(tf.constant(x), tensors) == find(x, tensors) == expected
    for dtype in (tf.bfloat16, tf.float16):
        (found,) = find(tf.cast(x, dtype).numpy(), [tf.cast(tensors[0], dtype).numpy()])
        assert (found.rows, found.column) == ([3], [1])
        assert found.value == pytest.approx(-9999, rel=1e-2)


def test_what_is_not_finite_is_left_out() -> None:
    x, before = table(), table(seed=1)
    x[0, 1], x[1, 1], before[0, 1] = np.nan, -np.inf, np.inf
    assert find(x, [before]) == []
    x[3, 1] = -9999
    assert find(x, [before])[0].rows == find(x)[0].rows == [3]


def test_batches_of_other_shapes_are_passed_over() -> None:
    x = table()
    x[3, 1] = -9999
    (found,) = find(x, [table(7, seed=1), table()[:, :2], table(1)[0]])
    assert found.batches == 1
    assert find(x, [table()[:, :2]])[0].batches == 0
    assert find((x, None), [x[:0], (x[:, :3], x)])[0].batches == 0


def test_of_the_batches_before_the_last_that_has_some_is_told() -> None:
    bad = table(seed=9)
    bad[3, 1] = -9999
    well = [table(seed=n) for n in range(1, 8)]
    (found,) = find_before([*well[:4], bad, well[4]])
    assert (found.ago, found.batches, found.rows) == (2, 4, [3])
    (first,) = find_before([bad, *well[:2]])  # with nothing before it: its other rows
    assert (first.ago, first.batches) == (3, 0)
    (worse,) = find_before([*well[:2], bad, 10 * bad])  # no longer new, but the first was
    assert worse.ago == 2
    assert find_before(well) == find_before([]) == []
    # What came long before has done its harm by now.
    assert find_before([*well[:2], bad, *[well[3]] * 8]) == []


# --- In the post-mortem ------------------------------------------------------------------


def squared() -> tuple[Any, Any, Any]:
    x, y = numbers(16, 4), numbers(16, 1)
    y[6] = 1e20
    return compiled(mlp()), x, y


def before(batches: list[Any]) -> Tape:
    """Returns a tape of steps before a failing step 0; nothing can be restored from it."""
    return Tape(-len(batches), lambda: None, batches)


def test_the_post_mortem_tells_the_outliers_of_its_batch() -> None:
    model, x, y = squared()
    capsule = first_step(model, x, y)
    tracer = StepTracer(model)
    alone = run(model, capsule, tracer)
    assert alone.reproduced and alone.rows == [6]
    assert [(o.name, o.rows, o.batches) for o in alone.outliers] == [("label", [6], 0)]
    assert np.float32(alone.outliers[0].value) == np.float32(1e20)
    usual = numbers(16, 1)
    (found,) = run(model, capsule, tracer, tape=before([(x, usual)] * 3)).outliers
    assert found.batches == 3
    assert found.usual == pytest.approx(float(np.abs(usual).max()))
    same = run(model, capsule, tracer, tape=before([(x, usual), (x, y)])).outliers
    assert [(o.ago, o.batches, o.rows) for o in same] == [(1, 1, [6])]


def test_it_tells_them_even_if_the_step_cannot_be_run_again() -> None:
    model, x, y = squared()
    capsule = first_step(model, x, y)
    result = run(model, capsule, StepTracer(model), seconds=0)
    assert not result.reproduced and len(result.outliers) == 1
    capsule.replicas = 2  # its rows are those of a share
    assert run(model, capsule, StepTracer(model)).outliers == []


def test_what_goes_wrong_there_costs_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, x, y = squared()
    capsule = first_step(model, x, y)

    def broken(*_: Any) -> list[Outlier]:
        raise MemoryError("full")

    monkeypatch.setattr(outliers, "find", broken)
    with pytest.warns(NanWatchWarning, match="training is not affected"):
        result = run(model, capsule, StepTracer(model))
    assert result.reproduced and result.outliers == []
