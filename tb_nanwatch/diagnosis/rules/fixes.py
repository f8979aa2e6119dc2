"""What to change at the operation that the post-mortem names.

Where a line of the user's called it, the fix is for that line; in a layer or a loss of
Keras' own it is for what the user gives to it.
"""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass
from typing import Final

from tb_nanwatch.diagnosis.measured import Measured, largest, number, smallest
from tb_nanwatch.diagnosis.rules.own_line import (
    Edit,
    below_its_largest,
    divides_by_a_sum,
    edited,
    factor_beside,
    rooted,
    without_comment,
    without_power,
)
from tb_nanwatch.diagnosis.rules.thresholds import at
from tb_nanwatch.record.schema import Experiment, Operand, PostMortem

# What Keras itself takes for small, where the dtype can hold it (`keras.config.epsilon`).
_SMALL: Final = {"float16": "1e-4"}
# Under a root: the square of a small number.
_TINY: Final = {"float16": "1e-4"}
# Under a root that is divided by: its derivative is the third power of one over the root,
# and that of a quotient the second of one over the denominator.
_SQUARED: Final = {"float16": "1e-3"}
_DENOMINATOR: Final = {"float16": "1e-2"}
# What Keras' schedules call the rates that they go between; others are shares of these.
_RATES_OF_SCHEDULES: Final = (
    "initial_learning_rate",
    "warmup_target",
    "end_learning_rate",
)
# Decades of the largest number that a dtype holds.
_DECADES: Final = {"float16": 4.8, "float64": 308.0}


@dataclass(frozen=True)
class Guard:
    """How an operation is kept in its domain.

    Attributes:
        does: what it does, of a layer: "The layer ... takes a logarithm".
        keep: what is to be kept where: "its argument above 0".
        example: in Keras' functions; {small}, {tiny}, ... stand for numbers of its dtype.
        edit: how the user's own expression is changed to that.
    """

    does: str
    keep: str
    example: str
    edit: Edit | None = None


_LOG: Final = Guard(
    "takes a logarithm",
    "the logarithm's argument above 0",
    "keras.ops.log(keras.ops.maximum(x, {small}))",
    Edit(("log",), "maximum", "{small}", everywhere=True),
)
_LOG1P: Final = Guard(
    "takes the logarithm of 1 + x",
    "the argument of log1p above -1",
    "keras.ops.log1p(keras.ops.maximum(x, -0.999))",
    Edit(("log1p",), "maximum", "-0.999", everywhere=True),
)
_DIVISION: Final = Guard(
    "divides",
    "the denominator away from 0",
    "x / keras.ops.maximum(d, {least})",
    Edit(("divide", "true_divide", "truediv"), "maximum", "{least}", 1, ast.Div),
)
_SIGNED_DIVISION: Final = Guard(
    "divides",
    "the denominator away from 0",
    "x / keras.ops.where(keras.ops.abs(d) < {least}, {least}, d)",
)
_RECIPROCAL: Final = Guard(
    "takes a reciprocal",
    "the reciprocal's argument away from 0",
    "keras.ops.reciprocal(keras.ops.maximum(x, {least}))",
    Edit(("reciprocal",), "maximum", "{least}"),
)
_ROOT: Final = Guard(
    "takes a root",
    "the root's argument above 0, where its derivative is finite too",
    "keras.ops.sqrt(keras.ops.maximum(x, {tiny}))",
    Edit(("sqrt",), "maximum", "{tiny}", everywhere=True),
)
_RSQRT: Final = Guard(
    "divides by a root",
    "the root's argument above 0",
    "keras.ops.rsqrt(keras.ops.maximum(x, {squared}))",
    Edit(("rsqrt",), "maximum", "{squared}", everywhere=True),
)
_POWER: Final = Guard(
    "takes a power",
    "the power's base above 0",
    "keras.ops.power(keras.ops.maximum(x, {small}), a)",
    Edit(("power", "pow"), "maximum", "{small}", 0, ast.Pow),
)
_LARGE_POWER: Final = Guard(
    "takes a power",
    "the power's base small",
    "keras.ops.power(keras.ops.clip(x, -{base}, {base}), a)",
    Edit(("power", "pow"), "clip", "-{base}, {base}", 0, ast.Pow),
)
_EXPONENTIAL: Final = Guard(
    "takes an exponential",
    "the exponential's argument small",
    "keras.ops.exp(keras.ops.minimum(x, {most}))",
    Edit(("exp",), "minimum", "{most}", everywhere=True),
)
_UNIT: Final = Guard(
    "takes a function that ends at -1 and 1",
    "its argument inside (-1, 1)",
    "keras.ops.clip(x, -0.999, 0.999)",
    Edit(
        ("arccos", "acos", "arcsin", "asin", "arctanh", "atanh", "erfinv"),
        "clip",
        "-0.999, 0.999",
        everywhere=True,
    ),
)
_ACOSH: Final = Guard(
    "takes arcosh", "its argument above 1", "keras.ops.maximum(x, 1.001)"
)
_SHARE: Final = Guard(
    "takes a quantile", "its argument inside (0, 1)", "keras.ops.clip(x, 1e-3, 0.999)"
)
_GAMMA: Final = Guard(
    "takes a gamma function",
    "the gamma function's argument above 0",
    "keras.ops.maximum(x, 1e-3)",
)
_MATRIX: Final = Guard(
    "inverts or factors a matrix",
    "the matrix regular",
    "x + 1e-3 * keras.ops.eye(n)",
)
_NOTHING: Final = Guard(
    "takes a mean",
    "the mean off empty tensors",
    "keras.ops.sum(x) / max(n, 1) of n elements",
)
_SIZE: Final = Guard(
    "makes a number that is beyond its dtype",
    "what enters it small",
    "scale it, or clip it with keras.ops.clip(x, -1e6, 1e6)",
)
_HALF_SIZE: Final = Guard(
    "makes a number that is beyond float16",
    "this operation in float32",
    'give its layer dtype="float32", or put keras.ops.cast(x, "float32") before it',
)

