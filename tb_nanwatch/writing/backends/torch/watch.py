# SPDX-License-Identifier: Apache-2.0
"""Watches every operation of one step: which made non-finite values, of what, and where."""

from __future__ import annotations

import contextlib
import itertools
import linecache
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any, Final

import keras
import numpy as np
import torch

from tb_nanwatch.compat.torch import backward_node, dispatch_mode, forward_stack
from tb_nanwatch.postmortem import operations as known_operations
from tb_nanwatch.postmortem.chain import Ran
from tb_nanwatch.postmortem.counting import bad_rows, count
from tb_nanwatch.postmortem.flow import Counts, Details, Flow, Op
from tb_nanwatch.postmortem.source import Place, is_users, shown
from tb_nanwatch.record.schema import Source
from tb_nanwatch.writing.backends.afterwards import LimitError
from tb_nanwatch.writing.backends.torch.operations import forward_of, known
from tb_nanwatch.writing.backends.torch.sums import array_of

# Operations that are described in full; a step that is bad all over needs no more.
_MAX_DETAILS: Final = 2000
_KERAS: Final = os.path.join(os.path.dirname(keras.__file__), "")
_LAYER_CALL: Final = os.path.join("layers", "layer.py")
_ELEMENTWISE: Final = ("AddV2", "Sub", "Mul", "RealDiv", "Maximum", "Minimum")
_CHOICES: Final = ("SelectV2",)
# An entry of a stack that was formatted.
_ENTRY: Final = re.compile(r'File "(.+)", line (\d+), in (\S+)')
# What autograd adds to a gradient before it is handed over.
_BOOKKEEPING: Final = ("AccumulateGrad",)


@dataclass(frozen=True)
class _Line(Place):
    """A line of which only a formatted stack is known."""

    file: str = ""
    function: str = ""

    def resolve(self) -> Source:
        """Returns file, line and text."""
        text = linecache.getline(self.file, self.line).strip()
        return Source(shown(self.file), self.line, self.function, text[:200])


