# SPDX-License-Identifier: Apache-2.0
"""What a model's own Python code keeps: counters and lists of its layers.

A compiled step runs a layer's Python once, while it is traced. A step that runs again
beside the training runs it once more, and `self.calls += 1` would count that.
"""

from __future__ import annotations

import contextlib
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
    """Puts the attributes of a model and its layers back, whatever happens within.

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
                if _items(container) != items:
                    _refill(container, items)


def _contents(layer: Any) -> list[tuple[Any, list[Any]]]:
    return [(c, _items(c)) for c in vars(layer).values() if isinstance(c, _FILLED)]


def _items(container: Any) -> list[Any]:
    """Returns the items of a container by their identity: tensors cannot be compared."""
    parts = container.items() if isinstance(container, dict) else container
    return [
        tuple(map(_Same, p)) if isinstance(container, dict) else _Same(p) for p in parts
    ]


class _Same:
    """An object that equals itself alone."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def _refill(container: Any, items: list[Any]) -> None:
    """Fills a container by its plain type's methods: Keras' own lists note what is added."""
    if isinstance(container, dict):
        dict.clear(container)
        dict.update(container, {key.value: value.value for key, value in items})
    elif isinstance(container, list):
        list.clear(container)
        list.extend(container, (item.value for item in items))
    elif isinstance(container, set):
        set.clear(container)
        set.update(container, (item.value for item in items))
    else:
        deque.clear(container)
        deque.extend(container, (item.value for item in items))
