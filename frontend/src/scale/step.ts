// SPDX-License-Identifier: Apache-2.0
// The common axis of steps. Logarithmic by default, log(step + 1), so that a death in
// the third step is as visible as one in the ten-thousandth.

type StepScaleName = "log" | "linear";

export interface Tick {
  step: number;
  /** In [0, 1]. */
  at: number;
  label: string;
}

export interface StepScale {
  name: StepScaleName;
  /** Steps in all: the axis ends where step `steps - 1` ends. */
  steps: number;
  /** Where a step begins, in [0, 1]. */
  start(step: number): number;
  /** The middle of a step. */
  middle(step: number): number;
  /** The step at a place in [0, 1]. */
  invert(at: number): number;
  ticks(width: number): Tick[];
}

export function stepScale(name: StepScaleName, steps: number): StepScale {
  const total = Math.max(1, steps);
  const start =
    name === "log"
      ? (step: number) => Math.log(Math.max(0, step) + 1) / Math.log(total + 1)
      : (step: number) => Math.max(0, step) / total;
  let tickWidth = Number.NaN;
  let ticks: Tick[] = [];
  const scale: StepScale = {
    name,
    steps: total,
    start,
    middle: (step) => (start(step) + start(step + 1)) / 2,
    invert: (at) => {
      const clamped = Math.min(1, Math.max(0, at));
      const step = name === "log" ? Math.exp(clamped * Math.log(total + 1)) - 1 : clamped * total;
      return Math.min(total - 1, Math.floor(step + 1e-9));
    },
    ticks: (width) => {
      // Every row asks for the same ones.
      if (width !== tickWidth) {
        tickWidth = width;
        const candidates = name === "log" ? logTicks(total) : linearTicks(total, width);
        ticks = spread(
          candidates.map((step) => ({ step, at: scale.start(step), label: tickLabel(step) })),
          width,
        );
      }
      return ticks;
    },
  };
  return scale;
}

/** 0, 1, 10, 100, ...; a run of ten steps has no third of them, and is marked at 3. */
function logTicks(total: number): number[] {
  return [0, ...decades(total)];
}

/** 1, 10, 100, ... below a number of steps, and 3 where that is ten at most. */
export function decades(total: number): number[] {
  const found: number[] = [];
  for (let power = 1; power < total; power *= 10) found.push(power);
  return total > 3 && total <= 10 ? [...found, 3] : found;
}

function linearTicks(total: number, width: number): number[] {
  const rough = total / Math.max(2, Math.floor(width / 80));
  const magnitude = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(
    1,
    [1, 2, 5, 10].map((m) => m * magnitude).find((s) => s >= rough) ?? magnitude * 10,
  );
  const ticks: number[] = [];
  for (let s = 0; s < total; s += step) ticks.push(s);
  return ticks;
}

/** As many of the candidates, the first ones first, as do not touch. */
export function spread(candidates: readonly Tick[], width: number): Tick[] {
  const taken: Tick[] = [];
  for (const tick of candidates) {
    if (taken.every((t) => Math.abs(t.at - tick.at) * width >= 38)) taken.push(tick);
  }
  return taken.sort((a, b) => a.at - b.at);
}

export function tickLabel(step: number): string {
  if (step < 10_000) return String(step);
  if (step % 1000 === 999 || step % 1000 === 0) {
    const thousands = Math.round(step / 1000);
    return thousands >= 1000 && thousands % 1000 === 0 ? `${thousands / 1000}M` : `${thousands}k`;
  }
  return step.toLocaleString("en-US");
}
