# SPDX-License-Identifier: Apache-2.0
"""The edited space of a finished search as an object for the next tuner, without pasting code."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Final

from tb_nanwatch.compat.kerastuner import empty_space
from tb_nanwatch.declaring.cut import Cut
from tb_nanwatch.declaring.declaration import declaration, narrowed
from tb_nanwatch.errors import NanWatchError, warn
from tb_nanwatch.reading.search.analysis import stable_cuts
from tb_nanwatch.reading.search.trials import ComparedTrial, known_space
from tb_nanwatch.record.schema import HParam, JSONScalar

_DECLARED: Final = ("int", "float", "choice", "boolean", "fixed")


class NoSpaceError(NanWatchError):
    """There is no search space to edit."""


@dataclass(frozen=True)
class Declared:
    """One declaration of the edited space.

    Attributes:
        spec: as the search declared it.
        code: the call that declares it now.
        changed: whether a part was cut away.
    """

    spec: HParam
    code: str
    changed: bool


def stable_space(trials: Sequence[ComparedTrial], direction: str | None = "min") -> Any:
    """Returns the space of a search without the values that went bad.

    Hand it to the next tuner, whose build function stays as it is: KerasTuner keeps
    the first declaration of a name.

    ```python
    space = ...
    tuner = keras_tuner.RandomSearch(build, objective="val_loss", hyperparameters=space)
    ```

    A bound that holds only where another hyperparameter has some value cannot be told
    so: the printed edit can, and says more there.

    Args:
        trials: of one search, each once.
        direction: "min" or "max", of the objective.

    Returns:
        A `keras_tuner.HyperParameters` with the defaults as values. Where trials went
        bad and nothing is known to avoid, the space as it was searched, with a `NanWatchWarning`.

    Raises:
        NoSpaceError: the runs are no search of KerasTuner's, which alone declares a space.
        ImportError: KerasTuner is not installed.
    """
    found = declared(trials, direction)
    bad = sum(t.bad for t in trials)
    if bad and not any(one.changed for one in found):
        warn(
            "stable_space(): nothing was cut away, this is the space as it was searched; "
            f"{bad} of {len(trials)} trials went bad, and no value of a hyperparameter is "
            "known to be to blame whatever the others are. The report says what is known."
        )
    hp = empty_space()
    for one in found:
        kind, args, named = _parsed(one.code)
        with ExitStack() as scopes:
            for condition in one.spec.conditions:
                scopes.enter_context(
                    hp.conditional_scope(condition.name, list(condition.values))
                )
            getattr(hp, kind)(*args, **named)
    return hp


def declared(
    trials: Sequence[ComparedTrial], direction: str | None = "min"
) -> list[Declared]:
    """Returns the declarations of the edited space, parents before their children.

    Args:
        trials, direction: as for `stable_space`.

    Raises:
        NoSpaceError: the runs declare none.
    """
    known = [h for h in known_space([t.hparams for t in trials]) if h.type in _DECLARED]
    known = [replace(h, declared=None) for h in known if declaration(h) is not None]
    if not any(h.type != "boolean" or h.default is not None for h in known):
        raise NoSpaceError(
            f"these {len(trials)} runs declare no search space; expected a search of "
            "KerasTuner's. Runs with hparams= hold values alone: narrow by hand what "
            "suggests them, as the report says."
        )
    cuts = stable_cuts(trials, direction)
    return [_declared(spec, [c for c in cuts if c.name == spec.name]) for spec in known]


def _declared(spec: HParam, cuts: Sequence[Cut]) -> Declared:
    code, left, changed = declaration(spec), spec, False
    for cut in cuts:
        smaller = narrowed(left, cut)
        if smaller is None or smaller == code:
            continue  # nothing would be left, as after another cut
        code, changed = smaller, True
        left = _after(left, smaller)
    assert code is not None
    return Declared(spec, code, changed)


def _after(spec: HParam, code: str) -> HParam:
    """Returns a declaration as its narrowed code has it."""
    kind, args, named = _parsed(code)
    if kind in ("Int", "Float"):
        low, high = args[1:3]
        # Code leaves out a default that is the lower bound.
        return replace(spec, min=low, max=high, default=named.get("default", low))
    if kind == "Choice":
        return replace(spec, values=args[1], default=named.get("default", args[1][0]))
    return replace(spec, type="fixed", value=args[1], default=args[1])


def _parsed(code: str) -> tuple[str, list[Any], dict[str, JSONScalar]]:
    """Returns the kind and the arguments of a declaration, all of them literals."""
    call = ast.parse(code, mode="eval").body
    assert isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
    return (
        call.func.attr,
        [ast.literal_eval(a) for a in call.args],
        {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg is not None},
    )