# By TensorFlow's type of the (forward) operation.
_GUARDS: Final[dict[str, Guard]] = {
    "Log": _LOG,
    "Xlogy": _LOG,
    "Log1p": _LOG1P,
    "Xlog1py": _LOG1P,
    **dict.fromkeys(("RealDiv", "Div", "FloorDiv", "FloorMod", "Xdivy"), _DIVISION),
    **dict.fromkeys(("Reciprocal", "Inv"), _RECIPROCAL),
    "Sqrt": _ROOT,
    "EuclideanNorm": _ROOT,
    "Rsqrt": _RSQRT,
    "Pow": _POWER,
    **dict.fromkeys(("Exp", "Expm1", "Sinh", "Cosh"), _EXPONENTIAL),
    **dict.fromkeys(("Acos", "Asin", "Atanh", "Erfinv"), _UNIT),
    "Acosh": _ACOSH,
    "Ndtri": _SHARE,
    **dict.fromkeys(("Lgamma", "Digamma"), _GAMMA),
    **dict.fromkeys(("Cholesky", "MatrixInverse"), _MATRIX),
}
_LOGARITHMS: Final = (_LOG, _LOG1P)
_SIZES: Final = (_SIZE, _HALF_SIZE)
# Of the two operands of a product, which is meant.
_PLACES: Final = {"first input": 0, "second input": 1}
_DIVISIONS: Final = (_DIVISION, _SIGNED_DIVISION, _RECIPROCAL)


def of(m: Measured, otherwise: str) -> str:
    """Returns what to change at the first bad operation, `otherwise` where none is known."""
    found = m.facts.postmortem
    if found is None or found.op is None:
        return otherwise
    guard = guard_of(found)
    if found.source is not None:
        return _at_line(m, found, guard)
    if found.layer:
        return _in_layer(found, guard)
    kind = m.bad_tensor.kind if m.bad_tensor is not None else ""
    if kind in ("loss", "gradient"):
        return _in_loss(m, found, guard)
    if kind == "metric":
        return (
            f"This metric of Keras' own {guard.does}: bring predictions and labels into "
            "the range that it is made for, or choose another objective."
        )
    return otherwise


def of_layer(m: Measured, otherwise: str) -> str:
    """Returns what to change where the first bad operation ran in a layer."""
    found = m.facts.postmortem
    return of(m, otherwise) if found is not None and found.layer else otherwise


def at_own_line(m: Measured) -> str:
    """Returns the fix where a line of the user's made the first bad value, else nothing."""
    found = m.facts.postmortem
    own = found is not None and found.op is not None and found.source is not None
    return of(m, "") if own else ""


