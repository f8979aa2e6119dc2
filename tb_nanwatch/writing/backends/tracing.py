# SPDX-License-Identifier: Apache-2.0
"""The tensors that are met while a step is traced, or run eagerly."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import keras

from tb_nanwatch.compat.keras import own_variables
from tb_nanwatch.record.schema import KINDS, Kind, Probe
from tb_nanwatch.writing.backends.names import (
    has_keras_step,
    no_slots,
    optimizers,
    walk,
)

# Kinds whose integer tensors are watched too: labels can be out of range.
_DATA: Final = ("input", "label", "sample_weight")
# Calls of one layer in one step that get a probe each (unrolled recurrences).
MAX_CALLS: Final = 64


@dataclass
class Found:
    """A tensor met while the step is traced.

    Attributes:
        kind, name, layer: as of its `Probe`.
        tensor: of the step's graph, or eager.
        update: which of the step's updates it goes into, or is of; one that comes after
            the last is counted to that.
    """

    kind: Kind
    name: str
    layer: str
    tensor: Any
    update: int = 0

    def probe(self) -> Probe:
        """Returns the probe that stands for it in the record."""
        shape = self.tensor.shape
        # TensorFlow alone has shapes of an unknown rank.
        dims = [] if getattr(shape, "rank", 0) is None else list(shape)
        dtype = dtype_name(self.tensor)
        return Probe(self.kind, self.name, self.layer, dtype, dims)


def in_causal_order(found: Sequence[Found]) -> list[Found]:
    """Returns what was met, kind by kind; within a kind the order of calls stays.

    Where a step has several updates, as with an optimizer for each of two networks, all
    that goes into the first one comes before what was computed after it.
    """
    last = max((f.update for f in found if f.kind == "gradient"), default=0)
    return sorted(found, key=lambda f: (min(f.update, last), KINDS.index(f.kind)))


def dtype_name(tensor: Any) -> str:
    """Returns the name of a tensor's dtype: "float32", on every backend."""
    dtype = tensor.dtype
    return str(getattr(dtype, "name", dtype)).removeprefix("torch.")


@dataclass
class _Trace(threading.local):
    """What one thread has met of the step that it is tracing (or running)."""

    graph: Any = None
    found: list[Found] | None = None
    calls: dict[str, int] = field(default_factory=dict)
    # Layers met in another graph: in a loop or branch, or while shapes are inferred.
    inner: set[str] = field(default_factory=set)
    # Ids of what the step handed on as labels or their weights, and whether the batch has
    # three parts of which that is not sure.
    labels: set[int] = field(default_factory=set)
    is_triple: bool = False
    # Updates so far.
    update: int = 0


