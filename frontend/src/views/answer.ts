// SPDX-License-Identifier: Apache-2.0
// The answer of one run: what happened, why, where, what to change, and what was tested.
import { STATUS_MEANING } from "../api/schema.gen";

import type { Answer, RunSummary } from "../api/types";
import * as words from "../format/words";
import type { Theme } from "../scale/colour";
import { isBad } from "../state/trials";
import { copyAnswer, copyButton } from "./copy";
import { type Child, el, replace } from "./dom";
import { markImage } from "./marks";
import { few, prose } from "./prose";

export class AnswerView {
  readonly node = el("section", { class: "answer", "aria-label": "Answer", hidden: true });
  private key = "";

  /** @param markdown gives a run's answer to copy. */
  constructor(private readonly markdown: (run: RunSummary) => Promise<string>) {}

  /** @param clean the sentence on a run that stayed finite. */
  update(run: RunSummary | null, clean: string, warnings: readonly string[], theme: Theme): void {
    this.node.hidden = run === null;
    if (!run) return;
    // Not the whole run: its lane is long, and is drawn elsewhere.
    const { name, status, state } = run;
    const key = JSON.stringify([name, status, state, clean, run.answer, warnings, theme]);
    if (key === this.key) return;
    this.key = key;
    const { answer } = run;
    this.node.className = `answer ${isBad(run.status) ? "went-bad" : "well"}`;
    replace(
      this.node,
      el(
        "h2",
        {},
        isBad(run.status) ? markImage(run.status) : null,
        el("span", { class: "name" }, run.name),
        ` ${answer ? answer.happened : words.status(run.status, run.state)}`,
        answer && el("span", { class: "spring" }),
        answer && copyAnswer(() => this.markdown(run)),
      ),
      answer ? answerBody(answer) : el("p", { "data-fact": "clean" }, clean || meaning(run)),
      ...few(warnings).map((w) => el("p", { class: "warning" }, `⚠ ${w}`)),
    );
  }
}

const meaning = (run: RunSummary): string => `${words.capital(STATUS_MEANING[run.status])}.`;

function answerBody(answer: Answer): HTMLElement {
  return el(
    "div",
    { class: "answer-body" },
    el(
      "dl",
      {},
      ...entry("Why", answer.why, "why", answer.sure && sureness(answer)),
      ...entry("Where", answer.where, "where"),
      ...entry("After", answer.after, "after"),
    ),
    el(
      "dl",
      { class: "answer-fix" },
      ...entry(
        "Fix",
        answer.fix,
        "fix",
        copyButton(() => answer.fix, "the fix"),
      ),
      ...entry(
        "Tested",
        answer.tested.replace(/^Tested: /, "") || "No experiment has confirmed this fix.",
        "tested",
      ),
    ),
  );
}

const SURE: Record<string, string> = {
  tested: "an experiment confirmed it",
  likely: "derived from what was measured; no experiment confirmed it",
  unclear: "the record leaves other causes open",
};

function sureness({ sure, record }: Answer): Child {
  const title = [SURE[sure] ?? "", record].filter(Boolean).join("; ");
  return el("span", { class: `sure ${sure}`, title }, sure);
}

function entry(term: string, text: string, fact: string, more: Child = null): Child[] {
  if (!text) return [];
  return [el("dt", {}, term), el("dd", { "data-fact": fact }, ...prose(text), " ", more)];
}
