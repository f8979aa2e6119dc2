"""What TensorBoard's HParams tab shows of trainings that NaN Watch logged, over its HTTP API."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend import application
from tensorboard.plugins.hparams.hparams_plugin import HParamsPlugin
from tensorboard.plugins.scalar.scalars_plugin import ScalarsPlugin
from werkzeug.test import Client

from tb_nanwatch import NanWatch
from tb_nanwatch.reading.report.logs import make_provider
from tb_nanwatch.record.schema import STATUSES
from tests.reading.records import default_flags
from tests.tuner.searches import linear, make, overview, search

pytestmark = pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning")


def build(hp: Any) -> Any:
    return linear([0.01, 1e30][hp.Int("n", 0, 1)])


def asked(logdir: Path) -> list[dict[str, Any]]:
    """The groups of sessions that the tab's table would show."""
    app = application.TensorBoardWSGIApp(
        default_flags(logdir), [HParamsPlugin, ScalarsPlugin], make_provider(str(logdir))
    )
    client, route = Client(app), "/data/plugin/hparams/"
    names = ("nanwatch/status", "nanwatch/score")
    told = client.post(f"{route}experiment", json={"experimentName": ""}).data
    assert {m["name"]["tag"] for m in json.loads(told)["metricInfos"]} == set(names)
    body = {
        "experimentName": "",
        "startIndex": 0,
        "sliceSize": 100,
        "colParams": [{"metric": {"tag": t, "group": ""}} for t in names],
        "allowedStatuses": [
            f"STATUS_{s}" for s in ("UNKNOWN", "SUCCESS", "FAILURE", "RUNNING")
        ],
    }
    groups = json.loads(client.post(f"{route}session_groups", json=body).data)
    return list(groups["sessionGroups"])


def test_trials_of_two_searches_stay_apart_and_have_score_and_status(
    tmp_path: Path,
) -> None:
    for project in ("one", "other"):
        tuner = make("GridSearch", build, tmp_path / project, project_name=project)
        search(tuner, NanWatch(tmp_path / "logs" / project, capsules=0, experiments=0))
    runs = {r["run"]: r for r in overview(tmp_path / "logs")["runs"]}
    groups = asked(tmp_path / "logs")
    assert len(groups) == len(runs) == 4
    for group in groups:
        (session,) = group["sessions"]
        run = runs[session["name"]]
        assert group["name"].startswith(f"{run['run'].split('/')[0]}/")
        values = {v["name"]["tag"]: v["value"] for v in group["metricValues"]}
        assert STATUSES[int(values["nanwatch/status"])] == run["status"]
        if isinstance(run["score"], str) or not math.isfinite(run["score"]):
            assert "nanwatch/score" not in values
        else:
            assert values["nanwatch/score"] == pytest.approx(run["score"])
    assert {r["status"] for r in runs.values()} > {"clean"}
