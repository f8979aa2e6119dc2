"""The campaign: faults of every kind, in every kind of model, all recovered.

The oracle is the fault itself: it is placed in a tensor that is finite, so onset,
origin and counts are known. Faults in variables are counted with NumPy besides, in
the variables as they stand after the step. `NANWATCH_FAULTS=5000` runs thousands.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tb_nanwatch import NanWatch
from tb_nanwatch.schema import PERSISTENT_KINDS, STATUSES
from tests.writing.faults import (
    DATA_PLACES,
    VALUES,
    Fault,
    Faults,
    Place,
    Saboteur,
    two_replicas,
)
from tests.writing.logs import Log, read_log
from tests.writing.models import KINDS, Kind

SEED = 20
BATCH = 8
STEPS_PER_EPOCH = 24
VALIDATION_STEPS = 8


@dataclass(frozen=True)
class Configuration:
    """A kind of model, and how it is run."""

    kind: str
    replicas: int = 1
    steps_per_execution: int = 1
    options: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        how = [f"{name}={value}" for name, value in self.options]
        if self.replicas > 1:
            how.append(f"{self.replicas} replicas")
        return " ".join([self.kind, *how])


CONFIGURATIONS = [
    *(Configuration(kind) for kind in KINDS),
    Configuration("mlp", options=(("jit_compile", True),)),
    Configuration("conv", options=(("jit_compile", True),)),
    Configuration("mlp", replicas=2),
    Configuration("conv", replicas=2),
    Configuration("mlp", steps_per_execution=4, options=(("steps_per_execution", 4),)),
    Configuration("mlp", options=(("run_eagerly", True),)),
]
# More than 300 in all by default, besides the finite giants; shared out evenly.
TOTAL = int(os.environ.get("NANWATCH_FAULTS", "350"))
# A step that runs eagerly costs a hundred times as much: it gets half the share.
EAGER = [dict(c.options).get("run_eagerly", False) for c in CONFIGURATIONS]
PER_CONFIGURATION = -(-2 * TOTAL // sum(1 if eager else 2 for eager in EAGER))


@dataclass
class Campaign:
    """One configuration's data, faults and model."""

    configuration: Configuration
    rng: np.random.RandomState
    epochs: int
    places: list[Place] = field(default_factory=list)
    numbers: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        return KINDS[self.configuration.kind]

    def strategy(self) -> Any:
        if self.configuration.replicas == 1:
            return contextlib.nullcontext()
        return two_replicas().scope()

    def build(self) -> tuple[Any, Faults]:
        keras.backend.clear_session()
        keras.utils.set_random_seed(5)
        c = self.configuration
        faults = Faults(c.steps_per_execution)
        faults.places = dict(self.numbers)
        with self.strategy():
            model = self.kind.build(faults, **dict(c.options))
            if model.built:  # or else at the first batch
                model.optimizer.build(model.trainable_variables)
        return model, faults

    def arrays(self, steps: int) -> tuple[Any, ...]:
        """Returns inputs, labels and weights of so many batches."""
        n = steps * BATCH

        def reals(shape: tuple[int, ...]) -> Any:
            return self.rng.randn(n, *shape).astype(np.float32)

        def tree(shapes: Any) -> Any:
            if isinstance(shapes, dict):
                return {key: reals(shape) for key, shape in shapes.items()}
            return reals(shapes)

        kind = self.kind
        if kind.words:
            x: Any = self.rng.randint(0, kind.words, (n, *kind.inputs)).astype(np.int32)
        else:
            x = tree(kind.inputs)
        y = tree(kind.labels)
        if not kind.weighted:
            return x, y
        weights = self.rng.uniform(0.5, 1.5, n).astype(np.float32)
        if isinstance(y, dict):
            return x, y, {key: weights.copy() for key in y}
        return x, y, weights

    def discover(self) -> None:
        """Finds the places by tracing the steps once, without any callback."""
        plain = Configuration(self.configuration.kind)
        own, self.configuration = self.configuration, plain
        model, faults = self.build()
        # A replica sees its share of the batch.
        data = tf.nest.map_structure(
            lambda a: tf.constant(a[: BATCH // own.replicas]), self.arrays(1)
        )
        seen = {}
        for phase, step in (("train", model.train_step), ("validation", model.test_step)):
            for _, info in faults.places.values():
                info.pop("shape", None)
            with contextlib.suppress(StopIteration):
                tf.function(step, autograph=False).get_concrete_function(data)
            seen[phase] = {k for k, (_, i) in faults.places.items() if "shape" in i}
            shapes = {
                k: i["shape"] for k, (_, i) in faults.places.items() if "shape" in i
            }
            for key, shape in shapes.items():
                seen.setdefault(key, shape)
        self.configuration = own
        self.numbers = {key: (n, {}) for key, (n, _) in faults.places.items()}
        self.places = [
            self._place(key, seen[key], key in seen["train"], key in seen["validation"])
            for key in faults.places
        ]
        self.places += self._data_places()

    @staticmethod
    def _place(key: str, shape: list[int], train: bool, validation: bool) -> Place:
        kind, _, name = key.partition(":")
        rows = shape[0] if shape else None
        return Place(kind, name, int(np.prod(shape)), rows, train, validation)

    def _data_places(self) -> list[Place]:
        found = []
        kind = self.kind
        trees = [("label", kind.labels)]
        if not kind.words:
            trees.append(("input", kind.inputs))
        if kind.weighted:
            scalar = dict.fromkeys(kind.labels, ())
            weights: Any = scalar if isinstance(kind.labels, dict) else ()
            trees.append(("sample_weight", weights))
        for what, shapes in trees:
            named = shapes if isinstance(shapes, dict) else {None: shapes}
            for key, shape in named.items():
                name = what if key is None else f"{what}[{key!r}]"
                found.append(Place(what, name, BATCH * int(np.prod(shape)), BATCH))
        return found

    def plan(self, faults: int) -> list[Fault]:
        """Draws faults, no two at neighbouring steps."""
        kinds = sorted({p.kind for p in self.places})
        spacing = 2 * self.configuration.steps_per_execution
        # What is built at the first batch cannot be mended after it.
        first = 0 if self.build()[0].built else spacing
        may_validate = self.configuration.steps_per_execution == 1
        free = {
            "train": list(range(first, self.epochs * STEPS_PER_EPOCH, spacing)),
            "validation": list(range(0, self.epochs * VALIDATION_STEPS, 2)),
        }
        plan: list[Fault] = []
        for i in range(faults):
            kind = kinds[i % len(kinds)]  # every kind gets its share
            place = self._choose([p for p in self.places if p.kind == kind])
            phases = ["train"] * place.train
            if may_validate and place.validation and (i // len(kinds)) % 3 == 2:
                phases = ["validation"]
            phase = self._choose(phases or ["validation"])
            steps = free[phase]
            step = steps.pop(self.rng.randint(len(steps)))
            step += self.rng.randint(0, spacing // 2) if spacing > 2 else 0
            values = ["nan", "+inf", "-inf"]
            quiet = (*PERSISTENT_KINDS, "metric")
            if kind in quiet and may_validate and phase == "train":
                values.append("huge")
            count = self._choose([1, 1, 2, place.size // 2, place.size])
            replica = -1
            if self.configuration.replicas > 1 and kind in ("activation", "gradient"):
                replica = self.rng.randint(-1, self.configuration.replicas)
            plan.append(
                Fault(
                    place,
                    phase,
                    step,
                    self._choose(values),
                    self.rng.randint(place.size),
                    min(max(count, 1), place.size),
                    replica,
                )
            )
        return plan

    def _choose(self, options: list[Any]) -> Any:
        return options[self.rng.randint(len(options))]

    def data(self, phase: str, plan: list[Fault]) -> tuple[Any, ...]:
        """Returns all batches of a phase, with the faults that lie in the data."""
        per_epoch = STEPS_PER_EPOCH if phase == "train" else VALIDATION_STEPS
        data = self.arrays(self.epochs * per_epoch)
        for fault in plan:
            if fault.phase == phase and fault.place.kind in DATA_PLACES:
                part = data[("input", "label", "sample_weight").index(fault.place.kind)]
                if isinstance(part, dict):
                    part = part[fault.place.name.split("'")[1]]
                batch = part[fault.step * BATCH : (fault.step + 1) * BATCH]
                index = (np.arange(fault.count) + fault.start) % batch.size
                batch.reshape(-1)[index] = VALUES[fault.value]
        return data

    def training(self, plan: list[Fault]) -> Any:
        dataset = tf.data.Dataset.from_tensor_slices(self.data("train", plan))
        return dataset.batch(BATCH, drop_remainder=True)

    def validation(self, plan: list[Fault], saboteur: Saboteur) -> Any:
        """Returns a dataset that goes on where the last pass ended."""
        data = self.data("validation", plan)

        def batches() -> Any:
            first = max(0, saboteur.passes - 1) * VALIDATION_STEPS
            for i in range(first, self.epochs * VALIDATION_STEPS):
                part = slice(i * BATCH, (i + 1) * BATCH)
                yield tf.nest.map_structure(lambda a, part=part: a[part], data)

        signature = tf.nest.map_structure(
            lambda a: tf.TensorSpec((BATCH, *a.shape[1:]), a.dtype), data
        )
        return tf.data.Dataset.from_generator(batches, output_signature=signature)

    def fit(self, log_dir: Path, plan: list[Fault]) -> tuple[Log, Saboteur]:
        model, faults = self.build()
        saboteur = Saboteur(faults, plan, self.configuration.steps_per_execution)
        model.fit(
            self.training(plan),
            epochs=self.epochs,
            steps_per_epoch=STEPS_PER_EPOCH,
            validation_data=self.validation(plan, saboteur),
            validation_steps=VALIDATION_STEPS,
            shuffle=False,
            verbose=0,
            callbacks=[NanWatch(log_dir), saboteur],
        )
        return read_log(log_dir), saboteur

    # --- The oracle -------------------------------------------------------------

    def expected(self, fault: Fault) -> dict[str, Any]:
        """Returns what must be recovered of a fault."""
        if fault.phase == "train":
            epoch, batch = divmod(fault.step, STEPS_PER_EPOCH)
            step = fault.step
        else:
            epoch, batch = divmod(fault.step, VALIDATION_STEPS)
            step = (epoch + 1) * STEPS_PER_EPOCH
        place, times = fault.place, 1
        if place.kind not in (*DATA_PLACES, *PERSISTENT_KINDS) and fault.replica == -1:
            times = self.configuration.replicas  # a part of the batch on each
        counts = [0, 0, 0]
        counts[["nan", "+inf", "-inf"].index(fault.value)] = fault.count * times
        row = None
        if place.rows:
            each = place.size // place.rows
            first = 0 if fault.start + fault.count > place.size else fault.start
            row = first // each
        replica = max(fault.replica, 0)
        if place.kind in DATA_PLACES and row is not None:
            replica, row = divmod(row, BATCH // self.configuration.replicas)
        return {
            "onset": (fault.phase, step, epoch, batch),
            "origin": (place.kind, place.name),
            "counts": tuple(counts),
            "row": (replica, row),
        }


def recovered(log: Log) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Returns what the log says of each episode, by its onset."""
    found = {}
    for e in log.episodes:
        onset = (e.start.phase, e.start.step, e.start.epoch, e.start.batch)
        # An episode in which nothing is new is the rest of another one.
        tensor = e.tensors[e.new[0]] if e.new else e.tensors[0]
        found[onset] = {
            "onset": onset,
            "origin": (tensor.kind, tensor.name),
            "counts": (tensor.num_nan, tensor.num_pos_inf, tensor.num_neg_inf),
            "row": (tensor.replica, tensor.row),
        }
    return found


def check_status(log: Log) -> None:
    """The run's own onset and origin are those of the first of the worst episodes."""
    worst = max(STATUSES.index(e.level) for e in log.episodes)
    deciding = next(e for e in log.episodes if STATUSES.index(e.level) == worst)
    assert log.status.status == deciding.level == STATUSES[worst]
    assert log.status.onset == deciding.start
    assert log.status.origin in [deciding.tensors[i] for i in deciding.new]
    assert log.status.num_episodes == len(log.episodes)


@pytest.mark.slow
@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=str)
def test_every_fault_is_recovered(
    configuration: Configuration, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    eager = EAGER[CONFIGURATIONS.index(configuration)]
    faults = PER_CONFIGURATION // 2 if eager else PER_CONFIGURATION
    spacing = 2 * configuration.steps_per_execution
    epochs = 1 + -(-faults * spacing // STEPS_PER_EPOCH)
    rng = np.random.RandomState(SEED + CONFIGURATIONS.index(configuration))
    campaign = Campaign(configuration, rng, epochs)
    campaign.discover()

    plan = campaign.plan(faults)
    log, saboteur = campaign.fit(tmp_path / "faults", plan)
    found = recovered(log)
    scores = {"onset": 0, "origin": 0, "counts": 0, "row": 0}
    wrong = []
    loud = [f for f in plan if f.value != "huge"]
    allowed = set()
    for fault in loud:
        expected = campaign.expected(fault)
        if fault in saboteur.counted:
            assert saboteur.counted[fault] == expected["counts"], fault
        got = found.get(expected["onset"])
        allowed |= campaign_echoes(fault, expected["onset"], configuration)
        for what in scores:
            if got is not None and got[what] == expected[what]:
                scores[what] += 1
            else:
                wrong.append(f"{what} of {fault}:\n  expected {expected}\n  got {got}")
    false = [found[onset] for onset in found if onset not in allowed]

    clean, _ = campaign.fit(tmp_path / "clean", [])
    false_clean = clean.episodes
    steps = clean.status.steps
    report(request, configuration, len(loud), scores, false, plan, false_clean, steps)

    assert not wrong, "\n".join(wrong[:5]) + f"\n{len(wrong)} in all"
    assert not false, false[:5]
    check_status(log)
    assert steps == epochs * STEPS_PER_EPOCH
    assert clean.status.status == "clean" and not false_clean
    assert clean.status.onset is None and clean.status.origin is None


def campaign_echoes(
    fault: Fault, onset: tuple[Any, ...], configuration: Configuration
) -> set[tuple[Any, ...]]:
    """Returns the onsets that a fault explains.

    The model is mended after the execution: until then later steps go bad too.
    """
    phase, step, epoch, batch = onset
    if phase == "validation":
        return {onset}
    left = configuration.steps_per_execution - step % configuration.steps_per_execution
    return {(phase, step + i, epoch, batch + i) for i in range(left)}


def report(
    request: pytest.FixtureRequest,
    configuration: Configuration,
    faults: int,
    scores: dict[str, int],
    false: list[Any],
    plan: list[Fault],
    false_clean: list[Any],
    clean_steps: int,
) -> None:
    quiet = len(plan) - faults
    line = (
        f"{configuration!s:26} {faults:4} faults: "
        + "  ".join(f"{what} {n}/{faults}" for what, n in scores.items())
        + f"; false alarms {len(false)} ({quiet} finite giants), "
        f"{len(false_clean)} in {clean_steps} clean steps"
    )
    print(line)
    lines = getattr(request.config, "nanwatch_scores", None)
    if lines is None:
        lines = request.config.nanwatch_scores = []  # type: ignore[attr-defined]
    lines.append(line)
