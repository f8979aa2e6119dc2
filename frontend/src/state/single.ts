// SPDX-License-Identifier: Apache-2.0
// A log directory with one plain training: the tab then shows its answer and nothing to compare.

import type { Overview, RunSummary } from "../api/types";

/** The only run of a log directory, where it belongs to no search; else null. */
export function singleRun(overview: Overview | null): RunSummary | null {
  if (overview?.searches.length !== 1 || overview.searches[0]!.search !== "") return null;
  const runs = overview.runs.filter((r) => !r.superseded);
  return runs.length === 1 ? runs[0]! : null;
}
