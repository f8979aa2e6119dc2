"""Captures the first step of a training by hand, as it was compiled and recorded."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tb_nanwatch.postmortem import state
from tb_nanwatch.postmortem.capsule import Capsule, Sum
from tb_nanwatch.writing.backends.fits import Caller
from tb_nanwatch.writing.backends.interface import Wishes
from tb_nanwatch.writing.backends.tensorflow.instrument import Instrument
from tb_nanwatch.writing.recording.recorder import Recorder


class _Sums(Recorder):
    """A recorder that keeps the sums of the first step, too."""

    def __init__(self) -> None:
        super().__init__()
        self.sums: list[Sum] = []

    def rows(self, layout: Any, replica: int, first_step: int, rows: Any) -> None:
        super().rows(layout, replica, first_step, rows)
        self.sums += [
            Sum(p.kind, p.name, float(rows[0, c]))
            for p, c in zip(layout.probes, layout.columns, strict=True)
            if c >= 0
        ]


def described(model: Any) -> dict[str, Any]:
    """Returns the fields of a capsule by which the model is built again."""
    return {
        "model": keras.saving.serialize_keras_object(model),
        "compiled": model.get_compile_config(),
    }


def first_step(model: Any, x: Any, y: Any) -> Capsule:
    """Trains `model` for one compiled step and returns what it recorded of it."""
    batch = len(y)
    if not model.built:
        model(x)
    model.optimizer.build(model.trainable_variables)
    # Metrics and losses are built at the first batch.
    model.compute_metrics(x, y, model(x))
    model.compute_loss(x, y, model(x))
    model.reset_metrics()
    before = state.snapshot(model)
    recorder = _Sums()
    instrument = Instrument(model, recorder, Wishes())
    instrument.install(Caller(recorder))
    recorder.begin_epoch(0, 0)
    model.fit(x, y, batch_size=batch, epochs=1, verbose=0, shuffle=False)
    instrument.read()
    instrument.uninstall()
    recorder.finish()
    (episode,) = recorder.tracker.take_changed()
    return Capsule(
        episode.start,
        episode.tensors[episode.new[0]] if episode.new else episode.tensors[0],
        episode.tensors,
        data=keras.tree.map_structure(np.asarray, (x, y)),
        variables=before,
        sums=recorder.sums,
    )
