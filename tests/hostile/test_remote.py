"""Log directories that are no local ones: S3 (moto's server) and fsspec's file systems.

Read in a process of its own each time: TensorBoard reads S3 and fsspec only where
TensorFlow is not loaded.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tb_nanwatch import NanWatch
from tb_nanwatch.writing.log.summary import EventWriter
from tests.hostile.conftest import Tally
from tests.reading.records import a_status, an_events
from tests.writing.logs import read_log
from tests.writing.test_callback import assert_same, fit, mlp, weights

ROOT = Path(__file__).parents[2]
TITLE = "remote places, written and read"


def needed(name: str) -> Any:
    """Returns the module; without it the test is skipped, and under CI it fails."""
    try:
        return importlib.import_module(name)
    except ImportError:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"{name} is not installed")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The URL of a bucket that an S3-compatible server on this machine holds."""
    boto3, moto = needed("boto3"), needed("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    patch = pytest.MonkeyPatch()
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        patch.setenv(name, value)
    boto3.client("s3", endpoint_url=url).create_bucket(Bucket="bucket")
    yield "s3://bucket"
    patch.undo()
    server.stop()


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


REPORT = (
    "import sys; from tb_nanwatch.reading.cli import main; code = main(sys.argv[1:]);"
    "assert 'tensorflow' not in sys.modules; sys.exit(code)"
)
# As where TensorFlow is not installed: TensorBoard's loader, then the tab's overview.
SERVED = """
import sys, types
sys.modules["tensorboard.compat.notf"] = types.ModuleType("notf")
from tests.reading.records import CTX, load_with_python
from tb_nanwatch.reading.log.reader import Reader
loaded = load_with_python(sys.argv[1])
loaded.reload()
for s in Reader(loaded.provider).snapshot(CTX, "").sessions:
    print(s.run, s.status.status, s.damage)
assert "tensorflow" not in sys.modules
"""


def report(place: str) -> str:
    done = run(REPORT, "report", place)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.usefixtures("clean_keras")
def test_a_training_is_logged_to_s3_and_read_from_it(s3: str, tally: Tally) -> None:
    found = []
    for watches in ([], [NanWatch(f"{s3}/logs/run", hparams={"rate": 0.5})]):
        model = mlp()
        fit(model, *watches, bad=13)
        found.append(weights(model))
    assert_same(*found)
    shown = report(f"{s3}/logs")
    assert "run diverged at epoch 1, batch 2." in shown
    assert "Damage" not in shown
    served = run(SERVED, f"{s3}/logs")
    assert served.stdout == "run diverged []\n", served.stderr
    tally.add(TITLE, 1)


def test_what_fsspec_knows_is_written_and_read(tmp_path: Path, tally: Tally) -> None:
    needed("fsspec")
    place = f"local://{tmp_path}/logs"
    writer = EventWriter(f"{place}/run")
    for seq in range(3):
        writer.write(an_events(1, seq, seq))
        writer.write(a_status(seq=seq, bad=True, written={"events": seq + 1}))
    writer.close()
    assert [r.seq for r in read_log(tmp_path / "logs/run").all("events")] == [0, 1, 2]
    shown = report(place)
    assert "diverged" in shown and "Damage" not in shown
    tally.add(TITLE, 1)


def test_a_store_that_fails_in_between_loses_nothing(
    s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.compat.tensorflow_stub.io import gfile

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    writer = EventWriter(f"{s3}/flaky/run")
    writer.write(an_events(1, 0, 0))
    with monkeypatch.context() as broken, pytest.warns(UserWarning, match="no route"):
        broken.setattr(gfile.S3FileSystem, "write", fail)
        writer.write(an_events(1, 1, 1))
        writer.write(an_events(1, 2, 2))
    writer.write(a_status(bad=True, written={"events": 3}))
    writer.close()
    shown = report(f"{s3}/flaky")
    assert "diverged" in shown and "Damage" not in shown


def test_a_place_that_nobody_can_read_says_what_to_install() -> None:
    done = run(REPORT, "report", "nowhere://bucket/logs")
    assert done.returncode == 2
    assert "nowhere://" in done.stderr and "fsspec" in done.stderr
