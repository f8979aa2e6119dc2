# SPDX-License-Identifier: Apache-2.0
"""Wrappers in front of methods of single objects, and their removal."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple


class Hooks:
    """The wrappers of one instrument.

    Attributes:
        installed: whether they stand in front of the methods.
    """

    def __init__(self) -> None:
        self.installed = True
        self._hooked: list[tuple[Any, str]] = []

    def put(self, owner: Any, name: str, wrap: Callable[[Any, Any], Any]) -> None:
        """Puts `wrap(owner, original)` in front of a method, on the instance alone.

        Name and signature stay those of the method: Keras tells by the signature of a
        layer's `call` what a mistake was, and so may code of the user's.
        """
        method = getattr(owner, name)
        wrapper: Any = functools.update_wrapper(wrap(owner, method), method, updated=())
        wrapper.nanwatch_hook = _Hook(self, owner.__dict__.get(name))
        # Not through __setattr__, which in Keras tracks what is set.
        owner.__dict__[name] = wrapper
        self._hooked.append((owner, name))

    def stand_before(self, owner: Any, name: str) -> bool:
        """Returns whether one of these wrappers stands in front of a method."""
        current = owner.__dict__.get(name)
        while hook := getattr(current, "nanwatch_hook", None):
            if hook.hooks is self:
                return True
            current = hook.previous
        return False

    def remove(self) -> None:
        """Takes every wrapper off; the objects are as they were. Safe to call again."""
        self.installed = False
        for owner, name in reversed(self._hooked):
            _unwrap(owner, name)
        self._hooked.clear()


class _Hook(NamedTuple):
    """Belongs to a wrapper: whose it is, and what stood on the instance before."""

    hooks: Hooks
    previous: Any


def _unwrap(owner: Any, name: str) -> None:
    """Takes wrappers that are no longer installed off, from the outside in."""
    current = owner.__dict__.get(name)
    while (hook := getattr(current, "nanwatch_hook", None)) and not hook.hooks.installed:
        current = hook.previous
    if current is None:
        owner.__dict__.pop(name, None)
    else:
        owner.__dict__[name] = current


def original(owner: Any, name: str) -> Any:
    """Returns the method as it is without any wrapper."""
    current = getattr(owner, name)
    while hook := getattr(current, "nanwatch_hook", None):
        current = hook.previous or getattr(type(owner), name).__get__(owner)
    return current
