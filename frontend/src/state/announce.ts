// SPDX-License-Identifier: Apache-2.0
// The text for screen readers while a search trains: trials that went bad since the last
// overview; pure.

import type { Overview } from "../api/types";
import { position, status } from "../format/words";
import { currentSearch, type State } from "./state";
import { isBad, trialsOf } from "./trials";

// More than this is read out as a number: nobody listens to forty trials.
const MOST_NAMED = 3;

/** A sentence on trials that went bad between two overviews of the shown search, or "". */
export function announcement(before: Overview, state: State): string {
  const search = currentSearch(state);
  if (!search || !state.overview || before === state.overview) return "";
  // A new search is announced by the header.
  if (!before.searches.some((s) => s.search === search.search)) return "";
  const bad = new Set(
    before.runs.filter((r) => r.search === search.search && isBad(r.status)).map((r) => name(r)),
  );
  const fresh = trialsOf(state.overview, search.search).filter(
    (t) => t.bad && !t.runs.some((r) => bad.has(name(r))),
  );
  if (!fresh.length) return "";
  if (fresh.length > MOST_NAMED) return `${fresh.length} more trials went bad.`;
  return fresh
    .map((t) => {
      const run = t.runs.find((r) => isBad(r.status)) ?? t.runs[0]!;
      const where = run.onset ? ` at ${position(run.onset)}` : "";
      return `${run.name}: ${status(run.status, run.state)}${where}.`;
    })
    .join(" ");
}

const name = (r: { trial_id: string | null; run: string }) => r.trial_id ?? r.run;
