"""Hand-made records over real event files, and both of TensorBoard's loaders."""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.context import RequestContext
from tensorboard.data import server_ingester
from tensorboard.util import grpc_util

from tb_nanwatch.reading.tab.loader import NanWatchLoader
from tb_nanwatch.record import schema
from tb_nanwatch.record.schema import (
    BadTensor,
    Episode,
    EventsRecord,
    HParam,
    Position,
    PostMortem,
    PostMortemRecord,
    Probe,
    RangesRecord,
    Search,
    SessionRecord,
    Source,
    StatusRecord,
    TrialRecord,
)
from tb_nanwatch.writing.log.summary import EventWriter

CTX = RequestContext()
STARTED = 1_700_000_000.0


def session_id(number: int) -> str:
    return f"{number:016x}"


def a_search(number: int = 1, **changes: Any) -> Search:
    values: dict[str, Any] = {
        "id": f"search-{number}",
        "name": "project",
        "tuner": "RandomSearch",
        "objective": "val_loss",
        "direction": "min",
        "started": STARTED + number,
        "max_consecutive_failed_trials": 3,
    }
    return Search(**(values | changes))


def a_status(number: int = 1, *, bad: bool = False, **changes: Any) -> StatusRecord:
    """A finished run; with `bad`, one that diverged at step 37."""
    values: dict[str, Any] = {
        "session_id": session_id(number),
        "seq": 0,
        "search": a_search(),
        "trial_id": f"{number:04d}",
        "hparams": [HParam("lr", 0.1 * number, "float", min=0.1, max=10.0)],
        "state": "finished",
        "started": STARTED + 10 * number,
        "updated": STARTED + 10 * number + 5,
        "steps": 100,
        "epochs": 4,
        "lane_steps": np.arange(5, dtype=np.int64),
        "lane": np.ones((5, len(schema.LANE_SERIES)), np.float32),
        "lane_seconds": np.arange(5, dtype=np.float32),
        "lane_epochs": np.zeros(5, np.int32),
    }
    if bad:
        values |= {
            "status": "diverged",
            "onset": Position("train", 37, 1, 12),
            "origin": a_bad_tensor(),
        }
    return StatusRecord(**(values | changes))


def a_bad_tensor(**changes: Any) -> BadTensor:
    values: dict[str, Any] = {
        "kind": "gradient",
        "name": "dense_2/kernel",
        "num_pos_inf": 12,
        "size": 2048,
    }
    return BadTensor(**(values | changes))


def a_verdict(number: int = 1, **changes: Any) -> TrialRecord:
    values: dict[str, Any] = {
        "session_id": session_id(number),
        "seq": 0,
        "search_id": "search-1",
        "trial_id": f"{number:04d}",
        "tuner_status": "COMPLETED",
        "score": 0.5,
        "best_step": 3,
    }
    return TrialRecord(**(values | changes))


def a_post_mortem(number: int = 1, **changes: Any) -> PostMortemRecord:
    values: dict[str, Any] = {
        "reproduced": True,
        "text": f"`tf.math.divide` at loss.py:12: {number} of 32 denominators are 0",
        "op": "tf.math.divide",
        "op_type": "RealDiv",
        "source": Source("loss.py", 12, "ratio", "error / tf.abs(labels)"),
        "finding": f"{number} of 32 denominators are 0",
    }
    return PostMortemRecord(
        session_id(number), 0, result=PostMortem(**(values | changes))
    )


def a_session(number: int = 1, probes: int = 2) -> SessionRecord:
    return SessionRecord(
        session_id(number),
        0,
        train_probes=[Probe("activation", f"dense_{i}") for i in range(probes)],
        validation_probes=[],
        model="mlp",
    )


def a_ranges(
    number: int, seq: int, steps: list[tuple[int, int]], p: int = 2
) -> RangesRecord:
    n = len(steps)
    return RangesRecord(
        session_id(number),
        seq,
        phase="train",
        steps=np.array(steps, np.int64).reshape(n, 2),
        stats=np.full((n, p, len(schema.RANGE_COLUMNS)), seq, np.float32),
        counts=np.full((n, p, len(schema.COUNT_COLUMNS)), seq, np.int64),
        bad_steps=np.zeros((n, p), np.int64),
        measured=np.ones(n, np.int64),
    )


def an_events(number: int, seq: int, *episodes: int) -> EventsRecord:
    return EventsRecord(
        session_id(number),
        seq,
        episodes=[
            Episode(
                i,
                Position("train", 10 * i, 0, 10 * i),
                10 * i,
                "contained",
                [a_bad_tensor(num_nan=i)],
                [0],
            )
            for i in episodes
        ],
    )


def write(run_dir: Path, *records: Any) -> Path:
    """Writes the records into one event file and returns its path."""
    before = set(run_dir.glob("*")) if run_dir.is_dir() else set()
    writer = EventWriter(str(run_dir))
    writer.write(*records)
    writer.close()
    (path,) = set(run_dir.glob("*")) - before
    return path


# --- The two loaders, with the flags that a user of the command line gets -----------


def default_flags(logdir: Path, *extra: str) -> Any:
    """TensorBoard's flags for `--logdir`, after our loader has fixed them."""
    from tensorboard import default, program

    tensorboard = program.TensorBoard(
        plugins=[*default.get_static_plugins(), NanWatchLoader]
    )
    tensorboard.configure(["tensorboard", "--logdir", str(logdir), *extra])
    return tensorboard.flags


class Loaded:
    """A data provider that loads a log directory, and can be told to load again."""

    def __init__(
        self, provider: Any, reload: Callable[[], None], close: Callable[[], None]
    ):
        self.provider = provider
        self.reload = reload
        self.close = close

    def wait(self, condition: Callable[[], Any], seconds: float = 20) -> Any:
        """Reloads until the condition holds, and returns what it returned."""
        deadline = time.monotonic() + seconds
        while True:
            self.reload()
            result = condition()
            if result or time.monotonic() > deadline:
                return result
            time.sleep(0.1)


def load_with_python(logdir: Path) -> Loaded:
    from tensorboard.backend.event_processing import data_ingester

    flags = default_flags(logdir)
    flags.reload_task = "blocking"
    flags.reload_interval = 0
    ingester = data_ingester.LocalDataIngester(flags)
    return Loaded(ingester.data_provider, ingester.start, lambda: None)


def load_with_server(logdir: Path) -> Loaded:
    flags = default_flags(logdir)
    ingester = server_ingester.SubprocessServerDataIngester(
        server_binary=server_ingester.get_server_binary(),
        logdir=flags.logdir,
        reload_interval=1,
        channel_creds_type=grpc_util.ChannelCredsType.LOCAL,
        samples_per_plugin=flags.samples_per_plugin,
    )
    with warnings.catch_warnings():
        # The ingester drops its process and temporary directory without closing them.
        warnings.simplefilter("ignore", ResourceWarning)
        ingester.start()
        gc.collect()
    # The server ends when its standard input does.
    return Loaded(ingester.data_provider, lambda: None, ingester._stdin_handle.close)


LOADERS = {"python": load_with_python, "server": load_with_server}
