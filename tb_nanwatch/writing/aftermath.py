"""What is done with a capsule at the end of a run that went bad."""

from __future__ import annotations

import warnings
from typing import Any

from tb_nanwatch.compat.names import MissingError
from tb_nanwatch.errors import NanWatchWarning
from tb_nanwatch.postmortem import experiments
from tb_nanwatch.postmortem.capsule import Capsule
from tb_nanwatch.postmortem.run import MAX_SECONDS, run
from tb_nanwatch.postmortem.tape import Tape
from tb_nanwatch.schema import PostMortem
from tb_nanwatch.writing.tracer import StepTracer


def examine(
    model: Any,
    capsule: Capsule,
    *,
    activations_only: bool = False,
    tape: Tape | str = "",
    seconds: float = 0.0,
) -> PostMortem:
    """Returns the post-mortem of a capsule; never raises, and leaves the model as it is.

    Args:
        model: that was trained, no longer watched by any instrument.
        capsule: its failing step.
        activations_only: as the training was watched.
        tape: what the training can be run again from; in words why not, where that is so.
        seconds: that the experiments may take.
    """
    tracer = StepTracer(model, activations_only=activations_only)
    found = None if isinstance(tape, str) else tape
    result = run(model, capsule, tracer, tape=found, seconds=MAX_SECONDS)
    if isinstance(tape, str):
        result.untried = tape
    try:
        result.experiments = experiments.run(
            model, capsule, result, found, seconds=seconds
        )
    except MissingError as e:
        e.warn()
    except Exception as e:
        warnings.warn(
            "NaN Watch could not try what would have kept the training finite: "
            f"{type(e).__name__}: {e}",
            NanWatchWarning,
            stacklevel=2,
        )
    return result
