"""What TensorFlow keeps, out of the way."""

from __future__ import annotations

import gc


def set_graphs_aside() -> None:
    """Has what is alive now searched for garbage no more.

    TensorFlow keeps the graphs of all functions, so that each search would go through
    more of them.
    """
    gc.collect()
    gc.freeze()
