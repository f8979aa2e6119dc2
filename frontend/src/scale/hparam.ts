// SPDX-License-Identifier: Apache-2.0
// A hyperparameter's true-scale axis: where a value lies between the bounds of the
// search space, logarithmic where the space was sampled so.

import type { HParam, JSONScalar } from "../api/schema.gen";

export interface HParamScale {
  name: string;
  /** Values have places on an axis; otherwise they are written out. */
  numeric: boolean;
  log: boolean;
  /** Place in [0, 1]; null where the value has none. */
  at(value: JSONScalar | undefined): number | null;
  /** The value at a place in [0, 1]; null on an axis of categories. */
  invert(place: number): number | null;
  /** Orders values: numbers by size, categories as declared, absent ones last. */
  order(value: JSONScalar | undefined): number;
  /** Places of a choice's values, for ticks; empty on a continuous axis. */
  stops: number[];
}

// A choice over less than this ratio is spaced evenly: its values are labels more than sizes.
const LOG_RATIO = 20;

export function hparamScale(space: HParam, observed: readonly JSONScalar[]): HParamScale {
  // Some tuners list samples of a continuous range here, too.
  const declared = space.type === "choice" ? (space.values ?? []) : [];
  const present = observed.filter((v) => v !== null && v !== undefined);
  const all = [...declared, ...present];
  const numeric = all.length > 0 && all.every((v) => typeof v === "number");
  return numeric
    ? numberScale(space, all as number[], declared as number[])
    : categoryScale(space, declared.length ? declared : distinct(present));
}

function numberScale(space: HParam, all: number[], declared: number[]): HParamScale {
  const finite = all.filter(Number.isFinite);
  let low = typeof space.min === "number" ? space.min : Math.min(...finite);
  let high = typeof space.max === "number" ? space.max : Math.max(...finite);
  for (const v of finite) {
    low = Math.min(low, v);
    high = Math.max(high, v);
  }
  const log =
    low > 0 &&
    (space.sampling === "log" ||
      space.sampling === "reverse_log" ||
      (space.sampling === null && high / low >= LOG_RATIO));
  const place = log
    ? (v: number) => Math.log(v / low) / Math.log(high / low)
    : (v: number) => (v - low) / (high - low);
  const at = (value: JSONScalar | undefined): number | null => {
    if (typeof value !== "number" || !Number.isFinite(value)) return null;
    return high > low ? Math.min(1, Math.max(0, place(value))) : 0.5;
  };
  return {
    name: space.name,
    numeric: true,
    log,
    at,
    invert: (place) => (log ? low * (high / low) ** place : low + place * (high - low)),
    order: (v) => (typeof v === "number" && !Number.isNaN(v) ? v : Number.POSITIVE_INFINITY),
    stops: declared.map((v) => at(v)).filter((p): p is number => p !== null),
  };
}

function categoryScale(space: HParam, categories: JSONScalar[]): HParamScale {
  const index = new Map(categories.map((v, i) => [v, i]));
  const last = Math.max(1, categories.length - 1);
  return {
    name: space.name,
    numeric: false,
    log: false,
    invert: () => null,
    at: (v) => (v === undefined || !index.has(v) ? null : index.get(v)! / last),
    order: (v) =>
      v === undefined ? Number.POSITIVE_INFINITY : (index.get(v) ?? Number.POSITIVE_INFINITY),
    stops: categories.map((_, i) => i / last),
  };
}

function distinct(values: readonly JSONScalar[]): JSONScalar[] {
  return [...new Set(values)].sort((a, b) => String(a).localeCompare(String(b), "en"));
}