def lower_rate(m: Measured, rate: float) -> str:
    """Returns the fix of a learning rate; clipping is offered where it was tried and helped.

    A recurrent layer of tanh gives nothing beyond 1. One that did has an activation without
    a bound, and grows from time step to time step at any rate.

    Args:
        rate: what the learning rate is to be lowered to.
    """
    unbounded, size = _unbounded_recurrence(m)
    if unbounded:
        return (
            f'Give {unbounded} a bounded activation (activation="tanh"): its output reached '
            f"{size:.3g}, and what feeds back on itself grows at each step of the sequence. "
            f"A lower learning rate, e.g. {rate:.0e}, alone only delays that."
        )
    found = m.facts.postmortem
    tried = found.experiments if found is not None else []
    clipped = any(e.change == "clip" and e.succeeded and e.learns for e in tried)
    also = ", or clip the gradients (global_clipnorm=1.0)" if clipped else ""
    return f"Lower the learning rate, e.g. to {rate:.0e}{also}.{where_rate_is_set(m)}"


def tested_rate(m: Measured, kept: Experiment, margin: float) -> str:
    """Returns the fix of a learning rate whose lower value was tried and helped.

    Args:
        kept: the experiment.
        margin: by what the value that was tried is divided.
    """
    assert kept.value is not None
    why = "the test is short beside the training"
    name, _, divisor = kept.change.partition("/")
    if name == "schedule":
        part = f"{float(divisor) * margin:g}"
        tested = f", of which 1/{divisor} was tested: {why}" if margin > 1 else ""
        shown = _rates_of_schedule(m, float(divisor) * margin)
        return f"Lower all rates of the schedule to 1/{part} of what they are{shown}{tested}."
    set_to = f"Lower the learning rate to {kept.value / margin:.3g}"
    if margin > 1:
        set_to += f", 1/{margin:g} of the {kept.value:.3g} that was tested: {why}"
    return f"{set_to}.{where_rate_is_set(m)}"


def _rates_of_schedule(m: Measured, divisor: float) -> str:
    """Returns ": ExponentialDecay(initial_learning_rate=0.05, ...)", "" of one's own."""
    schedule = m.optimizer.get("learning_rate")
    if not isinstance(schedule, dict):
        return ""
    config = schedule.get("config")
    if not isinstance(config, dict):
        return ""
    rates = {name: number(config.get(name)) for name in _RATES_OF_SCHEDULES}
    said = [
        f"{name}={rate / divisor:.3g}"
        for name, rate in rates.items()
        if not math.isnan(rate)
    ]
    values = config.get("values")
    if isinstance(values, list) and values:
        said.append(f"values=[{', '.join(f'{number(v) / divisor:.3g}' for v in values)}]")
    return f": {schedule.get('class_name')}({', '.join(said)}, ...)" if said else ""


def where_rate_is_set(m: Measured) -> str:
    """Returns in a sentence where a rate is to be lowered that a callback had set, else ""."""
    rate = m.rate_set_later()
    if math.isnan(rate):
        return _which_schedule(m)
    return f" That is the one that a callback sets, which was {rate:.3g}."


def _which_schedule(m: Measured) -> str:
    schedule = m.optimizer.get("learning_rate")
    if not isinstance(schedule, dict):
        return ""
    return f" A schedule sets it, {schedule.get('class_name')}: lower the rates there."


def _is_kept_in(found: PostMortem) -> bool:
    """Returns whether the first bad operation can be kept in its domain in its own dtype."""
    if found.op is None:
        return False
    return _takes_infinities(found) or guard_of(found) not in _SIZES


def _unbounded_recurrence(m: Measured) -> tuple[str, float]:
    """Returns the recurrent layers that gave more than 1, in words, and how much."""
    sizes = {}
    for i in m.of("activation"):
        size = largest([abs(m.lowest[i]), abs(m.highest[i])])
        if m.is_recurrent(i) and size > at("bounded"):
            sizes[m.probes[i].name] = size
    if not sizes:
        return "", 0.0
    names = " and ".join(dict.fromkeys(sizes))
    return f"the recurrent {'layer' if len(sizes) == 1 else 'layers'} {names}", max(
        sizes.values()
    )


