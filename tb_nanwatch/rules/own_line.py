"""The user's own expression with a guard put into it; pure."""

from __future__ import annotations

import ast
import io
import tokenize
from dataclasses import dataclass
from typing import Final

# A longer one is no example.
_MAX_TEXT: Final = 120


@dataclass(frozen=True)
class Edit:
    """Puts an argument through another function: log(x) to log(maximum(x, bound)).

    Attributes:
        functions: names of the functions whose argument is meant.
        through: the function that bounds it.
        bound: its second argument.
        argument: which of the arguments.
        operator: the operator that is meant as well, of the same two operands.
    """

    functions: tuple[str, ...]
    through: str
    bound: str
    argument: int = 0
    operator: type[ast.operator] | None = None


def edited(line: str, edit: Edit, bound: str) -> str | None:
    """Returns the operation of the line with its argument bounded.

    None where the line cannot be read, or where it is not the only one of its kind.

    Args:
        line: a statement or an expression, in one line.
        edit: what is to be bounded.
        bound: as `edit.bound`, for the operation's dtype.
    """
    try:
        tree = ast.parse(line.strip().removesuffix(":"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    meant = [node for node in ast.walk(tree) if _is_meant(node, edit)]
    if len(meant) != 1:
        return None
    node = meant[0]
    if isinstance(node, ast.BinOp):
        side = "right" if edit.argument else "left"
        setattr(node, side, _bounded(getattr(node, side), "keras.ops", edit, bound))
    elif isinstance(node, ast.Call):
        if len(node.args) <= edit.argument:
            return None
        module = (
            ast.unparse(node.func.value)
            if isinstance(node.func, ast.Attribute)
            else "keras.ops"
        )
        kept = node.args[edit.argument]
        node.args[edit.argument] = _bounded(kept, module, edit, bound)
    text = ast.unparse(node)
    return text if len(text) <= _MAX_TEXT else None


def _is_meant(node: ast.AST, edit: Edit) -> bool:
    if isinstance(node, ast.BinOp):
        return edit.operator is not None and isinstance(node.op, edit.operator)
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else None
    if isinstance(function, ast.Name):
        name = function.id
    return name in edit.functions


def _bounded(value: ast.expr, module: str, edit: Edit, bound: str) -> ast.expr:
    function = ast.parse(f"{module}.{edit.through}", mode="eval").body
    # A name, not a number: it is written as it stands, 1e-7 and not 1e-07.
    return ast.Call(function, [value, ast.Name(bound, ast.Load())], [])


def without_comment(line: str) -> str:
    """Returns a line of code without the comment that it ends with."""
    try:
        for token in tokenize.generate_tokens(io.StringIO(line).readline):
            if token.type == tokenize.COMMENT:
                return line[: token.start[1]].rstrip()
    except (tokenize.TokenError, SyntaxError):  # a part of a longer expression
        pass
    return line
