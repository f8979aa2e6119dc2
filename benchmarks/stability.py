"""How near StabilitySearch comes to the frontier of a grid: docs/stability.md.

`python -m benchmarks.stability --problems least_squares,sgd --seeds 2` runs a part; what
was run is kept in build/stability.json and not run again. `--write` puts the table into
docs/stability.md and the picture into docs/stability.svg.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np

from tb_nanwatch import StabilitySearch
from tb_nanwatch.record.schema import BAD_STATUSES
from tb_nanwatch.stability.trial import Limit, ShortWatch

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "build" / "stability.json"
PAGE, PICTURE = ROOT / "docs" / "stability.md", ROOT / "docs" / "stability.svg"
BEGIN, END = "<!-- measured -->\n", "<!-- end of measured -->\n"
# Values a decade of the grid, for one number and for two.
FINE, COARSE = 10, 5
GRID_SEEDS = 3
STEPS = 100

Data = tuple[Any, Any]


@dataclass(frozen=True)
class Problem:
    """A model, its data and its space.

    Attributes:
        build: of KerasTuner's hp; declares `numbers` and at most one choice.
        data: x and y.
        numbers: name, low and high of each, on a log scale.
        choices: name and values of a choice, empty for none.
        batch: rows of a batch.
    """

    build: Callable[[Any], Any]
    data: Callable[[], Data]
    numbers: tuple[tuple[str, float, float], ...]
    choices: tuple[str, ...] = ()
    batch: int = 32


RATE = ("learning_rate", 1e-4, 1e2)


def table_data(scale: float = 1.0) -> Data:
    """Returns 256 rows of four numbers and their noisy sum."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 4)).astype(np.float32)
    y = x.sum(axis=1, keepdims=True) + 0.1 * rng.normal(size=(256, 1))
    return (x * scale).astype(np.float32), y.astype(np.float32)


def images() -> Data:
    """Returns 128 images of 8 x 8 with the brighter half as label."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(128, 8, 8, 1)).astype(np.float32)
    return x, (x[:, :4].mean((1, 2)) > x[:, 4:].mean((1, 2))).astype(np.float32)


def series() -> Data:
    """Returns 128 series of 12 steps and their sum."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(128, 12, 2)).astype(np.float32)
    return x, x.sum((1, 2))[:, None].astype(np.float32)


def rate(hp: Any) -> Any:
    """Declares the learning rate."""
    return hp.Float(*RATE, sampling="log")


def compiled(model: Any, optimizer: Any, loss: str = "mse") -> Any:
    """Compiles and returns the model."""
    model.compile(optimizer, loss)
    return model


def dense(width: int = 16) -> Any:
    """Returns a small perceptron on four numbers."""
    layers = [keras.layers.Dense(width, activation="relu"), keras.layers.Dense(1)]
    return keras.Sequential([keras.Input((4,)), *layers])


