"""Random architectures, each drawn from one integer.

A `Spec` says all there is to say of a training: printed, it can be read, and
`draw(seed)` makes the same again. `build` makes the model, `compile_options` what it is
compiled with.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras

L = keras.layers

FORMS = ("functional", "sequential", "sequential without Input", "subclassed")
POLICIES = ("float32", "bfloat16", "mixed_float16", "float64")
# Fusion depends on the shape: odd widths and those of a vector register, small and large.
WIDTHS = (4, 5, 7, 8, 8, 12, 16, 16, 24, 32, 32, 48, 64, 96, 128, 256, 512)
# The most that a block of each kind of data may have: convolutions take XLA long.
WIDEST = {"vector": 512, "image": 48, "sequence": 64}
ACTIVATIONS = ("relu", "relu", "gelu", "swish", "tanh", "elu", "sigmoid", "leaky_relu")


@dataclass(frozen=True)
class Block:
    """One block of a model.

    Attributes:
        kind: a key of `VECTOR`, `IMAGE` or `SEQUENCE`.
        hidden: width within.
        activation, norm: what they are called; "none" for no normalisation.
        count: of branches, layers or heads, whatever the kind has several of.
        size: of the kernel.
        rate: of dropout; 0 for none.
        operators: adds with `+` instead of with a layer.
    """

    kind: str
    hidden: int = 8
    activation: str = "relu"
    norm: str = "none"
    count: int = 3
    size: int = 3
    rate: float = 0.0
    operators: bool = False


@dataclass(frozen=True)
class Spec:
    """A training.

    Attributes:
        seed: what it was drawn from, and what Keras is seeded with.
        form: one of `FORMS`.
        data: "vector", "image" or "sequence"; `tokens` are embedded first.
        shape: of one example.
        tokens: how many different ones; 0 where the data are real numbers.
        mask: whether token 0 is masked.
        width: between the blocks.
        blocks, tail: before and after `pooling`, which makes a vector of each example.
        nested: blocks are layers of their own.
        task: "regression", "binary" or "classes".
        loss: its name.
        logits: the last layer has no activation.
        policy: of dtypes.
        own_policy: the policy is the model's, and not everybody's.
        float32_head: the last layer computes in float32.
        optimizer: class name, or "MultiOptimizer".
        learning_rate: constant, or the begin of a schedule.
        schedule: whether it decays.
        options: further ones of the optimizer.
        loss_scale: wraps the optimizer.
        regularizer, constraint: of the kernels.
        batch, examples, epochs: their numbers; `examples` / `batch` need not be whole.
        validation: examples that validation has; 0 for none.
        steps_per_execution: of `compile`.
        weights: "none", "sample" or "class".
        weighted_metrics: whether metrics are weighted, too.
        source: "arrays", "dataset" or "endless" (a dataset without an end).
        shuffle: the arrays.
    """

    seed: int
    form: str = "functional"
    data: str = "vector"
    shape: tuple[int, ...] = (6,)
    tokens: int = 0
    mask: bool = False
    width: int = 8
    blocks: tuple[Block, ...] = ()
    pooling: str = "none"
    tail: tuple[Block, ...] = ()
    nested: bool = False
    task: str = "regression"
    loss: str = "mse"
    logits: bool = False
    policy: str = "float32"
    own_policy: bool = False
    float32_head: bool = False
    optimizer: str = "Adam"
    learning_rate: float = 1e-3
    schedule: bool = False
    options: tuple[tuple[str, Any], ...] = ()
    loss_scale: bool = False
    regularizer: str = ""
    constraint: str = ""
    batch: int = 8
    examples: int = 40
    epochs: int = 2
    validation: int = 0
    steps_per_execution: int = 1
    weights: str = "none"
    weighted_metrics: bool = False
    source: str = "arrays"
    shuffle: bool = False

    def __str__(self) -> str:
        plain = Spec(self.seed)
        said = [f"seed={self.seed}"]
        for name, value in vars(self).items():
            if name in ("blocks", "tail"):
                said += [f"{name}[{i}]={block_text(b)}" for i, b in enumerate(value)]
            elif value != getattr(plain, name):
                said.append(f"{name}={value!r}")
        return " ".join(said)

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return -(-self.examples // self.batch)

    @property
    def executed(self) -> int:
        """Steps that Keras runs in all: of endless data each execution has all its steps."""
        steps = self.steps
        if self.source == "endless":
            steps += -steps % self.steps_per_execution
        return steps * self.epochs

    def features(self) -> set[str]:
        """Returns what may go with a difference."""
        blocks = {f"{self.data}: {b.kind}" for b in self.blocks}
        blocks |= {f"vector: {b.kind}" for b in self.tail}
        every = (*self.blocks, *self.tail)
        found = blocks | {self.form, self.policy, self.optimizer, self.loss}
        found |= {f"norm: {b.norm}" for b in every if b.norm != "none"}
        found |= {name for name, _ in self.options}
        found |= {f"data: {self.data}", f"steps_per_execution={self.steps_per_execution}"}
        flags = ("mask", "nested", "own_policy", "schedule", "loss_scale", "shuffle")
        found |= {name for name in flags if getattr(self, name)}
        found |= {f"weights: {self.weights}"} if self.weights != "none" else set()
        if self.tokens:
            found.add("embedding")
        if any(b.rate for b in every):
            found.add("dropout")
        if any(b.operators for b in every):
            found.add("operators")
        if self.regularizer:
            found.add(f"regularizer: {self.regularizer}")
        if self.constraint:
            found.add("constraint")
        if self.examples % self.batch:
            found.add("partial batch")
        if self.source != "arrays":
            found.add(self.source)
        return found


def block_text(block: Block) -> str:
    """Returns a block as it is written in Python, without what has the default."""
    plain = Block(block.kind)
    values = {k: v for k, v in vars(block).items() if v != getattr(plain, k)}
    values.pop("kind", None)
    return f"{block.kind}({', '.join(f'{k}={v!r}' for k, v in values.items())})"


# --- Drawing ------------------------------------------------------------------


def draw(seed: int) -> Spec:
    """Returns the training that belongs to a seed."""
    r = random.Random(seed)
    data = r.choice(("vector", "image", "image", "sequence", "sequence"))
    kinds = {"vector": VECTOR, "image": IMAGE, "sequence": SEQUENCE}[data]
    form = r.choice(("functional", *FORMS))
    policy = r.choice(("float32",) * 5 + ("bfloat16", "mixed_float16") * 2 + ("float64",))
    # Tracing takes most of the time: one block is enough for most of what can happen.
    number = r.choice((1, 1, 1, 1, 1, 1, 1, 2, 2, 3))
    names = [r.choice(list(kinds)) for _ in range(number)]
    tail = [r.choice(list(VECTOR)) for _ in range(r.choice((0, 0, 0, 0, 0, 1)))]
    task = r.choice(("regression", "binary", "classes"))
    tokens = r.choice((0, 11, 50)) if data == "sequence" else 0
    batch = r.choice((4, 8, 8, 16))
    steps = r.choice((3, 4, 5))
    spec = Spec(
        seed=seed,
        form=form,
        data=data,
        shape=_shape(r, data, tokens),
        tokens=tokens,
        mask=bool(tokens) and r.random() < 0.25,
        width=_width(r, data),
        blocks=tuple(_block(r, data, name) for name in names),
        pooling=r.choice(POOLINGS[data]),
        tail=tuple(_block(r, "vector", name) for name in tail),
        nested=r.random() < 0.3,
        task=task,
        loss=r.choice(LOSSES[task]),
        logits=r.random() < 0.5,
        policy=policy,
        own_policy=policy != "float32" and r.random() < 0.2,
        float32_head=policy != "float64" and r.random() < 0.5,
        batch=batch,
        examples=batch * steps - (r.randrange(1, batch) if r.random() < 0.5 else 0),
        epochs=r.choice((2, 2, 2, 3)),
        validation=r.choice((0, 0, batch + batch // 2, 2 * batch)),
        steps_per_execution=r.choice((1, 1, 1, 1, 1, 1, 2, 4)),
        weights=r.choice(("none", "none", "sample", "class")),
        weighted_metrics=r.random() < 0.3,
        source=r.choice(("arrays", "arrays", "arrays", "dataset", "endless")),
        shuffle=r.random() < 0.5,
        regularizer=r.choice(("", "", "", "kernel", "activity")),
        constraint=r.choice(("", "", "", "", "kernel")),
    )
    if task == "regression" and spec.weights == "class":
        spec = replace(spec, weights="sample")
    # Keras cannot add a penalty of another precision than float32 to the loss.
    if policy == "mixed_float16" and spec.regularizer == "activity":
        spec = replace(spec, regularizer="kernel")
    if policy in ("bfloat16", "float64"):
        spec = replace(spec, regularizer="")
    if spec.source == "endless" and spec.weights == "class":
        spec = replace(spec, source="dataset")
    return _with_optimizer(r, spec)


def _shape(r: random.Random, data: str, tokens: int) -> tuple[int, ...]:
    if data == "vector":
        return (r.choice((3, 6, 10, 17, 32)),)
    if data == "image":
        return (*r.choice(((8, 8), (8, 12), (12, 8), (16, 16))), r.choice((1, 3)))
    steps = r.choice((4, 6, 9))
    return (steps,) if tokens else (steps, r.choice((2, 5, 8)))


def _width(r: random.Random, data: str) -> int:
    return r.choice([w for w in WIDTHS if w <= WIDEST[data]])


def _block(r: random.Random, data: str, kind: str) -> Block:
    return Block(
        kind,
        hidden=_width(r, data),
        activation=r.choice(ACTIVATIONS),
        norm=r.choice(("none", "batch", "batch", "layer", "group", "rms", "unit")),
        count=r.choice((2, 3, 3, 4, 5)),
        size=r.choice((1, 3, 3, 5)),
        rate=r.choice((0.0, 0.0, 0.2)),
        operators=r.random() < 0.5,
    )


OPTIMIZERS: dict[str, tuple[dict[str, Any], ...]] = {
    "SGD": ({}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}),
    "Adam": ({}, {"amsgrad": True}, {}),
    "AdamW": ({"weight_decay": 0.01},),
    "Nadam": ({},),
    "RMSprop": ({}, {"momentum": 0.5}, {"centered": True}),
    "Adagrad": ({},),
    "Adadelta": ({},),
    "Adamax": ({},),
    "Ftrl": ({}, {"l2_regularization_strength": 0.01}),
    "Lion": ({},),
    "Adafactor": ({}, {"relative_step": False}),
    "Lamb": ({},),
    "Muon": ({},),
    "ScheduleFreeAdamW": ({"warmup_steps": 2},),
    "MultiOptimizer": ({},),
}


def _with_optimizer(r: random.Random, spec: Spec) -> Spec:
    # Adam is what most people use.
    name = r.choice((*OPTIMIZERS, "Adam", "Adam", "SGD"))
    options = dict(r.choice(OPTIMIZERS[name]))
    if name != "MultiOptimizer":
        clip = r.choice(("", "", "", "clipnorm", "clipvalue", "global_clipnorm"))
        if clip:
            options[clip] = 0.5
        if r.random() < 0.2:
            options["use_ema"] = True
            options["ema_momentum"] = 0.9
            options["ema_overwrite_frequency"] = r.choice((None, 3))
        if r.random() < 0.25:
            options["gradient_accumulation_steps"] = r.choice((2, 3))
        if r.random() < 0.15:
            options["weight_decay"] = 0.004
    schedule = r.random() < 0.2 and name != "MultiOptimizer"
    return replace(
        spec,
        optimizer=name,
        learning_rate=r.choice((1e-3, 3e-3, 1e-2)),
        schedule=schedule,
        options=tuple(sorted(options.items())),
        loss_scale=spec.policy != "mixed_float16" and r.random() < 0.05,
    )


# --- Blocks: what they are made of, and how it is called ------------------------

Made = tuple[list[Any], Callable[[Any], Any]]


class Composite(keras.Layer):
    """Several layers that are one block."""

    def __init__(self, parts: list[Any], run: Callable[[Any], Any]) -> None:
        super().__init__()
        self.parts = parts
        self.run = run

    def call(self, x: Any) -> Any:
        return self.run(x)


def chain(*layers: Any) -> Callable[[Any], Any]:
    """Returns what calls one layer after the other."""

    def run(x: Any) -> Any:
        for layer in layers:
            x = layer(x)
        return x

    return run


def norm(block: Block) -> list[Any]:
    """Returns the block's normalisation, in a list that is empty without one."""
    made = {
        "batch": L.BatchNormalization,
        "layer": L.LayerNormalization,
        "group": lambda: L.GroupNormalization(groups=-1),
        "rms": L.RMSNormalization,
        "unit": L.UnitNormalization,
    }
    return [made[block.norm]()] if block.norm != "none" else []


