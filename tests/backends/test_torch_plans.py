"""PyTorch: a step that is like one before goes by its plan, and tells what names would."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tb_nanwatch import NanWatch
from tests.writing.logs import Log, read_log

if keras.backend.backend() != "torch":
    pytest.skip("Keras runs on another backend", allow_module_level=True)
import torch

from tb_nanwatch.writing.backends.torch import instrument
from tb_nanwatch.writing.backends.torch.journal import Journal

STEPS, AT, BATCH = 30, 22, 8
L = keras.layers
# What a layer has handed on.
HANDED: list[dict[str, Any]] = []


class Poison(L.Layer):
    """Passes its input on, and a state; what is to go bad in a step goes bad here."""

    def build(self, shape: Any) -> None:
        self.memory = self.add_weight(
            shape=(3,), trainable=False, initializer="ones", name="memory"
        )
        self.left, self.right = (
            self.add_weight(shape=(6,), initializer="ones", name=name)
            for name in ("left", "right")
        )
        self.bad = ""

    def call(self, x: Any) -> Any:
        x = x * self.left + 0.1 * self.right
        scale = 1.0 if not self.bad else math.inf
        if self.bad == "layer_state":
            self.memory.value[1] = math.nan
        if self.bad == "activation":  # behind it all is finite again
            x = torch.cat([x[:1] * scale, x[1:]])
        # Root's derivative at zero: the gradient alone is bad.
        slope = (
            torch.sqrt(torch.zeros(()) + 0.0 * x.sum()) if self.bad == "gradient" else 0
        )
        given = {"out": torch.nan_to_num(x, 1.0, 1.0, 1.0) + slope, "raw": [x]}
        HANDED.append(given)
        return given


class Alternating(keras.Model):
    """Its steps are of several kinds, one of which makes two updates."""

    def __init__(self, kinds: int) -> None:
        super().__init__()
        self.first, self.last = L.Dense(6, name="first"), L.Dense(1, name="last")
        self.poison = Poison(name="poison")
        self.other = keras.optimizers.SGD(0.01)
        self.kinds, self.count = kinds, 0

    def build(self, shape: Any) -> None:
        self.first.build(shape)
        self.poison.build((None, 6))
        self.last.build((None, 6))

    def call(self, x: Any) -> Any:
        given = self.poison(torch.tanh(self.first(x)))
        out = given["out"]
        for _ in range(self.count % self.kinds):
            out = self.poison(out)["out"]
        for handed in HANDED:  # what was met is what it was then
            handed.clear()
        HANDED.clear()
        return self.last(out)

    def train_step(self, data: Any) -> Any:
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        self.zero_grad()
        loss = self.compute_loss(x, y, self(x), weight)
        loss.backward()
        mine, theirs = self.first.trainable_weights, self.last.trainable_weights
        both = self.poison.trainable_weights
        # One after the other, by turns: their gradients look alike.
        mine = mine + (both if self.count // self.kinds % 2 else both[::-1])
        if self.count % self.kinds == 2:  # in two updates
            self.update(self.optimizer, mine)
            self.update(self.other, theirs)
        else:
            self.update(self.optimizer, [*mine, *theirs])
        self.count += 1
        metric = float("nan") if self.poison.bad == "metric" else 0.5
        return {"loss": loss, "own": metric, "steps": self.count}

    def update(self, optimizer: Any, variables: Any) -> None:
        with torch.no_grad():
            optimizer.apply([v.value.grad for v in variables], variables)


class At(keras.callbacks.Callback):
    """Spoils one step, or what lies before it."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.model.poison.bad = self.what if batch == AT else ""
        with torch.no_grad():
            if batch == AT and self.what == "weight":
                self.model.last.kernel.value[2] = math.nan
            if batch == AT and self.what == "optimizer":
                slot = self.model.optimizer.variables[-1].value
                slot[0] = math.inf


def train(
    place: Path, what: str = "", kinds: int = 1, rest: int = 0, validated: bool = False
) -> tuple[Log, Any]:
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    model = Alternating(kinds)
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH * STEPS + rest, 5)).astype("float32")
    y, weight = x[:, :1].copy(), np.ones(len(x), np.float32)
    for name, part in (("input", x), ("label", y), ("sample_weight", weight)):
        if name == what:
            part[AT * BATCH + 3] = math.nan
    model.fit(
        *(x, y),
        sample_weight=weight,
        batch_size=BATCH,
        epochs=2 if rest else 1,
        verbose=0,
        shuffle=False,
        validation_data=(x[:20], y[:20]) if validated else None,
        callbacks=[At(what), NanWatch(place, experiments=0)],
    )
    return read_log(place), model


