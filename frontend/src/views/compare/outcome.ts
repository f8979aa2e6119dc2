// SPDX-License-Identifier: Apache-2.0
// Trials as marks: the shape says how a trial fared, colour says it again.

import type { Painter } from "../../paint/painter";
import type { Trial } from "../../state/trials";
import { themeColour } from "../dom";
import { drawMark, MARKED, markColours } from "../marks";

export function drawOutcome(c: Painter, trial: Trial, x: number, y: number, radius = 4): void {
  if (MARKED.includes(trial.status)) {
    drawMark(c, trial.status, x, y, markColours(trial.status), radius);
    return;
  }
  c.save();
  c.beginPath();
  c.arc(x, y, radius - 0.5, 0, 2 * Math.PI);
  c.fillStyle = themeColour("ground");
  c.fill();
  c.strokeStyle = themeColour(trial.status === "clean" ? "accent" : "muted");
  c.lineWidth = 1.5;
  if (trial.runs.some((r) => r.state === "running")) c.setLineDash([2, 2]);
  c.stroke();
  c.restore();
}
