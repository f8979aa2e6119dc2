# SPDX-License-Identifier: Apache-2.0
"""The identifiers that log, report, HTTP API and tab share."""

from __future__ import annotations

import typing
from typing import Any, Final, Literal, TypeAlias

import numpy.typing as npt

State = Literal["running", "finished", "stopped", "failed", "interrupted"]
STATES: Final[tuple[str, ...]] = typing.get_args(State)

# By how far non-finite values reached; the worst wins, so order matters.
Status = Literal[
    "unwatched", "clean", "contained", "stalled", "score_lost", "runaway", "diverged"
]
STATUSES: Final[tuple[str, ...]] = typing.get_args(Status)
# A trial that went bad, in the sense of every statistic over trials. One that stalled
# lost nothing, but its values made it learn nothing.
BAD_STATUSES: Final[tuple[str, ...]] = ("stalled", "score_lost", "runaway", "diverged")
# What a training can have come to whose weights are no good to another. Those of one that
# stalled are as they were before it did.
HEREDITARY: Final[tuple[str, ...]] = tuple(s for s in BAD_STATUSES if s != "stalled")
# Of all these, what left every value finite: nothing that was computed is wrong.
FINITE_STATUSES: Final[tuple[str, ...]] = ("stalled", "runaway")

Misread = Literal["stale_score", "infinite_score", "damaged_score"]
MISREADS: Final[tuple[str, ...]] = typing.get_args(Misread)

Phase = Literal["train", "validation"]
PHASES: Final[tuple[str, ...]] = typing.get_args(Phase)

# In causal order within one step: a probe can only be poisoned by earlier ones.
Kind = Literal[
    "input",
    "label",
    "sample_weight",
    "activation",
    "prediction",
    "loss",
    "metric",
    "gradient",
    "optimizer",
    "weight",
    "layer_state",
]
KINDS: Final[tuple[str, ...]] = typing.get_args(Kind)
# Non-finite values here outlive the step: the run itself is damaged.
PERSISTENT_KINDS: Final[tuple[str, ...]] = ("optimizer", "weight", "layer_state")
# Of these, what a prediction is computed from.
MODEL_KINDS: Final[tuple[str, ...]] = ("weight", "layer_state")

CAUSES: Final[tuple[str, ...]] = (
    "learning_rate",
    "unscaled_inputs",
    "unscaled_targets",
    "unscaled_data",
    "nonfinite_data",
    "outlier_data",
    "label_range",
    "loss_domain",
    "metric_domain",
    "layer_domain",
    "initialization",
    "gradient_amplification",
    "half_precision",
    "optimizer_settings",
    "inherited",
    "unknown",
)

# Columns of the arrays below. New ones are appended, never put between: a log of another
# version then holds the same columns, fewer or more of them.
RANGE_COLUMNS: Final[tuple[str, ...]] = (
    "min",  # smallest finite element seen, NaN where none was
    "max",  # largest finite element seen
    "rms_min",  # smallest root mean square of a step
    "rms_max",  # largest root mean square of a step
    "rms",  # root mean square over the bucket's finite steps
    "zero_fraction",  # share of elements that are exactly zero
    # largest ||after - before|| / ||before|| of a step's update, of weights with two or
    # more dimensions; known where two consecutive steps were looked at in full
    "update_ratio",
)
COUNT_COLUMNS: Final[tuple[str, ...]] = ("num_nan", "num_pos_inf", "num_neg_inf")
# One value each for a point of a lane; NaN where nothing finite was measured.
LANE_SERIES: Final[tuple[str, ...]] = (
    "growth",  # largest rms of a weight or activation over its first non-zero rms
    "loss",  # |total loss|
    "gradient_norm",  # global norm of the gradients as they reach the optimizer
    "activation",  # largest rms of an activation
    "weight",  # largest rms of a weight with two or more dimensions
    "update_ratio",  # largest ||after - before|| / ||before|| of such a weight in a step
    "activation_max",  # largest finite |element| of an activation
)
# Of these, what is known of the steps that were looked at in full alone, and NaN in points
# that hold none; the others are of every step.
LOOKED_SERIES: Final[tuple[str, ...]] = ("update_ratio", "activation_max")

# What a search is for: scores, or the frontier of what can be trained at all.
PURPOSES: Final[tuple[str, ...]] = ("search", "stability")

HParamType = Literal["int", "float", "choice", "boolean", "fixed", "text", "number"]

# A number that is not finite comes back as its word ("Infinity"): it cannot be told from
# a text, and no order or threshold would hold for it.
JSONScalar: TypeAlias = bool | int | float | str | None
# What Keras' `get_config` and its like return.
Config: TypeAlias = dict[str, Any]
Array: TypeAlias = npt.NDArray[Any]

# The largest finite number of each dtype that a watched tensor may have.
LARGEST: Final[dict[str, float]] = {
    "float16": 65504.0,
    "bfloat16": 3.3895314e38,
    "float32": 3.4028235e38,
    "float64": 1.7976931348623157e308,
    "complex64": 3.4028235e38,
    "complex128": 1.7976931348623157e308,
}
