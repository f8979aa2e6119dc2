"""No private name of another package is used outside of tb_nanwatch/compat."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import tb_nanwatch
from tb_nanwatch.compat import keras, kerastuner, names, tensorboard, tensorflow

PACKAGE = Path(tb_nanwatch.__file__).parent
MODULES = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    if path.relative_to(PACKAGE).parts[0] != "compat"
)
REGISTERED = {
    part
    for module in (keras, kerastuner, tensorboard, tensorflow)
    for name in vars(module).values()
    if isinstance(name, names.Name)
    for part in (*name.name.split("."), getattr(name, "inner", ""))
    if part.startswith("_")
}
# Modules below these are private, as TensorBoard's are that are not listed.
PRIVATE = ("keras.src", "tensorflow.python", "tensorflow.core", "tensorflow.compiler")
PRIVATE += ("keras_tuner.src", "tf_keras.src", "keras._tf_keras")
# What TensorBoard's guide for authors of plugins and its example plugins import.
TENSORBOARD = {
    "tensorboard.backend.http_util",
    "tensorboard.context",
    "tensorboard.data.provider",
    "tensorboard.errors",
    "tensorboard.plugin_util",
    "tensorboard.plugins.base_plugin",
    "tensorboard.plugins.hparams.api",
    "tensorboard.util.tb_logging",
}
# Public in spite of their names.
OPEN = {"_replace", "_asdict", "_fields", "_getframe"}


def is_private(name: str) -> bool:
    return re.fullmatch(r"_[A-Za-z]\w*", name) is not None and name not in OPEN


def violations(code: str) -> list[str]:
    """Returns what a module uses of other packages' private names."""
    tree = ast.parse(code)
    parents = {c: p for p in ast.walk(tree) for c in ast.iter_child_nodes(p)}
    own, aliases = _own(tree), _aliases(tree)
    return [
        f"line {getattr(node, 'lineno', 0)}: {found}"
        for node in ast.walk(tree)
        for found in _in_node(node, parents, own, aliases)
    ]


