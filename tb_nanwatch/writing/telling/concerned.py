# SPDX-License-Identifier: Apache-2.0
"""Which hyperparameters of a trial its cause is about; pure.

They are known by their values, whatever they are called.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

from tb_nanwatch.record.schema import HParam, JSONScalar

# Keras keeps a setting of the optimizer in float32.
_SAME_NUMBER: Final = 1e-5
# A number in a sentence, which is rounded to three digits.
_NUMBER: Final = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])")


def as_number(value: JSONScalar) -> float | None:
    """Returns a value as a float, None where it is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def is_about(value: JSONScalar, about: float | None) -> bool:
    """Returns whether a value is that of the setting that is to blame."""
    number = as_number(value)
    if number is None or about is None:
        return False
    return math.isclose(number, about, rel_tol=_SAME_NUMBER)


def concerned_first(
    hparams: Sequence[HParam], about: float | None, said: str
) -> list[HParam]:
    """Returns hyperparameters in their order, but first those that a cause is about.

    Args:
        hparams: of the trial.
        about: value of the setting that is to blame, None where none is.
        said: the sentences on the cause. A fraction that they quote is a hyperparameter's;
            whole numbers count steps and rows.
    """
    told = {f"{float(n.replace(',', '')):.3g}" for n in _NUMBER.findall(said)}

    def distance(h: HParam) -> int:
        if is_about(h.value, about):
            return 0
        number = as_number(h.value)
        if number is None or number.is_integer():
            return 2
        return 1 if f"{number:.3g}" in told else 2

    return sorted(hparams, key=distance)
