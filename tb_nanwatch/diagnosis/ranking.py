# SPDX-License-Identifier: Apache-2.0
"""Ranks the possible causes of one run by its facts; pure: no files, clock or frameworks.

Both sides use this module: the reader for the report and the tab, the writer for
the one line it prints at the onset. The log itself never stores a verdict, so
better rules explain old logs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from tb_nanwatch.diagnosis import rules
from tb_nanwatch.diagnosis.closest import ClosestCall
from tb_nanwatch.diagnosis.facts import Facts, facts_of
from tb_nanwatch.diagnosis.measured import measure
from tb_nanwatch.diagnosis.reputation import reputation_of
from tb_nanwatch.diagnosis.rules import fixes, rate_fixes
from tb_nanwatch.diagnosis.rules.candidate import Candidate
from tb_nanwatch.diagnosis.rules.thresholds import at
from tb_nanwatch.diagnosis.tested import (
    changed_text,
    confirmation,
    confirmed_text,
    failed_above,
    mends_not,
    needs_both,
    rate_that_holds,
    refutation,
    unhelpful_text,
)
from tb_nanwatch.record.schema import BAD_STATUSES, BadTensor, Status
from tb_nanwatch.wording.chain_text import came_from
from tb_nanwatch.wording.counts import counted
from tb_nanwatch.wording.places import position_text, probe_text, tensor_text

__all__ = ["Cause", "Facts", "diagnose", "facts_of", "has_cause"]


@dataclass
class Cause:
    """Why a run went bad.

    Attributes:
        id: one of `schema.CAUSES`.
        confidence: the probability that this is the cause, in [0, 1].
        evidence: sentences with numbers taken from the run's own record.
        reasons: the sentences of `evidence` that come from the rule, not from an experiment.
        tested: the result of the experiment that tested it, "" without one.
        fix: what to change, in one sentence.
        about: value of the optimizer's setting that is to blame, where a setting is.
        sure: "tested" where an experiment confirmed it, else "likely" or "unclear".
        record: how often causes as sure as this one were right of other people's programs,
            in words; "" of "unknown".
        held: value that the fix sets and that an experiment has shown to be enough, None
            for none.
        changed: what that experiment ran with: "a learning rate of 0.3 instead of 3".
        failed: the lowest value above that one which was tried, and not enough.
    """

    id: str
    confidence: float
    evidence: list[str] = field(default_factory=list)
    fix: str = ""
    about: float | None = None
    sure: str = "unclear"
    reasons: list[str] = field(default_factory=list)
    tested: str = ""
    record: str = ""
    held: float | None = None
    changed: str = ""
    failed: float | None = None


# A cause that an experiment confirmed outweighs those that were only derived.
_CONFIRMED: Final = 10.0
_CONFIRMED_SURE: Final = 0.98
# Steps without an update from which on it is said after which step that began: a scale
# that falls from 2**15 to 1 takes as many, by design.
_LONG: Final = 16
# Causes beyond the first that are worth showing.
_MAX_CAUSES: Final = 3


def has_cause(status: Status, origin: BadTensor | None) -> bool:
    """Returns whether a run's status calls for a cause.

    It went bad; or nothing but a metric did, which no one may have gone by, but which was
    computed to be read.
    """
    if status in BAD_STATUSES:
        return True
    return status == "contained" and origin is not None and origin.kind == "metric"


def diagnose(facts: Facts) -> list[Cause]:
    """Returns the causes of a run that went bad, the likeliest first.

    A run that did not go bad has none, unless a metric of it was not finite. Where the
    record does not decide, the first is "unknown", with what was measured; what would have
    been named comes after it.
    """
    if not has_cause(facts.status, facts.origin):
        return []
    measured = measure(facts)
    found = _tested(facts, rules.candidates(measured), fixes.out_of_float16(measured))
    refuted = {c.id: against for c in found if (against := refutation(facts, c.id))}
    found = [c for c in found if c.id not in refuted]
    total = sum(c.weight ** at("sharpness") for c in found)
    where = _where(facts)
    where += [
        f"It is not {cause.replace('_', ' ')}: run again with {against.text}, it went bad "
        f"all the same ({against.note})."
        for cause, against in refuted.items()
    ]
    causes = [
        _cause(
            facts,
            c,
            c.sure * c.weight ** at("sharpness") / total,
            where if i == 0 else [],
        )
        for i, c in enumerate(found[:_MAX_CAUSES])
        if total > 0
    ]
    if not causes or causes[0].confidence < at("named"):
        causes.insert(0, _unknown(facts, where))
    return causes


def _tested(facts: Facts, found: list[Candidate], out_of_float16: str) -> list[Candidate]:
    """Returns candidates ordered by weight, those that experiments confirmed first."""
    if needs_both(facts) is not None:
        found = rules.unscaled_data(found)
    if confirmation(facts, "half_precision") is not None:
        found = rules.in_half_precision(facts.postmortem, found, out_of_float16)
    by_outlier = any(c.id == "outlier_data" for c in found)
    for c in found:
        if by_outlier and c.id.endswith("_domain"):
            continue  # a guard helps whatever brought the value there
        if confirmation(facts, c.id) is not None:
            c.weight, c.sure = c.weight * _CONFIRMED, max(c.sure, _CONFIRMED_SURE)
    return sorted(found, key=lambda c: -c.weight)


def _cause(facts: Facts, c: Candidate, confidence: float, where: list[str]) -> Cause:
    kept = confirmation(facts, c.id)
    tested = confirmed_text(facts, c.id, kept) if kept else unhelpful_text(facts, c.id)
    evidence = [*where, tested, *c.evidence]
    fix = c.fix
    held = failed = None
    if kept is not None and c.id == "learning_rate" and kept.value is not None:
        margin = rate_that_holds(facts, kept)
        fix, held = (
            rate_fixes.tested_rate(measure(facts), kept, margin),
            kept.value / margin,
        )
        failed = failed_above(facts, c.id, kept)
    if mends_not(facts, c.id):
        fix = f"Not enough alone, as tried: {fix}"
    sure = "tested" if kept else "likely" if confidence >= at("likely") else "unclear"
    return Cause(
        c.id,
        round(confidence, 3),
        list(dict.fromkeys(filter(None, evidence))),
        fix,
        c.about,
        sure,
        [e for e in c.evidence if e],
        tested,
        reputation_of(c.id, sure).words,
        held,
        changed_text(kept) if kept else "",
        failed,
    )


def _where(facts: Facts) -> list[str]:
    stall = list(filter(None, [stall_text(facts)]))
    if facts.origin is not None and facts.onset is not None:
        return [
            f"{tensor_text(facts.origin)}, at {position_text(facts.onset)}; "
            "in causal order the first tensor to become non-finite in that step.",
            *came_from(facts.postmortem, facts.with_data),
            *stall,
        ]
    if facts.onset is not None:
        verb = "It took off at" if facts.status == "runaway" else "First bad step:"
        return [f"{verb} {position_text(facts.onset)}.", *stall]
    return []


def stall_text(facts: Facts) -> str:
    """Returns a sentence or two on what a stalled run failed to learn, "" for other runs."""
    found = facts.scaling
    if found is None or not (
        facts.status == "stalled"
        # Skipped gradients reach no weight: these gradients were divided by a loss scale of 0.
        or (facts.origin is not None and facts.origin.kind == "gradient")
    ):
        return ""
    if not found.skipped:
        return (
            f"The loss scale is down to {found.scale:.2g}, and in {found.lost:,} of "
            f"{counted(facts.steps, 'step')} all gradients were 0: float16 holds none so small."
        )
    since = ""
    if found.last_update is None:
        since = ": nothing was learnt"
    elif facts.steps - 1 - found.last_update >= _LONG:
        since = f": nothing was learnt after step {found.last_update:,}"
    lost = ""
    if found.lost:
        lost = (
            f" In {found.lost:,} of the other steps all gradients were 0: float16 holds "
            "none so small."
        )
    return (
        f"{found.skipped:,} of {counted(facts.steps, 'step')} "
        f"{'was' if found.skipped == 1 else 'were'} skipped, since gradients were "
        f"not finite, and the loss scale is down to {found.scale:.2g}{since}.{lost}"
    )


def _unknown(facts: Facts, where: list[str]) -> Cause:
    """Returns the cause "unknown" with the facts that are known all the same.

    Signs:
        unknown: no rule applies, the records that it takes are missing, or the likeliest
            cause has a confidence below {named}; it then comes second.
    """
    evidence = list(where)
    for dtype, share in sorted(facts.closest.items()):
        evidence.append(
            f"Largest finite |value| of an activation or gradient in {dtype}: "
            f"{share:.3g} of the largest number that {dtype} holds."
        )
    return Cause(
        id="unknown",
        confidence=0.0,
        evidence=evidence,
        fix="The record does not decide the cause; look at the ranges of the "
        "steps before the first bad one, in the NaN Watch tab.",
    )


# --- Wording that the report and the callback's message share ------------------


def closest_text(call: ClosestCall) -> str:
    """Returns "output of dense_1 reached 3e+04 of 65504 in float16"."""
    who = probe_text(call.kind, call.name) if call.kind else "an output or gradient"
    return f"{who} reached {call.value:.2g} of {call.limit:.5g} in {call.dtype}"
