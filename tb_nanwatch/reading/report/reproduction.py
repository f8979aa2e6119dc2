# SPDX-License-Identifier: Apache-2.0
"""A short script that runs the failing step of a trial again; pure.

Everything that comes from a log is written as a Python literal, or as a comment of one
line, so that no name in it can become code.
"""

from __future__ import annotations

import math

from tb_nanwatch.reading.log.session import Session
from tb_nanwatch.record.schema import JSONScalar
from tb_nanwatch.wording import reproduction_text as words
from tb_nanwatch.wording.places import position_text, tensor_text
from tb_nanwatch.wording.text import clean
from tb_nanwatch.wording.trial_names import trial_name


def script(session: Session) -> str | None:
    """Returns the script, None where the run left no capsule."""
    status, found = session.status, session.postmortem
    if found is None or not found.capsule or status.onset is None:
        return None
    what = "Run"
    if status.trial_id is not None:
        what = trial_name(status.trial_id, status.number)
    values = {h.name: h.value for h in status.hparams if h.active}
    lines = [f"    {name!r}: {_literal(value)},\n" for name, value in values.items()]
    return words.SCRIPT.format(
        title=clean(words.title_text(what, session.run)),
        onset=clean(position_text(status.onset)),
        origin=clean(tensor_text(status.origin)) if status.origin else "unknown",
        model=words.FROM_CODE.format(own=clean(", ".join(found.own_code)))
        if found.own_code
        else words.FROM_CAPSULE,
        found=f"# {clean(found.text)}\n" if found.text else "",
        capsule=repr(found.capsule),
        values="{\n" + "".join(lines) + "}" if lines else "{}",
    )


def _literal(value: JSONScalar) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    return repr(value)
