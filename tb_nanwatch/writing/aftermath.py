"""What is done with a capsule at the end of a run that went bad."""

from __future__ import annotations

import warnings
from typing import Any, Final

from tb_nanwatch.compat.names import MissingError
from tb_nanwatch.errors import NanWatchWarning
from tb_nanwatch.postmortem import counterfactuals
from tb_nanwatch.postmortem.capsule import Capsule
from tb_nanwatch.postmortem.run import MAX_SECONDS, run
from tb_nanwatch.schema import PostMortem
from tb_nanwatch.writing.tracer import StepTracer

# Of the time that a post-mortem may take, the share of the one step.
_SHARE: Final = 0.5


def examine(
    model: Any,
    capsule: Capsule,
    *,
    activations_only: bool = False,
    try_changes: bool = False,
    seconds: float = MAX_SECONDS,
) -> PostMortem:
    """Returns the post-mortem of a capsule; never raises, and leaves the model as it is.

    Args:
        model: that was trained, no longer watched by any instrument.
        capsule: its failing step.
        activations_only: as the training was watched.
        try_changes: also run the counterfactuals.
        seconds: that all of it may take.
    """
    tracer = StepTracer(model, activations_only=activations_only)
    result = run(model, capsule, tracer, seconds=seconds * (_SHARE if try_changes else 1))
    if try_changes:
        try:
            result.counterfactuals = counterfactuals.run(
                model, capsule, result, seconds=seconds * (1 - _SHARE)
            )
        except MissingError as e:
            e.warn()
        except Exception as e:
            warnings.warn(
                "NaN Watch could not try what would have kept the step finite: "
                f"{type(e).__name__}: {e}",
                NanWatchWarning,
                stacklevel=2,
            )
    return result
