// Colours of the lanes and the heat map: light grey, blue, yellow, orange, dark red by
// decades. Blue against orange survives every common colour blindness, and lightness
// falls (rises, on dark) with the decades; the first bad step has a shape besides.

import type { Painter } from "../paint/painter";

export type Theme = "light" | "dark";
type RGB = readonly [number, number, number];

interface Palette {
  /** Decade and colour; decades between are mixed. */
  growth: readonly (readonly [number, RGB])[];
  nothing: string;
  /** Ground and hatch of what is not finite. */
  bad: Record<BadUse, readonly [string, string]>;
}

/** A cell of the heat map must be seen; a lane after its first bad step must not outshine it. */
export type BadUse = "cell" | "aftermath";

const rgb = (hex: string): RGB => [
  Number.parseInt(hex.slice(1, 3), 16),
  Number.parseInt(hex.slice(3, 5), 16),
  Number.parseInt(hex.slice(5, 7), 16),
];

const PALETTES: Record<Theme, Palette> = {
  light: {
    growth: [
      [0, rgb("#e6eaf1")],
      [1, rgb("#8fbfe3")],
      [2, rgb("#fbcf74")],
      [4, rgb("#f0843c")],
      [8, rgb("#c2331f")],
      [30, rgb("#5e0719")],
    ],
    nothing: "#f6f7f9",
    bad: { cell: ["#3a1152", "#d9a6f2"], aftermath: ["#f1ecf5", "#bba8cb"] },
  },
  dark: {
    growth: [
      [0, rgb("#333b48")],
      [1, rgb("#3d7fb5")],
      [2, rgb("#d8a93f")],
      [4, rgb("#ef8038")],
      [8, rgb("#e2452f")],
      [30, rgb("#ff9ab0")],
    ],
    nothing: "#20242b",
    bad: { cell: ["#57307a", "#e6c9fa"], aftermath: ["#221d2a", "#655378"] },
  },
};

export const GROWTH_STOPS = PALETTES.light.growth.map(([decade]) => decade);

const css = ([r, g, b]: RGB): string => `rgb(${r},${g},${b})`;

function mix(a: RGB, b: RGB, t: number): RGB {
  return [0, 1, 2].map((i) => Math.round(a[i]! + (b[i]! - a[i]!) * t)) as unknown as RGB;
}

export interface ColourScale {
  /** Colour of log10 of a value. */
  of(decade: number): string;
  /** Where a legend is labelled, as log10 of the value. */
  stops: number[];
  growth: boolean;
}

export function growthScale(theme: Theme): ColourScale {
  const stops = PALETTES[theme].growth;
  return {
    growth: true,
    stops: stops.map(([decade]) => decade),
    of: remembered(0, stops[stops.length - 1]![0], 24 * stops[stops.length - 1]![0], (decade) => {
      for (let i = 1; i < stops.length; i++) {
        const [d0, c0] = stops[i - 1]!;
        const [d1, c1] = stops[i]!;
        if (decade <= d1) return css(mix(c0, c1, Math.max(0, (decade - d0) / (d1 - d0))));
      }
      return css(stops[stops.length - 1]![1]);
    }),
  };
}

/** The same ramp stretched over [low, high] decades, for quantities with a size of their own. */
export function decadeScale(theme: Theme, low: number, high: number): ColourScale {
  const colours = PALETTES[theme].growth.map(([, colour]) => colour);
  const from = Math.floor(low);
  const to = Math.max(from + 1, Math.ceil(high));
  const segments = colours.length - 1;
  const marks = new Set([0, 0.2, 0.4, 0.6, 0.8, 1].map((t) => Math.round(from + t * (to - from))));
  return {
    growth: false,
    stops: [...marks],
    of: remembered(from, to, 240, (decade) => {
      const t = ((decade - from) / (to - from)) * segments;
      const i = Math.min(segments - 1, Math.floor(t));
      return css(mix(colours[i]!, colours[i + 1]!, t - i));
    }),
  };
}

/**
 * Colours in so many steps from `low` to `high`, each worked out once: lanes and maps ask
 * for a hundred thousand. What is alike to the eye is one colour, and is drawn at once.
 */
function remembered(
  low: number,
  high: number,
  steps: number,
  colour: (decade: number) => string,
): (decade: number) => string {
  const table: string[] = [];
  const scale = steps / (high - low);
  return (decade) => {
    const place = Math.round(Math.min(steps, Math.max(0, (decade - low) * scale)));
    table[place] ??= colour(low + place / scale);
    return table[place]!;
  };
}

export const nothingColour = (theme: Theme): string => PALETTES[theme].nothing;

const patterns = new Map<string, CanvasPattern>();

/** Fill for non-finite cells: a hatch, so that it is no mere colour. */
export function badPattern(context: Painter, theme: Theme, use: BadUse): CanvasPattern | string {
  const [bad, badInk] = PALETTES[theme].bad[use];
  if (context.hatch) return context.hatch(bad, badInk);
  const known = patterns.get(`${theme} ${use}`);
  if (known) return known;
  const tile = document.createElement("canvas");
  tile.width = tile.height = 6;
  const c = tile.getContext("2d");
  if (!c) return bad;
  c.fillStyle = bad;
  c.fillRect(0, 0, 6, 6);
  c.strokeStyle = badInk;
  c.lineWidth = 1.2;
  c.beginPath();
  for (const x of [-3, 3, 9]) {
    c.moveTo(x - 3, 9);
    c.lineTo(x + 9 - 3, 0);
  }
  c.stroke();
  const pattern = c.createPattern(tile, "repeat");
  if (!pattern) return bad;
  patterns.set(`${theme} ${use}`, pattern);
  return pattern;
}
