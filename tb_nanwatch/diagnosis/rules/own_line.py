# SPDX-License-Identifier: Apache-2.0
"""The user's own expression with a guard put into it; pure."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

# Longer expressions are not used as an example.
_MAX_TEXT: Final = 160
# Of these modules it is known that they hold the function that bounds as well.
_HOMES: Final = (
    *("ops", "keras.ops", "K", "backend", "keras.backend"),
    *("tf", "tf.math", "tensorflow", "tensorflow.math"),
)
# TensorFlow's own names, where they are others.
_OF_TENSORFLOW: Final = {
    "clip": "clip_by_value",
    "max": "reduce_max",
    "sum": "reduce_sum",
    "log": "math.log",
    "var": "math.reduce_variance",
}
# Functions that take a root of what they make: of a sum of squares, or of a variance.
_NORMS: Final = ("norm",)
_DEVIATIONS: Final = ("std", "reduce_std")
_ROOTS: Final = ("sqrt",)
_SUMS: Final = ("sum", "reduce_sum")


@dataclass(frozen=True)
class LineEdit:
    """Puts an argument through another function: log(x) to log(maximum(x, bound)).

    Attributes:
        functions: names of the functions whose argument is meant.
        through: the function that bounds it.
        bound: its further arguments.
        argument: which of the arguments.
        operator: the operator that is meant as well, of the same two operands.
        everywhere: whether all of a line are bounded, where there are several.
        of: the function whose result is bounded in the argument's stead; "" for none.
    """

    functions: tuple[str, ...]
    through: str
    bound: str
    argument: int = 0
    operator: type[ast.operator] | None = None
    everywhere: bool = False
    of: str = ""


def edited(line: str, edit: LineEdit, bound: str) -> str | None:
    """Returns the operation of the line with its argument bounded.

    Where the line holds several, and the edit is one for all, it is the whole statement's
    value with each of them bounded. None where the line cannot be read, where it holds no
    such operation, or several of which one is meant.

    Args:
        line: a statement or an expression, in one line.
        edit: what is to be bounded.
        bound: as `edit.bound`, for the operation's dtype.
    """

    def bounded(node: ast.AST) -> ast.expr | None:
        return _with_bound(node, edit, bound)

    line = _alone(line)
    tree = _parsed(line)
    if tree is None:
        return None
    meant = [node for node in ast.walk(tree) if _is_meant(node, edit)]
    return _rewritten(line, tree, meant, bounded, edit.everywhere)


def rooted(line: str, bound: str) -> str | None:
    """Returns a norm or a deviation rewritten as a root whose argument is kept above 0.

    `ops.norm(x, axis=1)` becomes `ops.sqrt(ops.maximum(ops.sum(ops.square(x), axis=1),
    bound))`, and a deviation that root of the variance. None where the line holds none, or
    several, or one with an order of its own.
    """
    line = _alone(line)
    tree = _parsed(line)
    if tree is None:
        return None
    meant = [n for n in ast.walk(tree) if _called(n) in (*_NORMS, *_DEVIATIONS)]
    return _rewritten(line, tree, meant, lambda node: _guarded_root(node, bound))


def _guarded_root(node: ast.AST, bound: str) -> ast.expr | None:
    """Returns a root, a norm or a deviation with the root's argument kept above `bound`.

    None where it cannot be told what is under the root.
    """
    assert isinstance(node, ast.Call)
    kept = [k for k in node.keywords if k.arg in ("axis", "keepdims")]
    if len(node.args) != 1 or len(kept) != len(node.keywords):
        return None
    home = _home(node.func)
    if _called(node) in _ROOTS:
        node.args[0] = _call(home, "maximum", node.args[0], _verbatim(bound))
        return node
    module, inside = _root_of(home), node.args[0]
    if _called(node) in _NORMS:
        squared = _call(module, "sum", _call(module, "square", inside))
    else:
        squared = _call(module, "var", inside)
    squared.keywords = kept
    made = _call(module, "sqrt", _call(module, "maximum", squared, _verbatim(bound)))
    node.func, node.args, node.keywords = made.func, made.args, made.keywords
    return node


def below_its_largest(line: str) -> str | None:
    """Returns `exp(x)` as `exp(x - max(x, axis=-1, keepdims=True))`, as a softmax needs it.

    None where the line holds no exponential, or several.
    """

    def shifted(node: ast.AST) -> ast.expr | None:
        assert isinstance(node, ast.Call)
        if len(node.args) != 1:
            return None
        (x,) = node.args
        largest = _call(_root_of(_home(node.func)), "max", x)
        largest.keywords = [
            ast.keyword("axis", ast.Constant(-1)),
            ast.keyword("keepdims", ast.Constant(True)),
        ]
        node.args[0] = ast.BinOp(x, ast.Sub(), largest)
        return node

    line = _alone(line)
    tree = _parsed(line)
    if tree is None:
        return None
    return _rewritten(
        line, tree, [n for n in ast.walk(tree) if _called(n) == "exp"], shifted
    )


def without_power(line: str) -> str | None:
    """Returns the logarithm of the line's power: `a * log(x)` of `power(x, a)`.

    None where the line holds no power, or several.
    """

    def logarithm(node: ast.AST) -> ast.expr | None:
        if isinstance(node, ast.BinOp):
            base, exponent, home = node.left, node.right, "keras.ops"
        elif isinstance(node, ast.Call) and len(node.args) == 2 and not node.keywords:
            (base, exponent), home = node.args, _home(node.func)
        else:
            return None
        return ast.BinOp(exponent, ast.Mult(), _call(home, "log", base))

    def is_power(node: ast.AST) -> bool:
        operator = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)
        return operator or _called(node) in ("power", "pow")

    line = _alone(line)
    tree = _parsed(line)
    if tree is None:
        return None
    return _rewritten(line, tree, [n for n in ast.walk(tree) if is_power(n)], logarithm)


def factor_beside(line: str, place: int) -> str | None:
    """Returns the other factor of the line's only product, where that is a plain name.

    None where the line holds no product, or several.

    Args:
        line: a statement.
        place: 0 where the factor that is known stands first, else 1.
    """
    tree = _parsed(_alone(line))
    products = [
        node
        for node in (ast.walk(tree) if tree is not None else ())
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult)
    ]
    if len(products) != 1 or any(
        _called(node) == "multiply" for node in ast.walk(tree or ast.Module([], []))
    ):
        return None
    other = products[0].left if place else products[0].right
    return other.id if isinstance(other, ast.Name) else None


def divides_by_a_sum(line: str) -> bool:
    """Returns whether the line divides values by their own sum, as a softmax does."""
    tree = _parsed(_alone(line))
    return tree is not None and any(
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Div)
        and any(_called(part) in _SUMS for part in ast.walk(node.right))
        for node in ast.walk(tree)
    )


def _alone(line: str) -> str:
    """Returns a statement or an expression as it can stand alone."""
    return line.strip().removesuffix(":")


def _parsed(line: str) -> ast.Module | None:
    try:
        return ast.parse(line)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _rewritten(
    line: str,
    tree: ast.Module,
    meant: list[ast.AST],
    rewrite: Callable[[ast.AST], ast.expr | None],
    everywhere: bool = False,
) -> str | None:
    """Returns the guarded operation, or the whole value where several operations were guarded.

    Args:
        line: of which the tree was made.
        rewrite: returns the new expression, which may be the node itself, changed.
    """
    if not meant or (len(meant) > 1 and not everywhere):
        return None
    around = _around(tree, meant)
    _keep_as_written(tree, line)
    made = [rewrite(node) for node in meant]
    shown = made[0] if len(made) == 1 else around
    if shown is None or None in made:
        return None
    text = ast.unparse(shown)
    return text if len(text) <= _MAX_TEXT else None


def _around(tree: ast.Module, meant: list[ast.AST]) -> ast.expr | None:
    """Returns the smallest expression that holds all of the nodes."""
    holding = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.expr) and set(meant) <= set(ast.walk(node))
    ]
    return min(holding, key=lambda node: len(list(ast.walk(node))), default=None)


def _keep_as_written(tree: ast.Module, line: str) -> None:
    """Makes numbers and texts of the tree be written as in the line: 1e-8, not 1e-08."""
    for node in ast.walk(tree):
        for name, value in ast.iter_fields(node):
            if isinstance(value, ast.Constant):
                setattr(node, name, _verbatim(_text(line, value)))
            elif isinstance(value, list):
                value[:] = [
                    _verbatim(_text(line, v)) if isinstance(v, ast.Constant) else v
                    for v in value
                ]


def _text(line: str, node: ast.Constant) -> str:
    return ast.get_source_segment(line, node) or repr(node.value)


def _with_bound(node: ast.AST, edit: LineEdit, bound: str) -> ast.expr | None:
    if isinstance(node, ast.BinOp):
        side = "right" if edit.argument else "left"
        kept = getattr(node, side)
        if side == "right" and _root_is_kept_up(kept, bound):
            return node
        setattr(node, side, _bounded("keras.ops", kept, edit, bound))
        return node
    assert isinstance(node, ast.Call)
    if len(node.args) <= edit.argument:
        return None
    kept = node.args[edit.argument]
    home = _home(node.func)
    node.args[edit.argument] = _bounded(home, kept, edit, bound)
    return node


def _bounded(home: str, kept: ast.expr, edit: LineEdit, bound: str) -> ast.expr:
    if edit.of and _called(kept) != edit.of:
        kept = _call(home, edit.of, kept)
    return _call(home, edit.through, kept, _verbatim(bound))


def _root_is_kept_up(denominator: ast.expr, bound: str) -> bool:
    """Bounds a denominator that is a root, through the root's argument; returns whether it is a root.

    Kept up itself, the root would still have no derivative at 0: zero times infinity.
    """
    least = re.fullmatch(r"1e-(\d+)", bound)
    if least is None:
        return False
    if _called(denominator) in (*_ROOTS, *_NORMS, *_DEVIATIONS):
        return _guarded_root(denominator, f"1e-{2 * int(least[1])}") is not None
    parts: list[ast.expr] = []
    if isinstance(denominator, ast.BinOp) and isinstance(denominator.op, ast.Add):
        parts = [denominator.left, denominator.right]
    elif isinstance(denominator, ast.Call) and _called(denominator) == "maximum":
        parts = denominator.args
    return any(_root_is_kept_up(part, bound) for part in parts)


def _is_meant(node: ast.AST, edit: LineEdit) -> bool:
    if isinstance(node, ast.BinOp):
        if edit.operator is None or not isinstance(node.op, edit.operator):
            return False
        # A number that stands there needs no bound.
        return not isinstance(node.right if edit.argument else node.left, ast.Constant)
    return _called(node) in edit.functions


def _called(node: ast.AST) -> str:
    """Returns the name of the function that a call calls, "" for a method of the user's."""
    if not isinstance(node, ast.Call):
        return ""
    if isinstance(node.func, ast.Name):
        return node.func.id
    if not isinstance(node.func, ast.Attribute):
        return ""
    owner = ast.unparse(node.func.value).partition(".")[0]
    return "" if owner in ("self", "cls", "super()") else node.func.attr


