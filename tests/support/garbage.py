"""Keeps TensorFlow's long-lived objects out of garbage collections."""

from __future__ import annotations

import gc


def set_graphs_aside() -> None:
    """Excludes all objects that are alive now from later garbage collections.

    TensorFlow keeps the graphs of all functions, so that each search would go through
    more of them.
    """
    gc.collect()
    gc.freeze()
