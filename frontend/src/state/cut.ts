// SPDX-License-Identifier: Apache-2.0
// The cut: a line between two values of the hyperparameter that orders the rows, with the
// trials that it would remove, lose and keep, and the edit that it stands for; pure.

import type { JSONScalar } from "../api/schema.gen";
import type { Finding, SpaceEdit } from "../api/types";
import { integer } from "../format/number";
import { hparamOf, type Line, type Ranking, type Sort } from "./order";
import type { Trial } from "./trials";

/** "ge" removes the values above `bound`, "le" those below it. */
interface Bound {
  op: "ge" | "le";
  bound: number;
}

/** The group that is cut: of a facet, or (null) all trials. */
export interface Group {
  facet: string;
  /** undefined: the trials in which the facet is not active. */
  value: JSONScalar | undefined;
}

export interface Cut extends Bound {
  hparam: string;
  group: Group | null;
}

/** Where the line may stand. */
export interface Place {
  bound: number;
  /** Index of the table's line above which it stands. */
  line: number;
}

export interface CutView {
  cut: Cut;
  places: Place[];
  /** Index into `places`; the nearest where the cut lies between rows that are not shown. */
  place: number;
  /** Index of the line above which the cut stands. */
  line: number;
  outcome: Outcome;
  /** The edit of the space that it stands for; undefined until the server has answered. */
  edit: SpaceEdit | undefined;
  /** The verdict above shows the same code. */
  told: boolean;
}

export interface Outcome {
  bad: number;
  removedBad: number;
  clean: number;
  removedClean: number;
  /** Whether the best trial stays; null where there is none. */
  keepsBest: boolean | null;
}

/** The data that cuts are computed from. */
export interface CutBasis {
  trials: readonly Trial[];
  lines: readonly Line[];
  ranking: Ranking;
  sort: Sort;
  facet: string | null;
  /** The trial with the best score. */
  best: Trial | null;
}

/** The numeric hyperparameter that orders the rows; null where none does. */
export function cuttable({ sort, ranking }: Pick<CutBasis, "sort" | "ranking">): string | null {
  const name = hparamOf(sort.column);
  return name !== null && ranking.scales.get(name)?.numeric ? name : null;
}

function groupsOf(basis: CutBasis): (Group | null)[] {
  if (basis.facet === null || !basis.ranking.scales.has(basis.facet)) return [null];
  const groups: Group[] = [];
  for (const line of basis.lines) {
    if (line.type === "facet") groups.push({ facet: line.name, value: line.value });
  }
  return groups;
}

function takes(cut: Bound, value: number | null): boolean {
  if (value === null) return false;
  return cut.op === "ge" ? value > cut.bound : value < cut.bound;
}

/**
 * The number with the fewest digits near the middle of an interval, within it. It may equal
 * `live`, which stays, and never `dead`, which goes. As tb_nanwatch/reading/search/edit.py has it.
 */
export function shortBetween(live: number, dead: number, log: boolean): number {
  const low = Math.min(live, dead);
  const high = Math.max(live, dead);
  const middle = log && low > 0 ? Math.sqrt(low) * Math.sqrt(high) : low / 2 + high / 2;
  for (let digits = 0; digits < 16; digits++) {
    const rounded = Number(middle.toExponential(digits));
    if (rounded >= low && rounded <= high && rounded !== dead) return rounded;
  }
  return live;
}

/** All places of a line in a group, from top to bottom. */
export function placesOf(basis: CutBasis, group: Group | null, op: Bound["op"]): Place[] {
  const name = cuttable(basis);
  if (name === null) return [];
  const log = basis.ranking.scales.get(name)!.log;
  const places: Place[] = [];
  let above: number | null = null;
  basis.lines.forEach((line, index) => {
    if (line.type !== "run" || !line.first || !inGroup(line.trial, group)) return;
    const value = numberOf(line.trial, name);
    if (value === null) return;
    if (above !== null && above !== value) {
      // Which of the two goes depends on the side that is removed, not on the order.
      const [live, dead] = above < value === (op === "ge") ? [above, value] : [value, above];
      places.push({ bound: shortBetween(live, dead, log), line: index });
    }
    above = value;
  });
  return places;
}

