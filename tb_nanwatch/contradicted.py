"""What counterfactuals say of a cause: they support it, or contradict it. Pure."""

from __future__ import annotations

from typing import Final

from tb_nanwatch.facts import Facts
from tb_nanwatch.schema import Counterfactual

# The changes that would keep a run finite if the cause were right.
_CHANGES: Final[dict[str, tuple[str, ...]]] = {
    "learning_rate": ("learning_rate/10", "learning_rate/100"),
    "unscaled_inputs": ("inputs",),
    "unscaled_targets": ("labels",),
    "gradient_amplification": ("clip",),
    "half_precision": ("float32",),
    "loss_domain": ("epsilon", "rows"),
    "metric_domain": ("epsilon", "rows"),
    "layer_domain": ("epsilon", "rows"),
    "nonfinite_data": ("rows",),
    "outlier_data": ("rows",),
}
# These act over many steps: at the failing one the weights may be past help, and a
# change that comes too late contradicts nothing. In the first step it does.
_GRADUAL: Final = (
    "learning_rate",
    "unscaled_inputs",
    "unscaled_targets",
    "gradient_amplification",
)


def support(facts: Facts, cause: str) -> Counterfactual | None:
    """Returns the change that kept the run finite as the cause would have it."""
    return next((c for c in _tried(facts, cause) if c.finite), None)


def contradiction(facts: Facts, cause: str) -> Counterfactual | None:
    """Returns the change that should have kept the run finite and did not.

    None where one of the cause's changes helped, none was tried, or none could.
    """
    tried = _tried(facts, cause)
    # Where the step itself was mended, what went bad later may be something else.
    if not tried or any(c.finite or c.steps > 1 for c in tried):
        return None
    if cause in _GRADUAL and (facts.onset is None or facts.onset.step > 0):
        return None
    return tried[-1]


def _tried(facts: Facts, cause: str) -> list[Counterfactual]:
    found = facts.postmortem
    if found is None:
        return []
    if cause == "outlier_data" and all(o.ago for o in found.outliers):
        return []  # of an earlier batch no row can be left out of this one
    changes = _CHANGES.get(cause, ())
    return [c for c in found.counterfactuals if c.change in changes and c.tried]
