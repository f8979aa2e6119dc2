# SPDX-License-Identifier: Apache-2.0
"""What is done with a capsule at the end of a run that went bad."""

from __future__ import annotations

from typing import Any

from tb_nanwatch.postmortem import experiments
from tb_nanwatch.postmortem.capsule import Capsule
from tb_nanwatch.postmortem.means import of_tensorflow
from tb_nanwatch.postmortem.rebuild import own_code
from tb_nanwatch.postmortem.run import MAX_SECONDS, run
from tb_nanwatch.postmortem.tape import Tape
from tb_nanwatch.record.schema import PostMortem
from tb_nanwatch.writing.backends import afterwards
from tb_nanwatch.writing.backends.interface import First
from tb_nanwatch.writing.backends.tensorflow.tracer import StepTracer


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
    result.experiments = afterwards.tried(
        lambda: experiments.run(
            model, capsule, result, found, seconds=seconds, first=first(result)
        )
    )
    result.own_code = own_code(capsule)
    return result


def examine_runaway(
    model: Any,
    take_off: int,
    *,
    tape: Tape | str = "",
    seconds: float = 0.0,
    first: First = lambda found: (),
) -> PostMortem:
    """Returns what experiments show of a run that ran away; see `interface.Backend`."""
    return afterwards.examine_runaway(
        *(of_tensorflow(), model, take_off), tape=tape, seconds=seconds, first=first
    )


def complete(capsule: Capsule, tape: Tape, model: Any) -> bool:
    """Gives a capsule the state from before its step; see `interface.Backend`."""
    return afterwards.complete(of_tensorflow(), capsule, tape, model)
