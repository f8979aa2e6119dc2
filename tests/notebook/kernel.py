"""A real Jupyter kernel that runs a notebook, as a notebook's own program does."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tb_nanwatch
from tests.conftest import missing

_HOME = Path(tb_nanwatch.__file__).parents[1]


def kernel() -> tuple[Any, Callable[..., None]]:
    """Returns nbformat, and what runs a notebook in a directory; skips without them."""
    try:
        import ipykernel  # noqa: F401
        import nbformat
        from nbclient import NotebookClient
    except ImportError:
        missing("no Jupyter kernel is installed: pip install nbclient ipykernel")

    def run(notebook: Any, place: Path, *, allow_errors: bool = False) -> None:
        # The kernel runs elsewhere, and takes this very package.
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_HOME), before]))
        try:
            NotebookClient(
                notebook,
                timeout=300,
                allow_errors=allow_errors,
                kernel_name="python3",
                resources={"metadata": {"path": str(place)}},
            ).execute()
        finally:
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before

    return nbformat, run
