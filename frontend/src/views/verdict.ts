// The verdict: what the whole search says, in a sentence or two.

import type { Model } from "../state/state";
import { el, replace } from "./dom";

export class VerdictView {
  readonly node = el("section", {
    class: "verdict",
    "aria-label": "Verdict",
    "aria-live": "polite",
  });
  private key = "";

  update(model: Model): void {
    const { search, findings, overview } = model;
    const key = JSON.stringify([search.verdict, search.aborted, findings, overview.warnings]);
    if (key === this.key) return;
    this.key = key;
    const bad = model.trials.some((t) => t.bad) || search.aborted !== null;
    this.node.className = `verdict ${bad ? "went-bad" : "well"}`;
    const { aborted } = search;
    replace(
      this.node,
      el("p", { class: "sentence" }, search.verdict || "No trial has been watched yet."),
      ...findings.map((f) => el("p", {}, f.text)),
      aborted &&
        el(
          "p",
          {},
          el(
            "strong",
            {},
            `Aborted${aborted.trials.length ? ` by ${aborted.trials.join(", ")}` : ""}: `,
          ),
          aborted.message.split("\n", 1)[0]!,
          aborted.fix ? " " : "",
          aborted.fix,
        ),
      ...overview.warnings.map((w) => el("p", { class: "warning" }, `⚠ ${w}`)),
    );
  }
}
