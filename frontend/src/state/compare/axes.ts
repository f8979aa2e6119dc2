// SPDX-License-Identifier: Apache-2.0
// Axes on which trials are compared: each hyperparameter that varies, the first bad step
// and the score. Trials without a place on an axis (inactive, no score) stand beside it.

import type { JSONScalar } from "../../api/schema.gen";
import { compact, integer } from "../../format/number";
import * as words from "../../format/words";
import type { Model } from "../state";
import type { Trial } from "../trials";
import type { Brush } from "./state";

export interface Axis {
  name: string;
  title: string;
  /** Place in [0, 1] from the low end; null: none. */
  at(trial: Trial): number | null;
  text(trial: Trial): string;
  /** The meaning of having no place on this axis. */
  none: string;
  ticks: { at: number; label: string }[];
  log: boolean;
  /** How many values trials took on it. */
  levels: number;
}

const ONSET_AXIS = "first bad step";
const SCORE_AXIS = "score";

export function hparamAxis(model: Model, name: string): Axis {
  const scale = model.ranking.scales.get(name);
  const space = model.ranking.space.find((h) => h.name === name);
  const values = [...new Set(model.trials.map((t) => t.hparams[name]))].filter(
    (v) => v !== undefined && v !== null,
  );
  const declared = space?.type === "choice" ? (space.values ?? []) : [];
  const bounds = [space?.min, space?.max].filter((v) => typeof v === "number");
  const all = [...new Set([...declared, ...values, ...(scale?.numeric ? bounds : [])])];
  const place = (v: JSONScalar | undefined) => ({
    at: scale?.at(v) ?? null,
    label: words
      .value(v, typeof v === "number" && v !== 0 && Math.abs(v) < 0.01)
      .replace(".0e", "e"),
  });
  const placed = all
    .map(place)
    .filter((t): t is { at: number; label: string } => t.at !== null)
    .sort((a, b) => a.at - b.at);
  // A few values are all labelled; of a continuous axis its ends, and the decades of a log.
  const numbers = all.filter((v) => typeof v === "number");
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
  const decades: { at: number; label: string }[] = [];
  for (let d = Math.ceil(Math.log10(low)); scale?.log && d <= Math.log10(high); d++) {
    const tick = place(Number(`1e${d}`));
    if (tick.at !== null) decades.push({ at: tick.at, label: tick.label });
  }
  const ends = placed.length ? [placed[0]!, placed[placed.length - 1]!] : [];
  return {
    name,
    title: name,
    at: (t) => scale?.at(t.hparams[name]) ?? null,
    text: (t) => words.value(t.hparams[name]),
    none: "not active",
    ticks: placed.length <= 9 && !decades.length ? placed : decades.length >= 2 ? decades : ends,
    log: scale?.log ?? false,
    levels: values.length,
  };
}

/** Hyperparameters that took several values, or were active in some trials only. */
export function varying(model: Model): string[] {
  return model.ranking.names.filter(
    (name) => new Set(model.trials.map((t) => t.hparams[name] ?? null)).size > 1,
  );
}

export function outcomeAxes(model: Model): Axis[] {
  const most = model.trials.reduce((m, t) => Math.max(m, t.onsetStep ?? 0), 1);
  const place = (step: number) => Math.log(step + 1) / Math.log(most + 1);
  const onset: Axis = {
    name: ONSET_AXIS,
    title: ONSET_AXIS,
    at: (t) => (t.onsetStep === null ? null : place(t.onsetStep)),
    text: (t) => (t.onsetStep === null ? "never" : integer(t.onsetStep)),
    none: "never",
    ticks: [
      { at: 0, label: "0" },
      { at: 1, label: integer(most) },
    ],
    log: true,
    levels: Number.POSITIVE_INFINITY,
  };
  const scores = model.trials
    .map((t) => t.score)
    .filter((s): s is number => s !== null && model.score.at(s) !== null);
  const low = Math.min(...scores);
  const high = Math.max(...scores);
  const score: Axis = {
    name: SCORE_AXIS,
    title: SCORE_AXIS,
    at: (t) => (t.score === null ? null : model.score.at(t.score)),
    text: (t) => (t.score === null ? "none" : compact(t.score, 4)),
    none: "no score, or one not to be used",
    ticks: scores.length
      ? [
          { at: 0, label: compact(low) },
          { at: 1, label: compact(high) },
        ]
      : [],
    log: model.score.log,
    levels: Number.POSITIVE_INFINITY,
  };
  return model.trials.some((t) => t.bad) ? [onset, score] : [score];
}

/** A brush leaves out trials outside it, and trials without a place on the axis. */
export function kept(
  trial: Trial,
  axes: readonly Axis[],
  brushes: Readonly<Record<string, Brush>>,
): boolean {
  return axes.every((axis) => {
    const brush = brushes[axis.name];
    if (!brush) return true;
    const at = axis.at(trial);
    return at === null ? brush[0] < 0 : at >= brush[0] - 1e-9 && at <= brush[1] + 1e-9;
  });
}
