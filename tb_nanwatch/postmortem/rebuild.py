# SPDX-License-Identifier: Apache-2.0
"""The model of a capsule, built again in a new process."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from tb_nanwatch.errors import CapsuleError
from tb_nanwatch.postmortem.capsule import Capsule
from tb_nanwatch.record.words import Config
from tb_nanwatch.wording.messages import of_error

_HELP = (
    "Pass --model FILE.py:FUNCTION (or module:function), where the function returns the "
    "compiled model; it may take a KerasTuner HyperParameters, which then holds the "
    "trial's values. The file is run as it is imported: keep what trains, tuner.search or "
    'fit, under if __name__ == "__main__":'
)


def model_of(capsule: Capsule, function: str | None = None) -> Any:
    """Returns the compiled model of a capsule, built, with weights of its own.

    Args:
        capsule: whose model.
        function: "module:function" or "file.py:function" of the code that makes it;
            None takes Keras' configuration in the capsule, which runs nobody's code.

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
    # As it was trained: Keras' default is another one where there is a GPU.
    model.jit_compile = capsule.jit_compile
    model.steps_per_execution = 1
    _build(model, tensors_of(capsule.data), capsule.position.phase)
    return model


def own_code(capsule: Capsule) -> list[str]:
    """Returns the custom code that the model needs and the capsule does not hold.

    Names, sorted; the whole model where it has no configuration.
    """
    if capsule.model is None or capsule.compiled is None:
        return [capsule.description]
    return sorted(set(_foreign(capsule.model)) | set(_foreign(capsule.compiled)))


def tensors_of(data: Any) -> Any:
    """Returns the batch with its arrays converted to tensors."""
    return keras.tree.map_structure(
        lambda leaf: leaf if leaf is None else _tensor_of(leaf), data
    )


def _tensor_of(array: Any) -> Any:
    if keras.backend.backend() != "tensorflow":
        return keras.ops.convert_to_tensor(array)
    import tensorflow as tf  # its tensors can be of strings

    return tf.convert_to_tensor(array)


def _from_function(function: str, capsule: Capsule) -> Any:
    # The last colon: a path on Windows has one of its own.
    module_name, _, name = function.rpartition(":")
    if not module_name or not name:
        raise CapsuleError(
            f"--model was given {function!r}; expected FILE.py:FUNCTION or "
            "module:function, e.g. train.py:build"
        )
    try:
        make = getattr(_module(module_name), name)
        needs = [
            p
            for p in inspect.signature(make).parameters.values()
            if p.default is p.empty
            and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        return make(_hyperparameters(capsule)) if needs else make()
    except Exception as e:
        raise CapsuleError(f"--model {function} failed: {_said(e)}") from e


def _module(name: str) -> Any:
    """Returns a module by its name, or by the path of its file, run as a program is."""
    is_file = name.endswith(".py")
    home = os.path.dirname(os.path.abspath(name)) if is_file else os.getcwd()
    if home not in sys.path:
        sys.path.insert(0, home)
    if not is_file:
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(Path(name).stem, name)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Keras looks for classes there
    spec.loader.exec_module(module)
    return module


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
    own = own_code(capsule)
    if own:
        raise CapsuleError(
            f"the model uses code that the capsule does not hold: {', '.join(own)}. "
            f"{_HELP}"
        )
    try:
        model = keras.saving.deserialize_keras_object(capsule.model, safe_mode=True)
        model.compile_from_config(capsule.compiled)
    except Exception as e:
        raise CapsuleError(
            f"the model cannot be built from its configuration: {_said(e)} {_HELP}"
        ) from e
    return model


def _said(error: Exception) -> str:
    """Returns an exception as a sentence."""
    said = of_error(error)
    return said if said.endswith((".", "…")) else f"{said}."


def _foreign(config: Any) -> Iterator[str]:
    """Yields the names in a configuration that are not Keras' own; imports nothing."""
    if isinstance(config, list):
        for item in config:
            yield from _foreign(item)
    if not isinstance(config, dict):
        return
    if config.get("class_name") == "__lambda__":
        yield "a lambda"
    elif "class_name" in config and "config" in config:
        name = _foreign_name(config)
        if name is not None:
            yield name
        if config["class_name"] == "function":
            return
    for value in config.values():
        yield from _foreign(value)


def _foreign_name(config: Config) -> str | None:
    """Returns the function or class that a configuration names, if it is not Keras'."""
    module, name = config.get("module"), str(config["class_name"])
    if name == "function":
        name = str(config["config"])
        places = (
            *(keras.activations, keras.losses, keras.metrics),
            *(keras.initializers, keras.ops),
        )
        return None if any(hasattr(place, name) for place in places) else name
    if module in (None, "builtins"):
        # A class of the program itself, by the name under which Keras registers it;
        # Keras' own classes are registered without a package.
        return name if config.get("registered_name") else None
    return f"{module}.{name}" if str(module).split(".")[0] != "keras" else None


def _build(model: Any, data: Any, phase: str) -> None:
    """Makes all variables that a step makes at its first batch."""
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    try:
        prediction = model(x)
        if model.optimizer is not None and not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        model.compute_metrics(x, y, prediction, weight)
        model.compute_loss(x, y, prediction, weight)
        model.reset_metrics()
    except Exception as e:
        raise CapsuleError(
            f"the model does not take the capsule's batch: {_said(e)}"
        ) from e
