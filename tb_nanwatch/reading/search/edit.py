# SPDX-License-Identifier: Apache-2.0
"""The edit of a search space: the code to paste that leaves a region out; pure.

`hp` is KerasTuner's. Names and values come from logs, so each one is written as a
literal, and any other value is not written at all.
"""

from __future__ import annotations

import keyword
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tb_nanwatch.declaring.cut import Cut, same
from tb_nanwatch.declaring.declaration import (
    call_of,
    declaration,
    hp_of,
    listed,
    literal,
    new_name,
    number_text,
    scoped,
    variable_of,
)
from tb_nanwatch.reading.search.axes import Axis
from tb_nanwatch.record.schema import Condition as Parent
from tb_nanwatch.record.schema import Declaration, HParam, JSONScalar
from tb_nanwatch.wording.edit_text import BY_HAND, Place, where_text

Values = dict[str, HParam]
_INDENT: Final = "    "
# Types of what `hparams=` was given: values without a declaration.
_VALUES_ALONE: Final = frozenset({"number", "text"})


@dataclass(frozen=True)
class Edit:
    """One edit.

    Attributes:
        hparam: the hyperparameter whose declaration changes.
        code: to paste.
        place: where it goes.
        where: the same, a sentence.
        keeps: whether a trial's values are still in the edited space.
    """

    hparam: str
    code: str
    place: Place
    where: str
    keeps: Callable[[Values], bool]


def unconditional(cut: Cut, axis: Axis, known: Sequence[HParam] = ()) -> Edit | None:
    """Returns the edit that cuts one hyperparameter wherever it is declared.

    Where the program's text does not show one statement with the declaration, the code
    goes first in `build`: of two declarations of a name KerasTuner takes the first, so
    it works for names that are put together in a loop as well.

    Args:
        cut: what is taken away.
        axis: the hyperparameter.
        known: the declarations of the whole space, for the scopes to be opened.
    """
    name = cut.name

    def keeps(trial: Values) -> bool:
        return name not in trial or not cut.takes(trial[name].value)

    if len(axis.specs) == 1:
        (spec,) = axis.specs
        found = _found(spec)
        if found is not None:
            call = call_of(spec, cut)
            if call is None:
                return None
            if found.assigned:
                return _edit(spec, f"{found.variable} = {call}", "statement", keeps)
            return _edit(spec, call, "call", keeps)
    blocks: list[str] = []
    for spec in axis.specs:
        call, above = call_of(spec, cut), _parents(spec, known)
        if call is None or above is None:
            return None
        blocks += [line for line in above if line not in blocks]
        blocks.append(scoped(spec, spec.conditions, call))
    return _edit(axis.specs[0], "\n".join(blocks), "first", keeps) if blocks else None


def by_hand(cuts: Sequence[Cut], axes: Sequence[Axis]) -> Edit | None:
    """Returns the condition on values that the user's own loop should skip.

    Args:
        cuts: what is taken away, where all of them hold.
        axes: the hyperparameter of each.

    Returns:
        Python over the names that `hparams=` was given; None where a space declares one.
    """
    types = [{s.type for s in axis.specs} for axis in axes]
    if not all(kinds and kinds <= _VALUES_ALONE for kinds in types):
        return None
    said = [_holds(cut) for cut in cuts]
    if not all(said):
        return None

    def keeps(trial: Values) -> bool:
        return not all(c.name in trial and c.takes(trial[c.name].value) for c in cuts)

    # Number first, as the user changes that; the levels it applies to come after it.
    number = next((c for c in cuts if c.op != "in"), cuts[-1])
    return Edit(number.name, " and ".join(said), "by hand", BY_HAND, keeps)


def _holds(cut: Cut) -> str:
    """Returns a cut as a Python condition, "" for a cut that removes every value."""
    plain = cut.name.isidentifier() and not keyword.iskeyword(cut.name)
    name = cut.name if plain else f"hparams[{literal(cut.name)}]"
    if cut.op == "in":
        values = ", ".join(map(literal, cut.values))
        one = len(cut.values) == 1
        return f"{name} == {values}" if one else f"{name} in ({values})"
    if math.isinf(cut.bound):
        return ""
    return f"{name} {'>' if cut.op == 'ge' else '<'} {number_text(cut.bound)}"


