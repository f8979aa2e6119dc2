# SPDX-License-Identifier: Apache-2.0
"""`tb-nanwatch replay`: the failing step of a capsule, run again in a new process."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from tb_nanwatch.errors import CapsuleError
from tb_nanwatch.postmortem.capsule import NO_BATCH, Capsule
from tb_nanwatch.record.schema import BadTensor, PostMortem
from tb_nanwatch.wording.text import clean

if TYPE_CHECKING:  # Keras is imported once it is known for which backend
    from tb_nanwatch.writing.backends.interface import Backend
    from tb_nanwatch.writing.backends.seen import Seen

# By Keras' name for it: what it is called, and the extra that installs it.
_BACKENDS: Final = {
    "tensorflow": ("TensorFlow", "train"),
    "torch": ("PyTorch", "torch"),
    "jax": ("JAX", "jax"),
}
# Seconds that are spent on what would have kept the step finite.
_MAX_SECONDS: Final = 60.0


@dataclass
class Replay:
    """The result of a replay.

    Attributes:
        capsule: its directory.
        where: the step, in words.
        origin: the first bad tensor, as recorded.
        compiled_same: the step, compiled where it was, went bad in the same tensors with the same
            counts.
        compiled: in words.
        bitwise: of the compared sums, how many are the same bit for bit. compared:
            how many there were.
        postmortem: of the run operation by operation.
        notes: what was missing, a sentence each.
    """

    capsule: str
    where: str
    origin: BadTensor
    compiled_same: bool = False
    compiled: str = ""
    bitwise: int = 0
    compared: int = 0
    postmortem: PostMortem = field(default_factory=PostMortem)
    notes: list[str] = field(default_factory=list)


def replay(
    directory: str | os.PathLike[str], function: str | None = None, attempt: bool = False
) -> Replay:
    """Runs the step of a capsule, first as in training, then operation by operation.

    Args:
        directory: the capsule's.
        function: "module:function" that makes the model; see `rebuild.model_of`.
        attempt: also try what would have kept it finite.

    Raises:
        CapsuleError: the capsule is invalid, or its model cannot be made.
    """
    capsule = Capsule.read(directory)
    if not capsule.has_batch:
        raise CapsuleError(f"the capsule's step cannot be run again: {NO_BATCH}")
    backend = _backend_of(capsule)
    from tb_nanwatch.postmortem import rebuild, state

    model = rebuild.model_of(capsule, function)
    p = capsule.position
    found = Replay(
        os.fspath(directory),
        f"{capsule.run + ', ' if capsule.run else ''}{p.phase}, epoch {p.epoch + 1}, "
        f"batch {p.batch + 1} (step {p.step})",
        capsule.origin,
        notes=list(capsule.missing),
    )
    for name in (capsule.backend, "keras"):
        here = str(getattr(sys.modules.get(name), "__version__", ""))
        then = capsule.versions.get(name, here)
        if then != here:
            found.notes.append(
                f"The step was recorded with {name} {then}; this is {here}."
            )
    capsule = state.renamed(model, capsule)
    for seen in backend.runs(model, capsule):
        _compare(found, capsule, seen)
        if found.compiled_same and found.bitwise == found.compared:
            break
    found.notes += [f"{m}." for m in seen.missing]
    seconds = _MAX_SECONDS if attempt else 0.0
    found.postmortem = backend.examine(model, capsule, seconds=seconds)
    return found


def _backend_of(capsule: Capsule) -> Backend:
    """Returns the backend that recorded a capsule, on which Keras runs from then on.

    Raises:
        CapsuleError: Keras runs on another one already, or it is not installed.
    """
    if capsule.backend not in _BACKENDS:
        raise CapsuleError(
            f"the capsule was recorded on Keras' backend {capsule.backend!r:.40}; expected "
            f"one of {', '.join(_BACKENDS)}"
        )
    called, extra = _BACKENDS[capsule.backend]
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = capsule.backend
    try:
        import keras

        from tb_nanwatch.writing.backends import chosen

        now = keras.backend.backend()
        if now != capsule.backend:
            raise CapsuleError(
                f"the capsule was recorded on {called}, and Keras runs here on "
                f"{_BACKENDS.get(now, (now,))[0]}; replay it in a process of its own, with "
                f"KERAS_BACKEND={capsule.backend}"
            )
        return chosen.backend()
    except ImportError as e:
        raise CapsuleError(
            f"replay needs {called} and Keras ({e}); install them with pip install "
            f'"tb-nanwatch[{extra}]"'
        ) from e


def _compare(found: Replay, capsule: Capsule, seen: Seen) -> None:
    def counts(bad: list[BadTensor]) -> dict[tuple[str, str], tuple[int, int, int]]:
        return {(b.kind, b.name): (b.num_nan, b.num_pos_inf, b.num_neg_inf) for b in bad}

    then, now = counts(capsule.bad), counts(seen.bad)
    origin = capsule.origin
    key = (origin.kind, origin.name)
    found.compiled_same = then.get(key) == now.get(key) and key in now
    others = sum(now.get(k) != v for k, v in then.items() if k != key)
    sums = {(s.kind, s.name): s.value for s in seen.sums}
    if not any(v.role == "metric" and v.value is not None for v in capsule.variables):
        # A metric's result is of the epoch so far, which is not in the capsule.
        sums = {key: value for key, value in sums.items() if key[0] != "metric"}
    pairs = [
        (np.float32(s.value), np.float32(sums[(s.kind, s.name)]))
        for s in capsule.sums
        if (s.kind, s.name) in sums
    ]
    found.compared = len(pairs)
    found.bitwise = sum(
        a.tobytes() == b.tobytes() or bool(np.isnan(a) and np.isnan(b)) for a, b in pairs
    )
    # PyTorch runs a step as it is called.
    step = "step" if capsule.backend == "torch" else "compiled step"
    if not found.compiled_same:
        found.compiled = f"the {step} did not go bad in this tensor with its counts"
        return
    found.compiled = f"the {step} went bad in the same tensor with the same counts"
    if others:
        found.compiled += f"; {others} of the other {len(then) - 1} bad tensors differ"
    if pairs:
        found.compiled += (
            f"; {found.bitwise} of {len(pairs)} tensors are the same bit for bit"
            if found.bitwise < len(pairs)
            else f"; all {len(pairs)} tensors are the same bit for bit"
        )


def text(found: Replay) -> str:
    """Returns a replay for people."""
    o = found.origin
    counts = ", ".join(
        f"{n:,} {word}"
        for n, word in (
            (o.num_nan, "NaN"),
            (o.num_pos_inf, "Inf"),
            (o.num_neg_inf, "-Inf"),
        )
        if n
    )
    lines = [
        f"Step: {clean(found.where)}",
        f"Recorded: {o.kind.replace('_', ' ')} {clean(o.name)}: {counts} of {o.size:,}",
        f"As in training: {clean(found.compiled)}.",
    ]
    pm = found.postmortem
    if pm.text:
        lines.append(f"Operation by operation: {clean(pm.text, 1000)}.")
        if pm.source is not None and pm.source.text:
            lines.append(f"    {clean(pm.source.text)}")
    else:
        lines.append(f"Operation by operation: {clean(pm.reason, 1000)}")
    if pm.experiments:
        lines.append("With one thing changed:")
        width = max(len(c.text) for c in pm.experiments)
        for c in pm.experiments:
            word = "finite" if c.finite else "went bad" if c.tried else "not tried"
            steps = f"{c.steps} step{'s' if c.steps != 1 else ''}, " if c.tried else ""
            lines.append(f"  {c.text.ljust(width)}  {word:9}  {steps}{clean(c.note)}")
    lines += [f"Note: {clean(note, 500)}" for note in found.notes]
    return "\n".join(lines)
