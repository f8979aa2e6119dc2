# SPDX-License-Identifier: Apache-2.0
"""The calls to TensorBoard's data provider; no other module calls it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from tensorboard import errors as tb_errors
from tensorboard.data import provider as tb_provider
from tensorboard.util import tb_logging

from tb_nanwatch.reading.log import unwatched
from tb_nanwatch.reading.log.records import belongs

logger = tb_logging.get_logger()

# The provider keeps this many records of a tag: more than any tag can hold, so that
# nothing is dropped here whatever the loader kept.
KEEP_ALL: Final = 2**31 - 1

Listing = dict[str, dict[str, Any]]


class Parallel:
    """Makes several calls at once, in threads: each waits for the data server, not for Python."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def __call__(self, *calls: Callable[[], Any]) -> list[Any]:
        """Returns the results of the calls, in their order."""
        if len(calls) < 2:
            return [call() for call in calls]
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(4, thread_name_prefix="nanwatch")
        futures = [self._pool.submit(call) for call in calls]
        return [future.result() for future in futures]


@dataclass(frozen=True)
class ProvidedExperiment:
    """One experiment of a data provider, for one request.

    Attributes:
        provider: a `tensorboard.data.provider.DataProvider`.
        ctx: the `RequestContext`.
        experiment_id: TensorBoard's; "" for a local log directory.
    """

    provider: Any
    ctx: Any
    experiment_id: str

    def list(self, plugin: str) -> Listing:
        """Returns the time series of the records that are stored under a plugin's name."""
        listing = self.provider.list_tensors(
            self.ctx, experiment_id=self.experiment_id, plugin_name=plugin
        )
        return {
            run: {tag: s for tag, s in tags.items() if belongs(tag, plugin)}
            for run, tags in listing.items()
        }

    def list_hparams(self) -> Listing:
        """Returns the time series of the HParams plugin."""
        return self.provider.list_tensors(  # type: ignore[no-any-return]
            self.ctx,
            experiment_id=self.experiment_id,
            plugin_name=unwatched.HPARAMS_PLUGIN,
        )

    def list_scalars(self, runs: Listing) -> Listing:
        """Returns the scalars below trainings that were not watched."""
        if not runs:
            return {}  # as nearly always: nothing more is asked for
        listing = self.provider.list_scalars(
            self.ctx,
            experiment_id=self.experiment_id,
            plugin_name=unwatched.SCALARS_PLUGIN,
        )
        return unwatched.scalars_of(listing, runs)

    def read_scalars(self, runs: Collection[str], tags: Iterable[str]) -> Any:
        """Returns all that was kept of scalars, by run and tag."""
        return self.provider.read_scalars(
            self.ctx,
            experiment_id=self.experiment_id,
            plugin_name=unwatched.SCALARS_PLUGIN,
            downsample=KEEP_ALL,
            run_tag_filter=tb_provider.RunTagFilter(runs=runs, tags=set(tags)),
        )

    def read(
        self, plugin: str, runs: Sequence[str], tags: Iterable[str]
    ) -> tuple[Listing, dict[str, str]]:
        """Returns the data, and the problem of each run that cannot be read.

        One tensor that TensorBoard cannot parse fails the whole call; the runs are
        then read in halves, so that one bad run does not hide the others.
        """
        if not runs:
            return {}, {}
        try:
            data = self.provider.read_tensors(
                self.ctx,
                experiment_id=self.experiment_id,
                plugin_name=plugin,
                downsample=KEEP_ALL,
                run_tag_filter=tb_provider.RunTagFilter(runs=set(runs), tags=set(tags)),
            )
            return data, {}
        except tb_errors.PublicError:
            raise  # access denied, or an unknown experiment: no run's fault
        except Exception as e:
            if len(runs) == 1:
                logger.warning("NaN Watch cannot read run %r: %s", runs[0], e)
                return {}, {runs[0]: f"{type(e).__name__}: {e}"[:300]}
        half = len(runs) // 2
        data = {}
        failed: dict[str, str] = {}
        for part in (runs[:half], runs[half:]):
            d, f = self.read(plugin, part, tags)
            data |= d
            failed |= f
        return data, failed
