"""What an experiment changes in a training, one thing each."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np

from tb_nanwatch.compat.keras import (
    compiled_loss,
    learning_rate_replaced,
    learning_rate_variable,
    single_losses,
    sublayers,
)
from tb_nanwatch.diagnosis.rules.thresholds import at
from tb_nanwatch.postmortem import epsilon, outliers
from tb_nanwatch.postmortem.tape import Change, set_value
from tb_nanwatch.postmortem.variables import trained_variables
from tb_nanwatch.record.schema import Config, Experiment, Outlier, PostMortem

_CLIPPED_TO: Final = 1.0
# By powers of it the learning rate is divided until the training stays finite, or the rate
# is so low that no optimizer's usual one is: a hundredth of the lowest that Keras takes by
# default (Lion's).
RATE_DIVISOR: Final = 10.0
LOWEST_RATE: Final = 1e-6
_LEAST_DIVISOR: Final = 2.0
# No optimizer takes a higher rate by default than SGD.
HIGH_RATE: Final = 1e-2
# Why a rate cannot be set: what it would be at each step is a function's to say.
FOLLOWS_SCHEDULE: Final = "the learning rate follows a schedule"
# Settings of an optimizer that the rules look at.
_SETTINGS: Final = ("epsilon", "momentum", "beta_1", "beta_2", "rho", "weight_decay")
# Rows that can be left out: more are no outliers.
_MOST_ROWS: Final = 100


class NotApplicableError(Exception):
    """A change does not apply to this training; the message says why."""


@dataclass
class Case:
    """The training that went bad, as the changes see it.

    Attributes:
        model: that was trained.
        found: the post-mortem of its failing step.
        trains: whether the failing step updates the weights.
        before_update: whether it went bad before its update.
        batches: whose scale is that of the data; leaves are arrays.
        onset: number of the failing batch among them.
        from_before: whether the training is run again from before the failing step.
        before: the batch before the failing one, None where it was not kept.
        calls: of the backend (`means.Means`); None where no operation can be changed.
    """

    model: Any
    found: PostMortem
    trains: bool
    before_update: bool
    batches: Sequence[Any]
    onset: int
    from_before: bool
    before: Any = None
    calls: epsilon.Calls | None = None


@dataclass
class Altered:
    """How a training is run again.

    Attributes:
        data: returns the batch in the place of the n-th one, with arrays as leaves; None
            where batches stay as they are.
        begun: called once the state from before the first step is set.
        changed: returns what a variable gets where a callback had set one.
        value: the number that was set, such as a learning rate.
        text: what was changed, where the change's own text does not say it.
    """

    data: Callable[[Any, int], Any] | None = None
    begun: Callable[[], None] = lambda: None
    changed: Callable[[Change], Any] = lambda change: change.value
    value: float | None = None
    text: str = ""


Apply = Callable[[Case], AbstractContextManager[Altered]]


@dataclass(frozen=True)
class Changing:
    """One change.

    Attributes:
        id, text: what it is called, and what it is.
        apply: returns a context in which the training is to be run again.
        retraces: whether the compiled step does not see it, so that the steps have to be
            run operation by operation.
        at_onset: whether it acts on the failing step alone.
    """

    id: str
    text: str
    apply: Apply
    retraces: bool = False
    at_onset: bool = False


@contextlib.contextmanager
def _unchanged(case: Case) -> Iterator[Altered]:
    yield Altered()


# --- The optimizer -------------------------------------------------------------------


def _optimizer(case: Case) -> Any:
    if not case.trains or case.model.optimizer is None:
        raise NotApplicableError("the step makes no update")
    if case.before_update and not case.from_before:
        raise NotApplicableError("the step went bad before its update")
    optimizer = case.model.optimizer
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def lower_rate(divisor: float) -> Changing:
    """Returns the change to a lower learning rate."""

    @contextlib.contextmanager
    def apply(case: Case) -> Iterator[Altered]:
        optimizer = _optimizer(case)
        rate = learning_rate_variable(optimizer)
        if not isinstance(rate, keras.Variable):
            raise NotApplicableError(FOLLOWS_SCHEDULE)
        altered = Altered()

        def begun() -> None:
            now = float(rate.numpy())
            if not np.isfinite(now):
                raise NotApplicableError(f"the learning rate is {now}")
            altered.value = now / divisor
            set_value(rate, np.asarray(altered.value, np.float32))

        def changed(change: Change) -> Any:
            return change.value / divisor if change.variable is rate else change.value

        altered.begun, altered.changed = begun, changed
        yield altered

    return Changing(
        f"learning_rate/{divisor:g}", f"the learning rate divided by {divisor:g}", apply
    )


class _Scaled(keras.optimizers.schedules.LearningRateSchedule):
    """The rates of another schedule, divided."""

    def __init__(self, rates: Callable[[Any], Any], divisor: float) -> None:
        super().__init__()
        self._rates, self._divisor = rates, divisor

    def __call__(self, step: Any) -> Any:
        return self._rates(step) / self._divisor


def lower_schedule(divisor: float) -> Changing:
    """Returns the change to a schedule whose rates are all lower.

    The compiled step holds the schedule that it was traced with.
    """

    @contextlib.contextmanager
    def apply(case: Case) -> Iterator[Altered]:
        optimizer = _optimizer(case)
        schedule = learning_rate_variable(optimizer)
        if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            raise NotApplicableError("the learning rate follows no schedule")
        scaled = _Scaled(schedule, divisor)
        altered = Altered(
            text=f"the rates of the schedule {type(schedule).__name__} divided by "
            f"{divisor:g}"
        )

        def begun() -> None:
            step = int(np.asarray(optimizer.iterations)) + max(0, case.onset)
            now = float(np.asarray(scaled(step)))
            if not np.isfinite(now):
                raise NotApplicableError(f"the learning rate is {now * divisor}")
            altered.value = now  # of the failing step

        altered.begun = begun
        with learning_rate_replaced(optimizer, scaled):
            yield altered

    return Changing(
        f"schedule/{divisor:g}",
        f"the rates of the schedule divided by {divisor:g}",
        apply,
        retraces=True,
    )


def _clipped(by: str) -> Apply:
    """Returns what clips gradients by one of the optimizer's settings."""

    @contextlib.contextmanager
    def apply(case: Case) -> Iterator[Altered]:
        optimizer = _optimizer(case)
        names = ("global_clipnorm", "clipnorm", "clipvalue")
        before = {name: getattr(optimizer, name, None) for name in names}
        try:
            for name in names:
                setattr(optimizer, name, None)
            setattr(optimizer, by, _CLIPPED_TO)
            yield Altered(value=_CLIPPED_TO)
        finally:
            for name, value in before.items():
                setattr(optimizer, name, value)

    return apply


