# SPDX-License-Identifier: Apache-2.0
"""How close the largest number of a finite run came to the overflow limit of its dtype; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tb_nanwatch.record.words import LARGEST

# Within one decade of the end: batches, and seeds, differ by as much as that.
NEAR: Final = 0.1


@dataclass(frozen=True)
class ClosestCall:
    """The value of a run that came nearest to an overflow.

    Attributes:
        dtype: of the tensor.
        value: largest |value| of it that was seen.
        limit: the dtype's largest finite number.
        share: `value` over `limit`, in [NEAR, 1].
        kind, name: of the tensor; "" where the log is too old to say.
    """

    dtype: str
    value: float
    limit: float
    share: float
    kind: str = ""
    name: str = ""


def closest_call(
    shares: Mapping[str, float], tensors: Mapping[str, Sequence[str]] | None = None
) -> ClosestCall | None:
    """Returns the closest call of a run, None where nothing came near an end.

    Args:
        shares: for each float dtype the largest |value| of an activation or gradient
            over the dtype's largest finite number.
        tensors: for each of these dtypes the kind and name of that tensor.
    """
    near = [
        (share, dtype)
        for dtype, share in shares.items()
        if dtype in LARGEST and NEAR <= share <= 1
    ]
    if not near:
        return None
    share, dtype = max(near)
    kind, name = [*(tensors or {}).get(dtype, ()), "", ""][:2]
    limit = LARGEST[dtype]
    return ClosestCall(dtype, share * limit, limit, share, kind, name)
