"""What would have kept a training finite: it is run again with one thing changed."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, overload

import keras
import numpy as np

from tb_nanwatch.compat.names import MissingError
from tb_nanwatch.diagnosis.rules.thresholds import at
from tb_nanwatch.postmortem import changes
from tb_nanwatch.postmortem.capsule import Capsule
from tb_nanwatch.postmortem.changes import Altered, Case, Changing, NotApplicableError
from tb_nanwatch.postmortem.means import Means, of_tensorflow
from tb_nanwatch.postmortem.tape import Tape, array_of, arrays_of
from tb_nanwatch.postmortem.variables import variables_of
from tb_nanwatch.record.schema import Experiment, PostMortem
from tb_nanwatch.wording.messages import of_error

# Steps after the failing one: of what begins before it, and of what begins with it.
STEPS_AFTER: Final = 64
STEPS_AFTER_ONSET: Final = 10
MAX_SECONDS: Final = 10.0
# More steps than are run of a training that goes on for long, whatever its time.
MOST_STEPS: Final = 100_000
# Why none begins before the failing step.
TOO_SHORT: Final = "the time left was too short for the steps before it"
# Batches from which the loss of a constant prediction is taken.
_SOME: Final = 8
# Deviation of what is predicted for a batch's rows, in multiples of its size.
_ALIKE: Final = 1e-6
# Non-finite before the update: nothing that acts on the update can matter.
_BEFORE_UPDATE: Final = (
    *("input", "label", "sample_weight", "activation", "prediction", "loss"),
    *("metric", "gradient"),
)


def run(
    model: Any,
    capsule: Capsule,
    found: PostMortem,
    tape: Tape | None = None,
    *,
    seconds: float = MAX_SECONDS,
    first: Sequence[Experiment] = (),
    means: Means | None = None,
) -> list[Experiment]:
    """Runs the training again with one thing changed at a time.

    It begins where the tape does, and goes on for some steps behind the failing one; with
    what helped then, as far as the training was to go, as long as there is time. Without
    a tape, or where that does not come to the very state of the failing step, it begins
    with the failing step, whose batch is used again. The first entry is the control, with
    nothing changed; where it stays finite the others would say nothing, and it is alone.

    Args:
        model: as it was trained; afterwards it is as it was.
        capsule: the failing step.
        found: its post-mortem; it is told why none begins before the failing step.
        tape: the steps up to it, and perhaps beyond.
        seconds: for all of them together.
        first: experiments that settled it for a run which went bad alike. They are
            made first, and where they come out here as they did there, no others are.
        means: of the backend; TensorFlow's where nothing is said.
    """
    if not capsule.has_batch or seconds <= 0:
        return []
    if found.redrawn:
        # What stays finite may do so by chance.
        found.untried = "the step draws random numbers that cannot be drawn again"
        return []
    means = means or of_tensorflow()
    with means.preserved(model), contextlib.redirect_stdout(io.StringIO()):
        return _Laboratory(model, capsule, found, seconds, means).run(tape, first)


def run_runaway(
    model: Any,
    tape: Tape,
    take_off: int,
    *,
    seconds: float = MAX_SECONDS,
    first: Sequence[Experiment] = (),
    means: Means | None = None,
) -> list[Experiment]:
    """Runs a training again that stayed finite and ran away, one thing changed at a time.

    It goes on for some steps behind that at which it took off, and further as `run` does.
    The first entry is the control; where it learns, it is alone. A change succeeds only
    if the training learns with it.

    Args:
        model: as it was trained; afterwards it is as it was.
        tape: its steps, from before it took off.
        take_off: number of the first step of the runaway.
        seconds, first, means: as of `run`.
    """
    if seconds <= 0 or take_off < tape.first:
        return []
    means = means or of_tensorflow()
    with means.preserved(model), contextlib.redirect_stdout(io.StringIO()):
        return _Runaway(model, None, PostMortem(), seconds, means).run_from(
            _Stretch(tape, take_off - tape.first, STEPS_AFTER, True), first
        )


class _Laboratory:
    """Runs the experiments on one training.

    Args:
        model: that was trained.
        capsule: its failing step, None where no step failed.
        found: the post-mortem of that step.
        seconds: for everything.
        means: of the backend.
    """

    def __init__(
        self,
        model: Any,
        capsule: Capsule | None,
        found: PostMortem,
        seconds: float,
        means: Means,
    ) -> None:
        self._model, self._capsule, self._found = model, capsule, found
        self._means = means
        self._deadline = time.monotonic() + seconds
        self._trains = capsule is None or capsule.position.phase == "train"
        self.results: list[Experiment] = []

    def run(self, tape: Tape | None, first: Sequence[Experiment]) -> list[Experiment]:
        assert self._capsule is not None
        early = None
        if tape is not None and self._trains:
            early = self._early(tape, self._capsule)
        late = self._late(tape, self._capsule)
        control = early if early is not None else late
        unchanged = self._try(changes.UNCHANGED, control)
        if unchanged.finite or not unchanged.tried:
            return self.results
        # What acts on the failing step needs no step before it, but its state.
        came_before = bool(self._found.outliers) and all(
            o.ago for o in self._found.outliers
        )
        for_rows = control if came_before else late
        if self._known(first, control, {"rows": for_rows, "epsilon": late}):
            self._run_on(control)
            return self.results
        self._try(changes.OPTIMIZER, control)
        self._try_rates(control)
        self._try_scales(control)
        self._try(changes.ROWS, for_rows)
        self._try(changes.EPSILON, late)
        self._try(changes.BEGUN, control)
        if late.before is not None:
            # The next epoch brings the batch again.
            self._try(changes.BATCH, _Stretch(late.tape, 0, 0, False, late.before))
        self._try_clips(control)
        self._try(changes.FLOAT32, control)
        self._run_on(control)
        return self.results

    # --- Stretches ----------------------------------------------------------------

    def _early(self, tape: Tape, capsule: Capsule) -> _Stretch | None:
        """Returns the steps from before the failing one, if they lead to its very state."""
        onset = capsule.position.step - tape.first
        if onset < 0:
            return None
        began = time.monotonic()
        for _ in tape.play(tape.batches[:onset]):
            # Changes are tried with the time that is left.
            if time.monotonic() > began + (self._deadline - began) / 4:
                self._found.untried = TOO_SHORT
                return None
        if not _is_state(self._model, capsule):
            self._found.untried = "run again, the steps before it came out otherwise"
            return None
        return _Stretch(tape, onset, STEPS_AFTER, True)

    def _late(self, tape: Tape | None, capsule: Capsule) -> _Stretch:
        """Returns the steps from the failing one on, run operation by operation."""
        batches, before = [self._means.tensors_of(capsule.data)], None
        if tape is not None and self._trains:
            onset = capsule.position.step - tape.first
            batches += tape.batches[onset + 1 :]
            before = arrays_of(tape.batches[onset - 1]) if onset else None

        def restore() -> None:
            self._means.assign(self._model, capsule.variables)

        alone = Tape(
            capsule.position.step,
            restore,
            batches,
            train=self._means.steps(self._model, self._trains),
        )
        after = STEPS_AFTER_ONSET if self._trains else 0
        return _Stretch(alone, 0, after, False, before)

    # --- Experiments --------------------------------------------------------------

    def _known(
        self,
        first: Sequence[Experiment],
        control: _Stretch,
        other: Mapping[str, _Stretch],
    ) -> bool:
        """Tries what settled it for a run that went bad alike.

        Args:
            first: the experiments on that run.
            control: where most changes are tried.
            other: where some are, by id.

        Returns:
            Whether all of them came out as they did there.
        """
        same = bool(first)
        for earlier in first:
            change = changes.by_id(changes.alike(self._model, earlier))
            if change is None:
                return False
            tried = self._try(change, other.get(change.id, control))
            same = same and tried.tried and tried.succeeded == earlier.succeeded
        return same

    def _try_scales(self, stretch: _Stretch) -> None:
        """Scales inputs and labels, and both where neither alone helps."""
        scaled = [
            self._try(change, stretch) for change in (changes.INPUTS, changes.LABELS)
        ]
        if all(s.tried and not s.succeeded for s in scaled):
            self._try(changes.BOTH, stretch)

    def _try_rates(self, stretch: _Stretch) -> None:
        """Lowers the rate until that helps, and looks whether less would have done."""
        before, divisor, rate, lower = 1.0, 1.0, float("inf"), changes.lower_rate
        while rate > changes.LOWEST_RATE:
            divisor *= changes.RATE_DIVISOR
            tried = self._try(lower(divisor), stretch)
            if tried.note == changes.FOLLOWS_SCHEDULE:
                lower = changes.lower_schedule
                tried = self._try(lower(divisor), stretch)
            if not tried.tried or tried.value is None:
                return
            rate = tried.value
            if tried.finite:
                if tried.succeeded:
                    between = float(np.sqrt(before * divisor))
                    self._try(lower(round(between, 1)), stretch)
                    return
                # What does not learn with a rate that is still a high one says nothing of it.
                if rate <= changes.HIGH_RATE:
                    return
            before = divisor

    def _try_clips(self, stretch: _Stretch) -> None:
        """Clips gradients by their norm, and by value where their norm is no number."""
        by_norm = self._try(changes.CLIP, stretch)
        if by_norm.tried and not by_norm.finite:
            self._try(changes.CLIP_VALUES, stretch)

    # --- As far as the training was to go -----------------------------------------

    def _run_on(self, stretch: _Stretch) -> None:
        """Runs what helped again, to the end of the training as it was planned.

        What goes bad further on has not helped. Of learning rates the highest that lasts
        is found, and with half of it the shorter stretch is run, see `rate_margin`.

        Args:
            stretch: that these experiments were made on.
        """
        plan = stretch.tape.plan
        self._found.epoch_steps, self._found.planned_steps = plan.epoch, plan.steps
        long = stretch.to_the_end()
        if long is None or not stretch.early:
            return
        now = time.monotonic()
        self._deadline = now + plan.share * max(0.0, self._deadline - now)
        self._rates_on(stretch, long)
        lasting = [
            change
            for change in changes.LASTING
            if any(e.change == change.id and e.succeeded for e in self.results)
        ]
        for n, change in enumerate(lasting):
            self._further(change, long, parts=len(lasting) - n)

    def _rates_on(self, stretch: _Stretch, long: _Stretch) -> None:
        lowered = [e for e in self.results if changes.is_lower_rate(e.change)]
        helped = sorted(
            (e for e in lowered if e.succeeded and e.value), key=lambda e: -(e.value or 0)
        )
        if not helped:
            return
        name, divisor = helped[0].change.partition("/")[0], 1.0
        waiting = [float(e.change.partition("/")[2]) for e in helped]
        rate = float("inf")
        while waiting or rate > changes.LOWEST_RATE:
            following = divisor * float(np.sqrt(changes.RATE_DIVISOR))
            divisor = waiting.pop(0) if waiting else round(following, 1)
            change = changes.by_id(f"{name}/{divisor:g}")
            assert change is not None
            tried = self._further(change, long, parts=2)
            if not tried.tried or tried.value is None:
                return
            rate = tried.value
            if tried.succeeded:
                break
        if tried.first + tried.steps < long.tape.plan.steps:
            half = changes.by_id(f"{name}/{divisor * at('rate_margin'):g}")
            assert half is not None
            self._try(half, stretch)

    def _further(self, change: Changing, long: _Stretch, parts: int) -> Experiment:
        """Makes an experiment over a longer stretch; what it says counts from then on.

        Args:
            change: that is made.
            long: the stretch.
            parts: it takes one of so many parts of the time.
        """
        now = time.monotonic()
        until = now + (self._deadline - now) / parts
        result = self._made(change, long, until)
        before = next((e for e in self.results if e.change == change.id), None)
        if before is None:
            self.results.append(result)
        elif result.tried and (not result.finite or result.steps > before.steps):
            self.results[self.results.index(before)] = result
        else:
            return before
        return result

    # --- One experiment -----------------------------------------------------------

    def _try(self, change: Changing, stretch: _Stretch) -> Experiment:
        for earlier in self.results:
            if earlier.change == change.id:
                return earlier
        now = time.monotonic()
        # One experiment leaves the others half of the time.
        result = self._made(change, stretch, now + (self._deadline - now) / 2)
        self.results.append(result)
        return result

    def _made(self, change: Changing, stretch: _Stretch, until: float) -> Experiment:
        result = Experiment(change.id, change.text, first=stretch.tape.first)
        if time.monotonic() > self._deadline:
            result.tried, result.note = False, "no time was left"
            return result
        case = Case(
            self._model,
            self._found,
            self._trains,
            self._capsule is not None and self._capsule.origin.kind in _BEFORE_UPDATE,
            _Altered(stretch.tape.batches, lambda batch, n: arrays_of(batch)),
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
        stretch: _Stretch,
        altered: Altered,
        result: Experiment,
        until: float,
    ) -> None:
        batches = _Altered(
            stretch.cycled(),
            lambda batch, n: (
                batch
                if altered.data is None
                else self._means.tensors_of(
                    altered.data(arrays_of(batch), n % stretch.length)
                )
            ),
        )
        # A compiled step does not see what is changed in a model's settings.
        anew = change.retraces
        train = self._means.steps(self._model, self._trains) if anew else None
        losses: list[float] = []
        for count, logs in stretch.tape.play(
            batches, train, altered.begun, altered.changed
        ):
            result.steps += count
            bad = _bad_log(logs)
            if bad is not None:
                result.note = self._went_bad(bad, stretch, result)
                return
            losses.append(_loss(logs))
            if time.monotonic() > until and result.steps < len(batches):
                result.note = "stopped early, for time"
                break
        bad = _bad_variable(self._model)
        if bad is not None:
            result.note = self._went_bad(bad, stretch, result)
            return
        if result.steps <= stretch.onset:
            result.tried, result.note = False, "no time was left"
            return
        result.finite = True
        result.batches = min(stretch.length, result.steps)
        if stretch.length == 1 and self._trains:
            result.note = result.note or "the same batch repeated"
        if losses and self._trains:
            self._judge(result, losses, batches, stretch.early)

    def _went_bad(self, what: str, stretch: _Stretch, result: Experiment) -> str:
        later = result.steps - 1 - stretch.onset
        if later == 0:
            return f"{what} went bad"
        which = "later" if later > 0 else "earlier"
        return f"{what} went bad {abs(later)} step{'s' if abs(later) > 1 else ''} {which}"

    def _judge(
        self, result: Experiment, losses: list[float], batches: Any, early: bool
    ) -> None:
        first = losses[0]
        last = float(np.mean(losses[-max(1, len(losses) // 10) :]))
        if not np.isfinite([first, last]).all():
            return
        result.first_loss, result.last_loss = first, last
        if len(losses) < STEPS_AFTER_ONSET or not early:
            return
        some = [batches[n] for n in range(min(_SOME, len(batches)))]
        constant, alike = _beside_constant(self._model, some)
        if alike:
            result.learns = False
        elif constant is None:
            result.learns = last < (at("learnt_alone") * first if first > 0 else first)
        else:
            limit = max(at("near_constant") * constant, at("learnt") * first)
            result.learns = last < min(first, limit)


class _Runaway(_Laboratory):
    """Runs the experiments on a training that stayed finite, and ran away."""

    def run_from(
        self, stretch: _Stretch, first: Sequence[Experiment]
    ) -> list[Experiment]:
        unchanged = self._try(changes.UNCHANGED, stretch)
        if unchanged.succeeded or not unchanged.tried:
            return self.results
        if not self._known(first, stretch, {}):
            self._try(changes.OPTIMIZER, stretch)
            self._try_rates(stretch)
            self._try_scales(stretch)
            self._try_clips(stretch)
        self._run_on(stretch)
        return self.results

    def _judge(
        self, result: Experiment, losses: list[float], batches: Any, early: bool
    ) -> None:
        super()._judge(result, losses, batches, early)
        # That it is finite says nothing here.
        result.learns = bool(result.learns)


class _Stretch:
    """Steps that are run again and again.

    Args:
        tape: of the steps.
        onset: number of the failing one among them.
        after: steps behind it; where the tape ends before, it begins again.
        early: whether it begins before the failing step.
        before: the batch before the failing one, None where it was not kept.
    """

    def __init__(
        self, tape: Tape, onset: int, after: int, early: bool, before: Any = None
    ) -> None:
        self.tape, self.onset, self.early, self.before = tape, onset, early, before
        self.length = len(tape.batches)
        self._steps = onset + 1 + after

    def to_the_end(self) -> _Stretch | None:
        """Returns it with all steps that the training was to make, None if it has them."""
        after = self.tape.plan.steps - self.tape.first - self.onset - 1
        after = min(after, MOST_STEPS)
        if self.onset + 1 + after <= self._steps:
            return None
        return _Stretch(self.tape, self.onset, after, self.early, self.before)

    def cycled(self) -> list[Any]:
        """Returns the batches of all steps."""
        return [self.tape.batches[n % self.length] for n in range(self._steps)]


class _Altered(Sequence[Any]):
    """Batches that are altered when they are wanted, so that none is held twice."""

    def __init__(
        self, batches: Sequence[Any], alter: Callable[[Any, int], Any], first: int = 0
    ) -> None:
        self._batches, self._alter, self._first = batches, alter, first

    def __len__(self) -> int:
        return len(self._batches)

    @overload
    def __getitem__(self, at: int) -> Any: ...
    @overload
    def __getitem__(self, at: slice) -> _Altered: ...
    def __getitem__(self, at: int | slice) -> Any:
        if isinstance(at, slice):
            start, _, _ = at.indices(len(self))
            return _Altered(self._batches[at], self._alter, self._first + start)
        return self._alter(self._batches[at], self._first + range(len(self))[at])


def _is_state(model: Any, capsule: Capsule) -> bool:
    """Returns whether the model's state is that before the failing step, bit for bit."""
    kept = {s.role for s in capsule.variables}
    # Where Keras' generator is no part of a step, it was not kept.
    now = [
        (role, v)
        for role, v in variables_of(model)
        if role != "metric" and (role != "random" or role in kept)
    ]
    roles = {role for role, _ in now}  # what is not Keras' own plays no part in it
    then = [s for s in capsule.variables if s.role in roles]
    return len(now) == len(then) and all(
        s.value is None
        or np.array_equal(s.value, v.numpy(), equal_nan=_is_float(s.value))
        for s, (_, v) in zip(then, now, strict=True)
    )


