"""What is said of an operation's inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tb_nanwatch.postmortem.operations import finding

BIG = np.float32([[3e38, 3e38]])


@pytest.mark.parametrize(
    ("op_type", "arrays", "said"),
    [
        ("Sum", [BIG, np.int32([0, 1])], "elements 3e+38"),  # not over which axes
        ("Sum", [BIG, np.int32(1)], "elements 3e+38"),
        ("Square", [BIG], "arguments 3e+38"),
        ("Mul", [BIG, np.float32(2)], "first inputs 3e+38, second input 2"),
        (
            "AddN",
            [BIG, -BIG],
            "elements of input no. 1 3e+38, elements of input no. 2 -3e+38",
        ),
        (
            "AddN",
            [np.float32(3e38), BIG],
            "input no. 1 3e+38, elements of input no. 2 3e+38",
        ),
    ],
)
def test_an_overflow_names_the_numbers_that_were_too_large(
    op_type: str, arrays: list[Any], said: str
) -> None:
    words = finding(op_type, arrays, "float32")
    assert words == f"the result is beyond 3.4e+38, the largest float32: {said}"


def test_what_a_domain_explains_needs_no_sizes() -> None:
    assert (
        finding("RealDiv", [BIG, np.float32([0, 1])], "float32")
        == "1 of 2 denominators is 0"
    )
