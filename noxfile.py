# SPDX-License-Identifier: Apache-2.0
"""The versions that setup.py allows, tried: `make versions`.

Each session has an environment of its own, resolved from setup.py alone, and runs the
fast tests in it. A session that passes leaves what it had installed in build/versions;
the last one makes docs/versions.md's table of it. The newest pre-releases are tried too: there
it is told what failed, and where there are none, that.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "uv"
nox.options.stop_on_first_error = False

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
# The pre-releases' Python, and what they stand for by the names of their projects: they
# bring the same packages, which must not be installed beside them.
PRE_PYTHON = "3.12"
PRE_RELEASES = {"tensorflow": "tf-nightly", "keras": "keras-nightly"}
# What writes, what reads, the plugin and its two loaders, KerasTuner: broad and quick.
FAST = (
    "tests/compat/test_missing.py",
    "tests/reading/test_private_names.py",
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
PAGE = HERE / "docs" / "versions.md"
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


@nox.session(python=PRE_PYTHON)
def prerelease(session: nox.Session) -> None:
    """The newest pre-releases of Keras and TensorFlow, where there are any."""
    overrides = Path(session.create_tmp()) / "overrides.txt"
    # Of a Python that nobody has: so what requires the release does without it.
    overrides.write_text("".join(f"{n}; python_version < '3'\n" for n in PRE_RELEASES))
    try:
        session.install(
            *("--upgrade", "--prerelease=allow", f"--override={overrides}"),
            *(".[tuner]", *PRE_RELEASES.values()),
        )
    except CommandFailed:
        _save(session, {"python": PRE_PYTHON, "missing": list(PRE_RELEASES.values())})
        session.warn("not available: " + ", ".join(PRE_RELEASES.values()))
        return
    _test(session, (), must_pass=False)


def _test(
    session: nox.Session, warnings: tuple[str, ...], must_pass: bool = True
) -> None:
    """Runs the fast tests, and leaves a result where they pass or need not."""
    session.install("pytest>=8", "hypothesis>=6")
    (RESULTS / f"{session.name}.json").unlink(missing_ok=True)
    xml = Path(session.create_tmp()) / "tests.xml"
    session.run(
        *("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow"),
        *(part for warning in warnings for part in ("-W", warning)),
        f"--junitxml={xml}",
        *FAST,
        *session.posargs,
        success_codes=[0] if must_pass else [0, 1],
        env={
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "",
            "KERAS_BACKEND": "tensorflow",
        },
    )
    if not xml.exists():
        return  # --install-only
    (suite,) = ElementTree.parse(xml).getroot().iter("testsuite")
    projects = {n: n if must_pass else PRE_RELEASES.get(n, n) for n in SHOWN}
    code = (
        "import importlib.metadata as m, json, platform; print(json.dumps({'python': "
        f"platform.python_version(), **{{k: m.version(v) for k, v in {projects}.items()}}}}))"
    )
    found = json.loads(str(session.run("python", "-c", code, silent=True)))
    counts = {k: int(suite.get(k, 0)) for k in ("tests", "skipped", "failures", "errors")}
    found["failed"] = counts["failures"] + counts["errors"]
    found["passed"] = counts["tests"] - counts["skipped"] - found["failed"]
    _save(session, found)
    shutil.rmtree(session.virtualenv.location)  # it takes gigabytes
    if found["failed"]:
        session.error(f"{found['failed']} tests failed")


def _save(session: nox.Session, found: dict[str, object]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, indent=1) + "\n"
    (RESULTS / f"{session.name}.json").write_text(text, encoding="utf-8")


@nox.session(venv_backend="none")
def table(session: nox.Session) -> None:
    """Writes docs/versions.md's table of all sessions that left a result."""
    order = ("oldest", "newest", "prerelease")
    found = [
        (order.index(path.stem.split("-")[0]), json.loads(path.read_text()))
        for path in RESULTS.glob("*.json")
    ]
    found.sort(key=lambda f: (f[0], [int(n) for n in f[1]["python"].split(".")]))
    if not found:
        session.error("no session has passed")
    head = ["Python", *SHOWN.values(), "tests passed"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for _, one in found:
        lines.append("| " + " | ".join(_cells(one)) + " |")
    # It needs nothing that is not there where nox is.
    sys.path.insert(0, str(HERE))
    from benchmarks.made import put

    put(PAGE, START, END, "\n".join(lines))


def _cells(found: dict[str, object]) -> list[str]:
    """Returns a row of the table."""
    missing = found.get("missing")
    if isinstance(missing, list):
        absent = {n: p for n, p in PRE_RELEASES.items() if p in missing}
        names = [f"{absent[n]}: not available" if n in absent else "" for n in SHOWN]
        return [str(found["python"]), *names, ""]
    passed = f"{found['passed']:,}"
    if found.get("failed"):
        passed += f", {found['failed']:,} failed"
    return [str(found["python"]), *(str(found[name]) for name in SHOWN), passed]
