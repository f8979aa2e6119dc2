"""The built wheel, installed beside TensorBoard alone, serves what was built.

Nothing here runs in this process but the writer of the records: the wheel is made
from a source distribution, and `tensorboard` and `tb-nanwatch` are the commands
that a user would call, in an environment that has neither TensorFlow nor Keras.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
import venv
import zipfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tb_nanwatch.record import schema
from tb_nanwatch.writing.log.summary import EventWriter

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / "tb_nanwatch" / "static"
ADDRESS = re.compile(r"TensorBoard \S+ at (http://\S+?)/? ")
# A first start imports everything from a cold disk.
START_SECONDS = 90


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Runs a command outside of this checkout; its output is in the failure's message."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the wheel as `make build` does, from a copy of the sources."""
    source = tmp_path_factory.mktemp("source")
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "constraints.txt"):
        shutil.copy(ROOT / name, source)
    for name in ("README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(
        ROOT / "tb_nanwatch",
        source / "tb_nanwatch",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the Python of a new environment: the wheel and what it requires."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    pip = (python, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "install", "-c", constraints, wheel)
    return python


@pytest.fixture(scope="module")
def logdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of two trials, one clean and one that diverged at step 37."""
    logs = tmp_path_factory.mktemp("logs")
    search = schema.Search("0" * 16, "wheel", "RandomSearch", "val_loss", "min", 1.7e9)
    bad = {
        "status": "diverged",
        "onset": schema.Position("train", 37, 1, 5),
        "origin": schema.BadTensor("gradient", "dense/kernel", num_nan=3, size=8),
    }
    for number, changes in enumerate(({}, bad)):
        session_id = f"{number:016x}"
        writer = EventWriter(str(logs / f"{number}" / "execution0"))
        status = schema.StatusRecord(
            session_id,
            0,
            search=search,
            trial_id=f"{number}",
            hparams=[schema.HParam("learning_rate", 0.1 * (number + 1), "float")],
            state="finished",
            started=1.7e9,
            updated=1.7e9 + 5,
            steps=64,
            epochs=2,
            lane_steps=np.arange(4),
            lane=np.ones((4, len(schema.LANE_SERIES)), np.float32),
            lane_seconds=np.arange(4),
            lane_epochs=np.zeros(4),
            **changes,
        )
        writer.write(schema.SessionRecord(session_id, 0, [], []), status)
        writer.close()
    return logs


@pytest.fixture(params=["true", "false"], ids=["data server", "python loader"])
def tensorboard(
    request: pytest.FixtureRequest, python: Path, logdir: Path
) -> Iterator[str]:
    """Starts `tensorboard --logdir` as a user does; yields its address."""
    command = [python.with_name("tensorboard"), "--logdir", logdir, "--port", "0"]
    process = subprocess.Popen(
        [*map(str, command), f"--load_fast={request.param}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=logdir,
    )
    said: deque[str] = deque(maxlen=50)
    address: list[str] = []
    started = threading.Event()

    def listen() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            match = ADDRESS.search(line)
            if match is not None:
                address.append(match[1])
                started.set()
        started.set()

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        assert started.wait(START_SECONDS), "".join(said)
        assert address, "".join(said)
        yield address[0]
    finally:
        process.terminate()
        process.wait(30)
        listener.join(30)
        assert process.stderr is not None
        process.stderr.close()


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as response:
        assert response.status == 200
        body: bytes = response.read()
        if response.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        return body


def get_json(url: str) -> Any:
    return json.loads(get(url))


def eventually(get_it: Any, wanted: Any) -> Any:
    """Polls until the records are loaded, which happens after the start."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        got = get_it()
        if wanted(got) or time.monotonic() > deadline:
            return got
        time.sleep(0.2)


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {n for n in names if not re.match(r"tb_nanwatch-[^/]+\.dist-info/", n)}
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tb_nanwatch").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert package == expected
    assert {"tb_nanwatch/py.typed", "tb_nanwatch/static/index.js"} <= package
    assert any(n.endswith(".dist-info/licenses/LICENSE") for n in names)


def test_it_is_installed_without_tensorflow_and_keras(python: Path) -> None:
    missing = "import importlib.util as u; print([n for n in ('tensorflow', 'keras', 'keras_tuner') if u.find_spec(n)])"
    assert run(python, "-c", missing, cwd=python.parent).strip() == "[]"
    where = "import tb_nanwatch; print(tb_nanwatch.__file__)"
    assert str(ROOT) not in run(python, "-c", where, cwd=python.parent)


def test_naming_the_callback_there_says_what_is_missing(python: Path) -> None:
    code = (
        "import tb_nanwatch\ntry: tb_nanwatch.NanWatch\nexcept ImportError as e: print(e)"
    )
    assert "keras" in run(python, "-c", code, cwd=python.parent)


def test_tensorboard_serves_what_was_built(tensorboard: str) -> None:
    plugins = eventually(
        lambda: get_json(f"{tensorboard}/data/plugins_listing"),
        lambda listing: listing["nanwatch"]["enabled"],
    )
    assert plugins["nanwatch"]["enabled"] is True
    assert plugins["nanwatch"]["tab_name"] == "NaN Watch"
    assert plugins["nanwatch"]["loading_mechanism"]["type"] == "IFRAME"

    routes = f"{tensorboard}/data/plugin/nanwatch"
    files = [path for path in STATIC.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert get(f"{routes}/{path.relative_to(STATIC).as_posix()}") == path.read_bytes()

    overview = eventually(
        lambda: get_json(f"{routes}/overview"), lambda answer: len(answer["runs"]) == 2
    )
    by_run = {run["run"]: run for run in overview["runs"]}
    assert {name: run["status"] for name, run in by_run.items()} == {
        "0/execution0": "clean",
        "1/execution0": "diverged",
    }
    onset = by_run["1/execution0"]["onset"]
    assert (onset["step"], onset["epoch"], onset["batch"]) == (37, 1, 5)


def test_the_report_needs_no_more_than_that(python: Path, logdir: Path) -> None:
    command = python.with_name("tb-nanwatch")
    report = json.loads(run(command, "report", logdir, "--json", cwd=logdir))
    assert [run["status"] for run in report["runs"]].count("diverged") == 1
    assert "epoch 2, batch 6" in run(command, "report", logdir, cwd=logdir)


# --- Beside what is installed already -----------------------------------------------------

# Of the images that notebook services run; who publishes them, as of when.
NOTEBOOKS = {
    # googlecolab/backend-info, pip-freeze.txt of 2026-08-19 (Python 3.13).
    "Colab": "tensorflow 2.20.0 keras 3.13.2 tensorboard 2.20.0 protobuf 5.29.6 numpy 2.1.3 "
    "werkzeug 3.1.8 rich 13.9.4 scipy 1.16.3 scikit-learn 1.6.1 six 1.17.0",
    # Kaggle/docker-python of 2026-08-12 is built on Colab's image of 2026-05-14, whose
    # versions googlecolab/backend-info lists on 2026-05-08, with the newest KerasTuner.
    "Kaggle": "tensorflow 2.20.0 keras 3.13.2 tensorboard 2.20.0 protobuf 5.29.6 numpy 2.0.2 "
    "werkzeug 3.1.8 rich 13.9.4 scipy 1.16.3 scikit-learn 1.6.1 six 1.17.0 keras-tuner 1.4.8",
}


def version_sets() -> dict[str, dict[str, str]]:
    """Returns what is installed where: on notebook services, and by docs/versions.md."""
    found = {}
    for name, text in NOTEBOOKS.items():
        words = text.split()
        found[name] = dict(zip(words[::2], words[1::2], strict=True))
    table = (ROOT / "docs" / "versions.md").read_text(encoding="utf-8")
    for row in re.findall(r"^\| (3\..*) \|$", table, re.MULTILINE):
        python, tensorflow, keras, tuner, board, protobuf, numpy, _ = row.split(" | ")
        found[f"Python {python}, TensorFlow {tensorflow}"] = {
            "tensorflow": tensorflow,
            "keras": keras,
            "keras-tuner": tuner,
            "tensorboard": board,
            "protobuf": protobuf,
            "numpy": numpy,
            # Brought by TensorBoard, and by Keras.
            "werkzeug": "3.1.8",
            "rich": "13.9.4",
        }
    return found


def planned(wheel: Path, installed: dict[str, str], home: Path) -> list[str]:
    """Returns the names of what pip would install beside these; the network is not asked."""
    venv.create(home, with_pip=False)
    (site,) = home.glob("lib/python3.*/site-packages")
    for name, version in installed.items():
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        said = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (info / "METADATA").write_text(said)
        (info / "INSTALLER").write_text("pip\n")
    pip = (sys.executable, "-m", "pip", "--python", home / "bin" / "python", "--quiet")
    plan = home / "plan.json"
    options = ("--dry-run", "--no-index", "--report", plan)
    run(*pip, "--disable-pip-version-check", "install", *options, wheel)
    found = json.loads(plan.read_text())["install"]
    return [entry["metadata"]["name"] for entry in found]


@pytest.mark.parametrize("where", version_sets())
def test_nothing_that_is_installed_is_changed(
    where: str, wheel: Path, tmp_path: Path
) -> None:
    assert planned(wheel, version_sets()[where], tmp_path / "home") == ["tb-nanwatch"]


def test_what_is_too_old_would_be_noticed(wheel: Path, tmp_path: Path) -> None:
    (old,) = [dict(v) for n, v in version_sets().items() if n == "Colab"]
    with pytest.raises(AssertionError, match="tensorboard"):
        planned(wheel, old | {"tensorboard": "2.17.0"}, tmp_path / "home")


# --- For a package index ------------------------------------------------------------------


def long_description(repository: str) -> str:
    code = "import runpy, sys; sys.argv = ['setup.py', '--long-description']; "
    done = subprocess.run(
        [sys.executable, "-c", code + "runpy.run_path('setup.py', run_name='__main__')"],
        cwd=ROOT,
        env={**os.environ, "NANWATCH_REPOSITORY": repository},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("repository", ["", "https://example.org/nobody/nothing"])
def test_no_link_of_the_description_is_relative(repository: str) -> None:
    shown = long_description(repository)
    links = re.findall(r"\]\(([^)\s]+)\)", shown)
    assert [at for at in links if not re.match(r"https?://|#", at)] == []
    pictures = re.findall(r"!\[[^]]*\]\(([^)\s]+)\)", shown)
    if repository:
        assert (
            [p for p in pictures if p.endswith("/docs/tab.png")]
            == [p for p in pictures if p.startswith(f"{repository}/raw/v")]
            != []
        )
        assert f"{repository}/blob/v" in shown
    else:
        assert pictures == [] and "docs/stability.md" in shown


@pytest.mark.skipif(
    not (importlib.util.find_spec("twine") or os.environ.get("CI")),
    reason="twine is missing: make test installs it",
)
def test_twine_finds_nothing_wrong(wheel: Path) -> None:
    said = run(sys.executable, "-m", "twine", "check", "--strict", wheel)
    assert "PASSED" in said
