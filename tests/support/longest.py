"""Which test files take longest: they begin first, so that none runs on alone at the end.

Processes take a file each at a time. Half a minute and more, on a process of two cores.
"""

from __future__ import annotations

from typing import Final

LONGEST: Final = (
    "tests/packaging/test_demo.py",
    "tests/writing/test_fault_injection.py",
    "tests/writing/test_coverage.py",
    "tests/writing/test_guard.py",
    "tests/guides/test_architectures.py",
    "tests/peers/test_peers.py",
    "tests/corpus/test_corpus.py",
    "tests/guides/test_trainings.py",
    "tests/tuner/test_distributed.py",
    "tests/browser/test_tab.py",
    "tests/writing/test_capture.py",
    "tests/guides/test_searches.py",
    "tests/identity/test_eager.py",
    "tests/browser/test_live.py",
    "tests/identity/test_graph.py",
    "tests/backends/test_faults.py",
    "tests/browser/test_outcomes.py",
    "tests/writing/test_experiments.py",
    "tests/hostile/test_long.py",
    "tests/writing/test_callback.py",
    "tests/browser/test_wide_search.py",
    "tests/identity/test_xla.py",
    "tests/writing/test_proofs.py",
    "tests/hostile/test_crashes.py",
    "tests/tuner/test_aborted.py",
    "tests/tuner/test_identity.py",
)


def place(node_id: str) -> int:
    """Returns a test's place by its file: those that are not listed come last."""
    name = node_id.partition("::")[0]
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)
