# SPDX-License-Identifier: Apache-2.0
"""Words for a place in a training, a tensor, and counts of its values; pure.

The tab words the same things again (frontend/src/format/words.ts), for what is under the mouse:
its tests read the cases that `frontend/generator` writes with these functions.
"""

from __future__ import annotations

from typing import Final

from tb_nanwatch.record.schema import BadTensor, Kind, Position, PostMortem

# The word before a tensor's name, where it differs from its kind.
KIND_TEXT: Final[dict[Kind, str]] = {
    "sample_weight": "sample weight",
    "activation": "output of",
    "gradient": "gradient of",
    "optimizer": "optimizer slot",
    "layer_state": "state of",
}


def position_text(position: Position) -> str:
    """Returns a position as users read it: "epoch 1, batch 38 (step 37)".

    Epochs and batches are displayed from 1, as Keras' progress bar shows them
    ("Epoch 1/10 ... 38/63"); the step is the 0-based count of training steps that
    JSON, event files and the charts use. Records hold all three from 0. In
    validation, the step is that of the training steps done so far.
    """
    text = (
        f"epoch {position.epoch + 1}, batch {position.batch + 1} (step {position.step})"
    )
    return text if position.phase == "train" else f"{position.phase} of {text}"


def place_text(position: Position) -> str:
    """Returns "at epoch 1, batch 3", both counted from 1 as Keras' progress bar does."""
    if position.phase == "validation":
        return f"in the {short_text(position)}"
    return f"at {short_text(position)}"


def short_text(position: Position) -> str:
    """Returns "epoch 1, batch 3", or "validation of epoch 1"."""
    if position.phase == "validation":
        return f"validation of epoch {position.epoch + 1}"
    return f"epoch {position.epoch + 1}, batch {position.batch + 1}"


def probe_text(kind: Kind | str, name: str) -> str:
    """Returns a probe as users read it: "gradient of dense_2/kernel".

    It is "loss" alone where the name says no more than the kind.
    """
    plain = kind.replace("_", " ")
    label = next((text for k, text in KIND_TEXT.items() if k == kind), plain)
    if not name or (label == plain and name in (kind, plain)):
        return plain
    return f"{label} {name}"


def tensor_text(tensor: BadTensor) -> str:
    """Returns "gradient of dense_2/kernel, 12 Inf of 2,048"."""
    name = probe_text(tensor.kind, tensor.name)
    counts = counts_text(
        tensor.num_nan, tensor.num_pos_inf, tensor.num_neg_inf, tensor.size
    )
    return f"{name}, {counts}" if counts else name


def counts_text(num_nan: int, num_pos_inf: int, num_neg_inf: int, size: int = 0) -> str:
    """Returns "3 NaN and 12 Inf of 2,048"; empty where nothing was counted."""
    parts = [
        f"{count:,} {word}"
        for count, word in (
            (num_nan, "NaN"),
            (num_pos_inf, "Inf"),
            (num_neg_inf, "-Inf"),
        )
        if count
    ]
    if not parts:
        return ""
    of = f" of {size:,}" if size else ""
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]])) + of


def made_by(found: PostMortem | None) -> str | None:
    """Returns operation and place without counts: "`tf.math.divide` at loss.py:12".

    Trials of one search that share it went bad at the same place. None where the
    post-mortem named no operation.
    """
    if found is None or found.op is None:
        return None
    what = f"the gradient of `{found.op}`" if found.gradient else f"`{found.op}`"
    if found.source is not None:
        return f"{what} at {found.source.file}:{found.source.line}"
    if found.layer:
        return f"{what} in the layer {found.layer}"
    return what
