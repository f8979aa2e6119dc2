# SPDX-License-Identifier: Apache-2.0
"""The planned length of a training that went bad, and how far it may be run again."""

from __future__ import annotations

from typing import Final

from tb_nanwatch.postmortem.tape import Plan
from tb_nanwatch.record.schema import Position
from tb_nanwatch.writing.log.environment import TrainingSetup

# Of the time that experiments leave: the seconds of a search are those of all its trials.
_SHARE: Final = 1.0
_SHARE_IN_SEARCH: Final = 0.125


def plan_of(environment: TrainingSetup, onset: Position, *, in_search: bool) -> Plan:
    """Returns the planned length of a training, and the time allowed for running that far.

    Args:
        environment: of the training.
        onset: its first bad step.
        in_search: whether other trainings need the time as well.
    """
    share = _SHARE_IN_SEARCH if in_search else _SHARE
    if onset.phase != "train":
        return Plan(share=share)
    before = onset.step - onset.batch
    epoch = environment.steps_per_epoch or 0
    if not epoch and onset.epoch and before and before % onset.epoch == 0:
        epoch = before // onset.epoch  # a data set whose length nobody had told
    # Epochs are counted as Keras does: the first of this training may be a later one.
    left = (environment.epochs_planned or 0) - onset.epoch
    steps = before + epoch * left if epoch and left > 0 else 0
    return Plan(epoch, steps, share)
