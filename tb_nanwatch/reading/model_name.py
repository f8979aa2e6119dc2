# SPDX-License-Identifier: Apache-2.0
"""Checks the `--model` argument of `tb-nanwatch replay` before any of that code is imported."""

from __future__ import annotations

import ast
import importlib.machinery
import os
import sys
from typing import Final

from tb_nanwatch.errors import NanWatchError

_EXPECTED: Final = (
    "expected your program and the function in it that returns the compiled model, e.g. "
    "train.py:build, or module:function"
)


class ModelNameError(NanWatchError):
    """The named function that builds the model does not exist."""


def check(model: str) -> None:
    """Checks that file or module is there, and that the file has such a function.

    Args:
        model: "FILE.py:FUNCTION" or "module:function".

    Raises:
        ModelNameError: it is not.
    """
    # The last colon: a path on Windows has one of its own.
    place, _, name = model.rpartition(":")
    if not place or not name:
        raise ModelNameError(f"--model was given {model!r}; {_EXPECTED}")
    if place.endswith(".py"):
        _check_file(place, name)
    elif not _has_module(place.partition(".")[0]):
        raise ModelNameError(
            f"--model names the module {place!r}, which is neither installed nor in this "
            f"directory; {_EXPECTED}"
        )


def _check_file(file: str, name: str) -> None:
    if not os.path.isfile(file):
        raise ModelNameError(
            f"--model names the file {file!r}, which does not exist; {_EXPECTED}"
        )
    try:
        with open(file, "rb") as f:
            tree = ast.parse(f.read())
    except (OSError, SyntaxError, ValueError) as e:
        raise ModelNameError(
            f"--model names {file!r}, which is no Python program: {e}"
        ) from e
    names = _names(tree)
    if names is not None and name not in names:
        found = ", ".join(sorted(n for n in names if not n.startswith("_"))[:8])
        raise ModelNameError(
            f"--model names {name!r}, which {file!r} does not define; expected the function "
            f"that returns the compiled model; {file!r} has {found or 'no names'}"
        )


def _names(tree: ast.Module) -> set[str] | None:
    """Returns the global names that a program's text binds; None where it may bind more."""
    names: set[str] = set()
    stack: list[ast.AST] = list(tree.body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
            continue  # names bound in a function or class are not global
        if isinstance(node, ast.alias):
            if node.name == "*":
                return None
            names.add(node.asname or node.name.partition(".")[0])
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        stack += ast.iter_child_nodes(node)
    return names


def _has_module(name: str) -> bool:
    """Returns whether a module could be imported from here, without importing it."""
    path = [os.getcwd(), *sys.path]
    found = importlib.machinery.PathFinder.find_spec(name, path)
    return found is not None or name in sys.builtin_module_names
