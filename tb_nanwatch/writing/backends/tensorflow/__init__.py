# SPDX-License-Identifier: Apache-2.0
"""Probes inside the compiled training step: all that depends on TensorFlow.

Every step computes half the sum of squares of each watched tensor (one fused
kernel each) and writes them as one row into a ring buffer. A finite sum of
squares proves that every element is finite, and gives the root mean square. Where
the step holds that proof already, a large tensor is not read once more.

A step stands out where its sum is not finite, or has grown beyond its limit, or where
a look was asked for. It hands out its sums alone, and is run again beside the training,
its tensors counted and measured by NumPy on the host. For that, its state from before
the update is needed: XLA's step and one of a validation pass are read before they
begin; in graph mode a gate before the update copies it where the forward pass or a
gradient stands out. What the update alone made bad is counted in the variables. The
same state is the capsule.

On an accelerator both would have the host wait for each step: there a training step is
looked at once it has passed, run again from an earlier state (`later`).

A step that cannot be run twice, or has several updates, or is one of several in a call,
or runs on several replicas, holds its tensors and takes a slow branch, which hands them
to NumPy as it runs; there the gate serves the capsule alone.

    ops.py         operations that the probes are made of
    tracing.py     what TensorFlow's tensors are
    proofs.py      which large tensors need no pass of their own
    recompute.py   tensors made again for a look, where that is cheaper than keeping them
    ring.py        the rows, and the host's reading of them
    capture.py     what a bad step was made of, from before its update
    traced_step.py what a step has met so far, and its sums
    step.py        what the step computes: sums, ring, gate, and what is kept for a look
    addends.py     tensors that are read as what they are added into
    packed.py      the sums of a step that XLA compiles, as one vector
    repeatable.py  whether a step can be run a second time
    beside.py      a step that stood out, run again beside the training
    states.py      the values of variables at one moment
    staged.py      the batches of the last steps
    rewinding.py   what the training is run again from
    later.py       steps on an accelerator, of which nothing is read before many have run
    build.py       models that are built by their first batch
    batches.py     the batches of a call, kept until it has succeeded
    fits.py        what runs where tracing a step fails
    one_step.py    hooks what a step is made of; runs one, and returns its tensors
    looks.py       hands the tensors of a step that stood out to the observer
    instrument.py  hooks a training's steps, reads the rings, takes the hooks out
    tracer.py      one step run eagerly, its tensors named as the probes do
    compiled.py    one step run compiled, as a training does
    aftermath.py   what is done with a capsule at the end of a run that went bad
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tb_nanwatch.compat.names import Feature, require
from tb_nanwatch.writing.backends.interface import Wishes
from tb_nanwatch.writing.backends.tensorflow.compiled import runs
from tb_nanwatch.writing.backends.tensorflow.instrument import Instrument
from tb_nanwatch.writing.backends.tensorflow.ring import RING_ROWS
from tb_nanwatch.writing.recording.observer import Observer

if TYPE_CHECKING:
    from tb_nanwatch.writing.backends.tensorflow.aftermath import (
        complete,
        examine,
        examine_runaway,
    )

__all__ = [
    "RING_ROWS",
    "Instrument",
    "check_model",
    "complete",
    "examine",
    "examine_runaway",
    "runs",
    "watch",
]


def __getattr__(name: str) -> Any:
    # A training that stays finite imports nothing of what is done with one that does not.
    if name in ("complete", "examine", "examine_runaway"):
        from tb_nanwatch.writing.backends.tensorflow import aftermath

        return getattr(aftermath, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def check_model(model: Any) -> None:
    """Raises `UnsupportedError` where what all watching rests on is missing."""
    require(Feature.WATCHING)


def watch(model: Any, observer: Observer, wishes: Wishes) -> Instrument:
    """Returns an instrument that is not installed yet."""
    return Instrument(model, observer, wishes)
