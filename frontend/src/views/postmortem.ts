// SPDX-License-Identifier: Apache-2.0
// The result of running the failing step again: operation, line, inputs, and the single
// changes that would have kept it finite.

import type { Experiment, Operand, PostMortem } from "../api/schema.gen";
import type { RunSummary } from "../api/types";
import { compact, integer, plural } from "../format/number";
import { copyButton } from "./copy";
import { type Child, el } from "./dom";
import { fold } from "./tuner_view";

export function postmortem(run: RunSummary): Child[] {
  const found = run.postmortem;
  if (!found) return reproduction(run);
  if (!found.text) {
    return [
      ...(found.reason
        ? [el("h3", {}, "Operation and line"), el("p", { "data-fact": "reason" }, found.reason)]
        : []),
      ...reproduction(run),
    ];
  }
  return [
    el("h3", {}, "Operation and line"),
    el("p", { "data-fact": "postmortem" }, ...quoted(found.text)),
    found.source?.text &&
      el(
        "pre",
        { class: "source" },
        found.source.text,
        found.source.function && el("span", { class: "aside" }, `  # in ${found.source.function}`),
      ),
    inputs(found),
    !found.reproduced && el("p", { class: "aside" }, "Run again, its counts came out differently."),
    ...experiments(found),
    ...reproduction(run),
  ];
}

/** The script itself is long: it is copied, and unfolded by whoever wants to read it. */
function reproduction({ reproduction: script }: RunSummary): Child[] {
  if (!script) return [];
  return [
    el("h3", {}, "Run that step again"),
    el(
      "p",
      { class: "reproduction" },
      "A short script does it alone. ",
      copyButton(() => script, "the reproduction script"),
    ),
    fold("the script", el("pre", {}, script)),
  ];
}

/** "`tf.math.log` at x.py:3": what stands between backquotes is code. */
function quoted(text: string): Child[] {
  return text.split("`").map((part, i) => (i % 2 ? el("code", {}, part) : part));
}

function inputs({ inputs: operands }: PostMortem): Child {
  if (!operands.length) return null;
  return el("ul", {}, ...operands.map((o) => el("li", {}, el("b", {}, o.name), ` ${operand(o)}`)));
}

export function operand(o: Operand): string {
  const parts = [`${o.dtype} [${o.shape.join(", ")}]`];
  if (Number.isFinite(o.min))
    parts.push(`finite from ${compact(o.min, 4)} to ${compact(o.max, 4)}`);
  if (o.num_zero) parts.push(plural(o.num_zero, "zero"));
  if (o.num_negative) parts.push(`${integer(o.num_negative)} negative`);
  for (const [n, word] of [
    [o.num_nan, "NaN"],
    [o.num_pos_inf, "Inf"],
    [o.num_neg_inf, "-Inf"],
  ] as const)
    if (n) parts.push(`${integer(n)} ${word}`);
  return parts.join(", ");
}

function experiments({ experiments: all, untried }: PostMortem): Child[] {
  const tried = all.filter((e) => e.tried);
  if (!tried.length) {
    return untried ? [el("p", { class: "aside" }, `Nothing was run again: ${untried}.`)] : [];
  }
  return [
    el("h3", {}, "Run again with one thing changed"),
    el(
      "ul",
      { class: "experiments" },
      ...tried.map((e) => {
        const good = e.finite && e.learns !== false;
        return el(
          "li",
          { class: good ? "good-text" : "" },
          `${good ? "✔" : "✖"} ${e.text}: ${outcome(e)}`,
          e.note && el("span", { class: "aside" }, ` (${e.note})`),
        );
      }),
    ),
    untried && el("p", { class: "aside" }, `Not all was run again: ${untried}.`),
  ];
}

function outcome(e: Experiment): string {
  if (!e.finite) return "bad all the same";
  const learns =
    e.learns === null ? "" : e.learns ? ", and the loss falls" : ", but it does not learn";
  return `finite for ${plural(e.steps, "step")}${learns}`;
}
