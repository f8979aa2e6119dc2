"""One fault in a training, and an oracle that knows nothing of NaN Watch.

What is put into the data is counted with NumPy. What a weight or an overflow does to its
layer's output is counted in a twin of the model, which computes that output eagerly
from the state and the batch of the very step.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tests.identity.architectures import Spec, build
from tests.identity.training import Data, Mode, Trained, arrays, fresh, train

L = keras.layers
VALUES = {"nan": np.nan, "+inf": np.inf, "-inf": -np.inf}
DATA = ("input", "label", "sample_weight")


@dataclass(frozen=True)
class Fault:
    """What goes wrong, where and when.

    Attributes:
        kind: "data", "validation data", "weight" or "overflow".
        epoch, batch: when; the first batch of an execution, where several steps are one.
        value: a key of `VALUES`.
        count: how many elements.
        pick: decides which.
    """

    kind: str
    epoch: int
    batch: int
    value: str
    count: int
    pick: int


@dataclass
class Seen:
    """The first bad tensor: as expected, or as recorded.

    Attributes:
        phase, step: when.
        kind, name: which.
        counts: of NaN, infinity and minus infinity.
        unsure: elements, in the oracle, that another order of rounding may take across
            the edge of what overflows.
    """

    phase: str
    step: int
    kind: str
    name: str
    counts: tuple[int, int, int]
    unsure: int = 0

    def agrees(self, found: Seen | None) -> bool:
        """Returns whether the oracle and what was recorded say the same."""
        return (
            found is not None
            and (self.phase, self.step) == (found.phase, found.step)
            and (self.kind, self.name) == (found.kind, found.name)
            and all(
                abs(a - b) <= self.unsure
                for a, b in zip(self.counts, found.counts, strict=True)
            )
        )


def draw_fault(spec: Spec) -> tuple[Spec, Fault]:
    """Returns a fault for a spec, and the spec changed so that the step is known."""
    r = random.Random(spec.seed)
    # Batches come in order; a loss scale that overflows by design would be found first.
    spec = replace(
        spec, shuffle=False, loss_scale=spec.loss_scale or spec.policy == "mixed_float16"
    )
    if spec.source == "endless" and spec.steps % spec.steps_per_execution:
        spec = replace(spec, steps_per_execution=1)  # else epochs begin anywhere
    kinds = ["data", "weight", "overflow"]
    if spec.validation and not spec.tokens:
        kinds.append("validation data")
    kind = r.choice(kinds)
    if kind == "data" and not float_data(spec):
        kind = "weight"
    batches = range(0, spec.steps, spec.steps_per_execution)
    # Not in the first one, at which some models are built.
    places = [(e, b) for e in range(spec.epochs) for b in batches][1:]
    epoch, batch = r.choice(places)
    if kind == "data":  # the arrays are the same in each epoch
        epoch = 0
        batch = r.randrange(spec.steps)
    elif kind == "validation data":
        epoch = 0
        batch = r.randrange(-(-spec.validation // spec.batch))
    value = r.choice(list(VALUES))
    return spec, Fault(
        kind, epoch, batch, value, r.choice((1, 1, 2, 3)), r.randrange(997)
    )


def float_data(spec: Spec) -> list[int]:
    """Returns the places in `Data` of what can hold a NaN."""
    found = [] if spec.tokens else [0]
    if spec.task == "regression":
        found.append(1)
    return [*found, 2] if spec.weights == "sample" else found


# --- Injecting ------------------------------------------------------------------


class Amplifier(keras.Layer):
    """Multiplies by two factors, which are 1 until a fault makes them large.

    One factor would leave small values finite. Zeros stay zeros: TensorFlow multiplies
    the factors first where it compiles a graph, and they overflow.
    """

    def __init__(self) -> None:
        super().__init__(name="amplifier")
        self.supports_masking = True

    def build(self, shape: Any) -> None:
        self.factors = [
            self.add_weight(
                shape=(), initializer="ones", trainable=False, name=f"factor{i}"
            )
            for i in range(2)
        ]

    def call(self, x: Any) -> Any:
        return keras.ops.where(x == 0, x, (x * self.factors[0]) * self.factors[1])


class Saboteur(keras.callbacks.Callback):
    """Puts the fault in before its step, and keeps the state that the step begins with."""

    def __init__(self, spec: Spec, fault: Fault) -> None:
        super().__init__()
        self._spec, self._fault = spec, fault
        self._epoch = 0
        self.state: list[Any] | None = None
        self.place = ""  # path of the layer that goes bad
        self.weight = "", (0, 0, 0)  # the weight that was spoilt, and its counts
        self.is_first = True  # nothing had gone bad before

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        fault = self._fault
        if (self._epoch, batch) != (fault.epoch, fault.batch):
            return
        before = [np.array(v.value.numpy()) for v in self.model.variables]
        self.is_first = all(np.isfinite(v.astype(np.float64)).all() for v in before)
        if fault.kind == "overflow":
            self.place, layer = next(
                (p, la) for p, la in walk(self.model) if isinstance(la, Amplifier)
            )
            for factor in layer.factors:
                factor.assign(LARGE[self._spec.policy])
        elif fault.kind == "weight":
            self.place, weight = self._weight()
            value = np.array(weight.value.numpy())
            spoil(value, fault, center=value.ndim == 4)
            weight.assign(value)
            self.weight = f"{self.place}/{weight.name}", counts(value)
        self.state = [np.array(v.value.numpy()) for v in self.model.variables]

    def _weight(self) -> tuple[str, Any]:
        """Returns a weight whose layer's output shows the fault, whoever computes it.

        An activation within the layer may do anything with a NaN, and does: it differs
        between TensorFlow's kernels and XLA's.
        """
        candidates = []
        for path, layer in walk(self.model):
            linear = getattr(layer, "activation", None) in (
                None,
                keras.activations.linear,
            )
            kinds = (L.Dense, L.EinsumDense, L.Conv2D, L.Embedding, L.LayerNormalization)
            if type(layer) in kinds and linear and layer.trainable_variables:
                candidates += [(path, v) for v in layer.trainable_variables]
        return candidates[self._fault.pick % len(candidates)]


LARGE = {"float32": 1e30, "bfloat16": 1e30, "mixed_float16": 6e4, "float64": 1e200}


def spoil(value: Any, fault: Fault, center: bool = False) -> None:
    """Writes the fault into an array.

    Args:
        value: the array.
        fault: says what, how often and where.
        center: only what meets every pixel: the middle of a convolution's kernel. Of
            the rest it depends on the implementation whether it meets the padding.
    """
    if center:
        value = value[value.shape[0] // 2, value.shape[1] // 2]
    index = (fault.pick + np.arange(fault.count)) % value.size
    value[np.unravel_index(index, value.shape)] = VALUES[fault.value]


def walk(layer: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields each layer of a model with its path, as `model.summary()` nests them."""
    children = layer.layers if isinstance(layer, keras.Model) else layer._layers
    for child in children:
        if isinstance(child, L.InputLayer):
            continue
        name = f"{path}/{child.name}" if path else child.name
        yield name, child
        yield from walk(child, name)


