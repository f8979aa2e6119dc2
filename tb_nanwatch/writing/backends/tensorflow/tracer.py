# SPDX-License-Identifier: Apache-2.0
"""Runs one step eagerly and names its tensors as the probes do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tb_nanwatch.postmortem.run import Traced
from tb_nanwatch.record.schema import Phase
from tb_nanwatch.writing.backends.interface import Wishes
from tb_nanwatch.writing.backends.names import walk
from tb_nanwatch.writing.backends.silent import Silent
from tb_nanwatch.writing.backends.tensorflow.one_step import OneStep


class StepTracer:
    """The probes' hooks and names, without ring and without a compiled step.

    Args:
        model: must not be watched by another instrument at the time.
        activations_only: as the training was watched.
    """

    def __init__(self, model: Any, *, activations_only: bool = False) -> None:
        self._model = model
        wishes = Wishes(activations_only=activations_only)
        self._step = OneStep(model, Silent(), wishes)

    def paths(self) -> Mapping[int, str]:
        """Returns the path of each layer by its id."""
        return {id(layer): path for path, layer in walk(self._model)}

    def trace(self, phase: Phase, data: Any) -> list[Traced]:
        """Runs one step and returns its watched tensors in causal order."""
        return [
            Traced(f.kind, f.name, f.layer, f.tensor)
            for f in self._step.run_once(phase, data)
        ]
