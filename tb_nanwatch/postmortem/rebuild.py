"""The model of a capsule, built again in a new process."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from tb_nanwatch.errors import CapsuleError
from tb_nanwatch.postmortem.capsule import Capsule

_HELP = (
    "Pass --model module:function, where the function returns the compiled model; it may "
    "take a KerasTuner HyperParameters, which then holds the trial's values"
)


def model_of(capsule: Capsule, function: str | None = None) -> Any:
    """Returns the compiled model of a capsule, built, with weights of its own.

    Args:
        capsule: whose model.
        function: "module:function" of the code that makes it; None takes Keras'
            configuration in the capsule, which runs no code of anybody's.

    Raises:
        CapsuleError: the model cannot be made.
    """
    model = _from_function(function, capsule) if function else _from_config(capsule)
    if not isinstance(model, keras.Model):
        raise CapsuleError(
            f"{function} returned {type(model).__name__}; expected a compiled keras.Model"
        )
    if not getattr(model, "compiled", False):
        raise CapsuleError(f"the model is not compiled. {_HELP}")
    if function and capsule.jit_compile != (model.jit_compile is True):
        raise CapsuleError(
            f"the model has jit_compile={model.jit_compile}; the one that trained had "
            f"{capsule.jit_compile}"
        )
    model.steps_per_execution = 1
    _build(model, tensors_of(capsule.data), capsule.position.phase)
    return model


def tensors_of(data: Any) -> Any:
    """Returns the batch with tensors for arrays."""
    return keras.tree.map_structure(
        lambda leaf: leaf if leaf is None else tf.convert_to_tensor(leaf), data
    )


def _from_function(function: str, capsule: Capsule) -> Any:
    module_name, _, name = function.partition(":")
    if not module_name or not name:
        raise CapsuleError(
            f"--model was given {function!r}; expected module:function, e.g. train:build"
        )
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        make = getattr(importlib.import_module(module_name), name)
        needs = [
            p
            for p in inspect.signature(make).parameters.values()
            if p.default is p.empty
            and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        return make(_hyperparameters(capsule)) if needs else make()
    except Exception as e:
        raise CapsuleError(f"--model {function} failed: {type(e).__name__}: {e}") from e


def _hyperparameters(capsule: Capsule) -> Any:
    import keras_tuner

    hp = keras_tuner.HyperParameters()
    hp.values = {h.name: h.value for h in capsule.hparams if h.active}
    return hp


def _from_config(capsule: Capsule) -> Any:
    if capsule.model is None or capsule.compiled is None:
        what = "model" if capsule.model is None else "compilation"
        raise CapsuleError(
            f"the capsule has no configuration of the {what}, since Keras could not "
            f"serialize it. {_HELP}"
        )
    foreign = sorted(set(_foreign(capsule.model)) | set(_foreign(capsule.compiled)))
    if foreign:
        raise CapsuleError(
            f"the model uses code that the capsule does not hold: {', '.join(foreign)}. "
            f"{_HELP}"
        )
    try:
        model = keras.saving.deserialize_keras_object(capsule.model, safe_mode=True)
        model.compile_from_config(capsule.compiled)
    except Exception as e:
        raise CapsuleError(
            f"the model cannot be built from its configuration: {type(e).__name__}: "
            f"{str(e)[:300]}. {_HELP}"
        ) from e
    return model


def _foreign(config: Any) -> Iterator[str]:
    """Yields what a configuration names that is not Keras' own: nothing is imported."""
    if isinstance(config, list):
        for item in config:
            yield from _foreign(item)
    if not isinstance(config, dict):
        return
    if config.get("class_name") == "__lambda__":
        yield "a lambda"
    elif "class_name" in config and "config" in config:
        module, name = config.get("module"), str(config["class_name"])
        if name == "function":
            name = str(config["config"])
            known = any(
                hasattr(place, name)
                for place in (
                    *(keras.activations, keras.losses, keras.metrics),
                    *(keras.initializers, keras.ops),
                )
            )
            if not known:
                yield name
            return
        if module not in (None, "builtins") and str(module).split(".")[0] != "keras":
            yield f"{module}.{name}"
    for value in config.values():
        yield from _foreign(value)


def _build(model: Any, data: Any, phase: str) -> None:
    """Makes all variables that a step makes at its first batch."""
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    try:
        with tf.init_scope():
            prediction = model(x)
            if model.optimizer is not None and not model.optimizer.built:
                model.optimizer.build(model.trainable_variables)
            model.compute_metrics(x, y, prediction, weight)
            model.compute_loss(x, y, prediction, weight)
            model.reset_metrics()
    except Exception as e:
        raise CapsuleError(
            f"the model does not take the capsule's batch: {type(e).__name__}: "
            f"{str(e)[:300]}"
        ) from e
