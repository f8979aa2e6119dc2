"""The versions that setup.py allows, tried: `make versions`.

Each session has an environment of its own, resolved from setup.py alone, and runs the
fast tests in it. A session that passes leaves what it had installed in build/versions;
the last one makes the README's table of it.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "uv"
nox.options.stop_on_first_error = False

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
# What writes, what reads, the plugin and its two loaders, KerasTuner: broad and quick.
FAST = (
    "tests/writing/test_health.py",
    "tests/writing/test_ranges.py",
    "tests/writing/test_proofs.py",
    "tests/writing/test_callback.py",
    "tests/writing/test_end_to_end.py",
    "tests/reading/test_schema.py",
    "tests/reading/test_reader.py",
    "tests/reading/test_loaders.py",
    "tests/reading/test_plugin.py",
    "tests/reading/test_report.py",
    "tests/reading/test_imports.py",
    "tests/tuner/test_misread.py",
)
SHOWN = {
    "tensorflow": "TensorFlow",
    "keras": "Keras",
    "keras-tuner": "KerasTuner",
    "tensorboard": "TensorBoard",
    "protobuf": "protobuf",
    "numpy": "NumPy",
}
# TensorBoard 2.18 imports pkg_resources, which setuptools 82 no longer has and which
# warns of that wherever it is imported.
OLD_SETUPTOOLS = "setuptools<80"
OLD_WARNINGS = ("ignore:pkg_resources is deprecated:UserWarning",)

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "build" / "versions"
README = HERE / "README.md"
START, END = "<!-- versions: made by make versions -->", "<!-- /versions -->"


@nox.session(python=PYTHONS[0])
def oldest(session: nox.Session) -> None:
    """The oldest of everything that setup.py names."""
    session.install("--resolution", "lowest-direct", ".[tuner]")
    session.install(OLD_SETUPTOOLS)
    _test(session, OLD_WARNINGS)


@nox.session(python=PYTHONS)
def newest(session: nox.Session) -> None:
    """The newest of everything that setup.py and this Python allow."""
    session.install("--upgrade", ".[tuner]")
    _test(session, ())


def _test(session: nox.Session, warnings: tuple[str, ...]) -> None:
    """Runs the fast tests, and leaves a result where they pass."""
    session.install("pytest>=8", "hypothesis>=6")
    RESULTS.mkdir(parents=True, exist_ok=True)
    result = RESULTS / f"{session.name}.json"
    result.unlink(missing_ok=True)
    xml = Path(session.create_tmp()) / "tests.xml"
    session.run(
        *("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow"),
        *(part for warning in warnings for part in ("-W", warning)),
        f"--junitxml={xml}",
        *FAST,
        *session.posargs,
        env={
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "",
            "KERAS_BACKEND": "tensorflow",
        },
    )
    if not xml.exists():
        return  # --install-only
    (suite,) = ElementTree.parse(xml).getroot().iter("testsuite")
    code = (
        "import importlib.metadata as m, json, platform; print(json.dumps({'python': "
        f"platform.python_version(), **{{n: m.version(n) for n in {tuple(SHOWN)}}}}}))"
    )
    found = json.loads(str(session.run("python", "-c", code, silent=True)))
    found["passed"] = int(suite.get("tests", 0)) - int(suite.get("skipped", 0))
    result.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(session.virtualenv.location)  # it takes gigabytes


@nox.session(venv_backend="none")
def table(session: nox.Session) -> None:
    """Writes the README's table of all sessions that passed."""
    found = [
        (path.stem.split("-")[0] == "newest", json.loads(path.read_text()))
        for path in RESULTS.glob("*.json")
    ]
    found.sort(key=lambda f: (f[0], [int(n) for n in f[1]["python"].split(".")]))
    if not found:
        session.error("no session has passed")
    head = ["Python", *SHOWN.values(), "tests passed"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for _, one in found:
        cells = [one["python"], *(one[name] for name in SHOWN), f"{one['passed']:,}"]
        lines.append("| " + " | ".join(cells) + " |")
    # It needs nothing that is not there where nox is.
    sys.path.insert(0, str(HERE))
    from benchmarks.made import put

    put(README, START, END, "\n".join(lines))
