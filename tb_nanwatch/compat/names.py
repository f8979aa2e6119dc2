# SPDX-License-Identifier: Apache-2.0
"""Looks up private names of other packages, and warns where one is missing."""

from __future__ import annotations

import enum
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any

from tb_nanwatch.compat.versions import TESTED, tested, version_of
from tb_nanwatch.errors import UnsupportedError, warn


class Feature(enum.Enum):
    """A part of NaN Watch that needs private names; it is off where one of them is missing."""

    WATCHING = "watching this training"
    XLA = "watching a model that is compiled with jit_compile=True"
    SUBLAYERS = "watching layers inside of layers"
    LAYERS_ON_JAX = "watching the outputs of layers, and losses, on JAX"
    IMPLIED_ON_JAX = (
        "leaving what others tell of unread, so that XLA rounds alike, on JAX"
    )
    EXPERIMENTS_ON_JAX = "trying what would have kept a training finite, on JAX"
    NNX = "telling a model that Flax's NNX trains"
    LOSSES = "watching each loss by itself"
    VARIABLE_NAMES = "naming weights by their layers"
    LEARNING_RATE = "telling the learning rate from the optimizer's slots"
    APPLIED_GRADIENTS = "watching gradients that are applied without their variables"
    CAPSULE = "keeping the failing step for a post-mortem"
    POST_MORTEM = "naming operation and line in a post-mortem"
    CUSTOM_GRADIENT = "following a gradient through tf.custom_gradient"
    EPSILON = "trying an epsilon in the failing step"
    EXECUTIONS = "telling the executions of a trial from other trainings in it"
    ENDED_SEARCHES = "telling trials that ended a search, or came to no training"
    SHARED_SEARCH = "reading the settings of a distributed search"
    MODELS_BUILT = (
        "building a model as KerasTuner does, with what the tuner overrides of it"
    )
    HPARAMS_WRITTEN = "writing the values that the HParams tab shows"
    HPARAMS_READ = "listing trials that KerasTuner logged without NaN Watch"
    REMOTE_LOGS = "writing to remote places without TensorFlow's help"
    LOGS = "reading logs from the command line"


_NAMES: list[Name] = []
_OFF: set[Feature] = set()


class MissingError(UnsupportedError):
    """A private name does not exist in the installed version."""

    def __init__(self, name: Name) -> None:
        package = name.package
        super().__init__(
            f"NaN Watch: {name.feature.value} is off, the rest goes on: "
            f"{TESTED[package][0]} {version_of(package)} has no {name.text}. "
            f"This tb-nanwatch was tested with {tested(package)}; a newer one may know "
            "this version."
        )
        self.feature = name.feature

    def warn(self) -> None:
        """Warns, once a process for each feature."""
        if self.feature not in _OFF:
            _OFF.add(self.feature)
            warn(str(self))


@dataclass(frozen=True)
class Name:
    """A private name.

    Attributes:
        where: module that has it, with `Global` and `Inside`; else what has it, in words.
        name: may be dotted; "" is the module itself.
        feature: what is off without it.
        package: whose it is, by the name under which it is imported.
    """

    where: str
    name: str
    feature: Feature
    package: str = ""

    def __post_init__(self) -> None:
        if not self.package:
            object.__setattr__(self, "package", self.where.partition(".")[0])
        _NAMES.append(self)

    @property
    def text(self) -> str:
        """The name as messages have it."""
        return f"{self.where}.{self.name}" if self.name else self.where


@dataclass(frozen=True)
class Global(Name):
    """A module, or a name in it."""

    def find(self) -> Any:
        """Returns the object of that name.

        Raises:
            MissingError: nothing has.
        """
        try:
            found: Any = importlib.import_module(self.where)
            for part in filter(None, self.name.split(".")):
                found = getattr(found, part)
        except Exception as e:  # importing may raise anything
            raise MissingError(self) from e
        return found


@dataclass(frozen=True)
class Inside(Global):
    """A name that is used within a function, as a local variable or a string.

    Attributes:
        inner: the name; `name` is the function's.
    """

    inner: str = ""

    @property
    def text(self) -> str:
        """The name as messages have it."""
        return f"{self.inner!r} in {super().text}"

    def find(self) -> Any:
        """Returns the function.

        Raises:
            MissingError: there is no such function, or the name is not used in it.
        """
        function = super().find()
        code = getattr(function, "__code__", None)
        used = set(_words(code)) if code is not None else set()
        values = {getattr(function, "__globals__", {}).get(word) for word in used}
        if self.inner not in used | {v for v in values if isinstance(v, str)}:
            raise MissingError(self)
        return function


def _words(code: CodeType) -> Iterator[str]:
    """Yields names and strings that are used in code, and in the functions within."""
    yield from (*code.co_names, *code.co_varnames, *code.co_cellvars, *code.co_freevars)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant.co_name
            yield from _words(constant)
        elif isinstance(constant, str):
            yield constant


@dataclass(frozen=True)
class Attribute(Name):
    """An attribute of another package's objects."""

    @property
    def text(self) -> str:
        """The name as messages have it."""
        return f"{self.name} in {self.where}"

    def of(self, owner: Any) -> Any:
        """Returns the attribute.

        Raises:
            MissingError: `owner` has none.
        """
        try:
            return getattr(owner, self.name)
        except AttributeError as e:
            raise MissingError(self) from e

    def get(self, owner: Any, default: Any) -> Any:
        """Returns the attribute; warns, and returns `default`, where there is none."""
        try:
            return self.of(owner)
        except MissingError as e:
            e.warn()
            return default


def known() -> list[Name]:
    """Returns all private names of the modules that were imported."""
    return list(_NAMES)


def require(feature: Feature) -> None:
    """Looks up every name that a feature needs, except attributes of objects.

    Raises:
        MissingError: a name is missing.
    """
    for name in _NAMES:
        if isinstance(name, Global) and name.feature is feature:
            name.find()


def has(feature: Feature) -> bool:
    """Returns whether a feature is available; warns where it is not."""
    try:
        require(feature)
    except MissingError as e:
        e.warn()
        return False
    return True
