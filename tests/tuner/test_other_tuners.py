"""`hparams=` with any other tuner: a loop of one's own, and Optuna."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tb_nanwatch import NanWatch, NonFiniteError
from tests.tuner.searches import X, Y, linear, overview

ROOT = Path(__file__).resolve().parents[2]


def test_a_loop_of_ones_own(tmp_path: Path) -> None:
    lost = []
    for i, rate in enumerate([0.01, 1e8, 0.02]):
        values = {"rate": rate, "kind": "plain", "scaled": False, "n": i}
        watch = NanWatch(tmp_path / str(i), hparams=values, on_nonfinite="raise")
        try:
            linear(rate).fit(X, Y, epochs=2, verbose=0, callbacks=[watch])
        except NonFiniteError as e:
            lost.append((i, e))
    ((index, error),) = lost
    assert index == 1
    full = overview(tmp_path)
    (entry,) = full["searches"]
    assert (entry["search"], entry["trials"]) == ("by-hand:", 3)
    runs = {r["run"]: r for r in full["runs"]}
    assert sorted(runs) == ["0", "1", "2"]
    for i, run in enumerate(runs.values()):
        assert run["hparams"]["n"] == i and run["hparams"]["scaled"] is False
        assert (run["trial_id"], run["tuner_status"]) == (None, None)
    assert (runs["0"]["status"], runs["2"]["status"]) == ("clean", "clean")
    assert runs["1"]["onset"]["step"] == error.step
    assert runs["1"]["error_message"] == str(error)


def readme_code(holding: str) -> str:
    """Returns the one block of Python in the README that holds these words."""
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if holding in block]
    return found


def test_the_demo_holds_the_readmes_example_word_for_word() -> None:
    code = readme_code("optuna.Trial")
    assert "raise optuna.TrialPruned(str(e)) from e" in code
    assert code in (ROOT / "demo" / "with_optuna.py").read_text()


@pytest.mark.slow
def test_the_readmes_example_with_optuna(tmp_path: Path) -> None:
    program = ROOT / "demo" / "with_optuna.py"
    result = subprocess.run(
        [sys.executable, str(program)],
        cwd=tmp_path,
        env=os.environ
        | {
            "PYTHONPATH": str(ROOT),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "",
        },
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr
    pruned = dict(re.findall(r"Trial (\d+) pruned\. (NaN Watch: .*)", result.stderr))
    finished = set(re.findall(r"Trial (\d+) finished with value", result.stderr))
    assert len(pruned) + len(finished) == 8
    assert pruned and finished
    runs = {r["run"]: r for r in overview(tmp_path / "logs" / "optuna")["runs"]}
    assert set(runs) == {*pruned, *finished}
    for name, run in runs.items():
        rate = run["hparams"]["learning_rate"]
        assert 1e-4 <= rate <= 10
        if name in pruned:
            # The trial is pruned with what was logged, at the step that was logged.
            assert pruned[name] == run["error_message"]
            assert f"(step {run['onset']['step']})" in pruned[name]
            assert (run["state"], run["error_type"]) == ("failed", "NonFiniteError")
        else:
            assert (run["status"], run["state"]) == ("clean", "finished")
    assert min(runs[n]["hparams"]["learning_rate"] for n in pruned) > max(
        runs[n]["hparams"]["learning_rate"] for n in finished
    )
