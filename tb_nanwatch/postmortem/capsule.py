"""A capsule: the one failing step of a run, kept as a directory.

It holds `capsule.json` (versioned), `arrays.npz` (plain arrays, stored without
compression) and a note that it contains training data. There is no pickle in it,
and reading it runs nothing and imports nothing that it names.

Reading trusts nothing: all sizes are checked before anything is loaded, and every
failure is a `CapsuleError`.
"""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import math
import os
import shutil
import stat
import tempfile
import unicodedata
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from tb_nanwatch.errors import CapsuleError, RecordError
from tb_nanwatch.record.codec import build
from tb_nanwatch.record.metadata import CAPSULE_HEADER
from tb_nanwatch.record.schema import BadTensor, Config, HParam, Kind, Position, Search
from tb_nanwatch.record.strict_json import JSONObject, dumps

CAPSULE_VERSION: Final = 1
# Capsules larger than this are refused when reading, unless the caller allows more.
MAX_READ_BYTES: Final = 16 << 30
# The largest honest header is the configuration of a very deep model: a few MB.
_MAX_JSON_BYTES: Final = 1 << 26
_MAX_ARRAYS: Final = 1_000_000
_MAX_DEPTH: Final = 32
_MAX_RANK: Final = 32
# What a .npy header adds to an array: at most this many bytes for such shapes.
_MAX_NPY_HEADER: Final = 4096
_JSON: Final = CAPSULE_HEADER
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
# Dtypes that are stored as they are.
_PLAIN: Final = (
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 "
    "float16 float32 float64 complex64 complex128"
).split()
# Dtypes of the package ml_dtypes, stored as unsigned integers of the same size.
_EXTENDED: Final = {
    "bfloat16": "uint16",
    "float8_e4m3fn": "uint8",
    "float8_e5m2": "uint8",
}
_TEXTS: Final = ("bytes", "str")
# Among `missing`, of a step that cannot be run again at all.
NO_BATCH: Final = "the batch holds values that are no plain tensors"

Array = npt.NDArray[Any]


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
    """The failing step of a run and what is needed to run it again.

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
        description: the model in words.
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
        """Whether it holds the whole batch, without which no step can be run."""
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
            (made / _JSON).write_text(dumps(header), encoding="utf-8")
            with zipfile.ZipFile(made / _ARRAYS, "w", zipfile.ZIP_STORED) as z:
                for i, array in enumerate(arrays):
                    with z.open(f"{_name(i)}.npy", "w", force_zip64=True) as f:
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
        header = _read_json(path / _JSON)
        _check_version(header)
        specs = _array_specs(header.get("arrays"), max_bytes)
        values = {k: v for k, v in header.items() if k not in ("arrays", "data")}
        for name in ("variables", "after"):
            values[name] = _without_values(values.get(name, []), name)
        try:
            capsule: Capsule = build(cls, values, "capsule")
        except RecordError as e:
            raise CapsuleError(f"{path / _JSON} is invalid: {e}") from None
        _check_names(capsule)
        arrays = _read_arrays(path / _ARRAYS, specs, max_bytes)
        used: set[int] = set()
        capsule.data = _decode_tree(header.get("data"), arrays, used, 0)
        for name in ("variables", "after"):
            for i, variable in enumerate(getattr(capsule, name)):
                at = header[name][i].get("value")
                if at is not None:
                    variable.value = _array_at(at, arrays, used)
        return capsule


# --- Writing ------------------------------------------------------------------


def _name(i: int) -> str:
    return f"a{i}"


def _flatten(capsule: Capsule) -> tuple[JSONObject, list[Array]]:
    """Returns the header and the arrays in the order in which it names them."""
    arrays: list[Array] = []
    specs: list[JSONObject] = []

    def add(value: Any) -> int:
        stored = _stored(value)
        specs.append(stored.spec)
        arrays.extend(stored.parts)
        return len(specs) - 1

    header: JSONObject = {"version": CAPSULE_VERSION}
    for f in dataclasses.fields(capsule):
        if f.name not in ("data", "variables", "after"):
            header[f.name] = getattr(capsule, f.name)
    header["data"] = _encode_tree(capsule.data, add, 0)
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


@dataclass
class _Stored:
    spec: JSONObject
    parts: list[Array]


def _stored(value: Any) -> _Stored:
    array = np.asarray(value)
    shape = list(array.shape)
    name = array.dtype.name
    if name in _PLAIN:
        plain = array.astype(array.dtype.newbyteorder("<"), copy=False)
        return _Stored({"dtype": name, "shape": shape}, [np.asarray(plain, order="C")])
    if name in _EXTENDED:
        raw = np.ascontiguousarray(array).reshape(-1).view(_EXTENDED[name])
        return _Stored({"dtype": name, "shape": shape}, [raw])
    if array.dtype.kind in "OSU":
        items = list(array.reshape(-1))
        for kind, of in (("bytes", bytes), ("str", str)):
            if all(isinstance(item, of) for item in items):
                raws = [
                    i.encode("utf-8") if isinstance(i, str) else bytes(i) for i in items
                ]
                lengths = np.array([len(r) for r in raws], np.int64)
                blob = np.frombuffer(b"".join(raws), np.uint8)
                return _Stored({"dtype": kind, "shape": shape}, [lengths, blob])
    raise CapsuleError(
        f"an array of dtype {array.dtype} cannot be stored; expected numbers, booleans, "
        "strings or bytes"
    )


def _encode_tree(value: Any, add: Any, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise CapsuleError(f"the batch is nested more than {_MAX_DEPTH} deep")
    if value is None:
        return None
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise CapsuleError(
                f"the batch is a dict with keys {list(value)!r:.200}; expected strings"
            )
        items = [_encode_tree(v, add, depth + 1) for v in value.values()]
        return {"t": "dict", "keys": list(value), "items": items}
    if isinstance(value, list | tuple):
        items = [_encode_tree(v, add, depth + 1) for v in value]
        return {"t": "list" if isinstance(value, list) else "tuple", "items": items}
    return {"t": "array", "at": add(value)}


# --- Reading ------------------------------------------------------------------


def _open_regular(path: Path, max_bytes: int) -> BinaryIO:
    """Returns a regular file, opened for reading.

    What it is, is asked of the open file, so that nothing can take its place in between.
    Opening waits for no writer of a pipe, and follows no link.

    Raises:
        CapsuleError: it is anything else, or larger than `max_bytes`.
        OSError: it cannot be opened.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0))
    except OSError as e:
        if e.errno == errno.ELOOP:
            raise CapsuleError(
                f"{path} is a link; expected a regular file. Copy the capsule with what "
                "its links point to (cp -rL)."
            ) from None
        raise
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise CapsuleError(
                f"{path} is {_KINDS.get(stat.S_IFMT(found.st_mode), 'a special file')}; "
                "expected a regular file"
            )
        if found.st_size > max_bytes:
            raise CapsuleError(
                f"{path} has {found.st_size:,} bytes; at most {max_bytes:,}"
            )
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


