"""The TensorBoard plugin: parse the arguments, call reader or report, respond."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import hashlib
import json
import math
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tensorboard import errors as tb_errors
from tensorboard import plugin_util
from tensorboard.backend import http_util
from tensorboard.context import RequestContext
from tensorboard.plugins import base_plugin
from tensorboard.util import tb_logging
from werkzeug import wrappers

from tb_nanwatch.reading.comparison import compare
from tb_nanwatch.reading.contract.details import Markdown, SpaceEdit
from tb_nanwatch.reading.log.causes import Causes
from tb_nanwatch.reading.log.reader import NotFoundError, Reader
from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.reading.log.snapshot import Snapshot
from tb_nanwatch.reading.report import report, told
from tb_nanwatch.reading.search.asked_edit import Where, edit_for
from tb_nanwatch.reading.search.edit import Cut
from tb_nanwatch.reading.tab import details, lanes
from tb_nanwatch.record import metadata, schema, strict_json
from tb_nanwatch.wording import card
from tb_nanwatch.wording.causes import MEANINGS

logger = tb_logging.get_logger()

_STATIC_DIR: Final = os.path.join(Path(__file__).parents[2], "static")
_CONTENT_TYPES: Final[dict[str, str]] = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
}
# What the build appends to a name; such a file never changes.
_HASHED: Final = re.compile(r"-[A-Za-z0-9_-]{8}\.[a-z0-9]+$")
_ONE_YEAR: Final = 365 * 24 * 3600
_SESSION_ID: Final = re.compile(r"[0-9a-f]{16}")
# Longer than any path that a file system allows.
_MAX_RUN_NAME: Final = 16_384
# Higher levels take longer than they save: the browser is on the same machine or
# network, and the overview is made anew whenever a record changes.
_GZIP_LEVEL: Final = 1
# At the start TensorBoard loads for seconds, or minutes: what has come is read meanwhile.
_WARM_UP_EVERY: Final = 1.0
_WARM_UP_SECONDS: Final = 600.0

_NOT_BUILT: Final = """\
export function render() {
  document.body.textContent =
    "The NaN Watch tab was not built: tb_nanwatch/static/index.js is missing. " +
    "Reinstall tb-nanwatch, or run the frontend's build in a checkout.";
}
"""

# Returns a WSGI application: what `http_util.Respond` makes has no types.
Handler = Callable[[wrappers.Request], Any]


class BadArgumentError(ValueError):
    """An argument of a request is missing or invalid."""


@dataclass
class _Served:
    """An overview as compressed bytes, and the snapshot that it was made of."""

    snapshot: Snapshot
    body: bytes
    etag: str
    # Lanes in blocks, by search: of each its version and its sessions.
    blocks: dict[str, list[tuple[str, list[Session]]]]


class NanWatchPlugin(base_plugin.TBPlugin):
    """Serves what http_api.md describes.

    Args:
        context: TensorBoard's `TBContext`.
        reader: reads the records; made from the context's data provider if None.
    """

    plugin_name = metadata.PLUGIN_NAME

    def __init__(self, context: Any, reader: Reader | None = None) -> None:
        self._reader = reader or Reader(context.data_provider)
        self._causes = Causes(self._reader)
        # For what is passed on: without values of single rows.
        self._causes_to_pass_on = Causes(self._reader, with_data=False)
        self._logdir = _logdir(context)
        self._warnings = _sampling_warnings(context.sampling_hints)
        self._static = _list_static(_STATIC_DIR)
        self._lock = threading.Lock()
        self._served: dict[str, _Served] = {}
        # Compressed lanes with their version, by experiment, search and block.
        self._packed: dict[tuple[str, str, int], tuple[str, bytes]] = {}
        self._asked = threading.Event()

    def warm_up(self) -> None:
        """Reads ahead while TensorBoard loads, in a thread of its own.

        It ends when nothing new has come for a moment, or when somebody has asked.
        """
        threading.Thread(
            target=self._warm_up, name="nanwatch-warm-up", daemon=True
        ).start()

    def _warm_up(self) -> None:
        ctx = RequestContext()
        deadline = time.monotonic() + _WARM_UP_SECONDS
        last: Snapshot | None = None
        try:
            while time.monotonic() < deadline and not self._asked.wait(_WARM_UP_EVERY):
                snapshot = self._reader.snapshot(ctx, "")
                if snapshot is last and snapshot.sessions:
                    served = self._overview_of(ctx, "")
                    for search, blocks in served.blocks.items():
                        for index in range(len(blocks)):
                            self._pack(served, "", search, index)
                    return
                last = snapshot
        except Exception:
            # Reading ahead is a courtesy; who asks is told what is wrong.
            logger.debug("NaN Watch could not read ahead", exc_info=True)

    def is_active(self) -> bool:
        """Returns whether there are searches that were logged without NaN Watch.

        Asked only where there are no records of ours: those TensorBoard finds by
        `data_plugin_names`.
        """
        return self._reader.has_unwatched(RequestContext(), "")

    def data_plugin_names(self) -> tuple[str, ...]:
        """Returns the names under which our records are stored."""
        return (metadata.PLUGIN_NAME, metadata.STATUS_PLUGIN_NAME)

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """Returns the tab's name and entry point."""
        return base_plugin.FrontendMetadata(
            es_module_path="/index.js", tab_name="NaN Watch", disable_reload=False
        )

    def get_plugin_apps(self) -> dict[str, Any]:
        """Returns the routes: those of http_api.md, and one for each static file."""
        handlers: dict[str, Handler] = {
            "/overview": self._overview,
            "/lanes": self._lanes,
            "/lane": self._lane,
            "/run": self._run,
            "/markdown": self._markdown,
            "/ranges": self._ranges,
            "/flight": self._flight,
            "/compare_runs": self._compare_runs,
            "/compare_searches": self._compare_searches,
            "/edit": self._edit,
            "/index.js": lambda r: http_util.Respond(r, _NOT_BUILT, "text/javascript"),
        }
        for route, path in self._static.items():
            handlers[route] = functools.partial(_static_file, path)
        return {
            route: functools.partial(self._serve, handler)
            for route, handler in handlers.items()
        }

    def _serve(self, handler: Handler, environ: Any, start_response: Any) -> Any:
        response = self._respond(wrappers.Request(environ), handler)
        return response(environ, start_response)

    def _respond(self, request: wrappers.Request, handler: Handler) -> Any:
        """Returns the handler's response, or the error as JSON with its status."""
        if request.method not in ("GET", "HEAD"):
            return _error(
                request,
                405,
                f"method {request.method!r:.20} is not allowed; expected GET or HEAD",
                headers=[("Allow", "GET, HEAD")],
            )
        try:
            return handler(request)
        except BadArgumentError as e:
            return _error(request, 400, str(e))
        except NotFoundError as e:
            return _error(request, 404, str(e))
        except tb_errors.PublicError as e:
            return _error(request, e.http_code, str(e), headers=e.headers)
        except Exception as e:
            logger.error("NaN Watch failed to answer %s", request.path, exc_info=True)
            return _error(
                request,
                500,
                f"{type(e).__name__} while reading the records; TensorBoard's log says "
                "more. A damaged event file can be the cause: move it away and reload.",
            )

    # --- Handlers ----------------------------------------------------------------

    def _overview(self, request: wrappers.Request) -> Any:
        self._asked.set()
        ctx = plugin_util.context(request.environ)
        served = self._overview_of(ctx, plugin_util.experiment_id(request.environ))
        headers = [("ETag", served.etag)]
        if request.headers.get("If-None-Match") == served.etag:
            return http_util.Respond(
                request, b"", "application/json", code=304, headers=headers
            )
        return http_util.Respond(
            request,
            served.body,
            "application/json",
            content_encoding="gzip",
            headers=headers,
        )

    def _overview_of(self, ctx: Any, experiment_id: str) -> _Served:
        snapshot = self._reader.snapshot(ctx, experiment_id)
        # One at a time: when the records change, a hundred tabs make one overview.
        with self._lock:
            served = self._served.get(experiment_id)
            if served is None or served.snapshot is not snapshot:
                causes = self._causes.of(ctx, experiment_id, snapshot.sessions)
                served = self._make_overview(snapshot, causes)
                if len(self._served) >= 16:
                    self._served.clear()
                    self._packed.clear()
                self._served[experiment_id] = served
        return served

    def _make_overview(self, snapshot: Snapshot, causes: report.CausesByRun) -> _Served:
        full = report.overview(snapshot, causes)
        by_search: dict[str, list[Session]] = {}
        for session in snapshot.sessions:
            by_search.setdefault(session.search_id, []).append(session)
        blocks = {
            search: [(lanes.version(block), block) for block in lanes.blocks(sessions)]
            for search, sessions in by_search.items()
        }
        full = dataclasses.replace(
            full,
            searches=[
                dataclasses.replace(s, lanes=[version for version, _ in blocks[s.search]])
                for s in full.searches
            ],
            warnings=[*full.warnings, *self._warnings],
            logdir=self._logdir,
            meanings=dict(MEANINGS),
        )
        text = strict_json.dumps(full).encode("utf-8")
        # mtime 0: the same overview is the same bytes.
        body = gzip.compress(text, _GZIP_LEVEL, mtime=0)
        etag = f'"{hashlib.blake2b(text, digest_size=8).hexdigest()}"'
        return _Served(snapshot, body, etag, blocks)

    def _lanes(self, request: wrappers.Request) -> Any:
        ctx = plugin_util.context(request.environ)
        experiment_id = plugin_util.experiment_id(request.environ)
        search = _argument(request, "search", "a search's id, or empty", empty=True)
        text = _argument(request, "block", "the number of a block, from 0")
        if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
            raise BadArgumentError(
                f"argument 'block' is {text!r:.60}; expected the number of a block, from 0"
            )
        served = self._overview_of(ctx, experiment_id)
        body = self._pack(served, experiment_id, search, int(text))
        return http_util.Respond(
            request, body, "application/octet-stream", content_encoding="gzip"
        )

    def _pack(
        self, served: _Served, experiment_id: str, search: str, index: int
    ) -> bytes:
        """Returns the compressed lanes of one block, ready-made where nothing changed."""
        blocks = served.blocks.get(search, [])
        if index >= len(blocks):
            raise NotFoundError(
                f"search {search!r:.200} has {len(blocks)} blocks of lanes; expected a "
                f"search that the overview lists and a block below that, not {index}"
            )
        version, block = blocks[index]
        key = (experiment_id, search, index)
        kept = self._packed.get(key)
        if kept is None or kept[0] != version:
            body = gzip.compress(lanes.packed(block), _GZIP_LEVEL, mtime=0)
            kept = self._packed[key] = (version, body)
        return kept[1]

    def _lane(self, request: wrappers.Request) -> Any:
        _, _, session = self._session(request)
        return _binary(request, lanes.exact(session))

    def _run(self, request: wrappers.Request) -> Any:
        ctx, experiment_id, session = self._session(request)
        kinds = (metadata.KIND_SESSION, metadata.KIND_EVENTS)
        detail = self._reader.detail(ctx, experiment_id, session, kinds)
        causes = self._causes.of(ctx, experiment_id, [session])
        body = strict_json.dumps(
            details.run(session, detail, causes.get((session.run, session.id)))
        )
        return http_util.Respond(request, body, "application/json")

    def _markdown(self, request: wrappers.Request) -> Any:
        ctx = plugin_util.context(request.environ)
        experiment_id = plugin_util.experiment_id(request.environ)
        one = self._session(request)[2] if "run" in request.args else None
        if one is not None:
            sessions = [one]
        else:
            search = _argument(request, "search", "a search's id, or empty", empty=True)
            snapshot = self._reader.snapshot(ctx, experiment_id)
            sessions = [
                s
                for s in snapshot.sessions
                if strict_json.json_safe(s.search_id) == search
            ]
            if not sessions:
                raise NotFoundError(
                    f"there is no search {search!r:.200}; expected one that the overview "
                    "lists"
                )
        known = self._causes_to_pass_on.of(ctx, experiment_id, sessions)
        if one is not None:
            found = known.get((one.run, one.id))
            cards = [told.run_card(report.run_entry(one, found, with_data=False))]
        else:
            full = report.overview(Snapshot(sessions, []), known, with_data=False)
            cards = told.cards_of(full)
        body = strict_json.dumps(Markdown(card.markdown(cards)))
        return http_util.Respond(request, body, "application/json")

    def _ranges(self, request: wrappers.Request) -> Any:
        return _binary(
            request, details.ranges(*self._of_phase(request, metadata.KIND_RANGES))
        )

    def _flight(self, request: wrappers.Request) -> Any:
        return _binary(
            request, details.flight(*self._of_phase(request, metadata.KIND_FLIGHT))
        )

    def _of_phase(
        self, request: wrappers.Request, kind: str
    ) -> tuple[list[Any], list[str]]:
        """Returns a session's records of one kind and of the phase asked for, and damage."""
        ctx, experiment_id, session = self._session(request)
        phase = _phase(request)
        detail = self._reader.detail(ctx, experiment_id, session, (kind,))
        return [r for r in detail.records[kind] if r.phase == phase], detail.damage

    def _compare_runs(self, request: wrappers.Request) -> Any:
        ctx, experiment_id, first = self._session(request)
        _, _, second = self._session(request, "with_")
        place = compare.Place(self._reader, ctx, experiment_id, self._causes)
        body = strict_json.dumps(compare.runs((place, first), (place, second)))
        return http_util.Respond(request, body, "application/json")

    def _compare_searches(self, request: wrappers.Request) -> Any:
        expected = "a search's id of the overview"
        names = ("search", "with_search")
        first, second = (_argument(request, name, expected) for name in names)
        ctx = plugin_util.context(request.environ)
        experiment_id = plugin_util.experiment_id(request.environ)
        place = compare.Place(self._reader, ctx, experiment_id, self._causes)
        body = strict_json.dumps(compare.searches((place, first), (place, second)))
        return http_util.Respond(request, body, "application/json")

    def _edit(self, request: wrappers.Request) -> Any:
        search = _argument(request, "search", "a search's id, or empty", empty=True)
        cut, where = _cut(request)
        ctx = plugin_util.context(request.environ)
        snapshot = self._reader.snapshot(ctx, plugin_util.experiment_id(request.environ))
        trials = [s.status.hparams for s in snapshot.sessions if s.search_id == search]
        if not trials:
            raise NotFoundError(
                f"no search {search!r:.200}; expected a search that the overview lists"
            )
        found = edit_for(trials, cut, where)
        edit = SpaceEdit(found.code, found.where) if found else SpaceEdit("", "")
        body = strict_json.dumps(edit)
        return http_util.Respond(request, body, "application/json")

    def _session(
        self, request: wrappers.Request, prefix: str = ""
    ) -> tuple[Any, str, Session]:
        """Returns the context, the experiment and the session that a request names.

        Args:
            request: the request.
            prefix: of the arguments `run` and `session`.
        """
        run = _argument(request, f"{prefix}run", "the name of a run")
        session_id = _argument(
            request, f"{prefix}session", "a session id of the overview"
        )
        if len(run) > _MAX_RUN_NAME:
            raise BadArgumentError(
                f"argument '{prefix}run' has {len(run)} characters; expected at most "
                f"{_MAX_RUN_NAME}"
            )
        if not _SESSION_ID.fullmatch(session_id):
            raise BadArgumentError(
                f"argument '{prefix}session' is {session_id!r:.60}; expected 16 "
                "hexadecimal digits"
            )
        ctx = plugin_util.context(request.environ)
        experiment_id = plugin_util.experiment_id(request.environ)
        session = self._reader.find(ctx, experiment_id, run, session_id)
        return ctx, experiment_id, session


