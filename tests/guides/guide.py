"""What a program of this folder is, and what must be found in its faulty variant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Fault:
    """Where the mistake of a program shows first, known from how it was made.

    Attributes:
        step: training steps before it, from 0.
        kind: of the first tensor that is non-finite, in the order of computation.
        name: the beginning of that tensor's name.
        status: how far the non-finite values reach.
    """

    step: int
    kind: str
    name: str
    status: str


@dataclass(frozen=True)
class Guide:
    """One program.

    Attributes:
        program: takes the callbacks of `fit` and whether to make its mistake; trains
            and returns the model.
        fault: what must be found then.
    """

    program: Callable[..., Any]
    fault: Fault

    @property
    def name(self) -> str:
        """The function's name."""
        return self.program.__name__


@dataclass(frozen=True)
class Search:
    """One search with KerasTuner.

    Attributes:
        program: takes the directory of the tuner's project, the callbacks of `search`
            and whether to make its mistake; searches and returns the tuner.
        fault: what must be found in each trial that is bad then; None where nothing can
            be watched, and no mistake is made.
        is_bad: takes the values of a trial; whether the mistake shows in it.
    """

    program: Callable[..., Any]
    fault: Fault | None
    is_bad: Callable[[dict[str, Any]], bool]

    @property
    def name(self) -> str:
        """The function's name."""
        return self.program.__name__
