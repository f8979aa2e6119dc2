// SPDX-License-Identifier: Apache-2.0
// The comparing views in the place of the table: one at a time.

import type { Client } from "../../api/client";
import type { Picture } from "../../paint/painter";
import type { Brush, CompareState, View } from "../../state/compare/state";
import type { Model, State } from "../../state/state";
import { el, replace } from "../dom";
import type { Tooltip } from "../tooltip";
import { PairView } from "./pair";
import { ParallelView } from "./parallel";
import { SearchesView } from "./searches";
import { TrialsView } from "./trials";
import { ValuesView } from "./values";

interface CompareActions {
  client: Pick<Client, "compareRuns" | "compareSearches">;
  set(patch: Partial<CompareState>): void;
  brush(name: string, brush: Brush | null): void;
  select(key: string): void;
}

interface Part {
  node: HTMLElement;
  update(state: State, model: Model): void;
  picture?(): Picture | null;
}

export class CompareView {
  readonly node = el("section", { class: "compare", "aria-label": "Comparison", hidden: true });
  private readonly parts: Partial<Record<View, Part>>;
  private shown: View = "frontier";

  constructor(actions: CompareActions, tooltip: Tooltip) {
    const values = new ValuesView((name) => actions.set({ view: "pair", pair: [name, ""] }));
    this.parts = {
      values: { node: values.node, update: (_, model) => values.update(model) },
      pair: new PairView(
        { pair: (pair) => actions.set({ pair }), select: actions.select },
        tooltip,
      ),
      parallel: new ParallelView(
        { brush: actions.brush, clear: () => actions.set({ brushes: {} }), select: actions.select },
        tooltip,
      ),
      trials: new TrialsView(
        {
          compare: (left, right, signal) => actions.client.compareRuns(left, right, signal),
          runs: (runs) => actions.set({ runs }),
          open: (key) => {
            actions.set({ view: "frontier" });
            actions.select(key);
          },
        },
        tooltip,
      ),
      searches: new SearchesView({
        compare: (before, after, signal) => actions.client.compareSearches(before, after, signal),
        against: (against) => actions.set({ against }),
      }),
    };
  }

  update(state: State, model: Model): void {
    const { view } = state.compare;
    const part = this.parts[view];
    this.node.hidden = part === undefined;
    if (!part) {
      this.shown = view;
      return;
    }
    if (this.shown !== view) {
      this.shown = view;
      replace(this.node, part.node);
    }
    part.update(state, model);
  }

  picture(): Picture | null {
    return this.parts[this.shown]?.picture?.() ?? null;
  }

  hasPicture(view: View): boolean {
    return this.parts[view]?.picture !== undefined;
  }
}
