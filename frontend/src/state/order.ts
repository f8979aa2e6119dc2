// SPDX-License-Identifier: Apache-2.0
// The order of the table's lines: sorting, facets, executions under their trial.

import type { HParam, JSONScalar } from "../api/schema.gen";
import type { Finding, RunSummary, SearchSummary } from "../api/types";
import { type HParamScale, hparamScale } from "../scale/hparam";
import { noteworthy, type Separation, separations, separationWithin } from "./rank";
import type { Trial } from "./trials";

export type SortColumn = "trial" | "onset" | "steps" | "score" | `hparam:${string}`;

export interface Sort {
  column: SortColumn;
  descending: boolean;
}

export type Line =
  | { type: "facet"; name: string; value: JSONScalar | undefined; bad: number; total: number }
  | { type: "run"; trial: Trial; run: RunSummary; first: boolean };

export const hparamColumn = (name: string): SortColumn => `hparam:${name}`;
export const hparamOf = (column: SortColumn): string | null =>
  column.startsWith("hparam:") ? column.slice("hparam:".length) : null;

/** The search space, widened by hyperparameters that only runs know. */
function spaceOf(search: SearchSummary, trials: readonly Trial[]): HParam[] {
  const space = [...search.hparams];
  const known = new Set(space.map((h) => h.name));
  for (const trial of trials) {
    for (const [name, value] of Object.entries(trial.hparams)) {
      if (known.has(name)) continue;
      known.add(name);
      space.push({
        name,
        type: typeof value === "number" ? "number" : "text",
        active: true,
        min: null,
        max: null,
        step: null,
        sampling: null,
        values: null,
        ordered: null,
        default: null,
        conditions: [],
      });
    }
  }
  return space;
}

export interface Ranking {
  space: HParam[];
  scales: Map<string, HParamScale>;
  ranked: Separation[];
  /** Hyperparameters, those most associated with going bad first. */
  names: string[];
  /** The order and the facet in which the border is seen best. */
  sort: Sort;
  facet: string | null;
}

export function rank(
  search: SearchSummary,
  trials: readonly Trial[],
  findings: readonly Finding[],
): Ranking {
  const space = spaceOf(search, trials);
  const scales = new Map(
    space.map((h) => [
      h.name,
      hparamScale(
        h,
        trials.map((t) => t.hparams[h.name] ?? null),
      ),
    ]),
  );
  const ranked = separations(trials, space);
  const found = findings.find((f) => f.search === search.search && scales.has(f.hparam));
  const best = found ? ranked.find((s) => s.name === found.hparam) : noteworthy(ranked);
  const place = new Map(ranked.map((s, i) => [s.name, i]));
  const names = space
    .map((h) => h.name)
    .sort((a, b) => {
      if (a === best?.name) return -1;
      if (b === best?.name) return 1;
      return (place.get(a) ?? ranked.length) - (place.get(b) ?? ranked.length);
    });
  const suggestion =
    (found && best && suggestFound(found, best, space, scales)) ??
    suggest(best ?? null, ranked, trials, space, scales);
  return { space, scales, ranked, names, ...suggestion };
}

/** Where the finding names a category's value beside a number, that category facets. */
function suggestFound(
  found: Finding,
  best: Separation,
  space: readonly HParam[],
  scales: ReadonlyMap<string, HParamScale>,
): Pick<Ranking, "sort" | "facet"> | null {
  if (!scales.get(best.name)?.numeric) return null;
  const category = space.find(
    (h) =>
      !scales.get(h.name)?.numeric &&
      (found.condition.startsWith(`${h.name} = `) || found.condition.includes(` and ${h.name} = `)),
  );
  if (!category) return null;
  const high = found.condition.includes(`${best.name} >= `);
  return { sort: { column: hparamColumn(best.name), descending: high }, facet: category.name };
}

// Nobody takes in more groups than this at a glance.
const MOST_SUGGESTED_FACETS = 6;
// A facet is one more thing to understand: it has to be worth that much.
const FACET_MARGIN = 1.05;

/**
 * Often the border runs through a number within the groups of a category (SGD dies above
 * a learning rate, Adam does not). Where such a pair tells more than the best
 * hyperparameter alone, the category facets and the number orders.
 */
