// SPDX-License-Identifier: Apache-2.0
// The tab's state, and the model that is derived from it.

import { LANE_SERIES, type LaneSeries, type Phase, STATUSES, type Status } from "../api/schema.gen";
import type {
  Finding,
  Flight,
  Overview,
  Ranges,
  RunDetail,
  RunSummary,
  SearchSummary,
} from "../api/types";
import { keyOf, type SpaceEdit } from "../api/types";
import { type AxisName, type LaneAxis, laneAxis } from "../scale/axis";
import { type ColourScale, decadeScale, growthScale, type Theme } from "../scale/colour";
import { WHOLE, type Zoom, zoomedAxis } from "../scale/zoom";
import { type CompareState, INITIAL_COMPARE } from "./compare/state";
import { type Cut, type CutBasis, type CutView, suggestedCut, viewOf } from "./cut";
import { type Edits, editQuery, NO_EDITS } from "./edits";
import { type Filter, parseFilter } from "./filter";
import { memo } from "./memo";
import { type Line, linesOf, type Ranking, rank, type Sort, sortTrials } from "./order";
import { bestOf, familiesOf, resultsOf, scoredAnyway, type Trial, trialsOf } from "./trials";
import { type Removed, type RemovedView, removedView } from "./without";

export interface State {
  theme: Theme;
  overview: Overview | null;
  /** How many times lanes have arrived; they are put into the overview's runs. */
  lanes: number;
  /** Why the last request failed, in words; null after one that did not. */
  error: string | null;
  /** null: the newest search. */
  search: string | null;
  /** null: the order that the search suggests. */
  sort: Sort | null;
  xScale: AxisName;
  colour: LaneSeries;
  /** undefined: the facet that the search suggests; null: none. */
  facet: string | null | undefined;
  filter: string;
  /** undefined: where the first finding says; null: none. */
  cut: Cut | null | undefined;
  /** Bands that are checked off. */
  removed: Removed | null;
  /** The server's edits for cuts. */
  edits: Edits;
  /** The visible part of the lanes' axis, in [0, 1]. */
  zoom: Zoom;
  /** Key of the chosen run. */
  selected: string | null;
  /** null: the phase and probe of the origin. */
  phase: Phase | null;
  probe: number | null;
  detail: RunDetail | null;
  ranges: Ranges | null;
  rangesPhase: Phase | null;
  /** Of a run that went bad, in the same phase as the ranges. */
  flight: Flight | null;
  detailError: string | null;
  /** TensorBoard's plugins that have data. */
  plugins: ReadonlySet<string>;
  compare: CompareState;
}

export const INITIAL: State = {
  theme: "light",
  overview: null,
  lanes: 0,
  error: null,
  search: null,
  sort: null,
  xScale: "log",
  colour: "growth",
  facet: undefined,
  filter: "",
  cut: undefined,
  removed: null,
  edits: NO_EDITS,
  zoom: WHOLE,
  selected: null,
  phase: null,
  probe: null,
  detail: null,
  ranges: null,
  rangesPhase: null,
  flight: null,
  detailError: null,
  plugins: new Set(),
  compare: INITIAL_COMPARE,
};

/** Everything that the table shows, computed once for each change of its inputs. */
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
  filter: Filter;
  /** Trials that the filter keeps. */
  shown: number;
  lines: Line[];
  axis: LaneAxis;
  colours: ColourScale;
  score: ScoreScale;
  /** The data that cuts are computed from; null where the rows cannot be cut. */
  cutBasis: CutBasis | null;
  cut: CutView | null;
  removed: RemovedView | null;
}

