"""The routes of http_api.md, through TensorBoard's own WSGI application."""

from __future__ import annotations

import dataclasses
import gzip
import json
import math
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.plugins.base_plugin import TBContext
from werkzeug.test import Client, TestResponse

from tb_nanwatch.reading.contract.overview import Overview
from tb_nanwatch.reading.contract.runs import RunSummary
from tb_nanwatch.reading.contract.searches import SearchSummary
from tb_nanwatch.reading.log.reader import Reader
from tb_nanwatch.reading.tab import plugin as plugin_module
from tb_nanwatch.reading.tab import served
from tb_nanwatch.reading.tab.plugin import NanWatchPlugin
from tb_nanwatch.record import schema
from tb_nanwatch.record.schema import FlightRecord
from tests.reading.records import (
    STARTED,
    a_ranges,
    a_search,
    a_session,
    a_status,
    a_verdict,
    an_events,
    session_id,
    write,
)

Serve = Callable[..., Client]
BASE = "/data/plugin/nanwatch"
RUN = "0001/execution0"


def a_flight(seq: int = 0, steps: int = 4) -> FlightRecord:
    return FlightRecord(
        session_id(1),
        seq,
        phase="train",
        steps=np.arange(steps),
        rms=np.full((steps, 2), np.inf, np.float32),
        full_steps=np.array([steps - 1]),
        stats=np.ones((1, 2, len(schema.RANGE_COLUMNS)), np.float32),
        counts=np.full((1, 2, 3), 7),
    )


@pytest.fixture
def client(tmp_path: Path, serve: Serve) -> Client:
    written = {"session": 1, "ranges": 2, "events": 2, "flight": 1}
    write(
        tmp_path / RUN,
        a_session(),
        a_ranges(1, 0, [(0, 0), (1, 4)]),
        an_events(1, 0, 0, 1),
        an_events(1, 1, 1, 2),
        a_ranges(1, 1, [(5, 9)], p=3),
        a_flight(),
        a_status(bad=True, written=written),
        a_verdict(score=math.inf),
    )
    return serve(tmp_path)


def ask(
    client: Client, route: str, method: str = "GET", **arguments: str
) -> TestResponse:
    return client.open(f"{BASE}/{route}", method=method, query_string=arguments)


def key(**more: str) -> dict[str, str]:
    return {"run": RUN, "session": session_id(1), **more}


def body(response: TestResponse) -> Any:
    def no_constants(name: str) -> None:
        raise AssertionError(f"{name} is not strict JSON")

    data = response.data
    if response.headers.get("Content-Encoding") == "gzip":
        data = gzip.decompress(data)
    return json.loads(data, parse_constant=no_constants)


