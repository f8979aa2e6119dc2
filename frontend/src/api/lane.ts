// SPDX-License-Identifier: Apache-2.0
// The placeholder for a lane that has not come yet, and a helper for all lanes.

import { LANE_SERIES } from "./schema.gen";
import type { Lane } from "./types";

export const NO_LANE: Lane = {
  steps: new Float64Array(0),
  seconds: new Float64Array(0),
  epochs: new Float64Array(0),
  series: Object.fromEntries(LANE_SERIES.map((s) => [s, new Float64Array(0)])) as Lane["series"],
  extremes: () => null,
};

/** The least and the largest of a lane's finite, positive values. */
export function extremesOf(values: Float64Array): [number, number] | null {
  let low = Number.POSITIVE_INFINITY;
  let high = 0;
  for (const value of values) {
    if (!(value > 0) || value === Number.POSITIVE_INFINITY) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return high > 0 ? [low, high] : null;
}
