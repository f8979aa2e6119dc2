# SPDX-License-Identifier: Apache-2.0
"""A capsule: the one failing step of a run, kept as a directory.

It holds `capsule.json` (versioned), `arrays.npz` (plain arrays, stored without
compression) and a note that it contains training data. There is no pickle in it,
and reading it runs nothing and imports nothing that it names.

Reading trusts nothing: all sizes are checked before anything is loaded, and every
failure is a `CapsuleError`.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
import unicodedata
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from tb_nanwatch.errors import CapsuleError, RecordError
from tb_nanwatch.postmortem.capsule_arrays import (
    Array,
    array_at,
    array_name,
    decode_tree,
    encode_tree,
    read_arrays,
    specs_of,
    stored,
)
from tb_nanwatch.postmortem.capsule_files import read_json
from tb_nanwatch.record.codec import build
from tb_nanwatch.record.metadata import CAPSULE_HEADER
from tb_nanwatch.record.schema import BadTensor, Config, HParam, Kind, Position, Search
from tb_nanwatch.record.strict_json import JSONObject, dumps

CAPSULE_VERSION: Final = 1
# Capsules larger than this are refused when reading, unless the caller allows more.
MAX_READ_BYTES: Final = 16 << 30
_ARRAYS: Final = "arrays.npz"
_NOTE: Final = "README.txt"
_NOTE_TEXT: Final = """\
This directory was written by NaN Watch. It holds one training step that went bad:
the batch, the model's weights and the optimizer's variables before the step.

IT CONTAINS TRAINING DATA. Treat it as you treat the data it was made from.

