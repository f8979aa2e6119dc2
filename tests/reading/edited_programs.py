"""Programs that search, made at random, and the edits of their spaces applied to them."""

from __future__ import annotations

import ast
import random
import types
from pathlib import Path
from typing import Any

import keras
import keras_tuner

from tb_nanwatch.reading.search.edit import Edit
from tb_nanwatch.record.schema import HParam
from tb_nanwatch.writing.search.declarations import declarations
from tb_nanwatch.writing.search.tuner import _hparams

Used = dict[str, Any]


def program(seed: int) -> str:
    """A build function of nested, conditional and repeated declarations.

    It returns by name the values that it used, as a model would use them.
    """
    rng = random.Random(seed)
    hp = rng.choice(["hp", "hp", "hyper"])
    blocks = [maker(rng, hp) for maker in rng.sample(_BLOCKS, rng.randint(4, 6))]
    if rng.random() < 0.5:  # else a parent may come after its child
        blocks.sort(key=lambda b: "Choice" not in b)
    body = "\n".join(blocks)
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return f"def build({hp}):\n    used = {{}}\n{lines}\n    return used\n"


def _rate(rng: random.Random, hp: str) -> str:
    call = rng.choice(
        [
            f'{hp}.Float("rate", 1e-4, 1.0, sampling="log")',
            f'{hp}.Float(\n    "rate",\n    1e-4,\n    1.0,\n    step=10,\n    sampling="log",\n)',
            f'{hp}.Float("rate", 0.0, 1.0, step=0.125)',
            f'{hp}.Choice("rate", [1e-4, 1e-3, 1e-2, 1e-1])',
        ]
    )
    if rng.random() < 0.5:
        return f'used["rate"] = {call}'
    return f'eta = {call}\nused["rate"] = eta'


def _optimizer(rng: random.Random, hp: str) -> str:
    call = f'{hp}.Choice("optimizer", ["sgd", "adam", "lion"], default="adam")'
    return rng.choice([f'used["optimizer"] = {call}', f'o = used["optimizer"] = {call}'])


def _taken(rng: random.Random, hp: str) -> str:
    kind = rng.choice(['Fixed("rate_sgd", 3)', 'Boolean("rate_sgd")'])
    return f'rate_sgd = {hp}.{kind}\nused["rate_sgd"] = rate_sgd'


def _loop(rng: random.Random, hp: str) -> str:
    units = rng.choice(
        [
            f'{hp}.Int(f"units_{{i}}", 16, 64, step=16)',
            f'{hp}.Int(f"units_{{i}}", 8, 64, step=2, sampling="log")',
        ]
    )
    return (
        f'for i in range({hp}.Int("depth", 1, 3)):\n'
        f'    used[f"units_{{i}}"] = {units}\n'
        f'    if {hp}.Boolean("dropout"):\n'
        f'        drop = {hp}.Float("drop", 0.1, 0.5)\n'
        '        used["drop"] = drop'
    )


def _nested(rng: random.Random, hp: str) -> str:
    inner = rng.choice(
        [
            f'width = {hp}.Int("width", 1, 9)\n                used["width"] = width',
            f'used["width"] = {hp}.Int("width", 1, 9)',
        ]
    )
    return (
        f'model = {hp}.Choice("model", ["mlp", "cnn", "rnn"])\n'
        f'with {hp}.conditional_scope("model", ["mlp", "cnn"]):\n'
        '    if model in ("mlp", "cnn"):\n'
        f'        act = {hp}.Choice("act", ["relu", "tanh"])\n'
        f'        scale = {hp}.Float("scale", 0.5, 2.0)\n'
        '        used["scale"] = scale\n'
        f'        with {hp}.conditional_scope("act", ["tanh"]):\n'
        '            if act == "tanh":\n'
        f"                {inner}"
    )


def _scoped(rng: random.Random, hp: str) -> str:
    return (
        f'with {hp}.name_scope("cell"):\n'
        f'    size = {hp}.Int("size", 4, 32, sampling="log")\n'
        'used["cell/size"] = size'
    )


