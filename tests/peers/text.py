"""Whether a test comes to a `fit` at all, by its text."""

from __future__ import annotations

import ast
import functools
import inspect
from typing import Any, Final

# How a test comes to a fit: by itself, by the function that tries a layer, or by
# scikit-learn's checks. Nothing else in Keras calls `fit`.
_FITS: Final = {"fit", "run_layer_test", "check_estimator", "parametrize_with_checks"}
# What runs around every test.
_AROUND: Final = {"setUp", "setUpClass", "tearDown", "tearDownClass"}


def may_fit(function: Any) -> bool:
    """Returns whether a test, or what it names in its module, names a fit."""
    function = inspect.unwrap(function)
    named = _named(inspect.getsourcefile(function))
    reached: set[str] = set()
    ahead = {function.__name__} | (_AROUND & named.keys())
    while ahead:
        reached |= ahead
        found = {n for name in ahead for n in named.get(name, ())}
        if found & _FITS:
            return True
        ahead = (found & named.keys()) - reached
    return False


@functools.cache
def _named(path: str) -> dict[str, set[str]]:
    """Returns what each function, method and class of a file names, decorators too."""
    with open(path, encoding="utf-8") as f:
        tree = ast.parse(f.read())
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            # Of a test's class only what the test names: the class holds other tests.
            names = found.setdefault(node.name, set())
            if not _holds_tests(node):
                names |= _names(node)
    return found


def _holds_tests(node: ast.AST) -> bool:
    return isinstance(node, ast.ClassDef) and any(
        isinstance(part, ast.FunctionDef) and part.name.startswith("test")
        for part in node.body
    )


def _names(node: ast.AST) -> set[str]:
    """Returns names, attributes, and strings: `getattr(model, "fit")` names it too."""
    found = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            found.add(part.id)
        elif isinstance(part, ast.Attribute):
            found.add(part.attr)
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            found.add(part.value)
    return found
