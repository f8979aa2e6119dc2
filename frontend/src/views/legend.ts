// SPDX-License-Identifier: Apache-2.0
// Legends: what the colours and the shapes mean.

import { power } from "../format/number";
import { type BadUse, badPattern, type ColourScale, type Theme } from "../scale/colour";
import { el, prepareCanvas } from "./dom";

const SWATCH = 34;

export function decadeLegend(
  title: string,
  colours: ColourScale,
  theme: Theme,
  withBad = false,
  note?: string,
): HTMLElement {
  const bar = el("canvas", { "aria-hidden": "true" });
  const stops = colours.stops;
  const width = SWATCH * (stops.length - 1);
  const c = prepareCanvas(bar, width, 10);
  if (c) {
    for (let x = 0; x < width; x++) {
      const place = x / SWATCH;
      const i = Math.min(stops.length - 2, Math.floor(place));
      c.fillStyle = colours.of(stops[i]! + (stops[i + 1]! - stops[i]!) * (place - i));
      c.fillRect(x, 0, 1.2, 10);
    }
  }
  const labels = el("span", { class: "legend-labels" });
  stops.forEach((decade, i) => {
    const text = colours.growth ? `×${power(decade)}` : power(decade);
    labels.append(el("span", { style: `left:${i * SWATCH}px` }, text));
  });
  return el(
    "span",
    {
      class: "legend-scale",
      role: "img",
      title: note
        ? note
        : colours.growth
          ? "growth: the largest rms (root mean square) of a layer's output or weight, over what it was in the run's first step"
          : "powers of ten, from the least to the largest value; rms is the root mean square, the usual size of a tensor's values",
      "aria-label": `${title}: ${stops.map(power).join(", ")}`,
    },
    el("span", { class: "legend-title" }, title),
    el("span", { class: "legend-bar", style: `width:${width}px` }, bar, labels),
    withBad && badSwatch(theme, "cell"),
  );
}

function badSwatch(theme: Theme, use: BadUse): HTMLElement {
  const canvas = el("canvas", { "aria-hidden": "true" });
  const c = prepareCanvas(canvas, 16, 10);
  if (c) {
    c.fillStyle = badPattern(c, theme, use);
    c.fillRect(0, 0, 16, 10);
  }
  const title = "hatched: NaN or infinite, or trained on after the first bad step";
  return el("span", { class: "legend-mark", title }, canvas, "non-finite");
}

/** The legend for the stretch of a lane between two measurements. */
export function carriedSwatch(colours: ColourScale): HTMLElement {
  const canvas = el("canvas", { "aria-hidden": "true" });
  const c = prepareCanvas(canvas, 22, 10);
  if (c) {
    const [low, high] = [colours.stops[1] ?? 0, colours.stops[colours.stops.length - 2] ?? 0];
    for (const [x, decade] of [
      [0, low],
      [12, high],
    ] as const) {
      c.fillStyle = colours.of(decade);
      c.fillRect(x, 0, 4, 10);
      c.fillRect(x, 3, 10, 4);
    }
  }
  const title =
    "Full height: measured there. Thin line: not measured, the colour is that of the last " +
    "measurement before.";
  return el("span", { class: "legend-mark", title }, canvas, "thin: as last measured");
}

/** The legend for a lane after its first bad step. Shapes need none: the counts show them. */
export function laneBadSwatch(theme: Theme): HTMLElement {
  return badSwatch(theme, "aftermath");
}
