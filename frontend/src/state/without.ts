// SPDX-License-Identifier: Apache-2.0
// Unchecked bands: values of a Choice that the edited search space would leave out, and the
// trials that this removes, loses and keeps; pure.

import type { HParam, JSONScalar } from "../api/schema.gen";
import type { SpaceEdit } from "../api/types";
import { type Outcome, outcomeOf } from "./cut";
import type { Trial } from "./trials";

export interface Removed {
  hparam: string;
  values: readonly JSONScalar[];
}

export interface RemovedView {
  removed: Removed;
  outcome: Outcome;
  /** The edit of the space that it stands for; undefined until the server has answered. */
  edit: SpaceEdit | undefined;
}

/** Whether the bands of a hyperparameter can be checked off. */
export function removable(space: readonly HParam[], name: string): boolean {
  const spec = space.find((h) => h.name === name);
  if (spec?.type === "boolean") return true;
  return spec?.type === "choice" && (spec.values?.length ?? 0) > 1;
}

export function takesTrial(removed: Removed, trial: Trial): boolean {
  const value = trial.hparams[removed.hparam];
  return value !== undefined && removed.values.includes(value);
}

/** The unchecked values with one toggled; null where every value is checked. */
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
  edit?: SpaceEdit,
): RemovedView {
  return {
    removed,
    outcome: outcomeOf(trials, best, (trial) => takesTrial(removed, trial)),
    edit,
  };
}
