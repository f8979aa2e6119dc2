"""Two runs side by side: what differs, in the order in which it can matter; pure.

Values that were chosen come first (hyperparameters, optimizer, loss, model), then what
was measured of the data, of the precision, and of the activations before anything was
learned, and last the first step at which the two part.

Tensors are paired by kind and place in causal order, never by name: two models built
one after the other give the same layer two names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from tb_nanwatch.diagnosis import Cause, position_text, probe_text
from tb_nanwatch.measured import Look, largest, looks_of, number
from tb_nanwatch.schema import (
    BAD_STATUSES,
    JSONScalar,
    Phase,
    Probe,
    RangesRecord,
    SessionRecord,
    StatusRecord,
)

TOPICS: Final = (
    "hparam",
    "optimizer",
    "loss",
    "model",
    "data",
    "precision",
    "setup",
    "initial",
)
# Half a decade, as in `rules`: batches and initial weights vary by less.
TOLERANCE: Final = 0.5
# Differences among what has become small say nothing: two trainings that have both
# converged differ by any factor. Below this share of its first value a tensor is small.
_SMALL: Final = 0.1
# Tensors named where two runs part, and activations named at the first step.
_MAX_TENSORS: Final = 3
# What must agree is compared to float32's own resolution.
_SAME: Final = 1e-6

_PHASES: Final[tuple[Phase, ...]] = ("train", "validation")

# What the diagnosis blames, by topic and by the kind of tensor.
_ABOUT: Final[dict[str, tuple[str, ...]]] = {
    "learning_rate": ("optimizer.learning_rate",),
    "optimizer_settings": ("optimizer",),
    "unscaled_inputs": ("data.input",),
    "unscaled_targets": ("data.label",),
    "label_range": ("data.label", "loss"),
    "nonfinite_data": ("data",),
    "loss_domain": ("loss", "data.label"),
    "metric_domain": ("data.label",),
    "layer_domain": ("model", "data.input"),
    "initialization": ("initial.activation",),
    "gradient_amplification": ("initial", "model"),
    "half_precision": ("precision",),
}


@dataclass(frozen=True)
class Training:
    """One run, as far as it is compared.

    Attributes:
        name: what it is called in sentences.
        status: its status record.
        session: what was trained; None where it was not recorded.
        ranges: all of its records of ranges.
        causes: why it went bad, the likeliest first.
    """

    name: str
    status: StatusRecord
    session: SessionRecord | None = None
    ranges: Sequence[RangesRecord] = ()
    causes: Sequence[Cause] = ()

    @property
    def bad(self) -> bool:
        """Returns whether it went bad."""
        return self.status.status in BAD_STATUSES


@dataclass(frozen=True)
class Difference:
    """One difference.

    Attributes:
        topic: one of `TOPICS`.
        name: of what differs.
        first, second: in each run; None where it has no such thing.
        decades: log10 of the ratio of two numbers, else None.
        likely: whether the likely cause of a run that went bad is about this.
        text: the sentence.
        setting: of the optimizer, where a hyperparameter sets just that.
    """

    topic: str
    name: str
    first: JSONScalar
    second: JSONScalar
    decades: float | None
    likely: bool
    text: str
    setting: str | None = None


@dataclass(frozen=True)
class PartingTensor:
    """A tensor that differs where two runs part: its root mean square in each."""

    kind: str
    name: str
    first: float
    second: float


@dataclass(frozen=True)
class Parting:
    """Where two runs part.

    Attributes:
        step, last_step: the steps among which it happened, of both runs.
        tensors: the first ones to differ, in causal order; NaN where non-finite.
        text: the sentence.
    """

    step: int
    last_step: int
    tensors: list[PartingTensor]
    text: str


@dataclass(frozen=True)
class Differences:
    """What two runs differ in.

    Attributes:
        differences: by topic, the order of `TOPICS`.
        parting: None where they never part, or it was not recorded.
        alike: topics that were compared and do not differ.
        notes: what could not be compared, a sentence each.
        verdict: the answer in a few sentences.
    """

    differences: list[Difference] = field(default_factory=list)
    parting: Parting | None = None
    alike: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    verdict: str = ""


def differences_of(first: Training, second: Training) -> Differences:
    """Returns what differs between two runs."""
    blamed = _blamed(first, second)
    found = [_hparams(first, second), []]
    notes = []
    compared = ["hparam"]
    if first.session is not None and second.session is not None:
        a, b = first.session, second.session
        found += [
            _optimizer(a, b),
            _texts("loss", {"loss": a.loss}, {"loss": b.loss}),
            _model(a, b),
            _data(first, second),
            _precision(a, b),
            _texts("setup", _setup(a), _setup(b)),
        ]
        compared += ["optimizer", "loss", "model", "data", "precision", "setup"]
    parting = None
    pairs = _pairs(first, second)
    if pairs is None:
        notes.append("The ranges of at least one run were not recorded.")
    else:
        found.append(_initial(pairs))
        compared.append("initial")
        parting = _parting(pairs)
    differences = _without_repeats([d for some in found for d in some])
    differences = [_marked(d, blamed) for d in differences]
    different = {d.topic for d in differences}
    return Differences(
        differences,
        parting,
        [t for t in compared if t not in different],
        notes,
        _verdict(first, second, differences, parting, pairs is not None),
    )


# --- What was chosen ------------------------------------------------------------------


def _hparams(first: Training, second: Training) -> list[Difference]:
    a = {h.name: h.value for h in first.status.hparams if h.active}
    b = {h.name: h.value for h in second.status.hparams if h.active}
    for values in (a, b):
        for name in [n for n in values if n.startswith("tuner/")]:
            del values[name]
    return _values("hparam", a, b)


def _optimizer(a: SessionRecord, b: SessionRecord) -> list[Difference]:
    return _values("optimizer", _flat(a.optimizer), _flat(b.optimizer))


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, JSONScalar]:
    """Returns a configuration without nesting; what a loss scaler wraps stands first."""
    inner = config.get("inner_optimizer")
    if isinstance(inner, dict) and isinstance(inner.get("config"), dict):
        flat = _flat({"class_name": inner.get("class_name"), **inner["config"]})
        return {**flat, "loss_scaling": True}
    flat = {}
    for name, value in config.items():
        if name == "name":  # what Keras calls the object
            continue
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        elif value is None or isinstance(value, bool | int | float | str):
            flat[f"{prefix}{name}"] = value
        else:
            flat[f"{prefix}{name}"] = str(value)
    return flat


def _setup(session: SessionRecord) -> dict[str, JSONScalar]:
    return {
        "replicas": session.replicas,
        "jit_compile": session.jit_compile,
        "steps_per_execution": session.steps_per_execution,
        **{f"{name} version": v for name, v in session.versions.items()},
    }


def _texts(
    topic: str, a: dict[str, JSONScalar], b: dict[str, JSONScalar]
) -> list[Difference]:
    return _values(topic, a, b)


def _model(a: SessionRecord, b: SessionRecord) -> list[Difference]:
    """Compares the weights' shapes: a model's own name says nothing."""

    def shape(session: SessionRecord) -> dict[str, JSONScalar]:
        weights = [p.shape for p in session.train_probes if p.kind == "weight"]
        sizes = [math.prod(n or 1 for n in s) for s in weights]
        return {
            "weights": len(weights),
            "parameters": sum(sizes),
            "shapes of the weights": ", ".join(str(s) for s in weights) or "none",
        }

    found = _values("model", shape(a), shape(b))
    # Shapes are many: they are told where the counts tell nothing.
    return [d for d in found if d.name != "shapes of the weights"] or found


def _precision(a: SessionRecord, b: SessionRecord) -> list[Difference]:
    def dtypes(session: SessionRecord) -> dict[str, JSONScalar]:
        kinds = ("activation", "prediction", "gradient", "weight")
        kept: dict[str, JSONScalar] = {"policy": session.precision}
        for kind in kinds:
            found = sorted({p.dtype for p in session.train_probes if p.kind == kind})
            kept[f"dtype of {_PLURAL[kind]}"] = ", ".join(found)
        return kept

    return _values("precision", dtypes(a), dtypes(b))


_PLURAL: Final = {
    "activation": "activations",
    "prediction": "predictions",
    "gradient": "gradients",
    "weight": "weights",
}


def _values(
    topic: str, a: dict[str, JSONScalar], b: dict[str, JSONScalar]
) -> list[Difference]:
    found = []
    for name in dict.fromkeys([*a, *b]):
        one, other = a.get(name), b.get(name)
        if not _same(one, other):
            found.append(_difference(topic, name, one, other))
    return found


def _same(a: JSONScalar, b: JSONScalar) -> bool:
    x, y = number(a), number(b)
    if math.isnan(x) or math.isnan(y):
        return type(a) is type(b) and (a == b or (x != x and y != y and a != a))
    return math.isclose(x, y, rel_tol=_SAME, abs_tol=0.0)


def _difference(
    topic: str, name: str, first: JSONScalar, second: JSONScalar, what: str = ""
) -> Difference:
    decades = _decades(number(first), number(second))
    text = f"{what or name}: {_text(first)} against {_text(second)}"
    if decades is not None and abs(decades) >= TOLERANCE:
        text += f" ({_times(decades)})"
    return Difference(topic, name, first, second, decades, False, f"{text}.")


def _decades(first: float, second: float) -> float | None:
    if not (first > 0 and second > 0 and math.isfinite(first) and math.isfinite(second)):
        return None
    return math.log10(first) - math.log10(second)


def _times(decades: float) -> str:
    factor = 10 ** min(abs(decades), 300.0)
    shown = f"{factor:,.0f}" if 9.5 <= factor < 1e6 else f"{factor:.2g}"
    return f"{shown} times as {'large' if decades > 0 else 'small'}"


def _text(value: JSONScalar) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.5g}"
    return str(value) or "none"


# --- What was measured ----------------------------------------------------------------


def _data(first: Training, second: Training) -> list[Difference]:
    """Compares shapes, dtypes and ranges of inputs, labels and sample weights."""
    found = []
    for phase in _PHASES:
        a, b = _extremes(first, phase), _extremes(second, phase)
        where = "" if phase == "train" else " of the validation data"
        for kind in ("input", "label", "sample_weight"):
            ours, theirs = a.get(kind, []), b.get(kind, [])
            if not a or not b:
                continue
            noun = kind.replace("_", " ")
            if len(ours) != len(theirs):
                found.append(
                    _difference("data", f"{kind}s", len(ours), len(theirs),
                                f"number of {noun}s{where}")
                )  # fmt: skip
                continue
            for i, (one, other) in enumerate(zip(ours, theirs, strict=True)):
                number_of = f" {i + 1}" if len(ours) > 1 else ""
                found += _of_tensor(kind, f"{noun}{number_of}{where}", one, other)
    return found


@dataclass(frozen=True)
class _Extremes:
    """What a data tensor held over the whole run."""

    dtype: str
    shape: str
    low: float
    high: float
    rms: float
    zeros: float
    bad: float


def _extremes(training: Training, phase: Phase) -> dict[str, list[_Extremes]]:
    session = training.session
    assert session is not None
    probes = _probes(session, phase)
    looks = looks_of(training.ranges, phase, len(probes))
    found: dict[str, list[_Extremes]] = {}
    for i, probe in enumerate(probes):
        if probe.kind in ("input", "label", "sample_weight") and looks:
            lows = [look.low[i] for look in looks]
            found.setdefault(probe.kind, []).append(
                _Extremes(
                    probe.dtype,
                    # The batch's size is no property of the data.
                    str(probe.shape[1:]),
                    -largest([-x for x in lows]),
                    largest([look.high[i] for look in looks]),
                    largest([look.rms[i] for look in looks]),
                    largest([look.zeros[i] for look in looks]),
                    sum(look.bad[i] for look in looks),
                )
            )
    return found


def _of_tensor(kind: str, what: str, a: _Extremes, b: _Extremes) -> list[Difference]:
    found = []

    def add(name: str, one: JSONScalar, other: JSONScalar, label: str) -> None:
        found.append(
            _difference("data", f"{kind}.{name}", one, other, f"{label} of {what}")
        )

    if a.shape != b.shape:
        add("shape", a.shape, b.shape, "shape (of a row)")
    if a.dtype != b.dtype:
        add("dtype", a.dtype, b.dtype, "dtype")
    if (a.bad > 0) != (b.bad > 0):
        add("nonfinite", int(a.bad), int(b.bad), "non-finite values seen")
    decades = _decades(a.rms, b.rms)
    if decades is not None and abs(decades) >= TOLERANCE:
        add("rms", a.rms, b.rms, "root mean square")
        add("range", _range(a), _range(b), "range")
    elif (a.low < 0) != (b.low < 0) or (a.high > 1) != (b.high > 1):
        add("range", _range(a), _range(b), "range")
    # A label or weight of zero divides; zeros among inputs are everyday.
    if kind != "input" and (a.zeros > 0) != (b.zeros > 0):
        add("zeros", a.zeros, b.zeros, "largest share of exact zeros in a batch")
    return found


def _range(e: _Extremes) -> str:
    return f"[{e.low:.3g}, {e.high:.3g}]"


def _probes(session: SessionRecord, phase: Phase) -> list[Probe]:
    return session.train_probes if phase == "train" else session.validation_probes


# --- The same tensor in both ------------------------------------------------------------


@dataclass(frozen=True)
class _Series:
    """One tensor of both runs, or the largest of a kind where their numbers differ.

    Attributes:
        kind, name: the first run's.
        first, second: root mean square by common bucket; NaN where it is non-finite.
    """

    kind: str
    name: str
    first: Any
    second: Any


@dataclass(frozen=True)
class _Pairs:
    """Tensors of both runs, in causal order, and the buckets that both have.

    Attributes:
        steps: (first, last) of each bucket.
        series: in causal order.
    """

    steps: list[tuple[int, int]]
    series: list[_Series]


# Data are compared by themselves; metrics are means over what came before.
_COMPARED: Final = (
    "activation",
    "prediction",
    "loss",
    "gradient",
    "optimizer",
    "weight",
    "layer_state",
)


def _pairs(first: Training, second: Training) -> _Pairs | None:
    if first.session is None or second.session is None:
        return None
    a, b = first.session.train_probes, second.session.train_probes
    ours = {look.step: look for look in looks_of(first.ranges, "train", len(a))}
    theirs = {look.step: look for look in looks_of(second.ranges, "train", len(b))}
    # A bucket's end follows from its beginning, except for a run's last.
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        return None
    ends = _ends(first.ranges, second.ranges)
    looks = [(ours[s], theirs[s]) for s in common]
    series = []
    for kind in _COMPARED:
        i, j = _of(kind, a), _of(kind, b)
        if not i or not j:
            continue
        if len(i) == len(j):
            series += [
                _Series(
                    kind,
                    a[x].name,
                    np.array([_size(one, [x]) for one, _ in looks]),
                    np.array([_size(other, [y]) for _, other in looks]),
                )
                for x, y in zip(i, j, strict=True)
            ]
        else:
            series.append(
                _Series(
                    kind,
                    f"the largest {kind.replace('_', ' ')}",
                    np.array([_size(one, i) for one, _ in looks]),
                    np.array([_size(other, j) for _, other in looks]),
                )
            )
    return _Pairs([(s, ends[s]) for s in common], series)


def _of(kind: str, probes: Sequence[Probe]) -> list[int]:
    """Returns the probes of a kind, but for gradients of biases.

    These are means of signed numbers, and vary from batch to batch by any factor.
    """
    return [
        i
        for i, p in enumerate(probes)
        if p.kind == kind and (kind != "gradient" or len(p.shape) >= 2)
    ]


def _ends(*runs: Sequence[RangesRecord]) -> dict[int, int]:
    ends: dict[int, int] = {}
    for records in runs:
        for record in records:
            if record.phase == "train":
                for start, end in record.steps.tolist():
                    ends[start] = min(end, ends.get(start, end))
    return ends


def _size(look: Look, indices: Sequence[int]) -> float:
    """Returns the largest root mean square; NaN where any was non-finite."""
    if look.bad[list(indices)].any():
        return math.nan
    return largest(look.rms[list(indices)])


def _initial(pairs: _Pairs) -> list[Difference]:
    """Compares what the first step computed before any update."""
    if pairs.steps[0][0] != 0:
        return []
    found = []
    for s in pairs.series:
        if s.kind not in ("activation", "prediction", "loss", "gradient"):
            continue
        one, other = float(s.first[0]), float(s.second[0])
        if _part(one, other, one, other):
            what = f"{_tensor_name(s)} in the first step, before any update"
            found.append(_difference("initial", f"{s.kind}.{s.name}", one, other, what))
    if len(found) <= _MAX_TENSORS:
        return found
    # The first in causal order, and those that differ most of the others.
    rest = sorted(found[1:], key=lambda d: -abs(d.decades or math.inf))
    kept = [found[0], *rest[: _MAX_TENSORS - 1]]
    return [d for d in found if d in kept]


def _part(one: float, other: float, first_one: float, first_other: float) -> bool:
    """Returns whether two sizes are apart, given what both began with."""
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) != math.isnan(other)
    high, low = max(one, other), min(one, other)
    begun = largest([first_one, first_other])
    if not high > 0 or (begun > 0 and high < _SMALL * begun):
        return False
    return low <= 0 or math.log10(high / low) >= TOLERANCE


def _parting(pairs: _Pairs) -> Parting | None:
    """Returns the first bucket from which on a tensor of both differs."""
    last = len(pairs.steps) - 1
    for n, (start, end) in enumerate(pairs.steps):
        apart = []
        for s in pairs.series:
            begun = (float(s.first[0]), float(s.second[0]))
            now = _part(float(s.first[n]), float(s.second[n]), *begun)
            # One odd batch is no parting.
            after = min(n + 1, last)
            if now and _part(float(s.first[after]), float(s.second[after]), *begun):
                apart.append(s)
        if apart:
            tensors = [
                PartingTensor(s.kind, s.name, float(s.first[n]), float(s.second[n]))
                for s in apart[:_MAX_TENSORS]
            ]
            return Parting(start, end, tensors, _parting_text(start, end, apart, n))
    return None


def _parting_text(start: int, end: int, apart: Sequence[_Series], n: int) -> str:
    where = f"at step {start}" if start == end else f"between steps {start} and {end}"
    s = apart[0]
    more = f" (and {len(apart) - 1} more)" if len(apart) > 1 else ""
    before = (
        "; what comes before it in the step is alike" if s.kind != "activation" else ""
    )
    return (
        f"They part {where}: {_tensor_name(s)} has root mean square "
        f"{_rms_text(float(s.first[n]))} against {_rms_text(float(s.second[n]))}"
        f"{more}{before}."
    )


def _rms_text(value: float) -> str:
    return "non-finite" if math.isnan(value) else f"{value:.3g}"


def _tensor_name(s: _Series) -> str:
    return s.name if s.name.startswith("the largest ") else probe_text(s.kind, s.name)


# --- What it comes to -----------------------------------------------------------------


def _without_repeats(differences: list[Difference]) -> list[Difference]:
    """Leaves out settings of the optimizer that a hyperparameter has told already."""
    told = [d for d in differences if d.topic == "hparam"]
    kept = []
    for d in differences:
        twin = next(
            (
                t
                for t in told
                if d.topic == "optimizer"
                and _close(d.first, t.first)
                and _close(d.second, t.second)
            ),
            None,
        )
        if twin is None:
            kept.append(d)
        elif twin in kept:
            text = f"{twin.text[:-1]}; it is the optimizer's {d.name}."
            kept[kept.index(twin)] = replace(twin, setting=d.name, text=text)
    return kept


def _close(a: JSONScalar, b: JSONScalar) -> bool:
    # The optimizer holds float32, a hyperparameter float64.
    x, y = number(a), number(b)
    if math.isnan(x) or math.isnan(y):
        return isinstance(a, str) and isinstance(b, str) and a.lower() == b.lower()
    return not isinstance(a, bool) and math.isclose(x, y, rel_tol=1e-5)


def _blamed(first: Training, second: Training) -> list[str]:
    """Returns what the likely cause is about, where exactly one run went bad."""
    if first.bad == second.bad:
        return []
    causes = (first if first.bad else second).causes
    return list(_ABOUT.get(causes[0].id, ())) if causes else []


def _marked(d: Difference, blamed: Sequence[str]) -> Difference:
    key = f"optimizer.{d.setting}" if d.setting else f"{d.topic}.{d.name}"
    likely = any(f"{key}.".startswith(f"{b}.") for b in blamed)
    return replace(d, likely=likely)


def _verdict(
    first: Training,
    second: Training,
    differences: Sequence[Difference],
    parting: Parting | None,
    recorded: bool,
) -> str:
    sentences = [f"{_fate(first)}; {_fate(second)}."]
    if first.bad != second.bad:
        bad = first if first.bad else second
        cause = bad.causes[0] if bad.causes else None
        if cause is None or cause.id == "unknown":
            sentences.append("The record does not decide the cause.")
        else:
            name = cause.id.replace("_", " ")
            sure = f"Likely cause: {name} ({cause.confidence:.2f})"
            likely = [d for d in differences if d.likely]
            if likely:
                sentences.append(
                    f"{sure}, which goes with a difference: {likely[0].text}"
                )
            else:
                sentences.append(
                    f"{sure}; nothing that differs is about that by itself, so it takes "
                    "effect together with what differs."
                    if differences
                    else f"{sure}, but the two do not differ in anything that was recorded."
                )
    elif first.bad:
        sentences.append("Both went bad: a run that works would tell more beside one.")
    else:
        sentences.append("Neither went bad.")
    if parting is not None:
        sentences.append(parting.text)
    elif recorded:
        sentences.append("They never part in what both have recorded.")
    return " ".join(sentences)


def _fate(training: Training) -> str:
    status = training.status
    text = f"{training.name} is {status.status.replace('_', ' ')}"
    if training.bad:
        text = text.replace(" is diverged", " diverged").replace(
            " is runaway", " ran away"
        )
        text = text.replace(" is score lost", " lost its score")
        if status.onset is not None:
            text += f" at {position_text(status.onset)}"
    return text
