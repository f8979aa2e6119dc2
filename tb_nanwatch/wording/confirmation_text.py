# SPDX-License-Identifier: Apache-2.0
"""The words for what short extra trials made of a hint, the same everywhere."""

from __future__ import annotations

from typing import Final

from tb_nanwatch.record.schema import ConfirmationRecord

# The usual level for one test of a condition that was fixed before the test.
LEVEL: Final = 0.05


def counts_of(record: ConfirmationRecord, inside: bool) -> tuple[int, int]:
    """Returns the bad trials, and all, on one side of the condition."""
    side = [t for t in record.trials if t.inside == inside]
    return sum(t.bad for t in side), len(side)


def is_confirmed(record: ConfirmationRecord) -> bool:
    """Returns whether chance alone would seldom give such counts."""
    return record.p_value <= LEVEL * (1 + 1e-9)


def confirmation_text(record: ConfirmationRecord) -> str:
    """Returns "learning_rate >= 0.3 was confirmed by 10 short trials, 5 on each side: ..."."""
    there, inside = counts_of(record, True)
    elsewhere, outside = counts_of(record, False)
    was = "was" if is_confirmed(record) else "was not"
    sides = (
        f"{inside} on each side"
        if inside == outside
        else f"{inside} there and {outside} elsewhere"
    )
    other = f"with {record.other}" if record.other else "elsewhere"
    return (
        f"{record.condition} {was} confirmed by {inside + outside} short trials, {sides}: "
        f"p = {record.p_value:.1g} ({there} of {inside} went bad there, {elsewhere} of "
        f"{outside} {other}, within {record.steps:,} steps)."
    )