def _number(value: Any) -> float:
    """Returns a setting as a number; NaN, which exceeds nothing, where it is none."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else float("nan")


def _odd_settings(optimizer: Any) -> list[str]:
    """Returns the optimizer's settings that no training survives, as the rules have it."""
    setting = {name: _number(getattr(optimizer, name, None)) for name in _SETTINGS}
    rate = float("nan")
    with contextlib.suppress(Exception):  # a schedule of the user's own
        rate = float(np.asarray(optimizer.learning_rate))
    odd = {
        "epsilon": setting["epsilon"] < at("tiny_epsilon"),
        "momentum": setting["momentum"] >= at("momentum"),
        "weight_decay": setting["weight_decay"] * rate >= at("decay_step"),
    }
    return [name for name in _SETTINGS if odd.get(name, setting[name] >= 1.0)]


def _usual_settings(optimizer: Any) -> Config:
    """Returns what Keras' own class of an optimizer takes where nothing is said."""
    for cls in type(optimizer).__mro__:
        if cls.__module__.split(".")[0] == "keras":
            made_by = vars(cls).get("__init__", lambda: None)
            given = inspect.signature(made_by).parameters
            return {
                name: given[name].default
                for name in _SETTINGS
                if name in given and given[name].default is not inspect.Parameter.empty
            }
    return {}


@contextlib.contextmanager
def _with_usual_settings(case: Case) -> Iterator[Altered]:
    optimizer = _optimizer(case)
    usual = _usual_settings(optimizer)
    odd = [name for name in _odd_settings(optimizer) if name in usual]
    if not odd:
        raise NotApplicableError("no setting of the optimizer is out of all range")
    before = {name: getattr(optimizer, name) for name in odd}
    said = [
        f"{'no' if usual[name] is None else f'{usual[name]:g}'} instead of "
        f"{before[name]:.3g} as {name}"
        for name in odd
    ]
    try:
        for name in odd:
            setattr(optimizer, name, usual[name])
        value = usual[odd[0]] if len(odd) == 1 else None
        yield Altered(value=value, text=f"the optimizer's usual {' and '.join(said)}")
    finally:
        for name, old in before.items():
            setattr(optimizer, name, old)


