"""Trials that an exception ended, and what it said; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.record.schema import BAD_STATUSES
from tb_nanwatch.wording.messages import of_exception, of_traceback

# Exceptions of one search that the verdict quotes, and messages of one of them.
_MAX_TOLD = 3
_INTERRUPTED = "KeyboardInterrupt"
_INTERRUPTED_TEXT = "it was interrupted by hand (KeyboardInterrupt)."
# How NanWatch's own message begins, of a run whose status says as much.
_OWN = "NaN Watch: "


def failure(session: Session) -> str | None:
    """Returns "ValueError: no data" of a run that an exception ended, else None."""
    if session.state != "failed":
        return None
    status, trial = session.status, session.trial
    said = None
    if status.error_type:
        said = of_exception(status.error_type, status.error_message or "")
        if said != of_exception(status.error_type, ""):
            return said
    if trial is not None and trial.message:
        # A long message may have been cut before what it says.
        return of_traceback(trial.message) or said
    return said


def failure_text(session: Session) -> str | None:
    """Returns the same as a sentence, None where the run's row says it already."""
    said = failure(session)
    if said is None or _OWN in said:
        return None
    return _INTERRUPTED_TEXT if said == _INTERRUPTED else f"it failed with {said}"


def unwatched_text(session: Session) -> str | None:
    """Returns why a run was not watched, as a sentence; None where it was, or failed."""
    why = session.status.why_unwatched
    if session.status.status != "unwatched" or not why:
        return None
    return f"it was not watched: {why}."


def reasons_text(trials: Iterable[Sequence[Session]]) -> str:
    """Returns why trials were not watched, the most frequent reason first; "" for none.

    Args:
        trials: the deciding sessions of each that was not, and did not fail.
    """
    groups = list(trials)
    counts = Counter(
        why
        for group in groups
        if (why := next((s.status.why_unwatched for s in group), ""))
    )
    return " ".join(
        f"Why: {why}." if n == len(groups) else f"{n} of them: {why}."
        for why, n in counts.most_common(_MAX_TOLD)
    )


def failures_text(trials: Iterable[Sequence[Session]]) -> str:
    """Returns how many trials an exception ended that had not gone bad, and which.

    Args:
        trials: the deciding sessions of each.

    Returns:
        A sentence for each type of exception, the most frequent first; "" for none.
    """
    found: dict[str, list[str]] = {}
    for group in trials:
        if any(s.status.status in BAD_STATUSES for s in group):
            continue
        said = next(filter(None, map(failure, group)), None)
        if said is not None:
            found.setdefault(said.partition(": ")[0], []).append(said)
    kinds = sorted(found.items(), key=lambda item: -len(item[1]))
    sentences = [
        f"{len(said)} {'was' if len(said) == 1 else 'were'} interrupted by hand."
        if kind == _INTERRUPTED
        else f"{len(said)} failed with {kind}, not by going bad{_messages(said)}."
        for kind, said in kinds[:_MAX_TOLD]
    ]
    rest = sum(len(said) for _, said in kinds[_MAX_TOLD:])
    if rest:
        sentences.append(f"{rest} failed with other exceptions.")
    return " ".join(sentences)


def _messages(said: Sequence[str]) -> str:
    """Returns ": no data" of exceptions of one type, with counts where messages differ."""
    counts = Counter(one.partition(": ")[2].rstrip(".") for one in said)
    if len(counts) == 1:
        (message,) = counts
        return f": {message}" if message else ""
    told = counts.most_common(_MAX_TOLD)
    parts = [f"{message or 'no message'} ({n} of them)" for message, n in told]
    rest = len(said) - sum(n for _, n in told)
    if rest:
        parts.append(f"other messages ({rest})")
    return f": {'; '.join(parts)}"
