# SPDX-License-Identifier: Apache-2.0
"""Builds HTTP responses: JSON, bytes, an error, a static file."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

from tensorboard.backend import http_util
from werkzeug import wrappers

from tb_nanwatch.reading.log.reader import NotFoundError
from tb_nanwatch.record import strict_json

STATIC_DIR: Final = os.path.join(Path(__file__).parents[2], "static")
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

NOT_BUILT: Final = """\
export function render() {
  document.body.textContent =
    "The NaN Watch tab was not built: tb_nanwatch/static/index.js is missing. " +
    "Reinstall tb-nanwatch, or run the frontend's build in a checkout.";
}
"""


def error(request: wrappers.Request, code: int, message: str, headers: Any = None) -> Any:
    """Returns an error, as JSON."""
    body = strict_json.dumps({"error": message})
    return http_util.Respond(
        request, body, "application/json", code=code, headers=list(headers or [])
    )


def binary(request: wrappers.Request, body: bytes) -> Any:
    """Returns bytes."""
    return http_util.Respond(request, body, "application/octet-stream")


def static_file(path: str, request: wrappers.Request) -> Any:
    """Returns a file of the tab; one whose name changes with its content is kept for a year."""
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


def static_files(root: str) -> dict[str, str]:
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
