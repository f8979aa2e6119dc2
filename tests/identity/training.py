"""Trains what a `Spec` says, plain and watched, and says where the two part."""

from __future__ import annotations

import contextlib
import gc
import io
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import keras
import numpy as np

from tb_nanwatch import NanWatch, NanWatchWarning
from tests.identity.architectures import CLASSES, Spec, build, compile_options
from tests.writing.logs import Log, read_log

Mode = Literal["graph", "xla", "eager"]
MODES: Final[tuple[Mode, ...]] = ("graph", "xla", "eager")
Data = tuple[Any, ...]


class NotCompiledError(Exception):
    """Keras itself does not let XLA compile the model."""


@dataclass
class Trained:
    """What a training left behind.

    Attributes:
        epochs: the variables after each epoch: (what it is, its name) to its value.
        history: as `fit` returned it.
        randomness: what each source of random numbers gives next.
        said: the warnings, each once, and what was printed to standard error.
        log: what NaN Watch wrote, where it watched.
    """

    epochs: list[dict[tuple[str, str], Any]] = field(default_factory=list)
    history: dict[str, list[Any]] = field(default_factory=dict)
    randomness: dict[str, Any] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    log: Log | None = None


@dataclass(frozen=True)
class Difference:
    """Where one training is not the other.

    Attributes:
        what: "weights", "layer state", "optimizer", "history", "validation", "random
            state", or "names" (of the variables).
        epoch: from 0; -1 for after the training.
        name: of the variable, the metric, or the source of random numbers.
        elements, size: how many of its elements differ, and how many it has.
        relative: the largest |difference| by the largest |value|.
    """

    what: str
    epoch: int
    name: str
    elements: int
    size: int
    relative: float

    def __str__(self) -> str:
        when = "after training" if self.epoch < 0 else f"epoch {self.epoch + 1}"
        return (
            f"{when}, {self.what}: {self.name}, {self.elements} of {self.size} elements, "
            f"relative {self.relative:.1e}"
        )


# --- Data ---------------------------------------------------------------------


def arrays(spec: Spec, n: int, seed: int) -> Data:
    """Returns inputs and labels, and weights where the spec has some for each example."""
    rng = np.random.default_rng([spec.seed, seed])
    real = "float64" if spec.policy == "float64" else "float32"
    if spec.tokens:
        x = rng.integers(0, spec.tokens, (n, *spec.shape)).astype("int32")
    else:
        x = rng.normal(size=(n, *spec.shape)).astype(real)
    if spec.task == "regression":
        y = rng.normal(size=(n, 1)).astype(real)
    elif spec.task == "binary":
        y = rng.integers(0, 2, (n, 1)).astype(real)
    else:
        y = rng.integers(0, CLASSES, (n, 1)).astype("int32")
    if spec.weights == "sample":
        return x, y, rng.uniform(0.5, 1.5, n).astype(real)
    return x, y


def fit_options(spec: Spec, data: Data, validation: Data | None) -> dict[str, Any]:
    """Returns the arguments of `fit` that the spec decides."""
    options: dict[str, Any] = {"epochs": spec.epochs, "verbose": 0}
    if spec.source == "arrays":
        options |= dict(zip(("x", "y", "sample_weight"), data, strict=False))
        options |= {"batch_size": spec.batch, "shuffle": spec.shuffle}
    else:
        options["x"] = _batches(spec, data)
        if spec.source == "endless":
            options["steps_per_epoch"] = spec.steps
    if validation is not None:
        options |= {"validation_data": validation, "validation_batch_size": spec.batch}
    if spec.weights == "class":
        n = CLASSES if spec.task == "classes" else 2
        options["class_weight"] = {i: 0.5 + i for i in range(n)}
    return options


def _batches(spec: Spec, data: Data) -> Any:
    """Returns the batches of an epoch, or of all; of `tf.data` where that is at hand."""
    if keras.backend.backend() != "tensorflow":
        return (
            _endless(data, spec.batch) if spec.source == "endless" else Once(data, spec)
        )
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices(data).batch(spec.batch)
    return dataset.repeat() if spec.source == "endless" else dataset


