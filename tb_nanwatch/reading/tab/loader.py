# SPDX-License-Identifier: Apache-2.0
"""The entry point that TensorBoard loads.

Free of dependencies beyond TensorBoard's own base class: an exception in this
module or in `fix_flags` stops all of TensorBoard, not just this plugin.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from tensorboard.plugins import base_plugin
from tensorboard.util import tb_logging

from tb_nanwatch.record.metadata import PLUGIN_NAME, STATUS_PLUGIN_NAME
from tb_nanwatch.wording.text import shell_word

logger = tb_logging.get_logger()

# 0 keeps every record: sampling would drop the very steps that are looked for.
# Status records are cumulative, so the newest is all that is needed.
_SAMPLES = {PLUGIN_NAME: 0, STATUS_PLUGIN_NAME: 1}

_READ_BY_TENSORFLOW = ("gs", "file", "ram")


class NanWatchLoader(base_plugin.TBLoader):
    """Sets the flags that keep records from being lost, and loads the plugin."""

    def fix_flags(self, flags: Any) -> None:
        """Fills in flags that the user has not chosen; never raises.

        Says so where TensorBoard will not be able to read the log directory: what it
        says itself then sends people to a package that no longer helps.

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
            _warn_of_remote(getattr(flags, "logdir", None))
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
            from tb_nanwatch.reading.tab.plugin import NanWatchPlugin

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


def _warn_of_remote(logdir: Any) -> None:
    """Warns of a log directory that TensorBoard cannot read while TensorFlow is installed."""
    scheme, found, _ = str(logdir or "").partition("://")
    if not found or scheme in _READ_BY_TENSORFLOW:
        return
    if find_spec("tensorflow") is None or find_spec("tensorflow_io") is not None:
        return
    logger.warning(
        "With TensorFlow installed, TensorBoard cannot read %s://. Start it in an "
        "environment without TensorFlow, made with: pip install tb-nanwatch %s. Here, "
        "`tb-nanwatch report %s` reads it.",
        scheme,
        "boto3" if scheme == "s3" else "fsspec (and its driver)",
        shell_word(str(logdir)),
    )


def _parse_samples(value: Any) -> dict[str, Any] | None:
    """Returns the user's `samples_per_plugin` choices, or None where they cannot be parsed.

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
