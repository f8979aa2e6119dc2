"""What experiments need of the backend that Keras runs on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from tb_nanwatch.postmortem.capsule import SavedVariable


@dataclass(frozen=True)
class Means:
    """How a model's step is set up and run again on one backend.

    Attributes:
        tensors_of: returns a batch of arrays as a training step receives it.
        snapshot: returns the values of all that a training step can change.
        assign: sets a model to the values of a capsule.
        preserved: returns a context after which a model is as it was before it.
    """

    tensors_of: Callable[[Any], Any]
    snapshot: Callable[[Any], list[SavedVariable]]
    assign: Callable[[Any, list[SavedVariable]], object]
    preserved: Callable[[Any], AbstractContextManager[None]]


def of_tensorflow() -> Means:
    """Returns TensorFlow's; it alone is imported where this is called."""
    from tb_nanwatch.postmortem import rebuild, state

    return Means(rebuild.tensors_of, state.snapshot, state.assign, state.preserved)
