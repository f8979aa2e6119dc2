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

The rest of the writing side sees this package through `Observer` and `Instrument`
alone; a port to another Keras backend replaces it.

    names.py       what is in a model, and what its parts are called
    ops.py         operations that the probes are made of
    tracing.py     the tensors met while a step is traced
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
    hooks.py       wrappers in front of methods, and their removal
    build.py       models that are built by their first batch
    batches.py     the batches of a call, kept until it has succeeded
    fits.py        the fits that are watched, whose call it is, and what runs if one fails
    instrument.py  hooks a model, reads the rings, takes the hooks out
"""

from tb_nanwatch.writing.probes.capture import MANY_UPDATES, UPDATED, Kept
from tb_nanwatch.writing.probes.fits import Caller
from tb_nanwatch.writing.probes.instrument import Instrument, check_supported
from tb_nanwatch.writing.probes.names import walk
from tb_nanwatch.writing.probes.rewinding import default_bytes
from tb_nanwatch.writing.probes.ring import RING_ROWS
from tb_nanwatch.writing.probes.tracing import MAX_CALLS

__all__ = [
    "MANY_UPDATES",
    "MAX_CALLS",
    "RING_ROWS",
    "UPDATED",
    "Caller",
    "Instrument",
    "Kept",
    "check_supported",
    "default_bytes",
    "walk",
]
