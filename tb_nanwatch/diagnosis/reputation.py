# SPDX-License-Identifier: Apache-2.0
"""How often the diagnosis named the right cause in other people's programs; pure.

The counts stand in `rules.track_record`: the first runs on the programs after public
reports, before a rule was changed for any of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tb_nanwatch.diagnosis.rules.track_record import FIRST_RUNS

# With fewer programs than this no share is given, only that they are few.
ENOUGH: Final = 8
SELDOM: Final = "seldom seen among other people's programs"
_DATA: Final = ("nonfinite_data", "outlier_data", "label_range")


@dataclass(frozen=True)
class Reputation:
    """How often causes of a kind were right.

    Attributes:
        right: programs among `named` whose cause was right.
        named: programs of which such a cause was named first.
    """

    right: int
    named: int

    @property
    def rate(self) -> float:
        """Returns the chance that the next cause is right, by Laplace's rule of succession."""
        return (self.right + 1) / (self.named + 2)

    @property
    def words(self) -> str:
        """Returns the counts as the end of a sentence."""
        if self.named < ENOUGH:
            return SELDOM
        return f"right in {self.right} of {self.named} such programs of other people"


def family_of(cause: str) -> str:
    """Returns the kind of fault that a cause is: "domain", "data" or "other"."""
    if cause.endswith("_domain"):
        return "domain"
    return "data" if cause in _DATA else "other"


def reputation_of(cause: str, sure: str) -> Reputation:
    """Returns how often causes of the same kind and certainty were right.

    Those of its own family, where there are enough of them; else all.

    Args:
        cause: one of `schema.CAUSES`.
        sure: "tested", "likely" or "unclear".
    """
    of_all = [(key, count) for key, count in FIRST_RUNS.items() if key[1] == sure]
    own = [count for key, count in of_all if key[0] == family_of(cause)]
    counted = own if sum(n for _, n in own) >= ENOUGH else [count for _, count in of_all]
    return Reputation(sum(k for k, _ in counted), sum(n for _, n in counted))
