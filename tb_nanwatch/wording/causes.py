# SPDX-License-Identifier: Apache-2.0
"""The names and meanings of causes, and of the degrees of certainty."""

from __future__ import annotations

from typing import Final

# Causes as people say them. Those of an operation out of its domain are worded by it.
LABELS: Final[dict[str, str]] = {
    "learning_rate": "learning rate too high",
    "unscaled_inputs": "inputs not scaled",
    "unscaled_targets": "labels not scaled",
    "unscaled_data": "inputs and labels not scaled",
    "nonfinite_data": "NaN or Inf in the data",
    "outlier_data": "an outlier in the data",
    "label_range": "labels outside of what the loss takes",
    "loss_domain": "the loss left its domain",
    "metric_domain": "the metric left its domain",
    "layer_domain": "a layer left its domain",
    "initialization": "weights too large from the start",
    "gradient_amplification": "gradients multiplied through depth or time",
    "half_precision": "float16 cannot hold the numbers",
    "optimizer_settings": "a setting of the optimizer",
    "inherited": "the weights were bad before this training",
    "unknown": "unknown",
}
# What a cause means, for those who point at its name; docs/causes.md says more.
MEANINGS: Final[dict[str, str]] = {
    "learning_rate": "Each update throws the weights further than it should, until a number "
    "no longer fits.",
    "unscaled_inputs": "The inputs are far from size 1, and activations and gradients carry "
    "their scale.",
    "unscaled_targets": "The labels are far from size 1, and so are the errors and the "
    "gradients.",
    "unscaled_data": "Inputs and labels are both far from size 1: each alone is too much.",
    "nonfinite_data": "The data that went in held NaN or infinity.",
    "outlier_data": "Single values of this batch lie far beyond those of the other batches.",
    "label_range": "The loss is not defined for these labels.",
    "loss_domain": "An operation of the loss got a number for which it is not defined, such "
    "as a division by 0.",
    "metric_domain": "An operation of a metric got a number for which it is not defined.",
    "layer_domain": "An operation of a layer got a number for which it is not defined.",
    "initialization": "The weights were too large before the first update.",
    "gradient_amplification": "Each layer or time step multiplies the gradient, until it no "
    "longer fits.",
    "half_precision": "Numbers beyond 65,504 do not fit into float16.",
    "optimizer_settings": "A setting of the optimizer other than the learning rate.",
    "inherited": "The weights were NaN or infinite before this training began.",
    "unknown": "What was recorded fits no known cause, or several equally well.",
}
# What "how sure" means, in words.
SURENESS: Final[dict[str, str]] = {
    "tested": "an experiment confirmed it",
    "likely": "it follows from what was measured; no experiment confirmed it",
    "unclear": "the record leaves other causes open",
}
