"""What the tests have to say once they are over."""

from __future__ import annotations

import pytest
from hypothesis import settings

# On a busy machine one example may take any time.
settings.register_profile("nanwatch", deadline=None)
settings.load_profile("nanwatch")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what the fault-injection campaign scored, whichever process ran it."""
    scores = [
        value
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if getattr(report, "when", None) == "call"
        for name, value in report.user_properties
        if name == "score"
    ]
    if scores:
        terminalreporter.section("faults recovered")
        for line in scores:
            terminalreporter.write_line(str(line))
