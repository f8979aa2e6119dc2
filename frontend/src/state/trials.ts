// Runs gathered into trials: an execution or a retry of a trial is no trial of its own,
// so counts and ranks go by trial, and its lines stand together.

import { BAD_STATUSES, type JSONScalar, STATUSES, type Status } from "../api/schema.gen";
import type { Overview, RunSummary } from "../api/types";

export interface Trial {
  /** Unique within a search. */
  id: string;
  runs: RunSummary[];
  status: Status;
  bad: boolean;
  hparams: Record<string, JSONScalar>;
  score: number | null;
  /** Steps trained before the first bad one, the earliest of its runs. */
  onsetStep: number | null;
  steps: number;
}

export function isBad(status: Status): boolean {
  return BAD_STATUSES.includes(status);
}

export function trialsOf(overview: Overview, search: string): Trial[] {
  const groups = new Map<string, RunSummary[]>();
  for (const run of overview.runs) {
    if (run.search !== search) continue;
    // A plain fit has no trial: its run stands for one.
    const id = run.trial_id ?? run.run;
    const group = groups.get(id);
    if (group) group.push(run);
    else groups.set(id, [run]);
  }
  return [...groups].map(([id, runs]) => trial(id, runs));
}

function trial(id: string, runs: RunSummary[]): Trial {
  runs.sort(
    (a, b) =>
      Number(a.superseded) - Number(b.superseded) ||
      a.execution - b.execution ||
      b.started - a.started,
  );
  let worst: Status = "unwatched";
  let onsetStep: number | null = null;
  let score: number | null = null;
  let steps = 0;
  for (const run of runs) {
    steps = Math.max(steps, run.steps);
    // A retry or a later session decides instead; this one is only shown.
    if (run.superseded) continue;
    if (STATUSES.indexOf(run.status) > STATUSES.indexOf(worst)) worst = run.status;
    if (run.onset && isBad(run.status))
      onsetStep = Math.min(onsetStep ?? run.onset.step, run.onset.step);
    score ??= run.score;
  }
  return {
    id,
    runs,
    status: worst,
    bad: isBad(worst),
    hparams: runs[0]!.hparams,
    score,
    onsetStep,
    steps,
  };
}
