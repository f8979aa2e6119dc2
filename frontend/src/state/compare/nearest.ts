// SPDX-License-Identifier: Apache-2.0
// Compares two runs: the pair to begin with, their differences, and the first step at which
// they differ; pure.

import { type JSONScalar, LANE_SERIES, type LaneSeries, LOOKED_SERIES } from "../../api/schema.gen";
import type { RunSummary } from "../../api/types";
import { keyOf } from "../../api/types";
import type { Model } from "../state";
import type { Trial } from "../trials";

/** Mean difference over the hyperparameters: a share of a number's axis, or 0 and 1. */
export function distance(model: Model, a: Trial, b: Trial): number {
  const { scales, names } = model.ranking;
  let sum = 0;
  for (const name of names) {
    const scale = scales.get(name);
    const [x, y] = [a.hparams[name], b.hparams[name]];
    const [p, q] = [scale?.at(x) ?? null, scale?.at(y) ?? null];
    if (scale?.numeric && p !== null && q !== null) sum += Math.abs(p - q);
    else sum += Number((x ?? null) !== (y ?? null));
  }
  return names.length ? sum / names.length : 0;
}

/** The most similar trial among those that ended the other way. */
export function nearestOther(model: Model, trial: Trial): Trial | null {
  let found: Trial | null = null;
  let least = Number.POSITIVE_INFINITY;
  for (const other of model.trials) {
    if (other === trial || other.bad === trial.bad || other.status === "unwatched") continue;
    const d = distance(model, trial, other);
    if (d < least) [found, least] = [other, d];
  }
  return found;
}

/** The chosen pair, or the chosen trial with the nearest that ended the other way. */
export function pairOf(
  model: Model,
  runs: readonly [string, string] | null,
  selected: string | null,
): [Trial, RunSummary][] {
  const find = (key: string | null): [Trial, RunSummary] | null => {
    for (const trial of model.trials) {
      const run = trial.runs.find((r) => keyOf(r) === key);
      if (run) return [trial, run];
    }
    return null;
  };
  const first = (trial: Trial | null | undefined): [Trial, RunSummary] | null =>
    trial ? [trial, trial.runs[0]!] : null;
  const left =
    find(runs?.[0] ?? selected) ?? first(model.trials.find((t) => t.bad) ?? model.trials[0]);
  if (!left) return [];
  const right =
    find(runs?.[1] ?? null) ??
    first(nearestOther(model, left[0]) ?? model.trials.find((t) => t !== left[0]));
  return right ? [left, right] : [left];
}

export interface Difference {
  name: string;
  left: JSONScalar | undefined;
  right: JSONScalar | undefined;
  same: boolean;
}

export function differences(model: Model, a: Trial, b: Trial): Difference[] {
  return model.ranking.names
    .map((name) => {
      const [left, right] = [a.hparams[name], b.hparams[name]];
      return { name, left, right, same: (left ?? null) === (right ?? null) };
    })
    .filter(({ left, right }) => left !== undefined || right !== undefined)
    .sort((x, y) => Number(x.same) - Number(y.same));
}

export interface Parting {
  step: number;
  series: LaneSeries;
  left: number;
  right: number;
}

// Two trainings of the same kind differ by a few times from one batch to the next.
export const PARTING_FACTOR = 10;

// Occasional measurements fall on different steps in each of two runs.
const COMPARED = LANE_SERIES.filter((s) => !LOOKED_SERIES.includes(s));

/** The first step at which one of the lanes' series is ten times the other, or bad in one only. */
export function partingOf(a: RunSummary, b: RunSummary): Parting | null {
  const ends = [...new Set([...a.lane.steps, ...b.lane.steps])].sort((x, y) => x - y);
  for (const step of ends) {
    for (const series of COMPARED) {
      const left = valueAt(a, series, step);
      const right = valueAt(b, series, step);
      if (left === null || right === null) continue;
      if (parted(left, right)) return { step, series, left, right };
    }
  }
  return null;
}

function parted(left: number, right: number): boolean {
  if (Number.isFinite(left) !== Number.isFinite(right)) return true;
  if (!(left > 0 && right > 0) || !Number.isFinite(left)) return false;
  return Math.max(left / right, right / left) >= PARTING_FACTOR;
}

/** null where nothing was measured, or the run had ended. */
function valueAt(run: RunSummary, series: LaneSeries, step: number): number | null {
  const { steps } = run.lane;
  const i = steps.findIndex((last) => last >= step);
  if (i < 0) return null;
  const value = run.lane.series[series][i]!;
  const bad = run.onset !== null && step >= run.onset.step;
  return Number.isNaN(value) && !bad ? null : value;
}