interface ScoreScale {
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
  const filter = memo((text: string, ranked: Ranking) => parseFilter(text, ranked.names));
  const sorted = memo((all: Trial[], sort: Sort, ranked: Ranking, badFirst: boolean) => {
    const trialsInOrder = sortTrials(all, sort, ranked);
    // sort() is stable: the order within both stays.
    return badFirst ? trialsInOrder.sort((a, b) => Number(b.bad) - Number(a.bad)) : trialsInOrder;
  });
  const lines = memo((ordered: Trial[], facet: string | null, ranked: Ranking, kept: Filter) =>
    linesOf(ordered, facet, ranked, kept.keeps),
  );
  const axis = memo((name: AxisName, all: Trial[], _lanes: number) =>
    laneAxis(
      name,
      all.flatMap((t) => t.runs),
    ),
  );
  const families = memo(familiesOf);
  const basis = memo(
    (
      all: Trial[],
      ordered: Line[],
      ranked: Ranking,
      sort: Sort,
      facet: string | null,
      scores: ScoreScale,
    ): CutBasis => ({
      trials: families(all),
      lines: ordered,
      ranking: ranked,
      sort,
      facet,
      best: scores.best,
    }),
  );
  const suggested = memo(suggestedCut);
  const cutView = memo(
    (from: CutBasis, cut: Cut | null, edit: SpaceEdit | undefined, finding: Finding | undefined) =>
      cut === null ? null : viewOf(from, cut, edit, finding),
  );
  const bands = memo(
    (all: Trial[], best: Trial | null, removed: Removed | null, edit: SpaceEdit | undefined) =>
      removed === null ? null : removedView(families(all), best, removed, edit),
  );
  const zoomed = memo(zoomedAxis);
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
      kept: Filter,
      ordered: Line[],
      laneAxis: LaneAxis,
      colour: ColourScale,
      _lanes: number,
      scores: ScoreScale,
      cutBasis: CutBasis | null,
      cut: CutView | null,
      removed: RemovedView | null,
    ): Model => ({
      overview,
      search,
      trials: all,
      byStatus: STATUSES.map((s): [Status, number] => [
        s,
        all.filter((t) => t.status === s).length,
      ]).filter(([, n]) => n > 0),
      scoredAnyway: all.filter(scoredAnyway).length,
      running: all.filter((t) => t.runs.some((r) => r.state === "running")).length,
      findings: overview.findings.filter((f) => f.search === search.search),
      ranking: ranked,
      sort,
      facet,
      filter: kept,
      shown: all.filter(kept.keeps).length,
      lines: ordered,
      axis: laneAxis,
      colours: colour,
      score: scores,
      cutBasis,
      cut,
      removed,
    }),
  );
  return (state) => {
    const search = currentSearch(state);
    if (!state.overview || !search) return null;
    const all = trials(state.overview, search);
    const ranked = ranking(state.overview, search, all);
    const sort = state.sort ?? ranked.sort;
    const facet = state.facet === undefined ? ranked.facet : state.facet;
    const kept = filter(state.filter, ranked);
    // Lanes that end at their onset stand together; those without one below.
    const byOnset = state.xScale === "onset";
    const ordered = lines(sorted(all, sort, ranked, byOnset), facet, ranked, kept);
    const scores = score(search, all);
    const from = byOnset ? null : basis(all, ordered, ranked, sort, facet, scores);
    const finding = state.overview.findings.find((f) => f.search === search.search);
    const cut = state.cut === undefined && from ? suggested(from, finding) : state.cut;
    const edit = (asked: Cut | Removed | null | undefined) =>
      asked ? state.edits.get(editQuery(search.search, asked)) : undefined;
    return model(
      state.overview,
      search,
      all,
      ranked,
      sort,
      facet,
      kept,
      ordered,
      // Steps alone need no lane, nor do the colours of growth.
      zoomed(
        axis(state.xScale, all, ["epoch", "time"].includes(state.xScale) ? state.lanes : 0),
        state.zoom,
      ),
      colours(state.theme, state.colour, all, state.colour === LANE_SERIES[0] ? 0 : state.lanes),
      state.lanes,
      scores,
      from,
      // The suggested cut is the finding's own, whose edit came with it.
      from &&
        cutView(
          from,
          cut ?? null,
          edit(cut) ?? (state.cut ? undefined : finding && told(finding)),
          finding,
        ),
      bands(all, scores.best, state.removed, edit(state.removed)),
    );
  };
}

const told = memo((finding: Finding): SpaceEdit => ({ code: finding.edit, where: finding.where }));

function colourScale(
  theme: Theme,
  series: LaneSeries,
  trials: readonly Trial[],
  _lanes: number,
): ColourScale {
  if (series === LANE_SERIES[0]) return growthScale(theme);
  // A ratio means the same in every run; one that reached 1e18 must not flatten all others.
  // Up to 1e-1 is usual (TheDeepChecker warns above it), at 1 a step replaces the weights.
  if (series === "update_ratio") return decadeScale(theme, -4, 1);
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const trial of trials) {
    for (const run of trial.runs) {
      const extremes = run.lane.extremes(series);
      if (!extremes) continue;
      low = Math.min(low, extremes[0]);
      high = Math.max(high, extremes[1]);
    }
  }
  // A loss that reached 1e-30 must not flatten all the rest.
  if (!(high > 0)) return decadeScale(theme, 0, 1);
  return decadeScale(theme, Math.max(Math.log10(low), -8, Math.log10(high) - 40), Math.log10(high));
}

function scoreScale(search: SearchSummary, trials: readonly Trial[]): ScoreScale {
  const values = resultsOf(trials).map((t) => t.score!);
  const low = Math.min(...values);
  const high = Math.max(...values);
  const log = low > 0 && high / low >= 30;
  return {
    log,
    best: bestOf(search, trials),
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
