"""What is done with a capsule at the end of a run that went bad."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from tb_nanwatch.compat.names import MissingError
from tb_nanwatch.errors import NanWatchWarning
from tb_nanwatch.postmortem import experiments, rebuild, state
from tb_nanwatch.postmortem.capsule import Capsule
from tb_nanwatch.postmortem.run import MAX_SECONDS, run
from tb_nanwatch.postmortem.tape import Tape
from tb_nanwatch.record.schema import Experiment, PostMortem
from tb_nanwatch.writing.backends.interface import First
from tb_nanwatch.writing.backends.kept import MANY_UPDATES, UPDATED
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
    result.experiments = _tried(
        lambda: experiments.run(
            model, capsule, result, found, seconds=seconds, first=first(result)
        )
    )
    result.own_code = rebuild.own_code(capsule)
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


def complete(capsule: Capsule, tape: Tape, model: Any) -> bool:
    """Gives a capsule the state from before its step, where it holds that from within.

    Args:
        capsule: of a training step; changed in place.
        tape: the steps that led to it.
        model: that was trained; afterwards it is as it was.

    Returns:
        Whether it was incomplete, and is so no more.
    """
    late = [m for m in capsule.missing if m in (UPDATED, MANY_UPDATES)]
    onset = capsule.position.step - tape.first
    if not late or not capsule.has_batch or not 0 <= onset < len(tape.batches):
        return False
    with state.preserved(model):
        for _ in tape.play(tape.batches[:onset]):
            pass
        before = [s for s in state.snapshot(model) if s.role != "metric"]
        ended = [logs for _, logs in tape.train(tape.batches[onset : onset + 1])]
        after = state.snapshot(model)
    values = [np.asarray(value, np.float64) for logs in ended for value in logs.values()]
    values += [
        s.value for s in after if s.value is not None and s.value.dtype.kind == "f"
    ]
    if all(np.isfinite(value).all() for value in values):
        return False  # it came out otherwise
    capsule.variables = before
    capsule.missing = [m for m in capsule.missing if m not in late]
    capsule.partial = bool(capsule.missing)
    return True


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
