"""Who may import whom, and that viewing needs neither TensorFlow nor Keras."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import tb_nanwatch

PACKAGE = Path(tb_nanwatch.__file__).parent
SHARED = {
    "answer",
    "card",
    "chain_text",
    "closest",
    "codec",
    "schema",
    "metadata",
    "errors",
    "diagnosis",
    "facts",
    "measured",
    "messages",
    "reputation",
    "row_values",
    "rules",
    "strict_json",
    "tested",
    "text",
    "trial_names",
}
# What knows other packages' private names: all sides may, what is shared need not.
BELOW = SHARED | {"compat"}
FRAMEWORKS = {"tensorflow", "keras", "keras_tuner", "tf_keras"}


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
    """Returns the first part below tb_nanwatch of each of our own imports."""
    parts = (name.split(".") for name in imports(path))
    return {p[1] for p in parts if p[0] == "tb_nanwatch" and len(p) > 1}


def modules(side: str) -> list[Path]:
    found = sorted((PACKAGE / side).rglob("*.py"))
    assert len(found) > 1
    return found


@pytest.mark.parametrize("path", modules("writing"), ids=lambda p: p.name)
def test_writing_never_imports_reading(path: Path) -> None:
    assert ours(path) <= BELOW | {"writing", "postmortem", "__version__"}


@pytest.mark.parametrize("path", modules("postmortem"), ids=lambda p: p.name)
def test_the_post_mortem_imports_neither_side(path: Path) -> None:
    assert ours(path) <= BELOW | {"postmortem", "__version__"}


@pytest.mark.parametrize("path", modules("reading"), ids=lambda p: p.name)
def test_reading_never_imports_writing_or_a_framework(path: Path) -> None:
    # Replaying runs a training step; only the command that does so knows of it.
    above = {"replay"} if path.name == "cli.py" else set()
    assert ours(path) <= BELOW | {"reading", "__version__"} | above
    assert not {name.split(".")[0] for name in imports(path)} & FRAMEWORKS


@pytest.mark.parametrize("path", modules("compat"), ids=lambda p: p.name)
def test_private_names_are_below_all_sides_and_import_nothing_foreign(path: Path) -> None:
    # They are looked up by name, when they are needed.
    assert ours(path) <= {"compat", "errors"}
    foreign = {name.split(".")[0] for name in imports(path)} - {"tb_nanwatch"}
    assert foreign <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("name", sorted(SHARED))
def test_shared_modules_import_neither_side(name: str) -> None:
    paths = sorted((PACKAGE / name).glob("*.py")) or [PACKAGE / f"{name}.py"]
    for path in paths:
        assert ours(path) <= SHARED
        assert not {name.split(".")[0] for name in imports(path)} & FRAMEWORKS


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
        import tb_nanwatch.reading.loader
        import tb_nanwatch.reading.plugin
        import tb_nanwatch.reading.report
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
