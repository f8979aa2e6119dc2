# SPDX-License-Identifier: Apache-2.0
"""Probes inside the compiled training step: all that depends on JAX.

Keras' step on JAX is a function of its state, which JAX traces and XLA compiles. While it
is traced, hooks meet the tensors of layers, losses and gradients; half the sum of squares
of each leaves the step as one vector, beside the state. The host checks it after each
step (on an accelerator, after some). A step that stands out is run again, from a copy of
the state and the batches since, and hands out all its tensors: exact counts and ranges.

    tracing.py     what JAX's tensors are
    sums.py        the vector, and what its elements stand for
    implied.py     what need not be read, since another tensor tells of it
    states.py      which value of a state is of which variable
    trail.py       the state that a look runs steps again from, and their batches
    rewinding.py   what the training is run again from
    steps.py       what each step told, and a look at those that stand out
    capture.py     the step at which the run went bad
    fits.py        what is in front of each step, and what runs where a probe fails
    instrument.py  hooks a model, follows its steps, takes the hooks out
    operations.py  JAX's operations in the words of the record
    epsilon.py     calls for operations with another argument
    interpret.py   a traced step run equation by equation
    aftermath.py   the bad step run once more, after the training
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import jax

from tb_nanwatch.compat.jax import is_nnx
from tb_nanwatch.errors import UnsupportedError
from tb_nanwatch.postmortem import state
from tb_nanwatch.postmortem.capsule import Capsule
from tb_nanwatch.postmortem.means import Means
from tb_nanwatch.postmortem.tape import Tape
from tb_nanwatch.record.schema import PostMortem
from tb_nanwatch.writing.backends import afterwards
from tb_nanwatch.writing.backends.fits import Caller
from tb_nanwatch.writing.backends.interface import First, Wishes
from tb_nanwatch.writing.backends.jax import epsilon
from tb_nanwatch.writing.backends.jax.aftermath import post_mortem
from tb_nanwatch.writing.backends.jax.instrument import Instrument
from tb_nanwatch.writing.backends.jax.rewinding import by_steps
from tb_nanwatch.writing.backends.jax.states import (
    arrays_on_device,
    copy_of,
    preserved,
    state_of,
)
from tb_nanwatch.writing.backends.seen import Seen
from tb_nanwatch.writing.backends.silent import Silent
from tb_nanwatch.writing.recording.observer import Observer

__all__ = [
    "Instrument",
    "check_model",
    "complete",
    "examine",
    "examine_runaway",
    "runs",
    "watch",
]

_SILENT: Final = Silent()
_MEANS: Final = Means(
    *(arrays_on_device, state.snapshot, state.assign, preserved, epsilon.calls, by_steps)
)


def check_model(model: Any) -> None:
    """Raises `UnsupportedError` where this backend cannot watch `model`."""
    if is_nnx():
        raise UnsupportedError(
            "NaN Watch watches Keras' own training on JAX; received a model that Keras "
            "trains by Flax's NNX. Unset KERAS_NNX_ENABLED to have it watched."
        )


def watch(model: Any, observer: Observer, wishes: Wishes) -> Instrument:
    """Returns an instrument that is not installed yet."""
    return Instrument(model, observer, wishes)


def runs(model: Any, capsule: Capsule) -> Iterator[Seen]:
    """Yields what is seen of a capsule's step; see `interface.Backend`."""
    seen, phase = Seen(), capsule.position.phase
    seen.missing = state.assign(model, capsule.variables)
    instrument = Instrument(model, seen, Wishes())
    instrument.install(Caller(seen))
    try:
        trains = phase == "train"
        function = model.train_function if trains else model.test_function
        model.reset_metrics()
        # The step keeps what it is given.
        values = jax.tree.map(copy_of, state_of(model, phase))
        function(values, iter([arrays_on_device(capsule.data)]))
        instrument.read()
    finally:
        instrument.uninstall()
    yield seen.in_causal_order()


def examine(
    model: Any,
    capsule: Capsule,
    *,
    activations_only: bool = False,
    tape: Tape | str = "",
    seconds: float = 0.0,
    first: First = lambda found: (),
) -> PostMortem:
    """Returns the post-mortem of a bad step; see `interface.Backend`."""
    found = None if isinstance(tape, str) else tape
    result = post_mortem(
        *(model, capsule, _SILENT), activations_only=activations_only, tape=found
    )
    return afterwards.with_experiments(
        *(_MEANS, model, capsule, result), tape=tape, seconds=seconds, first=first
    )


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
        *(_MEANS, model, take_off), tape=tape, seconds=seconds, first=first
    )


def complete(capsule: Capsule, tape: Tape, model: Any) -> bool:
    """Gives a capsule the state from before its step; see `interface.Backend`."""
    return afterwards.complete(_MEANS, capsule, tape, model)