class OpWatch:
    """Records the flow of non-finite values through the operations that run.

    Args:
        boundary: the code object of the function that runs the step; what called it is
            no part of the user's step.
        paths: of the layers, by id.
        seconds: that the step may take.
        wanted: numbers of operations whose values are kept.

    Attributes:
        flow: what is known of the tensors so far.
        kept: the operations that are wanted, by number.
        names: public names of the operations, by their types.
        in_model: indices of operations that ran in a call of the model or of a layer, or
            are of the gradient of one.
    """

    def __init__(
        self,
        boundary: CodeType,
        paths: Mapping[int, str],
        seconds: float,
        wanted: Set[int] = frozenset(),
    ) -> None:
        self.flow = Flow()
        self.kept: dict[int, Ran] = {}
        self._wanted = wanted
        self.names: dict[str, str] = {}
        self.in_model: set[int] = set()
        self._boundary, self._paths = boundary, paths
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._numbers = itertools.count(1)
        # The value that a storage holds now, by its address: an operation in place gives it
        # a new one.
        self._now: dict[int, int] = {}
        # What is held has an address of its own for as long as the step runs.
        self._held: list[Any] = []
        self._indices = itertools.count()
        self._details = 0

    def id_of(self, tensor: Any) -> int:
        """Returns the id of the value that a tensor holds now."""
        at = _address(tensor)
        if at not in self._now:
            self._now[at] = next(self._numbers)
        return self._now[at]

    def add_data(self, name: str, tensor: Any) -> int:
        """Names a tensor of the batch; returns its id."""
        at = self._add(tensor)
        self.flow.data[at] = name
        return at

    def add_variable(self, path: str, tensor: Any) -> None:
        """Names a variable from before the step."""
        at = self._add(tensor)
        self.flow.read[at] = path
        if at in self.flow.counts:
            self.flow.held[at] = path

    def _add(self, tensor: Any) -> int:
        self._held.append(tensor)
        at = self.id_of(tensor)
        counts = _count(tensor)
        if counts:
            self.flow.counts[at] = counts
        return at

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watches all operations within; gradients know where they come from."""
        watch = self

        class Mode(dispatch_mode()):  # type: ignore[misc]
            """Sees every operation."""

            def __torch_dispatch__(
                self, func: Any, types: Any, args: Any = (), kwargs: Any = None
            ) -> Any:
                return watch.run(func, args, kwargs or {}, sys._getframe(1))

        with torch.autograd.set_detect_anomaly(True, check_nan=False), Mode():
            yield

    def run(self, func: Any, args: Any, kwargs: Any, frame: FrameType | None) -> Any:
        """Runs an operation and notes what it made."""
        if time.monotonic() > self._deadline:
            raise LimitError(f"it took longer than {self._seconds:g} s")
        name = str(func).split(".")[1] if "." in str(func) else str(func)
        inputs = _tensors((args, kwargs))
        ids = [self.id_of(t) for t in inputs]
        before = [_count(t) for t in inputs]
        taken = _taken(name, args)
        taken_ids = [self.id_of(a) if _is_float(a) else 0 for a in taken]
        arrays = _arrays(taken, copy=name.endswith("_"))
        results = func(*args, **kwargs)
        known_at = {_address(t) for t in inputs}
        made = [t for t in _tensors(results) if _address(t) not in known_at]
        # In place: what was finite before and is not so now.
        made += [
            t for t, was in zip(inputs, before, strict=True) if not was and _count(t)
        ]
        for tensor in made:
            self._now[_address(tensor)] = next(self._numbers)
        bad = {self.id_of(t): c for t in made if (c := _count(t))}
        op_type, public, arrays = _known_as(name, args, arrays)
        self.names[op_type] = public
        op = Op(
            next(self._indices),
            op_type,
            taken_ids[: len(arrays)],
            [self.id_of(t) for t in made],
            bad,
            [],
        )
        self.flow.maker.update((at, op) for at in op.outputs)
        self._locate(op, frame)
        if op.index in self._wanted:
            self.kept[op.index] = Ran(
                op_type,
                [np.array(a) for a in arrays],
                [np.array(array_of(t)) for t in _tensors(results)],
            )
        if bad:
            self._held += made
            sources = [
                (at, tensor)
                for at, tensor, was in zip(ids, inputs, before, strict=True)
                if was
            ]
            self._note(op, made, sources, args, arrays)
        return results

    def _note(
        self,
        op: Op,
        made: Sequence[Any],
        sources: list[tuple[int, Any]],
        args: Any,
        arrays: list[Any],
    ) -> None:
        op_type, bad = op.op_type, op.bad
        worst = next(t for t in made if self.id_of(t) in bad)
        value = array_of(worst)
        if op_type in _CHOICES and sources and len(args) == 3:
            sources = _chosen(args, value, sources)
        elif op_type in _ELEMENTWISE and len(sources) > 1:
            sources = _coinciding(value, sources)
        op.sources = [at for at, _ in sources]
        flow = self.flow
        op.constants = any(
            at not in flow.maker and at not in flow.data and at not in flow.held
            for at in op.sources
        )
        for at, tensor in sources:
            flow.counts.setdefault(at, _count(tensor))
        flow.counts.update(bad)
        flow.maker.update((at, op) for at in bad)
        if self._details < _MAX_DETAILS:
            self._details += 1
            with np.errstate(all="ignore"):
                op.details = Details(
                    known_operations.measure(op_type, arrays),
                    known_operations.finding(op_type, arrays, value.dtype.name),
                    int(value.size),
                    list(value.shape),
                    value.dtype.name,
                    bad_rows(value),
                )

    # --- Where ----------------------------------------------------------------

    def _locate(self, op: Op, frame: FrameType | None) -> None:
        """Fills in line, layer and forward operation from the stack."""
        node = backward_node()
        if node is not None:
            op.gradient = True
            self._locate_forward(op, node)
            return
        layer = None
        while frame is not None and frame.f_code is not self._boundary:
            file = frame.f_code.co_filename
            if op.place is None and is_users(file):
                op.place = Place(frame.f_code, frame.f_lineno, frame.f_lasti)
            elif layer is None and file.startswith(_KERAS):
                layer = self._keras_object(op, frame)
            frame = frame.f_back

    def _keras_object(self, op: Op, frame: FrameType) -> Any:
        """Notes the innermost layer, loss, metric or optimizer that called."""
        owner = frame.f_locals.get("self")
        name = frame.f_code.co_name
        if isinstance(owner, keras.Layer) and name == "__call__":
            op.layer = self._paths.get(id(owner), owner.name)
            self.in_model.add(op.index)
            return owner
        if op.owner:
            return None
        if isinstance(owner, keras.losses.Loss) and name == "__call__":
            op.owner = f"the loss {owner.name!r}"
        elif isinstance(owner, keras.metrics.Metric):
            if name in ("update_state", "result"):
                op.owner = f"the metric {owner.name!r}"
        elif isinstance(owner, keras.optimizers.Optimizer) and name == "apply":
            op.owner = f"{type(owner).__name__}'s update"
        return None

    def _locate_forward(self, op: Op, node: Any) -> None:
        """Fills in what the stack of the forward operation tells of a gradient."""
        node_name = str(node.name())
        if node_name in _BOOKKEEPING:
            return
        op_type, public = forward_of(node_name)
        self.names[op_type] = public
        op.forward = Op(-1, op_type, [], [], {}, [])
        inside = True
        for entry in reversed(forward_stack(node)):
            found = _ENTRY.search(entry)
            if found is None:
                continue
            file, line, function = found[1], int(found[2]), found[3]
            if function == self._boundary.co_name and file == self._boundary.co_filename:
                break
            if op.place is None and is_users(file):
                op.place = _Line(self._boundary, line, 0, file, function)
            if inside and file.endswith(_LAYER_CALL) and function == "__call__":
                self.in_model.add(op.index)
                inside = False


def _known_as(name: str, args: Any, arrays: list[Any]) -> tuple[str, str, list[Any]]:
    """Returns an operation's type and public name, and its inputs as that type has them."""
    if name == "pow" and len(args) == 2 and args[1] == 2:  # what squares run as
        return *known("square"), arrays[:1]
    return *known(name), arrays


