"""The edit of a search space: the code to paste that leaves a region out; pure.

`hp` is KerasTuner's. Names and values come from logs, so each one is written as a
literal, and what is not a plain literal is not written at all.
"""

from __future__ import annotations

import json
import keyword
import math
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from tb_nanwatch.reading.search.axes import Axis, Condition
from tb_nanwatch.record.parts import CELL
from tb_nanwatch.record.schema import Condition as Parent
from tb_nanwatch.record.schema import Declaration, HParam, JSONScalar

REMINDER: Final = "Search again with overwrite=True or a new project_name: else the old space is reloaded."
# Where the code goes that says it of values which no search space declares.
BY_HAND: Final = "In your own code, skip the values for which this is true:"

Values = dict[str, HParam]
_INDENT: Final = "    "
# Where the code of an edit goes: before all else in `build`, for a statement, for a call,
# above a statement, or above the one that the reader has to look for; "by hand" where no
# space declares the values, in a loop of one's own.
Place = Literal["first", "statement", "call", "above", "declaration", "by hand"]
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


@dataclass(frozen=True)
class Cut:
    """What is taken away from one hyperparameter.

    Attributes:
        name: of the hyperparameter.
        op: "ge" takes the values above `bound` away, "le" those below, "in" `values`.
        bound: the last value that stays.
        values: those that go.
    """

    name: str
    op: str
    bound: float = math.nan
    values: tuple[JSONScalar, ...] = ()

    def takes(self, value: JSONScalar) -> bool:
        """Returns whether `value` is cut away."""
        if self.op == "in":
            return any(_same(value, v) for v in self.values)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return value > self.bound if self.op == "ge" else value < self.bound


def _same(a: JSONScalar, b: JSONScalar) -> bool:
    return type(a) is type(b) and a == b


def cut_of(axis: Axis, condition: Condition, live: float, dead: float) -> Cut:
    """Returns the cut that a condition asks for.

    Args:
        axis: the condition's.
        condition: the region's.
        live, dead: for a threshold, the observed values next to the cut on the side
            that stays and on the side that goes.
    """
    if condition.op == "in":
        gone = tuple(axis.levels[i] for i in sorted(condition.levels))
        return Cut(axis.name, "in", values=gone)
    if math.isnan(live):  # nothing lives on the other side: all of it goes
        return Cut(
            axis.name, condition.op, -math.inf if condition.op == "ge" else math.inf
        )
    bound = short_between(live, dead, axis.log)
    return Cut(axis.name, condition.op, bound)


def short_between(live: float, dead: float, log: bool) -> float:
    """Returns the number of fewest digits near the middle of two, not beyond either.

    It may equal `live`, which stays, and never `dead`, which goes.
    """
    low, high = min(live, dead), max(live, dead)
    middle = math.sqrt(low) * math.sqrt(high) if log and low > 0 else low / 2 + high / 2
    for digits in range(1, 17):
        rounded = float(f"{middle:.{digits - 1}e}")
        if low <= rounded <= high and rounded != dead:
            return rounded
    return live


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
            call = _call(spec, cut)
            if call is None:
                return None
            if found.assigned:
                return _edit(spec, f"{found.variable} = {call}", "statement", keeps)
            return _edit(spec, call, "call", keeps)
    blocks: list[str] = []
    for spec in axis.specs:
        call, above = _call(spec, cut), _parents(spec, known)
        if call is None or above is None:
            return None
        blocks += [line for line in above if line not in blocks]
        blocks.append(_scoped(spec, spec.conditions, call))
    return _edit(axis.specs[0], "\n".join(blocks), "first", keeps) if blocks else None