def _own(tree: ast.Module) -> set[str]:
    """Returns the private attributes that the module's own classes have, or inherit."""
    own = _inherited(tree)
    for cls in ast.walk(tree):
        if not isinstance(cls, ast.ClassDef):
            continue
        for node in ast.walk(cls):
            if isinstance(node, ast.FunctionDef):
                own.add(node.name)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                own.add(node.target.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                if isinstance(node.value, ast.Name) and node.value.id == "self":
                    own.add(node.attr)
    return own


def _inherited(tree: ast.Module) -> set[str]:
    """Returns those of the modules of ours that the classes' own bases come from."""
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    bases = {b.id for cls in classes for b in cls.bases if isinstance(b, ast.Name)}
    names: set[str] = set()
    for alias, name in _aliases(tree).items():
        if alias in bases and name.startswith("tb_nanwatch."):
            module = name.split(".")[1:-1]
            path = PACKAGE.joinpath(*module).with_suffix(".py")
            names |= _own(ast.parse(path.read_text(encoding="utf-8")))
    return names


def _aliases(tree: ast.Module) -> dict[str, str]:
    """Returns the names under which other packages and their modules are known."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.name if alias.asname else alias.name.partition(".")[0]
                found[alias.asname or name] = name
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def _in_node(
    node: ast.AST,
    parents: dict[ast.AST, ast.AST],
    own: set[str],
    aliases: dict[str, str],
) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (a.name for a in node.names if _is_private_module(a.name))
    elif isinstance(node, ast.ImportFrom) and node.module:
        for alias in node.names:
            name = f"{node.module}.{alias.name}"
            if _is_private_module(name) or (
                is_private(alias.name) and not node.module.startswith("tb_nanwatch")
            ):
                yield name
    elif isinstance(node, ast.Attribute):
        text = ast.unparse(node)
        root, _, rest = text.partition(".")
        if re.fullmatch(r"[\w.]+", text) and root in aliases:
            if any(_below(f"{aliases[root]}.{rest}", p) for p in PRIVATE):
                yield text
        if is_private(node.attr):
            of_self = isinstance(node.value, ast.Name) and node.value.id in (
                "self",
                "cls",
            )
            if node.attr not in own or (node.attr in REGISTERED and not of_self):
                yield text
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        if isinstance(parents[node], ast.Expr):
            return  # a docstring
        if (
            node.value in REGISTERED
            or _is_private_module(node.value)
            or (is_private(node.value) and _is_access(node, parents[node]))
        ):
            yield repr(node.value)


def _below(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def _is_private_module(name: str) -> bool:
    if _below(name, "tensorboard") and re.fullmatch(r"[\w.]+", name):
        return not any(
            name == m or _below(m, name) or _below(name, m) for m in TENSORBOARD
        )
    return any(_below(name, private) for private in PRIVATE)


def _is_access(node: ast.Constant, parent: ast.AST) -> bool:
    """Returns whether a string is the name of an attribute that is used."""
    if isinstance(parent, ast.Subscript):
        return "__dict__" in ast.unparse(parent.value) or "vars(" in ast.unparse(
            parent.value
        )
    if not isinstance(parent, ast.Call):
        return False
    function = ast.unparse(parent.func)
    if function in ("getattr", "setattr", "hasattr", "delattr"):
        return True
    return function.endswith(("attrgetter", "methodcaller")) or "__dict__" in function


@pytest.mark.parametrize(
    "path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE).with_suffix(""))
)
def test_no_private_name_is_used_elsewhere(path: Path) -> None:
    assert violations(path.read_text(encoding="utf-8")) == []


FOUND = (
    "from tb_nanwatch.writing.backends.base import BaseInstrument\n"
    "class A(BaseInstrument):\n  def f(self):\n    return self._layers",
    "from tb_nanwatch.writing.backends.base import BaseInstrument\n"
    "class A:\n  def f(self):\n    return self._trouble",
    "import keras.src.backend",
    "from keras.src import backend",
    "from keras.src.backend.common import global_state",
    "import tensorflow.python.eager.context as context",
    "from tensorflow.python.ops import math_ops",
    "from keras_tuner.src.engine import base_tuner",
    "from tensorboard.compat.proto import event_pb2",
    "from tensorboard.plugins.hparams import api_pb2, summary",
    "from tensorboard.plugins.hparams import _keras",
    "from tensorboard.backend.event_processing import data_provider",
    "import tensorflow as tf\ntf.python.ops.math_ops",
    "import keras\nkeras.src.backend.name_scope",
    "import importlib\nimportlib.import_module('keras.src.backend')",
    "import sys\nsys.modules['keras_tuner.src.errors']",
    "def f(layer):\n    return layer._layers",
    "def f(model):\n    model._jit_compile = False",
    "def f(layer):\n    return layer.call._anything",
    "getattr(object, '_anything', None)",
    "hasattr(object, '_flat_losses')",
    "object.__dict__['_anything']",
    "vars(object)['_anything']",
    "object.__dict__.get('_anything')",
    "import operator\noperator.attrgetter('_anything')",
    "NAME = '_learning_rate'",
    # Of a class that another package's class stands below.
    "class A:\n    def f(self):\n        return self._anything",
    # A name of its own is no licence for the same one of another package's.
    "class A:\n    def __init__(self, layer):\n        self._layers = layer._layers",
)
SILENT = (
    "from tb_nanwatch.writing.backends.base import BaseInstrument\n"
    "class A(BaseInstrument):\n  def f(self):\n    return self._trouble",
    "import keras\nkeras.layers.Dense(1).trainable_variables",
    "import tensorflow as tf\ntf.raw_ops.Add, tf.compat.v1.get_default_graph()",
    "import keras_tuner\nkeras_tuner.errors.FailedTrialError",
    "from tensorboard.util import tb_logging",
    "from tensorboard import errors, plugin_util",
    "from tensorboard.plugins import base_plugin",
    "import sys\nsys.modules['tensorboard.plugins.hparams.api']",
    "import sys\nsys._getframe(1)",
    "class A:\n    def __init__(self):\n        self._a = 1\n\nA()._a",
    "class A:\n    def __init__(self):\n        self._layers = []",
    "class A:\n    _a: int\n\ndef f(a: A) -> int:\n    return a._a",
    "class A:\n    def _f(self):\n        pass\n\n    def g(self, other):\n        other._f()",
    "def f(pair):\n    return pair._replace(a=1)",
    '"""Speaks of keras.src and _layers."""',
    "'a_b'.replace('_', ' ')",
    "class A:\n    def __enter__(self):\n        return self.__dict__",
)


@pytest.mark.parametrize("code", FOUND)
def test_what_is_private_is_found(code: str) -> None:
    assert violations(code)


@pytest.mark.parametrize("code", SILENT)
def test_what_is_not_is_let_be(code: str) -> None:
    assert violations(code) == []


def test_all_modules_are_looked_at() -> None:
    assert {"callback.py", "watch.py", "reader.py", "cli.py"} <= {p.name for p in MODULES}


def test_the_names_of_every_package_are_registered() -> None:
    assert {name.package for name in names.known()} == {
        *("keras", "tensorflow", "keras_tuner", "tensorboard")
    }
    assert {"_layers", "_jit_compile", "_gradient_function", "_oracle"} <= REGISTERED
