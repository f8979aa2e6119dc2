"""A post-mortem goes from its record into report, verdict and terminal."""

from __future__ import annotations

import ast
import io
from pathlib import Path
from typing import Any

from tb_nanwatch.reading.contract.overview import in_report
from tb_nanwatch.reading.log.reader import Reader
from tb_nanwatch.reading.report import terminal
from tb_nanwatch.reading.report.logs import make_provider
from tb_nanwatch.reading.report.overview import overview as overview_of
from tb_nanwatch.record.schema import BadTensor, Experiment, HParam
from tests.reading.records import CTX, a_post_mortem, a_status, a_verdict, write
from tests.support.told import as_json, as_overview


def full(logdir: Path) -> dict[str, Any]:
    reader = Reader(make_provider(str(logdir)), clock=lambda: 1_700_000_100.0)
    return as_json(overview_of(reader.snapshot(CTX, "")))


def printed(overview: dict[str, Any]) -> str:
    out = io.StringIO()
    terminal.render(as_overview(overview), out, every=True)
    return " ".join(out.getvalue().split())


def test_the_report_names_operation_and_line(tmp_path: Path) -> None:
    write(tmp_path / "a", a_status(1, bad=True), a_verdict(1), a_post_mortem(1))
    write(tmp_path / "b", a_status(2), a_verdict(2))
    found = full(tmp_path)
    bad, good = found["runs"]
    assert bad["origin"]["op"] == "tf.math.divide"
    assert bad["origin"]["source"] == "loss.py:12"
    assert bad["postmortem"]["source"]["text"] == "error / tf.abs(labels)"
    assert good["postmortem"] is None
    assert bad["damage"] == good["damage"] == []
    text = printed(found)
    assert "`tf.math.divide` at loss.py:12: 1 of 32 denominators are 0" in text
    assert "error / tf.abs(labels)" in text
    (shown, _) = in_report(as_overview(found))["runs"]
    assert shown["origin"]["source"] == "loss.py:12"


def test_a_gradient_and_a_line_that_is_not_known(tmp_path: Path) -> None:
    write(
        tmp_path / "a",
        a_status(1, bad=True),
        a_post_mortem(1, op="tf.math.log", gradient=True, source=None),
    )
    reason = "Run operation by operation, loss has finite values only."
    unknown = {"reproduced": False, "text": "", "op": None, "source": None}
    write(
        tmp_path / "b",
        a_status(2, bad=True),
        a_post_mortem(2, reason=reason, **unknown),
    )
    found = full(tmp_path)
    origins = [run["origin"] for run in found["runs"]]
    assert [o["op"] for o in origins] == ["gradient of tf.math.log", None]
    assert [o["source"] for o in origins] == [None, None]
    assert reason in printed(found)


def test_a_script_runs_the_step_again(tmp_path: Path) -> None:
    hostile = 'a"); import os; os.abort()\n#'
    status = a_status(1, bad=True, hparams=[HParam(hostile, hostile), HParam("lr", 0.5)])
    capsule = "logs/it's here\n/capsule"
    write(tmp_path / "a", status, a_post_mortem(1, capsule=capsule))
    write(tmp_path / "b", a_status(2, bad=True), a_post_mortem(2))
    found = full(tmp_path)
    script, none = (run["reproduction"] for run in found["runs"])
    assert none is None
    tree = ast.parse(script)
    assigned = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and not isinstance(node.value, ast.Call)
    }
    assert assigned == {
        "CAPSULE": capsule,
        "VALUES": {hostile: hostile, "lr": 0.5},
        "MODEL": None,
    }
    imported = [node for node in tree.body if isinstance(node, ast.Import)]
    assert [name.name for node in imported for name in node.names] == ["sys"]
    assert "tb-nanwatch replay 'logs/it'\"'\"'s here\ufffd/capsule'" in printed(found)
    assert "--model" not in printed(found)
    own = a_post_mortem(3, capsule="c", own_code=["relative_error"])
    write(tmp_path / "b2", a_status(3, bad=True), own)
    assert "tb-nanwatch replay c --model loss.py:FUNCTION" in printed(full(tmp_path))
    (script,) = (r["reproduction"] for r in full(tmp_path)["runs"] if r["run"] == "b2")
    assert 'MODEL = "FILE.py:build"' in script and "relative_error" in script
    ast.parse(script)


def test_experiments_are_said(tmp_path: Path) -> None:
    tried = [
        Experiment("unchanged", "nothing changed"),
        Experiment("rows", "the offending rows left out", finite=True),
    ]
    write(tmp_path / "a", a_status(1, bad=True), a_post_mortem(1, experiments=tried))
    text = printed(full(tmp_path))
    assert "it would have stayed finite with the offending rows left out." in text
    assert "nothing changed" not in text


def test_the_verdict_names_the_line_that_all_share(tmp_path: Path) -> None:
    loss = BadTensor("loss", "ratio", num_nan=1, size=1)
    for n in range(1, 4):
        write(
            tmp_path / str(n),
            a_status(n, bad=True, origin=loss),
            a_verdict(n, tuner_status="FAILED", score=None),
            a_post_mortem(n),
        )
    (search,) = full(tmp_path)["searches"]
    line = "made by `tf.math.divide` at loss.py:12"
    assert line in search["verdict"]
    write(tmp_path / "4", a_status(4, bad=True, origin=loss), a_verdict(4))
    (search,) = full(tmp_path)["searches"]
    assert line not in search["verdict"]  # of one it is not known
