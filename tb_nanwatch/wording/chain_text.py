# SPDX-License-Identifier: Apache-2.0
"""Where the input of the first bad operation came from, in sentences; pure."""

from __future__ import annotations

import math
from typing import Final

from tb_nanwatch.record.schema import Link, Outlier, PostMortem, Since
from tb_nanwatch.wording.counts import counted
from tb_nanwatch.wording.row_values import LEFT_OUT, of_a_row

DATA_WORDS: Final = {"input": "input", "label": "label", "sample_weight": "sample weight"}


def came_from(found: PostMortem | None, with_data: bool = True) -> list[str]:
    """Returns the chain of values that led to the failing operation, a sentence each.

    Args:
        found: the post-mortem.
        with_data: whether values of single rows are told.
    """
    if found is None or found.op is None:
        return []
    said = [_redrawn_text(found), _chain_text(found, with_data), _since_text(found)]
    if found.since is not None and found.since.batches and not found.since.bad:
        said += [outlier_text(o, with_data) for o in found.outliers[:1] if not o.ago]
    return [text for text in said if text]


def _redrawn_text(found: PostMortem) -> str:
    if not found.redrawn:
        return ""
    tries = "at once" if found.redrawn == 1 else f"at try {found.redrawn}"
    return (
        "The step draws random numbers that cannot be drawn again; with others it went bad "
        f"in the same tensor {tries}, and that is what is told."
    )


def _chain_text(found: PostMortem, with_data: bool) -> str:
    what = f"The gradient of `{found.op}`" if found.gradient else f"`{found.op}`"
    parts, before = [], None
    for link in found.chain:
        shown = with_data or not of_a_row(link)
        origin = _origin_text(link, shown)
        if before is None:
            parts.append(
                f"{what} got {_value_text(link, shown)}{origin and f' from {origin}'}"
            )
        elif origin:
            parts.append(f"{_which(link, before, shown)} came from {origin}")
        before = link
    return f"{'; '.join(parts)}." if parts else ""


def _which(link: Link, before: Link, shown: bool) -> str:
    """Returns the words for one input of the preceding operation."""
    if before.operands:
        return f"the {link.operand}"
    if not shown:
        return f"its {plural(link.operand)}"
    if link.low == link.high:
        return f"its {plural(link.operand)}, {_number(link.low)},"
    if math.isnan(link.low):
        return f"its {plural(link.operand)}"
    low, high = _number(link.low), _number(link.high)
    return f"its {plural(link.operand)}, from {low} to {high},"


def _value_text(link: Link, shown: bool) -> str:
    if not shown:
        return f"the {link.operand} {LEFT_OUT}"
    if not math.isnan(link.value) or math.isnan(link.low):
        return f"the {link.operand} {_number(link.value)}"
    if link.low == link.high:
        return f"{plural(link.operand)} of {_number(link.low)}"
    low, high = _number(link.low), _number(link.high)
    return f"{plural(link.operand)} from {low} to {high}"


def _origin_text(link: Link, shown: bool) -> str:
    if link.origin == "data":
        place = f", row {link.row}" if link.row >= 0 else ""
        if link.column:
            column = ", ".join(map(str, link.column))
            place += f", column {column if len(link.column) == 1 else f'({column})'}"
        return f"{link.name}{place}"
    if link.origin == "variable":
        return f"{link.name}, as it was before the step"
    if link.origin == "constant":
        return "a constant"
    if link.origin != "operation":
        return ""
    text = f"`{link.name}`"
    if link.operands:
        told = [_number(v) if shown else LEFT_OUT for v in link.operands]
        text += f" of {' and '.join(told)}"
    if link.source is not None:
        text += f" at {link.source.file}:{link.source.line}"
    elif link.layer:
        text += f" in the layer {link.layer}"
    return text


def _number(value: float) -> str:
    """Returns three digits, and no sign before 0."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Inf" if value > 0 else "-Inf"
    return f"{value + 0.0:.3g}"


def _since_text(found: PostMortem) -> str:
    since = found.since
    if since is None:
        return ""
    said = [_batches_text(since, found.chain[0].operand if found.chain else "")]
    if since.was_bad is not None:
        before = f"the weights from {since.steps:,} step{'s' * (since.steps > 1)} earlier"
        alone = ": it is the batch, not the training" * (since.batches > since.bad == 0)
        said.append(
            f"With {before}, this batch goes bad in that operation too{alone}."
            if since.was_bad
            else f"With {before}, this batch stays finite in it: the weights have moved "
            "since."
        )
    return " ".join(filter(None, said))


def _batches_text(since: Since, operand: str) -> str:
    n = since.batches
    if not n:
        return ""
    before = f"the {n} earlier batches" if n > 1 else "the batch before"
    told = ""
    if operand and not math.isnan(since.low):
        told = f" ({plural(operand)} from {since.low:.3g} to {since.high:.3g})"
    if not since.bad and n == 1:
        return f"With the same weights, the batch before stays finite in it{told}."
    if not since.bad:
        return f"With the same weights, none of {before} goes bad in it{told}."
    if since.bad == n:
        each = f"each of {before}" if n > 1 else before
        return f"With the same weights, {each} goes bad in it too: it is not this batch alone."
    return f"With the same weights, {since.bad} of {before} go bad in it too."


def plural(name: str) -> str:
    """Returns the plural of an operand's name: "first inputs", "elements of input no. 3"."""
    if name[-1].isdigit():
        return f"elements of {name}"
    return f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"


def outlier_text(outlier: Outlier, with_data: bool = True) -> str:
    """Returns in a sentence or two which values of a batch stand out, and beside which.

    Args:
        outlier: of the batch.
        with_data: whether its value is told.
    """
    what = DATA_WORDS[kind_of(outlier)]
    name = outlier.name.partition("[")
    tensor = f"the {what}" + (f" {name[1]}{name[2]}" if name[2] else "")
    column = ", ".join(map(str, outlier.column))
    if len(outlier.column) > 1:
        column = f"({column})"
    where = f"column {column} of row {outlier.row}" if column else f"row {outlier.row}"
    others = (
        f"in the {outlier.batches:,} batches before at most {outlier.usual:.3g} in size"
        if outlier.batches > 1
        else f"in the batch before at most {outlier.usual:.3g} in size"
        if outlier.batches
        else f"in the other rows at most {outlier.usual:.3g} in size"
    )
    more = (
        f" {outlier.count:,} values in {len(outlier.rows):,} of {counted(outlier.size, 'row')} are "
        "as far out."
        if outlier.count > 1
        else ""
    )
    which, verb = "In this batch", "is"
    if outlier.ago:
        verb = "was"
        steps = "1 step" if outlier.ago == 1 else f"{outlier.ago} steps"
        which = f"In the batch {steps} earlier"
    value = f"{outlier.value:.6g}" if with_data else LEFT_OUT
    return (
        f"{which} {where} of {tensor} {verb} {value} (rows and columns "
        f"counted from 0); {others}.{more}"
    )


def kind_of(outlier: Outlier) -> str:
    """Returns "input", "label" or "sample_weight"."""
    kind = outlier.name.partition("[")[0]
    return kind if kind in DATA_WORDS else "input"
