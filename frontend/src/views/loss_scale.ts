// SPDX-License-Identifier: Apache-2.0
// The loss scale of mixed precision over time, drawn as a range chart: the scale as a line,
// the steps that were skipped as marks.

import type { LossScaling, Ranges } from "../api/types";
import { compact, integer } from "../format/number";
import { bucketAt } from "./heatmap";
import type { ChartTexts } from "./range_paint";

/** The scale as the ranges of one tensor: what is marked are its skipped steps. */
export function lossScaleRanges({ steps, scale, skipped }: LossScaling): Ranges {
  const bounds = new Float32Array(2 * steps.length);
  steps.forEach((last, i) => {
    bounds[2 * i] = i === 0 ? 0 : steps[i - 1]! + 1;
    bounds[2 * i + 1] = last;
  });
  return {
    buckets: steps.length,
    probes: 1,
    columns: ["rms"],
    countColumns: [],
    steps: bounds,
    stats: Float32Array.from(scale),
    counts: new Float32Array(0),
    badSteps: Float32Array.from(skipped),
    measured: new Float32Array(steps.length).fill(1),
  };
}

export const LOSS_SCALE: ChartTexts = {
  title: () => "Loss scale",
  band: () => null,
  line: "factor on the loss",
  marked: (n) => `▽ ${integer(n)} steps skipped: a gradient of the scaled loss was non-finite`,
  unmarked: "no step was skipped",
  mark: "contained",
  facts: ({ ranges }, step) => {
    const b = bucketAt(ranges, step);
    if (b < 0) return ["no scale is known here"];
    const [first, last] = [ranges.steps[2 * b]!, ranges.steps[2 * b + 1]!];
    const when =
      first === last ? `step ${integer(first)}` : `steps ${integer(first)} to ${integer(last)}`;
    const skipped = ranges.badSteps[b]!;
    return [
      when,
      `loss scale ${compact(ranges.stats[b]!, 6)}`,
      ...(skipped > 0 ? [`${integer(skipped)} skipped`] : []),
    ];
  },
};
