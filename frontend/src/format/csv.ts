// SPDX-License-Identifier: Apache-2.0
// A run's ranges as a table for a spreadsheet or pandas; pure.

import type { Phase, Probe } from "../api/schema.gen";
import type { Ranges } from "../api/types";

type Cell = string | number;

// A spreadsheet takes a cell that begins so for a formula, and names come from logs.
// Full-width signs are signs, too, where text is typed in Japanese or Chinese.
const FORMULA = /^[=+\-@\t\r\n＝＋－＠]/;

function cell(value: Cell): string {
  if (typeof value === "number" && Number.isFinite(value)) return String(value);
  const text = String(value);
  const safe = FORMULA.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export function rangesCsv(ranges: Ranges, probes: readonly Probe[], phase: Phase): string {
  const lines: Cell[][] = [
    [
      "phase",
      "first_step",
      "last_step",
      "kind",
      "tensor",
      "layer",
      ...ranges.columns,
      ...ranges.countColumns,
      "bad_steps",
    ],
  ];
  const { columns, countColumns } = ranges;
  for (let b = 0; b < ranges.buckets; b++) {
    for (let p = 0; p < Math.min(ranges.probes, probes.length); p++) {
      const at = b * ranges.probes + p;
      const { kind, name, layer } = probes[p]!;
      lines.push([
        phase,
        ranges.steps[2 * b]!,
        ranges.steps[2 * b + 1]!,
        kind,
        name,
        layer,
        ...ranges.stats.subarray(at * columns.length, (at + 1) * columns.length),
        ...ranges.counts.subarray(at * countColumns.length, (at + 1) * countColumns.length),
        ranges.badSteps[at]!,
      ]);
    }
  }
  return `${lines.map((line) => line.map(cell).join(",")).join("\r\n")}\r\n`;
}

/** JSON in which what is not finite is one of the API's three strings. */
export function trialJson(detail: object): string {
  return `${JSON.stringify(
    detail,
    (_key, value: unknown) => {
      if (typeof value === "number" && !Number.isFinite(value)) return String(value);
      if (ArrayBuffer.isView(value)) return Array.from(value as Float64Array);
      return value;
    },
    2,
  )}\n`;
}