function suggest(
  best: Separation | null,
  ranked: readonly Separation[],
  trials: readonly Trial[],
  space: readonly HParam[],
  scales: ReadonlyMap<string, HParamScale>,
): Pick<Ranking, "sort" | "facet"> {
  let suggestion: Pick<Ranking, "sort" | "facet"> = best
    ? { sort: { column: hparamColumn(best.name), descending: best.badIsHigh }, facet: null }
    : { sort: { column: "onset", descending: false }, facet: null };
  let most = (best?.weight ?? 0) * FACET_MARGIN;
  for (const category of ranked) {
    if (scales.get(category.name)?.numeric) continue;
    const groups = groupBy(trials, (t) => t.hparams[category.name]);
    if (groups.size > MOST_SUGGESTED_FACETS) continue;
    for (const number of space) {
      if (!scales.get(number.name)?.numeric) continue;
      const inside = noteworthy(
        [separationWithin(groups.values(), number)].filter((s) => s !== null),
      );
      const both = inside ? Math.hypot(category.weight, inside.weight) : 0;
      if (!inside || both <= most) continue;
      most = both;
      suggestion = {
        sort: { column: hparamColumn(inside.name), descending: inside.badIsHigh },
        facet: category.name,
      };
    }
  }
  return suggestion;
}

function groupBy<K>(trials: readonly Trial[], key: (trial: Trial) => K): Map<K, Trial[]> {
  const groups = new Map<K, Trial[]>();
  for (const trial of trials) {
    const group = groups.get(key(trial));
    if (group) group.push(trial);
    else groups.set(key(trial), [trial]);
  }
  return groups;
}

function sortKey(trial: Trial, column: SortColumn, ranking: Ranking): number | string {
  switch (column) {
    case "trial": {
      const number = trial.runs[0]!.number;
      return number ?? trial.id;
    }
    case "onset":
      return trial.onsetStep ?? Number.POSITIVE_INFINITY;
    case "steps":
      return trial.steps;
    case "score":
      return trial.score === null || Number.isNaN(trial.score)
        ? Number.POSITIVE_INFINITY
        : trial.score;
    default: {
      const name = hparamOf(column)!;
      return ranking.scales.get(name)?.order(trial.hparams[name]) ?? Number.POSITIVE_INFINITY;
    }
  }
}

// Made once: `localeCompare` makes one for each pair of names.
const BY_NAME = new Intl.Collator("en", { numeric: true });

export function sortTrials(trials: readonly Trial[], sort: Sort, ranking: Ranking): Trial[] {
  const keyed = trials.map((trial) => ({ trial, key: sortKey(trial, sort.column, ranking) }));
  const sign = sort.descending ? -1 : 1;
  keyed.sort((a, b) => {
    const missingA = a.key === Number.POSITIVE_INFINITY;
    const missingB = b.key === Number.POSITIVE_INFINITY;
    // Trials without a value stand last, whichever way the column is sorted.
    if (missingA !== missingB) return missingA ? 1 : -1;
    if (!missingA) {
      const order =
        typeof a.key === "number" && typeof b.key === "number"
          ? a.key - b.key
          : BY_NAME.compare(String(a.key), String(b.key));
      if (order !== 0) return sign * order;
    }
    return (
      Number(b.trial.bad) - Number(a.trial.bad) ||
      (a.trial.onsetStep ?? Number.MAX_VALUE) - (b.trial.onsetStep ?? Number.MAX_VALUE) ||
      BY_NAME.compare(a.trial.id, b.trial.id)
    );
  });
  return keyed.map((k) => k.trial);
}

/** Puts trials that continue an earlier one below it, at the place of the first. */
function folded(trials: readonly Trial[]): readonly Trial[] {
  if (trials.every((t) => t.continues === null)) return trials;
  const families = groupBy(trials, (t) => t.root);
  return [...families.values()].flatMap((family) =>
    family.length < 2
      ? family
      : [...family].sort(
          (a, b) =>
            Number(b.id === b.root) - Number(a.id === a.root) ||
            (a.runs[0]!.lineage?.round ?? 0) - (b.runs[0]!.lineage?.round ?? 0) ||
            a.runs[0]!.started - b.runs[0]!.started,
        ),
  );
}

/**
 * The table's lines.
 * @param shown leaves trials out; a facet's counts are of all of its trials.
 */
export function linesOf(
  trials: readonly Trial[],
  facet: string | null,
  ranking: Ranking,
  shown: (trial: Trial) => boolean = () => true,
): Line[] {
  const runs = (trial: Trial): Line[] =>
    shown(trial) ? trial.runs.map((run, i) => ({ type: "run", trial, run, first: i === 0 })) : [];
  if (facet === null || !ranking.scales.has(facet)) return folded(trials).flatMap(runs);
  const scale = ranking.scales.get(facet)!;
  return [...groupBy(trials, (t) => t.hparams[facet] ?? undefined)]
    .map(([value, members]) => ({ value, members, bad: members.filter((t) => t.bad).length }))
    .sort(
      (a, b) =>
        b.bad / b.members.length - a.bad / a.members.length ||
        scale.order(a.value) - scale.order(b.value),
    )
    .flatMap(({ value, members, bad }): Line[] => {
      const inside = folded(members).flatMap(runs);
      if (!inside.length) return [];
      return [{ type: "facet", name: facet, value, bad, total: members.length }, ...inside];
    });
}