# --- Arguments and responses -------------------------------------------------------


def _argument(
    request: wrappers.Request, name: str, expected: str, *, empty: bool = False
) -> str:
    values = request.args.getlist(name)
    if len(values) != 1 or not (values[0] or empty):
        received = "is missing" if not values else "is empty"
        if len(values) > 1:
            received = f"was given {len(values)} times"
        raise BadArgumentError(f"argument {name!r} {received}; expected {expected}")
    return str(values[0])


def _phase(request: wrappers.Request) -> str:
    phase = _argument(request, "phase", "train or validation")
    if phase not in schema.PHASES:
        raise BadArgumentError(
            f"argument 'phase' is {phase!r:.60}; expected {' or '.join(schema.PHASES)}"
        )
    return phase


def _cut(request: wrappers.Request) -> tuple[Cut, Where | None]:
    """Returns the cut that a request asks for, and the trials that it is for."""
    name = _argument(request, "hparam", "a hyperparameter's name")
    op = _argument(request, "op", "ge, le or in")
    if op == "in":
        values = _json(request, "values", "a JSON list of values")
        if not isinstance(values, list) or not all(map(_is_scalar, values)):
            raise BadArgumentError("argument 'values' is no JSON list of plain values")
        return Cut(name, "in", values=tuple(values)), None
    bound = _json(request, "bound", "a finite number")
    if op not in ("ge", "le") or not _is_number(bound):
        raise BadArgumentError(
            f"op={op!r:.20} and bound={bound!r:.60} are no cut; expected ge, le or in, and "
            "a finite number"
        )
    cut = Cut(name, op, float(bound))
    if "facet" not in request.args:
        return cut, None
    value = _json(request, "value", "a plain value as JSON")
    if not _is_scalar(value):
        raise BadArgumentError("argument 'value' is no plain value as JSON")
    return cut, Where(_argument(request, "facet", "a hyperparameter's name"), value)


