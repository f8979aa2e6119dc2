# SPDX-License-Identifier: Apache-2.0
"""Turns the operation in which non-finite values began into a post-mortem; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tb_nanwatch.postmortem.counting import bad_rows
from tb_nanwatch.postmortem.flow import BadOrigin, Counts, Flow, Op
from tb_nanwatch.record.schema import PostMortem

# Rows that a sentence lists.
_SHOWN_ROWS: Final = 10


def result_of(
    flow: Flow,
    origin: BadOrigin,
    data: Mapping[int, Any],
    public_name: Callable[[str], str],
    outside: str,
) -> PostMortem:
    """Returns the post-mortem of a tensor, once the operation that made it bad is known.

    Args:
        flow: of the step.
        origin: in it.
        data: the batch's arrays, by id.
        public_name: returns the name under which users call an operation of a type.
        outside: what is said of values that no operation made.
    """
    result = PostMortem(reproduced=True)
    if origin.op is not None:
        batch = {len(array) for array in data.values() if array.ndim}
        return _name_op(result, origin, origin.op, batch, public_name)
    if origin.data:
        at = origin.data[0]
        result.data = flow.data[at]
        result.rows = bad_rows(data[at]) if at in data else []
        counts = flow.counts[at]
        rows = ", ".join(map(str, result.rows[:_SHOWN_ROWS]))
        rows += ", ..." if len(result.rows) > _SHOWN_ROWS else ""
        result.text = f"{result.data} itself has {words(counts)}" + (
            f", in row{'s' if len(result.rows) > 1 else ''} {rows} of the batch"
            if result.rows
            else ""
        )
        result.num_nan, result.num_pos_inf = counts.nan, counts.pos_inf
        result.num_neg_inf = counts.neg_inf
    elif origin.held:
        result.held = origin.held[0]
        result.reason = f"{result.held} was non-finite before the step already."
    else:
        result.reason = f"Where the non-finite values came from could not be followed: they were {outside}."
    return result


def _name_op(
    result: PostMortem,
    origin: BadOrigin,
    op: Op,
    batch: set[int],
    public_name: Callable[[str], str],
) -> PostMortem:
    forward = op.forward if op.gradient else None
    result.op_type = op.op_type
    result.forward_type = forward.op_type if forward else op.op_type
    result.gradient = op.gradient
    result.op = public_name(forward.op_type if forward else op.op_type)
    result.layer, result.owner = op.layer, op.owner
    result.source = op.place.resolve() if op.place is not None else None
    counts = next(iter(op.bad.values()), Counts())
    result.num_nan, result.num_pos_inf = counts.nan, counts.pos_inf
    result.num_neg_inf = counts.neg_inf
    if op.details is not None:
        result.inputs = op.details.inputs
        result.finding = op.details.finding
        result.size, result.shape = op.details.size, op.details.shape
        result.dtype = op.details.dtype
        if op.details.shape[:1] and op.details.shape[0] in batch:
            result.rows = op.details.rows
    if origin.constant:
        result.finding = (
            "an input that no operation made (a constant, NumPy) is not finite"
        )
    elif origin.infinities:
        result.finding = "it makes NaN of infinite inputs"
    result.text = _sentence(result, forward is not None)
    return result


def words(counts: Counts) -> str:
    """Returns in words how many values of a tensor are not finite."""
    parts = [
        f"{n:,} {name}"
        for n, name in (
            (counts.nan, "NaN"),
            (counts.pos_inf, "Inf"),
            (counts.neg_inf, "-Inf"),
        )
        if n
    ]
    return ", ".join(parts) or "finite values only"


def _sentence(result: PostMortem, has_forward: bool) -> str:
    what = f"`{result.op}`"
    if result.gradient:
        what = f"the gradient of {what}" if has_forward else f"{what} in the gradient"
    if result.source is not None:
        what += f" at {result.source.file}:{result.source.line}"
    elif result.layer:
        what += f" in the layer {result.layer}"
    elif result.owner:
        what += f" in {result.owner}"
    return f"{what}: {result.finding}" if result.finding else what
