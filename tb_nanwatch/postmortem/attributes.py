# SPDX-License-Identifier: Apache-2.0
"""Restores Python attributes that a model's own code changes: counters and lists of its layers.

A compiled step runs a layer's Python once, while it is traced. A step that runs again
beside the training runs it once more, and `self.calls += 1` would count that.
"""

from __future__ import annotations

import contextlib
import operator
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

from tb_nanwatch.compat.keras import sublayers

# They are filled in place; what else is changed is another object afterwards.
_FILLED: Final = (list, dict, set, deque)


def layers_of(model: Any) -> list[Any]:
    """Returns a model and all layers in it, each once."""
    found: dict[int, Any] = {}
    waiting = [model]
    while waiting:
        layer = waiting.pop()
        if id(layer) not in found:
            found[id(layer)] = layer
            waiting += sublayers(layer)
    return list(found.values())


@contextlib.contextmanager
def kept(model: Any) -> Iterator[None]:
    """Restores the attributes of a model and its layers when the block ends, however it ends.

    Lists, dicts, sets and deques get their items back, but not what these hold in turn.
    What a layer's code changes elsewhere stays changed.
    """
    before = [(layer, dict(vars(layer)), _contents(layer)) for layer in layers_of(model)]
    try:
        yield
    finally:
        for layer, attributes, contents in before:
            now = vars(layer)
            for name in now.keys() - attributes.keys():
                del now[name]
            now.update(attributes)
            for container, items in contents:
                if not _are_same(_items(container), items):
                    _refill(container, items)


def _contents(layer: Any) -> list[tuple[Any, list[Any]]]:
    return [(c, _items(c)) for c in vars(layer).values() if isinstance(c, _FILLED)]


def _items(container: Any) -> list[Any]:
    """Returns the items of a container; of a dict each key, and its value after it."""
    if isinstance(container, dict):
        return [part for item in container.items() for part in item]
    return list(container)


def _are_same(items: list[Any], others: list[Any]) -> bool:
    """Returns whether two lists hold the same objects: tensors cannot be compared by value."""
    return len(items) == len(others) and all(map(operator.is_, items, others))


def _refill(container: Any, items: list[Any]) -> None:
    """Fills a container by its plain type's methods: Keras' own lists note what is added."""
    if isinstance(container, dict):
        dict.clear(container)
        dict.update(container, zip(items[::2], items[1::2], strict=True))
        return
    plain: Any = next(k for k in (list, set, deque) if isinstance(container, k))
    plain.clear(container)
    add = plain.add if plain is set else plain.append
    for item in items:
        add(container, item)