_KINDS: Final = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a directory",
}


def _read_json(path: Path) -> JSONObject:
    try:
        with _open_regular(path, _MAX_JSON_BYTES) as f:
            # It may have grown since its size was asked for.
            header = json.loads(f.read(_MAX_JSON_BYTES))
    except OSError as e:
        raise CapsuleError(f"{path} cannot be read: {e.strerror or e}") from None
    except (ValueError, RecursionError) as e:
        raise CapsuleError(f"{path} is not JSON: {e}; is it truncated?") from None
    if not isinstance(header, dict):
        raise CapsuleError(f"{path} is not a JSON object")
    return header


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


@dataclass
class _Spec:
    dtype: str
    shape: list[int]
    sizes: list[int | None]  # elements of each part; None where only bounded

    @property
    def count(self) -> int:
        return math.prod(self.shape)


def _array_specs(specs: Any, max_bytes: int) -> list[_Spec]:
    if not isinstance(specs, list) or len(specs) > _MAX_ARRAYS:
        raise CapsuleError("the capsule has no valid list of arrays")
    found: list[_Spec] = []
    total = 0
    for i, entry in enumerate(specs):
        dtype = entry.get("dtype") if isinstance(entry, dict) else None
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if dtype not in (*_PLAIN, *_EXTENDED, *_TEXTS):
            raise CapsuleError(f"array {i} has the unknown dtype {dtype!r:.80}")
        if (
            not isinstance(shape, list)
            or len(shape) > _MAX_RANK
            or not all(type(n) is int and 0 <= n < 1 << 48 for n in shape)
        ):
            raise CapsuleError(f"array {i} has the invalid shape {shape!r:.80}")
        count = math.prod(shape)
        item = np.dtype(_part_dtypes(dtype)[0]).itemsize
        total += count * item
        if total > max_bytes:
            raise CapsuleError(
                f"the capsule's arrays declare more than {max_bytes:,} bytes; too large"
            )
        found.append(_Spec(dtype, shape, [count, None] if dtype in _TEXTS else [count]))
    return found


def _part_dtypes(dtype: str) -> list[str]:
    if dtype in _TEXTS:
        return ["int64", "uint8"]
    return [_EXTENDED.get(dtype, dtype)]


def _read_arrays(path: Path, specs: list[_Spec], max_bytes: int) -> list[Array]:
    """Returns the arrays, after every size has been checked against its spec."""
    most = max_bytes + _MAX_NPY_HEADER * (2 * len(specs) + 1)
    try:
        with _open_regular(path, most) as f, zipfile.ZipFile(f) as z:
            infos = {info.filename: info for info in z.infolist()}
            parts = [(s, j) for s in specs for j in range(len(s.sizes))]
            expected = [f"{_name(i)}.npy" for i in range(len(parts))]
            if sorted(infos) != sorted(expected) or len(z.infolist()) != len(expected):
                raise CapsuleError(
                    f"{path} does not hold the {len(expected)} arrays that {_JSON} names"
                )
            loaded = [
                _read_part(z, infos[name], spec, j)
                for name, (spec, j) in zip(expected, parts, strict=True)
            ]
    except OSError as e:
        raise CapsuleError(f"{path} cannot be read: {e.strerror or e}") from None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as e:
        raise CapsuleError(f"{path} is damaged or truncated: {e}") from None
    found: list[Array] = []
    rest = iter(loaded)
    for spec in specs:
        found.append(_restored(spec, [next(rest) for _ in spec.sizes]))
    return found