def _home(function: ast.expr) -> str:
    """Returns the module from which a function is called, where it is one to call others of."""
    module = ast.unparse(function.value) if isinstance(function, ast.Attribute) else ""
    if module in _HOMES:
        return module
    root = module.partition(".")[0]
    return root if root in ("tf", "tensorflow") else "keras.ops"


def _root_of(module: str) -> str:
    return module.partition(".")[0] if _is_tensorflow(module) else module


def _is_tensorflow(module: str) -> bool:
    return module.partition(".")[0] in ("tf", "tensorflow")


def _call(module: str, name: str, *arguments: ast.expr) -> ast.Call:
    if _is_tensorflow(module) and name in _OF_TENSORFLOW:
        module, name = _root_of(module), _OF_TENSORFLOW[name]
    function = ast.parse(f"{module}.{name}", mode="eval").body
    return ast.Call(function, list(arguments), [])


def _verbatim(text: str) -> ast.expr:
    # A name, not a number: it is written as it stands, 1e-7 and not 1e-07.
    return ast.Name(text, ast.Load())


def without_comment(line: str) -> str:
    """Returns a line of code without the comment that it ends with."""
    try:
        for token in tokenize.generate_tokens(io.StringIO(line).readline):
            if token.type == tokenize.COMMENT:
                return line[: token.start[1]].rstrip()
    except (tokenize.TokenError, SyntaxError):  # a part of a longer expression
        pass
    return line
