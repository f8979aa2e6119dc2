"""What a capsule says of the model, so that it can be built again elsewhere."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import keras

from tb_nanwatch.schema import json_safe


def of_model(model: Any) -> dict[str, Any]:
    """Returns the fields of `Capsule` that describe a model.

    What cannot be serialized (a model of one's own without `get_config`, a loss that
    is a plain function) is left out; replaying then needs the code that made it.
    """
    fields: dict[str, Any] = {
        "model": None,
        "compiled": None,
        "description": f"{type(model).__name__} {model.name!r}",
        "precision": str(getattr(model.dtype_policy, "name", "")),
        "jit_compile": model.jit_compile is True,
        "run_eagerly": bool(model.run_eagerly),
        "steps_per_execution": int(model.steps_per_execution),
    }
    with contextlib.suppress(Exception):
        fields["model"] = _jsonable(keras.saving.serialize_keras_object(model))
    with contextlib.suppress(Exception):
        fields["compiled"] = _jsonable(model.get_compile_config())
    return fields


def _jsonable(config: Any) -> dict[str, Any] | None:
    """Returns the configuration if JSON can carry it, None otherwise."""
    text = json.dumps(json_safe(config))
    found = json.loads(text)
    return found if isinstance(found, dict) else None
