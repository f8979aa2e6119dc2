# SPDX-License-Identifier: Apache-2.0
"""The changes that experiments make to a training, each of one thing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from tb_nanwatch.postmortem.changing import Altered, Case, Changing
from tb_nanwatch.postmortem.data_changes import last_good_batch, scaled_data, without_rows
from tb_nanwatch.postmortem.optimizer_changes import (
    CLIPPED_TO,
    LOWERED,
    clipped,
    with_usual_settings,
)
from tb_nanwatch.postmortem.step_changes import (
    begun_with_1,
    computed_in_float32,
    with_epsilon,
)


@contextlib.contextmanager
def _unchanged(case: Case) -> Iterator[Altered]:
    yield Altered()


UNCHANGED: Final = Changing("unchanged", "nothing changed", _unchanged)
INPUTS: Final = Changing("inputs", "the inputs standardised", scaled_data(True, False))
LABELS: Final = Changing(
    "labels", "the labels scaled into [-1, 1]", scaled_data(False, True)
)
BOTH: Final = Changing(
    "inputs_and_labels",
    "the inputs standardised and the labels scaled into [-1, 1]",
    scaled_data(True, True),
)
ROWS: Final = Changing("rows", "the offending rows left out", without_rows)
BATCH: Final = Changing(
    "batch",
    "the batch before it in the failing batch's place",
    last_good_batch,
)
OPTIMIZER: Final = Changing(
    "optimizer", "the optimizer's usual settings", with_usual_settings, retraces=True
)
CLIP: Final = Changing(
    "clip",
    f"gradients clipped to a global norm of {CLIPPED_TO:g}",
    clipped("global_clipnorm"),
    retraces=True,
)
# The norm of gradients beyond 1e19 is infinite in float32, and clips them to NaN.
CLIP_VALUES: Final = Changing(
    "clip_values",
    f"each element of the gradients clipped to {CLIPPED_TO:g}",
    clipped("clipvalue"),
    retraces=True,
)
FLOAT32: Final = Changing(
    "float32", "float32 instead of float16", computed_in_float32, retraces=True
)
EPSILON: Final = Changing(
    "epsilon",
    "an epsilon in the operation that is to blame",
    with_epsilon,
    retraces=True,
)
# The divisor is 0 from the start, and a guard at one line would leave all other lines.
BEGUN: Final = Changing(
    "begun_with_1", "the variable that is divided by begun with 1", begun_with_1
)


_FIXED: Final = (
    *(INPUTS, LABELS, BOTH, ROWS, CLIP, CLIP_VALUES, FLOAT32, EPSILON, OPTIMIZER),
    BEGUN,
)
_BY_ID: Final = {change.id: change for change in _FIXED}


# Changes that act on every step: only more steps tell whether they last.
LASTING: Final = (OPTIMIZER, INPUTS, LABELS, BOTH, CLIP, CLIP_VALUES)


def by_id(change_id: str) -> Changing | None:
    """Returns the change with this id, None where no repeatable change has it."""
    name, _, divisor = change_id.partition("/")
    if name in LOWERED and divisor:
        return LOWERED[name](float(divisor))
    return _BY_ID.get(change_id)
