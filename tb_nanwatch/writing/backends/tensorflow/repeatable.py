# SPDX-License-Identifier: Apache-2.0
"""Whether a step can be run a second time and leave no trace: read from its graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import tensorflow as tf

# What only looks at a variable, or hands it on unchanged.
_READS: Final = frozenset(
    ("Identity", "ReadVariableOp", "ResourceGather", "ResourceGatherNd")
)
# What a second run does twice (it prints, writes, calls Python), or does otherwise (it draws
# from a state of its own). The names of operations begin so.
_ONCE: Final = (
    *("EagerPyFunc", "Multinomial", "ParameterizedTruncated", "Print", "PyFunc"),
    *("Random", "RngRead", "Summary", "TruncatedNormal", "Write"),
)
# They begin as one of those does, and have no state. So the probes' own functions are run.
_HARMLESS: Final = ("PyFuncStateless", "RandomDataset", "RandomIndexShuffle")


def is_repeatable(graph: Any, variables: Iterable[Any], own: Iterable[Any] = ()) -> bool:
    """Returns whether a step changes nothing but variables that are known.

    Args:
        graph: of the step.
        variables: Keras variables whose values are put back after a second run.
        own: TensorFlow's variables that the probes added to it.
    """
    known = {id(getattr(v.value, "handle", None)) for v in variables}
    known |= {id(variable.handle) for variable in own}
    for outside, inside in graph.captures:
        if inside.dtype != tf.resource or id(outside) in known:
            continue
        if any(op.type not in _READS for op in inside.consumers()):
            return False
    return not any(_is_once(name) for name in _operations(graph))


def _is_once(name: str) -> bool:
    return name.startswith(_ONCE) and not name.startswith(_HARMLESS)


def _operations(graph: Any) -> Iterator[str]:
    """Yields the types of a graph's operations, those of functions within included."""
    definition = graph.as_graph_def()
    for nodes in (definition.node, *(f.node_def for f in definition.library.function)):
        yield from {node.op for node in nodes}
