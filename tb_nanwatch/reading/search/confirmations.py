# SPDX-License-Identifier: Apache-2.0
"""Whether short extra trials confirmed a search's hint, in the form that is sent; pure."""

from __future__ import annotations

from tb_nanwatch.reading.contract.searches import Confirmation
from tb_nanwatch.record.schema import ConfirmationRecord
from tb_nanwatch.wording.confirmation_text import (
    confirmation_text,
    counts_of,
    is_confirmed,
)


def entry(record: ConfirmationRecord | None) -> Confirmation | None:
    """Returns the confirmation in the form that is sent; None where none was logged."""
    if record is None:
        return None
    return Confirmation(
        record.condition,
        record.other,
        counts_of(record, True),
        counts_of(record, False),
        record.p_value,
        is_confirmed(record),
        record.steps,
        record.seconds,
        confirmation_text(record),
    )