# --- The oracle -----------------------------------------------------------------


def counts(value: Any) -> tuple[int, int, int]:
    value = np.asarray(value).astype(np.float64)
    return (
        int(np.isnan(value).sum()),
        int(np.isposinf(value).sum()),
        int(np.isneginf(value).sum()),
    )


def batch_of(spec: Spec, data: Data, fault: Fault) -> Data:
    begin = fault.batch * spec.batch
    return tuple(part[begin : begin + spec.batch] for part in data)


def in_data(spec: Spec, fault: Fault, data: Data) -> Seen:
    """Puts the fault into the data of its batch, and returns what must be found."""
    places = [0] if fault.kind == "validation data" else float_data(spec)
    place = places[fault.pick % len(places)]
    part = batch_of(spec, data, fault)[place]  # a view
    spoil(part, fault)
    name = DATA[place]
    if fault.kind == "data":
        return Seen("train", fault.batch, name, name, counts(part))
    return Seen("validation", spec.steps, name, name, counts(part))


def by_twin(spec: Spec, fault: Fault, saboteur: Saboteur) -> Seen:
    """Computes the layer's output eagerly, and returns what must be found."""
    with fresh(spec), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it warns of, training has warned of
        model = build(spec, amplified(fault))
        x = batch_of(spec, arrays(spec, spec.examples, 1), fault)[0]
        model(x)  # builds it, where it is not
        assert saboteur.state is not None
        # The model that was trained also has its metrics' variables, which come last.
        for variable, value in zip(model.variables, saboteur.state, strict=False):
            variable.assign(value)
        layer = dict(walk(model))[saboteur.place]
        inputs: list[Any] = []
        outputs: list[Any] = []
        call = layer.call

        def kept(*args: Any, **kwargs: Any) -> Any:
            inputs[:] = args
            outputs.append(call(*args, **kwargs))
            return outputs[-1]

        layer.__dict__["call"] = kept
        model(x, training=True)
    step = fault.epoch * spec.steps + fault.batch
    found = counts(keras.ops.convert_to_numpy(keras.ops.cast(outputs[0], "float64")))
    if fault.kind == "weight" and not any(found):
        # Rows of an embedding that the batch does not look up.
        return Seen("train", step, "weight", *saboteur.weight)
    unsure = near_zero(inputs[0]) if fault.kind == "overflow" else 0
    return Seen("train", step, "activation", saboteur.place, found, unsure)