def framed(response: TestResponse) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Reads the framing as http_api.md describes it."""
    (length,) = struct.unpack("<I", response.data[:4])
    assert length % 4 == 0
    header = json.loads(response.data[4 : 4 + length])
    values = np.frombuffer(response.data[4 + length :], "<f4")
    arrays = {}
    for entry in header["arrays"]:
        assert entry["dtype"] == "float32"
        size = math.prod(entry["shape"])
        arrays[entry["name"]] = values[:size].reshape(entry["shape"])
        values = values[size:]
    assert len(values) == 0
    return header, arrays


# --- TensorBoard's view of the plugin -------------------------------------------------


def test_tensorboard_lists_the_tab_by_its_data(client: Client) -> None:
    listing = client.get("/data/plugins_listing").get_json()["nanwatch"]
    assert listing["enabled"] is True
    assert listing["tab_name"] == "NaN Watch"
    assert listing["disable_reload"] is False
    assert listing["loading_mechanism"]["type"] == "IFRAME"


def test_without_records_the_tab_is_inactive(tmp_path: Path, serve: Serve) -> None:
    listing = serve(tmp_path).get("/data/plugins_listing").get_json()["nanwatch"]
    assert listing["enabled"] is False


class Listing:
    """A provider that lists one run of the HParams plugin, and counts the calls."""

    def __init__(self, *runs: str) -> None:
        self.runs = runs
        self.calls: list[str] = []

    def list_tensors(self, ctx: Any, *, experiment_id: str, plugin_name: str) -> Any:
        self.calls.append(plugin_name)
        return {run: {"_hparams_/session_start_info": None} for run in self.runs}


@pytest.mark.parametrize(
    "runs, active",
    [((), False), (("logs/my run",), False), (("logs/0/execution0",), True)],
)
def test_is_active_asks_for_searches_without_nan_watch_alone(
    runs: tuple[str, ...], active: bool
) -> None:
    provider = Listing(*runs)
    plugin = NanWatchPlugin(TBContext(data_provider=provider))
    assert plugin.is_active() is active
    assert provider.calls == ["hparams"]
    assert set(plugin.data_plugin_names()) == {"nanwatch", "nanwatch_status"}


# --- overview ------------------------------------------------------------------------


def names_of(cls: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(cls)}


def test_overview(client: Client) -> None:
    response = client.get(f"{BASE}/overview", headers={"Accept-Encoding": "gzip"})
    assert response.status_code == 200
    assert response.content_type == "application/json"
    assert response.headers["Content-Encoding"] == "gzip"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    shown = body(response)
    assert set(shown) == names_of(Overview)
    (search,) = shown["searches"]
    assert set(search) == names_of(SearchSummary)
    (run,) = shown["runs"]
    assert (run["run"], run["session"]) == (RUN, session_id(1))
    assert run["score"] == "Infinity"
    assert run["damage"] == []
    assert "lane" not in run
    assert len(search["lanes"]) == 1
    assert set(run) == names_of(RunSummary)


def test_overview_for_a_client_without_gzip(client: Client) -> None:
    response = client.get(f"{BASE}/overview")
    assert "Content-Encoding" not in response.headers
    assert body(response)["runs"][0]["run"] == RUN


def test_overview_of_nothing(tmp_path: Path, serve: Serve) -> None:
    shown = body(ask(serve(tmp_path), "overview"))
    assert shown["searches"] == shown["runs"] == shown["warnings"] == []


def test_overview_is_made_once_until_a_record_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tb_nanwatch.reading.report.logs import make_provider

    made = []
    original = served.overview

    def counted(snapshot: Any, causes: Any) -> Any:
        made.append(snapshot)
        return original(snapshot, causes)

    monkeypatch.setattr(served, "overview", counted)
    write(tmp_path / "run", a_status(1))
    provider = make_provider(str(tmp_path))
    reader = Reader(provider, clock=lambda: STARTED, max_age=0)
    plugin = NanWatchPlugin(TBContext(data_provider=provider), reader)
    client = Client(plugin.get_plugin_apps()["/overview"])
    for _ in range(3):
        assert len(body(client.get("/"))["runs"]) == 1
    assert len(made) == 1
    write(tmp_path / "other", a_status(2))
    provider._multiplexer.AddRunsFromDirectory(str(tmp_path))
    provider._multiplexer.Reload()
    assert len(body(client.get("/"))["runs"]) == 2
    assert len(made) == 2


def test_an_overview_that_is_known_is_not_sent_again(client: Client) -> None:
    etag = client.get(f"{BASE}/overview").headers["ETag"]
    again = client.get(f"{BASE}/overview", headers={"If-None-Match": etag})
    assert (again.status_code, again.data) == (304, b"")
    other = client.get(f"{BASE}/overview", headers={"If-None-Match": '"other"'})
    assert other.status_code == 200


def unpacked(response: TestResponse) -> list[dict[str, Any]]:
    """Reads the lanes of a block as http_api.md describes them."""
    data = response.data
    if response.headers.get("Content-Encoding") == "gzip":
        data = gzip.decompress(data)
    (length,) = struct.unpack("<I", data[:4])
    header = json.loads(data[4 : 4 + length])
    at, arrays = 4 + length, {}
    for entry in header["arrays"]:
        dtype, size = np.dtype(entry["dtype"]), math.prod(entry["shape"])
        found = np.frombuffer(data, dtype, size, at)
        arrays[entry["name"]] = found.reshape(entry["shape"])
        at += -(-size * dtype.itemsize // 4) * 4
    assert at == len(data)
    lanes, first, k = [], 0, len(header["series"])
    for (run, session, n), scale in zip(header["runs"], arrays["scales"], strict=True):
        part = slice(first, first + n)
        first += n
        values = {}
        codes = arrays["values"][k * part.start : k * part.stop].reshape(k, n)
        for name, (low, high), code in zip(
            header["series"], scale[:-1].reshape(k, 2), codes, strict=True
        ):
            decades = low + (code.astype(float) - 3) / 252 * (high - low)
            special = {0: math.nan, 1: 0.0, 2: math.inf}
            values[name] = [
                special.get(int(c), 10**d) for c, d in zip(code, decades, strict=True)
            ]
        lanes.append(
            {
                "key": (run, session),
                "steps": (np.cumsum(arrays["steps"][part]) - 1).tolist(),
                "epochs": arrays["epochs"][part].tolist(),
                "seconds": arrays["seconds"][part] / 65535 * scale[-1],
                "values": values,
            }
        )
    return lanes


def test_lanes_are_packed_and_one_is_told_exactly(tmp_path: Path, serve: Serve) -> None:
    lane = 10.0 ** np.random.default_rng(0).uniform(-3, 30, (6, len(schema.LANE_SERIES)))
    lane[1:4, 2] = [math.nan, 0.0, math.inf]
    lane = lane.astype(np.float32)
    series = {
        "lane": lane,
        "lane_steps": np.array([0, 1, 2, 5, 9, 20]),
        "lane_seconds": np.array([0.1, 0.2, 0.4, 0.5, 1.0, 2.0], np.float32),
        "lane_epochs": np.array([0, 0, 1, 1, 2, 2]),
    }
    none = {
        "lane": np.zeros((0, len(schema.LANE_SERIES))),
        "lane_steps": np.zeros(0),
        "lane_seconds": np.zeros(0),
        "lane_epochs": np.zeros(0),
    }
    write(tmp_path / "a", a_status(1, **series))
    write(tmp_path / "b", a_status(2, **none))
    write(tmp_path / "c", a_status(3))
    client = serve(tmp_path)
    first, empty, last = unpacked(ask(client, "lanes", search="search-1", block="0"))
    assert first["key"] == ("a", session_id(1)) and last["key"] == ("c", session_id(3))
    assert first["steps"] == [0, 1, 2, 5, 9, 20] and empty["steps"] == []
    assert first["epochs"] == [0, 0, 1, 1, 2, 2]
    np.testing.assert_allclose(first["seconds"], series["lane_seconds"], atol=1e-4)
    for i, name in enumerate(schema.LANE_SERIES):
        shown, true = np.array(first["values"][name]), lane[:, i]
        np.testing.assert_array_equal(np.isnan(shown), np.isnan(true))
        np.testing.assert_array_equal(np.isinf(shown), np.isinf(true))
        np.testing.assert_array_equal(shown == 0, true == 0)
        known = np.isfinite(true) & (true > 0)
        # 33 decades at most in 252 codes: a fifteenth of a decade off at most.
        assert np.abs(np.log10(shown[known] / true[known])).max() < 33 / 252 / 2 + 1e-6
    assert last["values"]["loss"] == [1.0] * 5
    _, arrays = framed(ask(client, "lane", run="a", session=session_id(1)))
    np.testing.assert_array_equal(arrays["values"], lane)
    np.testing.assert_array_equal(arrays["seconds"], series["lane_seconds"])


@pytest.mark.parametrize("more", [-2, -1, 1, 3])
def test_logs_of_another_version_are_shown(
    tmp_path: Path, serve: Serve, more: int
) -> None:
    wide, ranges = len(schema.LANE_SERIES) + more, a_ranges(1, 0, [(0, 0), (1, 4)])
    stats = np.ones((2, 2, len(schema.RANGE_COLUMNS) + more), np.float32)
    write(
        tmp_path / "a",
        a_status(1, lane=np.full((5, wide), 10.0, np.float32)),
        dataclasses.replace(ranges, stats=stats),
    )
    write(tmp_path / "b", a_status(2))  # of this version, in the same block
    client = serve(tmp_path)
    other, this = unpacked(ask(client, "lanes", search="search-1", block="0"))
    _, exact = framed(ask(client, "lane", run="a", session=session_id(1)))
    for i, name in enumerate(schema.LANE_SERIES):
        known = i < wide
        expected = np.full(5, 10.0 if known else math.nan)
        np.testing.assert_array_equal(other["values"][name], expected)
        np.testing.assert_array_equal(exact["values"][:, i], expected)
        assert this["values"][name] == [1.0] * 5
    query = {"run": "a", "session": session_id(1), "phase": "train"}
    header, arrays = framed(ask(client, "ranges", **query))
    for i, column in enumerate(arrays["stats"].transpose(2, 0, 1)):
        known = i < len(schema.RANGE_COLUMNS) + more
        np.testing.assert_array_equal(column, 1.0 if known else math.nan)
    assert header["columns"] == list(schema.RANGE_COLUMNS)


def test_a_block_of_lanes_changes_with_its_runs_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tb_nanwatch.reading.report.logs import make_provider
    from tb_nanwatch.reading.tab import lanes

    monkeypatch.setattr(lanes, "BLOCK_RUNS", 2)
    for i in (1, 2, 3):
        write(tmp_path / f"run{i}", a_status(i, state="running"))
    provider = make_provider(str(tmp_path))
    reader = Reader(provider, clock=lambda: STARTED, max_age=0)
    plugin = NanWatchPlugin(TBContext(data_provider=provider), reader)
    apps = plugin.get_plugin_apps()

    def versions() -> Any:
        (search,) = body(Client(apps["/overview"]).get("/"))["searches"]
        return search["lanes"]

    def steps(block: int) -> Any:
        query = {"search": "search-1", "block": str(block)}
        return [
            r["steps"]
            for r in unpacked(Client(apps["/lanes"]).get("/", query_string=query))
        ]

    before = versions()
    assert len(before) == 2 and steps(1) == [[0, 1, 2, 3, 4]]
    write(tmp_path / "run3", a_status(3, seq=1, lane_steps=np.arange(10, 15)))
    provider._multiplexer.Reload()
    after = versions()
    assert after[0] == before[0] and after[1] != before[1]
    assert steps(1) == [[10, 11, 12, 13, 14]]
    assert steps(0) == [[0, 1, 2, 3, 4]] * 2


def test_reading_ahead_makes_what_the_first_request_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tb_nanwatch.reading.report.logs import make_provider

    monkeypatch.setattr(plugin_module, "_WARM_UP_EVERY", 0.001)
    write(tmp_path / "run", a_status(1))
    provider = make_provider(str(tmp_path))
    reader = Reader(provider, clock=lambda: STARTED, max_age=0)
    plugin = NanWatchPlugin(TBContext(data_provider=provider), reader)
    plugin._warm_up()  # as its thread does
    made = []
    monkeypatch.setattr(served, "overview", made.append)
    monkeypatch.setattr(plugin_module.lanes, "packed", made.append)
    apps = plugin.get_plugin_apps()
    assert len(body(Client(apps["/overview"]).get("/"))["runs"]) == 1
    query = {"search": "search-1", "block": "0"}
    assert len(unpacked(Client(apps["/lanes"]).get("/", query_string=query))) == 1
    assert made == []


@pytest.mark.parametrize(
    "arguments, code, said",
    [
        ({"block": "0"}, 400, "'search' is missing"),
        ({"search": "search-1"}, 400, "'block' is missing"),
        ({"search": "search-1", "block": "-1"}, 400, "'block' is '-1'"),
        ({"search": "search-1", "block": "1"}, 404, "has 1 blocks"),
        ({"search": "", "block": "0"}, 404, "has 0 blocks"),
    ],
)
def test_lanes_that_are_not_there(
    client: Client, arguments: dict[str, str], code: int, said: str
) -> None:
    response = ask(client, "lanes", **arguments)
    assert response.status_code == code
    assert said in body(response)["error"]


def test_a_hundred_clients_at_once(client: Client) -> None:
    with ThreadPoolExecutor(16) as pool:
        bodies = list(pool.map(lambda _: body(ask(client, "overview")), range(100)))
    assert all(shown == bodies[0] for shown in bodies)


@pytest.mark.parametrize(
    "flags, warned", [((), False), (("--samples_per_plugin", "nanwatch=5"), True)]
)
def test_sampling_by_the_users_own_flag_is_warned_of(
    tmp_path: Path, serve: Serve, flags: tuple[str, ...], warned: bool
) -> None:
    warnings = body(ask(serve(tmp_path, *flags), "overview"))["warnings"]
    assert any("--samples_per_plugin=nanwatch=5" in w for w in warnings) == warned


# --- run -----------------------------------------------------------------------------


def test_run(client: Client) -> None:
    response = ask(client, "run", **key())
    assert response.status_code == 200
    shown = body(response)
    assert set(shown) == {
        *("run", "probes", "episodes", "environment", "phases", "loss_scaling")
    }
    assert shown["loss_scaling"] is None
    assert shown["run"]["run"] == RUN
    assert shown["run"]["damage"] == []
    assert "lane" not in shown["run"]
    assert [p["name"] for p in shown["probes"]["train"]] == ["dense_0", "dense_1"]
    assert shown["probes"]["validation"] == []
    assert shown["phases"] == ["train"]
    assert [e["id"] for e in shown["episodes"]] == [0, 1, 2]
    assert shown["environment"]["model"] == "mlp"
    assert set(shown["environment"]) == {
        *("model", "optimizer", "loss", "precision", "replicas", "jit_compile"),
        *("steps_per_execution", "versions", "notes"),
    }


def test_the_loss_scale_and_the_steps_that_it_skipped(
    tmp_path: Path, serve: Serve
) -> None:
    status = a_status(
        lane_steps=np.array([0, 1, 3]),
        lane=np.zeros((3, len(schema.LANE_SERIES))),
        lane_seconds=np.zeros(3),
        lane_epochs=np.zeros(3),
        lane_loss_scale=np.array([32768.0, 16384.0, 4096.0]),
        lane_skipped=np.array([0, 1, 2]),
    )
    write(tmp_path / RUN, status)
    shown = body(ask(serve(tmp_path), "run", **key()))
    assert shown["loss_scaling"] == {
        "steps": [0, 1, 3],
        "loss_scale": [32768, 16384, 4096],
        "skipped_steps": [0, 1, 2],
    }
    assert (shown["run"]["loss_scale"], shown["run"]["skipped_steps"]) == (4096, 3)


def test_run_without_its_session_record_says_so(tmp_path: Path, serve: Serve) -> None:
    write(tmp_path / RUN, a_status(written={"session": 1}))
    shown = body(ask(serve(tmp_path), "run", **key()))
    assert shown["probes"] == {"train": [], "validation": []}
    assert any("session records are missing" in d for d in shown["run"]["damage"])


# --- ranges and flight ---------------------------------------------------------------


def test_ranges(client: Client) -> None:
    response = ask(client, "ranges", **key(phase="train"))
    assert response.content_type == "application/octet-stream"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    header, arrays = framed(response)
    assert header["columns"] == list(schema.RANGE_COLUMNS)
    assert header["count_columns"] == list(schema.COUNT_COLUMNS)
    assert (header["buckets"], header["probes"]) == (3, 3)
    assert header["damage"] == []
    assert list(arrays) == ["steps", "stats", "counts", "bad_steps", "measured"]
    assert arrays["steps"].tolist() == [[0, 0], [1, 4], [5, 9]]
    # The third probe appeared with the second record.
    assert np.isnan(arrays["stats"][:2, 2]).all()
    assert (arrays["stats"][:2, :2] == 0).all()
    assert (arrays["stats"][2] == 1).all()
    assert (arrays["counts"][:, 2] == [[0] * 3, [0] * 3, [1] * 3]).all()


def test_a_gap_among_the_ranges_is_told_of(tmp_path: Path, serve: Serve) -> None:
    write(tmp_path / RUN, a_ranges(1, 0, [(0, 0)]), a_ranges(1, 2, [(2, 2)]), a_status())
    header, arrays = framed(ask(serve(tmp_path), "ranges", **key(phase="train")))
    assert "1 of 3 ranges records are missing" in header["damage"][0]
    assert arrays["steps"].tolist() == [[0, 0], [2, 2]]


def test_ranges_of_a_phase_without_any(client: Client) -> None:
    header, arrays = framed(ask(client, "ranges", **key(phase="validation")))
    assert (header["buckets"], header["probes"]) == (0, 0)
    assert arrays["stats"].shape == (0, 0, len(schema.RANGE_COLUMNS))


def test_flight(client: Client) -> None:
    header, arrays = framed(ask(client, "flight", **key(phase="train")))
    assert header["probes"] == 2
    assert list(arrays) == ["steps", "rms", "full_steps", "stats", "counts"]
    assert arrays["steps"].tolist() == [0, 1, 2, 3]
    assert np.isposinf(arrays["rms"]).all()
    assert (arrays["counts"] == 7).all()


def test_flight_of_a_run_without_any(client: Client) -> None:
    header, arrays = framed(ask(client, "flight", **key(phase="validation")))
    assert header["probes"] == 0
    assert arrays["rms"].shape == (0, 0)


# --- Errors --------------------------------------------------------------------------

ROUTES = ["run", "ranges", "flight"]


@pytest.mark.parametrize("route", ["overview", *ROUTES, "index.js"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_405(client: Client, route: str, method: str) -> None:
    response = ask(client, route, method, **key(phase="train"))
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, HEAD"
    assert "GET or HEAD" in body(response)["error"]


@pytest.mark.parametrize("route", ["overview", *ROUTES])
def test_head_has_no_body(client: Client, route: str) -> None:
    response = ask(client, route, "HEAD", **key(phase="train"))
    assert response.status_code == 200
    assert response.data == b""


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "query, word",
    [
        ("", "'run' is missing"),
        ("run=a", "'session' is missing"),
        ("run=&session=0000000000000001", "'run' is empty"),
        ("run=a&run=b&session=0000000000000001", "'run' was given 2 times"),
        ("run=a&session=1", "16 hexadecimal digits"),
        ("run=a&session=000000000000000G", "16 hexadecimal digits"),
        ("run=a&session=0000000000000001%0A", "16 hexadecimal digits"),
        (f"run={'a' * 20_000}&session=0000000000000001", "at most"),
    ],
)
def test_bad_arguments_are_400(client: Client, route: str, query: str, word: str) -> None:
    response = client.get(f"{BASE}/{route}?phase=train&{query}")
    assert response.status_code == 400
    assert response.content_type == "application/json"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert word in body(response)["error"]


@pytest.mark.parametrize("route", ["ranges", "flight"])
@pytest.mark.parametrize("phase", ["", "test", "TRAIN", "train,validation"])
def test_a_bad_phase_is_400(client: Client, route: str, phase: str) -> None:
    response = ask(client, route, **key(phase=phase))
    assert response.status_code == 400
    assert "train or validation" in body(response)["error"]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("run", ["nowhere", "../../etc/passwd", "<script>", "0001"])
def test_an_unknown_run_is_404(client: Client, route: str, run: str) -> None:
    response = ask(client, route, **key(run=run, phase="train"))
    assert response.status_code == 404
    assert response.content_type == "application/json"
    assert "no session" in body(response)["error"]


def test_a_failing_provider_is_a_500_in_json() -> None:
    class Failing:
        def list_tensors(self, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("secret path")

    plugin = NanWatchPlugin(TBContext(data_provider=Failing()))
    response = Client(plugin.get_plugin_apps()["/overview"]).get("/")
    assert response.status_code == 500
    assert "RuntimeError" in body(response)["error"]
    assert "secret path" not in body(response)["error"]


def test_hostile_names_travel_as_json(tmp_path: Path, serve: Serve) -> None:
    name = '<script>"\u202e\x00\ud800'
    write(tmp_path / "run", a_status(trial_id=name))
    shown = body(ask(serve(tmp_path), "overview"))
    assert shown["runs"][0]["trial_id"] == '<script>"\u202e\x00?'


# --- Static files --------------------------------------------------------------------


@pytest.fixture
def static(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.js").write_text("export function render() {}")
    (folder / "view-DiwrgTda.js").write_text("1")
    (folder / "assets" / "style-a1B2c3D4.css").write_text("p {}")
    (folder / "stability-frontier-of-trials.js").write_text("2")
    (folder / ".hidden").write_text("secret")
    (tmp_path / "outside.js").write_text("secret")
    monkeypatch.setattr(plugin_module, "STATIC_DIR", str(folder))
    return folder


def test_the_entry_point_is_never_cached(
    static: Path, tmp_path: Path, serve: Serve
) -> None:
    response = ask(serve(tmp_path), "index.js")
    assert response.status_code == 200
    assert response.content_type == "text/javascript; charset=utf-8"
    assert "no-cache" in response.headers["Cache-Control"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.data == b"export function render() {}"


@pytest.mark.parametrize(
    "name, content_type",
    [("view-DiwrgTda.js", "text/javascript"), ("assets/style-a1B2c3D4.css", "text/css")],
)
def test_hashed_files_are_cached_for_long(
    static: Path, tmp_path: Path, serve: Serve, name: str, content_type: str
) -> None:
    response = ask(serve(tmp_path), name)
    assert response.status_code == 200
    assert response.content_type.startswith(content_type)
    assert "max-age=31536000" in response.headers["Cache-Control"]


def test_other_files_are_not_cached(static: Path, tmp_path: Path, serve: Serve) -> None:
    response = ask(serve(tmp_path), "stability-frontier-of-trials.js")
    assert response.status_code == 200
    assert "no-cache" in response.headers["Cache-Control"]


@pytest.mark.parametrize(
    "path",
    [
        "../outside.js",
        "..%2foutside.js",
        "assets/../../outside.js",
        ".hidden",
        "assets/",
        "nothing.js",
        "/etc/passwd",
    ],
)
def test_nothing_but_the_listed_files_is_served(
    static: Path, tmp_path: Path, serve: Serve, path: str
) -> None:
    response = serve(tmp_path).get(f"{BASE}/{path}")
    assert response.status_code in (404, 301, 308)
    assert b"secret" not in response.data


def test_a_file_that_went_is_404(static: Path, tmp_path: Path, serve: Serve) -> None:
    client = serve(tmp_path)
    (static / "view-DiwrgTda.js").unlink()
    assert ask(client, "view-DiwrgTda.js").status_code == 404


def test_a_checkout_without_a_build_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve
) -> None:
    monkeypatch.setattr(plugin_module, "STATIC_DIR", str(tmp_path / "none"))
    response = ask(serve(tmp_path), "index.js")
    assert response.status_code == 200
    assert b"was not built" in response.data


# --- Comparisons ------------------------------------------------------------------


@pytest.fixture
def two(tmp_path: Path, serve: Serve) -> Client:
    """Two searches of one run each; that of the second went bad."""
    for number, bad in ((1, False), (2, True)):
        write(
            tmp_path / str(number),
            a_session(number),
            a_ranges(number, 0, [(0, 0), (1, 4)]),
            a_status(number, bad=bad, search=a_search(number)),
        )
    return serve(tmp_path)


PAIR = {
    "run": "1",
    "session": session_id(1),
    "with_run": "2",
    "with_session": session_id(2),
}


def test_compare_runs(two: Client) -> None:
    shown = body(ask(two, "compare_runs", **PAIR))
    assert shown["kind"] == "runs" and shown["schema_version"] == 1
    assert [r["status"] for r in shown["runs"]] == ["clean", "diverged"]
    assert shown["differences"][0]["name"] == "lr"
    assert set(shown["differences"][0]) == {
        *("topic", "name", "first", "second", "decades", "likely", "text", "setting")
    }
    assert {"names", "verdict", "parting", "alike", "notes"} <= set(shown)


def test_compare_searches(two: Client) -> None:
    arguments = {"search": "search-1", "with_search": "search-2"}
    shown = body(ask(two, "compare_searches", **arguments))
    assert shown["kind"] == "searches" and shown["p_value"] == 1
    assert [s["bad"] for s in shown["shares"]] == [0, 1]
    assert {"changes", "removed", "best_scores", "verdict", "names"} <= set(shown)


@pytest.mark.parametrize("name", list(PAIR))
@pytest.mark.parametrize("value, code", [("", 400), ("f" * 16, 404), ("x" * 20_000, 400)])
def test_compare_runs_checks_its_arguments(
    two: Client, name: str, value: str, code: int
) -> None:
    response = ask(two, "compare_runs", **{**PAIR, name: value})
    assert response.status_code == code
    if code == 400:
        assert f"argument '{name}'" in body(response)["error"]


@pytest.mark.parametrize(
    "arguments, code",
    [
        ({"search": "search-1"}, 400),
        ({"search": "search-1", "with_search": "nowhere"}, 404),
    ],
)
def test_compare_searches_checks_its_arguments(
    two: Client, arguments: dict[str, str], code: int
) -> None:
    response = ask(two, "compare_searches", **arguments)
    assert response.status_code == code
    assert "expected" in body(response)["error"]


# --- The edit of a cut --------------------------------------------------------------

CUT = {"search": "search-1", "hparam": "lr", "op": "ge", "bound": "0.5"}


def test_the_edit_of_a_cut(two: Client) -> None:
    shown = body(ask(two, "edit", **CUT))
    assert shown["code"] == 'hp.Float("lr", 0.1, 0.5)' and "build()" in shown["where"]
    none = {"code": "", "where": ""}
    # Nothing would be left; there is no such parent, no such hyperparameter.
    assert body(ask(two, "edit", **{**CUT, "bound": "0.01"})) == none
    assert body(ask(two, "edit", **CUT, facet="optimizer", value='"sgd"')) == none
    assert body(ask(two, "edit", **{**CUT, "hparam": "x"})) == none


@pytest.mark.parametrize(
    "changes, code",
    [
        ({"search": "nowhere"}, 404),
        ({"op": "gt"}, 400),
        ({"bound": "NaN"}, 400),
        ({"bound": "1e999"}, 400),
        ({"bound": "1" * 400}, 400),
        ({"bound": "["}, 400),
        ({"op": "in", "values": "1"}, 400),
        ({"op": "in", "values": "[[]]"}, 400),
        ({"facet": "lr", "value": "{}"}, 400),
        ({"facet": "lr"}, 400),
    ],
)
def test_the_edit_of_a_cut_checks_its_arguments(
    two: Client, changes: dict[str, str], code: int
) -> None:
    response = ask(two, "edit", **{**CUT, **changes})
    assert response.status_code == code
    assert "error" in body(response)
