# SPDX-License-Identifier: Apache-2.0
"""Tests whether the printed fixes repair programs of the corpus, on Keras' backend.

    KERAS_BACKEND=torch python -m benchmarks.printed_fixes --seed 777

Each program is watched, the fix of its first cause is applied as its words say, and the
program is trained again without NaN Watch. It is mended where every value stays finite. A
fix whose words this program cannot follow counts as not applied. Where the words leave a
choice, the part that is tried is said in brackets.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np

from tb_nanwatch.diagnosis.ranking import diagnose
from tests.corpus import programs as corpus
from tests.corpus.run import facts_from

NUMBER: Final = r"(\d[\d.]*(?:e[-+]?\d+)?)"
HARMLESS: Final = ("clean", "contained")


class NotAppliedError(Exception):
    """The fix's words cannot be applied to this program; the message says why."""


def main() -> None:
    """Prints a line a program, and how many were mended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, nargs="*", default=[777])
    seeds = parser.parse_args().seed
    counts = {"mended": 0, "not mended": 0, "not applied": 0}
    for seed in seeds:
        for number, cause in enumerate(corpus.CAUSES):
            if cause in HARMLESS:
                continue
            said = tried(cause, (seed, number, 0))
            if said is not None:
                counts[said] += 1
    print(f"{keras.backend.backend()}, seeds {seeds}: {counts}")


def tried(cause: str, key: tuple[int, ...]) -> str | None:
    """Returns the result of applying a program's fix; None where the program has no fault."""

    def made(module: Any = corpus) -> Any:
        keras.backend.clear_session()
        return module.CAUSES[cause](np.random.default_rng(key))

    def fit(callbacks: list[Any]) -> None:
        made().fit(callbacks)

    with contextlib.redirect_stdout(io.StringIO()):
        causes = diagnose(facts_from(corpus.Program(cause, fit)))
    if not causes or causes[0].id == "unknown":
        print(f"{cause}: no cause is named")
        return None
    fix = causes[0].fix
    try:
        parts, how = applied(causes[0].id, fix, made)
    except NotAppliedError as e:
        print(f"{cause} -> {causes[0].id}: not applied ({e}): {fix}", flush=True)
        return "not applied"
    with contextlib.redirect_stdout(io.StringIO()):
        said = "mended" if stays_finite(parts) else "not mended"
    print(f"{cause} -> {causes[0].id}: {said}{how}: {fix}", flush=True)
    return said


class _Logs(keras.callbacks.Callback):
    """Notes whether the logs of each epoch are finite."""

    def __init__(self) -> None:
        super().__init__()
        self.finite = True

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        values = [float(v) for v in (logs or {}).values()]
        self.finite = self.finite and bool(np.isfinite(values).all())


def stays_finite(parts: Any) -> bool:
    """Trains, and returns whether losses, metrics and weights are finite."""
    logs = _Logs()
    parts.fit([logs])
    weights = (keras.ops.convert_to_numpy(v) for v in parts.model.variables)
    return logs.finite and all(np.isfinite(np.asarray(w, float)).all() for w in weights)


def applied(cause: str, fix: str, made: Callable[..., Any]) -> tuple[Any, str]:
    """Returns the parts of the program with its fix, and which part of it was tried.

    Raises:
        NotAppliedError: the words cannot be followed by this script.
    """
    if fix.startswith("At "):
        return made(_edited(fix)), ""
    parts, how = made(), ""
    if found := re.search(rf"learning rate to {NUMBER}", fix):
        parts.optimizer.learning_rate = _number(found[1])
    elif found := re.search(rf"(?:Lower|Set|Raise) (\w+)\b.*? to {NUMBER}", fix):
        if not hasattr(parts.optimizer, found[1]):
            raise NotAppliedError(f"the optimizer has no {found[1]}")
        setattr(parts.optimizer, found[1], _number(found[2]))
    elif cause in _BY_CAUSE:
        how = _BY_CAUSE[cause](parts)
    else:
        raise NotAppliedError("this script does not know how")
    return parts, how


def _number(text: str) -> float:
    return float(text.rstrip("."))


def _inputs(parts: Any) -> str:
    x = parts.x.astype("float64")
    scaled = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-12)
    parts.x = scaled.astype(parts.x.dtype)
    return ""