def out_of_float16(m: Measured) -> str:
    """Returns how a training leaves float16: one layer does not help where all is float16.

    An operation that leaves its domain there is kept in it, where a line of the user's calls
    it: in float32 the layer alone would hand on what float16 cannot hold.
    """
    weights = {m.probes[i].dtype for i in m.of("weight")}
    if weights == {"float16"}:
        return (
            "All of this model is float16, its variables too: build it in float32 "
            '(keras.config.set_floatx("float32"), keras.config.set_dtype_policy("float32")) '
            'or with keras.config.set_dtype_policy("mixed_bfloat16").'
        )
    found = m.facts.postmortem
    if found is not None and _is_kept_in(found) and at_own_line(m):
        return (
            f"{at_own_line(m)} Or leave float16 altogether: build the model with "
            'keras.config.set_dtype_policy("float32") or "mixed_bfloat16".'
        )
    layer = (
        f"the layer {found.layer}" if found is not None and found.layer else "this part"
    )
    return (
        f'Compute {layer} in float32 (dtype="float32"), or the model in bfloat16 '
        '(keras.config.set_dtype_policy("mixed_bfloat16")).'
    )


def of_weights(name: str) -> str:
    """Returns the fix of a variable that was non-finite before the first step.

    Args:
        name: the variable's path.
    """
    return (
        f"Find what gives {name} its numbers before training: where your own code sets them "
        "(set_weights, assign, an initializer), keep them finite there, e.g. "
        "numpy.nan_to_num(values, posinf=0, neginf=0), for a model built anew gets the same; "
        "where a checkpoint does, load one from before they went bad."
    )


def guard_of(found: PostMortem) -> Guard:
    """Returns how the operation that a post-mortem names is kept in its domain."""
    op_type = found.forward_type or found.op_type or ""
    guard = _GUARDS.get(op_type)
    if guard is _DIVISION and _denominators_of_both_signs(found):
        return _SIGNED_DIVISION
    if guard is _POWER and _too_large_base(found):
        return _LARGE_POWER
    if guard is not None:
        return guard
    if op_type == "Mean" and any(o.size == 0 for o in found.inputs):
        return _NOTHING
    return _HALF_SIZE if found.dtype == "float16" else _SIZE


def _denominators_of_both_signs(found: PostMortem) -> bool:
    # Of a gradient's operation the operands are others.
    return (
        not found.gradient and len(found.inputs) > 1 and found.inputs[1].num_negative > 0
    )


def _too_large_base(found: PostMortem) -> bool:
    """Returns whether a power is beyond its dtype and not of a base that is 0 or negative.

    The derivative of a power is one itself, of the same base.
    """
    base = _operand(found, "base", 0)
    return base is not None and base.min > 0


def _operand(found: PostMortem, name: str, place: int) -> Operand | None:
    """Returns an operand by its name, or of a forward operation that in this place."""
    for operand in found.inputs:
        if operand.name == name:
            return operand
    if found.gradient or len(found.inputs) <= place:
        return None
    return found.inputs[place]


def _numbers(text: str, found: PostMortem) -> str:
    """Returns a guard's text with the numbers that fit the operation."""
    dtype = found.dtype
    return text.format(
        small=_SMALL.get(dtype, "1e-7"),
        tiny=_TINY.get(dtype, "1e-12"),
        squared=_SQUARED.get(dtype, "1e-12"),
        least=_least_denominator(found),
        base=_largest_base(found),
        most="10.0" if dtype == "float16" else "20.0",
    )


def _least_denominator(found: PostMortem) -> str:
    """Returns what denominators are kept above: a tenth of the least that was not 0.

    That leaves the others as they are, and what was divided by 0 does not outweigh them.
    """
    usual = _DENOMINATOR.get(found.dtype, "1e-3")
    denominator = _operand(found, "denominator", 1)
    if denominator is None or not denominator.num_zero or found.dtype == "float16":
        return usual
    if not at("least_denominator") <= denominator.smallest / 10:
        return usual
    return f"1e{min(-1, math.floor(math.log10(denominator.smallest / 10)))}"


def _largest_base(found: PostMortem) -> str:
    """Returns the largest base whose power can still be squared, as a quotient's slope does."""
    exponent = _operand(found, "exponent", 1)
    if exponent is None or not exponent.max > 1:
        return "100"
    power = exponent.max + (1 if found.gradient else 0)
    largest = 10 ** (_DECADES.get(found.dtype, 38.5) / 2 / power)
    if largest >= 100:
        return "100"
    return (
        str(math.floor(largest)) if largest >= 2 else f"{math.floor(10 * largest) / 10}"
    )


def _takes_infinities(found: PostMortem) -> bool:
    return any(o.num_nan or o.num_pos_inf or o.num_neg_inf for o in found.inputs)