def least_squares(hp: Any) -> Any:
    """Gradient descent on least squares: it dies above 2 / L."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False)])
    return compiled(model, keras.optimizers.SGD(rate(hp)))


def with_optimizer(cls: Any) -> Callable[[Any], Any]:
    """Returns what builds a perceptron with an optimizer."""
    return lambda hp: compiled(dense(), cls(rate(hp)))


def scaled(hp: Any) -> Any:
    """The scale of the inputs and the rate work together."""
    factor = hp.Float("scale", 1.0, 1e3, sampling="log")
    inputs = keras.Input((4,))
    outputs = keras.layers.Dense(1)(keras.layers.Rescaling(factor)(inputs))
    return compiled(keras.Model(inputs, outputs), keras.optimizers.SGD(rate(hp)))


def optimizers(hp: Any) -> Any:
    """Each optimizer has a frontier of its own."""
    cls = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}
    name = hp.Choice("optimizer", list(cls))
    return compiled(dense(), cls[name](rate(hp)))


def convolution(hp: Any) -> Any:
    """A small convolutional net."""
    layers = [keras.layers.Conv2D(8, 3, activation="relu"), keras.layers.Flatten()]
    model = keras.Sequential([keras.Input((8, 8, 1)), *layers, keras.layers.Dense(1)])
    return compiled(model, keras.optimizers.SGD(rate(hp)))


def recurrent(hp: Any) -> Any:
    """A small recurrent net without a squashing activation."""
    layers = [keras.layers.SimpleRNN(8, activation="relu"), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((12, 2)), *layers])
    return compiled(model, keras.optimizers.SGD(rate(hp)))


def attention(hp: Any) -> Any:
    """One head of attention over a series."""
    inputs = keras.Input((12, 2))
    hidden = keras.layers.Dense(8)(inputs)
    seen = keras.layers.MultiHeadAttention(1, 8)(hidden, hidden)
    pooled = keras.layers.GlobalAveragePooling1D()(hidden + seen)
    model = keras.Model(inputs, keras.layers.Dense(1)(pooled))
    return compiled(model, keras.optimizers.SGD(rate(hp)))


def half(hp: Any) -> Any:
    """A perceptron in float16, without a loss scale."""
    value = rate(hp)
    layers = [
        keras.layers.Dense(16, activation="relu", dtype="float16"),
        keras.layers.Dense(1, dtype="float16"),
    ]
    model = keras.Sequential([keras.Input((4,), dtype="float16"), *layers])
    return compiled(model, keras.optimizers.SGD(value))


def calm(hp: Any) -> Any:
    """Nothing dies."""
    value = hp.Float("learning_rate", 1e-6, 1e-3, sampling="log")
    return compiled(dense(), keras.optimizers.Adam(value))


def doomed(hp: Any) -> Any:
    """Everything dies: the loss divides by zero."""
    model = dense()
    model.compile(
        keras.optimizers.SGD(rate(hp)), lambda y, p: keras.ops.abs(y - p) / (0.0 * p)
    )
    return model


PROBLEMS = {
    "least_squares": Problem(least_squares, table_data, (RATE,), batch=256),
    "sgd": Problem(with_optimizer(keras.optimizers.SGD), table_data, (RATE,)),
    "adam": Problem(with_optimizer(keras.optimizers.Adam), table_data, (RATE,)),
    "rmsprop": Problem(with_optimizer(keras.optimizers.RMSprop), table_data, (RATE,)),
    "scaled": Problem(scaled, table_data, (RATE, ("scale", 1.0, 1e3))),
    "optimizers": Problem(optimizers, table_data, (RATE,), ("sgd", "adam")),
    "convolution": Problem(convolution, images, (RATE,)),
    "recurrent": Problem(recurrent, series, (RATE,)),
    "attention": Problem(attention, series, (RATE,)),
    "float16": Problem(half, table_data, (RATE,)),
    "nothing dies": Problem(calm, table_data, (("learning_rate", 1e-6, 1e-3),)),
    "all dies": Problem(doomed, table_data, (RATE,)),
}


def short(problem: Problem, values: dict[str, Any], seed: int) -> tuple[bool, int]:
    """Trains one set of values; returns whether it went bad, and its steps."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    hp = keras_tuner.HyperParameters()
    hp.values = dict(values)
    model = problem.build(hp)
    x, y = problem.data()
    with tempfile.TemporaryDirectory() as place:
        watch = ShortWatch(place)
        limit = Limit(STEPS, watch.look, lambda: watch.status)
        per_epoch = math.ceil(len(x) / problem.batch)
        repeats = math.ceil(STEPS / per_epoch)
        model.fit(
            # One epoch: beginning one costs more than a step of these models.
            np.concatenate([x] * repeats), np.concatenate([y] * repeats),
            batch_size=problem.batch, shuffle=len(x) > problem.batch, verbose=0,
            callbacks=[watch, limit],
        )  # fmt: skip
    return watch.status in BAD_STATUSES or not limit.finite, limit.steps


def edges_of_grid(problem: Problem) -> tuple[dict[str, float | None], int]:
    """Returns where half of the seeds die along the rate, by the place; and all steps.

    A place is a level, or a value of the second number. None where nothing dies.
    """
    name, low, high = problem.numbers[0]
    two = len(problem.numbers) > 1
    places: list[dict[str, Any]] = [{"optimizer": c} for c in problem.choices] or [{}]
    if two:
        other, first, last = problem.numbers[1]
        count = round(COARSE * math.log10(last / first)) + 1
        places = [{other: float(v)} for v in np.geomspace(first, last, count)]
    found: dict[str, float | None] = {}
    total = 0
    values = np.geomspace(
        low, high, round((COARSE if two else FINE) * math.log10(high / low)) + 1
    )
    for place in places:
        shares = []
        for value in values:
            bad = 0
            for seed in range(GRID_SEEDS):
                died, steps = short(problem, {**place, name: float(value)}, seed)
                bad, total = bad + died, total + steps
            shares.append(bad / GRID_SEEDS)
        dead = next((i for i, s in enumerate(shares) if s >= 0.5), None)
        key = json.dumps(place)
        if dead is None:
            found[key] = None
        else:
            found[key] = float(math.sqrt(values[max(0, dead - 1)] * values[dead]))
    return found, total


def found_by_search(problem: Problem, seed: int, places: Sequence[str]) -> dict[str, Any]:
    """Runs a stability search; returns its frontier at the grid's places."""
    x, y = problem.data()
    repeats = math.ceil(STEPS / math.ceil(len(x) / problem.batch))
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        search = StabilitySearch(
            problem.build, steps=STEPS, seed=seed + 1, directory=place, project_name="s"
        )
        keras.utils.set_random_seed(seed)
        search.search(
            np.concatenate([x] * repeats), np.concatenate([y] * repeats),
            batch_size=problem.batch, shuffle=len(x) > problem.batch, verbose=0,
        )  # fmt: skip
        frontier = search.frontier()
        steps, _ = search.oracle.spent()
        space = search.oracle.coordinates()
        name, low, high = problem.numbers[0]
        line = np.geomspace(low, high, 400)
        edges: dict[str, float | None] = {}
        for key in places:
            rows = [json.loads(key) | {name: float(v)} for v in line]
            mean, _ = frontier.model.predict(space.encode(rows))
            dead = np.flatnonzero(mean > 0)
            edges[key] = float(line[dead[0]]) if len(dead) else None
        return {
            "edges": edges,
            "trials": frontier.trials,
            "bad": frontier.bad,
            "steps": steps,
            "seconds": time.monotonic() - began,
            "unsure": len(frontier.unsure),
            "tried": [
                [dict(t.hyperparameters.values), float(t.score)]
                for t in search.oracle.trials.values()
            ],
        }


