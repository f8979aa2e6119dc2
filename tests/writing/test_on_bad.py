"""Who asked for it is told of a run that went bad: once, with its answer, whatever it does."""

from __future__ import annotations

import http.server
import json
import threading
import urllib.request
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tb_nanwatch import NanWatch, NanWatchWarning, NonFiniteError


def fit(watch: Any, *, bad: bool = True) -> Any:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    x = np.ones((16, 3), np.float32)
    x[6, 1] = np.nan if bad else 1.0
    data = x, np.ones((16, 1), np.float32)
    return model.fit(
        *data, batch_size=4, epochs=2, shuffle=False, verbose=0, callbacks=[watch]
    )


@pytest.mark.parametrize("mode", ["record", "stop", "raise"])
def test_a_bad_run_is_told_once(mode: Any, tmp_path: Path) -> None:
    told: list[Any] = []
    watch = NanWatch(
        tmp_path, hparams={"rate": 0.01}, on_nonfinite=mode, on_bad=told.append
    )
    if mode == "raise":
        with pytest.raises(NonFiniteError):
            fit(watch)
    else:
        fit(watch)
    (run,) = told
    assert (run.status, run.step, run.trial_id) == ("diverged", 1, None)
    assert run.hparams == {"rate": 0.01}
    assert run.answer.cause == "NaN or Inf in the data"
    assert Path(run.log_dir) == tmp_path.resolve()
    assert json.loads(json.dumps(run.to_dict(), allow_nan=False))["answer"]["fix"]


def test_nobody_is_told_of_a_run_that_stayed_finite(tmp_path: Path) -> None:
    told: list[Any] = []
    fit(NanWatch(tmp_path, on_bad=told.append), bad=False)
    assert told == []


def test_what_it_raises_is_one_warning_and_changes_nothing(tmp_path: Path) -> None:
    def fails(run: Any) -> None:
        raise ConnectionError("no such host")

    plain = fit(keras.callbacks.Callback()).history
    with pytest.warns(NanWatchWarning, match="on_bad failed.*no such host") as caught:
        watched = fit(NanWatch(tmp_path, on_bad=fails)).history
    assert len(caught) == 1
    np.testing.assert_equal(watched, plain)


def test_only_a_function_is_taken(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="on_bad must be a function"):
        NanWatch(tmp_path, on_bad="hook")  # type: ignore[arg-type]


def test_a_webhook_gets_the_answer(tmp_path: Path) -> None:
    received: list[dict[str, Any]] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(json.loads(body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Keeps the tests' output clean."""

    with http.server.HTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"

        def post(run: Any) -> None:
            body = json.dumps(run.to_dict()).encode()
            headers = {"Content-Type": "application/json"}
            urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=5)

        fit(NanWatch(tmp_path, on_bad=post))
        server.shutdown()
    (told,) = received
    assert told["answer"]["cause"] == "NaN or Inf in the data"
