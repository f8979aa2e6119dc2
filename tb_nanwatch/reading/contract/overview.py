# SPDX-License-Identifier: Apache-2.0
"""The overview, of which `tb-nanwatch report --json` prints a part."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from tb_nanwatch.reading.contract.runs import RunSummary
from tb_nanwatch.reading.contract.searches import Finding, SearchSummary
from tb_nanwatch.record.strict_json import json_safe

REPORT_VERSION: Final = 1


@dataclass(frozen=True, kw_only=True)
class Overview:
    """All searches and runs of a log directory.

    Attributes:
        schema_version: rises where a reader must know.
        searches: the newest first, runs without a search last.
        runs: of each search in turn, in the order in which they started.
        findings: conditions under which trials went bad, those of each search together.
        warnings: sentences on what could not be read.
        with_data: whether values of single rows of data are told.
        meanings: what each cause means, in a sentence.
        logdir: the directory that TensorBoard reads, "" where it does not say.
    """

    IN_REPORT: ClassVar[tuple[str, ...]] = (
        "schema_version",
        "searches",
        "runs",
        "findings",
        "with_data",
    )
    schema_version: int = REPORT_VERSION
    searches: list[SearchSummary]
    runs: list[RunSummary]
    findings: list[Finding]
    warnings: list[str]
    with_data: bool = True
    meanings: dict[str, str] = field(default_factory=dict)
    logdir: str = ""


def in_report(value: Any) -> Any:
    """Returns the part of an answer that `report --json` prints, as JSON values.

    Args:
        value: a class of the contract, or what its fields hold.
    """
    if isinstance(value, list):
        return [in_report(v) for v in value]
    if not dataclasses.is_dataclass(value):
        return json_safe(value)
    names = getattr(value, "IN_REPORT", None)
    if names is None:
        names = [f.name for f in dataclasses.fields(value)]
    return {name: in_report(getattr(value, name)) for name in names}
