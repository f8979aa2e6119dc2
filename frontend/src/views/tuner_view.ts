// SPDX-License-Identifier: Apache-2.0
// The tuner's view of a run, beside that of NaN Watch: score, message, and the run's rank in
// the search.

import type { RunSummary } from "../api/types";
import { compact, integer } from "../format/number";
import * as words from "../format/words";
import type { Model } from "../state/state";
import { type Child, el } from "./dom";

export function tunerView(run: RunSummary, model: Model): Child[] {
  if (run.trial_id === null) return [];
  const rows: [string, Child][] = [
    ["NaN Watch says", words.status(run.status, run.state)],
    ["tuner says", run.tuner_status ?? "nothing yet"],
  ];
  rows.push(["id", run.trial_id]);
  if (run.score !== null) {
    const when = run.best_step === null ? "" : `, from epoch ${integer(run.best_step + 1)}`;
    rows.push(["score", `${model.search.objective ?? "score"} ${compact(run.score, 5)}${when}`]);
  }
  if (run.misread !== null) {
    rows.push(["", el("span", { class: "badge" }, "scored anyway")]);
    rows.push(["", el("span", { "data-fact": "misread" }, run.misread_text)]);
  }
  if (run.attempt || run.superseded) {
    const later = run.superseded ? "an earlier one; a later one decides" : "";
    rows.push(["attempt", [run.attempt, later].filter(Boolean).join("; ")]);
  }
  if (run.lineage_text)
    rows.push(["Hyperband", el("span", { "data-fact": "lineage" }, run.lineage_text)]);
  if (run.inherited !== null) {
    rows.push([
      "inherited",
      el(
        "span",
        { class: "bad-text", "data-fact": "inherited" },
        words.capital(run.inherited_text),
      ),
    ]);
  }
  const nodes: Child[] = [el("h3", {}, "The tuner's view beside ours"), list(rows)];
  if (run.message) nodes.push(fold("message of the tuner", el("pre", {}, run.message)));
  return nodes;
}

export function list(rows: readonly [string, Child][]): HTMLElement {
  const node = el("dl", {});
  for (const [term, value] of rows) node.append(el("dt", {}, term), el("dd", {}, value));
  return node;
}

// Remembers which parts are unfolded, since the panel is redrawn while a run trains.
const unfolded = new Set<string>();

export function fold(title: string, content: HTMLElement): HTMLElement {
  const node = el("details", { open: unfolded.has(title) }, el("summary", {}, title), content);
  node.addEventListener("toggle", () => {
    if (node.open) unfolded.add(title);
    else unfolded.delete(title);
  });
  return node;
}