def _at_line(m: Measured, found: PostMortem, guard: Guard) -> str:
    assert found.source is not None
    source = found.source
    where = f"At {source.file}:{source.line}"
    if source.text:
        where += f", `{without_comment(source.text)}`"
    if _takes_infinities(found):
        half = " (float16 ends at 65504)" if found.dtype == "float16" else ""
        mask = "-3e4" if found.dtype == "float16" else "-1e9"
        return (
            f"{where}: keep infinities out of it; a mask needs only a large finite number"
            f"{half}, e.g. {mask}."
        )
    fed_back = factor_of_what_feeds_back(found) if guard in _SIZES else None
    if fed_back is not None:
        factor, value = fed_back
        return (
            f"{where}: what this makes comes back to it at each time step, multiplied by "
            f"`{factor}`, which is {value:.3g}: keep that factor at 1 or less before each of "
            f"its uses, as in `{factor} = keras.ops.minimum({factor}, 1.0)`."
        )
    if guard in _DIVISIONS and (shifted := _below_the_largest(found)):
        return shifted
    joint = ":" if guard in _SIZES else ", as in"
    fix = f"{where}: keep {guard.keep}{joint} {_example(found, guard)}."
    begun = _variable_begun_at_0(m, found) if guard in _DIVISIONS else ""
    if begun:
        # A guard there leaves every other use of the variable as it is.
        return (
            f"Begin the variable {begun} with another number than 0, e.g. with the "
            f'initializer "ones", for it is 0 where training begins. Or else: {fix} '
            "Without the former each other line that divides by it needs this too."
        )
    return fix + _besides(m, found, guard)


def _besides(m: Measured, found: PostMortem, guard: Guard) -> str:
    """Returns what to say beside the rewritten line, in sentences; "" where there is nothing."""
    assert found.source is not None
    said = ""
    if guard is _EXPONENTIAL:
        said += _of_a_softmax(found.source.text)
    if guard is _LARGE_POWER and found.owner.startswith("the loss"):
        said += _of_a_likelihood(found.source.text)
    if guard in _DIVISIONS and found.layer and _of_fresh_weights(m, found):
        said += (
            " All of these denominators are 0: where they are made of weights, begin those "
            'with random numbers ("glorot_uniform"), not with zeros.'
        )
    if guard in _DIVISIONS and m.bad_tensor is not None and m.bad_tensor.kind == "metric":
        said += " What else this metric divides by needs the same."
    masked = m.bad_tensor is not None and m.bad_tensor.kind == "gradient"
    if masked and guard in (*_LOGARITHMS, *_DIVISIONS):
        # The derivative of a branch that is not taken is zero times infinity.
        said += " A keras.ops.where around it is not enough: the gradient takes both branches."
    return said


def factor_of_what_feeds_back(found: PostMortem) -> tuple[str, float] | None:
    """Returns the factor of a loop's state that grows, as it is written, and its value.

    What a product took came from a product of the very same line, which holds one alone:
    it is the line's own result of a time step before.
    """
    source = found.source
    if source is None or found.op_type != "Mul" or found.gradient:
        return None
    for link in found.chain:
        here = link.source
        if here is None or (here.file, here.line) != (source.file, source.line):
            return None
        if link.name != found.op or len(link.operands) != 2:
            continue
        place = _PLACES.get(found.chain[0].operand)
        if place is None:
            return None
        factor = factor_beside(source.text, place)
        value = link.operands[1 - place]
        return (factor, value) if factor is not None and abs(value) > 1 else None
    return None


def _below_the_largest(found: PostMortem) -> str:
    """Returns the fix of a sum of exponentials that are all 0, "" for any other denominator.

    A bound on the sum would give a row of zeros, whose derivative is 0 as well.
    """
    if len(found.chain) < 2:
        return ""
    total, each = found.chain[:2]
    if total.operand != "denominator" or not total.name.endswith(".reduce_sum"):
        return ""
    own = below_its_largest(each.source.text) if each.source is not None else None
    if not each.name.endswith(".exp") or each.source is None or own is None:
        return ""
    return (
        f"At {each.source.file}:{each.source.line}, `{without_comment(each.source.text)}`: "
        "all exponentials of a row are 0, and so is their sum: take each row's largest off "
        f"first, as in `{own}`."
    )


def _variable_begun_at_0(m: Measured, found: PostMortem) -> str:
    """Returns the path of the variable that is the denominator and is 0 before any update.

    Empty where the denominator is not a variable as it stands, or not all of it is 0.
    """
    link = found.chain[0] if found.chain else None
    if link is None or link.origin != "variable" or not m.at_first_step:
        return ""
    if any(
        e.change == "begun_with_1" and e.tried and not e.succeeded
        for e in found.experiments
    ):
        return ""  # that was tried
    denominator = _operand(found, "denominator", 1)
    if denominator is None or denominator.num_zero != denominator.size:
        return ""
    return link.name if link.operand == "denominator" else ""


