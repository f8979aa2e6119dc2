// SPDX-License-Identifier: Apache-2.0
// Colours of the lanes and the heat map. Size is neutral: grey to dark blue by decades (to
// light on dark ground), since a clean run's weights have a size too. Red is for harm alone:
// what is not finite, and what was trained on it. Lightness tells the decades, and harm is
// hatched, so that every common colour blindness sees both.

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
      [0, rgb("#e3e8f0")],
      [1, rgb("#c3d3e6")],
      [2, rgb("#93b3d6")],
      [4, rgb("#5b86b8")],
      [8, rgb("#2f5488")],
      [30, rgb("#14264a")],
    ],
    nothing: "#f6f7f9",
    bad: { cell: ["#8f1029", "#f2b8c1"], aftermath: ["#fbe9ec", "#cf7d8a"] },
  },
  dark: {
    growth: [
      [0, rgb("#2c3440")],
      [1, rgb("#33475f")],
      [2, rgb("#3f6288")],
      [4, rgb("#5685b8")],
      [8, rgb("#8db4e0")],
      [30, rgb("#d7e6fa")],
    ],
    nothing: "#20242b",
    bad: { cell: ["#a3213a", "#ffc2cb"], aftermath: ["#351c22", "#a65361"] },
  },
};

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
