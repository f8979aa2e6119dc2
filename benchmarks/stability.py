# SPDX-License-Identifier: Apache-2.0
"""Measures how near StabilitySearch comes to the frontier of a grid: docs/stability.md.

`python -m benchmarks.stability --problems "least squares,demo" --real 1` runs a part; what
was run is kept in benchmarks/results/stability.json, which is committed, and not run again.
`--write` puts the tables into docs/stability.md and the picture into docs/stability.svg, each
where what it is made of is there: figures of an earlier run stay otherwise. `--check 5` trains
five points of each problem with Keras' own fit, and compares.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np

from benchmarks import traced
from benchmarks.stability_page import fit_table, is_whole, picture, tables
from benchmarks.stability_problems import PROBLEMS, Problem
from benchmarks.traced import built, order_of
from tb_nanwatch import StabilitySearch
from tb_nanwatch.record.schema import BAD_STATUSES
from tb_nanwatch.stability.oracle import metrics
from tb_nanwatch.stability.trial import Limit, ShortWatch

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "benchmarks" / "results" / "stability.json"
PAGE, PICTURE = ROOT / "docs" / "stability.md", ROOT / "docs" / "stability.svg"
MEASURED, BY_FIT = "measured", "measured by fit"
# Values a decade of the grid, for one number and for two.
FINE, COARSE = 10, 5
GRID_SEEDS = 3
# Of a trial of the stability search, and of the real search after it.
STEPS, REAL_STEPS = 100, 300
RANDOM_SEEDS, RANDOM_TRIALS = 5, 40


# --- Keras' own fit -----------------------------------------------------------------


def fitted(problem: Problem, values: dict[str, Any], seed: int) -> tuple[bool, int]:
    """Trains one set of values as StabilitySearch does; returns whether bad, and steps."""
    keras.backend.clear_session()
    model = built(problem, values, seed)
    x, y = problem.data(0)
    order = order_of(problem, len(x), STEPS, seed).ravel()
    with tempfile.TemporaryDirectory() as place:
        watch = ShortWatch(place)
        limit = Limit(STEPS, watch.look, lambda: watch.status)
        # One epoch: beginning one costs more than a step of these models.
        model.fit(
            x[order], y[order], batch_size=problem.batch, shuffle=False, verbose=0,
            callbacks=[watch, limit],
        )  # fmt: skip
    return watch.status in BAD_STATUSES or not limit.finite, limit.steps


def check(name: str, count: int, kept: dict[str, Any]) -> None:
    """Trains points both ways and keeps how many ended alike.

    Half of them lie within a decade of the grid's frontier, where it is hard.
    """
    problem, entry = PROBLEMS[name], kept[name]
    rng = np.random.default_rng(7)
    rate, low, high = problem.numbers[0]
    edges = [(json.loads(k), e) for k, e in entry["grid"].items()]
    alike = []
    for i in range(count):
        place, edge = edges[int(rng.integers(len(edges)))]
        if i % 2 and edge is not None:
            value = min(max(edge * 10 ** rng.uniform(-0.5, 0.5), low), high)
        else:
            value = low * (high / low) ** rng.random()
        values = {**place, rate: float(value)}
        fit, quick = fitted(problem, values, i), traced.short(problem, values, i, STEPS)
        alike.append([values, fit, list(quick[:2])])
    entry["checked"] = alike
    save(kept)


# --- Frontiers ----------------------------------------------------------------------


def _grid(low: float, high: float, density: int) -> list[float]:
    count = round(density * math.log10(high / low)) + 1
    return [float(v) for v in np.geomspace(low, high, count)]


def places_of(problem: Problem) -> list[dict[str, Any]]:
    """Returns every category, at every value of the second number."""
    lines: dict[str, Sequence[Any]] = dict(problem.choices)
    for name, low, high in problem.numbers[1:]:
        lines[name] = _grid(low, high, COARSE)
    return [
        dict(zip(lines, values, strict=True))
        for values in itertools.product(*lines.values())
    ]


def edges_of_grid(problem: Problem) -> tuple[dict[str, float | None], int, int]:
    """Returns where half of the seeds die along the rate, by the place.

    None where nothing dies.

    Returns:
        The edges, the trainings and the steps.
    """
    name, low, high = problem.numbers[0]
    values = _grid(low, high, COARSE if len(problem.numbers) > 1 else FINE)
    found: dict[str, float | None] = {}
    trainings = total = 0
    for place in places_of(problem):
        shares = []
        for value in values:
            outcomes = [
                traced.short(problem, {**place, name: value}, seed, STEPS)
                for seed in range(GRID_SEEDS)
            ]
            trainings += len(outcomes)
            total += sum(o.steps for o in outcomes)
            shares.append(sum(o.bad for o in outcomes) / GRID_SEEDS)
        dead = next((i for i, s in enumerate(shares) if s >= 0.5), None)
        key = json.dumps(place)
        if dead is None:
            found[key] = None
        else:
            found[key] = float(math.sqrt(values[max(0, dead - 1)] * values[dead]))
    return found, trainings, total


class _Quick(StabilitySearch):
    """A stability search whose trials run in the traced training functions."""

    problem: Problem
    first_seed = 0

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Trains one set of values for a few steps."""
        began = time.monotonic()
        seed = self.first_seed + int(trial.trial_id)
        values = trial.hyperparameters.values
        outcome = traced.short(self.problem, values, seed, self.steps)
        return metrics(outcome.bad, outcome.steps, began)


