// SPDX-License-Identifier: Apache-2.0
// Decodes untyped answers, by the generated decoders and the tab's own conversions.

import * as sent from "./decode.gen";
import { count, DecodeError, list, number, object, optionalObject } from "./json";
import { extremesOf, NO_LANE } from "./lane";
import { LANE_SERIES, type LaneSeries, SCHEMA_VERSION } from "./schema.gen";
import type {
  Lane,
  LossScaling,
  Overview,
  RunComparison,
  RunDetail,
  RunSummary,
  SearchComparison,
  SearchSummary,
  SpaceEdit,
} from "./types";

export { decodeFlight, decodeFrame, decodeRanges } from "./frame";
export { DecodeError, number } from "./json";

export const decodeRunComparison = (value: unknown): RunComparison => sent.runComparison(value);
export const decodeSearchComparison = (value: unknown): SearchComparison =>
  sent.searchComparison(value);
export const decodeEdit = (value: unknown): SpaceEdit => sent.spaceEdit(value);
export const decodeMarkdown = (value: unknown): string => sent.markdown(value).markdown;

function numbers(value: unknown, length?: number): Float64Array {
  const source = Array.isArray(value) ? value : [];
  const out = new Float64Array(length ?? source.length).fill(Number.NaN);
  for (let i = 0; i < Math.min(out.length, source.length); i++) {
    out[i] = number(source[i]) ?? Number.NaN;
  }
  return out;
}

function lane(value: unknown): Lane {
  const l = optionalObject(value);
  if (!l) return NO_LANE;
  const steps = numbers(l.steps);
  const series = {} as Record<LaneSeries, Float64Array>;
  for (const name of LANE_SERIES) series[name] = numbers(l[name], steps.length);
  return {
    steps,
    seconds: numbers(l.seconds, steps.length),
    epochs: numbers(l.epochs, steps.length),
    series,
    extremes: (name) => extremesOf(series[name]),
  };
}

/** A run with its lane, which comes after the rest, for all runs of a block at once. */
function run(value: unknown): RunSummary {
  const found = sent.runSummary(value);
  return {
    ...found,
    name: found.name || found.run,
    lane: lane((value as { lane?: unknown }).lane),
  };
}

/** Uses the verdict as first screen where an older server sends no other. */
function search(found: SearchSummary): SearchSummary {
  const { first, verdict } = found;
  return {
    ...found,
    // Its trials have no score: what its tuner minimises is how many of them live.
    objective: found.purpose === "stability" ? null : found.objective,
    first: first.happened === "" ? { ...first, happened: verdict } : first,
  };
}

export function decodeOverview(value: unknown): Overview {
  const o = object(value, "overview");
  const version = count(o.schema_version);
  if (version > SCHEMA_VERSION) {
    throw new DecodeError(
      `This tab reads version ${SCHEMA_VERSION} of the overview, and the server sent ` +
        `version ${version}. Reload the page; if that does not help, restart TensorBoard.`,
    );
  }
  const { searches, ...rest } = sent.overview({ ...o, runs: [] });
  return { ...rest, searches: searches.map(search), runs: list(o.runs, run) };
}

/** Of TensorBoard's own list: {name: {"enabled": has data}}. */
export function decodePlugins(value: unknown): ReadonlySet<string> {
  const plugins = Object.entries(object(value, "plugins"));
  return new Set(plugins.filter(([, p]) => optionalObject(p)?.enabled === true).map(([n]) => n));
}

function lossScaling(value: unknown): LossScaling | null {
  const l = optionalObject(value);
  if (!l) return null;
  const steps = numbers(l.steps);
  return {
    steps,
    scale: numbers(l.loss_scale, steps.length),
    skipped: numbers(l.skipped_steps, steps.length),
  };
}

export function decodeRun(value: unknown): RunDetail {
  const { loss_scaling: _, ...rest } = sent.runDetail(value);
  const d = object(value, "run detail");
  return { ...rest, run: run(d.run), lossScaling: lossScaling(d.loss_scaling) };
}
