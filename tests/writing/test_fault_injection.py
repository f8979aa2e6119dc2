"""The campaign: faults of every kind, in every kind of model, all recovered.

The oracle is the fault itself: it is placed in a tensor that is finite, so onset,
origin and counts are known. Faults in variables are counted with NumPy besides, in
the variables as they stand after the step. CI takes as many configurations as have every
kind of model and every way to run it among them; `make faults` takes all of them, and
thousands of faults (`NANWATCH_FAULTS=5000`).
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tb_nanwatch import NanWatch
from tb_nanwatch.record.schema import PERSISTENT_KINDS, STATUSES
from tb_nanwatch.writing.backends.tensorflow import proofs
from tb_nanwatch.writing.backends.tensorflow import traced_step as step_module
from tests.support.share import THOROUGH, covering
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
SHORT_BATCH = 5
# Tensors whose first axis is the batch, where it is as long.
BATCHED = (*DATA_PLACES, "activation", "prediction", "loss")


@dataclass(frozen=True)
class Configuration:
    """A kind of model, and how it is run.

    Attributes:
        kind: of the model.
        replicas: of a MirroredStrategy, 1 for none.
        steps_per_execution: of training and validation.
        ragged: every third batch is short, as where a dataset is repeated whose last
            batch is; the last of each epoch is among them.
        policy: of dtypes.
        proofs: proofs stand in for the sums of small tensors, too, where the graph
            bears them.
        options: for `compile`.
    """

    kind: str
    replicas: int = 1
    steps_per_execution: int = 1
    ragged: bool = False
    policy: str = "float32"
    proofs: bool = False
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def traits(self) -> list[str]:
        """The kind of model and each way in which it is run beyond the usual."""
        return str(self).replace(" replicas", "_replicas").split()

    def __str__(self) -> str:
        how = [f"{name}={value}" for name, value in self.options]
        if self.replicas > 1:
            how.append(f"{self.replicas} replicas")
        if self.ragged:
            how.append("short batches")
        if self.policy != "float32":
            how.append(self.policy)
        if self.proofs:
            how.append("proofs")
        return " ".join([self.kind, *how])


EVERY_CONFIGURATION = [
    *(Configuration(kind) for kind in KINDS),
    Configuration("mlp", options=(("jit_compile", True),)),
    Configuration("conv", options=(("jit_compile", True),)),
    Configuration("mlp", replicas=2),
    Configuration("conv", replicas=2),
    Configuration("mlp", steps_per_execution=4, options=(("steps_per_execution", 4),)),
    Configuration("mlp", options=(("run_eagerly", True),)),
    Configuration("nested", ragged=True),
    Configuration("several", policy="mixed_float16"),
    Configuration("shared", policy="mixed_bfloat16"),
    *(Configuration(kind, proofs=True) for kind in ("conv", "transformer", "nested")),
    Configuration("conv", proofs=True, options=(("jit_compile", True),)),
    Configuration("conv", proofs=True, replicas=2),
    Configuration("transformer", proofs=True, policy="mixed_bfloat16"),
    Configuration("subclassed", ragged=True),
    Configuration(
        "own_step", steps_per_execution=4, options=(("steps_per_execution", 4),)
    ),
]
CONFIGURATIONS = covering(
    EVERY_CONFIGURATION,
    lambda configuration: configuration.traits,
    thorough=THOROUGH or "NANWATCH_FAULTS" in os.environ,
)
# So many in all of every configuration, besides the finite giants; shared out evenly: a dozen
# to each is one in every kind of tensor.
TOTAL = int(os.environ.get("NANWATCH_FAULTS", "290"))
# A step that runs eagerly costs a hundred times as much: it gets half the share.
EAGER = [dict(c.options).get("run_eagerly", False) for c in EVERY_CONFIGURATION]
PER_CONFIGURATION = -(-2 * TOTAL // sum(1 if eager else 2 for eager in EAGER))


@dataclass
class Campaign:
    """One configuration's data, faults and model."""

    configuration: Configuration
    rng: np.random.RandomState
    epochs: int
    places: list[Place] = field(default_factory=list)
    numbers: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    built: bool = True  # before the first batch

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
        keras.config.set_dtype_policy(c.policy)
        faults = Faults(c.steps_per_execution)
        faults.places = dict(self.numbers)
        with self.strategy():
            model = self.kind.build(faults, **dict(c.options))
            self.built = model.built
            if model.built:  # or else at the first batch
                model.optimizer.build(model.trainable_variables)
        faults.count_validation(model)
        return model, faults

    def arrays(self, n: int) -> tuple[Any, ...]:
        """Returns inputs, labels and weights of so many examples."""

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

    def rows(self, step: int) -> int:
        """Returns how many examples the batch of a step has, in either phase."""
        return SHORT_BATCH if self.configuration.ragged and step % 3 == 2 else BATCH

    def find_places(self, faults: Faults) -> None:
        """Takes the places from what the injectors met in a run without faults."""
        self.numbers = {key: (n, {}) for key, (n, _) in faults.places.items()}
        self.places = [self._place(key, info) for key, (_, info) in faults.places.items()]
        self.places += self._data_places()

    def _place(self, key: str, info: dict[str, Any]) -> Place:
        kind, _, name = key.partition(":")
        # A replica sees its share of the batch.
        batch = BATCH // self.configuration.replicas
        shape = [batch if d is None else d for d in info["shape"]]
        rows = shape[0] if shape else None
        phases = "train" in info, "validation" in info
        return Place(kind, name, int(np.prod(shape)), rows, *phases)

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
        assert (
            faults >= len(kinds) or EAGER[EVERY_CONFIGURATION.index(self.configuration)]
        )
        spacing = 2 * self.configuration.steps_per_execution
        # What is built at the first batch cannot be mended after it.
        first = 0 if self.built else spacing
        one_by_one = self.configuration.steps_per_execution == 1
        free = {
            "train": list(range(first, self.epochs * STEPS_PER_EPOCH, spacing)),
            "validation": list(range(0, self.epochs * VALIDATION_STEPS, spacing)),
        }
        plan: list[Fault] = []
        for i in range(faults):
            kind = kinds[i % len(kinds)]  # every kind gets its share
            place = self._choose([p for p in self.places if p.kind == kind])
            phases = ["train"] * place.train
            if place.validation and (i // len(kinds)) % 3 == 2:
                phases = ["validation"]
            phase = self._choose(phases or ["validation"])
            steps = free[phase]
            step = steps.pop(self.rng.randint(len(steps)))
            step += self.rng.randint(0, spacing // 2) if spacing > 2 else 0
            if place.kind in BATCHED and place.rows == BATCH:
                rows = self.rows(step)
                place = replace(place, size=place.size * rows // BATCH, rows=rows)
            values = ["nan", "+inf", "-inf"]
            quiet = (*PERSISTENT_KINDS, "metric")
            if kind in quiet and one_by_one and phase == "train":
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
        starts = self._starts(phase)
        data = self.arrays(starts[-1])
        for fault in plan:
            if fault.phase == phase and fault.place.kind in DATA_PLACES:
                part = data[("input", "label", "sample_weight").index(fault.place.kind)]
                if isinstance(part, dict):
                    part = part[fault.place.name.split("'")[1]]
                batch = part[starts[fault.step] : starts[fault.step + 1]]
                index = (np.arange(fault.count) + fault.start) % batch.size
                batch.reshape(-1)[index] = VALUES[fault.value]
        return data

    def _starts(self, phase: str) -> list[int]:
        """Returns where the batches of all epochs begin, and where the last one ends."""
        per_epoch = STEPS_PER_EPOCH if phase == "train" else VALIDATION_STEPS
        rows = [self.rows(i) for i in range(self.epochs * per_epoch)]
        return np.cumsum([0, *rows]).tolist()

    def dataset(
        self, phase: str, plan: list[Fault], first: Callable[[], int] = lambda: 0
    ) -> Any:
        """Returns the batches of all epochs, from the step on that `first` says."""
        data, starts = self.data(phase, plan), self._starts(phase)

        def batches() -> Any:
            for begin, end in itertools.pairwise(starts[first() :]):
                yield tf.nest.map_structure(lambda a: a[begin:end], data)  # noqa: B023

        rows = None if self.configuration.ragged else BATCH
        signature = tf.nest.map_structure(
            lambda a: tf.TensorSpec((rows, *a.shape[1:]), a.dtype), data
        )
        return tf.data.Dataset.from_generator(batches, output_signature=signature)

    def fit(self, log_dir: Path, plan: list[Fault]) -> tuple[Log, Saboteur]:
        model, faults = self.build()
        saboteur = Saboteur(faults, plan, self.configuration.steps_per_execution)
        model.fit(
            self.dataset("train", plan),
            epochs=self.epochs,
            steps_per_epoch=STEPS_PER_EPOCH,
            # Each pass goes on where the last one ended.
            validation_data=self.dataset(
                "validation", plan, lambda: max(0, saboteur.passes - 1) * VALIDATION_STEPS
            ),
            validation_steps=VALIDATION_STEPS,
            shuffle=False,
            verbose=0,
            # What is asked here is found without experiments.
            callbacks=[NanWatch(log_dir, experiments=0), saboteur],
        )
        if not plan:
            self.find_places(faults)
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
            "level": e.level,
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
    configuration: Configuration,
    tmp_path: Path,
    record_property: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if configuration.proofs:
        monkeypatch.setattr(proofs, "LARGE", 1)
        # Not even in the first steps is anything summed for its mean square alone.
        monkeypatch.setattr(step_module, "is_sampled", lambda number: tf.constant(False))
    number = EVERY_CONFIGURATION.index(configuration)
    eager = EAGER[number]
    faults = PER_CONFIGURATION // 2 if eager else PER_CONFIGURATION
    spacing = 2 * configuration.steps_per_execution
    epochs = 1 + -(-faults * spacing // STEPS_PER_EPOCH)
    rng = np.random.RandomState(SEED + number)
    campaign = Campaign(configuration, rng, epochs)

    clean, _ = campaign.fit(tmp_path / "clean", [])
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
        if configuration.policy == "mixed_float16" and got is not None:
            wrong += skipped_step(fault, got["level"])
    false = [found[onset] for onset in found if onset not in allowed]
    steps = clean.status.steps
    line = score(configuration, len(loud), scores, false, plan, clean.episodes, steps)
    print(line)
    record_property("score", line)

    assert not wrong, "\n".join(wrong[:5]) + f"\n{len(wrong)} in all"
    assert not false, false[:5]
    check_status(log)
    assert steps == epochs * STEPS_PER_EPOCH
    assert clean.status.status == "clean" and not clean.episodes
    assert clean.status.onset is None and clean.status.origin is None


def campaign_echoes(
    fault: Fault, onset: tuple[Any, ...], configuration: Configuration
) -> set[tuple[Any, ...]]:
    """Returns the onsets that a fault explains.

    The model is mended after the execution: until then later steps go bad too.
    """
    phase, step, epoch, batch = onset
    left = configuration.steps_per_execution - batch % configuration.steps_per_execution
    moves = phase == "train"
    return {(phase, step + i * moves, epoch, batch + i) for i in range(left)}


def skipped_step(fault: Fault, level: str) -> list[str]:
    """Returns what is wrong with how far a fault reached where the loss is scaled.

    A step with a non-finite gradient is skipped: nothing that persists goes bad.
    """
    if fault.place.kind in PERSISTENT_KINDS:
        return [] if level == "diverged" else [f"{fault} reached {level}"]
    if fault.place.kind == "gradient":
        return [] if level == "contained" else [f"{fault} reached {level}"]
    return [f"{fault} reached {level}"] if level == "diverged" else []


def score(
    configuration: Configuration,
    faults: int,
    scores: dict[str, int],
    false: list[Any],
    plan: list[Fault],
    false_clean: list[Any],
    clean_steps: int,
) -> str:
    quiet = len(plan) - faults
    return (
        f"{configuration!s:28} {faults:4} faults: "
        + "  ".join(f"{what} {n}/{faults}" for what, n in scores.items())
        + f"; false alarms {len(false)} ({quiet} finite giants), "
        f"{len(false_clean)} in {clean_steps} clean steps"
    )