# --- The data ------------------------------------------------------------------------


def _parts(batch: Any) -> tuple[Any, Any, Any]:
    parts: tuple[Any, Any, Any] = keras.utils.unpack_x_y_sample_weight(batch)
    return parts


def _mapped(batch: Any, part: int, scales: list[Any], scale: Callable[..., Any]) -> Any:
    parts = list(_parts(batch))
    leaves = iter(scales)
    parts[part] = keras.tree.map_structure(
        lambda leaf: scale(leaf, next(leaves)), parts[part]
    )
    if isinstance(batch, tuple):
        return tuple(parts[: len(batch)])
    return keras.utils.pack_x_y_sample_weight(*parts)


def _leaves(case: Case, part: int) -> list[list[Any]]:
    """Returns the arrays of each leaf of inputs (0) or labels (1), one a batch."""
    all_leaves = [keras.tree.flatten(_parts(batch)[part]) for batch in case.batches]
    return [list(leaf) for leaf in zip(*all_leaves, strict=True)]


def _is_real(leaf: Any) -> bool:
    return leaf is not None and leaf.dtype.kind == "f" and leaf.ndim > 0 and leaf.size > 0


def _spread(leaves: list[Any]) -> tuple[Any, Any] | None:
    """Returns mean and deviation of each column; None where it is no real number."""
    if not all(map(_is_real, leaves)):
        return None
    width = leaves[0].shape[-1] if leaves[0].ndim > 1 else 1
    rows = np.concatenate([leaf.reshape(-1, width) for leaf in leaves]).astype(np.float64)
    with np.errstate(all="ignore"):
        mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    return mean, np.where(deviation > 0, deviation, 1.0)


def _standardise(leaf: Any, spread: tuple[Any, Any] | None) -> Any:
    if spread is None:
        return leaf
    with np.errstate(all="ignore"):
        wide = leaf if leaf.ndim > 1 else leaf[:, None]
        scaled = ((wide.astype(np.float64) - spread[0]) / spread[1]).astype(leaf.dtype)
    return scaled.reshape(leaf.shape)


def _largest(leaves: list[Any]) -> float | None:
    if not all(map(_is_real, leaves)):
        return None
    largest = max(float(np.abs(leaf.astype(np.float64)).max()) for leaf in leaves)
    return largest if largest > 1 else None


def _divide(leaf: Any, by: float | None) -> Any:
    return leaf if by is None else (leaf / by).astype(leaf.dtype)


def _scaled(inputs: bool, labels: bool) -> Apply:
    @contextlib.contextmanager
    def apply(case: Case) -> Iterator[Altered]:
        spreads = [_spread(leaf) for leaf in _leaves(case, 0)] if inputs else []
        sizes = [_largest(leaf) for leaf in _leaves(case, 1)] if labels else []
        if inputs and all(spread is None for spread in spreads):
            raise NotApplicableError("no input is a real number")
        if labels and all(size is None for size in sizes):
            raise NotApplicableError("no label is beyond 1")

        def data(batch: Any, n: int) -> Any:
            if inputs:
                batch = _mapped(batch, 0, spreads, _standardise)
            if labels:
                batch = _mapped(batch, 1, sizes, _divide)
            return batch

        yield Altered(data)

    return apply


@contextlib.contextmanager
def _without_rows(case: Case) -> Iterator[Altered]:
    standing_out = [o for o in case.found.outliers if o.ago == 0] or case.found.outliers
    ago = standing_out[0].ago if standing_out else 0
    rows = sorted({row for o in standing_out if o.ago == ago for row in o.rows})
    rows = rows or list(case.found.rows)
    if not rows:
        raise NotApplicableError("no rows of the batch stand out")
    if ago > case.onset:
        raise NotApplicableError("the batch of the rows was not kept")
    failing = case.batches[case.onset - ago]
    leaves = keras.tree.flatten(failing)
    size = len(next(a for a in leaves if a is not None and a.ndim))
    good = np.setdiff1d(np.arange(size), rows)
    if not len(good) or len(rows) >= _MOST_ROWS:
        raise NotApplicableError("too many rows are bad")

    stand_in = [leaf[good[0]] if _has_rows(leaf, size) else None for leaf in leaves]
    contents = _contents(leaves, size)
    bad = {contents[row] for row in rows}

    def data(batch: Any, n: int) -> Any:
        # A later epoch brings the rows again, in another batch perhaps.
        mine = keras.tree.flatten(batch)
        sizes = [len(leaf) for leaf in mine if leaf is not None and leaf.ndim]
        contents = _contents(mine, sizes[0])
        alike = _as_far_out(batch, standing_out, sizes[0])
        again = [r for r, content in enumerate(contents) if content in bad or alike[r]]
        if not again:
            return batch
        changed = []
        for leaf, good_row in zip(mine, stand_in, strict=True):
            if good_row is not None:
                leaf = leaf.copy()
                # The compiled step wants a batch of the same size.
                leaf[again] = good_row
            changed.append(leaf)
        return keras.tree.pack_sequence_as(batch, changed)

    yield Altered(data)