To run that step again: tb-nanwatch replay <this directory>
Where the model uses a loss or layer of yours, add --model FILE.py:FUNCTION, the function
that returns the compiled model. The file is run as it is imported: keep what trains,
tuner.search or fit, under if __name__ == "__main__":
"""
# Among `missing`, of a step that cannot be run again at all.
NO_BATCH: Final = "the batch holds values that are no plain tensors"


@dataclass
class SavedVariable:
    """One variable's value.

    Attributes:
        role: "model" (of `model.variables`), "optimizer" (of `model.optimizer`),
            "optimizer:NAME" (of the optimizer in the model's attribute NAME),
            "metric" (of `model.metrics_variables`) or "random" (the state of Keras'
            global seed generator). Variables of one role stand in the order in which
            Keras lists them.
        path: the variable's path in Keras.
        value: None where it was not kept.
    """

    role: str
    path: str
    value: Array | None = None


@dataclass
class Sum:
    """Half the sum of squares of one watched tensor at the step, as the ring has it.

    By these a replay of the compiled step is compared bit for bit.
    """

    kind: Kind
    name: str
    value: float


@dataclass
class Capsule:
    """The failing step of a run with everything needed to run it again.

    Attributes:
        position: which step.
        origin: the first bad tensor, as the run recorded it.
        bad: all non-finite tensors of the step in causal order.
        data: the batch as `train_step` received it: a nest of tuples, lists, dicts
            and None whose leaves are NumPy arrays, of one replica.
        variables: their values before the step.
        after: variables after the step, where they were kept.
        sums: of the step's tensors, where they were kept.
        partial: something that the step depends on is missing or may be that of a
            later moment; `missing` says what, a sentence each.
        replica: whose batch it is.
        replicas: how many there were.
        run, search, trial_id, execution, hparams: whose step it was.
        seed: of the search or of Keras, where it is known.
        model: Keras' serialization of the model, None where it has none.
        compiled: Keras' configuration of `compile`, None where it has none.
        description: the model's class and name, for people.
        optimizer: class name and configuration. loss: its name.
        precision: name of the dtype policy.
        jit_compile, run_eagerly, steps_per_execution: as compiled.
        backend: on which Keras ran.
        versions: of python, the backend, keras, keras_tuner, numpy and tb_nanwatch.
        created: seconds since the epoch.
    """

    position: Position
    origin: BadTensor
    bad: list[BadTensor]
    data: Any = None
    variables: list[SavedVariable] = field(default_factory=list)
    after: list[SavedVariable] = field(default_factory=list)
    sums: list[Sum] = field(default_factory=list)
    partial: bool = False
    missing: list[str] = field(default_factory=list)
    replica: int = 0
    replicas: int = 1
    run: str = ""
    search: Search | None = None
    trial_id: str | None = None
    execution: int = 0
    hparams: list[HParam] = field(default_factory=list)
    seed: int | None = None
    model: Config | None = None
    compiled: Config | None = None
    description: str = ""
    optimizer: Config = field(default_factory=dict)
    loss: str = ""
    precision: str = ""
    jit_compile: bool = False
    run_eagerly: bool = False
    steps_per_execution: int = 1
    backend: str = "tensorflow"
    versions: dict[str, str] = field(default_factory=dict)
    created: float = 0.0

    @property
    def has_batch(self) -> bool:
        """Whether the capsule holds the whole batch, without which no step can be run."""
        return NO_BATCH not in self.missing

    def nbytes(self) -> int:
        """Returns how many bytes the arrays take."""
        _, arrays = _flatten(self)
        return sum(array.nbytes for array in arrays)

    def write(self, directory: str | os.PathLike[str], max_bytes: int) -> None:
        """Writes the capsule as a new directory, all of it or nothing.

        Args:
            directory: must not exist; its parents are made.
            max_bytes: of the arrays.

        Raises:
            CapsuleError: it would be larger, or holds what cannot be stored.
            OSError: the directory cannot be written.
        """
        header, arrays = _flatten(self)
        size = sum(array.nbytes for array in arrays)
        if size > max_bytes:
            raise CapsuleError(
                f"the capsule would hold {size:,} bytes of arrays; the limit is "
                f"{max_bytes:,}"
            )
        target = Path(directory)
        if target.exists():
            raise CapsuleError(f"{target} exists already; expected a new directory")
        target.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        try:
            (made / _NOTE).write_text(_NOTE_TEXT, encoding="utf-8")
            (made / CAPSULE_HEADER).write_text(dumps(header), encoding="utf-8")
            with zipfile.ZipFile(made / _ARRAYS, "w", zipfile.ZIP_STORED) as z:
                for i, array in enumerate(arrays):
                    with z.open(f"{array_name(i)}.npy", "w", force_zip64=True) as f:
                        np.lib.format.write_array(f, array, allow_pickle=False)
            made.rename(target)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise

    @classmethod
    def read(
        cls, directory: str | os.PathLike[str], max_bytes: int = MAX_READ_BYTES
    ) -> Capsule:
        """Returns the capsule in `directory`.

        Args:
            directory: as `write` made it.
            max_bytes: of arrays that may be loaded.

        Raises:
            CapsuleError: it is no valid capsule; the message says why.
        """
        path = Path(directory)
        if not path.is_dir():
            raise CapsuleError(f"{path} is no directory; expected a capsule's directory")
        header = read_json(path / CAPSULE_HEADER)
        _check_version(header)
        specs = specs_of(header.get("arrays"), max_bytes)
        values = {k: v for k, v in header.items() if k not in ("arrays", "data")}
        for name in ("variables", "after"):
            values[name] = _without_values(values.get(name, []), name)
        try:
            capsule: Capsule = build(cls, values, "capsule")
        except RecordError as e:
            raise CapsuleError(f"{path / CAPSULE_HEADER} is invalid: {e}") from None
        _check_names(capsule)
        arrays = read_arrays(path / _ARRAYS, specs, max_bytes)
        used: set[int] = set()
        capsule.data = decode_tree(header.get("data"), arrays, used, 0)
        for name in ("variables", "after"):
            for i, variable in enumerate(getattr(capsule, name)):
                at = header[name][i].get("value")
                if at is not None:
                    variable.value = array_at(at, arrays, used)
        return capsule


def _flatten(capsule: Capsule) -> tuple[JSONObject, list[Array]]:
    """Returns the header, and the arrays in the order in which the header names them."""
    arrays: list[Array] = []
    specs: list[JSONObject] = []

    def add(value: Any) -> int:
        found = stored(value)
        specs.append(found.spec)
        arrays.extend(found.parts)
        return len(specs) - 1

    header: JSONObject = {"version": CAPSULE_VERSION}
    for f in dataclasses.fields(capsule):
        if f.name not in ("data", "variables", "after"):
            header[f.name] = getattr(capsule, f.name)
    header["data"] = encode_tree(capsule.data, add, 0)
    for name in ("variables", "after"):
        header[name] = [
            {
                "role": v.role,
                "path": v.path,
                "value": None if v.value is None else add(v.value),
            }
            for v in getattr(capsule, name)
        ]
    header["arrays"] = specs
    return header, arrays


def _check_version(header: JSONObject) -> None:
    version = header.get("version")
    if type(version) is not int or version < 1:
        raise CapsuleError(f"the capsule has no valid version: {version!r:.80}")
    if version != CAPSULE_VERSION:
        raise CapsuleError(
            f"the capsule has version {version}, this tb-nanwatch reads "
            f"{CAPSULE_VERSION}; use the tb-nanwatch that wrote it "
            f"({_version_of(header)!r:.80}) or a newer one"
        )


def _version_of(header: JSONObject) -> str:
    versions = header.get("versions")
    found = versions.get("tb_nanwatch") if isinstance(versions, dict) else None
    return found if isinstance(found, str) else "unknown"


def _without_values(entries: Any, name: str) -> list[JSONObject]:
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise CapsuleError(f"the capsule's {name} are not a list of objects")
    return [{k: v for k, v in entry.items() if k != "value"} for entry in entries]


def without_controls(text: str) -> str:
    """Returns a name with the replacement character for each control character."""
    return "".join(
        "\ufffd" if unicodedata.category(c) in ("Cc", "Cs") else c for c in text
    )


def _check_names(capsule: Capsule) -> None:
    """Raises where a name is unsafe to print or to use in a path."""
    names = {
        "run": [capsule.run, capsule.trial_id or ""],
        "tensor": [t.name for t in [capsule.origin, *capsule.bad]]
        + [s.name for s in capsule.sums],
        "variable": [
            t for v in capsule.variables + capsule.after for t in (v.role, v.path)
        ],
        "hyperparameter": [h.name for h in capsule.hparams],
        "text": [*capsule.missing, capsule.description, capsule.loss, capsule.precision],
        "version": [t for item in capsule.versions.items() for t in item],
    }
    for what, texts in names.items():
        for text in texts:
            if text != without_controls(text):
                raise CapsuleError(
                    f"a {what} has a control character in its name: {text!a:.80}"
                )
    parts = capsule.run.replace("\\", "/").split("/")
    if ".." in parts or (capsule.run and parts[0] == ""):
        raise CapsuleError(f"the run's name is no relative path: {capsule.run!r:.80}")
