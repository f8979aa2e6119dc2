"""Takes a private name away from tb_nanwatch, as a new release would."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable
from typing import Any

import keras
import pytest

from tb_nanwatch.compat import names

_GONE = "renamed_in_a_new_release"


def hide(name: names.Name, monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes a name away; the package that has it goes on using it."""
    if isinstance(name, names.Inside):
        _rename_within(name, monkeypatch)
    elif name.where == "a tuner":
        _rename_method(
            importlib.import_module("keras_tuner").Tuner, name.name, monkeypatch
        )
    elif isinstance(name, names.Global):
        _remove_from_module(name, monkeypatch)
    else:
        _hide_attribute(_owner(name), name.name, monkeypatch)


def _remove_from_module(name: names.Global, monkeypatch: pytest.MonkeyPatch) -> None:
    if not name.name:
        monkeypatch.setitem(sys.modules, name.where, None)
        return
    module = importlib.import_module(name.where)
    # Its functions keep their own globals: only who asks anew finds less.
    rest = types.ModuleType(name.where)
    vars(rest).update({k: v for k, v in vars(module).items() if k != name.name})
    monkeypatch.setitem(sys.modules, name.where, rest)


def _rename_within(name: names.Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    function = name.find()
    code = function.__code__
    for word in code.co_names:
        if function.__globals__.get(word) == name.inner:
            monkeypatch.setitem(function.__globals__, word, _GONE)
    monkeypatch.setattr(function, "__code__", _renamed(code, name.inner))


def _rename_method(cls: Any, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Renames a method, and in those of its class that call it."""
    owner = next(base for base in cls.__mro__ if method in vars(base))
    for function in [
        f for f in vars(owner).values() if isinstance(f, types.FunctionType)
    ]:
        if method in function.__code__.co_names:
            code = function.__code__
            renamed = tuple(_GONE if word == method else word for word in code.co_names)
            monkeypatch.setattr(function, "__code__", code.replace(co_names=renamed))
    monkeypatch.setattr(owner, _GONE, getattr(owner, method), raising=False)
    monkeypatch.delattr(owner, method)


def _renamed(code: types.CodeType, old: str) -> types.CodeType:
    """Returns code with a variable, string or inner function of another name."""

    def new(words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_GONE if word == old else word for word in words)

    constants = (
        _renamed(c, old) if isinstance(c, types.CodeType) else _GONE if c == old else c
        for c in code.co_consts
    )
    return code.replace(
        co_name=new((code.co_name,))[0],
        co_consts=tuple(constants),
        co_varnames=new(code.co_varnames),
        co_cellvars=new(code.co_cellvars),
        co_freevars=new(code.co_freevars),
    )


def _owner(name: names.Name) -> Any:
    """Returns the class whose objects have the attribute."""
    if name.where == "an eager tensor":
        return importlib.import_module("tensorflow.python.framework.ops").EagerTensor
    if name.where == "the eager context":
        return importlib.import_module("tensorflow.python.eager.context").Context
    if name.where == "the oracle of a worker":
        client = importlib.import_module("keras_tuner.src.distribute.oracle_client")
        return client.OracleClient
    if name.where == "a compiled loss":
        return importlib.import_module("keras.src.trainers.compile_utils").CompileLoss
    return {
        "a model": keras.Model,
        "a layer": keras.Layer,
        "an optimizer": keras.optimizers.Optimizer,
    }[name.where]


def _hide_attribute(owner: Any, attribute: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if attribute in vars(owner):
        monkeypatch.delattr(owner, attribute)
        return
    original: Callable[[Any, str], Any] = owner.__getattribute__

    def without(self: Any, wanted: str) -> Any:
        if wanted == attribute:
            asking = sys._getframe(1).f_globals.get("__name__", "")
            if asking.startswith("tb_nanwatch"):
                raise AttributeError(wanted)
        return original(self, wanted)

    monkeypatch.setattr(owner, "__getattribute__", without)
