# SPDX-License-Identifier: Apache-2.0
"""The batches of one call of a compiled function, kept until the call has succeeded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tensorflow as tf


class Batches:
    """The next batches of an iterator, which can be handed to a function several times.

    Args:
        batches: at least one.
        spec: of the iterator that they come from. A function that was traced for that
            iterator takes these without another trace.
    """

    def __init__(self, batches: list[Any], spec: Any) -> None:
        self._batches = batches
        self._spec = spec

    def again(self) -> Iterator[Any]:
        """Returns an iterator over the batches, of the same type each time."""
        try:
            datasets = [tf.data.Dataset.from_tensors(batch) for batch in self._batches]
            # Batches of several sizes have one specification only as what they came from.
            parts = [self._typed(dataset) for dataset in datasets]
            whole = parts[0]
            for part in parts[1:]:
                whole = whole.concatenate(part)
            return iter(whole)
        except Exception:  # of elements that no dataset can hold
            # Keras' functions take any iterator, and trace once more for it.
            return iter(self._batches)

    def _typed(self, dataset: Any) -> Any:
        variant = tf.data.experimental.to_variant(dataset)
        return tf.data.experimental.from_variant(variant, self._spec)


def take(iterator: Any, count: int) -> Batches | None:
    """Takes the next batches off an iterator.

    Args:
        iterator: what Keras hands to a training function.
        count: of batches, at least 1; there may be fewer.

    Returns:
        None where the iterator is not one of `tf.data`, or hands its batches to several
        replicas. Nothing is taken off it then.

    Raises:
        StopIteration: there are no more batches.
        Exception: whatever making a batch raises, as in training.
    """
    if not isinstance(iterator, tf.data.Iterator):
        return None
    batches = [next(iterator)]
    while len(batches) < count:
        try:
            batches.append(next(iterator))
        except StopIteration:
            break
    return Batches(batches, iterator.element_spec)