def _of_fresh_weights(m: Measured, found: PostMortem) -> bool:
    """Returns whether a division has nothing but zeros below it before any update."""
    denominator = _operand(found, "denominator", 1)
    if denominator is None or not m.at_first_step:
        return False
    return denominator.size > 1 and denominator.num_zero == denominator.size


def _example(found: PostMortem, guard: Guard) -> str:
    """Returns the user's own expression mended, or else an example."""
    text = found.source.text if found.source is not None else ""
    own = None
    if text and guard is _EXPONENTIAL and divides_by_a_sum(text):
        own = below_its_largest(text)
    if text and own is None and guard.edit is not None:
        own = edited(text, guard.edit, _numbers(guard.edit.bound, found))
    if text and own is None and guard in (_ROOT, _RSQRT):
        own = rooted(text, _numbers("{tiny}", found))
    return f"`{own}`" if own else _numbers(guard.example, found)


def _of_a_likelihood(text: str) -> str:
    """Returns in a sentence how a likelihood does without a power."""
    own = without_power(text) if text else None
    return (
        " In a likelihood go without powers and exponentials instead, and add up "
        f"logarithms: that of the power is {f'`{own}`' if own else 'a * keras.ops.log(x)'}, "
        "that of a sum of exponentials keras.ops.logsumexp."
    )


def _of_a_softmax(text: str) -> str:
    """Returns in a sentence how an exponential is mended that its own sum divides."""
    if divides_by_a_sum(text) and below_its_largest(text):
        return ""  # that is what is shown already
    own = below_its_largest(text) if text else None
    example = (
        f"`{own}`"
        if own
        else "keras.ops.exp(x - keras.ops.max(x, axis=-1, keepdims=True))"
    )
    return (
        " Other exponentials of the same numbers need that too. In a softmax, where its own "
        f"sum divides it, take the row's largest off instead: {example}; else a row of very "
        "negative numbers is 0 / 0."
    )


def _in_layer(found: PostMortem, guard: Guard) -> str:
    if guard is _HALF_SIZE:
        return (
            f'Compute the layer {found.layer} in float32 (dtype="float32"), or scale down '
            "what enters it."
        )
    keep = "what enters it small" if guard is _SIZE else guard.keep
    return (
        f"The layer {found.layer} {guard.does}: keep {keep} by what you give to the layer "
        "(scale or clip its input), or choose another activation."
    )


def _in_loss(m: Measured, found: PostMortem, guard: Guard) -> str:
    """Returns what to give to a loss of Keras' own, in which no line is the user's."""
    if guard in _LOGARITHMS and found.dtype == "float16":
        return (
            "Keras guards this logarithm with 1e-7, which is lost beside 1 in float16: "
            'compute the last layer and the loss in float32 (dtype="float32"), or call '
            "keras.config.set_epsilon(1e-3)."
        )
    if guard in _LOGARITHMS:
        return (
            "This loss takes the logarithm of the predictions: give the last layer the "
            'activation that the loss is made for ("softmax" or "sigmoid" for a '
            'cross-entropy, "softplus" for a Poisson loss), or pass from_logits=True to a '
            "cross-entropy where the last layer has none; its labels must lie in [0, 1]."
        )
    if guard in _DIVISIONS:
        return (
            "This loss divides by what it makes of predictions and labels, and that was 0: "
            "a categorical cross-entropy divides each row by its sum, so end the model in "
            '"softmax" or pass from_logits=True; a relative error needs labels away from 0.'
        )
    if guard is _HALF_SIZE:
        return (
            "The loss is beyond float16: compute the last layer and the loss in float32 "
            '(dtype="float32").'
        )
    return f"{_too_large(m)} Scale the labels and the inputs, and look for extreme rows."


def _too_large(m: Measured) -> str:
    """Returns in a sentence what reached the loss."""
    parts = []
    for kind, words in (("label", "labels"), ("prediction", "predictions")):
        if m.onset is None or not m.of(kind):
            continue
        low, high = smallest(m.onset.low[m.of(kind)]), largest(m.onset.high[m.of(kind)])
        if not math.isnan(low):
            parts.append(f"{words} of [{low:.3g}, {high:.3g}]")
    what = " and ".join(parts) or "labels or predictions"
    return f"This loss cannot hold {what}."
