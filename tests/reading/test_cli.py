"""The command: what it prints, its exit codes, and hostile names."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tb_nanwatch.reading.cli import main
from tb_nanwatch.reading.report import terminal
from tb_nanwatch.record.schema import HParam
from tb_nanwatch.wording.text import clean
from tests.reading.records import a_bad_tensor, a_search, a_status, a_verdict, write

ABORT = "RuntimeError: Number of consecutive failures exceeded the limit of 3."


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A search of three trials, one of them bad and scored anyway."""
    for i in (1, 2):
        write(tmp_path / f"000{i}" / "execution0", a_status(i), a_verdict(i))
    verdict = a_verdict(3, best_step=0, score=0.25)
    write(tmp_path / "0003" / "execution0", a_status(3, bad=True), verdict)
    return tmp_path


def test_the_report_in_words(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(logs)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "1 of 3 trials diverged; 1 of them was scored anyway." in out
    row, *remark = [line for line in out.splitlines() if "0003" in line]
    assert "the score 0.25, that of epoch 1; it" in " ".join(remark)
    for words in ("diverged, scored anyway", "epoch 2, batch 13", "0.25"):
        assert words in row
    assert "  The others: 2 clean. Best: " in out
    assert max(map(len, out.splitlines())) <= 80
    assert main(["report", str(logs), "--all"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "  Cause in Trial 0003: unknown." in out
    (clean,) = [line for line in out.splitlines() if "0001" in line]
    assert "clean" in clean
    assert "scored anyway" not in clean


def test_json_is_the_report_and_nothing_else(
    logs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(logs), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [r["status"] for r in shown["runs"]] == ["clean", "clean", "diverged"]
    assert shown["runs"][2]["misread"] == "stale_score"


def test_html_writes_one_page_and_keeps_the_exit_codes(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.html"
    arguments = ["report", str(logs), "--html", str(target)]
    assert main(arguments) == 0
    assert capsys.readouterr().out == ""
    shown = target.read_text(encoding="utf-8")
    assert shown.startswith("<!doctype html>") and "gradient of dense_2/kernel" in shown
    assert main([*arguments, "--fail-on", "diverged"]) == 1
    assert main(["report", str(logs), "--html", "-"]) == 0
    assert capsys.readouterr().out.startswith("<!doctype html>")


def test_a_page_that_cannot_be_written_is_said(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(logs), "--html", str(tmp_path / "no" / "x.html")]) == 2
    err = capsys.readouterr().err
    assert "cannot write the page" in err and "expected the path" in err


@pytest.mark.parametrize(
    "worst, fail_on, code",
    [
        ("diverged", "diverged", 1),
        ("diverged", "contained", 1),
        ("score_lost", "diverged", 0),
        ("score_lost", "score_lost", 1),
        ("stalled", "score_lost", 0),
        ("stalled", "stalled", 1),
        ("contained", "stalled", 0),
        ("contained", "contained", 1),
        ("clean", "contained", 0),
    ],
)
def test_fail_on(tmp_path: Path, worst: Any, fail_on: str, code: int) -> None:
    write(tmp_path / "a", a_status(1))
    write(tmp_path / "b", a_status(2, status=worst))
    assert main(["report", str(tmp_path), "--fail-on", fail_on]) == code


def test_fail_on_leaves_out_what_a_retry_replaced(tmp_path: Path) -> None:
    write(tmp_path / "run", a_status(1, trial_id="A", bad=True))
    assert main(["report", str(tmp_path), "--fail-on", "diverged"]) == 1
    write(tmp_path / "run", a_status(2, trial_id="A", attempt=1))
    assert main(["report", str(tmp_path), "--fail-on", "diverged"]) == 0


def test_no_such_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    err = capsys.readouterr().err
    assert "does not exist" in err
    assert "expected the directory" in err


def test_a_file_is_no_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["report", str(tmp_path / "file")]) == 2
    assert "is a file" in capsys.readouterr().err


def test_no_records_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "no NaN Watch records" in err
    assert "callbacks=[NanWatch(" in err


@pytest.mark.parametrize(
    "arguments", [[], ["report"], ["report", "x", "--fail-on", "clean"], ["frobnicate"]]
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2


def test_an_aborted_search_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in (1, 2, 3):
        verdict = a_verdict(
            i,
            tuner_status="FAILED",
            score=None,
            aborted=f"{ABORT}\nTraceback" if i == 3 else None,
        )
        write(tmp_path / str(i), a_status(i, bad=True), verdict)
    main(["report", str(tmp_path)])
    out = capsys.readouterr().out
    assert "NaN Watch: project: All 3 trials diverged. The search was aborted.\n" in out
    assert "max_consecutive_failed_trials=" in out
    main(["report", str(tmp_path), "--all"])
    out = " ".join(capsys.readouterr().out.split())
    assert f"The search was aborted: {ABORT} " in out
    assert "Trial 0001: diverged at" in out and "Trial 0003: diverged at" in out


def test_executions_and_retries_are_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a", a_status(1, trial_id="A"))
    write(tmp_path / "b", a_status(2, trial_id="A", execution=1))
    write(tmp_path / "c", a_status(3, trial_id="B", attempt=1))
    main(["report", str(tmp_path), "--all"])
    out = capsys.readouterr().out
    assert "A exec 1/2" in out
    assert "A exec 2/2" in out
    assert "B retry 1" in out
    assert "B exec" not in out


def test_damage_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "run", a_status(1, written={"events": 2}))
    main(["report", str(tmp_path)])
    assert (
        "Damage in Trial 0001: The last 2 of 2 events records" in capsys.readouterr().out
    )


def test_damage_in_an_attempt_that_a_later_one_replaced_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "0001" / "execution0"
    write(run, a_status(1, trial_id="0001", written={"events": 2}))
    write(run, a_status(2, trial_id="0001", attempt=1))
    main(["report", str(tmp_path)])
    said = "Damage in an earlier attempt of Trial 0001: The last 2 of 2 events"
    out = capsys.readouterr().out
    assert said in out and out.count("Damage") == 1
    main(["report", str(tmp_path), "--html", "-"])
    assert capsys.readouterr().out.count(said) == 1


def test_a_closed_pipe_is_no_error(logs: Path) -> None:
    code = "import sys; from tb_nanwatch.reading.cli import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "report", str(logs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout and process.stderr
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 0, err
    assert err == b""


# --- Names from event files ---------------------------------------------------------


@pytest.mark.parametrize(
    "hostile, shown",
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07name", "name"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Jname", "name"),
        ("\x1bcname", "name"),
        ("a\nb\r\tc", "a b c"),
        ("a\u202eb\u2028c", "a\ufffdb c"),
        ("\x00\x07\x7f", "\ufffd\ufffd\ufffd"),
        ("\ud800x", "\ufffdx"),
        ("[bold]x[/bold]", "[bold]x[/bold]"),
        ("dense/kernel", "dense/kernel"),
        ("Größe 学習率", "Größe 学習率"),
    ],
)
def test_clean(hostile: str, shown: str) -> None:
    assert clean(hostile) == shown


def test_clean_shortens() -> None:
    assert clean("x" * 10_000, 10) == "x" * 9 + "…"


EVIL = "\x1b[31mevil\x1b]0;t\x07\u202e\n[red]"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("out", [io.StringIO, Terminal], ids=["plain", "rich"])
def test_hostile_names_reach_no_terminal(tmp_path: Path, out: Any, read: Any) -> None:
    from tb_nanwatch.reading.report.overview import overview
    from tests.reading.records import CTX

    status = a_status(
        1,
        bad=True,
        trial_id=EVIL,
        search=a_search(name=EVIL, tuner=EVIL, objective=EVIL, id=EVIL),
        origin=a_bad_tensor(name=EVIL),
        hparams=[HParam(EVIL, EVIL, "text")],
        error_type=EVIL,
        state="failed",
        written={"events": 2},
    )
    verdict = a_verdict(1, tuner_status=EVIL, aborted=EVIL, trial_id=EVIL)
    write(tmp_path / "run", status, verdict)
    buffer = out()
    terminal.render(overview(read().snapshot(CTX, "")), buffer)
    text = buffer.getvalue()
    assert "evil" in text
    assert "[red]" in text  # as text, not as markup
    assert "\x1b[31mevil" not in text
    assert "\x1b]" not in text
    assert "\u202e" not in text
    if out is io.StringIO:
        assert "\x1b" not in text


# --- Replay and compare, before anything is imported or read ---------------------------


@pytest.mark.parametrize(
    "path, model, said",
    [
        ("nowhere", None, "'nowhere' does not exist; expected the directory"),
        ("file", None, "'file' is a file; expected the directory"),
        ("empty", None, "'empty' holds no capsule; expected the directory"),
        ("run", "FILE.py:build", "the file 'FILE.py', which does not exist"),
        ("run", "train.py", "--model was given 'train.py'; expected your program"),
        ("run", "train.py:bild", "'bild', which 'train.py' does not define; expected"),
        ("run", "broken.py:build", "'broken.py', which is no Python program: "),
        ("run", "nowhere.train:build", "the module 'nowhere.train', which is neither"),
    ],
)
def test_a_wrong_path_is_said_before_tensorflow_is_imported(
    tmp_path: Path, path: str, model: str | None, said: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "broken.py").write_text("def build(:")
    (tmp_path / "train.py").write_text("import keras\ndef build(hp): inner = 1")
    (tmp_path / "empty").mkdir()
    (tmp_path / "run" / "nanwatch_capsule").mkdir(parents=True)
    (tmp_path / "run" / "nanwatch_capsule" / "capsule.json").write_text("{}")
    code = (
        "import sys; from tb_nanwatch.reading.cli import main; code = main(sys.argv[1:]);"
        "assert 'tensorflow' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "replay",
            path,
            *(["--model", model] if model else []),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    assert said in done.stderr


@pytest.mark.parametrize(
    "code",
    [
        "def build(hp): ...",
        "class build: ...",
        "if True:\n    from models import make as build",
        "build = lambda hp: None",
        "from models import *",  # it may be one of these
    ],
)
def test_a_function_that_is_there_is_let_through(tmp_path: Path, code: str) -> None:
    from tb_nanwatch.reading import model_name

    file = tmp_path / "train.py"
    file.write_text(code)
    model_name.check(f"{file}:build")
    model_name.check("tests.reading.records:write")


def test_the_newest_search_is_compared_with_the_one_before_of_its_project(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a", a_status(1, search=a_search(1)))
    write(tmp_path / "b", a_status(2, search=a_search(2, name="another")))
    write(tmp_path / "c", a_status(3, search=a_search(3)))
    assert main(["compare", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [s["search"] for s in found["searches"]] == ["search-1", "search-3"]
    write(tmp_path / "d", a_status(4, search=a_search(4, name="alone")))
    assert main(["compare", str(tmp_path)]) == 2
    assert "there is no older search of 'alone'" in capsys.readouterr().err


def test_a_comparison_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i, bad in ((1, False), (2, True)):
        hparams = [HParam(f"name_{k}", f"{i} and more of it") for k in range(20)]
        write(tmp_path / str(i), a_status(i, bad=bad, hparams=hparams, search=None))
    assert main(["compare", str(tmp_path), "1", "2"]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) > 20
    assert max(map(len, out.splitlines())) <= 80


# --- Progress ----------------------------------------------------------------------------


def test_a_bar_on_a_terminal_alone() -> None:
    from tb_nanwatch.reading.log import progress

    looked, plain = Terminal(), io.StringIO()
    for stream in (looked, plain):
        with progress.bar(stream) as tell:
            tell("diagnosing", 3, 7)
    assert "diagnosing" in looked.getvalue() and "3/7" in looked.getvalue()
    assert plain.getvalue() == ""


def test_two_hundred_trials_take_two_screens(tmp_path: Path, read: Any) -> None:
    from tb_nanwatch.reading.report.overview import overview
    from tests.reading.records import CTX

    for i in range(200):
        write(tmp_path / f"{i}", a_status(i, bad=i % 2 == 0), a_verdict(i))
    out = io.StringIO()
    terminal.render(overview(read().snapshot(CTX, "")), out)
    lines = out.getvalue().splitlines()
    assert any(line.startswith("  The others: 70 more bad, 100 clean.") for line in lines)
    assert len(lines) <= 50 and max(map(len, lines)) <= 80


def test_the_package_runs_as_the_command(logs: Path) -> None:
    command = [sys.executable, "-m", "tb_nanwatch", "report", str(logs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "1 of 3 trials diverged" in done.stdout
    command += ["--fail-on", "diverged"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1
