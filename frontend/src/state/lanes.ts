// SPDX-License-Identifier: Apache-2.0
// Fetches the lanes of the search that is shown, block by block: rows are drawn before
// their lanes have come, and while a search trains only what changed is fetched again.

import type { Client } from "../api/client";
import { NO_LANE } from "../api/lane";
import { keyOf, type Lane, type Overview } from "../api/types";
import { currentSearch, type State } from "./state";
import type { Store } from "./store";

const AT_ONCE = 4;

export class Lanes {
  private readonly known = new Map<string, Lane>();
  /** Version of each block that was fetched, or is being fetched, by search and number. */
  private readonly asked = new Map<string, string>();
  private waiting: { search: string; block: number; version: string }[] = [];
  private running = 0;

  constructor(
    private readonly store: Store<State>,
    private readonly client: Pick<Client, "lanes">,
  ) {
    store.subscribe((state) => this.want(state));
  }

  /** Gives the runs of a new overview the lanes that are known. */
  attach(overview: Overview): Overview {
    for (const run of overview.runs) {
      if (run.lane === NO_LANE) run.lane = this.known.get(keyOf(run)) ?? NO_LANE;
    }
    return overview;
  }

  private want(state: State): void {
    const search = currentSearch(state);
    if (!search) return;
    const id = search.search;
    // Blocks of another search are fetched once that search is shown again.
    for (const { search: other, block } of this.waiting) {
      if (other !== id) this.asked.delete(`${block} ${other}`);
    }
    this.waiting = this.waiting.filter((w) => w.search === id);
    search.lanes.forEach((version, block) => {
      const key = `${block} ${id}`;
      if (this.asked.get(key) === version) return;
      this.asked.set(key, version);
      this.waiting = this.waiting.filter((w) => w.block !== block);
      this.waiting.push({ search: id, block, version });
    });
    while (this.running < AT_ONCE && this.waiting.length) void this.fetch();
  }

  private async fetch(): Promise<void> {
    const next = this.waiting.shift();
    if (!next) return;
    this.running++;
    try {
      const lanes = await this.client.lanes(next.search, next.block, next.version);
      for (const [key, lane] of lanes) this.known.set(key, lane);
      const { overview, lanes: count } = this.store.get();
      for (const run of overview?.runs ?? []) {
        const lane = lanes.get(keyOf(run));
        if (lane) run.lane = lane;
      }
      this.running--;
      this.store.set({ lanes: count + 1 });
    } catch {
      // Asked for again with the next overview; the header says if the server is away.
      this.running--;
      this.asked.delete(`${next.block} ${next.search}`);
    }
  }
}
