# SPDX-License-Identifier: Apache-2.0
"""What is done with a training that went bad once it is over: common to the backends."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tb_nanwatch.compat.names import MissingError
from tb_nanwatch.errors import NanWatchWarning
from tb_nanwatch.postmortem import experiments, outliers
from tb_nanwatch.postmortem.capsule import Capsule
from tb_nanwatch.postmortem.means import Means
from tb_nanwatch.postmortem.rebuild import own_code
from tb_nanwatch.postmortem.tape import Tape
from tb_nanwatch.record.schema import BadTensor, Experiment, Kind, PostMortem
from tb_nanwatch.wording.messages import of_error
from tb_nanwatch.writing.backends.interface import First
from tb_nanwatch.writing.backends.kept import MANY_UPDATES, UPDATED

# A slow step of a large model takes seconds; a search has more to do than this.
MAX_SECONDS = 60.0


class LimitError(Exception):
    """The step took longer than it may; the message says so."""


def run_again(run: Callable[[], PostMortem]) -> PostMortem:
    """Returns what a failing step shows, run once more by `run`; never raises."""
    began = time.monotonic()
    try:
        result = run()
    except MissingError as e:
        e.warn()
        result = PostMortem(reason=f"{e}")
    except LimitError as e:
        result = PostMortem(reason=f"The step could not be run again: {e}.")
    except Exception as e:
        message = f"The step could not be run again: {of_error(e).rstrip('.')}."
        result = PostMortem(reason=message)
        warnings.warn(
            f"NaN Watch's post-mortem failed, training is not affected. {message}",
            NanWatchWarning,
            stacklevel=4,
        )
    result.seconds = time.monotonic() - began
    return result


def is_finite_up_to(
    origin: BadTensor, tensors: Iterable[tuple[Kind, str, Any]]
) -> bool | None:
    """Returns whether all tensors of a step up to the one that went bad are finite.

    Args:
        origin: that one.
        tensors: kind, name and array of each, in causal order.

    Returns:
        None where that one is not among them.
    """
    for kind, name, array in tensors:
        if not np.isfinite(np.asarray(array).astype(np.float64)).all():
            return False
        if (kind, name) == (origin.kind, origin.name):
            return True
    return None


def tried(run_all: Callable[[], list[Experiment]]) -> list[Experiment]:
    """Returns the experiments that `run_all` makes; none, and a warning, where it fails."""
    try:
        return run_all()
    except MissingError as e:
        e.warn()
    except Exception as e:
        warnings.warn(
            "NaN Watch could not try what would have kept the training finite: "
            f"{type(e).__name__}: {e}",
            NanWatchWarning,
            stacklevel=4,
        )
    return []


def with_experiments(
    means: Means,
    model: Any,
    capsule: Capsule,
    found: PostMortem,
    *,
    tape: Tape | str,
    seconds: float,
    first: First,
) -> PostMortem:
    """Returns a post-mortem with what stands out in the data, and what would have helped.

    Args:
        means: of the backend.
        found: the post-mortem of the step; changed in place.
        model, capsule, tape, seconds, first: as of `interface.Backend.examine`.
    """
    found.untried = tape if isinstance(tape, str) else ""
    again = None if isinstance(tape, str) else tape
    with contextlib.suppress(Exception):  # it is told as well without
        if capsule.has_batch:
            step = capsule.position.step
            earlier = again.before(step, outliers.EARLIER) if again is not None else []
            standing_out = outliers.find(capsule.data, earlier)
            found.outliers = standing_out + outliers.find_before(earlier)
    found.experiments = tried(
        lambda: experiments.run(
            *(model, capsule, found, again),
            seconds=seconds,
            first=first(found),
            means=means,
        )
    )
    found.own_code = own_code(capsule)
    return found


def examine_runaway(
    means: Means,
    model: Any,
    take_off: int,
    *,
    tape: Tape | str = "",
    seconds: float = 0.0,
    first: First = lambda found: (),
) -> PostMortem:
    """Returns what experiments show of a run that ran away; see `interface.Backend`."""
    began = time.monotonic()
    result = PostMortem(reason="Every value stayed finite: no step of it went bad.")
    if isinstance(tape, str):
        result.untried = tape
    else:
        result.epoch_steps, result.planned_steps = tape.plan.epoch, tape.plan.steps
        result.experiments = tried(
            lambda: experiments.run_runaway(
                *(model, tape, take_off),
                seconds=seconds,
                first=first(result),
                means=means,
            )
        )
    result.seconds = time.monotonic() - began
    return result


def complete(means: Means, capsule: Capsule, tape: Tape, model: Any) -> bool:
    """Gives a capsule the state from before its step; see `interface.Backend`.

    Args:
        means: of the backend.
        capsule: of a training step; changed in place.
        tape: the steps that led to it.
        model: that was trained; afterwards it is as it was.
    """
    late = [m for m in capsule.missing if m in (UPDATED, MANY_UPDATES)]
    onset = capsule.position.step - tape.first
    if not late or not capsule.has_batch or not 0 <= onset < len(tape.batches):
        return False
    with means.preserved(model):
        for _ in tape.play(tape.batches[:onset]):
            pass
        before = [s for s in means.snapshot(model) if s.role != "metric"]
        ended = [logs for _, logs in tape.train(tape.batches[onset : onset + 1])]
        after = means.snapshot(model)
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
