# SPDX-License-Identifier: Apache-2.0
"""TensorBoard's private names.

Names that TensorBoard's guide for plugin authors or its example plugins import are not private.
"""

from __future__ import annotations

import sys
import types
from typing import Any, Final

from tb_nanwatch.compat.names import Feature, Global

_EVENT: Final = Global("tensorboard.compat.proto.event_pb2", "Event", Feature.WATCHING)
_GFILE: Final = Global(
    "tensorboard.compat.tensorflow_stub.io.gfile", "", Feature.REMOTE_LOGS
)
_SESSION_START: Final = Global(
    "tensorboard.plugins.hparams.summary_v2", "hparams_pb", Feature.HPARAMS_WRITTEN
)
# Not `summary.session_end_pb`, which imports TensorFlow and makes the same of these.
_SUMMARY: Final = Global(
    "tensorboard.plugins.hparams.summary_v2", "_summary_pb", Feature.HPARAMS_WRITTEN
)
_SESSION_END: Final = Global(
    "tensorboard.plugins.hparams.plugin_data_pb2",
    "SessionEndInfo",
    Feature.HPARAMS_WRITTEN,
)
_SCALAR: Final = Global(
    "tensorboard.plugins.scalar.summary_v2", "scalar_pb", Feature.HPARAMS_WRITTEN
)
_SESSION_END_TAG: Final = Global(
    "tensorboard.plugins.hparams.metadata",
    "SESSION_END_INFO_TAG",
    Feature.HPARAMS_WRITTEN,
)
_PLUGIN_DATA_WRITTEN: Final = Global(
    "tensorboard.plugins.hparams.plugin_data_pb2",
    "HParamsPluginData",
    Feature.HPARAMS_WRITTEN,
)
_STATUS: Final = Global(
    "tensorboard.plugins.hparams.api_pb2", "Status", Feature.HPARAMS_WRITTEN
)
_PLUGIN_DATA: Final = Global(
    "tensorboard.plugins.hparams.plugin_data_pb2",
    "HParamsPluginData",
    Feature.HPARAMS_READ,
)
_STATUS_READ: Final = Global(
    "tensorboard.plugins.hparams.api_pb2", "Status", Feature.HPARAMS_READ
)
_PROVIDER: Final = Global(
    "tensorboard.backend.event_processing.data_provider",
    "MultiplexerDataProvider",
    Feature.LOGS,
)
_MULTIPLEXER: Final = Global(
    "tensorboard.backend.event_processing.plugin_event_multiplexer",
    "EventMultiplexer",
    Feature.LOGS,
)
_TENSORS: Final = Global(
    "tensorboard.backend.event_processing.tag_types", "TENSORS", Feature.LOGS
)
# By a module of this name TensorBoard's builds without TensorFlow ask for its own layer.
_WITHOUT_TENSORFLOW: Final = "tensorboard.compat.notf"


def event(wall_time: float, **fields: Any) -> Any:
    """Returns an event, as event files hold them.

    Raises:
        MissingError: of `Feature.WATCHING`.
    """
    return _EVENT.find()(wall_time=wall_time, **fields)


def gfile() -> Any:
    """Returns TensorBoard's own layer of file systems.

    Raises:
        MissingError: of `Feature.REMOTE_LOGS`.
    """
    return _GFILE.find()


def session_start(values: dict[str, Any], trial_id: str | None, started: float) -> Any:
    """Returns the summary with which the HParams tab lists a training.

    Raises:
        MissingError: of `Feature.HPARAMS_WRITTEN`.
    """
    return _SESSION_START.find()(values, trial_id=trial_id, start_time_secs=started)


def session_end(good: bool, ended: float) -> Any:
    """Returns the summary that ends it.

    Raises:
        MissingError: of `Feature.HPARAMS_WRITTEN`.
    """
    status = _STATUS.find().Value("STATUS_SUCCESS" if good else "STATUS_FAILURE")
    end = _SESSION_END.find()(status=status, end_time_secs=ended)
    data = _PLUGIN_DATA_WRITTEN.find()(session_end_info=end)
    return _SUMMARY.find()(_SESSION_END_TAG.find(), data)


def scalar(tag: str, value: float, description: str) -> Any:
    """Returns the summary of one number, which the HParams tab shows as a metric.

    Raises:
        MissingError: of `Feature.HPARAMS_WRITTEN`.
    """
    return _SCALAR.find()(tag, value, description=description)


def hparams_data(content: bytes) -> Any:
    """Returns the HParams plugin's data of a summary; empty where it holds none.

    Raises:
        MissingError: of `Feature.HPARAMS_READ`.
        DecodeError: the content is damaged.
    """
    return _PLUGIN_DATA.find().FromString(content)


def is_failure(status: int) -> bool:
    """Returns whether a session's end in the HParams plugin's data is a failure.

    Raises:
        MissingError: of `Feature.HPARAMS_READ`.
    """
    return bool(status == _STATUS_READ.find().Value("STATUS_FAILURE"))


def multiplexer(sizes: dict[str, int]) -> Any:
    """Returns TensorBoard's loader of event files, set to read every file of a run.

    Of tensors it keeps one a tag, but as many as `sizes` says of the plugins in it; 0 is
    all of them.

    Raises:
        MissingError: of `Feature.LOGS`.
    """
    return _MULTIPLEXER.find()(
        size_guidance={_TENSORS.find(): 1},
        tensor_size_guidance=sizes,
        # Another writer's restart in the same directory must not erase our records.
        purge_orphaned_data=False,
        # Every file of a run, not just the newest.
        event_file_active_filter=lambda timestamp: True,
    )


def provider(loaded: Any, logdir: str) -> Any:
    """Returns TensorBoard's data provider over a multiplexer.

    Raises:
        MissingError: of `Feature.LOGS`.
    """
    return _PROVIDER.find()(loaded, logdir)


def avoid_tensorflow() -> None:
    """Makes TensorBoard use its own file layer in this process.

    Does nothing where TensorFlow is loaded, or where the name has lost its meaning:
    TensorBoard then imports TensorFlow, which takes seconds.
    """
    name = _WITHOUT_TENSORFLOW
    if "tensorflow" not in sys.modules and name not in sys.modules:
        sys.modules[name] = types.ModuleType(name)
