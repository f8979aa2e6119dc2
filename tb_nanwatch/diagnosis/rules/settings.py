# SPDX-License-Identifier: Apache-2.0
"""Settings of the optimizer that no training survives."""

from __future__ import annotations

from typing import Final, NamedTuple

from tb_nanwatch.diagnosis.measured import Measured
from tb_nanwatch.diagnosis.rules import fixes
from tb_nanwatch.diagnosis.rules.candidate import Candidate
from tb_nanwatch.diagnosis.rules.thresholds import at

# The defaults of Keras' Adam and RMSprop for the settings that must stay below 1.
_USUAL: Final = {"beta_1": "0.9", "beta_2": "0.999", "rho": "0.9"}


class OddSetting(NamedTuple):
    """A setting of the optimizer that no training survives.

    Attributes:
        decades: its weight against other drivers of growth.
        text: what is wrong with it, a sentence.
        fix: what to set it to, a sentence.
    """

    decades: float
    text: str
    fix: str


def odd_settings(m: Measured) -> list[OddSetting]:
    """Returns settings of the optimizer that no training survives."""
    found = []
    epsilon = m.setting("epsilon")
    if epsilon < at("tiny_epsilon"):
        found.append(
            OddSetting(
                3.0,
                f"epsilon is {epsilon:.3g}: a gradient of zero is divided by zero.",
                "Set epsilon to 1e-7 or more.",
            )
        )
    momentum = m.setting("momentum")
    if momentum >= at("momentum"):
        found.append(
            OddSetting(
                6.0,
                f"momentum is {momentum:.6g}: no step is ever forgotten.",
                "Set momentum to 0.9 or less.",
            )
        )
    for name, usual in _USUAL.items():
        value = m.setting(name)
        if value >= 1.0:
            found.append(
                OddSetting(
                    6.0,
                    f"{name} is {value:.6g}; it must be below 1.",
                    f"Set {name} below 1, e.g. to {usual}.",
                )
            )
    decay, rate = m.setting("weight_decay"), m.rate()
    if decay * rate >= at("decay_step"):
        found.append(
            OddSetting(
                8.0,
                f"weight_decay times the learning rate is {decay * rate:.3g}: each step "
                "overshoots zero.",
                "Lower weight_decay, e.g. to 0.004, AdamW's default: times the learning rate "
                f"({rate:.3g}) it must stay far below 1.",
            )
        )
    return found


def settings_fix(m: Measured) -> str:
    """Returns the fix in the optimizer, or in the user's line that sets it."""
    odd = odd_settings(m)
    if odd:
        return " ".join(setting.fix for setting in odd)
    return fixes.at_own_line(m) or (
        "Go back to the optimizer's default settings, and change one at a time."
    )


def settings_driver(m: Measured) -> Candidate | None:
    """Returns the cause where an optimizer setting is such that no training survives it.

    Signs:
        optimizer_settings: the numbers grew, and epsilon is below {tiny_epsilon},
            momentum {momentum} or more, a beta or rho 1 or more, or weight decay times
            learning rate {decay_step} or more.
    """
    odd = odd_settings(m)
    if not odd:
        return None
    return Candidate(
        "optimizer_settings",
        max(setting.decades for setting in odd),
        0.97,
        [setting.text for setting in odd],
        settings_fix(m),
    )
