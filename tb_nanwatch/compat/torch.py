# SPDX-License-Identifier: Apache-2.0
"""PyTorch's private names."""

from __future__ import annotations

from typing import Any, Final

from tb_nanwatch.compat.names import Attribute, Feature, Global

_DISPATCH: Final = Global(
    "torch.utils._python_dispatch", "TorchDispatchMode", Feature.POST_MORTEM
)
_BACKWARD_NODE: Final = Global("torch", "_C._current_autograd_node", Feature.POST_MORTEM)
_TRACEBACK: Final = Attribute("", "traceback_", Feature.POST_MORTEM, "torch")


def dispatch_mode() -> Any:
    """Returns the class whose subclasses see every operation that runs within them.

    Raises:
        MissingError: of `Feature.POST_MORTEM`.
    """
    return _DISPATCH.find()


def backward_node() -> Any:
    """Returns the autograd node that runs on this thread now, None in a forward pass.

    Raises:
        MissingError: of `Feature.POST_MORTEM`.
    """
    return _BACKWARD_NODE.find()()


def forward_stack(node: Any) -> list[str]:
    """Returns the stack in which a node's forward operation was called.

    Args:
        node: made while `torch.autograd.set_detect_anomaly` was in force.

    Returns:
        Entries as of `traceback.format_stack`, the innermost one last.
    """
    found: list[str] = node.metadata.get(_TRACEBACK.name, [])
    return found