def apart(a: float | None, b: float | None, high: float) -> float:
    """Returns the decades between two frontiers; one that is not there lies at the end."""
    return abs(math.log10((a or high) / (b or high)))


def run(name: str, seeds: int, kept: dict[str, Any]) -> None:
    """Runs what is not kept of a problem, and keeps it."""
    problem = PROBLEMS[name]
    entry = kept.setdefault(name, {"searches": {}})
    if "grid" not in entry:
        entry["grid"], entry["grid_steps"] = edges_of_grid(problem)
        save(kept)
    for seed in range(seeds):
        if str(seed) not in entry["searches"]:
            found = found_by_search(problem, seed, list(entry["grid"]))
            entry["searches"][str(seed)] = found
            save(kept)


def save(kept: dict[str, Any]) -> None:
    """Writes what was run."""
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.write_text(json.dumps(kept, indent=1), encoding="utf-8")


def table(kept: dict[str, Any]) -> str:
    """Returns the table of docs/stability.md."""
    lines = [
        "| problem | seeds | grid's frontier | found | apart, decades (worst) | trials "
        "| steps, of the grid's | unsure |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, entry in kept.items():
        searches = list(entry["searches"].values())
        if not searches:
            continue
        high = PROBLEMS[name].numbers[0][2]
        gaps = [
            apart(s["edges"][key], edge, high)
            for s in searches
            for key, edge in entry["grid"].items()
        ]
        grid = ", ".join(
            "none" if e is None else f"{e:.2g}" for e in entry["grid"].values()
        )
        first = searches[0]["edges"].values()
        found = ", ".join("none" if e is None else f"{e:.2g}" for e in first)
        trials = ", ".join(str(s["trials"]) for s in searches)
        share = max(s["steps"] for s in searches) / max(1, entry["grid_steps"])
        unsure = sum(s["unsure"] for s in searches)
        lines.append(
            f"| {name} | {len(searches)} | {grid} | {found} | {max(gaps):.2f} | {trials} "
            f"| {share:.0%} | {unsure} |"
        )
    left = [n for n in PROBLEMS if not kept.get(n, {}).get("searches")]
    if left:
        lines += ["", f"Not run: {', '.join(left)}."]
    return "\n".join(lines) + "\n"


def picture(kept: dict[str, Any]) -> str:
    """Returns an SVG: a strip for each problem, its trials and the grid's frontier."""
    names = [n for n in kept if kept[n]["searches"]]
    width, row, left = 760, 34, 130
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
        f'height="{row * len(names) + 40}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for i, name in enumerate(names):
        rate_name, low, high = PROBLEMS[name].numbers[0]

        def at(value: float, low: float = low, high: float = high) -> float:
            return left + (width - left - 20) * math.log10(value / low) / math.log10(
                high / low
            )

        y = 20 + row * i
        parts.append(f'<text x="8" y="{y + 4}">{name}</text>')
        parts.append(
            f'<line x1="{left}" x2="{width - 20}" y1="{y}" y2="{y}" stroke="#bbb"/>'
        )
        for edge in kept[name]["grid"].values():
            if edge is not None:
                x = at(edge)
                parts.append(
                    f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 11}" y2="{y + 11}" '
                    'stroke="#333" stroke-width="2"/>'
                )
        for values, bad in next(iter(kept[name]["searches"].values()))["tried"]:
            colour = "#c0392b" if bad else "#2874a6"
            parts.append(
                f'<circle cx="{at(values[rate_name]):.1f}" cy="{y}" r="4" fill="{colour}" '
                'fill-opacity="0.6"/>'
            )
    parts.append(
        f'<text x="{left}" y="{row * len(names) + 30}">learning rate, log scale over its range; '
        "blue lived, red died; bar: the grid's frontier</text></svg>"
    )
    return "\n".join(parts) + "\n"


def main() -> None:
    """Runs the problems that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", default=",".join(PROBLEMS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    for name in given.problems.split(","):
        run(name, given.seeds, kept)
        print(table({name: kept[name]}).splitlines()[2], flush=True)
    if given.write:
        page = PAGE.read_text(encoding="utf-8")
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        PAGE.write_text(before + BEGIN + table(kept) + END + after, encoding="utf-8")
        PICTURE.write_text(picture(kept), encoding="utf-8")


if __name__ == "__main__":
    main()
