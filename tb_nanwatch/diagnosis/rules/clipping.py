# SPDX-License-Identifier: Apache-2.0
"""Advice to clip gradients, which is to clip them lower where they are clipped already."""

from __future__ import annotations

from typing import Final

from tb_nanwatch.diagnosis.measured import Measured

# Keras' names for it; an optimizer takes one of them.
_SETTINGS: Final = ("clipnorm", "global_clipnorm", "clipvalue")
# What experiments clip to (`postmortem.changes.CLIPPED_TO`), a usual value.
_USUAL: Final = 1.0


def in_force(m: Measured) -> tuple[str, float] | None:
    """Returns the setting by which the optimizer clips already, None where by none."""
    found = ((name, m.setting(name)) for name in _SETTINGS)
    return next(((name, value) for name, value in found if value > 0), None)


def clip(m: Measured, usual: str) -> str:
    """Returns "clip the gradients (clipnorm=1.0)", or how to clip them lower than now.

    Args:
        m: the training.
        usual: what is in brackets where nothing is clipped yet.
    """
    already = in_force(m)
    if already is None:
        return f"clip the gradients ({usual})"
    name, value = already
    return f"clip the gradients lower than by {name}={value:.3g} (e.g. {name}={_lower(value)})"


def clip_as_tried(m: Measured) -> str:
    """Returns ", or clip the gradients (global_clipnorm=1.0)", with what that replaces.

    "" where the optimizer clips as low as that already: then it did not help.
    """
    already = in_force(m)
    if already is None:
        return f", or clip the gradients (global_clipnorm={_USUAL})"
    name, value = already
    if name == "global_clipnorm" and value <= _USUAL:
        return ""
    return (
        f", or clip the gradients lower (global_clipnorm={_USUAL} instead of "
        f"{name}={value:.3g})"
    )


def _lower(value: float) -> str:
    return f"{_USUAL if value > _USUAL else value / 10:.3g}"
