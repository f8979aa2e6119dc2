// SPDX-License-Identifier: Apache-2.0
// Fetches the data of the chosen run's panel, and drops answers that come too late.

import type { Client } from "../api/client";
import type { Phase } from "../api/schema.gen";
import type { RunSummary } from "../api/types";
import { keyOf } from "../api/types";
import { findRun, type State } from "./state";
import type { Store } from "./store";
import { isBad } from "./trials";

export function originPhase(run: RunSummary): Phase {
  return run.onset?.phase ?? "train";
}

/** Whether TensorBoard has yet to load records that the run's status counts. */
export const isIncomplete = (run: RunSummary): boolean => run.records.read < run.records.written;

/** Watches the selection; returns a function that stops watching. */
export function watchDetail(store: Store<State>, client: Client): () => void {
  let request: AbortController | null = null;
  let loaded = "";

  // Asked for once, when the first trial is opened; without it there are no links.
  let asked = false;
  const askForPlugins = () => {
    if (asked) return;
    asked = true;
    client.plugins().then(
      (plugins) => store.set({ plugins }),
      () => undefined,
    );
  };

  const load = async (run: RunSummary, phase: Phase): Promise<void> => {
    request?.abort();
    const current = new AbortController();
    request = current;
    try {
      const [detail, ranges, flight] = await Promise.all([
        client.run(run, current.signal),
        client.ranges(run, phase, current.signal),
        // Only what went bad has one, and without it all else is still worth showing.
        isBad(run.status) ? client.flight(run, phase, current.signal).catch(() => null) : null,
      ]);
      if (current.signal.aborted) return;
      store.set({ detail, ranges, rangesPhase: phase, flight, detailError: null });
    } catch (e) {
      if (current.signal.aborted) return;
      loaded = "";
      store.set({ detailError: e instanceof Error ? e.message : String(e) });
    }
  };

  return store.subscribe((state) => {
    const run = findRun(state.overview, state.selected);
    if (!run) {
      if (loaded) request?.abort();
      loaded = "";
      return;
    }
    const phase = state.phase ?? originPhase(run);
    const wanted = JSON.stringify([
      keyOf(run),
      phase,
      run.updated,
      run.status,
      // TensorBoard may have loaded the status before all that it speaks of.
      run.records.read,
    ]);
    if (wanted === loaded) return;
    loaded = wanted;
    askForPlugins();
    void load(run, phase);
  });
}
