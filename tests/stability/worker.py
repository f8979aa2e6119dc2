"""One process of a distributed stability search: KERASTUNER_* say which.

python -m tests.stability.worker DIRECTORY
"""

from __future__ import annotations

import pathlib
import sys

from tb_nanwatch.errors import UnsupportedError
from tests.stability.test_search import make, run

path = pathlib.Path(sys.argv[1])
search = make(path, steps=8, max_trials=5, log_dir=path / "log")
run(search)
for ask in (search.report, search.stable_space, search.stable_code):
    try:
        ask()
    except UnsupportedError as e:
        print(f"{ask.__name__}: {e}")