def _json(request: wrappers.Request, name: str, expected: str) -> Any:
    text = _argument(request, name, expected)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise BadArgumentError(
            f"argument {name!r} is {text!r:.60}; expected {expected}"
        ) from None


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float holds
        return False


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, bool | str) or _is_number(value)


def _error(
    request: wrappers.Request, code: int, message: str, headers: Any = None
) -> Any:
    body = strict_json.dumps({"error": message})
    return http_util.Respond(
        request, body, "application/json", code=code, headers=list(headers or [])
    )


def _binary(request: wrappers.Request, body: bytes) -> Any:
    return http_util.Respond(request, body, "application/octet-stream")


def _static_file(path: str, request: wrappers.Request) -> Any:
    try:
        with open(path, "rb") as f:
            content = f.read()
    except OSError:
        raise NotFoundError(
            f"the file {os.path.basename(path)!r} is gone; restart TensorBoard"
        ) from None
    content_type = _CONTENT_TYPES.get(
        os.path.splitext(path)[1].lower(), "application/octet-stream"
    )
    expires = _ONE_YEAR if _HASHED.search(path) else 0
    return http_util.Respond(request, content, content_type, expires=expires)


def _list_static(root: str) -> dict[str, str]:
    """Returns the routes of the files that exist now, and their paths.

    Listed once, so that no path is ever made from a request.
    """
    routes = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            route = os.path.relpath(path, root).replace(os.sep, "/")
            if not route.startswith(".") and re.fullmatch(r"[\w./-]+", route):
                routes[f"/{route}"] = path
    return routes


def _logdir(context: Any) -> str:
    """Returns the directory or directories that TensorBoard reads, "" where it is not said."""
    flags = context.flags
    named = context.logdir or getattr(flags, "logdir_spec", "")
    text = os.fspath(named) if named else ""
    if not text or "://" in text or "," in text or ":" in os.path.splitdrive(text)[1]:
        return str(strict_json.json_safe(text))
    return str(strict_json.json_safe(os.path.abspath(os.path.expanduser(text))))


def _sampling_warnings(hints: Any) -> list[str]:
    """Returns a sentence if the user's own flag makes TensorBoard drop records."""
    limit = hints.get(metadata.PLUGIN_NAME) if isinstance(hints, dict) else None
    if not limit:
        return []
    return [
        f"TensorBoard was started with --samples_per_plugin={metadata.PLUGIN_NAME}="
        f"{limit}: it keeps {limit} records of each run and drops the rest. Restart it "
        "without that setting to see every step."
    ]
