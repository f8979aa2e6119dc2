// SPDX-License-Identifier: Apache-2.0
// Why a run went bad: the likeliest cause with its evidence and fix, and the runners-up.

import type { Cause, RunSummary } from "../api/types";
import { isBad } from "../state/trials";
import { codeButton } from "./copy";
import { type Child, el } from "./dom";
import { prose } from "./prose";

const MOST = 3;

/** @param meanings of causes, by id. */
export function causes(run: RunSummary, meanings: Record<string, string>): Child[] {
  if (!isBad(run.status) && !run.causes.length) return [];
  const [first, ...others] = run.causes;
  if (!first || first.id === "unknown") {
    return [
      el("h3", {}, "Cause"),
      el("p", {}, "Unknown."),
      first ? evidence(first) : null,
      first?.fix ? el("p", {}, first.fix) : null,
    ];
  }
  const next = others.filter((c) => c.id !== "unknown").slice(0, MOST - 1);
  return [
    el("h3", {}, "Cause"),
    bar(first, true, meanings),
    evidence(first),
    ...(first.fix
      ? [
          el("h3", {}, run.trial_id === null ? "Fix" : "Fix for this trial alone"),
          el("p", {}, ...prose(first.fix), " ", codeButton(first.fix)),
        ]
      : []),
    ...(next.length
      ? [el("h3", {}, "Next likely"), ...next.map((c) => bar(c, false, meanings))]
      : []),
  ];
}

function evidence(cause: Cause): Child {
  return cause.evidence.length
    ? el("ul", {}, ...cause.evidence.map((e) => el("li", {}, ...prose(e))))
    : null;
}

/** A cause's name, which opens its meaning at a click. */
function name(cause: Cause, strong: boolean, meaning: string): HTMLElement {
  const label = el(strong ? "strong" : "span", {}, cause.label);
  if (!meaning) return label;
  return el("details", { class: "meaning" }, el("summary", {}, label), el("p", {}, meaning));
}

function bar(cause: Cause, strong: boolean, meanings: Record<string, string>): HTMLElement {
  const share = Math.min(1, Math.max(0, cause.confidence ?? 0));
  return el(
    "div",
    { class: "cause", title: cause.evidence.join(" ") },
    name(cause, strong, meanings[cause.id] ?? ""),
    el(
      "span",
      { class: "bar", "aria-hidden": "true" },
      el("i", { style: `width:${(share * 100).toFixed(1)}%` }),
    ),
    el(
      "span",
      { class: "sure", title: cause.confidence === null ? "" : cause.confidence.toFixed(2) },
      cause.id === "unknown" ? "" : cause.sure,
    ),
  );
}
