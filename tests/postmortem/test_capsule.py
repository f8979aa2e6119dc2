"""A capsule comes back as it was written, and a hostile one is refused."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tb_nanwatch.errors import CapsuleError
from tb_nanwatch.postmortem import capsule_files
from tb_nanwatch.postmortem.capsule import Capsule, SavedVariable, Sum
from tb_nanwatch.record.schema import BadTensor, HParam, Position


def a_capsule() -> Capsule:
    rng = np.random.default_rng(3)
    x = {
        "table": rng.normal(size=(4, 3)).astype(np.float32),
        "half": np.array([1, np.nan, -np.inf], ml_dtypes.bfloat16),
        "words": np.array([[b"caf\xc3\xa9", b""], [b"\x00\xff", b"x"]], object),
        "names": np.array(["é", "b"]),
        "nothing": None,
        "fortran": np.asfortranarray(rng.normal(size=(2, 3))),
        "big_endian": np.arange(3, dtype=">i4"),
        "empty": np.zeros((0, 2), np.float16),
    }
    bad = BadTensor("loss", "total", num_nan=1, size=1)
    return Capsule(
        Position("train", 37, 1, 5),
        bad,
        [bad, BadTensor("weight", "dense/kernel", num_pos_inf=2, size=12, row=1)],
        data=(x, [np.float32(2), np.array(True)]),
        variables=[
            SavedVariable("model", "dense/kernel", np.ones((2, 3), np.float32)),
            SavedVariable("optimizer", "adam/iteration", np.array(7)),
            SavedVariable("metric", "mean/total", None),
        ],
        after=[SavedVariable("model", "dense/kernel", np.full((2, 3), np.nan))],
        sums=[Sum("loss", "total", float("nan")), Sum("input", "input", 1.5)],
        partial=True,
        missing=["the metrics' state"],
        run="0001/execution0",
        trial_id="0001",
        hparams=[HParam("lr", 0.1)],
        seed=3,
        model={"class_name": "Sequential", "config": {"code": "a\nb"}},
        versions={"keras": "3.15.1"},
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "deep" / "capsule"
    a_capsule().write(path, 1 << 20)
    return path


def test_it_comes_back_as_it_was(path: Path) -> None:
    written, read = a_capsule(), Capsule.read(path)
    x, (two, yes) = read.data
    for name, value in written.data[0].items():
        if value is None:
            assert x[name] is None
        else:
            assert x[name].shape == value.shape
            if value.dtype.kind not in "OU":
                assert x[name].dtype == value.dtype.newbyteorder("<")
            # NaN included: what is the same bit for bit is the same as bytes.
            assert x[name].astype(value.dtype).tobytes() == value.tobytes() or (
                x[name].tolist() == value.tolist()
            )
    assert (two.dtype, two.shape, yes.dtype) == (np.float32, (), np.bool_)
    assert isinstance(read.data, tuple) and isinstance(read.data[1], list)
    for old, new in zip(written.variables, read.variables, strict=True):
        assert (old.role, old.path) == (new.role, new.path)
        assert (old.value is None) == (new.value is None)
        if old.value is not None and new.value is not None:
            np.testing.assert_array_equal(old.value, new.value)
    assert read.variables[0].value is not None
    read.variables[0].value[0, 0] = 5  # its own, and writable
    assert np.isnan(read.after[0].value).all()  # type: ignore[arg-type]
    for name in ("position", "origin", "bad", "missing", "hparams", "model", "seed"):
        assert getattr(read, name) == getattr(written, name)
    assert np.isnan(read.sums[0].value) and read.sums[1] == written.sums[1]
    assert "CONTAINS TRAINING DATA" in (path / "README.txt").read_text()


def test_too_large_a_capsule_leaves_nothing(tmp_path: Path) -> None:
    capsule = a_capsule()
    size = capsule.nbytes()
    with pytest.raises(CapsuleError, match=f"{size:,} bytes"):
        capsule.write(tmp_path / "c", size - 1)
    assert not list(tmp_path.iterdir())
    capsule.write(tmp_path / "c", size)
    with pytest.raises(CapsuleError, match="exists"):
        capsule.write(tmp_path / "c", size)


@pytest.mark.parametrize("data", [{1: np.ones(2)}, np.array([object()]), [[]] * 3])
def test_what_cannot_be_stored_is_refused(tmp_path: Path, data: Any) -> None:
    capsule = a_capsule()
    for _ in range(40 if isinstance(data, list) else 0):
        data = [data]
    capsule.data = data
    with pytest.raises(CapsuleError):
        capsule.write(tmp_path / "c", 1 << 20)


Change = Callable[[dict[str, Any]], object]
BOMB = {"dtype": "float32", "shape": [1 << 40, 1 << 7], "arrays": 1}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda h: h.update(version=2), "version 2"),
        (lambda h: h.update(version=True), "no valid version"),
        (lambda h: h.pop("version"), "no valid version"),
        (lambda h: h.update(run="../../etc/passwd"), "relative path"),
        (lambda h: h.update(run="/etc"), "relative path"),
        (lambda h: h.update(run="a\x1b[2J"), "control character"),
        (lambda h: h["origin"].update(name="a\nb"), "control character"),
        (lambda h: h["variables"][0].update(path="\x00"), "control character"),
        (lambda h: h["origin"].update(kind="shell"), "kind"),
        (lambda h: h.update(position=None), "position"),
        (lambda h: h.pop("bad"), "bad"),
        (lambda h: h["arrays"][0].update(BOMB), "too large"),
        (lambda h: h["arrays"][0].update(shape=[-1]), "invalid shape"),
        (lambda h: h["arrays"][0].update(shape=[4, 4000]), "does not fit"),
        (lambda h: h["arrays"][0].update(shape=[4, 4]), "expected float32"),
        (lambda h: h["arrays"][0].update(shape=[3, 4]), "expected float32"),
        (lambda h: h["arrays"][0].update(dtype="int32"), "expected int32"),
        (lambda h: h["arrays"][0].update(dtype="object"), "unknown dtype"),
        (lambda h: h["arrays"].pop(), "does not hold"),
        (lambda h: h["variables"][0].update(value=999), "lacks"),
        (lambda h: h["variables"][0].update(value=0), "lacks"),
        (lambda h: h.update(data={"t": "call", "items": []}), "structure"),
        (lambda h: h.update(data={"t": "dict", "keys": [], "items": [None]}), "keys"),
    ],
)
def test_a_hostile_header_is_refused(path: Path, change: Change, says: str) -> None:
    header = json.loads((path / "capsule.json").read_text())
    change(header)
    (path / "capsule.json").write_text(json.dumps(header))
    with pytest.raises(CapsuleError, match=says):
        Capsule.read(path)


def test_truncated_and_missing_files_are_refused(path: Path) -> None:
    for name in ("arrays.npz", "capsule.json"):
        whole = (path / name).read_bytes()
        for share in (0, 0.3, 0.7, 0.99):
            (path / name).write_bytes(whole[: int(share * len(whole))])
            with pytest.raises(CapsuleError, match=r"truncated|not JSON"):
                Capsule.read(path)
        (path / name).unlink()
        with pytest.raises(CapsuleError, match=name):
            Capsule.read(path)
        (path / name).write_bytes(whole)
        Capsule.read(path)
    with pytest.raises(CapsuleError, match="no directory"):
        Capsule.read(path / "README.txt")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def socket_at(path: Path) -> None:
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as s:
        s.bind(f"{short}/s")  # no socket is bound to a long path
        os.rename(f"{short}/s", path)


SPECIAL: dict[str, tuple[Callable[[Path], Any], str]] = {
    "pipe": (fifo, "is a named pipe; expected a regular file"),
    "link to a device": (lambda p: p.symlink_to("/dev/zero"), "is a link; expected"),
    "link to a pipe": (
        lambda p: (fifo(p.with_name("pipe")), p.symlink_to("pipe")),
        "is a link; expected",
    ),
    "link in a circle": (lambda p: p.symlink_to(p.name), "is a link; expected"),
    "directory": (Path.mkdir, "is a directory; expected a regular file"),
    "socket": (socket_at, "cannot be read"),
    "hole": (lambda p: p.touch() or os.truncate(p, 1 << 40), r"at most [\d,]+$"),
}


@pytest.mark.parametrize("what", SPECIAL)
@pytest.mark.parametrize("name", ["capsule.json", "arrays.npz"])
def test_only_regular_files_are_read(name: str, what: str, path: Path) -> None:
    make, says = SPECIAL[what]
    (path / name).unlink()
    make(path / name)
    # Apart, since what waits for a pipe's writer, or reads a device, never ends.
    code = (
        "import resource, sys; from tb_nanwatch.postmortem.capsule import Capsule;"
        "resource.setrlimit(resource.RLIMIT_AS, (4 << 30,) * 2); Capsule.read(sys.argv[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60
    )
    said = done.stderr.strip().rpartition("\n")[2]
    assert said.startswith(f"tb_nanwatch.errors.CapsuleError: {path / name} "), said
    assert re.search(says, said), said


def test_what_takes_the_place_of_a_file_is_not_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def swapped(name: Any, *args: Any, **kwargs: Any) -> int:
        if Path(name) == path / "arrays.npz":
            Path(name).unlink()
            fifo(Path(name))
        return opened(name, *args, **kwargs)

    monkeypatch.setattr(os, "open", swapped)
    with pytest.raises(CapsuleError, match="is a named pipe"):
        Capsule.read(path)


def test_what_grows_after_its_size_was_asked_for_is_not_followed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (path / "capsule.json").open("a") as f:
        f.write(" " * (8 << 10))
    Capsule.read(path)  # spaces do no harm
    small = os.stat_result([stat.S_IFREG | 0o600, *[0] * 9])
    monkeypatch.setattr(os, "fstat", lambda descriptor: small)
    monkeypatch.setattr(capsule_files, "_MAX_JSON_BYTES", 100)
    with pytest.raises(CapsuleError, match="is not JSON"):
        Capsule.read(path)


def test_a_capsule_beside_other_files_is_read(path: Path) -> None:
    fifo(path / "other")
    (path / "link").symlink_to("/dev/zero")
    moved = path.with_name("elsewhere")
    moved.symlink_to(path)
    assert Capsule.read(moved).run == "0001/execution0"


def rezip(
    path: Path, change: Callable[[str, bytes], tuple[str, bytes]], **how: Any
) -> None:
    with zipfile.ZipFile(path / "arrays.npz") as z:
        members = [(name, z.read(name)) for name in z.namelist()]
    with zipfile.ZipFile(path / "arrays.npz", "w", **how) as z:
        for name, raw in members:
            z.writestr(*change(name, raw))


@pytest.mark.parametrize(
    ("change", "how", "says"),
    [
        (lambda n, r: (f"../../{n}", r), {}, "does not hold"),
        (lambda n, r: (n, r), {"compression": zipfile.ZIP_DEFLATED}, "compressed"),
        (lambda n, r: (n, r.replace(b"(4, 3)", b"(9, 9)")), {}, "expected"),
        (lambda n, r: (n, r.replace(b"'<f4'", b"'|O' ")), {}, "expected|no valid"),
        (lambda n, r: (n, b"\x80\x04" + r[2:]), {}, "no valid array"),
    ],
)
def test_hostile_arrays_are_refused(path: Path, change: Any, how: Any, says: str) -> None:
    rezip(path, lambda name, raw: (name, raw))
    Capsule.read(path)  # only the change is at fault
    rezip(path, change, **how)
    with pytest.raises(CapsuleError, match=says):
        Capsule.read(path)


def test_damage_within_an_array_is_seen(path: Path) -> None:
    raw = bytearray((path / "arrays.npz").read_bytes())
    at = raw.index(np.ones((2, 3), np.float32).tobytes())
    raw[at] ^= 1
    (path / "arrays.npz").write_bytes(raw)
    with pytest.raises(CapsuleError, match="CRC"):
        Capsule.read(path)


def test_reading_needs_no_framework_and_imports_nothing_that_it_names(path: Path) -> None:
    header = json.loads((path / "capsule.json").read_text())
    header["model"] = {"module": "antigravity", "class_name": "x", "config": {}}
    (path / "capsule.json").write_text(json.dumps(header))
    code = (
        "import sys; from tb_nanwatch.postmortem.capsule import Capsule;"
        "Capsule.read(sys.argv[1]);"
        "assert not {'antigravity', 'keras', 'tensorflow'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
