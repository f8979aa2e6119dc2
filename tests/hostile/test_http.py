"""The routes attacked over a socket: nothing but what is ours to give comes out."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend import application, http_util
from werkzeug.serving import make_server

from tb_nanwatch.reading.report.logs import make_provider
from tb_nanwatch.reading.tab import plugin as plugin_module
from tb_nanwatch.reading.tab.loader import NanWatchLoader
from tests.hostile.conftest import Tally
from tests.reading.records import (
    a_ranges,
    a_session,
    a_status,
    default_flags,
    session_id,
    write,
)

BASE = "/data/plugin/nanwatch"
RUN = "0001/execution0"
SECRET = b"the secret beside the log directory"


class Answer:
    """A response as it came over the socket."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1]) if lines[0] else 0
        pairs = (line.partition(":") for line in lines[1:])
        self.headers = {k.strip().lower(): v.strip() for k, _, v in pairs}

    @property
    def json(self) -> Any:
        gzipped = self.headers.get("content-encoding") == "gzip"
        return json.loads(gzip.decompress(self.body) if gzipped else self.body)


class Server:
    """TensorBoard's own application on a socket, and raw requests to it."""

    def __init__(self, port: int) -> None:
        self.port = port

    def send(self, target: str | bytes, method: str = "GET", *more: str) -> Answer:
        raw = target if isinstance(target, bytes) else target.encode("latin-1")
        headers = "".join(f"{line}\r\n" for line in more)
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as s:
            s.sendall(
                method.encode() + b" " + raw + b" HTTP/1.1\r\nHost: localhost\r\n"
                b"Connection: close\r\n" + headers.encode() + b"\r\n"
            )
            parts = []
            while part := s.recv(65536):
                parts.append(part)
        return Answer(b"".join(parts))

    def ask(self, route: str, method: str = "GET", **arguments: str) -> Answer:
        query = urllib.parse.urlencode(arguments, errors="surrogatepass")
        return self.send(f"{BASE}/{route}?{query}", method)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("http")
    (root / "secret").write_bytes(SECRET)
    logdir = root / "logs"
    written = {"session": 1, "ranges": 1}
    write(
        logdir / RUN,
        a_session(),
        a_ranges(1, 0, [(0, 4)]),
        a_status(bad=True, written=written),
    )
    app = application.TensorBoardWSGIApp(
        default_flags(logdir), [NanWatchLoader], make_provider(str(logdir))
    )
    wsgi = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=wsgi.serve_forever)
    thread.start()
    yield Server(wsgi.server_port)
    wsgi.shutdown()
    thread.join()
    wsgi.server_close()


UP = (
    *("../../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/secret"),
    *(
        "..\\..\\secret",
        "....//....//secret",
        "static/../../../secret",
        "%00",
        "index.js%00",
    ),
    *("..%c0%af..%c0%afetc/passwd", "/etc/passwd", "//etc/passwd", "../plugin.py"),
    *(
        "../reading/plugin.py",
        ".",
        "..",
        "",
        "?",
        "index.js/../../setup.py",
        "%252e%252e/x",
    ),
    *("__init__.py", "index.js.map/", "assets", "reading/tab/http_api.md", "py.typed"),
)


@pytest.mark.parametrize("path", UP)
def test_nothing_outside_is_served(path: str, server: Server, tally: Tally) -> None:
    answer = server.send(f"{BASE}/{path}")
    assert answer.status in (200, 301, 302, 308, 400, 404)
    if answer.status == 200:
        # Paths that a server is free to tidy up before it looks for them.
        assert answer.headers["content-type"].startswith(("text/html", "text/javascript"))
    for secret in (SECRET, b"root:", b"import functools", b"find_packages"):
        assert secret not in answer.body
    tally.add("hostile requests", 1)


def test_every_file_that_is_served_is_one_of_the_package(server: Server) -> None:
    static = Path(plugin_module.STATIC_DIR)
    files = [p for p in static.rglob("*") if p.is_file()]
    assert len(files) >= 2
    for path in files:
        answer = server.send(f"{BASE}/{path.relative_to(static).as_posix()}")
        assert answer.status == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
        kind = {".js": "text/javascript", ".css": "text/css", ".txt": "text/plain"}
        expected = kind.get(path.suffix)
        assert expected is None or answer.headers["content-type"].startswith(expected)
        assert answer.body == path.read_bytes()