/** The cut at a place of a group, or null where the rows cannot be cut there. */
export function viewOf(
  basis: CutBasis,
  cut: Cut,
  edit?: SpaceEdit,
  finding?: Finding,
): CutView | null {
  if (cuttable(basis) !== cut.hparam) return null;
  if (!groupsOf(basis).some((g) => sameGroup(g, cut.group))) return null;
  const places = placesOf(basis, cut.group, cut.op);
  if (!places.length) return null;
  // New trials may have come between, or rows be filtered out: the bound stays.
  const exact = places.findIndex((p) => p.bound === cut.bound);
  const place = exact < 0 ? nearest(basis, cut, places) : exact;
  return {
    cut,
    places,
    place,
    line: exact < 0 ? lineOf(basis, cut) || places[place]!.line : places[exact]!.line,
    outcome: outcomeOf(basis.trials, basis.best, (trial) => removes(cut, trial)),
    edit,
    told: edit !== undefined && edit.code !== "" && edit.code === finding?.edit,
  };
}

/** The first line of the group that lies on the lower side of the cut. */
function lineOf(basis: CutBasis, cut: Cut): number {
  const removedOnTop = basis.sort.descending === (cut.op === "ge");
  let after = 0;
  for (const [index, line] of basis.lines.entries()) {
    if (line.type !== "run" || !inGroup(line.trial, cut.group)) continue;
    const value = numberOf(line.trial, cut.hparam);
    if (value === null) continue;
    if (takes(cut, value) !== removedOnTop) return index;
    after = index + 1;
  }
  return after;
}

function nearest(basis: CutBasis, cut: Cut, places: readonly Place[]): number {
  const scale = basis.ranking.scales.get(cut.hparam)!;
  const at = (v: number) => scale.at(v) ?? 0.5;
  let best = 0;
  places.forEach((p, i) => {
    if (Math.abs(at(p.bound) - at(cut.bound)) < Math.abs(at(places[best]!.bound) - at(cut.bound)))
      best = i;
  });
  return best;
}

/** @param gone tells which trials an edit leaves out. */
export function outcomeOf(
  trials: readonly Trial[],
  best: Trial | null,
  gone: (trial: Trial) => boolean,
): Outcome {
  const outcome: Outcome = {
    bad: 0,
    removedBad: 0,
    clean: 0,
    removedClean: 0,
    keepsBest: best === null ? null : !gone(best),
  };
  for (const trial of trials) {
    if (!isKnown(trial)) continue;
    const one = gone(trial) ? 1 : 0;
    if (trial.bad) {
      outcome.bad++;
      outcome.removedBad += one;
    } else {
      outcome.clean++;
      outcome.removedClean += one;
    }
  }
  return outcome;
}

/** Counts as the server does: running trials are left out, since their end is unknown. */
function isKnown(trial: Trial): boolean {
  if (trial.bad) return true;
  return (
    trial.status !== "unwatched" &&
    trial.runs.every((r) => r.superseded || (r.state !== "running" && r.state !== "interrupted"))
  );
}

export function removes(cut: Cut, trial: Trial): boolean {
  return inGroup(trial, cut.group) && takes(cut, numberOf(trial, cut.hparam));
}

function numberOf(trial: Trial, name: string): number | null {
  const value = trial.hparams[name];
  return typeof value === "number" && !Number.isNaN(value) ? value : null;
}

function inGroup(trial: Trial, group: Group | null): boolean {
  return group === null || (trial.hparams[group.facet] ?? undefined) === group.value;
}

function sameGroup(a: Group | null, b: Group | null): boolean {
  if (a === null || b === null) return a === b;
  return a.facet === b.facet && a.value === b.value;
}

/** "removes 5 of 5 bad, loses 0 of 19 clean, keeps the best score" */
export function outcomeText(o: Outcome): string {
  const best = o.keepsBest === null ? "" : `, ${o.keepsBest ? "keeps" : "loses"} the best score`;
  return (
    `removes ${integer(o.removedBad)} of ${integer(o.bad)} bad, ` +
    `loses ${integer(o.removedClean)} of ${integer(o.clean)} clean${best}`
  );
}

/** "removed side: 5 of 5 bad (95 % interval 57–100 %)" */
export function intervalText(o: Outcome): string {
  const total = o.removedBad + o.removedClean;
  if (total === 0) return "removed side: no trial";
  const [low, high] = wilson(o.removedBad, total);
  const percent = (rate: number) => Math.round(100 * rate);
  return (
    `removed side: ${integer(o.removedBad)} of ${integer(total)} bad ` +
    `(95 % interval ${percent(low)}–${percent(high)} %)`
  );
}

const Z95 = 1.959963984540054;

