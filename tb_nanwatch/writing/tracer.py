"""Runs one step eagerly and names its tensors as the probes do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tb_nanwatch.postmortem.run import Traced
from tb_nanwatch.schema import KINDS, Phase
from tb_nanwatch.writing.observer import Expectation, Floats, Layout
from tb_nanwatch.writing.probes import Instrument, _walk


class _Silent:
    """Nobody is told: what is found is returned instead."""

    def observe(
        self, layout: Layout, replica: int, step: int, tensors: Sequence[Any]
    ) -> Expectation:
        raise NotImplementedError

    def rows(self, layout: Layout, replica: int, first_step: int, rows: Floats) -> None:
        raise NotImplementedError


class StepTracer(Instrument):
    """The probes' hooks and names, without ring and without a compiled step.

    Args:
        model: must not be watched by another instrument at the time.
        activations_only: as the training was watched.
    """

    def __init__(self, model: Any, *, activations_only: bool = False) -> None:
        super().__init__(model, _Silent(), activations_only=activations_only)

    def paths(self) -> Mapping[int, str]:
        """Returns the path of each layer by its id."""
        return {id(layer): path for path, layer in _walk(self._model)}

    def trace(self, phase: Phase, data: Any) -> list[Traced]:
        """Runs one step and returns its watched tensors in causal order."""
        model = self._model
        self._installed = True
        try:
            self._name_everything()
            self._hook_calls()
            self._hook(model, "compute_loss", self._watch_loss)
            for optimizer in self._optimizers():
                self._hook(optimizer, "apply", self._watch_apply)
            step = model.train_step if phase == "train" else model.test_step
            _, found = self._found_in_step(phase, step, data)
        finally:
            self.uninstall()
        order = {kind: i for i, kind in enumerate(KINDS)}
        found.sort(key=lambda f: order[f.kind])
        return [Traced(f.kind, f.name, f.layer, f.tensor) for f in found]
