"""Fixtures: a log directory read and served as users do it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from werkzeug.test import Client

from tb_nanwatch.reading.log.reader import Reader
from tb_nanwatch.reading.tab.loader import NanWatchLoader
from tests.reading.records import LOADERS, STARTED, Loaded, default_flags


@pytest.fixture(params=sorted(LOADERS))
def load(request: pytest.FixtureRequest) -> Iterator[Callable[[Path], Loaded]]:
    """Returns a function that loads a log directory with one of the two loaders."""
    opened: list[Loaded] = []

    def load(logdir: Path) -> Loaded:
        opened.append(LOADERS[request.param](logdir))
        return opened[-1]

    yield load
    for loaded in opened:
        loaded.close()


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Reader]:
    """Returns a function that makes a reader of `tmp_path`, as the command does."""
    from tb_nanwatch.reading.report.logs import make_provider

    def read(clock: Callable[[], float] = lambda: STARTED) -> Reader:
        return Reader(make_provider(str(tmp_path)), clock=clock, max_age=0)

    return read


@pytest.fixture
def serve() -> Callable[..., Client]:
    """Returns a function that serves a log directory through TensorBoard's own app."""
    from tensorboard.backend import application

    def serve(logdir: Path, *flags: str) -> Client:
        from tb_nanwatch.reading.report.logs import make_provider

        app = application.TensorBoardWSGIApp(
            default_flags(logdir, *flags), [NanWatchLoader], make_provider(str(logdir))
        )
        return Client(app)

    return serve
