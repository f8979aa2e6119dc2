"""Which of several bad trainings answers for those that went bad alike."""

from __future__ import annotations

from tb_nanwatch.diagnosis.shared import Standing, grade, shared

ZERO, NEGATIVE = "logarithm of 0", "logarithm of a negative number"


def log(kind: str, sure: str = "likely", confidence: float = 0.9) -> Standing:
    return Standing("loss_domain", kind, sure, confidence)


def test_what_mends_another_kind_answers_not_for_this_one() -> None:
    cases = [log(ZERO), log(NEGATIVE, "tested"), log(ZERO)]
    assert shared(cases) == (0, [0, 2])
    # Of one kind the surest answers.
    assert shared([log(ZERO), log(ZERO, "tested"), log(NEGATIVE)]) == (1, [0, 1])
    assert shared([log(ZERO, confidence=0.5), log(ZERO)]) == (1, [0, 1])


def test_an_unknown_kind_counts_with_the_commonest() -> None:
    cases = [log(""), log(NEGATIVE), log(ZERO), log(NEGATIVE)]
    assert shared(cases) == (1, [0, 1, 3])
    # Another cause is another matter.
    rate = Standing("learning_rate", "", "likely", 0.9)
    assert shared([rate, log(ZERO), rate]) == (0, [0, 2])


def test_an_unknown_cause_answers_only_for_its_like() -> None:
    unknown = Standing("unknown")
    assert shared([unknown, unknown, log(ZERO)]) == (2, [2])
    assert shared([unknown, unknown]) == (0, [0, 1])
    assert shared([]) is None


def test_of_one_trial_the_first_damage_tells_why() -> None:
    assert grade("diverged", None) > grade("runaway", None)
    assert grade("runaway", "clean") > grade("diverged", "diverged")
