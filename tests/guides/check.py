"""Whether a program is what it must be in a mode, or what is known of it instead.

A row of `known.json` says, in a program's mode, what comes of watching it today. It is
held both ways: what is not known may not happen, and what is known must still happen.
`NANWATCH_UPDATE_KNOWN=1` (in one process) writes what happens into the file.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.guides import runner
from tests.guides.guide import Guide, Search

KNOWN = Path(__file__).with_name("known.json")

# Without `NANWATCH_GUIDES`, one of these is tried of a program in a mode: in graph mode the
# programs of a module by turns. Either trains it watched.
TURNS = ("watched", "fault")
# What is tried beside graph mode: quick ones, of every kind of difference, by turns too.
SHARE = {
    "gpu": ("sample_weights", "sequential_without_input", "siamese", "subclassed"),
    "eager": ("gan", "siamese", "subclassed", "tabular", "vq_vae", "custom_tuner"),
}


def cases(what: str, *modules: ModuleType) -> list[tuple[Any, str]]:
    """Returns the programs of these modules, each with its modes to be tried.

    Args:
        what: is tried, of `TURNS`.
        modules: with `GUIDES`.
    """
    return [
        (guide, mode)
        for module in modules
        for number, guide in enumerate(module.GUIDES)
        for mode in runner.MODES
        if runner.EVERYTHING or _is_in_share(what, number, guide, mode)
    ]


def _is_in_share(what: str, number: int, guide: Guide | Search, mode: str) -> bool:
    if mode != "graph":
        if guide.name not in SHARE[mode]:
            return False
        number = SHARE[mode].index(guide.name)
    # A program without a mistake can do the one thing only.
    return what == ("watched" if guide.fault is None else TURNS[number % len(TURNS)])


def name_of(value: Any) -> str:
    """Returns the words by which a test's parameter is shown."""
    return value if isinstance(value, str) else str(value.name)


def identity(guide: Guide | Search, mode: str) -> None:
    """Asserts that a program trains watched as it does without, and clean."""
    with _as_users_run_it(mode):
        if isinstance(guide, Search):
            came_of_it = runner.search_identity(guide)
        else:
            came_of_it = runner.identity(guide)
    _hold(guide.name, mode, "watched", came_of_it)


def fault(guide: Guide | Search, mode: str) -> None:
    """Asserts that a program's mistake is found where it was made."""
    if guide.fault is None:
        return
    with _as_users_run_it(mode):
        if isinstance(guide, Search):
            came_of_it = runner.search_fault(guide)
        else:
            came_of_it = runner.fault(guide)
    _hold(guide.name, mode, "fault", came_of_it)


@contextmanager
def _as_users_run_it(mode: str) -> Iterator[None]:
    """Warnings of Keras and KerasTuner are the program's own affair, and no errors."""
    with runner.MODES[mode](), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _hold(name: str, mode: str, what: str, came_of_it: str) -> None:
    known = json.loads(KNOWN.read_text(encoding="utf-8"))
    key = f"{name}, {mode}, {what}"
    if os.environ.get("NANWATCH_UPDATE_KNOWN"):
        known.pop(key, None)
        known |= {key: came_of_it} if came_of_it else {}
        text = json.dumps(dict(sorted(known.items())), indent=2)
        KNOWN.write_text(text + "\n", encoding="utf-8")
        return
    assert came_of_it == known.get(key, ""), (
        f"{key}: known.json says {known.get(key, 'that it is right')!r}; if that is no "
        "longer so, take the row out, or run it with NANWATCH_UPDATE_KNOWN=1"
    )
