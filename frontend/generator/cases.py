# SPDX-License-Identifier: Apache-2.0
"""words.gen.json: what the server calls places and tensors, for the tests of the tab's words."""

from __future__ import annotations

import dataclasses
import itertools
import json

from tb_nanwatch.record.schema import (
    KINDS,
    PHASES,
    STATES,
    STATUSES,
    BadTensor,
    Position,
)
from tb_nanwatch.wording.places import position_text, probe_text, short_text, tensor_text
from tb_nanwatch.wording.statuses import status_text

_NAMES = ("", "dense_2/kernel", "bn/mean", "loss", "activation", "sample weight")
_COUNTS = ((0, 0, 0), (3, 0, 0), (3, 12, 0), (0, 1200, 1), (3, 12, 1))


def generate() -> str:
    """Returns the file: of each function the arguments, and what the server says."""
    places = [
        Position(phase, step, epoch, batch)
        for phase in PHASES
        for step, epoch, batch in ((0, 0, 0), (37, 0, 2), (1_234_567, 1099, 1037))
    ]
    tensors = [
        BadTensor("layer_state", "bn/mean", *counts, size=size)
        for counts, size in itertools.product(_COUNTS, (0, 2048))
    ]
    cases = {
        "position": [[dataclasses.asdict(p), position_text(p)] for p in places],
        "shortPosition": [[dataclasses.asdict(p), short_text(p)] for p in places],
        "tensor": [[k, n, probe_text(k, n)] for k in KINDS for n in _NAMES],
        "counts": [[dataclasses.asdict(t), tensor_text(t)] for t in tensors],
        "status": [[s, t, status_text(s, t)] for s in STATUSES for t in STATES],
    }
    return json.dumps(cases, indent=1) + "\n"
