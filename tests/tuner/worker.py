"""One process of a distributed search: KERASTUNER_* in its environment say which.

python worker.py DIRECTORY [MAX_CONSECUTIVE_FAILED_TRIALS]
"""

from __future__ import annotations

import pathlib
import sys
import time

from tb_nanwatch import NanWatch
from tests.tuner.searches import make, search, with_rates

path = pathlib.Path(sys.argv[1])
limit = int(sys.argv[2])
rates = [1e8, 1e9, 1e10, 1e11] if limit < 4 else [0.01, 1e8, 0.02, 1e9, 0.03, 1e10]
tuner = make(
    "RandomSearch",
    with_rates(*rates),
    path,
    max_trials=len(rates),
    max_consecutive_failed_trials=limit,
)
if "chief" not in tuner.tuner_id:  # both workers begin together, and share the trials
    (path / f"{tuner.tuner_id}.ready").touch()
    deadline = time.monotonic() + 120
    while len(list(path.glob("*.ready"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
search(tuner, NanWatch(path / "log"), batch_size=8, epochs=2)
