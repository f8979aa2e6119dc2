"""Hand-made records of a small regression, and which cause is to be named of each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tb_nanwatch.diagnosis.facts import Facts, Scaling
from tb_nanwatch.record.schema import (
    RANGE_COLUMNS,
    BadTensor,
    Experiment,
    Operand,
    Outlier,
    Position,
    PostMortem,
    Probe,
    RangesRecord,
    SessionRecord,
    Source,
)

# Probes of a small regression: (kind, name, layer, dtype, shape).
PROBES: list[tuple[Any, ...]] = [
    ("input", "input", "", "float32", [32, 10]),
    ("label", "label", "", "float32", [32, 1]),
    ("activation", "dense", "dense", "float32", [32, 16]),
    ("activation", "odd", "odd", "float32", [32, 16]),
    ("activation", "dense_1", "dense_1", "float32", [32, 1]),
    ("prediction", "prediction", "", "float32", [32, 1]),
    ("loss", "total", "", "float32", []),
    ("metric", "error", "", "float32", []),
    ("gradient", "dense_1/kernel", "dense_1", "float32", [16, 1]),
    ("gradient", "dense/kernel", "dense", "float32", [10, 16]),
    ("weight", "dense/kernel", "dense", "float32", [10, 16]),
    ("weight", "dense_1/kernel", "dense_1", "float32", [16, 1]),
]
SGD = {"class_name": "SGD", "learning_rate": 0.01, "momentum": 0.0}


def facts(
    origin: str | None = None,
    *,
    step: int = 3,
    status: Any = "diverged",
    sizes: dict[str, float] | None = None,
    later: dict[str, float] | None = None,
    bad: tuple[int, int] = (4, 0),
    optimizer: dict[str, Any] | None = None,
    dtype: str = "float32",
    inherited: Any = None,
    labels: list[float] | None = None,
) -> Facts:
    """A run whose tensors have root mean square 1, but for what is given.

    Args:
        origin: name of the first bad probe.
        sizes: rms by name at the first step; `later` at the onset.
        bad: how many NaN and Inf the origin has.
        labels: the interval that the loss is made for.
    """
    probes = [
        Probe(k, n, la, dtype if n == origin else d, s) for k, n, la, d, s in PROBES
    ]
    steps = [0, step] if step else [0]
    stats = np.ones((len(steps), len(probes), len(RANGE_COLUMNS)), np.float32)
    counts = np.zeros((len(steps), len(probes), 3), np.int64)
    # Gradients and weights share their names.
    names = [p.name if p.kind != "weight" else f"weight {p.name}" for p in probes]
    for i, values in enumerate((sizes or {}, later or {})[: len(steps)]):
        for name, value in values.items():
            stats[i:, names.index(name), :5] = [-value, value, value, value, value]
    stats[:, :, 5] = 0
    found = None
    if origin is not None:
        at = names.index(origin)
        stats[-1, at, :5] = np.nan
        counts[-1, at] = [bad[0], bad[1], 0]
        size = int(np.prod(probes[at].shape))
        found = BadTensor(probes[at].kind, origin, bad[0], bad[1], 0, size, row=2)
    return Facts(
        status,
        Position("train", step, 0, step),
        found,
        inherited=inherited,
        session=SessionRecord(
            "s", 0, probes, [], optimizer=optimizer or SGD, label_interval=labels or []
        ),
        ranges=[
            RangesRecord(
                "s", 0, phase="train",
                steps=np.array([[s, s] for s in steps], np.int64),
                stats=stats, counts=counts,
                bad_steps=(counts.sum(2) > 0).astype(np.int64),
                measured=np.ones(len(steps), np.int64),
            )
        ],
    )  # fmt: skip


def integer_labels(
    first: tuple[int, int], onset: tuple[int, int], classes: int = 8, **more: Any
) -> Facts:
    """A classifier whose loss is the first bad tensor.

    Args:
        first: smallest and largest label of the first step; `onset` of the bad one.
    """
    found = facts("total", **more)
    assert found.session is not None
    probes, stats = found.session.train_probes, found.ranges[0].stats
    for i, probe in enumerate(probes):
        if probe.kind == "label":
            probe.dtype, probe.shape = "int64", [32]
            stats[0, i, :2] = first
            stats[-1, i, :2] = onset
        elif probe.kind == "prediction":
            probe.shape = [32, classes]
    return found


def with_experiments(found: Facts, **learnt: bool) -> Facts:
    """Returns a run with experiments from its first step on, by whether it learnt."""
    tried = {"unchanged": False, **learnt}
    found.postmortem = PostMortem(
        experiments=[
            Experiment(
                change, f"with {change}", finite=good, steps=67, learns=good or None
            )
            for change, good in tried.items()
        ]
    )
    return found


def operation(op_type: str, text: str | None = None, **more: Any) -> PostMortem:
    """A post-mortem that names an operation, at a line of the user's if `text` is given."""
    source = Source("train.py", 12, "loss", text) if text is not None else None
    return PostMortem(
        **{
            "reproduced": True,
            "op": f"tf.math.{op_type.removesuffix('Grad').lower()}",
            "op_type": op_type,
            "forward_type": op_type,
            "source": source,
            "dtype": "float32",
            **more,
        }
    )


