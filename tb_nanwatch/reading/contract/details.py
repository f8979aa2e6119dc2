# SPDX-License-Identifier: Apache-2.0
"""One run in full: the answers of the routes `run`, `ranges`, `flight`, `lanes` and `markdown`."""

from __future__ import annotations

from dataclasses import dataclass

from tb_nanwatch.reading.contract.runs import RunSummary
from tb_nanwatch.record.schema import Config, Episode, Phase, Probe


@dataclass(frozen=True)
class Environment:
    """The set-up of the training.

    Attributes:
        model: its class and name.
        optimizer: class name and configuration.
        loss: how the model was compiled.
        precision: the dtype policy's name.
        replicas: of the model.
        jit_compile: whether the step is compiled by XLA.
        steps_per_execution: as `compile` was given it.
        versions: of tensorflow, keras, keras_tuner, tb_nanwatch and python.
        notes: what could not be watched, a sentence each.
    """

    model: str
    optimizer: Config
    loss: str
    precision: str
    replicas: int
    jit_compile: bool
    steps_per_execution: int
    versions: dict[str, str]
    notes: list[str]


@dataclass(frozen=True)
class Probes:
    """The watched tensors, in causal order.

    Attributes:
        train: of the training step.
        validation: of the validation step.
    """

    train: list[Probe]
    validation: list[Probe]


@dataclass(frozen=True)
class LossScaling:
    """The loss scale and skipped steps of a `LossScaleOptimizer`, for each point of the lane.

    Attributes:
        steps: the last step of the point.
        loss_scale: after that step.
        skipped_steps: how many of the point's steps were skipped, since a gradient of the
            scaled loss was non-finite.
    """

    steps: list[float]
    loss_scale: list[float]
    skipped_steps: list[float]


@dataclass(frozen=True)
class RunDetail:
    """One run in full.

    Attributes:
        run: as in the overview.
        probes: the watched tensors.
        episodes: all of them, by id.
        environment: what was trained, and with what.
        phases: those that have probes.
        loss_scaling: null where no loss is scaled.
    """

    run: RunSummary
    probes: Probes
    episodes: list[Episode]
    environment: Environment
    phases: list[Phase]
    loss_scaling: LossScaling | None


@dataclass(frozen=True)
class Markdown:
    """An answer to be passed on.

    Attributes:
        markdown: as `tb-nanwatch report --markdown` prints it. Values of single rows of data
            are left out, and the text says so.
    """

    markdown: str


@dataclass(frozen=True)
class SpaceEdit:
    """The edit of the search space for a cut; both are empty where the space cannot express it.

    Attributes:
        code: to paste.
        where: a sentence on where to.
    """

    code: str
    where: str


@dataclass(frozen=True)
class ArraySpec:
    """One of the arrays behind a header.

    Attributes:
        name: of the array.
        dtype: NumPy's name.
        shape: its axes.
    """

    name: str
    dtype: str
    shape: list[int]
