# SPDX-License-Identifier: Apache-2.0
"""The versions that were tested, and one printed line where a newer version is installed."""

from __future__ import annotations

import contextlib
import re
import sys
from typing import Final

# By the names under which they are imported: what people call them, and the newest minor
# version that the tests have run with.
TESTED: Final[dict[str, tuple[str, tuple[int, int]]]] = {
    "keras": ("Keras", (3, 15)),
    "tensorflow": ("TensorFlow", (2, 21)),
    "jax": ("JAX", (0, 10)),
    "torch": ("PyTorch", (2, 13)),
    "keras_tuner": ("KerasTuner", (1, 4)),
    "tensorboard": ("TensorBoard", (2, 21)),
}
_said = False


def version_of(package: str) -> str:
    """Returns the version of an imported package, "" where it is not known."""
    return str(getattr(sys.modules.get(package), "__version__", ""))


def tested(package: str) -> str:
    """Returns "Keras up to 3.15"."""
    label, newest = TESTED[package]
    return f"{label} up to {'.'.join(map(str, newest))}"


def say_if_untested() -> None:
    """Prints one line on standard error, once a process, where a newer version runs."""
    global _said
    if _said:
        return
    _said = True
    newer = [package for package in TESTED if _is_newer(package)]
    if not newer:
        return
    known = " and ".join(tested(package) for package in newer)
    here = " and ".join(version_of(package) for package in newer)
    are = "these are" if len(newer) > 1 else "this is"
    with contextlib.suppress(Exception):  # standard error may be closed
        print(f"NaN Watch was tested with {known}; {are} {here}.", file=sys.stderr)


def _is_newer(package: str) -> bool:
    found = re.match(r"(\d+)\.(\d+)", version_of(package))
    return found is not None and (int(found[1]), int(found[2])) > TESTED[package][1]