def by_hand(cuts: Sequence[Cut], axes: Sequence[Axis]) -> Edit | None:
    """Returns the condition on values that a loop of one's own is to leave out.

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

    # The number is what one turns; what it holds for comes after it.
    number = next((c for c in cuts if c.op != "in"), cuts[-1])
    return Edit(number.name, " and ".join(said), "by hand", BY_HAND, keeps)


def _holds(cut: Cut) -> str:
    """Returns a cut as a condition in Python, "" for one that takes everything."""
    plain = cut.name.isidentifier() and not keyword.iskeyword(cut.name)
    name = cut.name if plain else f"hparams[{_literal(cut.name)}]"
    if cut.op == "in":
        values = ", ".join(map(_literal, cut.values))
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
    found = _found(spec)
    declared = ""  # the parent, where it may not be by then
    if not _comes_before(of, spec, parent_first):
        declared = (declaration(of, _hp(spec)) or "") + "\n"
    # Two scopes cannot share a name: KerasTuner drops the value of an active
    # hyperparameter whose name stands in an inactive scope as well.
    name = _new_name(cut.name, hit, {h.name for h in known})
    new, cut_call = _literal(name), _call(replace(spec, name=name), cut)
    whole_call = _call(spec, None)
    if cut_call is None or whole_call is None:
        return None
    variable, hp = found.variable if found else _variable(cut.name), _hp(spec)
    code = "\n".join(
        (
            declared
            + _scoped(spec, [Parent(of.name, rest)], f"{variable} = {whole_call}"),
            _scoped(spec, [Parent(of.name, hit)], cut_call),
            f"if {new} in {hp}:",
            f"{_INDENT}{variable} = {hp}.get({new})",
        )
    )

    def keeps(trial: Values) -> bool:
        if cut.name not in trial or not cut.takes(trial[cut.name].value):
            return True
        there = trial.get(of.name)
        return there is None or not any(_same(there.value, v) for v in hit)

    place: Place = "declaration"
    if found is not None:
        place = "statement" if found.assigned else "above"
    return _edit(spec, code, place, keeps)


def _parted(
    parent: HParam, levels: Sequence[JSONScalar]
) -> tuple[list[JSONScalar], list[JSONScalar]] | None:
    """Returns the values of a parent at which a cut holds, and the others.

    None where they cannot be listed, or one of both is empty.
    """
    every = listed(parent)
    if every is None or not all(any(_same(v, e) for e in every) for v in levels):
        return None
    hit = [v for v in every if any(_same(v, w) for w in levels)]
    rest = [v for v in every if not any(_same(v, w) for w in hit)]
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
    file, _, line = found.source.rpartition(":")
    at = f"in line {line} of its cell" if file == CELL else f"at {found.source}"
    where = {
        "first": "Put this first in build(): of two declarations of a name the first counts.",
        "statement": f"Replace the statement {at} by this.",
        "call": f"Replace the call {at} by this.",
        "above": f"Put this above the statement {at}, and write "
        f"`{found.variable}` for the call there.",
        "declaration": "Put this above the statement in build() that declares "
        f"`{spec.name}`, and write `{_variable(spec.name)}` for the call there.",
    }[place]
    return Edit(spec.name, code, place, where, keeps)


def _found(spec: HParam) -> Declaration | None:
    """Returns the one statement that declares it, None where none is known."""
    return spec.declared if spec.declared is not None and spec.declared.source else None


def _hp(spec: HParam) -> str:
    return spec.declared.hp if spec.declared is not None else "hp"


def _comes_before(parent: HParam, child: HParam, listed_first: bool) -> bool:
    """Returns whether `parent` is declared whenever the declaration of `child` is reached.

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
        call = declaration(parent, _hp(spec)) if parent is not None else None
        if call is None:
            return None
        lines.append(_scoped(spec, around, call))
    return lines


def listed(spec: HParam) -> list[JSONScalar] | None:
    """Returns all values of a hyperparameter, None where they cannot be listed."""
    if spec.type == "boolean":
        return [False, True]
    if spec.type == "choice" and spec.values:
        return list(spec.values)
    if spec.type == "int" and isinstance(spec.min, int) and isinstance(spec.max, int):
        grid = _grid(spec)
        return list(grid) if grid is not None and len(grid) <= _MAX_LISTED else None
    return None


# More values than this in a scope's list are no code that anyone would paste.
_MAX_LISTED: Final = 12


def _new_name(name: str, levels: Sequence[JSONScalar], taken: Collection[str]) -> str:
    """Returns "learning_rate_sgd", or with a number where it is taken."""
    suffix = re.sub(r"\W+", "_", str(levels[0]), flags=re.ASCII).strip("_").lower()
    wanted = f"{name}_{suffix}" if len(levels) == 1 and suffix else f"{name}_2"
    found, number = wanted, 2
    while found in taken:
        number += 1
        found = f"{wanted}_{number}"
    return found


def _scoped(spec: HParam, parents: Sequence[Parent], statement: str) -> str:
    """Returns a statement within scopes.

    Args:
        spec: what it is about, for the name of the `HyperParameters`.
        parents: the scopes, outermost first.
        statement: one line.
    """
    lines = []
    for depth, parent in enumerate(parents):
        values = ", ".join(_literal(v) for v in parent.values)
        lines.append(
            f"{_INDENT * depth}with {_hp(spec)}.conditional_scope("
            f"{_literal(parent.name)}, [{values}]):"
        )
    lines.append(_INDENT * len(parents) + statement)
    return "\n".join(lines)


def _variable(name: str) -> str:
    variable = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower() or "value"
    if variable[0].isdigit() or keyword.iskeyword(variable) or variable == "hp":
        variable = f"value_{variable}"
    return variable


# --- Declarations -------------------------------------------------------------------


def declaration(spec: HParam, hp: str = "hp") -> str | None:
    """Returns `hp.Float(...)` and the like; None for what no search space declares.

    Args:
        spec: what is declared.
        hp: what the program calls its `HyperParameters`.
    """
    if spec.type == "fixed":
        value = spec.value if spec.value is not None else spec.default
        return f"{hp}.Fixed({_literal(spec.name)}, {_literal(value)})"
    return _call(replace(spec, declared=Declaration(hp=hp)), None)


def narrowed(spec: HParam, cut: Cut) -> str | None:
    """Returns the declaration with a part cut away; None where nothing would be left."""
    return _call(replace(spec, declared=None), cut)


