// SPDX-License-Identifier: Apache-2.0
// Ranks hyperparameters by their association with going bad. A first look in the browser, by
// rank separation alone; the server's findings come before it where there are any.

import type { HParam, JSONScalar } from "../api/schema.gen";
import { hparamScale } from "../scale/hparam";
import type { Trial } from "./trials";

export interface Separation {
  name: string;
  /** 0: bad and good trials are mixed. 1: a border separates them. */
  strength: number;
  /** Standard deviations from what chance alone would do. */
  z: number;
  /** The sort key: z, adjusted by prior knowledge. */
  weight: number;
  /** Bad trials lie at the higher values. */
  badIsHigh: boolean;
}

// Below this the order of the rows would be decided by chance; one in forty that is
// nothing still passes, which an order of rows (not a claim) may.
const NOTEWORTHY_Z = 2;

export function separations(trials: readonly Trial[], space: readonly HParam[]): Separation[] {
  return space
    .map((h) => separation(trials, h))
    .filter((s): s is Separation => s !== null)
    .sort((a, b) => b.weight - a.weight || b.strength - a.strength);
}

export function noteworthy(ranked: readonly Separation[]): Separation | null {
  return ranked.find((s) => s.z >= NOTEWORTHY_Z) ?? null;
}

// A dozen trials part by chance along one of seven hyperparameters nearly as well as along
// the true one. Of two that part them about equally, the one that was drawn over decades
// crosses a border of stability more often than one that doubles a few times. Names are
// never read: renaming a hyperparameter changes no order.
const PRIOR_OF_DECADES = 1.25;

const weighed = (space: HParam, z: number): number =>
  space.sampling === "log" ? z * PRIOR_OF_DECADES : z;

function separation(trials: readonly Trial[], space: HParam): Separation | null {
  const watched = trials.filter((t) => t.status !== "unwatched" && present(t.hparams[space.name]));
  const values = watched.map((t) => t.hparams[space.name] ?? null);
  const scale = hparamScale(space, values);
  if (!scale.numeric) {
    return contingency(
      space,
      watched.map((t, i) => [values[i]!, t.bad]),
    );
  }
  const sum = rankSum(watched.map((t, i) => [scale.order(values[i]), t.bad]));
  return sum && fromSums(space, [sum]);
}

/** How far a number separates bad from good within groups, whatever the groups' own rates. */
export function separationWithin(
  groups: Iterable<readonly Trial[]>,
  space: HParam,
): Separation | null {
  const sums: RankSum[] = [];
  for (const trials of groups) {
    const watched = trials.filter(
      (t) => t.status !== "unwatched" && typeof t.hparams[space.name] === "number",
    );
    const sum = rankSum(watched.map((t) => [t.hparams[space.name] as number, t.bad]));
    if (sum) sums.push(sum);
  }
  return sums.length ? fromSums(space, sums) : null;
}

const present = (v: JSONScalar | undefined): boolean => v !== undefined && v !== null;

interface RankSum {
  u: number;
  middle: number;
  variance: number;
}

// Mann and Whitney's U with the correction for ties.
function rankSum(points: [number, boolean][]): RankSum | null {
  const sorted = points.toSorted((a, b) => a[0] - b[0]);
  const n = sorted.length;
  const bad = sorted.filter(([, b]) => b).length;
  const good = n - bad;
  if (!bad || !good) return null;
  let ranks = 0;
  let ties = 0;
  for (let i = 0; i < n; ) {
    let j = i;
    while (j < n && sorted[j]![0] === sorted[i]![0]) j++;
    const rank = (i + 1 + j) / 2;
    for (let k = i; k < j; k++) if (sorted[k]![1]) ranks += rank;
    const t = j - i;
    ties += t ** 3 - t;
    i = j;
  }
  const variance = ((bad * good) / 12) * (n + 1 - ties / (n * (n - 1)));
  if (!(variance > 0)) return null;
  return { u: ranks - (bad * (bad + 1)) / 2, middle: (bad * good) / 2, variance };
}

// Over several groups the deviations and variances add up.
function fromSums(space: HParam, sums: readonly RankSum[]): Separation {
  const deviation = sums.reduce((d, s) => d + s.u - s.middle, 0);
  const middle = sums.reduce((m, s) => m + s.middle, 0);
  const variance = sums.reduce((v, s) => v + s.variance, 0);
  const z = Math.abs(deviation) / Math.sqrt(variance);
  return {
    name: space.name,
    strength: Math.abs(deviation) / middle,
    z,
    weight: weighed(space, z),
    badIsHigh: deviation > 0,
  };
}

// Chi-square over the categories, brought to the scale of a normal deviate
// (Wilson and Hilferty), so that it can stand beside the numbers.
function contingency(space: HParam, points: [JSONScalar, boolean][]): Separation | null {
  const cells = new Map<JSONScalar, [number, number]>();
  for (const [value, isBad] of points) {
    const cell = cells.get(value) ?? [0, 0];
    cell[isBad ? 0 : 1]++;
    cells.set(value, cell);
  }
  const n = points.length;
  const bad = points.filter(([, b]) => b).length;
  if (!bad || bad === n || cells.size < 2) return null;
  let chi = 0;
  for (const [b, g] of cells.values()) {
    const expectedBad = ((b + g) * bad) / n;
    const expectedGood = b + g - expectedBad;
    chi += (b - expectedBad) ** 2 / expectedBad + (g - expectedGood) ** 2 / expectedGood;
  }
  const df = cells.size - 1;
  const z = Math.max(0, (Math.cbrt(chi / df) - (1 - 2 / (9 * df))) / Math.sqrt(2 / (9 * df)));
  return {
    name: space.name,
    strength: Math.sqrt(chi / n),
    z,
    weight: weighed(space, z),
    badIsHigh: true,
  };
}
