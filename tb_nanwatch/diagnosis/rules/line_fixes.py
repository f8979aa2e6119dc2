# SPDX-License-Identifier: Apache-2.0
"""What to change in the user's line that called the first bad operation."""

from __future__ import annotations

from typing import Final

from tb_nanwatch.diagnosis.measured import Measured
from tb_nanwatch.diagnosis.rules.guards import (
    DIVISIONS,
    EXPONENTIAL,
    LARGE_POWER,
    LOGARITHMS,
    OF_POSITIVES,
    ROOT,
    RSQRT,
    SIZES,
    Guard,
    layer_of_both_signs,
    operand_of,
    takes_infinities,
    with_numbers,
)
from tb_nanwatch.diagnosis.rules.own_line import (
    below_its_largest,
    divides_by_a_sum,
    edited,
    factor_beside,
    rooted,
    without_comment,
    without_power,
)
from tb_nanwatch.record.schema import PostMortem

# Of the two operands of a product, which is meant.
_PLACES: Final = {"first input": 0, "second input": 1}


def at_line(m: Measured, found: PostMortem, guard: Guard) -> str:
    """Returns the fix in the user's line that called the first bad operation.

    Args:
        m: the training.
        found: its post-mortem, with a source.
        guard: what keeps the operation in its domain.
    """
    assert found.source is not None
    source = found.source
    where = f"At {source.file}:{source.line}"
    if source.text:
        where += f", `{without_comment(source.text)}`"
    if takes_infinities(found):
        half = " (float16 ends at 65504)" if found.dtype == "float16" else ""
        mask = "-3e4" if found.dtype == "float16" else "-1e9"
        return (
            f"{where}: keep infinities out of it; a mask needs only a large finite number"
            f"{half}, e.g. {mask}."
        )
    fed_back = factor_of_what_feeds_back(found) if guard in SIZES else None
    if fed_back is not None:
        factor, value = fed_back
        return (
            f"{where}: what this makes comes back to it at each time step, multiplied by "
            f"`{factor}`, which is {value:.3g}: keep that factor at 1 or less before each of "
            f"its uses, as in `{factor} = keras.ops.minimum({factor}, 1.0)`."
        )
    if guard in DIVISIONS and (shifted := _below_the_largest(found)):
        return shifted
    joint = ":" if guard in SIZES else ", as in"
    fix = f"{where}: keep {guard.keep}{joint} {_example(found, guard)}."
    begun = _variable_begun_at_0(m, found) if guard in DIVISIONS else ""
    if begun:
        # A guard there leaves every other use of the variable as it is.
        return (
            f"Begin the variable {begun} with another number than 0, e.g. with the "
            f'initializer "ones", for it is 0 where training begins. Or else: {fix} '
            "Without the former each other line that divides by it needs this too."
        )
    fix += _besides(m, found, guard)
    layer = layer_of_both_signs(found) if guard in OF_POSITIVES else ""
    # A result that no later one shows was left out by a branch, which is meant.
    if layer and not _is_hidden(m):
        # A bound stops the operation's gradient, and all else goes on to pull the number down.
        return (
            f"Make what the layer {layer} gives positive before any use of it: "
            'activation="softplus" there, or keras.ops.softplus on the part that is meant. '
            f"Or else: {fix} What is cut off there has no gradient to come back by."
        )
    return fix


def _besides(m: Measured, found: PostMortem, guard: Guard) -> str:
    """Returns sentences that go with the rewritten line, "" where there are none."""
    assert found.source is not None
    said = ""
    if guard is EXPONENTIAL:
        said += _of_a_softmax(found.source.text)
    if guard is LARGE_POWER and found.owner.startswith("the loss"):
        said += _of_a_likelihood(found.source.text)
    if guard in DIVISIONS and found.layer and _of_fresh_weights(m, found):
        said += (
            " All of these denominators are 0: where they are made of weights, begin those "
            'with random numbers ("glorot_uniform"), not with zeros.'
        )
    if guard in DIVISIONS and m.bad_tensor is not None and m.bad_tensor.kind == "metric":
        said += " What else this metric divides by needs the same."
    if _is_hidden(m) and guard in (*LOGARITHMS, *DIVISIONS):
        # The derivative of a branch that is not taken is zero times infinity.
        said += " A keras.ops.where around it is not enough: the gradient takes both branches."
    return said


def _is_hidden(m: Measured) -> bool:
    """Returns whether all that was computed from the bad result was finite but a gradient."""
    return m.bad_tensor is not None and m.bad_tensor.kind == "gradient"


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
    denominator = operand_of(found, "denominator", 1)
    if denominator is None or denominator.num_zero != denominator.size:
        return ""
    return link.name if link.operand == "denominator" else ""


def _of_fresh_weights(m: Measured, found: PostMortem) -> bool:
    """Returns whether a division has nothing but zeros below it before any update."""
    denominator = operand_of(found, "denominator", 1)
    if denominator is None or not m.at_first_step:
        return False
    return denominator.size > 1 and denominator.num_zero == denominator.size


def _example(found: PostMortem, guard: Guard) -> str:
    """Returns the user's own expression with the fix applied, or else an example."""
    text = found.source.text if found.source is not None else ""
    own = None
    if text and guard is EXPONENTIAL and divides_by_a_sum(text):
        own = below_its_largest(text)
    if text and own is None and guard.edit is not None:
        own = edited(text, guard.edit, with_numbers(guard.edit.bound, found))
    if text and own is None and guard in (ROOT, RSQRT):
        own = rooted(text, with_numbers("{tiny}", found))
    return f"`{own}`" if own else with_numbers(guard.example, found)


def _of_a_likelihood(text: str) -> str:
    """Returns a sentence on how to write a likelihood with a sum of logarithms, not a power."""
    own = without_power(text) if text else None
    return (
        " In a likelihood go without powers and exponentials instead, and add up "
        f"logarithms: that of the power is {f'`{own}`' if own else 'a * keras.ops.log(x)'}, "
        "that of a sum of exponentials keras.ops.logsumexp."
    )


def _of_a_softmax(text: str) -> str:
    """Returns a sentence on how to write an overflowing softmax safely."""
    if divides_by_a_sum(text) and below_its_largest(text):
        return ""  # the example shows it already
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
