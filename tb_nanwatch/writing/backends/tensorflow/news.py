# SPDX-License-Identifier: Apache-2.0
"""What the steps of a call have brought, for the host to see to once the call is over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tb_nanwatch.writing.backends.kept import Kept
from tb_nanwatch.writing.backends.tensorflow.ring import Ring
from tb_nanwatch.writing.backends.tracing import Found


class Standing(NamedTuple):
    """A step that stood out, to be looked at once its call is over.

    Attributes:
        kept: the step, from before its update unless something is missing.
        ring: that has its row.
        late: what the step computed after its gate, but for variables.
    """

    kept: Kept
    ring: Ring
    late: list[tuple[Found, Any]]


@dataclass
class News:
    """What the steps of a call have brought.

    Attributes:
        muted: steps are not looked at: they are run again afterwards.
        has_come: whether a step stood out since this was set to False.
        standing: the steps that are to be looked at.
    """

    muted: bool = False
    has_come: bool = False
    standing: list[Standing] = field(default_factory=list)

    def take_standing(self) -> list[Standing]:
        """Returns the steps that stood out since the last call."""
        standing, self.standing = self.standing, []
        return standing
