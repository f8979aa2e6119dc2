// SPDX-License-Identifier: Apache-2.0
// A lane's series as a line over the lanes' axis; pure.

import { type LaneSeries, LOOKED_SERIES } from "../../api/schema.gen";
import type { RunSummary } from "../../api/types";
import type { LaneAxis } from "../../scale/axis";

export interface Course {
  /** Places on the axis, and the values measured there; NaN is a gap. */
  at: number[];
  values: number[];
}

/**
 * The sizes of a series, which a logarithm can show. Where weights or slots were lost, values
 * after the first bad step mean nothing.
 */
export function courseOf(run: RunSummary, series: LaneSeries, axis: LaneAxis): Course {
  const { steps } = run.lane;
  const scale = axis.of(run);
  const end = run.status === "diverged" && run.onset ? run.onset.step : Number.POSITIVE_INFINITY;
  const course: Course = { at: [], values: [] };
  run.lane.series[series].forEach((value, i) => {
    const first = i > 0 ? steps[i - 1]! + 1 : 0;
    const known = value > 0 && Number.isFinite(value) && first < end;
    // Occasional measurements leave no gaps between them.
    if (!known && LOOKED_SERIES.includes(series)) return;
    course.at.push((scale.start(first) + scale.start(steps[i]! + 1)) / 2);
    course.values.push(known ? value : Number.NaN);
  });
  return course;
}

/** Index of the value nearest to a place; -1 where there is none. */
export function nearestTo({ at, values }: Course, place: number): number {
  let found = -1;
  at.forEach((x, i) => {
    if (Number.isNaN(values[i]!)) return;
    if (found < 0 || Math.abs(x - place) < Math.abs(at[found]! - place)) found = i;
  });
  return found;
}
