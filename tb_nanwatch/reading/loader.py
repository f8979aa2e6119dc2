"""The entry point that TensorBoard loads.

Free of dependencies beyond TensorBoard's own base class: an exception in this
module or in `fix_flags` stops all of TensorBoard, not just this plugin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensorboard.plugins import base_plugin
from tensorboard.util import tb_logging

from tb_nanwatch.metadata import PLUGIN_NAME, STATUS_PLUGIN_NAME

logger = tb_logging.get_logger()

# 0 keeps every record: sampling would drop the very steps that are looked for.
# Status records are cumulative, so the newest is all that is needed.
_SAMPLES = {PLUGIN_NAME: 0, STATUS_PLUGIN_NAME: 1}


class NanWatchLoader(base_plugin.TBLoader):
    """Sets the flags that keep records from being lost, and loads the plugin."""

    def fix_flags(self, flags: Any) -> None:
        """Fills in flags that the user has not chosen; never raises.

        `samples_per_plugin` is made to keep all of our records, and
        `reload_multifile` is turned on: without it the Python loader polls only the
        newest event file of a run, and another writer in the same directory (such
        as the HParams callback) would silence ours.
        """
        try:
            samples = _parse_samples(getattr(flags, "samples_per_plugin", None))
            if samples is not None:
                # A new dict: the caller's own object is not ours to change.
                flags.samples_per_plugin = {**_SAMPLES, **samples}
            if getattr(flags, "reload_multifile", None) is None:
                flags.reload_multifile = True
        except Exception:
            logger.warning(
                "NaN Watch could not adjust TensorBoard's flags; records may be "
                "sampled. Pass --samples_per_plugin=%s=0 to keep them all.",
                PLUGIN_NAME,
                exc_info=True,
            )

    def load(self, context: Any) -> Any:
        """Returns the plugin, or None (with one error logged) if it cannot load."""
        try:
            from tb_nanwatch.reading.plugin import NanWatchPlugin

            plugin = NanWatchPlugin(context)
            plugin.warm_up()
            return plugin
        except Exception as e:
            logger.error(
                "The NaN Watch tab is not available: %s: %s. TensorBoard goes on "
                "without it; reinstalling tb-nanwatch may help.",
                type(e).__name__,
                e,
            )
            return None


def _parse_samples(value: Any) -> dict[str, Any] | None:
    """Returns the user's choices, or None where they cannot be understood.

    Through keyword arguments (notebooks, `program.configure`) the flag arrives
    unparsed: as the string that would stand on the command line, or as None.
    """
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, str):
        samples = {}
        for token in filter(None, (t.strip() for t in value.split(","))):
            name, equals, count = token.partition("=")
            if not equals or not count.strip().isdecimal():
                return None  # TensorBoard will complain about it in its own words
            samples[name.strip()] = int(count)
        return samples
    return None
