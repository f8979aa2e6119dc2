"""Event files: TensorFlow and TensorBoard read what is framed here, and no byte differs."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorboard.summary.writer.record_writer import RecordWriter

from tb_nanwatch.record.framing import framed


@pytest.mark.parametrize("size", [0, 1, 7, 8, 255, 4099])
def test_records_are_those_of_tensorboards_own_writer(size: int) -> None:
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
    out = io.BytesIO()
    RecordWriter(out).write(data)
    assert framed(data) == out.getvalue()


def test_writing_a_log_imports_no_layer_of_file_systems(tmp_path: Path) -> None:
    code = f"""
import sys
from tb_nanwatch.record import schema
from tb_nanwatch.writing.log.summary import EventWriter
writer = EventWriter({str(tmp_path)!r})
writer.write(schema.EventsRecord("0" * 32, 0, []))
writer.close()
heavy = {{"boto3", "fsspec", "tensorboard.compat.tensorflow_stub"}}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert len(list(tmp_path.iterdir())) == 1
