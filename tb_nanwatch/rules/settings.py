"""Settings of the optimizer that no training survives."""

from __future__ import annotations

from tb_nanwatch.measured import Measured
from tb_nanwatch.rules import fixes
from tb_nanwatch.rules.candidate import Candidate
from tb_nanwatch.rules.thresholds import at


def odd_settings(m: Measured) -> list[tuple[float, str]]:
    """Returns settings of the optimizer that no training survives, by decades."""
    found = []
    epsilon = m.setting("epsilon")
    if epsilon < at("tiny_epsilon"):
        found.append(
            (3.0, f"epsilon is {epsilon:.3g}: a gradient of zero is divided by zero.")
        )
    momentum = m.setting("momentum")
    if momentum >= at("momentum"):
        found.append((6.0, f"momentum is {momentum:.6g}: no step is ever forgotten."))
    for name in ("beta_1", "beta_2", "rho"):
        value = m.setting(name)
        if value >= 1.0:
            found.append((6.0, f"{name} is {value:.6g}; it must be below 1."))
    decay, rate = m.setting("weight_decay"), m.rate()
    if decay * rate >= at("decay_step"):
        found.append(
            (
                8.0,
                f"weight_decay times the learning rate is {decay * rate:.3g}: each step "
                "overshoots zero.",
            )
        )
    return found


def settings_fix(m: Measured) -> str:
    """Returns what to change in the optimizer, or in the user's line that sets it."""
    own = fixes.at_own_line(m)
    if own and not odd_settings(m):
        return own
    if m.setting("epsilon") < at("tiny_epsilon"):
        return "Set epsilon to 1e-7 or more."
    return "Go back to the optimizer's default settings, and change one at a time."


def settings_driver(m: Measured) -> Candidate | None:
    """Returns the cause where a setting is one that no training survives.

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
        max(decades for decades, _ in odd),
        0.97,
        [text for _, text in odd],
        settings_fix(m),
    )
