// SPDX-License-Identifier: Apache-2.0
// The lanes' common axis: where each run's steps lie on it. Steps are the same for all
// runs; epochs and seconds go by each run's own course, and "steps before the onset" by
// its own end.

import type { RunSummary } from "../api/types";
import { duration } from "../format/words";
import { decades, type StepScale, spread, stepScale, type Tick, tickLabel } from "./step";

export type AxisName = "log" | "linear" | "epoch" | "time" | "onset";

export const AXES: readonly AxisName[] = ["log", "linear", "epoch", "time", "onset"];

export type RunAxis = Pick<StepScale, "start" | "middle" | "invert">;

export interface LaneAxis {
  name: AxisName;
  of(run: RunSummary): RunAxis;
  ticks(width: number): Tick[];
}

export function laneAxis(name: AxisName, runs: readonly RunSummary[]): LaneAxis {
  if (name === "epoch") return courseAxis(name, runs, epochCourse, epochTicks);
  if (name === "time") return courseAxis(name, runs, timeCourse, timeTicks);
  if (name === "onset") return onsetAxis(runs);
  const steps = stepScale(
    name,
    runs.reduce((most, r) => Math.max(most, r.steps), 1),
  );
  return { name, of: () => steps, ticks: steps.ticks };
}

/** Corners of a line from steps to epochs or seconds, both ascending. */
interface Course {
  steps: number[];
  values: number[];
}

function timeCourse(run: RunSummary): Course {
  const course: Course = { steps: [0], values: [0] };
  run.lane.steps.forEach((step, i) => {
    const seconds = run.lane.seconds[i]!;
    if (Number.isFinite(seconds)) add(course, step + 1, seconds);
  });
  return course;
}

function epochCourse(run: RunSummary): Course {
  const { steps, epochs } = run.lane;
  const course: Course = { steps: [0], values: [0] };
  let longest = 0;
  for (let i = 0; i + 1 < steps.length; i++) {
    if (!(epochs[i + 1]! > epochs[i]!)) continue;
    const before = course.steps.length - 1;
    const passed = epochs[i]! + 1 - course.values[before]!;
    longest = Math.max(longest, (steps[i]! + 1 - course.steps[before]!) / Math.max(1, passed));
    add(course, steps[i]! + 1, epochs[i]! + 1);
  }
  // The last epoch may have been left half-way: it is measured by those before it.
  const last = course.steps.length - 1;
  const rest = run.steps - course.steps[last]!;
  const share = longest > 0 ? Math.min(1, rest / longest) : 1;
  if (rest > 0) add(course, run.steps, course.values[last]! + share);
  return course;
}

function add(course: Course, step: number, value: number): void {
  const last = course.steps.length - 1;
  if (step <= course.steps[last]!) return;
  course.steps.push(step);
  course.values.push(Math.max(value, course.values[last]!));
}

function courseAxis(
  name: AxisName,
  runs: readonly RunSummary[],
  courseOf: (run: RunSummary) => Course,
  ticksOf: (most: number, width: number) => { at: number; label: string }[],
): LaneAxis {
  const courses = new Map(runs.map((run) => [run, courseOf(run)]));
  let most = 0;
  for (const { values } of courses.values()) most = Math.max(most, values[values.length - 1]!);
  if (!(most > 0)) most = 1;
  return {
    name,
    of(run) {
      const { steps, values } = courses.get(run) ?? courseOf(run);
      const start = (step: number) => Math.min(1, interpolate(steps, values, step) / most);
      return {
        start,
        middle: (step) => (start(step) + start(step + 1)) / 2,
        invert: (at) => Math.floor(interpolate(values, steps, at * most) + 1e-9),
      };
    },
    ticks: remembered((width) =>
      ticksOf(most, width).map(({ at, label }) => ({ step: at, at: at / most, label })),
    ),
  };
}

function interpolate(from: readonly number[], to: readonly number[], x: number): number {
  const last = from.length - 1;
  if (x <= from[0]!) return to[0]!;
  if (x >= from[last]!) return to[last]!;
  let low = 0;
  let high = last;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (from[middle]! <= x) low = middle;
    else high = middle;
  }
  const width = from[high]! - from[low]!;
  const share = width > 0 ? (x - from[low]!) / width : 0;
  return to[low]! + share * (to[high]! - to[low]!);
}

function epochTicks(most: number, width: number): { at: number; label: string }[] {
  return even(most, width, 1).map((at) => ({ at, label: String(at + 1) }));
}

function timeTicks(most: number, width: number): { at: number; label: string }[] {
  return even(most, width, 0).map((at) => ({ at, label: at === 0 ? "0" : duration(at) }));
}

function even(most: number, width: number, least: number): number[] {
  const rough = most / Math.max(2, Math.floor(width / 80));
  const magnitude = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(
    least,
    [1, 2, 5, 10].map((m) => m * magnitude).find((s) => s >= rough) ?? magnitude * 10,
  );
  const ticks: number[] = [];
  for (let i = 0; i * step < most; i++) ticks.push(Number((i * step).toPrecision(6)));
  return ticks;
}

/** Every run's first bad step at the right edge; runs that never went bad end there. */
function onsetAxis(runs: readonly RunSummary[]): LaneAxis {
  const end = (run: RunSummary) => run.onset?.step ?? Math.max(0, run.steps - 1);
  const most = runs.reduce((m, r) => Math.max(m, end(r) + 1), 1);
  const place = (distance: number) => 1 - Math.log(Math.max(0, distance) + 1) / Math.log(most + 1);
  return {
    name: "onset",
    of(run) {
      const last = end(run);
      const start = (step: number) => place(last + 1 - step);
      return {
        start,
        middle: (step) => (start(step) + start(step + 1)) / 2,
        invert: (at) => {
          const distance = Math.exp((1 - at) * Math.log(most + 1)) - 1;
          return Math.min(last, Math.max(0, Math.floor(last + 1 - distance + 1e-9)));
        },
      };
    },
    ticks: remembered((width) => {
      const ticks: Tick[] = [];
      const tick = (before: number) =>
        ticks.push({
          step: before,
          at: place(before + 0.5),
          label: before ? `−${tickLabel(before)}` : "0",
        });
      tick(0);
      for (const before of decades(most)) tick(before);
      return spread(ticks, width);
    }),
  };
}

/** Remembers the last ticks, since every row asks for the same ones. */
function remembered(ticksOf: (width: number) => Tick[]): (width: number) => Tick[] {
  let known = Number.NaN;
  let ticks: Tick[] = [];
  return (width) => {
    if (width !== known) {
      known = width;
      ticks = ticksOf(width);
    }
    return ticks;
  };
}