def _endless(data: Data, size: int) -> Iterator[Data]:
    while True:
        for at in range(0, len(data[0]), size):
            yield tuple(part[at : at + size] for part in data)


class Once(keras.utils.PyDataset):
    """The batches of one epoch, the last one smaller."""

    def __init__(self, data: Data, spec: Spec) -> None:
        super().__init__()
        self._data, self._size = data, spec.batch

    def __len__(self) -> int:
        return -(-len(self._data[0]) // self._size)

    def __getitem__(self, number: int) -> Data:
        at = number * self._size
        return tuple(part[at : at + self._size] for part in self._data)


# --- Training -----------------------------------------------------------------


class Recorder(keras.callbacks.Callback):
    """Keeps a copy of every variable at the end of each epoch."""

    def __init__(self, trained: Trained) -> None:
        super().__init__()
        self._trained = trained

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._trained.epochs.append(values_of(self.model))


def values_of(model: Any) -> dict[tuple[str, str], Any]:
    """Returns a copy of all variables of a model and its optimizer, in order."""
    trainable = {id(v) for v in model.trainable_variables}
    groups = [
        *(
            ("weights" if id(v) in trainable else "layer state", v)
            for v in model.variables
        ),
        *(("layer state", v) for v in model.metrics_variables),
        *(("optimizer", v) for v in model.optimizer.variables),
    ]
    values: dict[tuple[str, str], Any] = {}
    seen: set[int] = set()
    for what, variable in groups:
        if id(variable) in seen:
            continue
        seen.add(id(variable))
        name, number = variable.path, 1
        while (what, name) in values:  # two of one path
            number += 1
            name = f"{variable.path}~{number}"
        values[what, name] = np.array(keras.ops.convert_to_numpy(variable.value))
    return values


def randomness() -> dict[str, Any]:
    """Returns what the sources of random numbers give next; they go on from there."""
    found = {
        "random": random.random(),
        "numpy.random": np.random.rand(),  # noqa: NPY002, the state that programs share
    }
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        generator = tf.random.get_global_generator()
        found["tf.random"] = tf.random.uniform(()).numpy()
        found["tf.random.get_global_generator"] = generator.state.numpy()
    found["keras.random"] = keras.ops.convert_to_numpy(keras.random.uniform(()))
    return found


@contextlib.contextmanager
def fresh(spec: Spec) -> Iterator[None]:
    """Begins as a new process would, and leaves nothing behind."""
    keras.backend.clear_session()
    gc.collect()
    keras.utils.set_random_seed(spec.seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.random.set_global_generator(tf.random.Generator.from_seed(spec.seed))
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")


def compiled(spec: Spec, mode: Mode, extra: Sequence[Callable[[], Any]] = ()) -> Any:
    """Returns the spec's model, compiled for a mode.

    Args:
        spec: what to build.
        mode: how it is run.
        extra: make layers that are put behind the first one.

    Raises:
        NotCompiledError: the mode is XLA, and Keras finds that it cannot be.
    """
    model = build(spec, extra)
    options = compile_options(spec)
    if mode != "xla":
        model.compile(**options, run_eagerly=mode == "eager")
        return model
    # Here alone: it needs TensorFlow.
    from tests.support.gpu_default import gpu_default

    with gpu_default():
        model.compile(**options)
    if not model.jit_compile:
        raise NotCompiledError("Keras does not compile this model with XLA")
    return model


def train(
    spec: Spec,
    mode: Mode,
    log_dir: Path | None = None,
    callbacks: Sequence[Any] = (),
    change: Callable[[Data, Data | None], None] = lambda data, validation: None,
    extra: Sequence[Callable[[], Any]] = (),
) -> Trained:
    """Trains once, in a Keras that is as new.

    Args:
        spec: what.
        mode: how it is run.
        log_dir: where NaN Watch logs to; without, it does not watch.
        callbacks: further ones.
        change: changes the data of training and validation in place.
        extra: make layers that are put behind the first one.
    """
    trained = Trained()
    printed = io.StringIO()
    with fresh(spec), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = compiled(spec, mode, extra)
        data = arrays(spec, spec.examples, 1)
        validation = arrays(spec, spec.validation, 2) if spec.validation else None
        change(data, validation)
        watch = [NanWatch(log_dir)] if log_dir is not None else []
        with contextlib.redirect_stderr(printed):
            history = model.fit(
                **fit_options(spec, data, validation),
                callbacks=[*watch, *callbacks, Recorder(trained)],
            )
        trained.history = history.history
        trained.randomness = randomness()
    # What NaN Watch warns of is told apart from what everybody is warned of.
    said = [
        f"{'NanWatch' if issubclass(w.category, NanWatchWarning) else 'warning'}: "
        f"{w.message}"
        for w in caught
    ]
    trained.said = list(dict.fromkeys([*said, *printed.getvalue().splitlines()]))
    if log_dir is not None:
        trained.log = read_log(log_dir)
    return trained


# --- Comparing ----------------------------------------------------------------


def differences(one: Trained, other: Trained) -> list[Difference]:
    """Returns where two trainings part, in order: epoch by epoch, then at the end."""
    found: list[Difference] = []
    for epoch, (a, b) in enumerate(zip(one.epochs, other.epochs, strict=True)):
        found += _compare_values(epoch, a, b)
        found += _compare_values(
            epoch, _metrics(one.history, epoch), _metrics(other.history, epoch)
        )
    sources = (
        {("random state", k): v for k, v in t.randomness.items()} for t in (one, other)
    )
    return found + _compare_values(-1, *sources)


def _metrics(history: dict[str, list[Any]], epoch: int) -> dict[tuple[str, str], Any]:
    return {
        ("validation" if name.startswith("val_") else "history", name): values[epoch]
        for name, values in history.items()
    }


def _compare_values(
    epoch: int, a: dict[tuple[str, str], Any], b: dict[tuple[str, str], Any]
) -> list[Difference]:
    found = []
    if len(a) == len(b):
        # In order: a variable that has another name is compared all the same.
        renamed = [f"{n[1]} or {m[1]}" for n, m in zip(a, b, strict=True) if n != m]
        if renamed:
            found.append(
                Difference("names", epoch, renamed[0], len(renamed), len(a), 0.0)
            )
        b = dict(zip(a, b.values(), strict=True))
    for what, name in dict.fromkeys([*a, *b]):
        if (what, name) not in a or (what, name) not in b:
            found.append(Difference(what, epoch, f"{name} (in one alone)", 1, 1, np.inf))
            continue
        left, right = np.asarray(a[what, name]), np.asarray(b[what, name])
        if left.dtype != right.dtype or left.shape != right.shape:
            found.append(Difference(what, epoch, f"{name} (its shape)", 1, 1, np.inf))
        elif left.tobytes() != right.tobytes():
            found.append(Difference(what, epoch, name, *_size_of(left, right)))
    return found


def _size_of(left: Any, right: Any) -> tuple[int, int, float]:
    """Returns how many elements differ, of how many, and by how much relative to the largest."""
    width = left.dtype.itemsize
    bits = [np.ascontiguousarray(a).reshape(-1).view(np.uint8) for a in (left, right)]
    differ = (bits[0].reshape(-1, width) != bits[1].reshape(-1, width)).any(axis=1)
    one, two = left.astype(np.float64), right.astype(np.float64)
    finite = np.isfinite(one) & np.isfinite(two)
    if (np.isfinite(one) != np.isfinite(two)).any():
        return int(differ.sum()), left.size, np.inf
    both = np.abs([one[finite], two[finite]])
    largest = max(both.max(initial=0), np.finfo(np.float64).tiny)
    gap = np.abs(one[finite] - two[finite]).max(initial=0)
    return int(differ.sum()), left.size, float(gap / largest)