def _helper(rng: random.Random, hp: str) -> str:
    return (
        f'used["decay"], beta = {hp}.Float("decay", 0.0, 1.0), {hp}.Boolean("beta")\n'
        f'used["beta"] = beta if beta else {hp}.Float("gamma", 1.0, 3.0)'
    )


def _batch(rng: random.Random, hp: str) -> str:
    return (
        f'used["batch"] = {hp}.Choice("batch", [16, 32, 64], ordered=False, default=32)'
    )


_BLOCKS = [_rate, _optimizer, _taken, _loop, _nested, _scoped, _helper, _batch]


def loaded(text: str, path: Path) -> Any:
    """The program's hypermodel, with its text in a file, as a module has it."""
    path.write_text(text, "utf-8")
    names: Used = {"__name__": "program"}
    exec(compile(text, str(path), "exec"), names)
    for value in names.values():
        if isinstance(value, type) and issubclass(value, keras_tuner.HyperModel):
            return value()
    build = names.get("build") or names["build_with"](keras.optimizers.SGD)
    return types.SimpleNamespace(build=build)


def explored(
    model: Any, n: int, read: bool = True
) -> tuple[list[list[HParam]], list[Any]]:
    """What n random trials record, and what they built, without training anything."""
    oracle = keras_tuner.oracles.RandomSearchOracle(
        objective=keras_tuner.Objective("loss", "min"), max_trials=n, seed=1
    )
    searches = types.SimpleNamespace(oracle=oracle, hypermodel=model)
    keras_tuner.Tuner._activate_all_conditions(searches)
    declared = declarations(model) if read else None
    trials, used = [], []
    for _ in range(n):
        hp = oracle.get_space()
        hp.values = oracle._random_values()
        used.append(model.build(hp))
        oracle.update_space(hp)
        trials.append(_hparams(hp, declared))
    return trials, used


def edited(text: str, edit: Edit) -> str:
    """The program with an edit in it, exactly as its `place` and its words say."""
    lines = text.splitlines()
    tree = ast.parse(text)
    if edit.place == "first":
        (build,) = (
            n
            for n in ast.walk(tree)
            if isinstance(n, ast.FunctionDef) and n.name == "build"
        )
        at = build.body[0].lineno - 1
        inserted = _indented(edit.code, build.body[0].col_offset)
        return "\n".join([*lines[:at], *inserted, *lines[at:]])
    statement, call = _declaring(tree, edit.hparam)
    if edit.place != "declaration":  # there the reader has to look for it
        assert f".py:{statement.lineno} " in edit.where.replace(",", " ")
    indent = statement.col_offset
    before, after = lines[: statement.lineno - 1], lines[statement.end_lineno :]
    if edit.place == "statement":
        return "\n".join([*before, *_indented(edit.code, indent), *after])
    instead = edit.code if edit.place == "call" else edit.where.split("`")[-2]
    kept = "\n".join(lines[statement.lineno - 1 : statement.end_lineno])
    source = ast.get_source_segment(text, call)
    assert source is not None and kept.count(source) == 1
    above = _indented(edit.code, indent) if edit.place != "call" else []
    return "\n".join([*before, *above, kept.replace(source, instead), *after])


def _indented(code: str, columns: int) -> list[str]:
    return [" " * columns + line for line in code.splitlines()]


def _declaring(tree: ast.Module, name: str) -> tuple[ast.stmt, ast.Call]:
    """The innermost statement with the call that declares a name, and the call."""
    parents = {c: node for node in ast.walk(tree) for c in ast.iter_child_nodes(node)}
    (call,) = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("Int", "Float", "Choice", "Boolean", "Fixed")
        and isinstance(node.args[0], ast.Constant)
        and node.args[0].value == name
    )
    statement: ast.AST = call
    while not isinstance(statement, ast.stmt):
        statement = parents[statement]
    return statement, call
