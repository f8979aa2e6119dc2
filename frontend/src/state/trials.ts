// SPDX-License-Identifier: Apache-2.0
// Runs gathered into trials: an execution or a retry of a trial is no trial of its own,
// so counts and ranks go by trial, and its lines stand together.

import { BAD_STATUSES, type JSONScalar, STATUSES, type Status } from "../api/schema.gen";
import type { Overview, RunSummary, SearchSummary } from "../api/types";

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
  /** The trial whose weights it continues with (Hyperband), where known. */
  continues: string | null;
  /** First trial of a chain in which each continues the last; its own id without a chain. */
  root: string;
}

export function isBad(status: Status): boolean {
  return BAD_STATUSES.includes(status);
}

/** Whether the tuner took it for a result although it went bad. */
export function scoredAnyway({ runs }: Trial): boolean {
  return runs.some((r) => r.misread !== null);
}

/** The trials whose score is a result: none went bad, and the tuner misread none. */
export function resultsOf(trials: readonly Trial[]): Trial[] {
  return trials.filter(
    (t) => t.score !== null && Number.isFinite(t.score) && !t.bad && !scoredAnyway(t),
  );
}

/** The result with the best score; null without one, or where no direction is known. */
export function bestOf(search: SearchSummary, trials: readonly Trial[]): Trial | null {
  if (search.direction === null) return null;
  const sign = search.direction === "max" ? -1 : 1;
  return resultsOf(trials).reduce<Trial | null>(
    (found, t) => (found === null || sign * (t.score! - found.score!) < 0 ? t : found),
    null,
  );
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
  const trials = new Map([...groups].map(([id, runs]) => [id, trial(id, runs)]));
  for (const each of trials.values()) each.root = rootOf(each, trials);
  return [...trials.values()];
}

function rootOf(trial: Trial, trials: ReadonlyMap<string, Trial>): string {
  const seen = new Set<Trial>();
  let now = trial;
  for (;;) {
    seen.add(now);
    const parent = now.continues === null ? undefined : trials.get(now.continues);
    if (!parent || seen.has(parent)) return now.id;
    now = parent;
  }
}

/** Merges trials that continue one another, as the server counts them in its findings. */
export function familiesOf(trials: readonly Trial[]): Trial[] {
  const families = new Map<string, Trial[]>();
  for (const each of trials) {
    const family = families.get(each.root);
    if (family) family.push(each);
    else families.set(each.root, [each]);
  }
  return families.size === trials.length ? [...trials] : [...families.values()].map(merged);
}

function merged(family: Trial[]): Trial {
  const [first, ...others] = family;
  if (!others.length) return first!;
  const onsets = family.map((t) => t.onsetStep).filter((s) => s !== null);
  const status = family.reduce<Status>(
    (worst, t) => (STATUSES.indexOf(t.status) > STATUSES.indexOf(worst) ? t.status : worst),
    "unwatched",
  );
  return {
    ...first!,
    runs: family.flatMap((t) => t.runs),
    status,
    bad: isBad(status),
    score: family.reduce<number | null>((score, t) => t.score ?? score, null),
    onsetStep: onsets.length ? Math.min(...onsets) : null,
    steps: Math.max(...family.map((t) => t.steps)),
  };
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
    continues: runs[0]!.lineage?.trial_id ?? null,
    root: id,
  };
}
