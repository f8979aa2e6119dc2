// SPDX-License-Identifier: Apache-2.0
// A part of the lanes' axis, drawn over its whole width.

import type { LaneAxis } from "./axis";

/** From where to where, in [0, 1] of the whole axis. */
export type Zoom = readonly [number, number];

export const WHOLE: Zoom = [0, 1];
// A hundredth of a log axis is a few steps at its right end.
const NARROWEST = 0.005;

export function zoomedAxis(axis: LaneAxis, zoom: Zoom): LaneAxis {
  const [from, to] = zoom;
  if (from === 0 && to === 1) return axis;
  const at = (place: number) => (place - from) / (to - from);
  return {
    name: axis.name,
    of(run) {
      const whole = axis.of(run);
      return {
        start: (step) => at(whole.start(step)),
        middle: (step) => at(whole.middle(step)),
        invert: (place) => whole.invert(from + place * (to - from)),
      };
    },
    ticks: (width) =>
      axis
        .ticks(width / (to - from))
        .map((tick) => ({ ...tick, at: at(tick.at) }))
        .filter((tick) => tick.at >= 0 && tick.at <= 1),
  };
}

/** Widened (above 1) or narrowed by a factor, with the place under the pointer kept. */
export function zoomedBy([from, to]: Zoom, factor: number, place: number): Zoom {
  const width = Math.min(1, Math.max(NARROWEST, (to - from) * factor));
  const kept = from + place * (to - from);
  return within(kept - place * width, width);
}

/** Moved by a share of what is shown. */
export function panned([from, to]: Zoom, share: number): Zoom {
  const width = to - from;
  return within(from + share * width, width);
}

/** A stretch of what is shown, from place to place. */
export function stretch([from, to]: Zoom, a: number, b: number): Zoom {
  const clamp = (place: number) => Math.min(1, Math.max(0, place));
  const [left, right] = [clamp(Math.min(a, b)), clamp(Math.max(a, b))];
  const width = Math.max(NARROWEST, (right - left) * (to - from));
  return within(from + left * (to - from), width);
}

function within(from: number, width: number): Zoom {
  if (width >= 1) return WHOLE;
  const start = Math.min(1 - width, Math.max(0, from));
  return [start, start + width];
}