/** Wilson's score interval of a rate; all of it where nothing was tried. */
export function wilson(hits: number, total: number): [number, number] {
  if (total <= 0) return [0, 1];
  const rate = hits / total;
  const denominator = 1 + Z95 ** 2 / total;
  const centre = (rate + Z95 ** 2 / (2 * total)) / denominator;
  const half =
    (Z95 * Math.sqrt((rate * (1 - rate)) / total + Z95 ** 2 / (4 * total ** 2))) / denominator;
  // At 0 and 1 the ends are exact.
  return [
    hits === 0 ? 0 : Math.max(0, centre - half),
    hits === total ? 1 : Math.min(1, centre + half),
  ];
}

// --- Where the line stands at first ---

/**
 * Where the first finding says, if the rows are ordered and grouped so that it is a line
 * between two of them. Its counts tell the place: numbers in its text are rounded.
 */
export function suggestedCut(basis: CutBasis, finding: Finding | undefined): Cut | null {
  const name = cuttable(basis);
  if (!finding || finding.hparam !== name) return null;
  for (const op of ["ge", "le"] as const) {
    const own = `${name} ${op === "ge" ? ">=" : "<="} `;
    for (const group of groupsOf(basis)) {
      if (!says(finding.condition, own, group, basis)) continue;
      const removed = tally(basis, group);
      for (const { bound } of placesOf(basis, group, op)) {
        const { bad, total } = removed({ op, bound });
        if (bad === finding.inside[0] && total === finding.inside[1])
          return { hparam: name, group, op, bound };
      }
    }
  }
  return null;
}

/** Counts the trials that each cut of a group removes, in one pass over the trials. */
function tally(basis: CutBasis, group: Group | null) {
  const name = cuttable(basis)!;
  const known = basis.trials
    .filter((t) => isKnown(t) && inGroup(t, group) && numberOf(t, name) !== null)
    .map((t) => ({ value: numberOf(t, name)!, bad: t.bad }))
    .sort((a, b) => a.value - b.value);
  const badBelow = new Float64Array(known.length + 1);
  known.forEach(({ bad }, i) => {
    badBelow[i + 1] = badBelow[i]! + Number(bad);
  });
  return ({ op, bound }: Bound): { bad: number; total: number } => {
    let low = 0;
    let high = known.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const below = op === "ge" ? known[middle]!.value <= bound : known[middle]!.value < bound;
      if (below) low = middle + 1;
      else high = middle;
    }
    return op === "ge"
      ? { bad: badBelow[known.length]! - badBelow[low]!, total: known.length - low }
      : { bad: badBelow[low]!, total: low };
  };
}

function says(condition: string, own: string, group: Group | null, basis: CutBasis): boolean {
  if (group === null) return condition.startsWith(own) && !condition.includes(" and ");
  const level = typeof group.value === "boolean" ? literalBool(group.value) : String(group.value);
  const other = `${group.facet} = ${level}`;
  return (
    basis.facet === group.facet &&
    (condition.startsWith(`${other} and ${own}`) ||
      (condition.startsWith(own) && condition.endsWith(` and ${other}`)))
  );
}

const literalBool = (value: boolean): string => (value ? "True" : "False");

/** The place in a group that removes most bad trials for the good ones it loses. */
export function bestCut(basis: CutBasis, group: Group | null): Cut | null {
  return best(basis, group)?.cut ?? null;
}

function best(basis: CutBasis, group: Group | null): { cut: Cut; gain: number } | null {
  const hparam = cuttable(basis);
  if (hparam === null) return null;
  const removed = tally(basis, group);
  let found: { cut: Cut; gain: number } | null = null;
  // Of equally good cuts, take the one that removes the table's upper side: bad trials stand there.
  const ops = basis.sort.descending ? (["ge", "le"] as const) : (["le", "ge"] as const);
  for (const op of ops) {
    for (const { bound } of placesOf(basis, group, op)) {
      const { bad, total } = removed({ op, bound });
      const gain = 2 * bad - total;
      if (found === null || gain > found.gain) found = { cut: { hparam, group, op, bound }, gain };
    }
  }
  return found;
}

/** The group whose best cut gains most, for the first cut before the user places one. */
export function firstCut(basis: CutBasis): Cut | null {
  let found: { cut: Cut; gain: number } | null = null;
  for (const group of groupsOf(basis)) {
    const there = best(basis, group);
    if (there && (found === null || there.gain > found.gain)) found = there;
  }
  return found?.cut ?? null;
}

/** The same line, with the other side removed. */
export function otherSide(basis: CutBasis, view: CutView): Cut {
  const op = view.cut.op === "ge" ? "le" : "ge";
  const places = placesOf(basis, view.cut.group, op);
  return { ...view.cut, op, bound: places[view.place]?.bound ?? view.cut.bound };
}
