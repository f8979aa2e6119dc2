// SPDX-License-Identifier: Apache-2.0
// The texts in the panel of the chosen run.
import { STATUS_MEANING } from "../api/schema.gen";

import type { RunDetail, RunSummary } from "../api/types";
import { compact, integer, plural } from "../format/number";
import * as words from "../format/words";
import type { Model } from "../state/state";
import { isBad } from "../state/trials";
import { causes } from "./causes";
import { type Child, el } from "./dom";
import { postmortem } from "./postmortem";
import { prose } from "./prose";
import { fold, list, tunerView } from "./tuner_view";

function happened(run: RunSummary, clean: string): Child[] {
  const { onset, origin } = run;
  if (!isBad(run.status)) {
    return [
      el(
        "p",
        { class: "lead", "data-fact": "finite" },
        clean || `${words.capital(STATUS_MEANING[run.status])}.`,
      ),
      ...[run.failure_text, run.unwatched_text].map(
        (said) => said && el("p", { "data-fact": "failure" }, ...prose(said)),
      ),
      ...closest(run),
      ...run.scalars.map((s) => el("p", { "data-fact": "scalar" }, s.text)),
    ];
  }
  const rows: [string, Child][] = [];
  if (onset)
    rows.push([
      run.status === "runaway" ? "take-off" : "first bad step",
      el("strong", { "data-fact": "onset" }, words.position(onset)),
    ]);
  if (origin) {
    rows.push([
      "first bad tensor",
      el("strong", { "data-fact": "origin" }, words.tensor(origin.kind, origin.name)),
    ]);
    const counts = words.counts(origin);
    if (counts)
      rows.push(["", el("span", { "data-fact": "counts" }, `${counts}${words.firstBad(origin)}`)]);
    if (!run.postmortem && (origin.source || origin.op)) {
      rows.push(["", `${origin.op ?? "operation"}${origin.source ? ` at ${origin.source}` : ""}`]);
    }
  }
  if (run.steps_after_onset > 0) {
    const spent = run.seconds_after_onset > 0 ? `, ${words.duration(run.seconds_after_onset)}` : "";
    rows.push([
      "trained on",
      `for ${plural(run.steps_after_onset, "more step")}${spent} after it${run.recovered ? "; recovered" : ""}`,
    ]);
  }
  return [
    list(rows),
    el("p", { class: "aside" }, `${words.capital(STATUS_MEANING[run.status])}.`),
    run.failure_text && el("p", { "data-fact": "failure" }, ...prose(run.failure_text)),
  ];
}

/** How near a run that stayed finite came to an overflow of its number format. */
function closest(run: RunSummary): Child[] {
  const rows = Object.entries(run.closest)
    .filter(([, share]) => share > 0)
    .map(([dtype, share]): [string, Child] => [
      dtype,
      `at most ${compact(share, 2)} of its largest number (${words.decades(share)})`,
    ]);
  if (!rows.length && !run.closest_call) return [];
  return [
    el("h3", {}, "Closest call"),
    run.closest_call && el("p", { "data-fact": "closest" }, `${run.closest_call.text}.`),
    rows.length > 0 && list(rows),
  ];
}

function hparams(run: RunSummary, model: Model): Child[] {
  const names = model.ranking.names.filter((n) => n in run.hparams);
  if (!names.length && !run.inactive.length) return [];
  const rows = names.map((n): [string, Child] => [n, words.value(run.hparams[n])]);
  for (const name of run.inactive) rows.push([name, "not active"]);
  return [el("h3", {}, "Hyperparameters"), list(rows)];
}

function contained(run: RunSummary, detail: RunDetail | null): Child[] {
  const episodes = detail?.episodes.filter((e) => e.level === "contained") ?? run.contained;
  if (!episodes.length) return [];
  const shown = episodes.slice(0, 8);
  return [
    el("h3", {}, `Contained: ${plural(episodes.length, "episode")}`),
    el("p", { class: "aside" }, "Non-finite, but neither in a loss nor in anything that persists."),
    el(
      "ul",
      {},
      ...shown.map((e) => {
        const first = e.tensors[e.new[0] ?? 0];
        const what = first
          ? `${words.tensor(first.kind, first.name)}: ${words.counts(first)}, `
          : "";
        return el("li", {}, `${what}${words.episodeSpan(e)}`);
      }),
      episodes.length > shown.length
        ? el("li", {}, `and ${integer(episodes.length - shown.length)} more`)
        : null,
    ),
  ];
}

function course(run: RunSummary): Child[] {
  const planned = run.epochs_planned === null ? "" : ` of ${integer(run.epochs_planned)}`;
  const rows: [string, Child][] = [
    ["trained", `${plural(run.steps, "step")}, epoch ${integer(run.epochs)}${planned}`],
    ["state", words.stateNote(run.state, run.stopped_by) || "finished"],
  ];
  if (run.updated > run.started) rows.push(["time", words.duration(run.updated - run.started)]);
  if (run.worker) rows.push(["worker", run.worker]);
  if (run.loss_scale !== null) {
    rows.push(["loss scale", `${compact(run.loss_scale, 6)} after the last step`]);
    rows.push(["skipped", plural(run.skipped_steps ?? 0, "step")]);
  }
  const nodes: Child[] = [el("h3", {}, "Training"), list(rows)];
  if (run.error_type) {
    nodes.push(fold(`ended with ${run.error_type}`, el("pre", {}, run.error_message ?? "")));
  }
  if (run.damage.length) {
    nodes.push(
      el("h3", { class: "bad-text" }, "The log is damaged"),
      el("ul", { "data-fact": "damage" }, ...run.damage.map((d) => el("li", {}, d))),
      el(
        "p",
        { class: "aside" },
        "What could be read is shown. If the files were copied, copy the log directory anew; " +
          "if the training was killed, its last records were never written.",
      ),
    );
  }
  return nodes;
}

function environment(detail: RunDetail | null): Child[] {
  if (!detail) return [];
  const e = detail.environment;
  const optimizer =
    typeof e.optimizer.class_name === "string"
      ? e.optimizer.class_name
      : typeof e.optimizer.name === "string"
        ? e.optimizer.name
        : "";
  const rows: [string, Child][] = [];
  const add = (term: string, value: string) => value && rows.push([term, value]);
  add("model", e.model);
  add("optimizer", optimizer);
  add("loss", e.loss);
  add("precision", e.precision);
  if (e.replicas > 1) add("replicas", integer(e.replicas));
  if (e.jit_compile) add("XLA", "compiled");
  if (e.steps_per_execution > 1) add("steps per execution", integer(e.steps_per_execution));
  for (const [name, version] of Object.entries(e.versions)) add(name, version);
  const nodes: Child[] = [];
  if (e.notes.length) {
    nodes.push(el("h3", {}, "Not watched"), el("ul", {}, ...e.notes.map((n) => el("li", {}, n))));
  }
  if (rows.length) nodes.push(fold("environment", list(rows)));
  return nodes;
}

/** All texts about a run; why and what to change come first, as readers want them most. */
export function factsOf(run: RunSummary, detail: RunDetail | null, model: Model): Child[] {
  return [
    ...happened(run, detail?.run.clean_text || run.clean_text),
    ...causes(run, model.overview.meanings),
    ...postmortem(run),
    ...tunerView(run, model),
    ...hparams(run, model),
    ...contained(run, detail),
    ...course(run),
    ...environment(detail),
  ];
}
