// What checking bands off would do, with the edit that does it.

import { value } from "../format/words";
import { intervalText, outcomeText } from "../state/cut";
import type { RemovedView } from "../state/without";
import { copyButton } from "./copy";
import { el, setText } from "./dom";

export class RemovedStrip {
  readonly node: HTMLElement;
  private readonly title = el("strong", {});
  private readonly outcome = el("span", { "data-fact": "removed" });
  private readonly interval = el("span", { class: "aside" });
  private readonly where = el("span", { class: "aside" });
  private readonly code = el("code", {});
  private readonly pre = el("pre", { tabindex: 0, "aria-label": "the edit" }, this.code);
  private readonly copy = copyButton(
    () => this.view?.edit?.code ?? "",
    "the edit of the search space",
  );
  private view: RemovedView | null = null;

  constructor(undo: () => void) {
    this.node = el(
      "section",
      { class: "removed-strip", "aria-label": "Values left out", hidden: true },
      el(
        "div",
        { class: "cut-text", role: "status" },
        el("p", {}, this.title, " ", el("button", { type: "button", click: undo }, "keep all")),
        el("p", {}, this.outcome, " ", this.interval, " ", this.where),
      ),
      el("div", { class: "code" }, this.pre, this.copy),
    );
  }

  update(view: RemovedView | null): void {
    this.view = view;
    this.node.hidden = view === null;
    if (!view) return;
    const { removed, outcome, edit } = view;
    const values = removed.values.map((v) => value(v)).join(", ");
    setText(this.title, `without ${removed.hparam} = ${values}`);
    setText(this.outcome, outcomeText(outcome));
    setText(this.interval, intervalText(outcome));
    this.copy.hidden = !edit?.code;
    setText(this.where, edit?.where ?? "");
    setText(
      this.code,
      edit ? edit.code || "No edit: no value would be left, or none is declared." : "…",
    );
  }
}
