// SPDX-License-Identifier: Apache-2.0
// The edits of the search space that cuts stand for. The server writes them.

import type { Client } from "../api/client";
import type { SpaceEdit } from "../api/types";
import type { Cut } from "./cut";
import type { Model, State } from "./state";
import type { Store } from "./store";
import type { Removed } from "./without";

/** While a line is dragged, the edit is requested only where the line rests. */
const REST_MS = 40;

/** Edits by the query that asks for them. */
export type Edits = ReadonlyMap<string, SpaceEdit>;

export const NO_EDITS: Edits = new Map();

/** The query of `edit` in http_api.md. */
export function editQuery(search: string, asked: Cut | Removed): string {
  const query = new URLSearchParams({ search, hparam: asked.hparam });
  if ("values" in asked) {
    query.set("op", "in");
    query.set("values", JSON.stringify(asked.values));
    return query.toString();
  }
  query.set("op", asked.op);
  query.set("bound", JSON.stringify(asked.bound));
  if (asked.group !== null) {
    query.set("facet", asked.group.facet);
    query.set("value", JSON.stringify(asked.group.value ?? null));
  }
  return query.toString();
}

/** Keeps `state.edits` to what the model shows. */
export function watchEdits(
  store: Store<State>,
  client: Client,
  model: (state: State) => Model | null,
): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const asked = new Set<string>();
  const wanted = (state: State): string[] => {
    const shown = model(state);
    if (!shown) return [];
    const cuts = [shown.cut?.cut, shown.removed?.removed];
    return cuts.flatMap((cut) => (cut ? [editQuery(shown.search.search, cut)] : []));
  };
  const ask = (query: string) => {
    asked.add(query);
    client
      .edit(query)
      .then((edit) => store.set({ edits: new Map(store.get().edits).set(query, edit) }))
      // Asked again at the next change: the overview's own requests tell what is wrong.
      .catch(() => undefined)
      .finally(() => asked.delete(query));
  };
  return store.subscribe((state, before) => {
    if (state.overview !== before.overview && state.edits.size) {
      store.set({ edits: NO_EDITS }); // new trials may have widened the space
      return;
    }
    if (!wanted(state).some((query) => !state.edits.has(query))) return;
    clearTimeout(timer);
    timer = setTimeout(() => {
      const now = store.get();
      for (const query of wanted(now)) {
        if (!now.edits.has(query) && !asked.has(query)) ask(query);
      }
    }, REST_MS);
  });
}