HOSTILE = (
    *("../../secret", "nowhere", "0001", "\x00", "%", "<script>alert(1)</script>"),
    *("x" * 10_000, "0001/execution0/", "\u202e", "1e999", "-1", str(10**400)),
    *("'; DROP TABLE runs; --", "${jndi:ldap://x}", "{{7*7}}", "*", "\ud800"),
)


@pytest.mark.parametrize("route", ["run", "ranges", "flight"])
@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
def test_hostile_arguments_are_refused(
    value: str, route: str, server: Server, tally: Tally
) -> None:
    good = {"run": RUN, "session": session_id(1), "phase": "train"}
    assert server.ask(route, **good).status == 200
    for name in good:
        if route == "run" and name == "phase":
            continue  # it takes none
        answer = server.ask(route, **{**good, name: value})
        assert answer.status in (400, 404), name
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert set(answer.json) == {"error"}
        assert len(answer.body) < 2_000  # the name is not given back whole
        tally.add("hostile requests", 1)


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "X"]
)
def test_other_methods_are_refused(method: str, server: Server, tally: Tally) -> None:
    for route in ("overview", "run", "ranges", "flight", "index.js"):
        answer = server.send(f"{BASE}/{route}", method, "Content-Length: 0")
        assert answer.status in (405, 501)
        assert answer.headers.get("x-content-type-options") == "nosniff"
        tally.add("hostile requests", 1)


@pytest.mark.parametrize(
    "raw",
    [
        b"/data/plugin/nanwatch/run?run=%ff%fe&session=0000000000000001",
        b"/data/plugin/nanwatch/run?" + b"a=1&" * 5_000,
        b"/data/plugin/nanwatch/run?run[]=x&session[$ne]=1",
        b"/data/plugin/nanwatch/\xff\xfe",
        b"/data/plugin/nanwatch/overview?" + b"x" * 30_000,
    ],
)
def test_malformed_requests_end_nothing(raw: bytes, server: Server, tally: Tally) -> None:
    assert server.send(raw).status in (200, 400, 404, 414)
    assert server.ask("overview").status == 200
    tally.add("hostile requests", 1)


def test_a_body_that_never_comes_holds_up_nobody(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as held:
        held.sendall(
            b"GET /data/plugin/nanwatch/overview HTTP/1.1\r\nHost: x\r\nContent-Le"
        )
        assert server.ask("overview").status == 200


def test_a_hundred_clients_get_the_same(server: Server, tally: Tally) -> None:
    key = {"run": RUN, "session": session_id(1), "phase": "train"}
    expected = {r: server.ask(r, **key).body for r in ("overview", "run", "ranges")}
    barrier = threading.Barrier(100)

    def client(i: int) -> bool:
        barrier.wait()
        route = sorted(expected)[i % 3]
        answer = server.ask(route, **key)
        return answer.status == 200 and answer.body == expected[route]

    with ThreadPoolExecutor(100) as pool:
        assert all(pool.map(client, range(100)))
    tally.add("hostile requests", 100)


@pytest.mark.parametrize(
    "route", ["overview", "run", "ranges", "flight", "index.js", "none"]
)
def test_every_response_says_its_type(route: str, server: Server) -> None:
    key = {"run": RUN, "session": session_id(1), "phase": "train"}
    for arguments in (key, {}):
        answer = server.ask(route, **arguments)
        assert answer.headers["content-type"]
        if route != "none":  # TensorBoard itself answers
            assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_csp_has_no_exemption(server: Server) -> None:
    ours = server.send("/data/plugin_entry.html?name=nanwatch")
    csp = ours.headers["content-security-policy"]
    assert "default-src 'self'" in csp
    sources = dict(part.strip().split(" ", 1) for part in csp.split(";") if " " in part)
    # The one hash is TensorBoard's for its own line that loads the module.
    scripts = sources["script-src"].split()
    assert [s for s in scripts if not s.startswith("'")] == []
    assert len([s for s in scripts if s.startswith("'sha256-")]) == 1
    assert "'unsafe-inline'" not in scripts
    # No plugin has changed the lists that all of TensorBoard shares.
    assert http_util._CSP_SCRIPT_DOMAINS_WHITELIST == []
    assert http_util._CSP_IMG_DOMAINS_WHITELIST == []
    assert http_util._CSP_STYLE_DOMAINS_WHITELIST == []
    assert http_util._CSP_CONNECT_DOMAINS_WHITELIST == []
