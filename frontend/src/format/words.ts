// SPDX-License-Identifier: Apache-2.0
// The product's words for positions, tensors, statuses and times: those of the server
// (tb_nanwatch/wording/places.py), whose cases the tests read.

import {
  type BadTensor,
  type Episode,
  type JSONScalar,
  KIND_TEXT,
  type Kind,
  type Position,
  STATUS_TEXT,
  type State,
  type Status,
} from "../api/schema.gen";
import { compact, integer, scientific } from "./number";

/** "epoch 1, batch 38": from 1, as progress bars count. */
export function shortPosition(at: Position): string {
  if (at.phase === "validation") return `validation of epoch ${at.epoch + 1}`;
  return `epoch ${at.epoch + 1}, batch ${at.batch + 1}`;
}

/** "epoch 1, batch 38 (step 37)": the step from 0, as TensorBoard counts. */
export function position(at: Position): string {
  const where = `epoch ${at.epoch + 1}, batch ${at.batch + 1} (step ${at.step})`;
  return at.phase === "validation" ? `validation of ${where}` : where;
}

/** "gradient of dense_2/kernel"; "loss" where the name says no more than the kind. */
export function tensor(kind: Kind, name: string): string {
  const plain = kind.replace("_", " ");
  const label = KIND_TEXT[kind] ?? plain;
  if (name === "" || (label === plain && (name === kind || name === plain))) return plain;
  return `${label} ${name}`;
}

export const KIND_HEADINGS: Record<Kind, string> = {
  input: "input",
  label: "label",
  sample_weight: "sample weight",
  activation: "activations",
  prediction: "prediction",
  loss: "loss",
  metric: "metrics",
  gradient: "gradients",
  optimizer: "optimizer slots",
  weight: "weights",
  layer_state: "layer state",
};

/** "3 NaN, 12 Inf and 1 -Inf" */
export function enumerated(parts: readonly string[]): string {
  const rest = parts.slice(0, -1).join(", ");
  return [rest, parts.at(-1) ?? ""].filter(Boolean).join(" and ");
}

/** "3 NaN and 12 Inf of 2,048" */
export function counts(t: BadTensor): string {
  const parts: string[] = [];
  if (t.num_nan) parts.push(`${integer(t.num_nan)} NaN`);
  if (t.num_pos_inf) parts.push(`${integer(t.num_pos_inf)} Inf`);
  if (t.num_neg_inf) parts.push(`${integer(t.num_neg_inf)} -Inf`);
  const all = enumerated(parts);
  if (all === "") return "";
  return t.size > 0 ? `${all} of ${integer(t.size)}` : all;
}

// Their first axis counts the examples of the batch.
const OF_THE_BATCH: readonly Kind[] = ["input", "label", "sample_weight", "prediction"];

/** ", the first in row 24 of the batch", or nothing for a scalar */
export function firstBad(t: BadTensor): string {
  if (t.row === null) return "";
  const row = integer(t.row);
  if (OF_THE_BATCH.includes(t.kind)) return `, the first in row ${row} of the batch`;
  if (t.kind === "activation" || t.kind === "loss") return `, the first in row ${row}`;
  return `, the first at index ${row} of its first axis`;
}

/** A status in words; what is clean while it still runs is only clean so far. */
export function status(value: Status, state: State): string {
  return value === "clean" && state === "running" ? "clean so far" : STATUS_TEXT[value];
}

/** How a run ended, where that is not simply "finished". */
export function stateNote(state: State, stoppedBy: string | null): string {
  switch (state) {
    case "finished":
      return "";
    case "running":
      return "running";
    case "stopped":
      return stoppedBy ? `stopped by ${stoppedBy}` : "stopped";
    case "failed":
      return "failed";
    case "interrupted":
      return "interrupted";
  }
}

/** "12 decades below": how far a share of a whole lies from it. */
export function decades(share: number): string {
  const below = -Math.log10(share);
  if (!(below >= 1)) return "less than a decade below";
  return `${Math.floor(below)} ${Math.floor(below) === 1 ? "decade" : "decades"} below`;
}

/** A run's name where a column or an axis says already that it is a trial: "#3". */
export function shortName(run: { name: string }): string {
  return run.name.replace(/^Trial /, "");
}

export function episodeSpan(e: Episode): string {
  const start = position(e.start);
  if (e.end_step === null) return `${start}, to the end`;
  if (e.end_step <= e.start.step) return start;
  return `${start} to step ${integer(e.end_step)}`;
}

/** A hyperparameter's value. */
export function value(v: JSONScalar | undefined, log = false): string {
  if (v === undefined || v === null) return "–";
  if (typeof v === "number") return log ? scientific(v) : compact(v);
  if (typeof v === "boolean") return v ? "True" : "False";
  return v;
}

/** "today 14:02", "yesterday 09:10", "3 Nov 14:02" in the reader's own time zone. */
export function moment(seconds: number, now: Date = new Date()): string {
  if (!seconds) return "";
  const at = new Date(seconds * 1000);
  const clock = `${String(at.getHours()).padStart(2, "0")}:${String(at.getMinutes()).padStart(2, "0")}`;
  const day = (d: Date) => new Date(d.getFullYear(), d.getMonth(), d.getDate()).getTime();
  const days = Math.round((day(now) - day(at)) / 86_400_000);
  if (days === 0) return `today ${clock}`;
  if (days === 1) return `yesterday ${clock}`;
  const month = at.toLocaleDateString("en-GB", { month: "short" });
  const year = at.getFullYear() === now.getFullYear() ? "" : ` ${at.getFullYear()}`;
  return `${at.getDate()} ${month}${year} ${clock}`;
}

export function duration(seconds: number): string {
  if (seconds < 10) return `${compact(seconds, 2)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${compact(seconds / 3600, 2)} h`;
}

export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
