// SPDX-License-Identifier: Apache-2.0
// The state of the comparing views, and its form in a link; pure.

export type View = "frontier" | "values" | "pair" | "parallel" | "trials" | "searches";

export const VIEWS: readonly View[] = [
  "frontier",
  "values",
  "pair",
  "parallel",
  "trials",
  "searches",
];

/** Of places on an axis, in [0, 1]. */
export type Brush = readonly [number, number];

export interface CompareState {
  view: View;
  /** Hyperparameters across and up; null: the two with the clearest border. */
  pair: readonly [string, string] | null;
  /** By the axis' name. */
  brushes: Readonly<Record<string, Brush>>;
  /** Keys of two runs; null: a bad one and the clean one nearest to it. */
  runs: readonly [string, string] | null;
  /** The other search; null: the one before. */
  against: string | null;
}

export const INITIAL_COMPARE: CompareState = {
  view: "frontier",
  pair: null,
  brushes: {},
  runs: null,
  against: null,
};

export const COMPARE_KEYS = ["view", "pair", "brush", "runs", "against"] as const;

export function compareParameters(state: CompareState): Record<string, string> {
  const { view, pair, brushes, runs, against } = state;
  return {
    ...(view !== INITIAL_COMPARE.view && { view }),
    ...(pair && { pair: JSON.stringify(pair) }),
    ...(Object.keys(brushes).length > 0 && { brush: JSON.stringify(brushes) }),
    ...(runs && { runs: JSON.stringify(runs) }),
    ...(against !== null && { against }),
  };
}

/** Parameters that cannot be parsed keep their default. */
export function compareOf(parameters: ReadonlyMap<string, string>): CompareState {
  const view = parameters.get("view") as View;
  return {
    view: VIEWS.includes(view) ? view : INITIAL_COMPARE.view,
    pair: twoTexts(parameters.get("pair")),
    brushes: brushesOf(parameters.get("brush")),
    runs: twoTexts(parameters.get("runs")),
    against: parameters.get("against") ?? null,
  };
}

/** Whether the back button should undo the change; a brush is dragged, and is no step. */
export function isCompareStep(before: CompareState, after: CompareState): boolean {
  return (["view", "pair", "runs", "against"] as const).some(
    (key) => JSON.stringify(before[key]) !== JSON.stringify(after[key]),
  );
}

function parsed(text: string | undefined): unknown {
  try {
    return text === undefined ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

function twoTexts(text: string | undefined): [string, string] | null {
  const value = parsed(text);
  if (!Array.isArray(value) || value.length !== 2) return null;
  const [a, b] = value;
  return typeof a === "string" && typeof b === "string" ? [a, b] : null;
}

function brushesOf(text: string | undefined): Record<string, Brush> {
  const value = parsed(text);
  const brushes: Record<string, Brush> = Object.create(null);
  if (typeof value !== "object" || value === null) return brushes;
  for (const [name, brush] of Object.entries(value)) {
    if (!Array.isArray(brush) || brush.length !== 2) continue;
    const [low, high] = brush;
    if (typeof low === "number" && typeof high === "number" && low <= high)
      brushes[name] = [low, high];
  }
  return brushes;
}
