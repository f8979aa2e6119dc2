# SPDX-License-Identifier: Apache-2.0
"""How a capsule's arrays and the structure of its batch are stored and read back.

Reading trusts nothing: every size is checked before anything is loaded.
"""

from __future__ import annotations

import io
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tb_nanwatch.errors import CapsuleError
from tb_nanwatch.postmortem.capsule_files import open_regular
from tb_nanwatch.record.metadata import CAPSULE_HEADER
from tb_nanwatch.record.strict_json import JSONObject

_MAX_ARRAYS: Final = 1_000_000
_MAX_DEPTH: Final = 32
_MAX_RANK: Final = 32
# What a .npy header adds to an array: at most this many bytes for such shapes.
_MAX_NPY_HEADER: Final = 4096
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

Array = npt.NDArray[Any]


def array_name(i: int) -> str:
    """Returns the name under which the i-th stored part stands in the archive."""
    return f"a{i}"


@dataclass
class Stored:
    """An array in its stored form: its entry in the header, and its parts."""

    spec: JSONObject
    parts: list[Array]


def stored(value: Any) -> Stored:
    """Returns the stored form of an array.

    Raises:
        CapsuleError: its dtype has no stored form.
    """
    array = np.asarray(value)
    shape = list(array.shape)
    name = array.dtype.name
    if name in _PLAIN:
        plain = array.astype(array.dtype.newbyteorder("<"), copy=False)
        return Stored({"dtype": name, "shape": shape}, [np.asarray(plain, order="C")])
    if name in _EXTENDED:
        raw = np.ascontiguousarray(array).reshape(-1).view(_EXTENDED[name])
        return Stored({"dtype": name, "shape": shape}, [raw])
    if array.dtype.kind in "OSU":
        items = list(array.reshape(-1))
        for kind, of in (("bytes", bytes), ("str", str)):
            if all(isinstance(item, of) for item in items):
                raws = [
                    i.encode("utf-8") if isinstance(i, str) else bytes(i) for i in items
                ]
                lengths = np.array([len(r) for r in raws], np.int64)
                blob = np.frombuffer(b"".join(raws), np.uint8)
                return Stored({"dtype": kind, "shape": shape}, [lengths, blob])
    raise CapsuleError(
        f"an array of dtype {array.dtype} cannot be stored; expected numbers, booleans, "
        "strings or bytes"
    )


def encode_tree(value: Any, add: Any, depth: int) -> Any:
    """Returns the structure of a batch as JSON, with a number in the place of each array.

    Args:
        value: a nest of tuples, lists, dicts and None with arrays as leaves.
        add: stores an array, and returns its number.
        depth: of `value` in the batch.
    """
    if depth > _MAX_DEPTH:
        raise CapsuleError(f"the batch is nested more than {_MAX_DEPTH} deep")
    if value is None:
        return None
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise CapsuleError(
                f"the batch is a dict with keys {list(value)!r:.200}; expected strings"
            )
        items = [encode_tree(v, add, depth + 1) for v in value.values()]
        return {"t": "dict", "keys": list(value), "items": items}
    if isinstance(value, list | tuple):
        items = [encode_tree(v, add, depth + 1) for v in value]
        return {"t": "list" if isinstance(value, list) else "tuple", "items": items}
    return {"t": "array", "at": add(value)}


@dataclass
class Spec:
    """The header's declaration of one array: dtype, shape and parts."""

    dtype: str
    shape: list[int]
    sizes: list[int | None]  # elements of each part; None where only bounded

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def specs_of(entries: Any, max_bytes: int) -> list[Spec]:
    """Returns the header's declaration of each array, after checking that it is valid.

    Args:
        entries: the header's list.
        max_bytes: of all arrays together.
    """
    if not isinstance(entries, list) or len(entries) > _MAX_ARRAYS:
        raise CapsuleError("the capsule has no valid list of arrays")
    found: list[Spec] = []
    total = 0
    for i, entry in enumerate(entries):
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
        found.append(Spec(dtype, shape, [count, None] if dtype in _TEXTS else [count]))
    return found


def _part_dtypes(dtype: str) -> list[str]:
    if dtype in _TEXTS:
        return ["int64", "uint8"]
    return [_EXTENDED.get(dtype, dtype)]


def read_arrays(path: Path, specs: list[Spec], max_bytes: int) -> list[Array]:
    """Returns the arrays, after every size has been checked against its spec."""
    most = max_bytes + _MAX_NPY_HEADER * (2 * len(specs) + 1)
    try:
        with open_regular(path, most) as f, zipfile.ZipFile(f) as z:
            infos = {info.filename: info for info in z.infolist()}
            parts = [(s, j) for s in specs for j in range(len(s.sizes))]
            expected = [f"{array_name(i)}.npy" for i in range(len(parts))]
            if sorted(infos) != sorted(expected) or len(z.infolist()) != len(expected):
                raise CapsuleError(
                    f"{path} does not hold the {len(expected)} arrays that {CAPSULE_HEADER} names"
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


def _read_part(z: zipfile.ZipFile, info: zipfile.ZipInfo, spec: Spec, j: int) -> Array:
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
            f"{wanted if wanted is not None else '[n]'} by {CAPSULE_HEADER}"
        )
    if len(shape) > _MAX_RANK or len(body) != math.prod(shape) * dtype.itemsize:
        raise CapsuleError(f"{info.filename} is damaged or truncated")
    found_array: Array = np.frombuffer(body, dtype)
    return found_array.reshape(shape)


def _part_shape(spec: Spec, j: int) -> list[int] | None:
    if spec.dtype in _PLAIN:
        return spec.shape
    return [spec.count] if j == 0 else None


def _restored(spec: Spec, parts: list[Array]) -> Array:
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


def array_at(at: Any, arrays: list[Array], used: set[int]) -> Array:
    """Returns the array of a number in the header; each may be named once."""
    if type(at) is not int or not 0 <= at < len(arrays) or at in used:
        raise CapsuleError(f"the capsule names an array that it lacks: {at!r:.80}")
    used.add(at)
    return arrays[at]


def decode_tree(node: Any, arrays: list[Array], used: set[int], depth: int) -> Any:
    """Returns the batch that `encode_tree` has made `node` of."""
    if node is None:
        return None
    kind = node.get("t") if isinstance(node, dict) else None
    if kind == "array":
        return array_at(node.get("at"), arrays, used)
    items = node.get("items") if kind in ("list", "tuple", "dict") else None
    if not isinstance(items, list) or depth > _MAX_DEPTH:
        raise CapsuleError(f"the batch's structure is invalid: {node!r:.80}")
    children = [decode_tree(item, arrays, used, depth + 1) for item in items]
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
