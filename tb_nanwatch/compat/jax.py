# SPDX-License-Identifier: Apache-2.0
"""Private names of JAX, and those of Keras that only its JAX trainer has."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from types import CodeType, SimpleNamespace
from typing import Any, Final, NamedTuple

from tb_nanwatch.compat.names import Attribute, Feature, Global, MissingError

_MAKE_FUNCTION: Final = Attribute("a model", "_make_function", Feature.WATCHING, "keras")
_TRACE: Final = Attribute("a tracer", "_trace", Feature.LAYERS_ON_JAX, "jax")
_PRIMAL: Final = Attribute("a tracer of jax.grad", "primal", Feature.LAYERS_ON_JAX, "jax")
_VALUE: Final = Attribute("a variable", "_value", Feature.EXPERIMENTS_ON_JAX, "keras")
_NNX: Final = Global("keras.src.backend.config", "is_nnx_enabled", Feature.NNX, "keras")
# The class whose tracers belong to a function that is being compiled.
_VARIABLE: Final = Attribute("a tracer", "val", Feature.IMPLIED_ON_JAX, "jax")
_FRAME: Final = Attribute("a trace", "frame", Feature.IMPLIED_ON_JAX, "jax")
_EQUATIONS: Final = Attribute(
    "the frame of a trace", "get_eqns", Feature.IMPLIED_ON_JAX, "jax"
)
_CONSTANTS: Final = Attribute(
    "the frame of a trace", "constvar_to_val", Feature.IMPLIED_ON_JAX, "jax"
)
_STAGED: Final = Global(
    "jax._src.interpreters.partial_eval", "DynamicJaxprTracer", Feature.LAYERS_ON_JAX
)
# What the operators of a traced value call: "_truediv" for "/".
_VALUES: Final = Global("jax._src.core", "ShapedArray", Feature.EPSILON, "jax")
_DIVISIONS: Final = ("truediv", "rtruediv")


def trace_of(tracer: Any) -> Any:
    """Returns the trace that a tracer belongs to, None where that is not known."""
    return _TRACE.get(tracer, None)


class SoFar(NamedTuple):
    """A function that is being traced, so far.

    Attributes:
        equations: of what it has done.
        constants: values of variables that it was not given.
        trace: that makes them.
    """

    equations: list[Any]
    constants: dict[Any, Any]
    trace: Any

    def variable_of(self, tracer: Any) -> Any:
        """Returns the variable of a tracer; None where it is of no such function."""
        if trace_of(tracer) is not self.trace:
            return None
        variable = _VARIABLE.get(tracer, None)
        return None if hasattr(variable, "val") else variable  # a literal is none


def traced_so_far(trace: Any) -> SoFar | None:
    """Returns what a trace has recorded, None where that is not known."""
    try:
        frame = _FRAME.of(trace)
        return SoFar(_EQUATIONS.of(frame)(), dict(_CONSTANTS.of(frame)), trace)
    except MissingError as e:
        e.warn()
        return None


def value_of(variable: Any) -> Any:
    """Returns a Keras variable's value, None where a training has taken it out.

    The public property would make a new one there.

    Raises:
        MissingError: of `Feature.EXPERIMENTS_ON_JAX`.
    """
    return _VALUE.of(variable)


def put_back(variable: Any, value: Any) -> None:
    """Sets a Keras variable to what `value_of` returned, be that None."""
    setattr(variable, _VALUE.name, value)


def without_derivative(tracer: Any) -> Any:
    """Returns the plain value that a tracer of `jax.grad` stands for, without its derivative.

    It is the same number, computed by the function around: no tracer leaks with it.
    """
    staged = _STAGED.find()
    while hasattr(tracer, "aval") and not isinstance(tracer, staged):
        inner = getattr(tracer, _PRIMAL.name, None)
        if inner is None or inner is tracer:
            return tracer
        tracer = inner
    return tracer


def is_nnx() -> bool:
    """Returns whether Keras trains by Flax's NNX, which calls no method of an instance.

    A Keras without the name knows no NNX.
    """
    with contextlib.suppress(MissingError):
        return bool(_NNX.find()())
    return False


@contextlib.contextmanager
def divisions() -> Iterator[Any]:
    """Makes `/` on JAX's traced values call other functions until the block ends.

    Yields:
        What holds them: `truediv(x, y)`, and `rtruediv(y, x)` for a number x; as they
        were until another is set.

    Raises:
        MissingError: of `Feature.EPSILON`.
    """
    values = _VALUES.find()
    before = {name: vars(values).get(f"_{name}") for name in _DIVISIONS}
    if not all(isinstance(method, staticmethod) for method in before.values()):
        raise MissingError(_VALUES)
    place = SimpleNamespace(**{n: m.__func__ for n, m in before.items() if m is not None})

    def calling(name: str) -> Any:
        return staticmethod(lambda *args: getattr(place, name)(*args))

    try:
        for name in before:
            setattr(values, f"_{name}", calling(name))
        yield place
    finally:
        for name, method in before.items():
            setattr(values, f"_{name}", method)


@contextlib.contextmanager
def each_step_through(model: Any, wrap: Callable[[Any], Any]) -> Iterator[None]:
    """Makes each training function that Keras builds in the block call `wrap(step)` for its step.

    Args:
        model: its `make_train_function` or `make_test_function` is called within.
        wrap: receives a step as Keras would call it, compiled where it is; returns what
            is called in its stead, with the same arguments.

    Raises:
        MissingError: of `Feature.WATCHING`.
    """
    make = _MAKE_FUNCTION.of(model)

    def made(step: Any, *args: Any, **kwargs: Any) -> Any:
        return make(wrap(step), *args, **kwargs)

    before = model.__dict__.get(_MAKE_FUNCTION.name)
    model.__dict__[_MAKE_FUNCTION.name] = made
    try:
        yield
    finally:
        if before is None:
            model.__dict__.pop(_MAKE_FUNCTION.name, None)
        else:
            model.__dict__[_MAKE_FUNCTION.name] = before


def frames_of(equation: Any) -> list[tuple[CodeType, int]]:
    """Returns the frames in which an equation was traced, the innermost first.

    Returns:
        Code and place of the instruction in it; none where they are not known.
    """
    with contextlib.suppress(AttributeError, TypeError, ValueError):
        codes, instructions = equation.source_info.traceback.raw_frames()
        return list(zip(codes, instructions, strict=True))
    return []


def line_of(code: CodeType, instruction: int) -> int:
    """Returns the line of an instruction, as `frames_of` places it."""
    line = code.co_firstlineno
    for start, _, at in code.co_lines():
        if start <= instruction and at is not None:
            line = at
    return line


def run_equation(equation: Any, values: Sequence[Any]) -> list[Any]:
    """Runs one equation of a traced function on arrays, and returns its results."""
    primitive = equation.primitive
    bound = primitive.get_bind_params(equation.params)
    # Before JAX 0.10 the functions that it calls stood apart from the rest.
    functions, params = bound if isinstance(bound, tuple) else ((), bound)
    made = primitive.bind(*functions, *values, **params)
    return list(made) if primitive.multiple_results else [made]
