# SPDX-License-Identifier: Apache-2.0
"""The TensorBoard plugin: parse the arguments, call reader or report, respond."""

from __future__ import annotations

import functools
import re
import threading
import time
from collections.abc import Callable
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
from tb_nanwatch.reading.report import run_entry, told
from tb_nanwatch.reading.report.overview import overview
from tb_nanwatch.reading.search.asked_edit import edit_for
from tb_nanwatch.reading.tab import details, lanes
from tb_nanwatch.reading.tab.arguments import (
    BadArgumentError,
    argument,
    cut_of,
    phase_of,
    session_of,
)
from tb_nanwatch.reading.tab.responses import (
    NOT_BUILT,
    STATIC_DIR,
    binary,
    error,
    static_file,
    static_files,
)
from tb_nanwatch.reading.tab.served import Overviews
from tb_nanwatch.record import metadata, strict_json
from tb_nanwatch.wording import card

logger = tb_logging.get_logger()
# At the start TensorBoard loads for seconds, or minutes: what has come is read meanwhile.
_WARM_UP_EVERY: Final = 1.0
_WARM_UP_SECONDS: Final = 600.0

# Returns a WSGI application: what `http_util.Respond` makes has no types.
Handler = Callable[[wrappers.Request], Any]


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
        self._overviews = Overviews(self._reader, self._causes, context)
        # For answers that users pass on: without values of single rows.
        self._causes_to_pass_on = Causes(self._reader, with_data=False)
        self._static = static_files(STATIC_DIR)
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
                    served = self._overviews.of(ctx, "")
                    for search, blocks in served.blocks.items():
                        for index in range(len(blocks)):
                            self._overviews.lanes_of(served, "", search, index)
                    return
                last = snapshot
        except Exception:
            # Reading ahead is optional; a later request reports the error.
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
            "/index.js": lambda r: http_util.Respond(r, NOT_BUILT, "text/javascript"),
        }
        for route, path in self._static.items():
            handlers[route] = functools.partial(static_file, path)
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
            return error(
                request,
                405,
                f"method {request.method!r:.20} is not allowed; expected GET or HEAD",
                headers=[("Allow", "GET, HEAD")],
            )
        try:
            return handler(request)
        except BadArgumentError as e:
            return error(request, 400, str(e))
        except NotFoundError as e:
            return error(request, 404, str(e))
        except tb_errors.PublicError as e:
            return error(request, e.http_code, str(e), headers=e.headers)
        except Exception as e:
            logger.error("NaN Watch failed to answer %s", request.path, exc_info=True)
            return error(
                request,
                500,
                f"{type(e).__name__} while reading the records; TensorBoard's log says "
                "more. A damaged event file can be the cause: move it away and reload.",
            )

    # --- Handlers ----------------------------------------------------------------

    def _overview(self, request: wrappers.Request) -> Any:
        self._asked.set()
        served = self._overviews.of(*_where(request))
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

    def _lanes(self, request: wrappers.Request) -> Any:
        ctx, experiment_id = _where(request)
        search = argument(request, "search", "a search's id, or empty", empty=True)
        text = argument(request, "block", "the number of a block, from 0")
        if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
            raise BadArgumentError(
                f"argument 'block' is {text!r:.60}; expected the number of a block, from 0"
            )
        served = self._overviews.of(ctx, experiment_id)
        body = self._overviews.lanes_of(served, experiment_id, search, int(text))
        return http_util.Respond(
            request, body, "application/octet-stream", content_encoding="gzip"
        )

    def _lane(self, request: wrappers.Request) -> Any:
        _, _, session = self._named(request)
        return binary(request, lanes.exact(session))

    def _run(self, request: wrappers.Request) -> Any:
        ctx, experiment_id, session = self._named(request)
        kinds = (metadata.KIND_SESSION, metadata.KIND_EVENTS)
        detail = self._reader.detail(ctx, experiment_id, session, kinds)
        causes = self._causes.of(ctx, experiment_id, [session])
        found = causes.get((session.run, session.id))
        return _json(request, details.run(session, detail, found))

    def _ranges(self, request: wrappers.Request) -> Any:
        return binary(
            request, details.ranges(*self._of_phase(request, metadata.KIND_RANGES))
        )

    def _flight(self, request: wrappers.Request) -> Any:
        return binary(
            request, details.flight(*self._of_phase(request, metadata.KIND_FLIGHT))
        )

    def _of_phase(
        self, request: wrappers.Request, kind: str
    ) -> tuple[list[Any], list[str]]:
        """Returns a session's records of one kind and phase, and sentences on damage."""
        ctx, experiment_id, session = self._named(request)
        phase = phase_of(request)
        detail = self._reader.detail(ctx, experiment_id, session, (kind,))
        return [r for r in detail.records[kind] if r.phase == phase], detail.damage

    def _compare_runs(self, request: wrappers.Request) -> Any:
        ctx, experiment_id, first = self._named(request)
        _, _, second = self._named(request, "with_")
        place = compare.ComparedLog(self._reader, ctx, experiment_id, self._causes)
        return _json(request, compare.runs((place, first), (place, second)))

    def _compare_searches(self, request: wrappers.Request) -> Any:
        names = ("search", "with_search")
        first, second = (
            argument(request, name, "a search's id of the overview") for name in names
        )
        ctx, experiment_id = _where(request)
        place = compare.ComparedLog(self._reader, ctx, experiment_id, self._causes)
        return _json(request, compare.searches((place, first), (place, second)))

    def _edit(self, request: wrappers.Request) -> Any:
        cut, where = cut_of(request)
        sessions = self._of_search(request)
        found = edit_for([s.status.hparams for s in sessions], cut, where)
        return _json(
            request, SpaceEdit(found.code, found.where) if found else SpaceEdit("", "")
        )

    def _markdown(self, request: wrappers.Request) -> Any:
        ctx, experiment_id = _where(request)
        if "run" in request.args:
            one = self._named(request)[2]
            known = self._causes_to_pass_on.of(ctx, experiment_id, [one])
            found = known.get((one.run, one.id))
            cards = [told.run_card(run_entry.run_entry(one, found, with_data=False))]
        else:
            sessions = self._of_search(request)
            known = self._causes_to_pass_on.of(ctx, experiment_id, sessions)
            full = overview(Snapshot(sessions, []), known, with_data=False)
            cards = told.cards_of(full)
        return _json(request, Markdown(card.markdown(cards)))

    def _of_search(self, request: wrappers.Request) -> list[Session]:
        """Returns the sessions of the search that a request names."""
        search = argument(request, "search", "a search's id, or empty", empty=True)
        snapshot = self._reader.snapshot(*_where(request))
        found = [
            s for s in snapshot.sessions if strict_json.json_safe(s.search_id) == search
        ]
        if not found:
            raise NotFoundError(
                f"there is no search {search!r:.200}; expected one that the overview lists"
            )
        return found

    def _named(
        self, request: wrappers.Request, prefix: str = ""
    ) -> tuple[Any, str, Session]:
        """Returns the context, the experiment and the session that a request names."""
        run, session_id = session_of(request, prefix)
        ctx, experiment_id = _where(request)
        session = self._reader.find(ctx, experiment_id, run, session_id)
        return ctx, experiment_id, session


def _where(request: wrappers.Request) -> tuple[Any, str]:
    """Returns a request's context and its experiment, as TensorBoard has them."""
    environ = request.environ
    return plugin_util.context(environ), plugin_util.experiment_id(environ)


def _json(request: wrappers.Request, answer: object) -> Any:
    return http_util.Respond(request, strict_json.dumps(answer), "application/json")