class Tracer:
    """Collects the tensors of the step that the calling thread is tracing, or running.

    A backend says what its tensors are: the methods under "What a backend says" are those
    of one that runs eagerly, apart from `tensor_of`, `can_be_bad` and `is_integer`.

    Args:
        model: the model that is being fitted.
        note: receives, in words, what cannot be watched.
    """

    def __init__(self, model: Any, note: Callable[[str], None]) -> None:
        self._model = model
        self._note = note
        # Whether `fit` was told which part of a batch is what.
        self.labelled = False
        self._trace = _Trace()
        self._variables: dict[int, tuple[Kind, str, str]] = {}

    # --- What a backend says ----------------------------------------------------

    def tensor_of(self, value: Any) -> Any:
        """Returns the tensor whose elements are the value's, None where it has none.

        Of a variable it is the value that it has now.
        """
        raise NotImplementedError

    def can_be_bad(self, tensor: Any) -> bool:
        """Returns whether the tensor's dtype has non-finite values."""
        raise NotImplementedError

    def is_integer(self, tensor: Any) -> bool:
        """Returns whether the tensor is of integers."""
        raise NotImplementedError

    def scope(self) -> Any:
        """Returns what is being traced now (a graph), None where operations run eagerly."""
        return None

    def is_of(self, tensor: Any, scope: Any) -> bool:
        """Returns whether a tensor belongs to what `scope` returned as the step began."""
        return True

    def places(self, scope: Any) -> Callable[[Any], int]:
        """Returns what tells the place of a tensor in the order in which they were made.

        An eager backend does not know it: all are of one place.
        """
        return lambda tensor: 0

    # --- Tracing ----------------------------------------------------------------

    @contextlib.contextmanager
    def tracing(self) -> Iterator[list[Found]]:
        """Collects what is met within, in the graph that is being built."""
        trace = self._trace
        outer = (trace.graph, trace.found, trace.calls, trace.inner)
        trace.graph = self.scope()
        found: list[Found] = []
        trace.found, trace.calls, trace.inner = found, {}, set()
        trace.labels, trace.is_triple, trace.update = set(), False, 0
        try:
            yield found
        finally:
            trace.graph, trace.found, trace.calls, trace.inner = outer

    @property
    def active(self) -> bool:
        """Whether the calling thread is within `tracing`."""
        return self._trace.found is not None

    @property
    def found(self) -> list[Found]:
        """What was met so far."""
        return self._trace.found or []

    @property
    def in_step(self) -> bool:
        """Whether the calling thread is in the step itself, not in a loop or branch."""
        return self.active and self.scope() is self._trace.graph

    def name_variables(self) -> None:
        """Learns the names of the variables of all layers there are."""
        self._variables = {}
        for path, layer in walk(self._model):
            weights, state = own_variables(layer)
            lists: tuple[tuple[Kind, Any], ...] = (
                ("weight", weights),
                ("layer_state", state),
            )
            for kind, variables in lists:
                for variable in variables:
                    name = f"{path}/{variable.name}" if path else variable.name
                    self._variables.setdefault(id(variable), (kind, name, path))

    def _known(self, variable: Any) -> tuple[Kind, str, str]:
        """Returns the kind, name and layer path of a model's variable."""
        if id(variable) not in self._variables:
            self.name_variables()  # of a layer that was built at the first batch
        kind: Kind = "weight" if variable.trainable else "layer_state"
        return self._variables.get(id(variable), (kind, variable.path, ""))

    def is_triple(self, data: Any) -> bool:
        """Returns whether a batch has three parts of which it is not known what they are."""
        return (
            not self.labelled
            and isinstance(data, tuple | list)
            and len(data) == 3
            and not has_keras_step(self._model)
        )

    # --- What is met ----------------------------------------------------------

    def add_data(self, data: Any) -> None:
        """Adds the batch as `train_step` received it."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        self._trace.is_triple = self.is_triple(data)
        parts: tuple[tuple[Kind, Any], ...] = (
            ("input", x),
            ("label", y),
            ("sample_weight", sample_weight),
        )
        for kind, tree in parts:
            self.add_outputs(kind, kind, "", tree)

    def add_loss(self, loss: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Adds what `compute_loss` returned, and learns what it was given."""
        given = dict(zip(("x", "y", "y_pred", "sample_weight"), args, strict=False))
        given.update(kwargs)
        self._are_labels(given.get("y"), given.get("sample_weight"))
        if loss is not None:
            self.add("loss", "total", "", loss)

    def add_loss_values(
        self, name: str, values: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        """Adds the values of the loss called `name`, and learns what it was given."""
        self._are_labels(args[0] if args else kwargs.get("y_true"))
        self.add("loss", self.numbered("loss", name), "", values)

    def _are_labels(self, *trees: Any) -> None:
        if self._trace.is_triple:  # else nothing asks for them
            self._trace.labels.update(id(leaf) for leaf in keras.tree.flatten(trees))

    def seen_layers(self) -> set[str]:
        """Returns the layers of which something was met in the step itself."""
        return {f.layer for f in self.found}

    def finish(self) -> None:
        """Says that the step is over: names what could not be named before."""
        trace = self._trace
        for name in sorted(trace.inner - self.seen_layers() - {""}):
            self._note(f"{name!r} is called in a loop or branch, where it is not watched")
        data = [f for f in self.found if f.kind in _DATA]
        if trace.is_triple and not any(id(f.tensor) in trace.labels for f in data):
            # A step of the user's own takes it for three inputs, or does not tell.
            for f in data:
                place = _DATA.index(f.kind)
                f.name = f"input[{place}]" + f.name.removeprefix(f.kind)
                f.kind = "input"

    def add_gradients(self, gradients: Sequence[Any], variables: Sequence[Any]) -> None:
        """Adds gradients in the order in which they are computed: backwards."""
        pairs = list(zip(gradients, variables, strict=False))
        for gradient, variable in reversed(pairs):
            if gradient is not None:
                _, name, layer = self._known(variable)
                self.add("gradient", self.numbered("gradient", name), layer, gradient)
        self._trace.update += 1

    def add_logs(self, logs: Any) -> None:
        """Adds metric results as the step returns them."""
        if not isinstance(logs, dict):
            return
        has_loss = any(f.kind == "loss" for f in self.found)
        for name, value in logs.items():
            # Keras' own "loss" is the mean so far of what is watched already.
            if name == "loss" and has_loss:
                continue
            self.add("loss" if name == "loss" else "metric", name, "", value)
        self._sort_into_updates(logs)

    def _sort_into_updates(self, logs: dict[str, Any]) -> None:
        """Counts what the step returns to the update before which it was computed."""
        if self._trace.update < 2:
            return
        place_of = self.places(self._trace.graph)
        begins: dict[int, int] = {}
        for f in self.found:
            if f.kind == "gradient":
                at = place_of(f.tensor)
                begins[f.update] = min(at, begins.get(f.update, at))
        returned = {id(self.tensor_of(value)) for value in logs.values()}
        for f in self.found:
            if f.kind in ("loss", "metric") and id(f.tensor) in returned:
                at = place_of(f.tensor)
                f.update = min(
                    (u for u, begun in begins.items() if at < begun), default=f.update
                )

    def add_variables(self) -> None:
        """Adds optimizer slots, weights and layer state, read where the call stands."""
        for kind, name, layer, variable in self.variables():
            self.add(kind, name, layer, variable)

    def variables(self) -> Iterator[tuple[Kind, str, str, Any]]:
        """Yields kind, name, layer and variable of all slots, weights and layer state."""
        seen: set[int] = set()
        for optimizer in optimizers(self._model):
            skipped = no_slots(optimizer)
            for variable in optimizer.variables:
                if id(variable) not in skipped and id(variable) not in seen:
                    seen.add(id(variable))
                    yield "optimizer", variable.path, "", variable
        metrics = {id(v) for v in self._model.metrics_variables}
        for variable in self._model.variables:
            if id(variable) not in seen and id(variable) not in metrics:
                seen.add(id(variable))
                yield *self._known(variable), variable

    def leave_out(self, layer: str) -> None:
        """Notes a layer whose outputs are not to be had where it runs."""
        self._trace.inner.add(layer)

    def add_outputs(self, kind: Kind, name: str, layer: str, outputs: Any) -> None:
        """Adds every tensor of a nested structure."""
        base = name
        if kind in ("activation", "prediction"):
            if not self.in_step:  # it counts as no call of the step
                self.leave_out(layer)
                return
            base = self.numbered(kind, name)
        leaves = keras.tree.flatten_with_path(outputs) if outputs is not None else []
        for path, leaf in leaves:
            suffix = "".join(f"[{part!r}]" for part in path)
            self.add(kind, base + suffix, layer, leaf)

    def add_found(self, found: Sequence[Found]) -> None:
        """Adds what was met before, of which only the update may be another one."""
        for f in found:
            f.update = self._trace.update
        if self._trace.found is not None:
            self._trace.found.extend(found)

    def numbered(self, kind: str, name: str) -> str:
        """Returns `name` for the first call in a step, "name (call 2)" for the next."""
        key = f"{kind}:{name}"
        n = self._trace.calls[key] = self._trace.calls.get(key, 0) + 1
        return name if n == 1 else f"{name} (call {n})"

    def add(self, kind: Kind, name: str, layer: str, value: Any) -> None:
        """Adds one tensor, unless it cannot be watched."""
        tensor = self.tensor_of(value)
        trace = self._trace
        if tensor is None or trace.found is None:
            return
        if not self.can_be_bad(tensor) and (
            kind not in _DATA or not self.is_integer(tensor)
        ):
            return
        if not self.is_of(tensor, trace.graph):
            trace.inner.add(layer)
            return
        self.add_tensor(kind, name, layer, tensor)

    def add_tensor(self, kind: Kind, name: str, layer: str, tensor: Any) -> None:
        """Adds a tensor of the step itself, which can be watched."""
        trace = self._trace
        if trace.found is None:
            return
        if trace.calls.get(f"{kind}:{layer}", 0) > MAX_CALLS:
            self._note(
                f"only the first {MAX_CALLS} calls of {layer!r} in a step are watched"
            )
            return
        trace.found.append(Found(kind, name, layer, tensor, trace.update))
