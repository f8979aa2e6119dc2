// SPDX-License-Identifier: Apache-2.0
// The shapes that say how a run fared, the same on lanes, in the table and the legend.

import type { Status } from "../api/schema.gen";
import type { Painter } from "../paint/painter";
import { svgOf } from "../paint/svg";
import { el, themeColour } from "./dom";

export const MARKED: readonly Status[] = [
  "diverged",
  "score_lost",
  "runaway",
  "stalled",
  "contained",
];

interface MarkColours {
  ink: string;
  halo: string;
}

export function markColours(status: Status): MarkColours {
  return {
    ink: themeColour(status === "contained" ? "contained" : "bad"),
    halo: themeColour("ground"),
  };
}

/** Draws the mark with a halo, so that it stands out on every colour of a lane. */
export function drawMark(
  context: Painter,
  status: Status,
  x: number,
  y: number,
  colours: MarkColours,
  radius = 4.5,
): void {
  if (!MARKED.includes(status)) return;
  context.save();
  context.beginPath();
  const r = radius;
  let filled = true;
  switch (status) {
    case "diverged":
      context.moveTo(x - r, y - r);
      context.lineTo(x + r, y + r);
      context.moveTo(x + r, y - r);
      context.lineTo(x - r, y + r);
      filled = false;
      break;
    case "score_lost":
      context.moveTo(x, y - r - 1);
      context.lineTo(x + r + 1, y);
      context.lineTo(x, y + r + 1);
      context.lineTo(x - r - 1, y);
      context.closePath();
      break;
    case "runaway":
      context.moveTo(x, y - r);
      context.lineTo(x + r + 0.5, y + r);
      context.lineTo(x - r - 0.5, y + r);
      context.closePath();
      break;
    case "stalled": // two bars, as of a pause
      for (const side of [-1, 1]) {
        const [near, far] = [x + side, x + side * (r - 0.5)];
        context.moveTo(near, y - r);
        context.lineTo(far, y - r);
        context.lineTo(far, y + r);
        context.lineTo(near, y + r);
        context.closePath();
      }
      break;
    case "contained":
      context.moveTo(x - r, y - r + 1);
      context.lineTo(x + r, y - r + 1);
      context.lineTo(x, y + r);
      context.closePath();
      filled = false;
      break;
  }
  context.lineCap = "round";
  context.lineJoin = "round";
  context.strokeStyle = colours.halo;
  context.lineWidth = filled ? 3 : 5.5;
  context.stroke();
  if (filled) {
    context.fillStyle = colours.ink;
    context.fill();
  } else {
    if (status === "contained") {
      context.fillStyle = colours.halo;
      context.fill();
    }
    context.strokeStyle = colours.ink;
    context.lineWidth = status === "contained" ? 1.6 : 2.4;
    context.stroke();
  }
  context.restore();
}

/** A mark for text beside it. An image: a canvas for each row would slow the scrolling. */
export function markImage(status: Status): HTMLElement {
  const node = el("span", { class: "mark", "aria-hidden": "true" });
  setMark(node, status);
  return node;
}

/** Shows another status' mark, or none. */
export function setMark(node: HTMLElement, status: Status): void {
  node.style.backgroundImage = MARKED.includes(status) ? imageOf(status) : "none";
}

const images = new Map<string, string>();

function imageOf(status: Status): string {
  const colours = markColours(status);
  const key = `${status} ${colours.ink} ${colours.halo}`;
  let image = images.get(key);
  if (image === undefined) {
    const draw = (c: Painter) => drawMark(c, status, 7, 7, colours, 4);
    const svg = svgOf({ width: 14, height: 14, draw });
    image = `url("data:image/svg+xml,${encodeURIComponent(svg)}")`;
    images.set(key, image);
  }
  return image;
}
