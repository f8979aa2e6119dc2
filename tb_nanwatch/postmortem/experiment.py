# SPDX-License-Identifier: Apache-2.0
"""One experiment: a stretch of a training, run again with one thing changed."""

from __future__ import annotations

import time
from typing import Any, Final

import numpy as np

from tb_nanwatch.compat.names import MissingError
from tb_nanwatch.postmortem.capsule import Capsule
from tb_nanwatch.postmortem.changing import Altered, Case, Changing, NotApplicableError
from tb_nanwatch.postmortem.learnt import judge
from tb_nanwatch.postmortem.means import Means
from tb_nanwatch.postmortem.stretch import AlteredBatches, Stretch
from tb_nanwatch.postmortem.tape import Logs, array_of, arrays_of
from tb_nanwatch.postmortem.variables import variables_of
from tb_nanwatch.record.schema import Experiment, PostMortem
from tb_nanwatch.wording.messages import of_error

# Non-finite before the update: nothing that acts on the update can matter.
_BEFORE_UPDATE: Final = (
    *("input", "label", "sample_weight", "activation", "prediction", "loss"),
    *("metric", "gradient"),
)


class Experimenter:
    """Makes experiments on one training.

    Args:
        model: that was trained.
        capsule: its failing step, None where no step failed: a change then succeeds only
            if the training learns with it.
        found: the post-mortem of that step.
        means: of the backend.
    """

    def __init__(
        self, model: Any, capsule: Capsule | None, found: PostMortem, means: Means
    ) -> None:
        self._model, self._capsule, self._found = model, capsule, found
        self._means = means
        self.trains = capsule is None or capsule.position.phase == "train"

    def make(self, change: Changing, stretch: Stretch, until: float) -> Experiment:
        """Runs a stretch with one thing changed.

        Args:
            change: the thing.
            stretch: the steps.
            until: when it is to end, by `time.monotonic`.
        """
        result = Experiment(change.id, change.text, first=stretch.tape.first)
        case = Case(
            self._model,
            self._found,
            self.trains,
            self._capsule is not None and self._capsule.origin.kind in _BEFORE_UPDATE,
            AlteredBatches(stretch.tape.batches, lambda batch, n: arrays_of(batch)),
            stretch.onset,
            # No update comes before the first step.
            stretch.early and (stretch.onset > 0 or self._capsule is None),
            stretch.before,
            self._means.calls,
        )
        try:
            with change.apply(case) as altered:
                result.text = altered.text or result.text
                self._watch(change, stretch, altered, result, until)
                result.value = altered.value
        except NotApplicableError as e:
            result.tried, result.note = False, str(e)
        except MissingError as e:
            e.warn()
            result.tried, result.note = False, str(e)
        except Exception as e:
            result.tried, result.note = False, of_error(e, 200)
        return result

    def _watch(
        self,
        change: Changing,
        stretch: Stretch,
        altered: Altered,
        result: Experiment,
        until: float,
    ) -> None:
        batches = AlteredBatches(
            stretch.cycled(),
            lambda batch, n: (
                batch
                if altered.data is None
                else self._means.tensors_of(
                    altered.data(arrays_of(batch), n % stretch.length)
                )
            ),
        )
        # A compiled step does not see changes of a model's settings.
        steps = self._means.steps
        train = steps(self._model, self.trains) if change.retraces else None
        losses: list[float] = []
        for count, logs in stretch.tape.play(
            batches, train, altered.begun, altered.changed
        ):
            result.steps += count
            bad = _bad_log(logs)
            if bad is not None:
                result.note = _went_bad(bad, stretch, result)
                return
            losses.append(_loss(logs))
            if time.monotonic() > until and result.steps < len(batches):
                result.note = "stopped early, for time"
                break
        bad = _bad_variable(self._model)
        if bad is not None:
            result.note = _went_bad(bad, stretch, result)
            return
        if result.steps <= stretch.onset:
            result.tried, result.note = False, "no time was left"
            return
        result.finite = True
        result.batches = min(stretch.length, result.steps)
        if stretch.length == 1 and self.trains:
            result.note = result.note or "the same batch repeated"
        if losses and self.trains:
            judge(self._model, result, losses, batches, stretch.early)
            if self._capsule is None:
                result.learns = bool(result.learns)  # that it is finite says nothing here


def _went_bad(what: str, stretch: Stretch, result: Experiment) -> str:
    later = result.steps - 1 - stretch.onset
    if later == 0:
        return f"{what} went bad"
    which = "later" if later > 0 else "earlier"
    return f"{what} went bad {abs(later)} step{'s' if abs(later) > 1 else ''} {which}"


def _loss(logs: Logs) -> float:
    return float(array_of(logs["loss"])) if "loss" in logs else float("nan")


def _bad_log(logs: Logs) -> str | None:
    for name, value in logs.items():
        if not np.isfinite(array_of(value).astype(np.float64)).all():
            return str(name)
    return None


def _bad_variable(model: Any) -> str | None:
    for role, variable in variables_of(model):
        value = variable.numpy()
        if role == "random" or value.dtype.kind in "iub":
            continue
        if not np.isfinite(value.astype(np.float64)).all():
            return str(variable.path)
    return None
