# SPDX-License-Identifier: Apache-2.0
"""What happened in a run, where, and what went wrong in its operation, in words; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tb_nanwatch.record.schema import (
    BAD_STATUSES,
    FINITE_STATUSES,
    BadTensor,
    Position,
    PostMortem,
    Status,
)
from tb_nanwatch.record.words import LARGEST
from tb_nanwatch.wording.causes import LABELS
from tb_nanwatch.wording.counts import counted
from tb_nanwatch.wording.places import place_text, tensor_text

_HAPPENED: Final[dict[Status, str]] = {
    "diverged": "diverged",
    "runaway": "ran away (finite, beyond all use)",
    "score_lost": "lost its score",
    "stalled": "stalled",
    "contained": "had NaN or Inf in a metric",
}
# Of a training that an error ended in its first step, or that had none.
NO_STEP: Final = "No training step came to its end."
PLACED: Final = {
    "loss_domain": "in the loss",
    "metric_domain": "in the metric",
    "layer_domain": "in the model",
}
_DIVISIONS: Final = ("RealDiv", "Div", "FloorDiv", "FloorMod", "Xdivy", "Reciprocal")
_LOGARITHMS: Final = ("Log", "Xlogy")
_ROOTS: Final = ("Sqrt", "Rsqrt", "EuclideanNorm")
# More rows than these are not listed.
_MAX_ROWS: Final = 5


def size_text(value: float) -> str:
    """Returns "53", "1e5" or "3e38": about how large a number is."""
    if 1e-3 <= value < 1e5:
        return f"{float(f'{value:.2g}'):,.10g}"
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"


# The words for an unknown cause, and for a derivative whose operation is unknown.
NOT_KNOWN: Final = "Not known: what was recorded fits no cause, or several."
A_DERIVATIVE: Final = "a derivative left its domain, in the loss or inside the model"


def happened_text(status: Status, onset: Position | None) -> str:
    """Returns "diverged at epoch 1, batch 3"."""
    how = _HAPPENED.get(status, status)
    return f"{how} {place_text(onset)}" if onset is not None else how


def where_text(found: PostMortem | None, origin: BadTensor | None) -> str:
    """Returns the operation with its line, or the first bad tensor.

    Args:
        found: the post-mortem, where there was one.
        origin: the first bad tensor.
    """
    if found is not None and found.op is not None:
        what = found.text.partition(": ")[0]
        if found.source is not None and found.source.text:
            return f"{capital(what)}: {found.source.text}"
        return capital(what)
    if found is not None and found.data is not None:
        return capital(found.text)
    return capital(tensor_text(origin)) if origin is not None else ""


def after_text(status: Status, steps: int) -> str:
    """Returns how long a training went on after it had gone bad, "" where it did not."""
    if not steps or status in FINITE_STATUSES or status not in BAD_STATUSES:
        return ""
    more = "step" if steps == 1 else "steps"
    return f'{steps:,} more {more} ran after it; on_nonfinite="stop" would have ended it.'


def all_finite_text(steps: int, tensors: int, closest: Mapping[str, float]) -> str:
    """Returns the sentence for a run that stayed finite.

    Args:
        steps: of the training.
        tensors: how many were watched; 0 where that is not known.
        closest: by dtype, the largest magnitude as a share of the dtype's largest number.
    """
    if not steps:
        return NO_STEP
    said = counted(steps, "step")
    if tensors:
        said += f", {counted(tensors, 'tensor')}"
    largest = max(closest.items(), key=lambda item: item[1], default=None)
    limit = LARGEST.get(largest[0]) if largest is not None else None
    if largest is None or not largest[1] > 0 or limit is None:
        return f"All finite: {said}."
    dtype, share = largest
    return (
        f"All finite: {said}; the largest output or gradient was "
        f"{size_text(share * limit)} ({dtype} overflows at {size_text(limit)})."
    )


def label_of(cause: str, found: PostMortem | None = None) -> str:
    """Returns a cause in everyday words, e.g. "division by zero in the loss".

    Args:
        cause: its id.
        found: the post-mortem of the run, where there was one.
    """
    place = PLACED.get(cause)
    if place is None or found is None or found.op is None:
        return LABELS.get(cause, cause.replace("_", " "))
    if cause == "layer_domain" and found.layer:
        place = f"in the layer {found.layer}"
    if found.source is not None:
        place = place.replace("the loss", "your loss").replace(
            "the metric", "your metric"
        )
    return f"{_what_went_wrong(found)} {place}"


def kind_of(cause: str, found: PostMortem | None) -> str:
    """Returns what went wrong in the operation, e.g. "logarithm of 0".

    "" where that is not known, and for a cause that is not about one operation.
    """
    seen = cause in PLACED and found is not None and found.op is not None
    return _what_went_wrong(found) if seen and found is not None else ""


def _what_went_wrong(found: PostMortem) -> str:
    op_type = found.forward_type or found.op_type or ""
    gradient = "gradient of a " if found.gradient else ""
    if " is beyond " in found.finding or "result is beyond" in found.finding:
        return "overflow"
    if op_type in _DIVISIONS and " 0" in found.finding:
        return "division by zero"
    if op_type in _LOGARITHMS and "negative" in found.finding:
        return f"{gradient}logarithm of a negative number"
    if op_type in _LOGARITHMS:
        return f"{gradient}logarithm of 0"
    if op_type in _ROOTS and "negative" in found.finding:
        return f"{gradient}root of a negative number"
    if op_type in _ROOTS and found.finding:
        return f"{gradient}root of 0" if found.gradient else "division by a root of 0"
    name = (found.op or op_type).rpartition(".")[2]
    return f"{'gradient of ' if found.gradient else ''}`{name}` out of its domain"


def rows_text(found: PostMortem) -> str:
    """Returns which rows of the batch it was in, where they are few."""
    rows = found.rows
    if not rows or len(rows) > _MAX_ROWS or found.shape[:1] == [len(rows)]:
        return ""
    numbers = ", ".join(map(str, rows))
    return f", in row{'s' * (len(rows) > 1)} {numbers} of the batch (counted from 0)"


def capital(text: str) -> str:
    """Returns a text with a capital letter at its beginning."""
    return text[:1].upper() + text[1:]


def untested(sure: str) -> str:
    """Returns the remark on a cause that no experiment has confirmed, "" where there is no cause."""
    return f"{capital(sure)}; not tested." if sure and sure != "tested" else ""