def found_by_search(
    problem: Problem, seed: int, places: Sequence[str], really: bool
) -> dict[str, Any]:
    """Runs a stability search; returns its frontier at the grid's places.

    Args:
        problem: to search.
        seed: of the search.
        places: of the grid.
        really: with Keras' own fit.
    """
    x, y = problem.data(0)
    repeats = math.ceil(STEPS / math.ceil(len(x) / problem.batch))
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        search = (StabilitySearch if really else _Quick)(
            problem.build, steps=STEPS, seed=seed + 1, directory=place, project_name="s"
        )
        search.problem, search.first_seed = problem, 1000 * (seed + 1)
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
        try:
            stable: Any = search.stable_space().get_config()
        except ValueError:  # nothing lives
            stable = None
        return {
            "really": really,
            "edges": edges,
            "trials": frontier.trials,
            "bad": frontier.bad,
            "steps": steps,
            "seconds": time.monotonic() - began,
            "unsure": len(frontier.unsure),
            "stable": stable,
            "tried": [
                [dict(t.hyperparameters.values), float(t.score)]
                for t in search.oracle.trials.values()
                if t.score is not None
            ],
        }


# --- The real search ----------------------------------------------------------------


class _Random(keras_tuner.RandomSearch):
    """KerasTuner's random search, whose trials run in the traced training functions."""

    problem: Problem
    first_seed = 0

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Trains one set of values."""
        seed = self.first_seed + int(trial.trial_id)
        values = trial.hyperparameters.values
        outcome = traced.real(self.problem, values, seed, REAL_STEPS)
        return {
            "bad": float(outcome.bad),
            "steps": float(outcome.steps),
            # A bad one has no score; KerasTuner would take a NaN for a failure.
            "score": 1e30 if outcome.bad else outcome.score,
        }


def random_search(problem: Problem, seed: int, stable: Any) -> dict[str, float]:
    """Runs a random search; returns its bad trials, its best score and its steps."""
    space = None
    if stable is not None:
        space = keras_tuner.HyperParameters.from_config(stable)
    with tempfile.TemporaryDirectory() as place:
        tuner = _Random(
            problem.build,
            objective=keras_tuner.Objective("score", "min"),
            max_trials=RANDOM_TRIALS,
            seed=seed + 1,
            hyperparameters=space,
            directory=place,
            project_name="r",
        )
        tuner.problem, tuner.first_seed = problem, 100_000 * (seed + 1)
        tuner.search(verbose=0)
        ended = [t.metrics for t in tuner.oracle.trials.values()]
        return {
            "trials": len(ended),
            "bad": sum(m.get_best_value("bad") for m in ended),
            "best": min(m.get_best_value("score") for m in ended),
            "steps": sum(m.get_best_value("steps") for m in ended),
        }


# --- All ----------------------------------------------------------------------------


def run(
    name: str, seeds: int, really: int, random_seeds: int, kept: dict[str, Any]
) -> None:
    """Runs the parts of a problem that have no kept result, and keeps theirs."""
    problem = PROBLEMS[name]
    entry = kept.setdefault(name, {"searches": {}, "random": {}})
    if "grid" not in entry:
        began = time.monotonic()
        grid, trainings, steps = edges_of_grid(problem)
        entry |= {"grid": grid, "grid_trainings": trainings, "grid_steps": steps}
        print(
            f"{name}: a grid of {trainings} in {time.monotonic() - began:.0f} s",
            flush=True,
        )
        save(kept)
    for seed, fits in [(s, False) for s in range(seeds)] + [
        (s, True) for s in range(really)
    ]:
        key = f"{'fit' if fits else 'traced'} {seed}"
        if key not in entry["searches"]:
            found = found_by_search(problem, seed, list(entry["grid"]), fits)
            entry["searches"][key] = found
            save(kept)
    stable = entry["searches"].get("traced 0", {}).get("stable")
    for form, space in (("original", None), ("stable", stable)):
        if form == "stable" and stable is None:
            continue
        for seed in range(random_seeds):
            done = entry["random"].setdefault(form, [])
            if len(done) <= seed:
                done.append(random_search(problem, seed, space))
                save(kept)
    if entry["random"].get("stable") and entry["random"].get("original"):
        best = [
            statistics.median(r["best"] for r in entry["random"][form])
            for form in ("original", "stable")
        ]
        print(f"{name}: median best {best[0]:.3g} and {best[1]:.3g}", flush=True)


def look_at_misses(name: str, seeds: int, kept: dict[str, Any]) -> None:
    """Prints how many of many seeds die around each frontier that a search missed.

    Args:
        name: of the problem.
        seeds: a rate; the grid has three.
        kept: what was run.
    """
    problem, entry = PROBLEMS[name], kept[name]
    rate, low, high = problem.numbers[0]
    for key, edge in entry["grid"].items():
        found = [s["edges"][key] or high for s in entry["searches"].values()]
        if all(abs(math.log10(f / (edge or high))) <= 1 / 3 for f in found):
            continue
        ends = [edge or high, *found]
        values = np.geomspace(max(low, min(ends) / 2), min(high, 2 * max(ends)), 9)
        died = []
        for value in values:
            given = {**json.loads(key), rate: float(value)}
            runs = [traced.short(problem, given, s, STEPS).bad for s in range(seeds)]
            died.append(f"{value:.3g}: {sum(runs)}")
        said = ", ".join(f"{f:.3g}" for f in found)
        where = f"{name} {key}: grid {edge or high:.3g}, found {said}"
        print(f"{where}; of {seeds} died at {', '.join(died)}", flush=True)


def save(kept: dict[str, Any]) -> None:
    """Writes the results to the file of kept results."""
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.write_text(json.dumps(kept, indent=1), encoding="utf-8")


def _with(page: str, mark: str, text: str) -> str:
    """Returns the page with a text between two marks; as it is where there is none."""
    begin, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->\n"
    before, after = page.split(begin)[0], page.split(end)[1]
    return before + begin + text + end + after if text else page


def main() -> None:
    """Runs the problems that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", default=",".join(PROBLEMS))
    parser.add_argument("--seeds", type=int, default=3, help="searches, traced")
    parser.add_argument("--random", type=int, default=RANDOM_SEEDS, help="its seeds")
    parser.add_argument("--real", type=int, default=1, help="searches with Keras' fit")
    parser.add_argument("--check", type=int, default=0, help="points trained both ways")
    parser.add_argument("--misses", type=int, default=0, help="seeds a rate, at misses")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    for name in given.problems.split(","):
        run(name, given.seeds, given.real, given.random, kept)
        if given.check and "checked" not in kept[name]:
            check(name, given.check, kept)
        if given.misses:
            look_at_misses(name, given.misses, kept)
    if given.write:
        page = PAGE.read_text(encoding="utf-8")
        if is_whole(kept):
            page = _with(page, MEASURED, tables(kept))
            PICTURE.write_text(picture(kept), encoding="utf-8")
        else:
            print(f"not every problem is in {KEPT.name}: what is measured stays as it is")
        PAGE.write_text(_with(page, BY_FIT, fit_table(kept)), encoding="utf-8")


if __name__ == "__main__":
    main()
