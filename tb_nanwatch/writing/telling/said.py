# SPDX-License-Identifier: Apache-2.0
"""The messages of a training: a short line as it goes bad, the answer at its end.

Both go where `outlets` puts them. An exception says it all in its message instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from tb_nanwatch.diagnosis.answer import Answer, answer_of, card_of, parts_of
from tb_nanwatch.diagnosis.facts import Facts
from tb_nanwatch.diagnosis.ranking import Cause, diagnose, stall_text
from tb_nanwatch.diagnosis.shared import grade, standing_of
from tb_nanwatch.record.schema import BAD_STATUSES, BadTensor, Position
from tb_nanwatch.wording.answer_text import NO_STEP
from tb_nanwatch.wording.card import Card, Part
from tb_nanwatch.wording.counts import counted
from tb_nanwatch.wording.places import (
    place_text,
    position_text,
    probe_text,
    short_text,
    tensor_text,
)
from tb_nanwatch.wording.text import clean, shell_word
from tb_nanwatch.wording.trial_names import spoken_name, trial_name
from tb_nanwatch.writing.log.files import as_given
from tb_nanwatch.writing.log.session import TrainingLog
from tb_nanwatch.writing.search.tuner import Trial
from tb_nanwatch.writing.search.verdict import TrialAnswer, TunerState, state_of
from tb_nanwatch.writing.telling.bad_run import BadRun
from tb_nanwatch.writing.telling.concerned import concerned_first
from tb_nanwatch.writing.telling.outlets import Nowhere, outlet_of
from tb_nanwatch.writing.telling.search_end import card_at_end

# TensorBoard opens on the tab where its address ends in this.
LINK: Final = "http://localhost:6006/#nanwatch"
_MAX_LINE: Final = 1000
# Characters of a command and its address that fit beside "See" in 80 columns.
_ROOM: Final = 68
# Hyperparameters that the line of a trial shows.
_MAX_HPARAMS: Final = 4


class Speaker:
    """Words the messages of one training.

    Args:
        session: of the training.
        log_dir, given: where it logs, as a path and as it was given.
        silent: nothing is printed; what an exception says is worded all the same.

    Attributes:
        saves: whether the training saves checkpoints, of which there is then a word.
    """

    def __init__(
        self, session: TrainingLog, log_dir: str, given: str, silent: bool = False
    ) -> None:
        self.saves = False
        self._session = session
        self._log_dir, self._given = log_dir, given
        trial = session.trial
        self._outlet = (
            Nowhere() if silent else outlet_of(None if trial is None else trial.tuner)
        )

    @property
    def _place(self) -> str:
        """The log directory, as the user's shell takes it where the training is now."""
        return shell_word(as_given(self._log_dir, self._given))

    def began(self) -> None:
        """Says that the training is watched, in outlets where the message is not in the way."""
        what = "watching, all finite so far."
        self._outlet.watching(Card(f"{self._whose()}: {what}", False))

    def went_bad(self, onset: Position, origin: BadTensor | None, mode: str) -> None:
        """Says in a line or two that the training has gone bad, or stalled."""
        facts, causes = self._known()
        label = _label(facts, causes)
        likely = f" Likely: {label}." if label else ""
        if facts.status == "stalled":
            what = f"most steps are skipped since {short_text(onset)}."
            what = f"{what} {stall_text(facts)}"
        elif origin is None:
            what = f"loss or weights left all scale {place_text(onset)}."
        else:
            tensor = probe_text(origin.kind, origin.name)
            what = f"NaN or Inf {place_text(onset)} ({tensor})."
        goes_on = {
            "stop": "Training is stopped here.",
            "record": 'Training goes on; on_nonfinite="stop" would end it here.',
        }.get(mode, "")
        if facts.status not in BAD_STATUSES or facts.status == "stalled":
            goes_on = "Training goes on."
        whose = f"{self._whose()}, " if self._session.trial is not None else ""
        self._outlet.onset(Card(f"{whose}{what}{likely}", True, (Part("", goes_on),)))

    def error_text(self, onset: Position, origin: BadTensor | None) -> str:
        """Returns the message of the exception that ends the training."""
        # Exceptions are passed on: into KerasTuner's files, and into the log of a CI job.
        _, causes = self._known(with_data=False)
        made = self._session.made()
        parts = [
            f"NaN Watch: {clean(self._session.run)} went bad at {position_text(onset)}"
            + (f": {clean(tensor_text(origin), 400)}." if origin is not None else "."),
            f"It comes from {clean(made, _MAX_LINE)}." if made else "",
            clean(_cause_text(causes), _MAX_LINE),
            f"To see why: tensorboard --logdir {self._place} (tab NaN Watch), or "
            f"tb-nanwatch report {self._place}",
        ]
        return " ".join(filter(None, parts))

    def ended(self) -> None:
        """Prints the training's result, once it has ended."""
        facts, causes = self._known()
        answer = answer_of(facts, causes, self._steps_after(facts))
        trial = self._session.trial
        if trial is not None:
            values = {h.name: h.value for h in facts.hparams if h.active}
            state_of(trial.tuner).values[trial.trial_id] = values
            if answer is not None and facts.status in BAD_STATUSES:
                self._keep(trial, answer, causes, facts)
                self._outlet.trial(self._card_of_trial(answer, facts, causes))
        elif answer is None:
            self._outlet.end(Card(self._text_of_clean(facts), False), alone=True)
        else:
            self._outlet.end(self._card(answer), alone=False)

    def raises(self) -> None:
        """Notes that an exception with `error_text` will end the training."""
        facts, causes = self._known()
        answer = answer_of(facts, causes, self._steps_after(facts))
        if answer is None:
            return
        if self._session.trial is not None:
            self._keep(self._session.trial, answer, causes, facts)
            self._outlet.raised(self._card_of_trial(answer, facts, causes))
        else:
            self._outlet.raised(self._card(answer))

    def bad_run(self) -> BadRun | None:
        """Returns the facts about the run, None if it did not go bad."""
        facts, causes = self._known(with_data=False)
        answer = answer_of(facts, causes, self._steps_after(facts))
        if answer is None or facts.onset is None or facts.status not in BAD_STATUSES:
            return None
        trial = self._session.trial
        return BadRun(
            run=self._session.run,
            log_dir=self._log_dir,
            trial_id=None if trial is None else trial.trial_id,
            status=facts.status,
            step=facts.onset.step,
            hparams={h.name: h.value for h in facts.hparams if h.active},
            answer=answer,
        )

    def see(self) -> str:
        """Returns the command that shows more."""
        if self._outlet.is_passed_on:
            return f"tb_nanwatch.report({as_given(self._log_dir, self._given)!r})"
        return f"tb-nanwatch report {self._place}"

    def search_ended(self, state: TunerState) -> Callable[[], None]:
        """Returns a function that prints how many trials went bad, why, and what to change.

        Args:
            state: of its tuner; what it knows of trials may grow until then.
        """
        see, outlet = self._see(), self._outlet

        def say() -> None:
            card = card_at_end(
                state.statuses, state.answers, see, state.values, state.confirmed
            )
            outlet.end(card, alone=not card.bad)

        return say

    # --- Parts ----------------------------------------------------------------

    def _keep(
        self, trial: Trial, answer: Answer, causes: Sequence[Cause], facts: Facts
    ) -> None:
        """Keeps the answer of a trial's worst training for the card at the search's end."""
        told = TrialAnswer(
            self._whose(),
            answer,
            standing_of(causes, facts.postmortem),
            self._session.id,
            grade(facts.status, facts.inherited),
        )
        answers = state_of(trial.tuner).answers
        kept = answers.get(trial.trial_id)
        if kept is None or kept.session == told.session or told.grade > kept.grade:
            answers[trial.trial_id] = told

    def _card(self, answer: Answer) -> Card:
        card = card_of(answer, self._whose(), self._see())
        return replace(card, parts=(*card.parts, Part("", self._sound())))

    def _sound(self) -> str:
        """Returns a sentence on the last sound checkpoint, "" where all are sound."""
        damage = self._session.recorder.damage if self.saves else []
        if not damage or damage[-1].end is not None:
            return ""
        first = damage[-1].first
        if not first:
            return "The checkpoints of every epoch hold NaN or infinite values."
        return (
            f"Checkpoints of epoch {first + 1} and later hold NaN or infinite values; that "
            f"of epoch {first} is the last sound one."
        )

    def _card_of_trial(
        self, answer: Answer, facts: Facts, causes: Sequence[Cause]
    ) -> Card:
        text = self._text_of_trial(answer, facts, causes)
        return Card(text, True, parts_of(answer))

    def _known(self, with_data: bool = True) -> tuple[Facts, list[Cause]]:
        facts = self._session.facts()
        facts.with_data = with_data and not self._outlet.is_passed_on
        try:
            return facts, diagnose(facts)
        except Exception:  # the facts are reported without a cause
            return facts, []

    def _whose(self) -> str:
        trial = self._session.trial
        if trial is None:
            name = clean(self._session.run)
            return spoken_name(name) if name else "the training"
        return trial_name(clean(trial.trial_id, 40), trial.number)

    def _see(self) -> list[str]:
        if self._outlet.is_passed_on:
            return [
                self.see(),
                f"%tensorboard --logdir {self._place}   (%load_ext tensorboard first)",
            ]
        serve = f"tensorboard --logdir {self._place}"
        fits = len(serve) + len(LINK) <= _ROOM
        return [self.see(), *([f"{serve}   {LINK}"] if fits else [serve, LINK])]

    def _text_of_trial(
        self, answer: Answer, facts: Facts, causes: Sequence[Cause]
    ) -> str:
        active = [h for h in facts.hparams if h.active]
        about = causes[0].about if causes else None
        said = f"{answer.why} {answer.fix}"
        shown = concerned_first(active, about, said)[:_MAX_HPARAMS]
        values = ", ".join(
            f"{clean(h.name, 40)} {clean(_value(h.value), 40)}" for h in shown
        )
        values = f" ({values})" if values else ""
        sure = f" ({answer.sure})" if answer.sure else ""
        cause = clean(answer.cause, 200)
        return f"{self._whose()} {answer.happened}{values}: {cause}{sure}."

    def _text_of_clean(self, facts: Facts) -> str:
        steps = facts.steps
        if not steps:
            return NO_STEP
        tensors = len(self._session.recorder.probes("train"))
        told = f"{counted(steps, 'step')}, {counted(tensors, 'tensor')}"
        if facts.status == "contained":
            return (
                f"{self._whose()}: some values were NaN or Inf, but none reached "
                f"a loss or a weight ({told}). {self.see()}"
            )
        return f"All finite: {told}."

    def _steps_after(self, facts: Facts) -> int:
        return max(0, facts.steps - facts.onset.step - 1) if facts.onset else 0


def _label(facts: Facts, causes: list[Cause]) -> str:
    answer = answer_of(facts, causes)
    return answer.cause if answer is not None and answer.sure else ""


def _cause_text(causes: list[Cause]) -> str:
    if not causes or causes[0].id == "unknown":
        return ""
    name = causes[0].id.replace("_", " ")
    tested = causes[0].sure == "tested"
    said = f"Cause: {name} (tested)" if tested else f"Likely cause: {name}"
    return f"{said}. {causes[0].fix}"


def _value(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
