# SPDX-License-Identifier: Apache-2.0
"""The words of the script that runs a failing step again; pure.

What is filled in must be a Python literal, or one line of a comment.
"""

from __future__ import annotations

from typing import Final

FROM_CAPSULE: Final = """\
# The model is built from its configuration in the capsule, which holds no code of yours.
MODEL = None"""
FROM_CODE: Final = """\
# The capsule does not hold what is code of yours: {own}. Put here the file
# and the function that returns the compiled model; one that takes a KerasTuner
# HyperParameters gets VALUES.
MODEL = "FILE.py:build\""""

SCRIPT: Final = """\
# {title}
# First bad step: {onset}. First bad tensor: {origin}.
{found}# The capsule holds the batch, the weights, the optimizer's variables and the random
# state of that step, so that it goes bad in the same place.
import sys

from tb_nanwatch.replay import replay, text

CAPSULE = {capsule}
VALUES = {values}
{model}

found = replay(CAPSULE, MODEL)
print(text(found))
sys.exit(1 if found.compiled_same else 0)  # it fails as the training did
"""


def title_text(what: str, run: str) -> str:
    """Returns the script's first line: "Trial #3 (...), run again at the step ..."."""
    return f"{what} ({run}), run again at the step where it went bad."
