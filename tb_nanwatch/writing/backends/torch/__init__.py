# SPDX-License-Identifier: Apache-2.0
"""Watching a training that PyTorch runs: all that depends on PyTorch.

PyTorch runs a step operation by operation, and hooks on calls see its very tensors. Half the
sum of squares of each makes the row of a step; where that stands out, the tensors are looked
at themselves before the next step begins. On a CPU reading a sum costs nothing more; on an
accelerator the sums of many steps are read at once, and a step that stood out among them is
run again.

    tracing.py     what PyTorch's tensors are
    sums.py        half sums of squares, and tensors as arrays
    proofs.py      which large tensors need no pass of their own
    states.py      the values of variables at one moment
    rewinding.py   what the training is run again from
    capture.py     what a bad step was made of, from before its update
    instrument.py  hooks a model, looks at its steps, takes the hooks out
    operations.py  PyTorch's operations by the names that record and rules have
    epsilon.py     calls for operations with another argument
    watch.py       the operations of one step, and the non-finite values that they make
    aftermath.py   the failing step run once more after a training
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tb_nanwatch.errors import UnsupportedError
from tb_nanwatch.postmortem.capsule import Capsule
from tb_nanwatch.postmortem.means import Means
from tb_nanwatch.postmortem.tape import Tape
from tb_nanwatch.record.schema import PostMortem
from tb_nanwatch.writing.backends import afterwards
from tb_nanwatch.writing.backends.fits import Caller
from tb_nanwatch.writing.backends.interface import First, Wishes
from tb_nanwatch.writing.backends.seen import Seen
from tb_nanwatch.writing.backends.silent import Silent
from tb_nanwatch.writing.backends.torch import epsilon, states
from tb_nanwatch.writing.backends.torch.aftermath import post_mortem
from tb_nanwatch.writing.backends.torch.instrument import Instrument, tensors_of
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
    *(tensors_of, states.snapshot, states.assign, states.preserved, epsilon.calls)
)


def check_model(model: Any) -> None:
    """Raises `UnsupportedError` where PyTorch compiles the model's step."""
    if model.jit_compile is True:
        raise UnsupportedError(
            "NaN Watch does not watch what PyTorch compiles: it is off for this training, "
            "which goes on, since the model was compiled with jit_compile=True. "
            "Call model.compile(..., jit_compile=False) to have it watched."
        )


def watch(model: Any, observer: Observer, wishes: Wishes) -> Instrument:
    """Returns an instrument that is not installed yet."""
    return Instrument(model, observer, wishes)


def runs(model: Any, capsule: Capsule) -> Iterator[Seen]:
    """Yields what is seen of a capsule's step; see `interface.Backend`."""
    seen, phase = Seen(), capsule.position.phase
    seen.missing = states.assign(model, capsule.variables)
    instrument = Instrument(model, seen, Wishes())
    instrument.install(Caller(seen))
    try:
        trains = phase == "train"
        function = model.train_function if trains else model.test_function
        model.train(trains)
        function([tensors_of(capsule.data)])
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
