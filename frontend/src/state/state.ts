// The tab's state, and what follows from it.

import { LANE_SERIES, type LaneSeries, type Phase, STATUSES, type Status } from "../api/schema.gen";
import type { Finding, Overview, Ranges, RunDetail, RunSummary, SearchSummary } from "../api/types";
import { keyOf } from "../api/types";
import { type ColourScale, decadeScale, growthScale, type Theme } from "../scale/colour";
import { type StepScale, type StepScaleName, stepScale } from "../scale/step";
import { type Line, linesOf, type Ranking, rank, type Sort, sortTrials } from "./order";
import { type Trial, trialsOf } from "./trials";

export interface State {
  theme: Theme;
  overview: Overview | null;
  /** Why the last request failed, in words; null after one that did not. */
  error: string | null;
  /** null: the newest search. */
  search: string | null;
  /** null: the order that the search suggests. */
  sort: Sort | null;
  xScale: StepScaleName;
  colour: LaneSeries;
  /** undefined: the facet that the search suggests; null: none. */
  facet: string | null | undefined;
  /** Key of the chosen run. */
  selected: string | null;
  /** null: the phase and probe of the origin. */
  phase: Phase | null;
  probe: number | null;
  detail: RunDetail | null;
  ranges: Ranges | null;
  rangesPhase: Phase | null;
  detailError: string | null;
}

export const INITIAL: State = {
  theme: "light",
  overview: null,
  error: null,
  search: null,
  sort: null,
  xScale: "log",
  colour: "growth",
  facet: undefined,
  selected: null,
  phase: null,
  probe: null,
  detail: null,
  ranges: null,
  rangesPhase: null,
  detailError: null,
};

/** Everything the table shows, worked out once for each change of what it depends on. */
export interface Model {
  overview: Overview;
  search: SearchSummary;
  trials: Trial[];
  byStatus: [Status, number][];
  scoredAnyway: number;
  running: number;
  findings: Finding[];
  ranking: Ranking;
  sort: Sort;
  facet: string | null;
  lines: Line[];
  steps: StepScale;
  colours: ColourScale;
  score: ScoreScale;
}

export interface ScoreScale {
  log: boolean;
  best: Trial | null;
  at(score: number): number | null;
}

export function currentSearch(state: State): SearchSummary | null {
  const searches = state.overview?.searches ?? [];
  return searches.find((s) => s.search === state.search) ?? searches[0] ?? null;
}

export function createModel(): (state: State) => Model | null {
  const trials = memo((overview: Overview, search: SearchSummary) =>
    trialsOf(overview, search.search),
  );
  const ranking = memo((overview: Overview, search: SearchSummary, all: Trial[]) =>
    rank(search, all, overview.findings),
  );
  const lines = memo((all: Trial[], sort: Sort, facet: string | null, ranked: Ranking) =>
    linesOf(sortTrials(all, sort, ranked), facet, ranked),
  );
  const steps = memo((name: StepScaleName, all: Trial[]) =>
    stepScale(
      name,
      all.reduce((most, t) => Math.max(most, t.steps), 1),
    ),
  );
  const colours = memo(colourScale);
  const score = memo(scoreScale);
  const model = memo(
    (
      overview: Overview,
      search: SearchSummary,
      all: Trial[],
      ranked: Ranking,
      sort: Sort,
      facet: string | null,
      ordered: Line[],
      scale: StepScale,
      colour: ColourScale,
      scores: ScoreScale,
    ): Model => ({
      overview,
      search,
      trials: all,
      byStatus: STATUSES.map((s): [Status, number] => [
        s,
        all.filter((t) => t.status === s).length,
      ]).filter(([, n]) => n > 0),
      scoredAnyway: all.filter((t) => t.runs.some((r) => r.misread !== null)).length,
      running: all.filter((t) => t.runs.some((r) => r.state === "running")).length,
      findings: overview.findings.filter((f) => f.search === search.search),
      ranking: ranked,
      sort,
      facet,
      lines: ordered,
      steps: scale,
      colours: colour,
      score: scores,
    }),
  );
  return (state) => {
    const search = currentSearch(state);
    if (!state.overview || !search) return null;
    const all = trials(state.overview, search);
    const ranked = ranking(state.overview, search, all);
    const sort = state.sort ?? ranked.sort;
    const facet = state.facet === undefined ? ranked.facet : state.facet;
    return model(
      state.overview,
      search,
      all,
      ranked,
      sort,
      facet,
      lines(all, sort, facet, ranked),
      steps(state.xScale, all),
      colours(state.theme, state.colour, all),
      score(search, all),
    );
  };
}

function colourScale(theme: Theme, series: LaneSeries, trials: readonly Trial[]): ColourScale {
  if (series === LANE_SERIES[0]) return growthScale(theme);
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const trial of trials) {
    for (const run of trial.runs) {
      for (const value of run.lane.series[series]) {
        if (!(value > 0) || value === Number.POSITIVE_INFINITY) continue;
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
    }
  }
  // A loss that reached 1e-30 must not flatten all the rest.
  if (!(high > 0)) return decadeScale(theme, 0, 1);
  return decadeScale(theme, Math.max(Math.log10(low), -8, Math.log10(high) - 40), Math.log10(high));
}

function scoreScale(search: SearchSummary, trials: readonly Trial[]): ScoreScale {
  // A score that the tuner misread is no result: it is neither best nor does it stretch
  // the axis.
  const honest = trials.filter(
    (t) => t.score !== null && Number.isFinite(t.score) && t.runs.every((r) => r.misread === null),
  );
  const values = honest.map((t) => t.score!);
  const low = Math.min(...values);
  const high = Math.max(...values);
  const log = low > 0 && high / low >= 30;
  const sign = search.direction === "max" ? -1 : 1;
  const best =
    search.direction === null
      ? null
      : honest.reduce<Trial | null>(
          (found, t) => (found === null || sign * (t.score! - found.score!) < 0 ? t : found),
          null,
        );
  return {
    log,
    best,
    at: (score) => {
      if (!(score >= low && score <= high)) return null;
      if (high === low) return 0.5;
      return log ? Math.log(score / low) / Math.log(high / low) : (score - low) / (high - low);
    },
  };
}

export function findRun(overview: Overview | null, key: string | null): RunSummary | null {
  return key === null ? null : (overview?.runs.find((r) => keyOf(r) === key) ?? null);
}

/** Remembers the last result: views compare identities to know what changed. */
function memo<A extends readonly unknown[], R>(compute: (...args: A) => R): (...args: A) => R {
  let last: A | null = null;
  let result: R;
  return (...args) => {
    if (last === null || args.some((a, i) => !Object.is(a, last![i]))) {
      result = compute(...args);
      last = args;
    }
    return result;
  };
}
