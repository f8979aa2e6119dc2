// The shapes that say how a run fared, the same on lanes, in the table and the legend.

import type { Status } from "../api/schema.gen";
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
  context: CanvasRenderingContext2D,
  status: Status,
  x: number,
  y: number,
  colours: MarkColours,
  radius = 4.5,
): void {
  const path = new Path2D();
  const r = radius;
  let filled = true;
  switch (status) {
    case "diverged":
      path.moveTo(x - r, y - r);
      path.lineTo(x + r, y + r);
      path.moveTo(x + r, y - r);
      path.lineTo(x - r, y + r);
      filled = false;
      break;
    case "score_lost":
      path.moveTo(x, y - r - 1);
      path.lineTo(x + r + 1, y);
      path.lineTo(x, y + r + 1);
      path.lineTo(x - r - 1, y);
      path.closePath();
      break;
    case "runaway":
      path.moveTo(x, y - r);
      path.lineTo(x + r + 0.5, y + r);
      path.lineTo(x - r - 0.5, y + r);
      path.closePath();
      break;
    case "contained":
      path.moveTo(x - r, y - r + 1);
      path.lineTo(x + r, y - r + 1);
      path.lineTo(x, y + r);
      path.closePath();
      filled = false;
      break;
    default:
      return;
  }
  context.save();
  context.lineCap = "round";
  context.lineJoin = "round";
  context.strokeStyle = colours.halo;
  context.lineWidth = filled ? 3 : 5.5;
  context.stroke(path);
  if (filled) {
    context.fillStyle = colours.ink;
    context.fill(path);
  } else {
    if (status === "contained") {
      context.fillStyle = colours.halo;
      context.fill(path);
    }
    context.strokeStyle = colours.ink;
    context.lineWidth = status === "contained" ? 1.6 : 2.4;
    context.stroke(path);
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
