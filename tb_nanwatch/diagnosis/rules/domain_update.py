# SPDX-License-Identifier: Apache-2.0
"""An update that left its domain although its gradients were finite."""

from __future__ import annotations

from tb_nanwatch.diagnosis.measured import Measured, largest
from tb_nanwatch.diagnosis.rules.candidate import Candidate
from tb_nanwatch.diagnosis.rules.settings import odd_settings, settings_fix


def domain_of_update(m: Measured) -> list[Candidate]:
    """Returns the cause of an update that was not finite although its gradients were.

    Signs:
        optimizer_settings: the first bad tensor is a weight or one of the optimizer's
            variables; all gradients of that step were finite and of ordinary size.
    """
    gradients = m.of("gradient")
    assert m.onset is not None
    evidence = [
        f"All gradients of that step were finite, at most "
        f"{largest(m.onset.top[gradients]):.3g}; the update made of them was not."
    ]
    odd = odd_settings(m)
    evidence += [setting.text for setting in odd]
    zeros = largest(m.onset.zeros[gradients])
    if zeros > 0:
        evidence.append(f"Up to {zeros:.0%} of a gradient's elements were exactly zero.")
    return [
        Candidate(
            "optimizer_settings",
            1.0,
            0.97 if odd else 0.85,
            evidence,
            settings_fix(m),
        )
    ]
