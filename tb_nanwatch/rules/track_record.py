"""What was right at the first run on the programs after public reports; docs/public.md.

Made by `python -m tests.public.run --page`, of tests/public/results.json.
"""

from __future__ import annotations

from typing import Final

# By the cause's family and how sure it was: in how many programs it was right, of those in
# which one was named.
FIRST_RUNS: Final[dict[tuple[str, str], tuple[int, int]]] = {
    ("data", "likely"): (5, 5),
    ("data", "tested"): (1, 1),
    ("domain", "likely"): (12, 13),
    ("domain", "tested"): (7, 8),
    ("domain", "unclear"): (1, 1),
    ("other", "likely"): (7, 7),
    ("other", "tested"): (2, 2),
    ("other", "unclear"): (1, 1),
}
