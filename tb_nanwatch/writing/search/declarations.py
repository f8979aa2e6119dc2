# SPDX-License-Identifier: Apache-2.0
"""Where the user's program declares its hyperparameters, read from its source text.

An edit of the search space that is pasted has to use the program's own names and to
stand where the declaration stood. Only the text tells either: KerasTuner is given a
name and bounds.
"""

from __future__ import annotations

import ast
import functools
import linecache
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Any, Final

from tb_nanwatch.record.parts import CELL
from tb_nanwatch.record.schema import Declaration

_KINDS: Final = ("Int", "Float", "Choice", "Boolean", "Fixed")
# A longer text is no program that a person would paste into, and takes long to parse.
_MAX_SOURCE: Final = 1_000_000
_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
# A call in one of these may not run when its statement does, or more than once.
_NOT_ALWAYS: Final = (
    ast.IfExp,
    ast.BoolOp,
    ast.Lambda,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
    ast.GeneratorExp,
)
_SIMPLE: Final = (ast.Expr, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Return)


@dataclass(frozen=True)
class Declarations:
    """The declarations that the source text shows.

    Attributes:
        found: by name, those that stand in one place.
        elsewhere: of every other name.
    """

    found: Mapping[str, Declaration]
    elsewhere: Declaration

    def of(self, name: str) -> Declaration:
        """Returns where a hyperparameter is declared."""
        return self.found.get(name, self.elsewhere)


def declarations(hypermodel: Any) -> Declarations | None:
    """Returns where a KerasTuner hypermodel declares its hyperparameters.

    Args:
        hypermodel: a tuner's.

    Returns:
        None where the source of its functions cannot be read.
    """
    try:
        return _declarations(_functions(hypermodel))
    except Exception:  # whatever a foreign hypermodel raises
        return None


def _declarations(functions: list[FunctionType]) -> Declarations | None:
    if not functions:
        return None
    texts = {}
    for function in functions:
        file = function.__code__.co_filename
        linecache.checkcache(file)
        texts[file] = "".join(linecache.getlines(file, function.__globals__))
    build = functions[0]
    if not texts[build.__code__.co_filename]:
        return None
    names = build.__code__.co_varnames[: build.__code__.co_argcount]
    # The first argument; of a method the one after `self`.
    own = "." in build.__qualname__.rpartition("<locals>.")[2]
    hp = next(iter(names[1:] if own else names), "hp")
    return _read(tuple(texts.items()), hp)


def _functions(hypermodel: Any) -> list[FunctionType]:
    """Returns the user's functions among those that a hypermodel declares in, `build` first."""
    found = []
    for holder, attribute in (
        (vars(hypermodel) if hasattr(hypermodel, "__dict__") else {}, "build"),
        (_attributes(type(hypermodel)), "build"),
        (_attributes(type(hypermodel)), "fit"),
    ):
        function: Any = holder.get(attribute)
        function = getattr(function, "func", function)  # of a partial
        function = getattr(function, "__func__", function)  # of a bound method
        while hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        if not isinstance(function, FunctionType):
            continue
        if not str(function.__module__).startswith("keras_tuner."):
            found.append(function)
    return found


def shown_file(path: str) -> str:
    """Returns a file's name, `CELL` for the file that a notebook's kernel makes of a cell."""
    name = os.path.basename(path)
    folder = os.path.basename(os.path.dirname(path))
    return (
        CELL if name.startswith("<ipython-") or folder.startswith("ipykernel_") else name
    )


def _attributes(cls: type) -> dict[str, Any]:
    """Returns a class' attributes with those that it inherits."""
    return {
        name: value
        for base in reversed(cls.__mro__)
        for name, value in vars(base).items()
    }


