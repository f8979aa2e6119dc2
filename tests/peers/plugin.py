"""A pytest plugin that puts a NanWatch into every `fit` of tests that know nothing of it.

`python -m pytest -p tests.peers.plugin --peers-out FILE ...` seeds every test and every
`fit`, and appends to FILE, as lines of JSON, what each `fit` left behind and how each
test ended. With `--peers-callback tb_nanwatch:NanWatch` every `fit` is watched too.
What two such files say of one test must be the same: see compare.py.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import inspect
import itertools
import json
import re
import shutil
import sys
import tempfile
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
import pytest
from keras.src.backend.tensorflow.trainer import TensorFlowTrainer
from keras.src.models.functional import Functional

from tb_nanwatch import errors
from tests.peers import state
from tests.peers.text import may_fit
from tests.support.gpu_default import gpu_default
from tests.writing.logs import read_log

SEED = 1729
# What Keras' own conftest.py, which the wheel does not hold, declares.
_MARKERS = ("requires_trainable_backend", "multi_device")
# Imported at the top of tests for other backends too; most tests never use them.
_STAND_INS = ("jax", "torch", "grain", "onnxruntime")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("peers")
    group.addoption("--peers-out", help="file of results; continued where it exists")
    group.addoption("--peers-callback", help="module:class to put into every fit")
    group.addoption("--peers-gpu-default", action="store_true", help="as on a GPU")
    group.addoption(
        "--peers-may-fit", action="store_true", help="only tests whose text names a fit"
    )
    group.addoption("--peers-ids", help="file of ids; other tests are deselected")


def pytest_configure(config: pytest.Config) -> None:
    for marker in _MARKERS:
        config.addinivalue_line("markers", f"{marker}: of Keras")
    if config.option.peers_out:
        config.pluginmanager.register(Peers(config), "peers")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    if not isinstance(collector, pytest.Module):
        return (yield)
    with stand_ins():
        return (yield)


class Peers:
    """Seeds, watches and records the tests of one process."""

    def __init__(self, config: pytest.Config) -> None:
        out = Path(config.option.peers_out)
        self._begun = _begun(out)
        self._out = out.open("a", encoding="utf-8")
        self._lock = threading.Lock()
        self._test = ""
        self._fits = itertools.count()
        self._said: list[str] = []
        self._callback: Callable[[str], Any] | None = None
        self._ids: set[str] | None = None
        self._exit = contextlib.ExitStack()
        if config.option.peers_callback:
            module, _, name = config.option.peers_callback.partition(":")
            self._callback = getattr(importlib.import_module(module), name)
            self._hear_warnings()
        if config.option.peers_ids:
            text = Path(config.option.peers_ids).read_text(encoding="utf-8")
            self._ids = set(text.splitlines())
        if config.option.peers_gpu_default:
            self._exit.enter_context(gpu_default())
        self._patch_fit()
        self._patch_entropy()

    # --- The tests ------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Iterator[None]:
        if not isinstance(collector, pytest.Module):
            return (yield)
        keras.utils.set_random_seed(SEED)  # modules draw parameters as they are imported
        report = yield
        if report.failed or report.skipped:
            self._write(kind="module", id=collector.nodeid, left_out=_words(report))
        return report

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        found = len(items)
        if config.option.peers_may_fit:
            kept = [item for item in items if may_fit(item.function)]
        else:
            kept = items[:]
        self._write(kind="collected", tests=found, without_fit=found - len(kept))
        names = {item: _stable(item.nodeid) for item in kept}
        kept = [
            item
            for item, name in names.items()
            if name not in self._begun and (self._ids is None or name in self._ids)
        ]
        staying = set(kept)
        others = [item for item in items if item not in staying]
        items[:] = kept
        config.hook.pytest_deselected(items=others)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self._test, self._fits = _stable(item.nodeid), itertools.count()
        self._write(kind="begin", id=self._test)
        keras.utils.set_random_seed(SEED)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        keras.utils.set_random_seed(SEED)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or not report.passed:
            self._write(
                kind="outcome",
                id=_stable(report.nodeid),
                when=report.when,
                outcome=report.outcome,
                words="" if report.passed else _words(report),
                seconds=round(report.duration, 2),
            )

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._write(kind="end", id=_stable(nodeid))

    def pytest_unconfigure(self) -> None:
        self._exit.close()
        self._out.close()

    def _write(self, **record: Any) -> None:
        with self._lock:
            self._out.write(json.dumps(record) + "\n")
            self._out.flush()  # what a crash leaves must name the test

    # --- The fits -------------------------------------------------------------

    def _patch_fit(self) -> None:
        original = TensorFlowTrainer.fit
        signature = inspect.signature(original)

        @functools.wraps(original)
        def fit(model: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                bound = signature.bind(model, *args, **kwargs)
            except TypeError:
                return original(model, *args, **kwargs)  # raises the test's own error
            return self._recorded(original, model, bound)

        TensorFlowTrainer.fit = fit
        self._exit.callback(setattr, TensorFlowTrainer, "fit", original)

    def _patch_entropy(self) -> None:
        """Seeds what asks the system for a seed, as Keras' maker of test data does."""
        seed, default_rng = np.random.seed, np.random.default_rng
        patches = {
            "seed": lambda value=None: seed(SEED if value is None else value),
            "default_rng": lambda value=None: default_rng(
                SEED if value is None else value
            ),
        }
        for name, patched in patches.items():
            self._exit.enter_context(mock.patch.object(np.random, name, patched))

    def _recorded(self, original: Any, model: Any, bound: Any) -> Any:
        test, number = self._test, next(self._fits)
        keras.utils.set_random_seed(SEED)
        folder = tempfile.mkdtemp(prefix="peers")
        said, start = len(self._said), Start()
        history = error = None
        try:
            callbacks: list[Any] = [start]
            if self._callback:
                callbacks.append(self._callback(f"{folder}/run"))
            _place(bound.arguments, callbacks, model)
            history = original(*bound.args, **bound.kwargs)
            return history
        except BaseException as e:
            error = f"{type(e).__name__}: {state.normalised(str(e))}"
            raise
        finally:
            self._write(
                kind="fit",
                id=test,
                fit=number,
                model=_kind(model),
                jit=bool(getattr(model, "_jit_compile", False)),
                eager=bool(getattr(model, "run_eagerly", False)),
                error=error,
                steps=None if start.at is None else _iterations(model) - start.at,
                state=state.after_fit(model, history),
                watched=_watched(Path(folder) / "run", self._said[said:])
                if self._callback
                else None,
            )
            shutil.rmtree(folder, ignore_errors=True)

    def _hear_warnings(self) -> None:
        """Notes each of NaN Watch's warnings, also where a test hides them."""
        said = self._said

        class Heard(types.ModuleType):
            def warn(
                self, message: Any, *args: Any, stacklevel: int = 1, **kw: Any
            ) -> None:
                said.append(str(message))
                warnings.warn(message, *args, stacklevel=stacklevel + 1, **kw)

        setattr(errors, "warnings", Heard("warnings"))  # noqa: B010
        self._exit.callback(setattr, errors, "warnings", warnings)


