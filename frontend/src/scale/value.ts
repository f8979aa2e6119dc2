// SPDX-License-Identifier: Apache-2.0
// Vertical axes of values: linear, logarithmic (sizes only) and symmetric-logarithmic.

import { symlog, symlogUnit } from "./symlog";

export type ValueScaleName = "symlog" | "log" | "linear";

export interface ValueScale {
  /** Place of a value in [0, 1], from the bottom; null where it has none. */
  at(value: number): number | null;
  /** Values to label, with `height` pixels to do it in. */
  ticks(height: number): number[];
}

const MARGIN = 0.06;
const TICK_PIXELS = 26;

/**
 * A scale over the finite ones of `values`.
 * @param sizes that must not look like zero on a symmetric logarithm.
 */
export function valueScale(
  name: ValueScaleName,
  values: readonly number[],
  sizes: readonly number[] = values,
): ValueScale {
  const finite = values.filter((v) => Number.isFinite(v) && (name !== "log" || v > 0));
  const around = symlog(name === "symlog" ? symlogUnit(sizes.map(Math.abs)) : 1);
  const forward =
    name === "linear" ? (v: number) => v : name === "log" ? Math.log10 : around.forward;
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const v of finite) {
    low = Math.min(low, forward(v));
    high = Math.max(high, forward(v));
  }
  if (!finite.length) [low, high] = name === "log" ? [0, 1] : [-1, 1];
  const margin = (high - low) * MARGIN || Math.abs(high) * 0.1 || 1;
  low -= margin;
  high += margin;
  return {
    at: (v) =>
      Number.isFinite(v) && (name !== "log" || v > 0) ? (forward(v) - low) / (high - low) : null,
    ticks: (height) => {
      const most = Math.max(2, Math.floor(height / TICK_PIXELS));
      if (name === "symlog") return around.ticks(low, high, most);
      if (name === "linear") return evenTicks(low, high, most);
      return decadeTicks(low, high, most);
    },
  };
}

function decadeTicks(low: number, high: number, most: number): number[] {
  const every = Math.max(1, Math.ceil((high - low) / most));
  const ticks: number[] = [];
  for (let d = Math.ceil(low / every) * every; d <= high; d += every) ticks.push(10 ** d);
  // Less than a decade: even steps say more than one label.
  return ticks.length >= 2
    ? ticks
    : evenTicks(10 ** low, 10 ** high, Math.min(4, most)).filter((v) => v > 0);
}

function evenTicks(low: number, high: number, most: number): number[] {
  const rough = (high - low) / most;
  const magnitude = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * magnitude).find((s) => s >= rough) ?? magnitude * 10;
  if (!Number.isFinite(step) || step <= 0) return [];
  const ticks: number[] = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++)
    ticks.push(Number((i * step).toPrecision(12)));
  return ticks;
}