def dropout(block: Block) -> list[Any]:
    return [L.Dropout(block.rate)] if block.rate else []


def joined(block: Block) -> Callable[[list[Any]], Any]:
    """Returns what adds tensors: a layer, or operators."""
    if not block.operators:
        return L.Add()

    def add(tensors: list[Any]) -> Any:
        total = tensors[0]
        for tensor in tensors[1:]:
            total = total + tensor
        return total

    return add


def layers_of(*made: Any) -> list[Any]:
    """Returns what of these is a layer, lists of them included."""
    flat = [m for part in made for m in (part if isinstance(part, list) else [part])]
    return [m for m in flat if isinstance(m, keras.Layer)]


@dataclass(frozen=True)
class Kit:
    """Makes a block's layers for one kind of data.

    Attributes:
        spec: says width, regularizer and constraint.
        block: which one.
        data: of this block.
    """

    spec: Spec
    block: Block
    data: str

    def linear(self, width: int = 0, size: int = 0, **options: Any) -> Any:
        """Returns a layer with a kernel: Dense, or Conv2D where there is a grid."""
        if self.spec.regularizer == "kernel":
            options.setdefault("kernel_regularizer", keras.regularizers.L2(1e-3))
        if self.spec.constraint:
            options.setdefault("kernel_constraint", keras.constraints.MaxNorm(2.0))
        width = width or self.spec.width
        if self.data != "image":
            return L.Dense(width, **options)
        return L.Conv2D(width, size or self.block.size, padding="same", **options)

    def activation(self) -> Any:
        options = {}
        if self.spec.regularizer == "activity":
            options["activity_regularizer"] = keras.regularizers.L2(1e-3)
        return L.Activation(self.block.activation, **options)


