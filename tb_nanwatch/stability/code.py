# SPDX-License-Identifier: Apache-2.0
"""The code of a search space, declaration by declaration."""

from __future__ import annotations

from collections.abc import Sequence

from tb_nanwatch.reading.search.declaration import declaration, scoped, variable_of
from tb_nanwatch.record.schema import HParam


def code_of(specs: Sequence[HParam]) -> str:
    """Returns declarations, each assigned to a variable; they run where `hp` is."""
    lines: list[str] = []
    seen: dict[str, int] = {}
    for spec in specs:
        call = declaration(spec)
        if call is None:
            continue
        seen[spec.name] = seen.get(spec.name, 0) + 1
        variable = own = variable_of(spec.name)
        if seen[spec.name] > 1:
            own = f"{variable}_{seen[spec.name]}"
        lines.append(scoped(spec, spec.conditions, f"{own} = {call}"))
        if own != variable:  # what is inactive is None
            lines.append(f"{variable} = {own} if {variable} is None else {variable}")
    return "\n".join(lines)