def _as_far_out(batch: Any, standing_out: Sequence[Outlier], size: int) -> Any:
    """Returns [rows] which of a batch's rows hold what was called an outlier in another."""
    found = np.zeros(size, np.bool_)
    for name, leaf in outliers.leaves(batch):
        usual = [o.usual for o in standing_out if o.name == name and o.usual > 0]
        if usual and _has_rows(leaf, size) and _is_real(leaf):
            sizes = np.abs(leaf.astype(np.float64)).reshape(size, -1).max(axis=1)
            found |= np.isfinite(sizes) & (sizes >= at("outlier") * max(usual))
    return found


def _has_rows(leaf: Any, size: int) -> bool:
    return leaf is not None and leaf.ndim > 0 and len(leaf) == size


def _contents(leaves: Sequence[Any], size: int) -> list[bytes]:
    """Returns for each row of a batch what stands in it."""
    parts = [leaf for leaf in leaves if _has_rows(leaf, size) and leaf.dtype.kind != "O"]
    return [b"".join(leaf[row].tobytes() for leaf in parts) for row in range(size)]


@contextlib.contextmanager
def _last_good_batch(case: Case) -> Iterator[Altered]:
    if case.before is None:
        raise NotApplicableError("no batch before it was kept")
    yield Altered(lambda batch, n: case.before if n == case.onset else batch)


# --- The step ------------------------------------------------------------------------


def _layers(model: Any) -> list[Any]:
    """Returns a model and all layers in it, each once."""
    found: dict[int, Any] = {}
    waiting = [model]
    while waiting:
        layer = waiting.pop()
        if id(layer) not in found:
            found[id(layer)] = layer
            waiting += sublayers(layer)
    return list(found.values())


@contextlib.contextmanager
def in_float32(model: Any) -> Iterator[None]:
    """Has layers and losses compute in float32 that compute in float16.

    What the variables are kept in stays.

    Raises:
        NotApplicableError: nothing is computed in float16.
    """
    half = [
        layer
        for layer in _layers(model)
        if getattr(layer, "compute_dtype", None) == "float16"
    ]
    compiled = compiled_loss(model)
    # A train_step of the user's own may need none.
    flat = single_losses(compiled) if compiled is not None else ()
    parts = [getattr(part, "loss", None) for part in flat]
    losses = {id(loss): loss for loss in (compiled, *parts) if _is_half(loss)}
    if not half and not losses:
        raise NotApplicableError("nothing is computed in float16")
    floatx = keras.config.floatx()
    policies = [(layer, layer.dtype_policy) for layer in half]
    classes = [(loss, type(loss)) for loss in losses.values()]
    try:
        if floatx == "float16":
            keras.config.set_floatx("float32")
        for layer in half:
            layer.dtype_policy = keras.DTypePolicy("float32")
        for loss, cls in classes:
            # Its dtype can be read alone.
            loss.__class__ = type(cls.__name__, (cls,), {"dtype": "float32"})
        yield
    finally:
        for loss, cls in classes:
            loss.__class__ = cls
        for layer, policy in policies:
            layer.dtype_policy = policy
        keras.config.set_floatx(floatx)


def _is_half(loss: Any) -> bool:
    return isinstance(loss, keras.losses.Loss) and loss.dtype == "float16"


@contextlib.contextmanager
def _float32(case: Case) -> Iterator[Altered]:
    with in_float32(case.model):
        yield Altered()


@contextlib.contextmanager
def _with_epsilon(case: Case) -> Iterator[Altered]:
    op_type = case.found.forward_type
    if op_type is None or case.calls is None or not epsilon.applies(op_type):
        raise NotApplicableError("no division, logarithm or root is to blame")
    with epsilon.added(op_type, case.found.source, case.calls) as changed:
        yield Altered()
    if not changed:
        raise NotApplicableError("the operation could not be changed")


