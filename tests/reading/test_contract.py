"""What the tab and http_api.md know of the classes that are sent is made from them."""

from __future__ import annotations

import dataclasses
import importlib
import shutil
from pathlib import Path
from types import ModuleType

import pytest

import tb_nanwatch

FRONTEND = Path(tb_nanwatch.__file__).parent.parent / "frontend"
FILES = ("schema.gen.ts", "decode.gen.ts", "http_api.md")


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FRONTEND))
    return importlib.import_module("generator.__main__")


def test_the_generated_files_are_of_today(generator: ModuleType) -> None:
    assert generator.main(["--check"]) == 0


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("planted", ["a line less", "a line more"])
def test_drift_is_found(
    name: str,
    planted: str,
    generator: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for path in (generator.API / FILES[0], generator.API / FILES[1], generator.PAGE):
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(generator, "API", tmp_path)
    monkeypatch.setattr(generator, "PAGE", tmp_path / FILES[2])
    lines = (tmp_path / name).read_text().splitlines(True)
    at = next(i for i, line in enumerate(lines) if "skipped_steps" in line)
    lines[at : at + 1] = [] if planted == "a line less" else [lines[at]] * 2
    (tmp_path / name).write_text("".join(lines))
    assert generator.main(["--check"]) == 1
    assert f"{name} is out of date" in capsys.readouterr().err
    assert generator.main([]) == 0 == generator.main(["--check"])


def test_a_class_without_a_table_is_found(generator: ModuleType) -> None:
    page = generator.PAGE.read_text()
    with pytest.raises(ValueError, match="lacks tables of \\['Cost'\\]"):
        generator.tables.generate(page.replace("<!-- fields of Cost -->", ""))


def test_every_field_is_said_and_what_is_promised_is_there(
    generator: ModuleType,
) -> None:
    classes = importlib.import_module("generator.classes")
    for cls in classes.classes():
        unsaid = [name for name, said in classes.said_of(cls).items() if not said]
        assert not unsaid, (cls, unsaid)
        names = {field.name for field in dataclasses.fields(cls)}
        assert set(getattr(cls, "IN_REPORT", ())) <= names, cls