def _call(spec: HParam, cut: Cut | None) -> str | None:
    """Returns `hp.Float(...)` and the like; None where nothing would be left."""
    if spec.type == "float":
        return _float_call(spec, cut)
    if spec.type == "int":
        return _int_call(spec, cut)
    if spec.type == "choice":
        return _choice_call(spec, cut)
    if spec.type == "boolean":
        left = [v for v in (False, True) if cut is None or not cut.takes(v)]
        if len(left) == 2:
            default = ", default=True" if spec.default is True else ""
            return f"{_hp(spec)}.Boolean({_literal(spec.name)}{default})"
        return (
            f"{_hp(spec)}.Fixed({_literal(spec.name)}, {_literal(left[0])})"
            if left
            else None
        )
    return None


def _number(value: JSONScalar) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _float_call(spec: HParam, cut: Cut | None) -> str | None:
    low, high = _number(spec.min), _number(spec.max)
    if low is None or high is None:
        return None
    if cut is not None:
        grid = _grid(spec)
        if grid is not None:
            left = [v for v in grid if not cut.takes(v)]
            if not left:
                return None
            low, high = float(left[0]), float(left[-1])
        elif cut.op == "ge":
            high = min(high, cut.bound)
        else:
            low = max(low, cut.bound)
    if low > high:
        return None
    if low == high:
        return f"{_hp(spec)}.Fixed({_literal(spec.name)}, {_literal(low)})"
    return _numeric(spec, "Float", low, high, spec.step)


def _int_call(spec: HParam, cut: Cut | None) -> str | None:
    if not isinstance(spec.min, int) or not isinstance(spec.max, int):
        return None
    low, high = spec.min, spec.max
    grid = _grid(spec)
    if cut is not None and grid is not None:
        left = [v for v in grid if not cut.takes(v)]
        if not left:
            return None
        low, high = int(left[0]), int(left[-1])
    elif cut is not None and cut.op == "ge":
        high = min(high, math.floor(cut.bound))
    elif cut is not None:
        low = max(low, math.ceil(cut.bound))
    if low > high:
        return None
    if low == high:
        return f"{_hp(spec)}.Fixed({_literal(spec.name)}, {low})"
    step = None if spec.step == 1 and spec.sampling in (None, "linear") else spec.step
    return _numeric(spec, "Int", low, high, step)


def _numeric(spec: HParam, kind: str, low: float, high: float, step: JSONScalar) -> str:
    parts = [_literal(spec.name), _literal(low), _literal(high)]
    if step is not None:
        parts.append(f"step={_literal(step)}")
    if spec.sampling in ("log", "reverse_log"):
        parts.append(f'sampling="{spec.sampling}"')
    default = _number(spec.default)
    # The first value is the default anyway.
    if default is not None and default != spec.min and low <= default <= high:
        parts.append(f"default={_literal(spec.default)}")
    return f"{_hp(spec)}.{kind}({', '.join(parts)})"


# A grid with more points than this is cut like a continuous range.
_MAX_GRID: Final = 100_000


def _grid(spec: HParam) -> list[float] | list[int] | None:
    """Returns the values that a step allows; None where there is no step."""
    low, high, step = _number(spec.min), _number(spec.max), _number(spec.step)
    if low is None or high is None or spec.sampling == "reverse_log":
        return None
    if step is None:
        if spec.type != "int" or spec.sampling == "log":
            return None
        step = 1.0
    if spec.sampling == "log":
        if step <= 1 or low <= 0:
            return None
        # As KerasTuner counts them.
        count = int(math.log(high / low, step) + 1e-8) + 1
    else:
        count = int((high - low) // step + 1) if step > 0 else 0
    if not 0 < count <= _MAX_GRID:
        return None
    if spec.sampling == "log":
        values = [low * math.pow(step, i) for i in range(count)]
    else:
        values = [low + i * step for i in range(count)]
    return [int(v) for v in values] if spec.type == "int" else values


def _choice_call(spec: HParam, cut: Cut | None) -> str | None:
    left = [v for v in spec.values or () if cut is None or not cut.takes(v)]
    if not left:
        return None
    parts = [_literal(spec.name), f"[{', '.join(_literal(v) for v in left)}]"]
    numeric = all(_number(v) is not None for v in left)
    if numeric and spec.ordered is False:
        parts.append("ordered=False")
    first = (spec.values or [None])[0]
    if not _same(spec.default, first) and any(_same(spec.default, v) for v in left):
        parts.append(f"default={_literal(spec.default)}")
    return f"{_hp(spec)}.Choice({', '.join(parts)})"


def _literal(value: JSONScalar) -> str:
    """Returns Python source of a scalar; strings in double quotes, as people write."""
    if isinstance(value, str):
        # JSON's escapes are Python's, but for characters beyond the basic plane.
        return (
            json.dumps(value) if value.isprintable() and value.isascii() else ascii(value)
        )
    if isinstance(value, float):
        return number_text(value)
    return repr(value)


def number_text(value: float) -> str:
    """Returns a float that reads back as itself, written as people write it."""
    if value == 0 or not math.isfinite(value) or 1e-3 <= abs(value) < 1e6:
        return repr(value)
    digits = next(d for d in range(18) if float(f"{value:.{d}e}") == value)
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    return f"{mantissa}e{int(exponent)}"