def near_zero(tensor: Any) -> int:
    """Returns how many elements are so small beside the others that rounding makes them."""
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    rounding = {"float16": 2.0**-8, "bfloat16": 2.0**-5, "float32": 2.0**-20}
    sizes = np.abs(keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float64")))
    edge = rounding.get(dtype, 2.0**-48) * np.max(sizes, initial=0.0)
    return int(((sizes > 0) & (sizes < edge)).sum())


def amplified(fault: Fault) -> list[Any]:
    return [Amplifier] if fault.kind == "overflow" else []


def recorded(trained: Trained, expected: Seen) -> Seen | None:
    """Returns the first bad tensor that NaN Watch recorded at the fault's step."""
    assert trained.log is not None
    for episode in trained.log.episodes:
        if (episode.start.phase, episode.start.step) == (expected.phase, expected.step):
            tensor = episode.tensors[episode.new[0] if episode.new else 0]
            bad = tensor.num_nan, tensor.num_pos_inf, tensor.num_neg_inf
            start = episode.start
            return Seen(start.phase, start.step, tensor.kind, tensor.name, bad)
    return None


@dataclass
class Injected:
    """What came of a training with a fault.

    Attributes:
        fault: which.
        expected: what must be found.
        found: what was; None where no episode begins at the step.
        said: what was said in watching that is no word on the fault.
    """

    fault: Fault
    expected: Seen
    found: Seen | None
    said: list[str]

    def __str__(self) -> str:
        verdict = "found" if self.expected.agrees(self.found) else "NOT FOUND"
        return f"{verdict}: {self.fault}\n  expected {self.expected}\n  found    {self.found}"


def inject(spec: Spec, mode: Mode, log_dir: Path | None) -> Injected | None:
    """Trains with a fault.

    Args:
        spec: what; the fault is drawn from its seed.
        mode: how.
        log_dir: where NaN Watch logs to; without it nothing is watched.

    Returns:
        None where nothing is watched, or the training went bad before its fault.
    """
    spec, fault = draw_fault(spec)
    saboteur = Saboteur(spec, fault)
    expected: list[Seen] = []

    def change(data: Data, validation: Data | None) -> None:
        if fault.kind == "data":
            expected.append(in_data(spec, fault, data))
        elif fault.kind == "validation data":
            assert validation is not None
            expected.append(in_data(spec, fault, validation))

    trained = train(
        spec, mode, log_dir, callbacks=[saboteur], change=change, extra=amplified(fault)
    )
    if log_dir is None or not saboteur.is_first:
        return None
    must = expected[0] if expected else by_twin(spec, fault, saboteur)
    said = [s for s in trained.said if s.startswith("NanWatch:")]
    return Injected(fault, must, recorded(trained, must), said)