def _read_part(z: zipfile.ZipFile, info: zipfile.ZipInfo, spec: _Spec, j: int) -> Array:
    dtype = np.dtype(_part_dtypes(spec.dtype)[j]).newbyteorder("<")
    # Without compression nothing can be larger in memory than on disk.
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise CapsuleError(f"{info.filename} is compressed; expected it stored")
    count = spec.sizes[j]
    if count is not None:
        extra = info.file_size - count * dtype.itemsize
        if not 0 < extra <= _MAX_NPY_HEADER:
            raise CapsuleError(
                f"{info.filename} has {info.file_size:,} bytes, which does not fit its "
                f"declared shape {spec.shape} of {spec.dtype}"
            )
    with z.open(info) as f:
        raw = f.read()
    buffer = io.BytesIO(raw)
    try:
        version = np.lib.format.read_magic(buffer)
        if version != (1, 0):
            raise ValueError(f"npy version {version}; expected (1, 0)")
        shape, fortran, found = np.lib.format.read_array_header_1_0(buffer)
    except (ValueError, SyntaxError, TypeError, RecursionError) as e:
        raise CapsuleError(f"{info.filename} is no valid array: {e}") from None
    body = memoryview(raw)[buffer.tell() :]
    wanted = _part_shape(spec, j)
    if fortran or found != dtype or (wanted is not None and list(shape) != wanted):
        raise CapsuleError(
            f"{info.filename} is {found} {list(shape)}; expected {dtype} "
            f"{wanted if wanted is not None else '[n]'} by {_JSON}"
        )
    if len(shape) > _MAX_RANK or len(body) != math.prod(shape) * dtype.itemsize:
        raise CapsuleError(f"{info.filename} is damaged or truncated")
    found_array: Array = np.frombuffer(body, dtype)
    return found_array.reshape(shape)


def _part_shape(spec: _Spec, j: int) -> list[int] | None:
    if spec.dtype in _PLAIN:
        return spec.shape
    return [spec.count] if j == 0 else None


def _restored(spec: _Spec, parts: list[Array]) -> Array:
    if spec.dtype in _PLAIN:
        return parts[0].copy()
    if spec.dtype in _EXTENDED:
        try:
            import ml_dtypes
        except ImportError:
            raise CapsuleError(
                f"the capsule holds {spec.dtype}, which needs the package ml_dtypes; "
                'install it with pip install "tb-nanwatch[train]"'
            ) from None
        extended: Array = parts[0].copy().view(np.dtype(getattr(ml_dtypes, spec.dtype)))
        return extended.reshape(spec.shape)
    lengths, blob = parts
    if len(lengths) and (lengths.min() < 0 or lengths.max() > len(blob)):
        raise CapsuleError("an array of strings has invalid lengths")
    ends = np.cumsum(lengths)
    if (int(ends[-1]) if len(ends) else 0) != len(blob):
        raise CapsuleError("an array of strings has lengths that do not fit it")
    raw = blob.tobytes()
    items: list[Any] = [
        raw[int(end - n) : int(end)] for end, n in zip(ends, lengths, strict=True)
    ]
    if spec.dtype == "str":
        try:
            items = [item.decode("utf-8") for item in items]
        except UnicodeDecodeError:
            raise CapsuleError("an array of strings is not UTF-8") from None
    array = np.empty(len(items), object)
    array[:] = items
    return array.reshape(spec.shape)


def _array_at(at: Any, arrays: list[Array], used: set[int]) -> Array:
    if type(at) is not int or not 0 <= at < len(arrays) or at in used:
        raise CapsuleError(f"the capsule names an array that it lacks: {at!r:.80}")
    used.add(at)
    return arrays[at]


def _decode_tree(node: Any, arrays: list[Array], used: set[int], depth: int) -> Any:
    if node is None:
        return None
    kind = node.get("t") if isinstance(node, dict) else None
    if kind == "array":
        return _array_at(node.get("at"), arrays, used)
    items = node.get("items") if kind in ("list", "tuple", "dict") else None
    if not isinstance(items, list) or depth > _MAX_DEPTH:
        raise CapsuleError(f"the batch's structure is invalid: {node!r:.80}")
    children = [_decode_tree(item, arrays, used, depth + 1) for item in items]
    if kind == "dict":
        keys = node.get("keys")
        if (
            not isinstance(keys, list)
            or len(keys) != len(children)
            or not all(isinstance(key, str) for key in keys)
        ):
            raise CapsuleError(f"the batch's structure is invalid: keys {keys!r:.80}")
        return dict(zip(keys, children, strict=True))
    return children if kind == "list" else tuple(children)


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
    """Raises where a name that will be printed, or be part of a path, is hostile."""
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
