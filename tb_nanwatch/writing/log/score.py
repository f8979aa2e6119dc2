# SPDX-License-Identifier: Apache-2.0
"""The score of a training without a tuner: a metric of its last epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tb_nanwatch.compat.keras import better_of
from tb_nanwatch.errors import warn_once
from tb_nanwatch.record.schema import Score

# The first of these that is logged, where nothing else is wanted.
_BY_DEFAULT: Final = ("val_loss", "loss")
_DIRECTIONS: Final = ("min", "max")
# Names that a warning lists.
_MAX_NAMES: Final = 20

Wanted = str | tuple[str, str] | None


def checked(score: Any) -> Wanted:
    """Returns the checked argument of `NanWatch(score=...)`.

    Raises:
        TypeError: it is neither a name nor a name with its direction.
        ValueError: the name is empty, or the direction none.
    """
    if score is None:
        return None
    name, direction = score, None
    if isinstance(score, tuple | list) and len(score) == 2:
        name, direction = score
    if not isinstance(name, str):
        raise TypeError(
            "score must be the name of a metric in the logs of fit, or such a name with "
            f'"min" or "max"; received {score!r:.200} of type {type(score).__name__}. Pass '
            'e.g. score="val_accuracy" or score=("val_f1", "max").'
        )
    if not name or (direction is not None and direction not in _DIRECTIONS):
        raise ValueError(
            'score must be a name, or a name with "min" or "max"; received '
            f'{score!r:.200}. Pass e.g. score=("val_f1", "max").'
        )
    return name if direction is None else (name, direction)


class Scoring:
    """Follows the metric that a training is judged by.

    Args:
        wanted: as by `checked`; None for the last validation loss, or else the loss.
        model: that is fitted.
    """

    def __init__(self, wanted: Wanted, model: Any) -> None:
        self._wanted = wanted
        self._model = model
        self._epoch = 0
        self._logs: Mapping[str, Any] = {}

    def note(self, epoch: int, logs: Mapping[str, Any] | None) -> None:
        """Takes an epoch's logs.

        They are not copied: callbacks that come later may add a metric of their own.
        """
        if logs:
            self._epoch, self._logs = epoch, logs

    def score(self) -> Score | None:
        """Returns the score by now, None where there is none."""
        wanted = self._wanted
        if wanted is None:
            logged = (name for name in _BY_DEFAULT if name in self._logs)
            name, direction = next(logged, ""), "min"
        else:
            name, known = (wanted, None) if isinstance(wanted, str) else wanted
            direction = known or better_of(self._model, name) or ""
        try:
            value = float(self._logs[name])
        except (KeyError, TypeError, ValueError):
            return None
        return Score(name, value, direction or None, self._epoch)

    def say_what_is_missing(self) -> None:
        """Warns once if the requested score is missing from the logs, or cannot be ranked."""
        wanted = self._wanted
        if wanted is None or not self._logs:
            return
        name = wanted if isinstance(wanted, str) else wanted[0]
        score = self.score()
        if score is None:
            known = ", ".join(repr(n) for n in list(self._logs)[:_MAX_NAMES])
            warn_once(
                f"NanWatch(score={wanted!r}): the logs of this training hold no number of "
                f"that name, but {known}; its run has no score. Name one of these."
            )
        elif score.direction is None:
            warn_once(
                f"NanWatch(score={wanted!r}): Keras does not say whether more or less of "
                f'it is better, so no run is called the best. Pass score=({name!r}, "max") '
                f'or score=({name!r}, "min").'
            )
