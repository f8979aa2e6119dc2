"""Rooms import in one direction, and viewing needs neither TensorFlow nor Keras."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import tb_nanwatch

PACKAGE = Path(tb_nanwatch.__file__).parent
FRAMEWORKS = {"tensorflow", "keras", "keras_tuner", "tf_keras", "torch", "jax"}
# What no framework is needed for, and what only a training does.
PURE = ("record", "declaring", "wording", "diagnosis", "reading")
# Of each room on the way up: what it must not know.
NEVER = {
    "declaring": (
        "wording",
        "diagnosis",
        "postmortem",
        "writing",
        "reading",
        "stability",
    ),
    "record": ("wording", "diagnosis", "postmortem", "writing", "reading"),
    "wording": ("diagnosis", "postmortem", "writing", "reading"),
    "diagnosis": ("postmortem", "writing", "reading"),
    "postmortem": ("writing", "reading"),
    "writing": ("reading", "stability", "confirming"),
    "reading": ("writing", "postmortem", "stability", "confirming"),
    "stability": ("reading", "confirming"),
    "compat": ("record", "wording", "diagnosis", "postmortem", "writing", "reading"),
}
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def imports(path: Path) -> set[str]:
    """Returns the dotted names that a module imports, in functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
            found.add(node.module)
    return found


def ours(path: Path) -> set[str]:
    """Returns the modules of ours that a module imports, as keys of MODULES."""
    names = (name.removeprefix("tb_nanwatch.") for name in imports(path))
    return {
        found
        for name in names
        for found in (name, f"{name}.__init__")
        if found in MODULES
    }


def place(module: str) -> str:
    """Returns the folder of a module, or the module where folders lie beside it."""
    folder = MODULES[module].parent
    parted = any((child / "__init__.py").exists() for child in folder.iterdir())
    return module if parted else ".".join(folder.relative_to(PACKAGE).parts)


def test_places_import_in_one_direction() -> None:
    known = {m: place(m) for m in MODULES}
    graph: dict[str, set[str]] = {p: set() for p in known.values()}
    for module, path in MODULES.items():
        graph[known[module]] |= {known[o] for o in ours(path)} - {known[module]}
    tuple(
        graphlib.TopologicalSorter(graph).static_order()
    )  # raises where there is a circle


@pytest.mark.parametrize("module", MODULES)
def test_no_room_knows_one_above_it(module: str) -> None:
    side = module.split(".")[0]
    above = {m for m in ours(MODULES[module]) if m.split(".")[0] in NEVER.get(side, ())}
    assert not above
    if side in PURE:
        assert not {name.split(".")[0] for name in imports(MODULES[module])} & FRAMEWORKS


def test_what_is_sent_is_told_to_nothing_that_makes_it() -> None:
    contract = [m for m in MODULES if m.startswith("reading.contract.")]
    assert contract
    for module in contract:
        known = {m for m in ours(MODULES[module]) if m.startswith("reading.")}
        assert all(m.startswith("reading.contract.") for m in known), module


def test_the_pure_rooms_are_there() -> None:
    assert {m.split(".")[0] for m in MODULES} >= {*NEVER}


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("compat.")])
def test_private_names_are_looked_up_by_name_when_they_are_needed(module: str) -> None:
    foreign = {name.split(".")[0] for name in imports(MODULES[module])}
    assert foreign - {"tb_nanwatch"} <= set(sys.stdlib_module_names)


BLOCKER = """
    import sys

    class Blocker:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in {"tensorflow", "keras", "keras_tuner"}:
                raise ImportError(f"{name} is blocked")

    sys.meta_path.insert(0, Blocker())
"""


def run_blocked(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(BLOCKER) + textwrap.dedent(code),
            *arguments,
        ],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_blocker_blocks() -> None:
    assert run_blocked("import keras").returncode != 0


def test_reading_imports_without_frameworks() -> None:
    done = run_blocked(
        """
        import tb_nanwatch.reading.tab.loader
        import tb_nanwatch.reading.tab.plugin
        import tb_nanwatch.reading.report.overview
        import tb_nanwatch.reading.cli
        loaded = {name.split(".")[0] for name in sys.modules}
        assert not loaded & {"tensorflow", "keras", "keras_tuner"}, loaded
        import tb_nanwatch.compat.kerastuner
        import tb_nanwatch.compat.tensorflow
        import tb_nanwatch.postmortem.capsule
        assert not any(name.startswith("tb_nanwatch.writing") for name in sys.modules)
        """
    )
    assert done.returncode == 0, done.stderr


def test_the_report_loads_no_tensorflow_where_it_is_installed(tmp_path: Path) -> None:
    from tests.reading.records import a_status, write

    write(tmp_path / "run", a_status())
    code = """
        import sys
        from tb_nanwatch.reading.cli import main
        code = main(["report", sys.argv[1]])
        loaded = {name.split(".")[0] for name in sys.modules}
        assert not loaded & {"tensorflow", "keras", "keras_tuner"}, loaded
        sys.exit(code)
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "No trial went bad." in done.stdout


def test_a_class_has_a_name_of_its_own() -> None:
    # Each backend has its own of what the interface names.
    names: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        where = path.relative_to(PACKAGE).as_posix()
        if where.startswith("writing/backends/"):
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                names.setdefault(node.name, []).append(where)
    twice = {name: where for name, where in names.items() if len(where) > 1}
    # What a rewind needs of a backend, and a line of the user's.
    twice.pop("Source", None)
    assert not twice
