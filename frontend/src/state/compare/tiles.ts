// SPDX-License-Identifier: Apache-2.0
// Trials too many to be told apart as marks, gathered into tiles; pure.

import type { Trial } from "../trials";
import type { Axis } from "./axes";

/** Above this many trials marks of 8 px cover one another on a plot of some 500 px. */
export const CROWDED = 400;
/** Side of a tile on an axis of many values, in pixels: the width of two marks. */
const SIDE = 14;
/** On an axis of few values a tile belongs to one of them, and may be this long. */
const LONGEST = 56;
const FEW_LEVELS = 12;

/** A mark of one trial (of no size), or a tile of several, at one place of the plot. */
export interface Place {
  trials: Trial[];
  /** Its centre and size, in pixels. */
  x: number;
  y: number;
  width: number;
  height: number;
}

/** Length of a tile along an axis of `span` pixels. */
export function tileLength(axis: Axis, span: number): number {
  if (axis.levels > FEW_LEVELS) return SIDE;
  return Math.min(LONGEST, Math.max(SIDE, (0.7 * span) / Math.max(1, axis.levels)));
}

/**
 * Gathers trials by the tile that they fall into.
 *
 * On an axis of few values tiles are centred on the values, elsewhere they form a grid.
 */
export function tiles(
  trials: readonly Trial[],
  x: (trial: Trial) => number,
  y: (trial: Trial) => number,
  size: (trial: Trial) => { width: number; height: number },
): Place[] {
  const found = new Map<string, Place>();
  const centre = (at: number, length: number) =>
    length === SIDE ? (Math.floor(at / SIDE) + 0.5) * SIDE : at;
  for (const trial of trials) {
    const { width, height } = size(trial);
    const [cx, cy] = [centre(x(trial), width), centre(y(trial), height)];
    const key = `${Math.round(cx)} ${Math.round(cy)}`;
    const tile = found.get(key);
    if (tile) tile.trials.push(trial);
    else found.set(key, { trials: [trial], x: cx, y: cy, width, height });
  }
  return [...found.values()];
}