def _address(tensor: Any) -> int:
    return int(tensor.untyped_storage().data_ptr())


def _tensors(tree: Any) -> list[Any]:
    """Returns the tensors of a nest that can be non-finite, empty ones apart."""
    found: list[Any] = []
    waiting = [tree]
    while waiting:
        at = waiting.pop(0)
        if isinstance(at, torch.Tensor):
            floats = at.is_floating_point() or at.is_complex()
            if floats and not at.is_meta and at.layout is torch.strided and at.numel():
                found.append(at)
        elif isinstance(at, dict):
            waiting = [*at.values(), *waiting]
        elif isinstance(at, list | tuple):
            waiting = [*at, *waiting]
    return found


def _count(tensor: Any) -> Counts:
    return count(array_of(tensor))


def _is_float(arg: Any) -> bool:
    return isinstance(arg, torch.Tensor) and (arg.is_floating_point() or arg.is_complex())


def _taken(name: str, args: Any) -> list[Any]:
    """Returns what an operation takes, in the order that the record has: numbers, too."""
    if name == "addmm" and len(args) >= 3:  # the addend comes first
        args = (args[1], args[2], args[0])
    elif name == "rsub" and len(args) >= 2:
        args = (args[1], args[0])
    elif name in ("cat", "stack") and args and isinstance(args[0], list | tuple):
        args = (*args[0], args[1] if len(args) > 1 else 0)
    return [
        arg
        for arg in args
        if (isinstance(arg, torch.Tensor) and not arg.is_meta)
        or (isinstance(arg, int | float) and not isinstance(arg, bool))
    ]


def _arrays(taken: Sequence[Any], copy: bool) -> list[Any]:
    found = []
    for arg in taken:
        if isinstance(arg, torch.Tensor):
            array = array_of(arg)
            found.append(np.array(array) if copy else array)
        else:
            found.append(np.asarray(float(arg)))
    return found


def _coinciding(output: Any, sources: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """Returns the inputs that are non-finite where the output is."""
    bad = ~np.isfinite(output)
    found = []
    for at, tensor in sources:
        array = array_of(tensor)
        if array.shape != output.shape or (bad & ~np.isfinite(array)).any():
            found.append((at, tensor))
    return found or sources


def _chosen(
    args: Any, output: Any, sources: list[tuple[int, Any]]
) -> list[tuple[int, Any]]:
    """Returns the branches of a `where` whose non-finite elements came through."""
    condition, yes, no = args
    bad = ~np.isfinite(output)
    chosen = np.broadcast_to(array_of(condition), bad.shape)
    taken = [yes] if (bad & chosen).any() else []
    taken += [no] if (bad & ~chosen).any() else []
    return [s for s in sources if any(s[1] is t for t in taken)] or sources