class Named:
    """Counts the steps that were named, and has each step named where `always`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.journals: set[int] = set()
        self.always = False
        self._made: list[Journal] = []
        outer, init, name = self, Journal.__init__, Journal.name

        def make(journal: Journal, first: Any, at_once: bool) -> None:
            outer._made.append(journal)  # an id is its own as long as it is held
            init(journal, first, at_once or outer.always)

        def named(journal: Journal) -> None:
            outer.journals.add(id(journal))
            name(journal)

        monkeypatch.setattr(Journal, "__init__", make)
        monkeypatch.setattr(Journal, "name", named)

    @property
    def count(self) -> int:
        return len(self.journals)


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Named:
    monkeypatch.setattr(instrument, "READ_INTERVAL_SECONDS", 1e9)
    return Named(monkeypatch)


def plain(value: Any) -> Any:
    """A record as lists and texts, without its id."""
    if dataclasses.is_dataclass(value):
        fields = [f.name for f in dataclasses.fields(value)]
        return [
            plain(getattr(value, f)) for f in fields if f not in ("session_id", "seq")
        ]
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return repr(value.tolist() if isinstance(value, np.ndarray) else value)


def told(log: Log) -> Any:
    """What a log tells of tensors and steps."""
    probes = log.session.train_probes, log.session.validation_probes
    records = [log.all(kind)[-1:] for kind in ("ranges", "flight")]
    kept = [(r.result.data, r.result.rows) for r in log.all("postmortem")]
    status = (log.status.status, log.status.onset, log.status.origin)
    return plain([probes, log.episodes, log.all("ranges"), records, status, kept])


def both(place: Path, named: Named, **options: Any) -> tuple[Log, int, int]:
    """Trains twice: as it is, and with each step named; both have to tell the same."""
    log, model = train(place / "plans", **options)
    count, steps = named.count, model.count
    named.always = True
    again, _ = train(place / "names", **options)
    assert told(log) == told(again)
    return log, count, steps


@pytest.mark.parametrize("kinds", [1, 4])
def test_kinds_of_steps_that_alternate(kinds: int, named: Named, tmp_path: Path) -> None:
    log, count, steps = both(tmp_path, named, kinds=kinds, validated=True)
    assert log.status.status == "clean"
    assert count < steps / 2
    names = {p.name for p in log.session.train_probes}
    assert {"poison['out']", "poison['raw'][0]", "own"} <= names
    assert ("poison (call 2)['out']" in names) == (kinds > 1)


def test_shapes_that_change(named: Named, tmp_path: Path) -> None:
    log, count, steps = both(tmp_path, named, rest=3, validated=True)
    assert (log.status.status, steps) == ("clean", 2 * (STEPS + 1))
    assert count < 10


@pytest.mark.parametrize(
    "what",
    [
        *("input", "label", "sample_weight", "activation", "gradient", "metric"),
        *("weight", "layer_state", "optimizer"),
    ],
)
def test_what_goes_bad_in_a_step_that_would_have_gone_by_its_plan(
    what: str, named: Named, tmp_path: Path
) -> None:
    log, _, _ = both(tmp_path, named, what=what, kinds=4)  # it has two updates
    first = log.episodes[0]
    # A weight is met after what was made of it.
    kind = "activation" if what == "weight" else what
    assert (first.start.step, first.tensors[0].kind) == (AT, kind)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_ever_new_kinds_leave_no_more_than_so_many_plans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tb_nanwatch.writing.backends.torch import journal

    monkeypatch.setattr(journal, "_MOST_KINDS", 5)
    plans: set[int] = set()
    learn = Journal.learn

    def counted(self: Journal, *args: Any) -> None:
        learn(self, *args)
        plans.add(len(self._first.next))

    monkeypatch.setattr(Journal, "learn", counted)
    model = keras.Sequential([keras.Input((2,)), L.Dense(1)])
    model.compile("sgd", "mse")

    def batches() -> Any:
        for rows in range(2, 22):
            x = np.full((rows, 2), math.nan if rows == 19 else 1.0, np.float32)
            yield x, x[:, :1] * 0

    watch = NanWatch(tmp_path, experiments=0)
    model.fit(batches(), shuffle=False, verbose=0, callbacks=[watch])
    assert max(plans) == 5
    assert read_log(tmp_path).episodes[0].start.step == 17