@contextlib.contextmanager
def _begun_with_1(case: Case) -> Iterator[Altered]:
    link = case.found.chain[0] if case.found.chain else None
    if link is None or link.origin != "variable" or link.operand != "denominator":
        raise NotApplicableError("no variable is divided by as it stands")
    if case.onset or not case.trains:
        raise NotApplicableError("steps came before the failing one")
    named = [v for _, v in trained_variables(case.model) if v.path == link.name]
    if len(named) != 1:
        raise NotApplicableError(f"{len(named)} variables are called {link.name}")

    def begun() -> None:
        set_value(named[0], np.ones(named[0].shape, named[0].dtype))

    yield Altered(begun=begun, text=f"{link.name} begun with 1")


UNCHANGED: Final = Changing("unchanged", "nothing changed", _unchanged)
INPUTS: Final = Changing("inputs", "the inputs standardised", _scaled(True, False))
LABELS: Final = Changing("labels", "the labels scaled into [-1, 1]", _scaled(False, True))
BOTH: Final = Changing(
    "inputs_and_labels",
    "the inputs standardised and the labels scaled into [-1, 1]",
    _scaled(True, True),
)
ROWS: Final = Changing(
    "rows", "the offending rows left out", _without_rows, at_onset=True
)
BATCH: Final = Changing(
    "batch",
    "the batch before it in the failing batch's place",
    _last_good_batch,
    at_onset=True,
)
OPTIMIZER: Final = Changing(
    "optimizer", "the optimizer's usual settings", _with_usual_settings, retraces=True
)
CLIP: Final = Changing(
    "clip",
    f"gradients clipped to a global norm of {_CLIPPED_TO:g}",
    _clipped("global_clipnorm"),
    retraces=True,
)
# The norm of gradients beyond 1e19 is infinite in float32, and clips them to NaN.
CLIP_VALUES: Final = Changing(
    "clip_values",
    f"each element of the gradients clipped to {_CLIPPED_TO:g}",
    _clipped("clipvalue"),
    retraces=True,
)
FLOAT32: Final = Changing(
    "float32", "float32 instead of float16", _float32, retraces=True
)
EPSILON: Final = Changing(
    "epsilon",
    "an epsilon in the operation that is to blame",
    _with_epsilon,
    retraces=True,
    at_onset=True,
)
# What is divided by is 0 from the start, where a guard at one line leaves all others.
BEGUN: Final = Changing(
    "begun_with_1", "the variable that is divided by begun with 1", _begun_with_1
)


_FIXED: Final = (
    *(INPUTS, LABELS, BOTH, ROWS, CLIP, CLIP_VALUES, FLOAT32, EPSILON, OPTIMIZER),
    BEGUN,
)
_LOWERED: Final = {"learning_rate": lower_rate, "schedule": lower_schedule}
_BY_ID: Final = {change.id: change for change in _FIXED}


# Those that act on every step: whether they last is told by more steps.
LASTING: Final = (OPTIMIZER, INPUTS, LABELS, BOTH, CLIP, CLIP_VALUES)


def is_lower_rate(change_id: str) -> bool:
    """Returns whether a change is one to lower learning rates."""
    return change_id.partition("/")[0] in _LOWERED


def by_id(change_id: str) -> Changing | None:
    """Returns the change that is called so, None where none is that could be repeated."""
    name, _, divisor = change_id.partition("/")
    if name in _LOWERED and divisor:
        return _LOWERED[name](float(divisor))
    return _BY_ID.get(change_id)


def alike(model: Any, experiment: Experiment) -> str:
    """Returns the id of the change that is to another model what one was to its own.

    Args:
        model: to be trained with the change.
        experiment: on a training of the other model: where it set a learning rate, the
            same one is set, if it is lower than that of `model`.
    """
    if not experiment.change.startswith("learning_rate/") or not experiment.value:
        return experiment.change
    optimizer = model.optimizer
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    rate = learning_rate_variable(optimizer)
    if not isinstance(rate, keras.Variable):
        return experiment.change
    divisor = round(float(rate.numpy()) / experiment.value, 1)
    # A rate that is near the one that helped is too high for some other reason.
    is_lower = np.isfinite(divisor) and divisor >= _LEAST_DIVISOR
    return f"learning_rate/{divisor:g}" if is_lower else experiment.change
