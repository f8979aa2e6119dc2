"""Peak memory of one training: `victim_memory.py ELEMENTS LOGS`; no LOGS is a plain fit.

The model has a layer whose output has so many elements; nothing else in it is large.
"""

from __future__ import annotations

import resource
import sys
from typing import Any

import keras
import numpy as np

from tb_nanwatch import NanWatch


class Wide(keras.Layer):
    """Hands each input on many times."""

    def __init__(self, elements: int) -> None:
        super().__init__(name="wide")
        self._elements = elements

    def call(self, x: Any) -> Any:
        return keras.ops.broadcast_to(x[:1, :1], (1, self._elements)) * 2.0


class Mean(keras.Layer):
    """One number again."""

    def call(self, x: Any) -> Any:
        return keras.ops.mean(x, axis=-1, keepdims=True)


def main(elements: int, logs: str | None) -> None:
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1), Wide(elements), Mean()]
    )
    model.compile("sgd", "mse")
    x = np.ones((6, 1), "float32")
    callbacks = [] if logs is None else [NanWatch(logs)]
    model.fit(x, x, batch_size=1, epochs=2, verbose=0, callbacks=callbacks)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