def outlier(**more: Any) -> Outlier:
    """-9999 in column 1 of row 3 of the input, among values of at most 3.1."""
    found = Outlier("input", [3], 3, [1], -9999.0, 3.1, batches=5, count=1, size=32)
    return replace(found, **more)


def met(found: Facts, postmortem: PostMortem) -> Facts:
    return replace(found, postmortem=postmortem)


LINE = "return -ops.sum(y * ops.log(p), axis=-1)"


def stalled(found: PostMortem | None = None, **more: Any) -> Facts:
    """A run whose steps were skipped, since no loss scale made its gradients finite."""
    return replace(
        facts("dense_1/kernel", status="stalled", step=30, **more),
        steps=100,
        postmortem=found,
        scaling=Scaling(70, 0, 2.0**-55, 29),
    )


GREW = {"dense_1": 1e30, "prediction": 1e30, "total": 1e36, "weight dense/kernel": 1e20}
CASES: dict[str, tuple[str, Facts]] = {
    "NaN in the batch": ("nonfinite_data", facts("input")),
    "a layer of small numbers": ("layer_domain", facts("odd")),
    "a layer of large numbers at the first step": (
        "layer_domain",
        facts("odd", step=0, sizes={"input": 1e5, "dense": 1e5}),
    ),
    "a layer that multiplies, at the first step": (
        "layer_domain",
        facts("dense", step=0, bad=(512, 0)),
    ),
    "a weight that was NaN before the first step": (
        "inherited",
        replace(
            facts("dense", step=0, bad=(512, 0)),
            postmortem=PostMortem(reproduced=True, held="dense/kernel"),
        ),
    ),
    "whole columns that an operation made of finite weights": (
        "layer_domain",
        replace(
            facts("dense", step=0, bad=(512, 0), inherited="diverged"),
            postmortem=PostMortem(reproduced=True, op_type="RealDiv"),
        ),
    ),
    "its activation, not whole columns": ("layer_domain", facts("dense", step=0, bad=(77, 0))),
    "the loss of ordinary numbers": ("loss_domain", facts("total", bad=(1, 0))),
    "a class that the model does not have": ("label_range", integer_labels((0, 7), (1, 9))),
    "a class below zero": ("label_range", integer_labels((0, 7), (-1, 7))),
    "classes from one, at the first step": (
        "label_range",
        integer_labels((1, 8), (1, 8), step=0),
    ),
    "integer labels within range": ("loss_domain", integer_labels((0, 7), (0, 7))),
    "a class that the loss ignores": ("loss_domain", integer_labels((-1, 255), (-1, 255))),
    "integers beside one output": (
        "loss_domain",
        integer_labels((0, 7), (0, 99), classes=1),
    ),
    "an outlier that a logarithm met": (
        "outlier_data",
        met(facts("total", bad=(1, 0)),
            operation("Log", LINE, rows=[3], outliers=[outlier()])),
    ),
    "a fill value in the labels, squared by Keras' own loss": (
        "outlier_data",
        met(facts("total", later={"label": 1e20}, bad=(0, 1)),
            operation("Square", owner="the loss 'mse'", inputs=[Operand("argument", max=1e20)],
                      outliers=[outlier(name="label", column=[6, 0], value=1e20)])),
    ),
    "a logarithm in the user's loss": (
        "loss_domain",
        met(facts("total", bad=(1, 0)), operation("Log", LINE)),
    ),
    "a division in the user's loss": (
        "loss_domain",
        met(facts("total", bad=(1, 0)),
            operation("RealDiv", "return tf.abs(y - p) / tf.abs(y)")),
    ),
    "a root's derivative": (
        "loss_domain",
        met(facts("dense_1/kernel"),
            operation("SqrtGrad", "norm = tf.sqrt(tf.reduce_sum(x * x, axis=1))",
                      forward_type="Sqrt", gradient=True)),
    ),
    "an exponential in the user's layer": (
        "layer_domain",
        met(facts("odd"), operation("Exp", "power = ops.exp(scores)", layer="odd")),
    ),
    "an exponential in a layer of Keras' own": (
        "layer_domain",
        met(facts("odd"), operation("Exp", layer="odd")),
    ),
    "the logarithm of Keras' own cross-entropy": (
        "loss_domain",
        met(facts("total", bad=(1, 0)),
            operation("Log", owner="the loss 'categorical_crossentropy'")),
    ),
    "the division of Keras' own cross-entropy": (
        "loss_domain",
        met(facts("total", bad=(1, 0)),
            operation("RealDiv", owner="the loss 'categorical_crossentropy'")),
    ),
    "gradients that a float16 operation overflowed in": (
        "half_precision",
        stalled(
            PostMortem(
                reproduced=True, op="tf.math.log", op_type="Mul", gradient=True,
                dtype="float16", num_pos_inf=1, size=128, inputs=[Operand("x", size=128)],
            )
        ),
    ),
    "gradients that a float16 operation divided by zero in": (
        "loss_domain",
        stalled(
            PostMortem(
                reproduced=True, op="tf.math.divide", op_type="RealDiv", dtype="float16",
                num_pos_inf=1, size=128, inputs=[Operand("denominator", num_zero=1)],
            )
        ),
    ),
    "gradients at any loss scale, of large ones": (
        "loss_domain",
        stalled(later={"dense_1/kernel": 1e6, "dense/kernel": 1e6}),
    ),
    "gradients at any loss scale, of a loss that grew": (
        "learning_rate",
        stalled(
            later={"dense_1": 3e3, "prediction": 3e3, "total": 9e6},
            optimizer={**SGD, "learning_rate": 1.0},
        ),
    ),
    "the metric alone": ("metric_domain", facts("error", status="score_lost", bad=(1, 0))),
    "a gradient, next to the loss": ("loss_domain", facts("dense_1/kernel")),
    "a gradient, further on": ("layer_domain", facts("dense/kernel")),
    "half precision": (
        "half_precision",
        facts("odd", sizes={"dense": 3000}, bad=(0, 9), dtype="float16"),
    ),
    "a division in half precision": ("layer_domain", facts("odd", bad=(0, 9), dtype="float16")),
    "a large rate": (
        "learning_rate",
        facts("total", later=GREW, optimizer={**SGD, "learning_rate": 10.0}),
    ),
    "large inputs": (
        "unscaled_inputs",
        facts("total", sizes={"input": 1e3, "dense": 500}, later=GREW),
    ),
    "large inputs that a layer scales": (
        "learning_rate",
        facts("total", sizes={"input": 1e3}, later=GREW,
              optimizer={**SGD, "learning_rate": 10.0}),
    ),
    "large targets": ("unscaled_targets", facts("total", sizes={"label": 1e4}, later=GREW)),
    "large inputs and targets": (
        "unscaled_data",
        with_experiments(
            facts("total", sizes={"input": 1e3, "label": 1e4}, later=GREW),
            inputs=False, labels=False, inputs_and_labels=True,
        ),
    ),
    "large first weights": (
        "initialization",
        facts("total", sizes={"dense": 100, "odd": 100, "dense_1": 1e4}, later=GREW),
    ),
    "momentum": (
        "optimizer_settings",
        facts("total", later=GREW, optimizer={**SGD, "momentum": 1.0}),
    ),
    "a bias that came as NaN, at the first step": (
        "inherited",
        facts("dense", step=0, bad=(32, 0), inherited="diverged"),
    ),
    "weights that came blown up": (
        "inherited",
        facts("total", sizes={"dense_1": 1e15, "prediction": 1e15, "total": 1e30},
              optimizer={**SGD, "learning_rate": 10.0}, inherited="runaway"),
    ),
    "weights that came from before it": (
        "learning_rate",
        facts("total", later=GREW, optimizer={**SGD, "learning_rate": 10.0},
              inherited="diverged"),
    ),
    "weights that had learned large targets": (
        "learning_rate",
        facts("total", sizes={"label": 1e4, "dense_1": 1e4, "prediction": 1e4},
              later=GREW, optimizer={**SGD, "learning_rate": 10.0}, inherited="diverged"),
    ),
    "a loss of ordinary numbers at the first step of a training that went on": (
        "loss_domain",
        facts("total", step=0, bad=(1, 0), inherited="diverged"),
    ),
    "large weights of a training that was well": (
        "learning_rate",
        facts("total", sizes={"dense": 100, "odd": 100, "dense_1": 1e4}, later=GREW,
              optimizer={**SGD, "learning_rate": 10.0}, inherited="clean"),
    ),
    "labels outside of the loss's range": (
        "label_range",
        facts("total", sizes={"total": 5, "label": 3}, later=GREW, labels=[0.0, 1.0]),
    ),
    "a loss that is negative by nature": (
        "learning_rate",
        facts("total", sizes={"total": 5, "label": 3}, later=GREW,
              optimizer={**SGD, "learning_rate": 10.0}),
    ),
    "gradients that grow on their way": (
        "gradient_amplification",
        facts("total", sizes={"dense/kernel": 1e4}, later=GREW),
    ),
    "a layer that gives a power of what enters it": (
        "layer_domain",
        facts("total", sizes={"odd": 1e5}, later=GREW),
    ),
    "a layer that leaps late, of weights that did not grow": (
        "layer_domain",
        facts("total", later={"odd": 1e9, "dense_1": 1e9, "prediction": 1e9, "total": 1e18,
                              "dense/kernel": 1e18, "dense_1/kernel": 1e18}),
    ),
    "growth at one place": (
        "layer_domain",
        facts("total", sizes={"odd": 300, "dense_1": 300, "prediction": 300}, later=GREW),
    ),
    "an epsilon of nothing": (
        "optimizer_settings",
        facts("total", later=GREW,
              optimizer={"class_name": "Adam", "learning_rate": 1e-3, "epsilon": 0.0}),
    ),
    "a beta of one": (
        "optimizer_settings",
        facts("total", later=GREW,
              optimizer={"class_name": "Adam", "learning_rate": 1e-3, "beta_1": 1.0}),
    ),
}  # fmt: skip
