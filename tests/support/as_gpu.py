"""Runs a program as where Keras sees a GPU: `python -m tests.support.as_gpu PROGRAM`."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from tests.support.gpu_default import gpu_default

if __name__ == "__main__":
    del sys.argv[0]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    with gpu_default():
        runpy.run_path(sys.argv[0], run_name="__main__")
