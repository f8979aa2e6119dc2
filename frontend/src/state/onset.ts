// SPDX-License-Identifier: Apache-2.0
// The first bad step in a phase's own count. Validation counts its batches on from 0, while
// a position names the training steps done so far.

import type { Phase, Probe } from "../api/schema.gen";
import type { Flight, RunSummary } from "../api/types";
import { isBad } from "./trials";

/** null where the run did not go bad in this phase, or where the record does not tell. */
export function onsetStep(
  run: RunSummary,
  phase: Phase,
  flight: Flight | null,
  probes: readonly Probe[],
): number | null {
  const { onset, origin } = run;
  if (!onset || !isBad(run.status) || onset.phase !== phase) return null;
  if (phase === "train") return onset.step;
  if (!flight || !origin) return null;
  const p = probes.findIndex((q) => q.kind === origin.kind && q.name === origin.name);
  if (p < 0 || p >= flight.probes) return null;
  const first = flight.steps.findIndex(
    (_, i) => flight.rms[i * flight.probes + p] === Number.POSITIVE_INFINITY,
  );
  return first < 0 ? null : flight.steps[first]!;
}
