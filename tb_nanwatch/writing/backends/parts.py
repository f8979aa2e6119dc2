# SPDX-License-Identifier: Apache-2.0
"""Hooks on what a step is made of: calls of layers and losses, and updates."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import keras

from tb_nanwatch.compat import keras as private
from tb_nanwatch.record.schema import Kind
from tb_nanwatch.writing.backends.hooks import Hooks
from tb_nanwatch.writing.backends.names import losses, optimizers, walk
from tb_nanwatch.writing.backends.tracing import Tracer

Wrap = Callable[[Any, Any], Any]


class StepParts:
    """Has a tracer meet what a step is made of; the step itself is the backend's.

    Args:
        model: that is fitted.
        hooks: where the wrappers are put.
        tracer: is told what is met.
        note: receives, in words, what cannot be watched.
        meet: calls what it is given first with all else, if a step is being watched;
            nothing that goes wrong in it leaves it. Of one hook it is given the same each
            time, and as the next what was met.
        apart: returns a context that no exception of watching leaves.
    """

    def __init__(
        self,
        model: Any,
        hooks: Hooks,
        tracer: Tracer,
        note: Callable[[str], None],
        meet: Callable[..., None],
        apart: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self._model, self._hooks, self._tracer = model, hooks, tracer
        self._note, self._meet, self._apart = note, meet, apart

    def hook(self, watch_apply: Wrap, apply: str = "apply") -> None:
        """Puts all hooks in.

        Args:
            watch_apply: wraps the method of an optimizer that makes the update, which is
                given with it.
            apply: name of that method.
        """
        self.meet_built_layers()
        self._hooks.put(self._model, "compute_loss", self._watch_loss)
        for optimizer in optimizers(self._model):
            self._hooks.put(optimizer, apply, watch_apply)

    def meet_built_layers(self) -> None:
        """Names and hooks what a model that its first batch builds has by now."""
        self._tracer.name_variables()
        hooks = self._hooks
        for path, operation in walk(self._model, calls=True):
            if hooks.stand_before(operation, "call"):
                continue
            kind: Kind = "activation" if path else "prediction"
            hooks.put(operation, "call", self._watch_call(kind, path))
            if isinstance(operation, keras.layers.RNN):
                self._note(
                    f"values inside the loop of {path!r} are not watched, its output is"
                )
        compiled = private.compiled_loss(self._model)
        if compiled is not None:
            if not hooks.stand_before(compiled, "build"):
                hooks.put(compiled, "build", self._watch_loss_build)
            self._hook_losses(compiled)

    def _hook_losses(self, compiled: Any) -> None:
        for name, loss in losses(compiled):
            if not self._hooks.stand_before(loss, "call"):
                self._hooks.put(loss, "call", self._watch_loss_function(name))

    def _watch_loss_build(self, compiled: Any, build: Any) -> Any:
        # The loss objects are made when the first batch is seen.
        def watched(*args: Any, **kwargs: Any) -> Any:
            result = build(*args, **kwargs)
            with self._apart():
                if self._hooks.installed:
                    self._hook_losses(compiled)
            return result

        return watched

    def _watch_call(self, kind: Kind, path: str) -> Wrap:
        add = functools.partial(
            self._tracer.add_outputs, kind, path or "prediction", path
        )

        def wrap(operation: Any, call: Any) -> Any:
            def watched(*args: Any, **kwargs: Any) -> Any:
                outputs = call(*args, **kwargs)
                self._meet(add, outputs)
                return outputs

            return watched

        return wrap

    def _watch_loss(self, model: Any, compute_loss: Any) -> Any:
        def watched(*args: Any, **kwargs: Any) -> Any:
            loss = compute_loss(*args, **kwargs)
            self._meet(self._tracer.add_loss, loss, args, kwargs)
            return loss

        return watched

    def _watch_loss_function(self, name: str) -> Wrap:
        add = functools.partial(self._tracer.add_loss_values, name)

        def wrap(loss: Any, call: Any) -> Any:
            def watched(*args: Any, **kwargs: Any) -> Any:
                values = call(*args, **kwargs)
                self._meet(add, values, args, kwargs)
                return values

            return watched

        return wrap
