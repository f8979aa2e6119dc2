// Bands that are checked off: values of a Choice that the edited search space would not
// have any more, with what that removes, loses and keeps; pure.

import type { HParam, JSONScalar } from "../api/schema.gen";
import { type Outcome, outcomeOf } from "./cut";
import { takes, unconditional } from "./edit";
import type { Trial } from "./trials";

export interface Removed {
  hparam: string;
  values: readonly JSONScalar[];
}

export interface RemovedView {
  removed: Removed;
  outcome: Outcome;
  /** null where nothing would be left, or the space does not declare it. */
  code: string | null;
}

/** Whether the bands of a hyperparameter can be checked off. */
export function removable(space: readonly HParam[], name: string): boolean {
  const spec = space.find((h) => h.name === name);
  if (spec?.type === "boolean") return true;
  return spec?.type === "choice" && (spec.values?.length ?? 0) > 1;
}

export function takesTrial(removed: Removed, trial: Trial): boolean {
  return takes({ op: "in", values: removed.values }, trial.hparams[removed.hparam]);
}

/** With one value more checked off, or checked again; null where none is left off. */
export function toggled(
  removed: Removed | null,
  hparam: string,
  value: JSONScalar,
): Removed | null {
  const before = removed?.hparam === hparam ? removed.values : [];
  const values = before.includes(value) ? before.filter((v) => v !== value) : [...before, value];
  return values.length ? { hparam, values } : null;
}

export function removedView(
  trials: readonly Trial[],
  best: Trial | null,
  removed: Removed,
  space: readonly HParam[],
): RemovedView {
  const spec = space.find((h) => h.name === removed.hparam);
  return {
    removed,
    outcome: outcomeOf(trials, best, (trial) => takesTrial(removed, trial)),
    code: spec ? unconditional({ op: "in", values: removed.values }, spec) : null,
  };
}
