// SPDX-License-Identifier: Apache-2.0
// Computes the width of each column of the table, and which hyperparameters have room.

import * as words from "../format/words";
import { hparamOf } from "../state/order";
import type { Model } from "../state/state";

interface HParamCell {
  name: string;
  /** The value is written beside the axis. */
  written: boolean;
  axis: boolean;
  width: number;
  /** Room behind it, for the button that shows or hides the others. */
  after: number;
}

export interface Columns {
  hparams: HParamCell[];
  /** Hyperparameters that find no room, and whether they are shown all the same. */
  spare: string[];
  showsAll: boolean;
  trial: number;
  status: number;
  lane: number;
  /** Where the lanes begin. */
  laneLeft: number;
  score: number;
  template: string;
  total: number;
}

const SCORE = 172; // a score and the badge "scored anyway"
const LANE_MIN = 300;
// Lanes give way to the button that shows the other hyperparameters, and to these themselves:
// the score is to stay in sight.
const LANE_BESIDE_MORE = 270;
const LANE_LEAST = 136;
const MORE = 66; // "+12 more"
const LANE_SHARE = 0.42;
const AXIS = 74;
const AXIS_WIDE = 132;
const VALUE = 62;
const CATEGORY_MIN = 64;
const CATEGORY_MAX = 128;
const GAPS = 2;
const LABEL_MAX = 118;
// Widths of 12 px text, on the generous side: measuring a thousand rows costs layout.
const CHARACTER = 6.5;

export function layOut(model: Model, width: number, showAll: boolean): Columns {
  const sorted = hparamOf(model.sort.column);
  // A facet says its value in its heading.
  const names = model.ranking.names.filter((n) => n !== model.facet || n === sorted);
  if (sorted && names.includes(sorted)) {
    names.splice(names.indexOf(sorted), 1);
    names.unshift(sorted);
  }
  const longest = model.trials.reduce(
    (most, t) => Math.max(most, words.shortName(t.runs[0]!).length),
    4,
  );
  const attempt = model.trials.reduce(
    (most, t) =>
      t.runs.reduce(
        (m, r) => Math.max(m, r.attempt.length + (r.superseded ? "earlier, ".length : 0)),
        most,
      ),
    0,
  );
  const continued = model.trials.some((t) => t.continues !== null) ? 14 : 0;
  const trial = Math.min(
    230,
    Math.max(58, longest * 7.4 + 22 + continued + (attempt ? 6.2 * attempt + 10 : 0)),
  );
  const status = statusWidth(model);
  const fixed = trial + status + SCORE + GAPS;
  const laneWanted = Math.max(LANE_MIN, (width - fixed) * LANE_SHARE);
  const wanted = names.map((name): HParamCell => {
    const scale = model.ranking.scales.get(name)!;
    const first = name === sorted;
    return {
      name,
      written: first || !scale.numeric,
      axis: scale.numeric,
      width: Math.max(
        scale.numeric ? (first ? VALUE + AXIS_WIDE : AXIS) : categoryWidth(model, name),
        Math.min(LABEL_MAX, labelWidth(name, first)),
      ),
      after: 0,
    };
  });
  const all = width - fixed - laneWanted;
  let fitting = thatFit(wanted, all, sorted);
  const spare = fitting.length < wanted.length;
  const beside = Math.min(all, width - fixed - LANE_BESIDE_MORE - MORE);
  if (spare) fitting = thatFit(wanted, beside, sorted);
  const showsAll = spare && showAll;
  const first = showsAll && wanted.find((c) => c.name === sorted && c.axis);
  if (first) first.width = Math.max(VALUE + AXIS, labelWidth(first.name, true));
  const hparams = showsAll ? wanted : fitting;
  const shown = new Set(fitting);
  let room = all - hparams.reduce((sum, c) => sum + c.width, spare ? MORE : 0);
  // Names first: a name that is cut says nothing.
  for (const cell of hparams) {
    const missing = labelWidth(cell.name, cell.name === sorted) - cell.width;
    if (missing > 0 && missing <= room) {
      cell.width += missing;
      room -= missing;
    }
  }
  // Room that is left goes to writing values out, then to the lanes.
  for (const cell of hparams) {
    if (!cell.written && room >= VALUE + 60) {
      cell.written = true;
      cell.width += VALUE;
      room -= VALUE;
    }
  }
  const last = hparams.at(-1);
  if (spare && last) {
    last.after = MORE;
    last.width += MORE;
  }
  const used = hparams.reduce((sum, c) => sum + c.width, 0);
  const lane = Math.max(LANE_LEAST, Math.floor(width - fixed - used));
  const before = [trial, ...hparams.map((c) => c.width), status].map(Math.floor);
  const template = [...before, lane, SCORE].map((w) => `${w}px`).join(" ");
  return {
    hparams,
    spare: wanted.filter((c) => !shown.has(c)).map((c) => c.name),
    showsAll,
    trial,
    status,
    lane,
    laneLeft: before.reduce((sum, w) => sum + w, 0),
    score: SCORE,
    template,
    total: fixed + used + lane,
  };
}

/** The hyperparameters that have room, in order; the sort column always has. */
function thatFit(wanted: readonly HParamCell[], room: number, sorted: string | null): HParamCell[] {
  let left = room;
  return wanted.filter((cell) => {
    if (cell.name !== sorted && cell.width > left) return false;
    left -= cell.width;
    return true;
  });
}

/** Of a name in the head: bold and with an arrow where the rows are sorted by it. */
function labelWidth(name: string, sorted: boolean): number {
  return name.length * (sorted ? 7.2 : CHARACTER) + (sorted ? 30 : 20);
}

function categoryWidth(model: Model, name: string): number {
  let longest = 0;
  for (const trial of model.trials) {
    longest = Math.max(longest, words.value(trial.hparams[name]).length);
  }
  return Math.min(CATEGORY_MAX, Math.max(CATEGORY_MIN, longest * CHARACTER + 18));
}

function statusWidth(model: Model): number {
  let longest = 0;
  for (const trial of model.trials) {
    for (const run of trial.runs) {
      const aside = run.onset && trial.bad ? words.shortPosition(run.onset) : "";
      longest = Math.max(longest, aside.length);
    }
  }
  return Math.min(270, Math.max(184, 104 + longest * CHARACTER));
}
