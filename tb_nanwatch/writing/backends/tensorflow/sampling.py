# SPDX-License-Identifier: Apache-2.0
"""Which steps sum the tensors that are proved to be finite all the same."""

from __future__ import annotations

from typing import Any, Final

import tensorflow as tf

# A tensor that is proved to be finite is summed now and then all the same, for its root
# mean square: once in each bucket of steps (`buckets.py`), and once in so many steps.
MOST_STEPS_BETWEEN: Final = 32
_FIRST_OCTAVE: Final = 64


def is_sampled(number: Any) -> Any:
    """Returns whether all tensors are summed at step `number`, an int64 scalar."""
    strides = [1 << i for i in range(MOST_STEPS_BETWEEN.bit_length())]
    begins = [_FIRST_OCTAVE << i for i in range(len(strides) - 1)]
    octave = tf.reduce_sum(tf.cast(number >= tf.constant(begins, tf.int64), tf.int32))
    return number % tf.gather(tf.constant(strides, tf.int64), octave) == 0