def _watched(run: Path, said: list[str]) -> dict[str, Any]:
    """Returns what the log of a fit proves of its being watched."""
    found: dict[str, Any] = {"warnings": said}
    try:
        if run.exists():
            log = read_log(run)
            described = log.all("session")
            found |= {
                "state": log.status.state,
                "status": log.status.status,
                "steps": log.status.steps,
                "probes": len(described[-1].train_probes) if described else 0,
            }
    except Exception as e:  # proves nothing, and must not fail the test
        found["unreadable"] = f"{type(e).__name__}: {e}"
    return found


def _place(arguments: dict[str, Any], callbacks: list[Any], model: Any) -> None:
    """Puts callbacks last among those of a call of `fit`."""
    given = arguments.get("callbacks")
    if isinstance(given, keras.callbacks.CallbackList):
        for callback in callbacks:
            given.append(callback)
            callback.set_model(model)
            callback.set_params(given.params)
    else:
        listed = given if isinstance(given, list | tuple) else [given] if given else []
        arguments["callbacks"] = [*listed, *callbacks]


class Start(keras.callbacks.Callback):
    """Notes how often the optimizer had been applied as training began."""

    at: int | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        self.at = _iterations(self.model)


def _begun(out: Path) -> set[str]:
    """Returns the tests that a process which came to grief has begun."""
    if not out.exists():
        return set()
    records = map(json.loads, out.read_text(encoding="utf-8").splitlines())
    return {record["id"] for record in records if record["kind"] == "begin"}


def _stable(nodeid: str) -> str:
    """Returns an id without the addresses that some parameters print."""
    return re.sub(r"0x[0-9a-f]+", "0x", nodeid)


def _iterations(model: Any) -> int:
    """Returns how often the optimizer was applied, 0 without one."""
    try:
        return int(model.optimizer._iterations)
    except Exception:
        return 0


def _kind(model: Any) -> str:
    """Returns what a model is: a Model, or a class that mixes Trainer and Layer."""
    if isinstance(model, keras.Sequential):
        return "Sequential"
    if isinstance(model, keras.Model):
        return "Functional" if isinstance(model, Functional) else "subclassed Model"
    return "Trainer and Layer"


def _words(report: Any) -> str:
    """Returns the last line of what pytest has to say, without what always differs."""
    longrepr = report.longrepr
    if isinstance(longrepr, tuple):  # a skip
        return state.normalised(str(longrepr[2]))
    crash = getattr(longrepr, "reprcrash", None)
    lines = str(crash.message if crash else longrepr).strip().splitlines()
    return state.normalised(lines[0] if crash and lines else lines[-1] if lines else "")


# --- What the wheel's tests import and is not here -----------------------------


@contextlib.contextmanager
def stand_ins() -> Iterator[None]:
    """Has a test module imported where another backend is not installed.

    Whoever uses a stand-in, as the module is imported or later, is skipped. They are
    gone once the module is imported, so that nothing else takes them for the real one.
    """
    added = {name: _StandIn(name) for name in _STAND_INS if not _installed(name)}
    added["conftest"] = types.ModuleType("conftest")
    added["conftest"].skip_if_backend = _skip_if_backend  # type: ignore[attr-defined]
    sys.modules.update(added)
    try:
        yield
    finally:
        for name in added:
            sys.modules.pop(name, None)


class _StandIn(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise pytest.skip.Exception(
            f"needs {self.__name__}, which is not installed", allow_module_level=True
        )


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _skip_if_backend(backend: str, reason: str) -> Any:
    return pytest.mark.skipif(keras.backend.backend() == backend, reason=reason)
