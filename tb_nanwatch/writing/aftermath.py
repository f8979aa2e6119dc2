"""What is done with a capsule at the end of a run that went bad."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from tb_nanwatch.compat.names import MissingError
from tb_nanwatch.errors import NanWatchWarning
from tb_nanwatch.postmortem import experiments
from tb_nanwatch.postmortem.capsule import Capsule
from tb_nanwatch.postmortem.run import MAX_SECONDS, run
from tb_nanwatch.postmortem.tape import Tape
from tb_nanwatch.schema import Experiment, PostMortem
from tb_nanwatch.writing.tracer import StepTracer

# Returns, of a post-mortem, experiments on a run alike that are to be made first.
First = Callable[[PostMortem], Sequence[Experiment]]


def examine(
    model: Any,
    capsule: Capsule,
    *,
    activations_only: bool = False,
    tape: Tape | str = "",
    seconds: float = 0.0,
    first: First = lambda found: (),
) -> PostMortem:
    """Returns the post-mortem of a capsule; never raises, and leaves the model as it is.

    Args:
        model: that was trained, no longer watched by any instrument.
        capsule: its failing step.
        activations_only: as the training was watched.
        tape: what the training can be run again from; in words why not, where that is so.
        seconds: that the experiments may take.
        first: returns, of a post-mortem, experiments that are to be made first.
    """
    tracer = StepTracer(model, activations_only=activations_only)
    found = None if isinstance(tape, str) else tape
    result = run(model, capsule, tracer, tape=found, seconds=MAX_SECONDS)
    if isinstance(tape, str):
        result.untried = tape
    result.experiments = _tried(
        lambda: experiments.run(
            model, capsule, result, found, seconds=seconds, first=first(result)
        )
    )
    return result


def examine_runaway(
    model: Any,
    take_off: int,
    *,
    tape: Tape | str = "",
    seconds: float = 0.0,
    first: First = lambda found: (),
) -> PostMortem:
    """Returns what experiments show of a run that stayed finite and ran away.

    Never raises, and leaves the model as it is.

    Args:
        take_off: number of the first step of the runaway.
        model, tape, seconds, first: as of `examine`.
    """
    began = time.monotonic()
    result = PostMortem(reason="Every value stayed finite: no step of it went bad.")
    if isinstance(tape, str):
        result.untried = tape
    else:
        result.experiments = _tried(
            lambda: experiments.run_runaway(
                model, tape, take_off, seconds=seconds, first=first(result)
            )
        )
    result.seconds = time.monotonic() - began
    return result


def _tried(run_all: Callable[[], list[Experiment]]) -> list[Experiment]:
    try:
        return run_all()
    except MissingError as e:
        e.warn()
    except Exception as e:
        warnings.warn(
            "NaN Watch could not try what would have kept the training finite: "
            f"{type(e).__name__}: {e}",
            NanWatchWarning,
            stacklevel=3,
        )
    return []
