// SPDX-License-Identifier: Apache-2.0
// The effect of unchecking bands. The edit for it stands in the verdict.

import { value } from "../format/words";
import { intervalText, outcomeText } from "../state/cut";
import type { RemovedView } from "../state/without";
import { el, setText } from "./dom";

export class RemovedStrip {
  readonly node: HTMLElement;
  private readonly title = el("strong", {});
  private readonly outcome = el("span", { "data-fact": "removed" });
  private readonly interval = el("span", { class: "aside" });

  constructor(undo: () => void) {
    this.node = el(
      "section",
      { class: "removed-strip", "aria-label": "Values left out", role: "status", hidden: true },
      this.title,
      this.outcome,
      this.interval,
      el("button", { type: "button", class: "small", click: undo }, "keep all"),
    );
  }

  update(view: RemovedView | null): void {
    this.node.hidden = view === null;
    if (!view) return;
    const { removed, outcome } = view;
    const values = removed.values.map((v) => value(v)).join(", ");
    setText(this.title, `without ${removed.hparam} = ${values}`);
    setText(this.outcome, outcomeText(outcome));
    setText(this.interval, intervalText(outcome));
  }
}
