# SPDX-License-Identifier: Apache-2.0
"""The parts of a post-mortem: operation, chain, outliers, experiments."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass
class Operand:
    """One input of an operation, measured.

    Attributes:
        name: its role in the operation, e.g. "denominator".
        dtype, shape: NumPy's name and the shape.
        size: elements in all.
        min, max: of the finite elements, NaN where there are none.
        smallest: the smallest non-zero |element|, NaN where there are none.
        num_zero, num_negative: elements.
        num_nan, num_pos_inf, num_neg_inf: elements.
    """

    name: str
    dtype: str = ""
    shape: list[int] = field(default_factory=list)
    size: int = 0
    min: float = math.nan
    max: float = math.nan
    smallest: float = math.nan
    num_zero: int = 0
    num_negative: int = 0
    num_nan: int = 0
    num_pos_inf: int = 0
    num_neg_inf: int = 0


@dataclass
class Source:
    """A line of the user's code.

    Attributes:
        file: relative to the directory in which the training ran, where it is below.
        line: from 1.
        function: the function's name.
        text: of the expression, in one line; "" where the source cannot be read.
    """

    file: str
    line: int
    function: str = ""
    text: str = ""


@dataclass
class Experiment:
    """The training run again with one thing changed.

    Attributes:
        change: which change, e.g. "learning_rate/10".
        text: the change in words.
        finite: whether everything stayed finite.
        steps: steps that were run, the failing one included.
        note: where it went bad all the same, or why it could not be tried.
        tried: False where it does not apply.
        first: number of the training step that it began with.
        learns: whether the loss fell as that of a training does, None where too few steps
            were run to tell.
        value: the number that was set, such as a learning rate; None for none.
        first_loss, last_loss: of the first step, and the mean of the last tenth of the
            steps; None where there is none.
        batches: how many different batches the steps were of, which came again in their
            order where there were more steps; 0 where that is unknown (an older log).
    """

    change: str
    text: str
    finite: bool = False
    steps: int = 0
    note: str = ""
    tried: bool = True
    first: int = 0
    learns: bool | None = None
    value: float | None = None
    first_loss: float | None = None
    last_loss: float | None = None
    batches: int = 0

    @property
    def succeeded(self) -> bool:
        """Whether the training stayed finite and, where that is known, learnt."""
        return self.tried and self.finite and self.learns is not False


@dataclass
class Link:
    """A value on the way to the first bad one, and where it came from.

    Attributes:
        operand: its role in the operation that took it, e.g. "denominator".
        value: of the element that matters, NaN where no single one does.
        low, high: of all elements but NaN, or where the row is known of that row's.
        origin: "data", "variable", "constant" or "operation"; "" where that is unknown.
        name: of the data's tensor, path of the variable, or the operation as users know
            it.
        layer: path of the layer in which the operation ran, "" for none.
        source: the line of the user's that called it, None where there is none.
        operands: what it took for this element, where it works element by element.
        row: of the batch, -1 where it is unknown.
        column: of data, the index within the example; empty where it is unknown.
    """

    operand: str
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    origin: str = ""
    name: str = ""
    layer: str = ""
    source: Source | None = None
    operands: list[float] = field(default_factory=list)
    row: int = -1
    column: list[int] = field(default_factory=list)


@dataclass
class Since:
    """Whether the first bad operation goes bad with other batches and earlier weights.

    Attributes:
        batches: how many batches before the failing one were run with the state from
            before the failing step.
        bad: with how many of these its result was not finite.
        low, high: of the operand that the chain begins with, in these.
        steps: how many steps before the failing one the earlier state is from, 0 for none.
        was_bad: whether the failing batch gives a bad result with that, None where that was
            not tried.
    """

    batches: int = 0
    bad: int = 0
    low: float = math.nan
    high: float = math.nan
    steps: int = 0
    was_bad: bool | None = None


@dataclass
class Outlier:
    """Finite values of a batch that are far beyond those of the others.

    Attributes:
        name: of the tensor, as the probes name it: "input", "label['a']".
        rows: of the batch that hold such values, at most 100.
        row, column: where the worst of them is; `column` is the index within the
            example, empty for a tensor of one number an example.
        value: the worst.
        usual: the largest |value| that it is compared with.
        batches: before this one, in which `usual` was the largest; 0 where it is that of
            the other rows of the same batch.
        count: such values in all.
        size: rows of the batch.
        ago: how many steps before the failing one its batch came; 0 for the failing one.
    """

    name: str
    rows: list[int] = field(default_factory=list)
    row: int = 0
    column: list[int] = field(default_factory=list)
    value: float = math.nan
    usual: float = math.nan
    batches: int = 0
    count: int = 1
    size: int = 0
    ago: int = 0


@dataclass
class Example:
    """A row of the failing batch, found in the data that `fit` was given.

    Attributes:
        row: of the batch, from 0.
        example: of the data, from 0.
    """

    row: int = 0
    example: int = 0


@dataclass
class PostMortem:
    """The result of running the failing step again, operation by operation.

    Attributes:
        reproduced: the origin was non-finite again, with the same counts.
        reason: why nothing is named, where nothing is; a sentence.
        text: the finding in one line without a full stop.
        op: the operation as users know it, e.g. "tf.math.divide".
        op_type: TensorFlow's type of the operation that ran, e.g. "RealDiv".
        forward_type: TensorFlow's type of `op`.
        gradient: `op_type` belongs to the gradient of `op`.
        layer: path of the layer in which it ran, "" for none.
        in_model: whether `op` ran in a call of the model or of one of its layers, and not in
            the loss or the step; None where it is not known.
        owner: of library code that no line of the user's calls: what it is.
        source: the user's line, None where none can be named.
        finding: what was wrong with the inputs, e.g. "3 of 32 denominators are 0".
        inputs: of the operation.
        chain: where the input that matters came from, the operation's own first.
        since: whether other batches and earlier weights do the same.
        num_nan, num_pos_inf, num_neg_inf: of its output. size: of its output.
        shape, dtype: of its output.
        finite_in_float32: of a step whose first bad operation computes in float16: whether
            it stays finite up to the origin when run in float32; None where that was not
            tried.
        data: name of the input, label or sample weight that is non-finite itself.
        held: path of a variable that was non-finite before the step already, "" for none.
        rows: of the batch that are bad there, at most 100.
        outliers: of the batch, one for each tensor that has some, the worst first; then
            those of the last batch before it that had some.
        capsule: where the capsule lies that the step can be run again from, "" for
            nowhere.
        own_code: what the model uses that the capsule does not hold, by name; a replay
            of the capsule needs the code that makes the model.
        seconds: what it took.
        experiments: changes that were tried, the control first.
        untried: why none was tried from before the failing step, in words.
        epoch_steps: of an epoch of the training, 0 where that is unknown.
        planned_steps: that the training was to make in all, 0 where that is unknown.
        redrawn: at which try the step, which draws random numbers that cannot be drawn
            again, went bad in the same tensor with others; what is named is of that one. 0
            where it is of the failing step itself.
        examples: which examples of the data some rows of the batch are, where their content
            tells.
    """

    reproduced: bool = False
    reason: str = ""
    text: str = ""
    op: str | None = None
    op_type: str | None = None
    forward_type: str | None = None
    gradient: bool = False
    layer: str = ""
    in_model: bool | None = None
    owner: str = ""
    source: Source | None = None
    finding: str = ""
    inputs: list[Operand] = field(default_factory=list)
    chain: list[Link] = field(default_factory=list)
    since: Since | None = None
    num_nan: int = 0
    num_pos_inf: int = 0
    num_neg_inf: int = 0
    size: int = 0
    shape: list[int] = field(default_factory=list)
    dtype: str = ""
    finite_in_float32: bool | None = None
    data: str | None = None
    held: str = ""
    rows: list[int] = field(default_factory=list)
    outliers: list[Outlier] = field(default_factory=list)
    capsule: str = ""
    own_code: list[str] = field(default_factory=list)
    seconds: float = 0.0
    experiments: list[Experiment] = field(default_factory=list)
    untried: str = ""
    epoch_steps: int = 0
    planned_steps: int = 0
    redrawn: int = 0
    examples: list[Example] = field(default_factory=list)
