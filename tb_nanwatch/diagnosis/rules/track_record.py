# SPDX-License-Identifier: Apache-2.0
"""What was right at the first run on the programs after public reports; docs/public.md.

Made by `python -m tests.public.run --page`, of tests/public/results.json.
"""

from __future__ import annotations

from typing import Final

# By the cause's family and how sure it was: in how many programs it was right, of those in
# which one was named.
FIRST_RUNS: Final[dict[tuple[str, str], tuple[int, int]]] = {
    ("data", "likely"): (6, 6),
    ("data", "tested"): (2, 2),
    ("domain", "likely"): (17, 18),
    ("domain", "tested"): (17, 18),
    ("domain", "unclear"): (2, 2),
    ("other", "likely"): (9, 9),
    ("other", "tested"): (8, 8),
    ("other", "unclear"): (1, 1),
}
