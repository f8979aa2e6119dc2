// SPDX-License-Identifier: Apache-2.0
// The chosen trial's axis of steps: the one that the rows are drawn by, over one run.

import type { Phase } from "../api/schema.gen";
import type { RunSummary } from "../api/types";
import { type AxisName, laneAxis, type RunAxis } from "./axis";
import { stepScale, type Tick } from "./step";

export interface DetailAxis extends RunAxis {
  title: string;
  ticks(width: number): Tick[];
}

const TITLES: Record<AxisName, string> = {
  log: "step",
  linear: "step",
  epoch: "epoch",
  time: "time",
  onset: "before",
};

/**
 * `last`: one past the phase's last step. Validation counts batches of its own, which no
 * lane places in epochs or seconds: there only the steps themselves make an axis.
 */
export function detailAxis(
  name: AxisName,
  run: RunSummary,
  phase: Phase,
  last: number,
): DetailAxis {
  if (phase === "validation") {
    const steps = stepScale(name === "linear" ? "linear" : "log", last);
    return {
      title: "batch",
      start: steps.start,
      middle: steps.middle,
      invert: steps.invert,
      ticks: steps.ticks,
    };
  }
  if (name === "log" || name === "linear") {
    const steps = stepScale(name, Math.max(last, run.steps));
    return {
      title: TITLES[name],
      start: steps.start,
      middle: steps.middle,
      invert: steps.invert,
      ticks: steps.ticks,
    };
  }
  const axis = laneAxis(name, [run]);
  return { title: TITLES[name], ...axis.of(run), ticks: axis.ticks };
}