def plain(kit: Kit) -> Made:
    b = kit.block
    parts = [kit.linear(), *norm(b), kit.activation(), *dropout(b)]
    return parts, chain(*parts)


def fused(kit: Kit) -> Made:
    """With the activation in the layer itself."""
    layer = kit.linear(activation=kit.block.activation)
    return [layer], layer


def residual(kit: Kit) -> Made:
    b = kit.block
    within = [
        kit.linear(b.hidden),
        *norm(b),
        kit.activation(),
        *dropout(b),
        kit.linear(),
        *norm(b),
    ]
    add, last = joined(b), kit.activation()
    run = chain(*within)
    return layers_of(within, add, last), lambda x: last(add([x, run(x)]))


def pre_activation(kit: Kit) -> Made:
    b = kit.block
    within = [*norm(b), kit.activation(), kit.linear(b.hidden), kit.linear()]
    add, run = joined(b), chain(*within)
    return layers_of(within, add), lambda x: add([x, run(x)])


def concatenation(kit: Kit) -> Made:
    """As in DenseNet: each layer sees all before it."""
    b = kit.block
    growth = max(2, b.hidden // 4)
    steps = [
        [*norm(b), kit.activation(), kit.linear(growth)] for _ in range(min(b.count, 3))
    ]
    joins = [L.Concatenate() for _ in steps]
    last = kit.linear(size=1)

    def run(x: Any) -> Any:
        for step, join in zip(steps, joins, strict=True):
            x = join([x, chain(*step)(x)])
        return last(x)

    return layers_of(*steps, joins, last), run


def branches(kit: Kit) -> Made:
    """Two to five, added."""
    b = kit.block
    ways = [kit.linear(activation=b.activation) for _ in range(b.count)]
    add = joined(b)
    return layers_of(ways, add), lambda x: add([way(x) for way in ways])


def merged(kit: Kit) -> Made:
    """Branches that are averaged, multiplied, or of which the largest counts."""
    b = kit.block
    ways = [kit.linear(activation=b.activation) for _ in range(b.count)]
    merges = (L.Average, L.Maximum, L.Multiply, L.Minimum)
    merge = merges[b.hidden % len(merges)]()
    return [*ways, merge], lambda x: merge([way(x) for way in ways])


def highway(kit: Kit) -> Made:
    b = kit.block
    value, gate = kit.linear(activation=b.activation), kit.linear(activation="sigmoid")
    times, keep, add = L.Multiply(), L.Multiply(), joined(b)

    def run(x: Any) -> Any:
        g = gate(x)
        return add([times([g, value(x)]), keep([1.0 - g, x])])

    return layers_of(value, gate, times, keep, add), run


def noise(kit: Kit) -> Made:
    """A layer that draws random numbers, and one that learns."""
    b = kit.block
    kinds: list[Callable[[], Any]] = [
        lambda: L.Dropout(0.3),
        lambda: L.GaussianNoise(0.1),
        lambda: L.GaussianDropout(0.2),
        lambda: L.AlphaDropout(0.1),
    ]
    if kit.data == "image":
        kinds += [lambda: L.SpatialDropout2D(0.2)]
    if kit.data == "sequence":
        kinds += [lambda: L.SpatialDropout1D(0.2)]
    parts = [kinds[(b.hidden + b.count) % len(kinds)](), kit.linear()]
    return parts, chain(*parts)


def slopes(kit: Kit) -> Made:
    """Activations that are layers, one that learns among them."""
    kinds = (L.PReLU, L.LeakyReLU, L.ELU, L.Softmax, L.ReLU)
    parts = [kit.linear(), kinds[kit.block.hidden % len(kinds)](), *norm(kit.block)]
    return parts, chain(*parts)


def spectral(kit: Kit) -> Made:
    """State that the forward pass itself updates."""
    parts = [L.SpectralNormalization(kit.linear()), kit.activation()]
    return parts, chain(*parts)


def squeeze_excite(kit: Kit) -> Made:
    b = kit.block
    conv = kit.linear()
    rank = {"image": L.GlobalAveragePooling2D, "sequence": L.GlobalAveragePooling1D}
    squeeze = [rank[kit.data](keepdims=True)] if kit.data in rank else []
    excite = [
        *squeeze,
        L.Dense(max(2, b.hidden // 4), activation="relu"),
        L.Dense(kit.spec.width, activation="sigmoid"),
    ]
    times, add = L.Multiply(), joined(b)

    def run(x: Any) -> Any:
        h = conv(x)
        return add([x, times([h, chain(*excite)(h)])])

    return layers_of(conv, excite, times, add), run


def u_net(kit: Kit) -> Made:
    b = kit.block
    down, deep = L.MaxPooling2D(), kit.linear(b.hidden, activation=b.activation)
    up = (
        L.UpSampling2D()
        if b.count % 2
        else L.Conv2DTranspose(b.hidden, 2, strides=2, padding="same")
    )
    first, join, last = kit.linear(activation="relu"), L.Concatenate(), kit.linear()

    def run(x: Any) -> Any:
        skip = first(x)
        return last(join([skip, up(deep(down(skip)))]))

    return [down, deep, up, first, join, last], run


def depthwise(kit: Kit) -> Made:
    """An inverted residual: wide within, one kernel a channel."""
    b = kit.block
    within = [
        kit.linear(b.hidden, size=1),
        *norm(b),
        kit.activation(),
        L.DepthwiseConv2D(b.size, padding="same"),
        *norm(b),
        kit.linear(size=1),
    ]
    add, run = joined(b), chain(*within)
    return layers_of(within, add), lambda x: add([x, run(x)])


def separable(kit: Kit) -> Made:
    b = kit.block
    parts = [
        L.SeparableConv2D(kit.spec.width, b.size, padding="same"),
        *norm(b),
        kit.activation(),
    ]
    return parts, chain(*parts)


def inception(kit: Kit) -> Made:
    b = kit.block
    width = max(2, b.hidden // 4)
    ways = [
        [kit.linear(width, size=1, activation=b.activation)],
        [kit.linear(width, size=1), kit.linear(width, size=3)],
        [kit.linear(width, size=1), kit.linear(width, size=5)],
        [L.MaxPooling2D(3, strides=1, padding="same"), kit.linear(width, size=1)],
    ]
    join, last = L.Concatenate(), kit.linear(size=1)

    def run(x: Any) -> Any:
        return last(join([chain(*way)(x) for way in ways]))

    return layers_of(*ways, join, last), run


def pooled(kit: Kit) -> Made:
    b = kit.block
    pool = L.MaxPooling2D if b.count % 2 else L.AveragePooling2D
    parts = [kit.linear(activation=b.activation), pool(3, strides=1, padding="same")]
    return parts, chain(*parts)


def attention(kit: Kit) -> Made:
    b = kit.block
    layer = L.MultiHeadAttention(min(b.count, 3), max(2, b.hidden // 4), dropout=b.rate)
    add, after = joined(b), norm(b)

    def run(x: Any) -> Any:
        return chain(*after)(add([x, layer(x, x)]))

    return layers_of(layer, add, after), run


def dot_attention(kit: Kit) -> Made:
    b = kit.block
    kind = L.Attention if b.count % 2 else L.AdditiveAttention
    query, value, layer = kit.linear(), kit.linear(), kind(dropout=b.rate)
    add = joined(b)

    def run(x: Any) -> Any:
        return add([x, layer([query(x), value(x)])])

    return layers_of(query, value, layer, add), run


def encoder(kit: Kit) -> Made:
    """A Transformer's, with the normalisation before or after."""
    b = kit.block
    before = b.count % 2 == 0
    attend = L.MultiHeadAttention(2, max(2, b.hidden // 4), dropout=b.rate)
    one, two = L.LayerNormalization(), L.LayerNormalization()
    forward = [kit.linear(b.hidden, activation="gelu"), *dropout(b), kit.linear()]
    first, second = joined(b), joined(b)

    def run(x: Any) -> Any:
        if before:
            h = one(x)
            x = first([x, attend(h, h, use_causal_mask=True)])
            return second([x, chain(*forward)(two(x))])
        x = one(first([x, attend(x, x)]))
        return two(second([x, chain(*forward)(x)]))

    return layers_of(attend, one, two, forward, first, second), run


def cell(kit: Kit, width: int, sequences: bool = True) -> Any:
    """Returns a recurrent layer."""
    b = kit.block
    options: dict[str, Any] = {"return_sequences": sequences, "dropout": b.rate}
    if kit.spec.policy == "bfloat16":  # there is no QR decomposition
        options["recurrent_initializer"] = "glorot_uniform"
    if b.kind.endswith("simple"):
        return L.SimpleRNN(width, **options)
    return (L.GRU if b.count % 2 else L.LSTM)(width, **options)


def recurrent(kit: Kit) -> Made:
    layer = cell(kit, kit.spec.width)
    return [layer], layer


def bidirectional(kit: Kit) -> Made:
    mode = ("sum", "ave", "concat")[kit.block.count % 3]
    parts = [
        L.Bidirectional(cell(kit, kit.spec.width), merge_mode=mode),
        kit.linear(),
    ]
    return parts, chain(*parts)


def residual_recurrent(kit: Kit) -> Made:
    layer, add, after = cell(kit, kit.spec.width), joined(kit.block), norm(kit.block)
    return (
        layers_of(layer, add, after),
        lambda x: chain(*after)(add([x, layer(x)])),
    )


def stacked_recurrent(kit: Kit) -> Made:
    parts = [cell(kit, kit.block.hidden), cell(kit, kit.spec.width)]
    return parts, chain(*parts)


def convolution_1d(kit: Kit) -> Made:
    b = kit.block
    layer = L.Conv1D(kit.spec.width, b.size, padding="causal", activation=b.activation)
    parts = [layer, *norm(b)]
    return parts, chain(*parts)


def time_distributed(kit: Kit) -> Made:
    layer = L.TimeDistributed(kit.linear(activation=kit.block.activation))
    return [layer], layer


Kind = Callable[[Kit], Made]
VECTOR: dict[str, Kind] = {
    "plain": plain,
    "fused": fused,
    "residual": residual,
    "pre_activation": pre_activation,
    "concatenation": concatenation,
    "branches": branches,
    "merged": merged,
    "highway": highway,
    "noise": noise,
    "slopes": slopes,
    "spectral": spectral,
    "squeeze_excite": squeeze_excite,
}
IMAGE: dict[str, Kind] = {
    **VECTOR,
    "u_net": u_net,
    "depthwise": depthwise,
    "separable": separable,
    "inception": inception,
    "pooled": pooled,
}
SEQUENCE: dict[str, Kind] = {
    "plain": plain,
    "residual": residual,
    "branches": branches,
    "noise": noise,
    "attention": attention,
    "dot_attention": dot_attention,
    "encoder": encoder,
    "recurrent": recurrent,
    "recurrent_simple": recurrent,
    "bidirectional": bidirectional,
    "residual_recurrent": residual_recurrent,
    "stacked_recurrent": stacked_recurrent,
    "convolution_1d": convolution_1d,
    "time_distributed": time_distributed,
}
KINDS: dict[str, dict[str, Kind]] = {
    "vector": VECTOR,
    "image": IMAGE,
    "sequence": SEQUENCE,
}
POOLINGS = {
    "vector": ("none",),
    "image": ("average", "average", "max", "flat"),
    "sequence": ("average", "max", "flat", "last"),
}
LOSSES = {
    "regression": ("mse", "mse", "mae", "huber", "log_cosh"),
    "binary": ("binary_crossentropy", "binary_crossentropy", "hinge"),
    "classes": ("sparse_categorical_crossentropy",),
}
CLASSES = 3


# --- Models -------------------------------------------------------------------


class Net(keras.Model):
    """A subclassed model, which is built at the first batch."""

    def __init__(self, layers: list[Any], nested: bool) -> None:
        super().__init__()
        self.stack = layers
        self.nested = nested

    def call(self, x: Any) -> Any:
        return run_all(self.stack, x, self.nested)


def run_all(layers: list[Any], x: Any, nested: bool) -> Any:
    for layer in layers:
        flat = isinstance(layer, Composite) and not nested
        x = layer.run(x) if flat else layer(x)
    return x


def build(spec: Spec, after_first: Sequence[Callable[[], Any]] = ()) -> Any:
    """Returns the model, which is not compiled yet.

    Args:
        spec: what to build.
        after_first: make layers that are put behind the first one.
    """
    keras.config.set_dtype_policy(spec.policy)
    try:
        layers = _layers(spec)
        return _model(spec, [layers[0], *(make() for make in after_first), *layers[1:]])
    finally:
        if spec.own_policy:
            keras.config.set_dtype_policy("float32")


def _model(spec: Spec, layers: list[Any]) -> Any:
    if spec.form == "subclassed":
        return Net(layers, spec.nested)
    dtype = "int32" if spec.tokens else None
    if spec.form == "functional":
        x = keras.Input(spec.shape, dtype=dtype)
        return keras.Model(x, run_all(layers, x, spec.nested))
    first = [] if "without" in spec.form else [keras.Input(spec.shape, dtype=dtype)]
    return keras.Sequential([*first, *layers])


def _layers(spec: Spec) -> list[Any]:
    layers: list[Any] = []
    if spec.tokens:
        layers.append(L.Embedding(spec.tokens, spec.width, mask_zero=spec.mask))
    else:
        layers.append(Kit(spec, Block("stem"), spec.data).linear())
    layers += [_made(Kit(spec, b, spec.data)) for b in spec.blocks]
    layers += _pooling(spec)
    if spec.tail:
        layers.append(L.Dense(spec.width, activation="relu"))
    layers += [_made(Kit(spec, b, "vector")) for b in spec.tail]
    last = {"regression": None, "binary": "sigmoid", "classes": "softmax"}[spec.task]
    layers.append(
        L.Dense(
            CLASSES if spec.task == "classes" else 1,
            activation=None if spec.logits else last,
            dtype="float32" if spec.float32_head else None,
            name="head",
        )
    )
    return layers


def _made(kit: Kit) -> Any:
    parts, run = KINDS[kit.data][kit.block.kind](kit)
    return run if isinstance(run, keras.Layer) else Composite(parts, run)


def _pooling(spec: Spec) -> list[Any]:
    image = spec.data == "image"
    if spec.pooling == "none":
        return []
    if spec.pooling == "flat":
        return [L.Flatten()]
    if spec.pooling == "average":
        return [L.GlobalAveragePooling2D() if image else L.GlobalAveragePooling1D()]
    if spec.pooling == "max":
        return [L.GlobalMaxPooling2D() if image else L.GlobalMaxPooling1D()]
    kit = Kit(spec, Block("recurrent"), "sequence")
    return [cell(kit, spec.width, sequences=False)]


def compile_options(spec: Spec) -> dict[str, Any]:
    """Returns the arguments of `compile` that the spec decides."""
    loss: Any = spec.loss
    if spec.loss == "binary_crossentropy":
        loss = keras.losses.BinaryCrossentropy(from_logits=spec.logits)
    elif spec.loss == "sparse_categorical_crossentropy":
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=spec.logits)
    metrics = ["mae"] if spec.task == "regression" else ["accuracy"]
    return {
        "optimizer": optimizer(spec),
        "loss": loss,
        "weighted_metrics" if spec.weighted_metrics else "metrics": metrics,
        "steps_per_execution": spec.steps_per_execution,
    }


def optimizer(spec: Spec) -> Any:
    rate: Any = spec.learning_rate
    if spec.schedule:
        rate = keras.optimizers.schedules.ExponentialDecay(rate, 2, 0.9)
    if spec.optimizer == "MultiOptimizer":
        adam, sgd = keras.optimizers.Adam(rate), keras.optimizers.SGD(rate, momentum=0.9)
        made: Any = keras.optimizers.MultiOptimizer(
            keras.optimizers.OptimizerMap(adam, {".*head/.*": sgd})
        )
    else:
        made = getattr(keras.optimizers, spec.optimizer)(rate, **dict(spec.options))
    if spec.loss_scale:  # at a scale that nothing overflows at
        return keras.optimizers.LossScaleOptimizer(made, initial_scale=16.0)
    return made