def _is_float(array: Any) -> bool:
    return bool(array.dtype.kind == "f")


def _loss(logs: dict[str, Any]) -> float:
    return float(array_of(logs["loss"])) if "loss" in logs else float("nan")


def _bad_log(logs: dict[str, Any]) -> str | None:
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


def _beside_constant(model: Any, batches: Sequence[Any]) -> tuple[float | None, bool]:
    """Returns what a prediction that is the same for every row costs, and whether it is.

    Returns:
        The mean loss of the labels' mean, None where it cannot be told, and whether the
        model predicts the same for all rows of a batch.
    """
    alike = False
    with contextlib.suppress(Exception):
        parts = [keras.utils.unpack_x_y_sample_weight(batch) for batch in batches]
        predicted = array_of(model(parts[0][0], training=False)).astype(np.float64)
        if len(predicted) > 1:
            size = float(np.abs(predicted).max())
            alike = float(predicted.std(axis=0).max()) <= _ALIKE * size
        given = [array_of(y) for _, y, _ in parts]
        labels = [y.astype(np.float64) for y in given]
        if labels[0].shape not in (predicted.shape, predicted.shape[:-1]):
            return None, alike
        if given[0].dtype.kind in "iu" or predicted.size != labels[0].size:
            return None, alike
        mean = np.concatenate(labels).mean(axis=0, keepdims=True)
        losses = []
        for (x, y, weight), label in zip(parts, labels, strict=True):
            constant = np.broadcast_to(mean, label.shape).reshape(
                len(label), *predicted.shape[1:]
            )
            alike_for_all = keras.ops.convert_to_tensor(constant.astype(np.float32))
            loss = model.compute_loss(x, y, alike_for_all, weight, training=False)
            losses.append(float(loss))
        return float(np.mean(losses)), alike
    return None, alike