def _targets(parts: Any) -> str:
    y = parts.y.astype("float64")
    parts.y = ((y - y.mean()) / max(float(y.std()), 1e-12)).astype(parts.y.dtype)
    return ""


def _rows(parts: Any) -> str:
    kept = np.ones(len(parts.x), bool)
    for part in (parts.x, parts.y, parts.sample_weight):
        if part is not None and part.dtype.kind == "f":
            kept &= np.isfinite(part.reshape(len(part), -1)).all(axis=1)
    parts.x, parts.y = parts.x[kept], parts.y[kept]
    if parts.sample_weight is not None:
        parts.sample_weight = parts.sample_weight[kept]
    return " (the rows dropped)"


def _labels(parts: Any) -> str:
    if "Sparse" in type(parts.loss).__name__:
        raise NotAppliedError("labels of classes are not to be clipped")
    low, high = parts.y.min(), parts.y.max()
    parts.y = ((parts.y - low) / (high - low)).astype(parts.y.dtype)
    return " (the labels brought into 0 to 1)"


def _initializers(parts: Any) -> str:
    for layer in parts.model.layers:
        if hasattr(layer, "kernel"):
            activation = getattr(layer.activation, "__name__", "")
            name = "he_normal" if activation == "relu" else "glorot_uniform"
            layer.kernel.assign(
                keras.initializers.get(name)(layer.kernel.shape, layer.kernel.dtype)
            )
    return ""


def _clipping(parts: Any) -> str:
    parts.optimizer.clipnorm = 1.0
    return " (clipnorm=1.0 alone)"


def _numbers(parts: Any) -> str:
    for variable in parts.model.variables:
        value = keras.ops.convert_to_numpy(variable)
        if value.dtype.kind == "f":
            variable.assign(np.nan_to_num(value, posinf=0, neginf=0))
    return " (nan_to_num)"


_BY_CAUSE: Final[dict[str, Callable[[Any], str]]] = {
    "unscaled_inputs": _inputs,
    "unscaled_targets": _targets,
    "nonfinite_data": _rows,
    "label_range": _labels,
    "initialization": _initializers,
    "gradient_amplification": _clipping,
    "inherited": _numbers,
}


# --- A fix at a line -------------------------------------------------------------------


def _edited(fix: str) -> Any:
    """Returns the corpus' source with the expression at a line replaced by that of the fix."""
    said = re.match(r"At (\S+):(\d+), ", fix)
    codes = re.findall(r"`([^`]+)`", fix)
    if said is None or len(codes) < 2 or not said[1].endswith("programs.py"):
        raise NotAppliedError("it names no expression")
    new = ast.parse(codes[-1], mode="eval").body
    old = _Bare().visit(ast.parse(codes[-1], mode="eval").body)
    tree = ast.parse(Path(str(corpus.__file__)).read_text(encoding="utf-8"))
    swap = _Swap(ast.dump(old), new, int(said[2]))
    swap.visit(tree)
    if not swap.count:
        raise NotAppliedError(f"line {said[2]} has no `{ast.unparse(old)}`")
    module = types.ModuleType("edited")
    # Classes are looked up by their module's name.
    sys.modules["edited"] = module
    exec(
        compile(ast.fix_missing_locations(tree), str(corpus.__file__), "exec"),
        vars(module),
    )
    return module


class _Bare(ast.NodeTransformer):
    """Removes guards from an expression: `maximum(x, 1e-7)` becomes x."""

    def visit_Call(self, node: ast.Call) -> Any:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        guards = name == "maximum" and isinstance(node.args[-1], ast.Constant)
        return self.visit(node.args[0]) if guards else self.generic_visit(node)


class _Swap(ast.NodeTransformer):
    """Replaces an expression near a line by another one."""

    def __init__(self, old: str, new: Any, line: int) -> None:
        self._old, self._new, self._line, self.count = old, new, line, 0

    def visit(self, node: Any) -> Any:
        near = abs(getattr(node, "lineno", -9) - self._line) <= 1
        if near and ast.dump(node) == self._old:
            self.count += 1
            return self._new
        return self.generic_visit(node)


if __name__ == "__main__":
    main()
