// Which hyperparameter goes most with going bad. A first look in the browser, by rank
// separation alone; the server's findings come before it where there are any.

import type { HParam, JSONScalar } from "../api/schema.gen";
import { hparamScale } from "../scale/hparam";
import type { Trial } from "./trials";

export interface Separation {
  name: string;
  /** 0: bad and good trials are mixed. 1: a border parts them. */
  strength: number;
  /** Standard deviations from what chance alone would do. */
  z: number;
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
    .sort((a, b) => b.z - a.z || b.strength - a.strength);
}

export function noteworthy(ranked: readonly Separation[]): Separation | null {
  const first = ranked[0];
  return first && first.z >= NOTEWORTHY_Z ? first : null;
}

function separation(trials: readonly Trial[], space: HParam): Separation | null {
  const watched = trials.filter((t) => t.status !== "unwatched" && present(t.hparams[space.name]));
  const scale = hparamScale(
    space,
    watched.map((t) => t.hparams[space.name] ?? null),
  );
  return scale.numeric
    ? rankSum(
        space.name,
        watched.map((t) => [scale.order(t.hparams[space.name]), t.bad]),
      )
    : contingency(
        space.name,
        watched.map((t) => [t.hparams[space.name] ?? null, t.bad]),
      );
}

const present = (v: JSONScalar | undefined): boolean => v !== undefined && v !== null;

// Mann and Whitney's U with the correction for ties.
function rankSum(name: string, points: [number, boolean][]): Separation | null {
  const sorted = points.toSorted((a, b) => a[0] - b[0]);
  const n = sorted.length;
  const bad = sorted.filter(([, b]) => b).length;
  const good = n - bad;
  if (!bad || !good) return null;
  let rankSumBad = 0;
  let ties = 0;
  for (let i = 0; i < n; ) {
    let j = i;
    while (j < n && sorted[j]![0] === sorted[i]![0]) j++;
    const rank = (i + 1 + j) / 2;
    for (let k = i; k < j; k++) if (sorted[k]![1]) rankSumBad += rank;
    const t = j - i;
    ties += t ** 3 - t;
    i = j;
  }
  const u = rankSumBad - (bad * (bad + 1)) / 2;
  const middle = (bad * good) / 2;
  const variance = ((bad * good) / 12) * (n + 1 - ties / (n * (n - 1)));
  if (!(variance > 0)) return null;
  return {
    name,
    strength: Math.abs(u - middle) / middle,
    z: Math.abs(u - middle) / Math.sqrt(variance),
    badIsHigh: u > middle,
  };
}

// Chi-square over the categories, brought to the scale of a normal deviate
// (Wilson and Hilferty), so that it can stand beside the numbers.
function contingency(name: string, points: [JSONScalar, boolean][]): Separation | null {
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
  const z = (Math.cbrt(chi / df) - (1 - 2 / (9 * df))) / Math.sqrt(2 / (9 * df));
  return { name, strength: Math.sqrt(chi / n), z: Math.max(0, z), badIsHigh: true };
}
