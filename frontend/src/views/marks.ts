// The shapes that say how a run fared, the same on lanes, in the table and the legend.

import type { Status } from "../api/schema.gen";
import type { Painter } from "../paint/painter";
import { el, prepareCanvas, themeColour } from "./dom";

export const MARKED: readonly Status[] = ["diverged", "score_lost", "runaway", "contained"];

export interface MarkColours {
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

/** A mark on a canvas of its own, for text beside it. */
export function markCanvas(status: Status): HTMLCanvasElement {
  const canvas = el("canvas", { class: "mark", "aria-hidden": "true" });
  redrawMark(canvas, status);
  return canvas;
}

/** Draws another status' mark, or none. */
export function redrawMark(canvas: HTMLCanvasElement, status: Status): void {
  const context = prepareCanvas(canvas, 14, 14);
  if (context) drawMark(context, status, 7, 7, markColours(status), 4);
}
