// SPDX-License-Identifier: Apache-2.0
// The tab's own types: those that are sent (schema.gen.ts, generated), with numbers
// instead of the strings "NaN", "Infinity" and "-Infinity", and what it makes of them.

import type * as sent from "./schema.gen";
import type { LaneSeries } from "./schema.gen";

export type {
  Answer,
  Environment,
  Finding,
  FirstScreen,
  Frontier,
  NamedCause as Cause,
  Origin,
  Rate as HParamRate,
  RunComparison,
  SearchComparison,
  SearchSummary,
  SpaceEdit,
  ToldScalar as BadScalar,
} from "./schema.gen";

export interface Lane {
  /** Last step of each point; points are contiguous from step 0. */
  steps: Float64Array;
  /** Seconds since the start, at the end of each point. */
  seconds: Float64Array;
  /** Epoch of each point, from 0. */
  epochs: Float64Array;
  series: Record<LaneSeries, Float64Array>;
  /** The least and the largest finite, positive value; null where there is none. */
  extremes(series: LaneSeries): [number, number] | null;
}

export interface RunSummary extends sent.RunSummary {
  /** Comes after the rest, for all runs of a block at once. */
  lane: Lane;
}

export interface Overview extends Omit<sent.Overview, "runs"> {
  runs: RunSummary[];
}

export interface RunDetail extends Omit<sent.RunDetail, "run" | "loss_scaling"> {
  run: RunSummary;
  /** null where no loss is scaled. */
  lossScaling: LossScaling | null;
}

/** The loss scale and skipped steps of a LossScaleOptimizer, at the lane's points. */
export interface LossScaling {
  /** Last step of each point. */
  steps: Float64Array;
  /** After that step. */
  scale: Float64Array;
  /** How many of the point's steps were skipped, since a gradient was non-finite. */
  skipped: Float64Array;
}

export interface FramedArray {
  shape: number[];
  data: Float32Array | Uint32Array | Uint16Array | Uint8Array;
}

export interface Ranges {
  buckets: number;
  probes: number;
  columns: string[];
  countColumns: string[];
  steps: Float32Array;
  stats: Float32Array;
  counts: Float32Array;
  badSteps: Float32Array;
  measured: Float32Array;
}

/** The last steps before the first bad one. */
export interface Flight {
  probes: number;
  steps: Float32Array;
  rms: Float32Array;
  /** Steps of which the counts were kept. */
  fullSteps: Float32Array;
  counts: Float32Array;
}

/** A search run again reuses run names, so a run is known by both. */
export interface RunKey {
  run: string;
  session: string;
}

export function keyOf(run: RunKey): string {
  return `${run.session}/${run.run}`;
}