def within(
    cut: Cut,
    axis: Axis,
    parent: Axis,
    levels: Sequence[JSONScalar],
    known: Sequence[HParam],
    parent_first: bool = True,
) -> Edit | None:
    """Returns the edit that cuts one hyperparameter where another has given values.

    None where KerasTuner's scopes cannot say it: a scope's parent must be declared
    under just the conditions of the scopes around it, and have values to list. None,
    too, where the program's text was read and shows no one statement to edit.

    Args:
        cut: what is taken away.
        axis: the hyperparameter that is cut.
        parent: the other one.
        levels: its values at which the cut holds.
        known: the declarations of the whole space.
        parent_first: whether the space lists the parent first, for a program whose text
            could not be read.
    """
    if len(axis.specs) != 1 or len(parent.specs) != 1:
        return None
    spec, of = axis.specs[0], parent.specs[0]
    parts = _parted(of, levels)
    if parts is None or not _has_room_for_scopes(spec, of, known):
        return None
    hit, rest = parts
    code = _in_two_scopes(spec, cut, Parent(of.name, hit), Parent(of.name, rest), known)
    if code is None:
        return None
    if not _comes_before(
        of, spec, parent_first
    ):  # the parent may not be declared by then
        code = f"{declaration(of, hp_of(spec)) or ''}\n{code}"

    def keeps(trial: Values) -> bool:
        if cut.name not in trial or not cut.takes(trial[cut.name].value):
            return True
        there = trial.get(of.name)
        return there is None or not any(same(there.value, v) for v in hit)

    found = _found(spec)
    place: Place = "declaration"
    if found is not None:
        place = "statement" if found.assigned else "above"
    return _edit(spec, code, place, keeps)


def _in_two_scopes(
    spec: HParam, cut: Cut, hit: Parent, rest: Parent, known: Sequence[HParam]
) -> str | None:
    """Returns the code that declares a hyperparameter cut in one scope, whole in another.

    Args:
        spec: the hyperparameter.
        cut: what is taken away in the scope `hit`.
        hit, rest: the two scopes, of one parent.
        known: the declarations of the whole space.

    Returns:
        None where the cut leaves nothing.
    """
    # Two scopes cannot share a name: KerasTuner drops the value of an active
    # hyperparameter whose name stands in an inactive scope as well.
    name = new_name(cut.name, hit.values, {h.name for h in known})
    cut_call, whole_call = call_of(replace(spec, name=name), cut), call_of(spec, None)
    if cut_call is None or whole_call is None:
        return None
    found, hp, new = _found(spec), hp_of(spec), literal(name)
    variable = found.variable if found else variable_of(cut.name)
    return "\n".join(
        (
            scoped(spec, [rest], f"{variable} = {whole_call}"),
            scoped(spec, [hit], cut_call),
            f"if {new} in {hp}:",
            f"{_INDENT}{variable} = {hp}.get({new})",
        )
    )


def _parted(
    parent: HParam, levels: Sequence[JSONScalar]
) -> tuple[list[JSONScalar], list[JSONScalar]] | None:
    """Returns the values of a parent at which a cut holds, and the others.

    None where they cannot be listed, or one of both is empty.
    """
    every = listed(parent)
    if every is None or not all(any(same(v, e) for e in every) for v in levels):
        return None
    hit = [v for v in every if any(same(v, w) for w in levels)]
    rest = [v for v in every if not any(same(v, w) for w in hit)]
    return (hit, rest) if hit and rest else None


def _has_room_for_scopes(spec: HParam, parent: HParam, known: Sequence[HParam]) -> bool:
    """Returns whether a hyperparameter can be declared in scopes of a parent's values."""
    if spec.declared is not None and _found(spec) is None:
        return False
    if any(c.name == spec.name for h in known for c in h.conditions):
        return False  # the scopes that it opens would be left without it
    # A scope of a parent opens only where that is declared under the same conditions.
    return spec.conditions == parent.conditions


# --- Where it goes ------------------------------------------------------------------


def _edit(spec: HParam, code: str, place: Place, keeps: Callable[[Values], bool]) -> Edit:
    found = spec.declared or Declaration()
    variable = found.variable if place == "above" else variable_of(spec.name)
    where = where_text(place, found.source, variable, spec.name)
    return Edit(spec.name, code, place, where, keeps)


def _found(spec: HParam) -> Declaration | None:
    """Returns the statement that declares a hyperparameter, None where it is unknown."""
    return spec.declared if spec.declared is not None and spec.declared.source else None


def _comes_before(parent: HParam, child: HParam, listed_first: bool) -> bool:
    """Returns whether `parent` is always declared before the declaration of `child` runs.

    The space lists hyperparameters as they were met first, which in a program with
    branches is another order than that of its lines.
    """
    if parent.declared is None or child.declared is None:
        return listed_first
    one, other = parent.declared, child.declared
    file, of = one.source.rpartition(":")[0], other.source.rpartition(":")[0]
    same = one.source != "" and (file, one.function) == (of, other.function)
    return same and one.always and one.line < other.line


def _parents(spec: HParam, known: Sequence[HParam]) -> list[str] | None:
    """Returns the declarations of all parents of a hyperparameter, outermost first.

    None where one is not known.
    """
    lines = []
    for depth, condition in enumerate(spec.conditions):
        around = spec.conditions[:depth]
        parent = next(
            (h for h in known if h.name == condition.name and h.conditions == around),
            None,
        )
        call = declaration(parent, hp_of(spec)) if parent is not None else None
        if call is None:
            return None
        lines.append(scoped(spec, around, call))
    return lines
