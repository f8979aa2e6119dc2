"""Runs a program and returns the facts that its log holds."""

from __future__ import annotations

import gc
import os
import tempfile
import warnings
from collections.abc import Sequence

import keras
from tensorboard.context import RequestContext

from tb_nanwatch import NanWatch
from tb_nanwatch.diagnosis.ranking import Cause, Facts
from tb_nanwatch.reading.log.causes import facts_in_full
from tb_nanwatch.reading.log.reader import Reader
from tb_nanwatch.reading.report.logs import make_provider
from tb_nanwatch.record.schema import BAD_STATUSES
from tests.corpus.programs import Program


def facts_from(program: Program) -> Facts:
    """Trains the program in a directory of its own and reads its log."""
    with tempfile.TemporaryDirectory() as folder:
        keras.backend.clear_session()
        with warnings.catch_warnings():
            # KerasTuner takes the minimum of scores that are all NaN.
            warnings.simplefilter("ignore", RuntimeWarning)
            program.fit([NanWatch(os.path.join(folder, "run"))])
        gc.collect()
        return read_facts(folder)


def name_of(facts: Facts, causes: Sequence[Cause]) -> str:
    """Returns the first cause, or the status of a run that did not go bad.

    Of a contained run of which a metric alone was not finite, the metric is rightly named.
    """
    if facts.status not in BAD_STATUSES and {c.id for c in causes} <= {"metric_domain"}:
        return facts.status
    return causes[0].id


def read_facts(folder: str) -> Facts:
    """Returns the facts of the one run below `folder`."""
    reader, ctx = Reader(make_provider(folder)), RequestContext()
    (session,) = reader.snapshot(ctx, "").sessions
    return facts_in_full(reader, ctx, "", session)