@functools.lru_cache(maxsize=4)
def _read(texts: tuple[tuple[str, str], ...], hp: str) -> Declarations | None:
    found: dict[str, list[Declaration]] = {}
    patterns: list[re.Pattern[str]] = []
    for file, text in texts:
        if len(text) > _MAX_SOURCE:
            return None
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError):
            return None  # a file that was changed, or a cell with magics
        for name, declaration in _Found(tree, shown_file(file)).all():
            if isinstance(name, str):
                found.setdefault(name, []).append(declaration)
            else:
                patterns.append(name)
    return Declarations(
        {
            name: places[0]
            for name, places in found.items()
            if len(places) == 1
            and places[0].source
            and places[0].hp == hp
            and not any(p.fullmatch(name) for p in patterns)
        },
        Declaration(hp=hp),
    )


class _Found:
    """The declarations of one file, by its syntax tree."""

    def __init__(self, tree: ast.Module, file: str) -> None:
        self._file = file
        self._parents = {
            child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)
        }
        self._calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        self._names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        self._names |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}

    def all(self) -> Iterator[tuple[str | re.Pattern[str], Declaration]]:
        """Yields every name, or pattern of names, with where it stands.

        The source is empty where the declaration cannot be edited in its place.
        """
        for call in self._calls:
            name = _name_in(call)
            if isinstance(name, str):
                yield name, self._declaration(call, name)
            elif name is not None:
                yield name, Declaration()

    def _declaration(self, call: ast.Call, name: str) -> Declaration:
        nowhere = Declaration()
        assert isinstance(call.func, ast.Attribute)
        if not isinstance(call.func.value, ast.Name):
            return nowhere
        if any(k.arg in ("parent_name", "parent_values", None) for k in call.keywords):
            return nowhere  # conditions that an edit would lose
        node: ast.AST = call
        while not isinstance(node, ast.stmt):
            if isinstance(node, _NOT_ALWAYS):
                return nowhere
            node = self._parents[node]
        statement = node
        always = True
        while not isinstance(node, _FUNCTIONS):
            always = always and (node is statement or isinstance(node, ast.With))
            if isinstance(node, ast.With | ast.AsyncWith) and _scopes_names(node):
                return nowhere
            if node not in self._parents or isinstance(node, ast.ClassDef):
                return nowhere
            node = self._parents[node]
        found = Declaration(
            f"{self._file}:{statement.lineno}",
            node.name,
            statement.lineno,
            always=always,
            hp=call.func.value.id,
        )
        target = _target(statement, call)
        if target is not None:
            return replace(found, variable=target, assigned=True)
        if not isinstance(statement, _SIMPLE):
            return nowhere
        return replace(found, variable=self._free(name))

    def _free(self, name: str) -> str:
        """Returns a variable's name, made of a hyperparameter's, that the file does not use."""
        wanted = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower()
        if not wanted.isidentifier() or wanted in self._names:
            wanted = f"{wanted}_value" if wanted.isidentifier() else f"value_{wanted}"
        while wanted in self._names:
            wanted += "_"
        return wanted


def _name_in(call: ast.Call) -> str | re.Pattern[str] | None:
    """Returns the name that a call declares, or a pattern of those that it may.

    None where it declares nothing, or under a name that the text does not show.
    """
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in _KINDS:
        return None
    given = next(iter(call.args), None)
    for keyword in call.keywords:
        if keyword.arg == "name":
            given = keyword.value
    if isinstance(given, ast.Constant) and isinstance(given.value, str):
        return given.value
    if isinstance(given, ast.JoinedStr):
        parts = (
            re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".*"
            for part in given.values
        )
        return re.compile("".join(parts), re.DOTALL)
    return None


def _scopes_names(block: ast.With | ast.AsyncWith) -> bool:
    """Returns whether a `with` block adds a prefix to the names within it."""
    return any(
        isinstance(node, ast.Attribute) and node.attr == "name_scope"
        for item in block.items
        for node in ast.walk(item.context_expr)
    )


def _target(statement: ast.stmt, call: ast.Call) -> str | None:
    """Returns the variable that a statement assigns a call to, None for any other statement."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target: ast.expr = statement.targets[0]
    elif isinstance(statement, ast.AnnAssign):
        target = statement.target
    else:
        return None
    if statement.value is not call or not isinstance(target, ast.Name | ast.Attribute):
        return None
    return ast.unparse(target)
