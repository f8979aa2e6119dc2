// SPDX-License-Identifier: Apache-2.0
// Writes the part of the state that people share into the parameters of the URL's hash, and
// reads it back; pure. Only values that differ from the default are written.

import { type JSONScalar, LANE_SERIES, type LaneSeries } from "../api/schema.gen";
import { AXES, type AxisName } from "../scale/axis";
import { WHOLE, type Zoom } from "../scale/zoom";
import { COMPARE_KEYS, compareOf, compareParameters, isCompareStep } from "./compare/state";
import type { Cut } from "./cut";
import type { Sort, SortColumn } from "./order";
import { INITIAL, type State } from "./state";
import type { Removed } from "./without";

export type Linked = Pick<
  State,
  | "search"
  | "selected"
  | "sort"
  | "facet"
  | "xScale"
  | "colour"
  | "filter"
  | "cut"
  | "removed"
  | "zoom"
  | "compare"
>;

/** NaN Watch's own parameters; all others are left as they are. */
const KEYS = [
  "search",
  "trial",
  "sort",
  "facet",
  "x",
  "colour",
  "filter",
  "cut",
  "without",
  "zoom",
  ...COMPARE_KEYS,
] as const;

/** TensorBoard's own hash: the tab's name, then name=value, joined by "&". */
export function encodeHash(state: Linked, hash: string): string {
  const [tab = "", ...rest] = hash.replace(/^#/, "").split("&");
  const others = rest.filter((part) => !KEYS.some((key) => part.startsWith(`${key}=`)));
  const own = Object.entries(parameters(state)).map(([k, v]) => `${k}=${encodeURIComponent(v)}`);
  return `#${[tab, ...others, ...own].join("&")}`;
}

function parameters(state: Linked): Partial<Record<(typeof KEYS)[number], string>> {
  const { search, selected, sort, facet, xScale, colour, filter, cut, removed, zoom } = state;
  return {
    ...(search !== null && { search }),
    ...(selected !== null && { trial: selected }),
    ...(sort && { sort: `${sort.descending ? "-" : ""}${sort.column}` }),
    // An empty parameter is a choice, too: no facet.
    ...(facet !== undefined && { facet: facet ?? "" }),
    ...(xScale !== INITIAL.xScale && { x: xScale }),
    ...(colour !== INITIAL.colour && { colour }),
    ...(filter.trim() && { filter }),
    ...(cut !== undefined && { cut: cut === null ? "" : encodeCut(cut) }),
    ...(removed && { without: JSON.stringify([removed.hparam, ...removed.values]) }),
    ...(zoom !== WHOLE && { zoom: zoom.map((place) => Number(place.toFixed(5))).join("-") }),
    ...compareParameters(state.compare),
  };
}

export function decodeHash(hash: string): Linked {
  const found = new Map<string, string>();
  for (const part of hash.replace(/^#/, "").split("&")) {
    const at = part.indexOf("=");
    if (at > 0) found.set(part.slice(0, at), decoded(part.slice(at + 1)));
  }
  const facet = found.get("facet");
  const cut = found.get("cut");
  return {
    search: found.get("search") ?? null,
    selected: found.get("trial") || null,
    sort: decodeSort(found.get("sort")),
    facet: facet === undefined ? undefined : facet || null,
    xScale: oneOf<AxisName>(found.get("x"), AXES, INITIAL.xScale),
    colour: oneOf<LaneSeries>(found.get("colour"), LANE_SERIES, INITIAL.colour),
    filter: found.get("filter") ?? "",
    cut: cut === undefined ? undefined : decodeCut(cut),
    removed: decodeRemoved(found.get("without")),
    zoom: decodeZoom(found.get("zoom")),
    compare: compareOf(found),
  };
}

function decodeRemoved(text: string | undefined): Removed | null {
  if (!text) return null;
  try {
    const [hparam, ...values] = JSON.parse(text) as unknown[];
    const scalars = values.every((v) => v === null || typeof v !== "object");
    if (typeof hparam !== "string" || !values.length || !scalars) return null;
    return { hparam, values: values as JSONScalar[] };
  } catch {
    return null; // typed by hand
  }
}

function decodeZoom(text: string | undefined): Zoom {
  const parts = /^([\d.]+)-([\d.]+)$/.exec(text ?? "");
  const [from, to] = [Number(parts?.[1]), Number(parts?.[2])];
  return from >= 0 && to <= 1 && to > from && to - from < 1 ? [from, to] : WHOLE;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // typed by hand, with a % of its own
  }
}

function oneOf<T extends string>(value: string | undefined, all: readonly T[], otherwise: T): T {
  return all.includes(value as T) ? (value as T) : otherwise;
}

const COLUMNS: readonly SortColumn[] = ["trial", "onset", "steps", "score"];

function decodeSort(text: string | undefined): Sort | null {
  if (!text) return null;
  const descending = text.startsWith("-");
  const column = (descending ? text.slice(1) : text) as SortColumn;
  return COLUMNS.includes(column) || column.startsWith("hparam:") ? { column, descending } : null;
}

function encodeCut({ hparam, op, bound, group }: Cut): string {
  return JSON.stringify(
    group ? [hparam, op, bound, group.facet, group.value ?? null] : [hparam, op, bound],
  );
}

function decodeCut(text: string): Cut | null {
  let parts: unknown;
  try {
    parts = JSON.parse(text);
  } catch {
    return null;
  }
  if (!Array.isArray(parts)) return null;
  const [hparam, op, bound, facet, value] = parts;
  if (typeof hparam !== "string" || (op !== "ge" && op !== "le")) return null;
  if (typeof bound !== "number") return null;
  const group =
    typeof facet === "string" ? { facet, value: (value as JSONScalar) ?? undefined } : null;
  return { hparam, op, bound, group };
}

/** Whether going from one to the other is a step that the back button should undo. */
export function isStep(before: Linked, after: Linked): boolean {
  if (isCompareStep(before.compare, after.compare)) return true;
  return (["search", "selected", "sort", "facet", "xScale", "colour", "removed"] as const).some(
    (key) => JSON.stringify(before[key]) !== JSON.stringify(after[key]),
  );
}
