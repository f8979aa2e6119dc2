"""The words for a boundary, the same in a program's output and in the report."""

from __future__ import annotations

from tb_nanwatch.record.schema import Boundary, JSONScalar


def value_text(value: JSONScalar) -> str:
    """Returns a hyperparameter's value with as few digits as its resolution asks for."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def where_text(boundary: Boundary) -> str:
    """Returns "optimizer=sgd, scale=100"; "" for a boundary that holds everywhere."""
    return ", ".join(f"{n}={value_text(v)}" for n, v in boundary.where.items())


def boundary_text(boundary: Boundary) -> str:
    """Returns a boundary in one line: living side, dead side, how sure."""
    where = where_text(boundary)
    named = boundary.name or "everything"
    begin = f"{where}: {named}" if where else named
    if boundary.all_living or boundary.all_dead:
        what = "lives" if boundary.all_living else "dies"
        whole = " over its whole range" if boundary.name else ""
        return f"{begin} {what}{whole}{'' if boundary.sure else ' (unsure)'}"
    to, of = ("up to", "from") if boundary.dead_above else ("down to", "at and below")
    parts = []
    if boundary.living is not None:
        parts.append(f"lives {to} {value_text(boundary.living)}")
    if boundary.dead is not None:
        parts.append(f"dies {of} {value_text(boundary.dead)}")
    if not parts:
        parts.append("is not known")
    half = f"half at about {value_text(boundary.middle)}"
    return f"{begin} {', '.join(parts)} ({half}{'' if boundary.sure else '; unsure'})"
