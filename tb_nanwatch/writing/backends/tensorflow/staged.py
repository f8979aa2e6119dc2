# SPDX-License-Identifier: Apache-2.0
"""The batches of the last steps, held by reference where the step received them.

The step puts its batch into a staging area of TensorFlow's, and takes the oldest out:
so many batches as were in the area before stay in it. Neither copies anything.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Final

import keras
import tensorflow as tf

# An empty area lives as long as the process. No other training may take its name: a step
# of the first that is run again would push batches through it.
_NAMES: Final = itertools.count()


class Staged:
    """The batches of the last steps of one training.

    Attributes:
        why_not: why they cannot be held, in words; empty where they can.
    """

    def __init__(self) -> None:
        self._name = ""
        self._structure: Any = None
        self._dtypes: list[Any] = []
        self._length = 0
        self._eager: list[list[Any]] = []
        self.why_not = ""

    # --- In the step --------------------------------------------------------------

    def put(self, structure: Any, tensors: Sequence[Any]) -> None:
        """Adds the batch of a step that is traced, or run.

        Args:
            structure: nested as the step received it; leaves are places in `tensors`, or
                None.
            tensors: the batch's.
        """
        dtypes = [t.dtype for t in tensors]
        if self._structure is None:
            self._structure, self._dtypes = structure, dtypes
        elif not _same(structure, self._structure) or dtypes != self._dtypes:
            self.why_not = self.why_not or "its batches differ in what they hold"
        if self.why_not or not tensors:
            return
        if tf.executing_eagerly():
            self._eager.append(list(tensors))
            del self._eager[: len(self._eager) - self._length]
            return
        with tf.init_scope():
            if not self._name:
                self._open()
        with tf.device("CPU:0"):
            tf.raw_ops.Stage(values=list(tensors), shared_name=self._name)
            tf.raw_ops.Unstage(dtypes=self._dtypes, shared_name=self._name)

    # --- On the host --------------------------------------------------------------

    def hold(self, steps: int) -> None:
        """Has the batches of so many steps held from now on; those held already stay."""
        self._length = steps
        self._eager = self._eager[-steps:] if steps else []
        if self._name:
            held = self._take()
            self._fill(held[-steps:] if steps else [])

    def batches(self) -> list[Any]:
        """Returns the batches that are held, oldest first."""
        held = self._eager
        if self._name:
            held = self._take()
            self._fill(held)
        return [self._nested(batch) for batch in held]

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Holds no batch of the compiled steps that run within."""
        held = self._take() if self._name else []
        try:
            yield
        finally:
            if self._name:
                self._take()
                self._fill(held)

    def batch_bytes(self) -> int:
        """Returns the bytes of the last batch, 0 where none is held."""
        if self._eager:
            return _nbytes(self._eager[-1])
        if not self._name:
            return 0
        last = self._peek(self._length - 1) if self._length else []
        return 0 if _is_filler(last) else _nbytes(last)

    def close(self) -> None:
        """Lets go of everything; a step that is run again leaves nothing behind."""
        self.hold(0)

    # --- The area -----------------------------------------------------------------

    def _open(self) -> None:
        self._name = f"nanwatch_batches_{next(_NAMES)}"
        self._fill([])

    def _fill(self, held: list[list[Any]]) -> None:
        """Puts batches into the empty area, behind as many fillers as are missing."""
        with tf.device("CPU:0"):
            filler = [tf.zeros([0], dtype) for dtype in self._dtypes]
            for _ in range(self._length - len(held)):
                tf.raw_ops.Stage(values=filler, shared_name=self._name)
            for batch in held:
                tf.raw_ops.Stage(values=batch, shared_name=self._name)

    def _take(self) -> list[list[Any]]:
        """Empties the area and returns the batches that were in it."""
        with tf.device("CPU:0"):
            size = tf.raw_ops.StageSize(dtypes=self._dtypes, shared_name=self._name)
            all_held = [
                tf.raw_ops.Unstage(dtypes=self._dtypes, shared_name=self._name)
                for _ in range(int(size))
            ]
        return [batch for batch in all_held if not _is_filler(batch)]

    def _peek(self, index: int) -> list[Any]:
        with tf.device("CPU:0"):
            found: list[Any] = tf.raw_ops.StagePeek(
                index=index, dtypes=self._dtypes, shared_name=self._name
            )
        return found

    def _nested(self, batch: list[Any]) -> Any:
        return keras.tree.map_structure(
            lambda i: None if i is None else batch[i], self._structure
        )


def _same(a: Any, b: Any) -> bool:
    try:
        keras.tree.assert_same_structure(a, b)
    except (TypeError, ValueError):
        return False
    return bool(keras.tree.flatten(a) == keras.tree.flatten(b))


def _is_filler(batch: Sequence[Any]) -> bool:
    return all(t.shape == (0,) for t in batch)


def _nbytes(batch: Sequence[Any]) -> int:
    # A word's bytes are not known; they are few beside numbers.
    return sum(int(tf.size(t)) * max(1, t.dtype.size) for t in batch)
