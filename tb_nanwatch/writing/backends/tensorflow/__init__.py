"""Probes inside the compiled training step: all that depends on TensorFlow.

Every step computes half the sum of squares of each watched tensor (one fused
kernel each) and writes them as one row into a ring buffer. A finite sum of
squares proves that every element is finite, and gives the root mean square. Where
the step holds that proof already, a large tensor is not read once more. A
step whose row stands out (its sum is not finite, or has grown beyond its limit, or
a look was asked for) takes the slow branch of a conditional, which hands the very
tensors of that step to NumPy on the host: exact counts and ranges, at no cost to the
steps in which nothing happens. A step that XLA compiles, and one of a validation pass,
hands out its sums alone; where it stands out it is run again beside. Before the update a gate of the same kind keeps what
the step was made of, for the capsule.

    ops.py         operations that the probes are made of
    tracing.py     what TensorFlow's tensors are
    proofs.py      which large tensors need no pass of their own
    recompute.py   tensors made again for a look, where that is cheaper than keeping them
    ring.py        the rows, and the host's reading of them
    capture.py     what a bad step was made of, from before its update
    step.py        what the step computes: sums, ring, gate and slow branch
    addends.py     tensors that are read as what they are added into
    packed.py      a step that hands out its sums alone, as one vector
    repeatable.py  whether a step can be run a second time
    beside.py      a step that stood out, run again beside the training
    states.py      the values of variables at one moment
    staged.py      the batches of the last steps
    rewinding.py   what the training is run again from
    build.py       models that are built by their first batch
    batches.py     the batches of a call, kept until it has succeeded
    fits.py        what runs where tracing a step fails
    instrument.py  hooks a model, reads the rings, takes the hooks out
    tracer.py      one step run eagerly, its tensors named as the probes do
    compiled.py    one step run compiled, as a training does
    aftermath.py   what is done with a capsule at the end of a run that went bad
"""

from __future__ import annotations

from typing import Any

from tb_nanwatch.compat.names import Feature, require
from tb_nanwatch.writing.backends.interface import Wishes
from tb_nanwatch.writing.backends.tensorflow.aftermath import (
    complete,
    examine,
    examine_runaway,
)
from tb_nanwatch.writing.backends.tensorflow.compiled import runs
from tb_nanwatch.writing.backends.tensorflow.instrument import Instrument
from tb_nanwatch.writing.backends.tensorflow.ring import RING_ROWS
from tb_nanwatch.writing.recording.observer import Observer

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


def check_model(model: Any) -> None:
    """Raises `UnsupportedError` where what all watching rests on is missing."""
    require(Feature.WATCHING)


def watch(model: Any, observer: Observer, wishes: Wishes) -> Instrument:
    """Returns an instrument that is not installed yet."""
    return Instrument(
        model,
        observer,
        activations_only=wishes.activations_only,
        after_call=wishes.after_call,
        after_read=wishes.after_read,
        on_error=wishes.on_error,
        on_failure=wishes.on_failure,
        capture_bytes=wishes.capture_bytes,
        rewind_bytes=wishes.rewind_bytes,
    )
