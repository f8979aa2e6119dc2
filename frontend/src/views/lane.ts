// SPDX-License-Identifier: Apache-2.0
// One run's timeline: which values grew when, and where the run went bad.

import { type LaneSeries, LOOKED_SERIES } from "../api/schema.gen";
import type { Lane, RunSummary } from "../api/types";
import { integer, sizeText } from "../format/number";
import { position } from "../format/words";
import type { Painter } from "../paint/painter";
import type { LaneAxis } from "../scale/axis";
import { badPattern, type ColourScale, nothingColour, type Theme } from "../scale/colour";
import { isBad } from "../state/trials";
import { prepareCanvas, themeColour } from "./dom";
import { drawMark, markColours } from "./marks";

export const LANE_INSET = 7; // room for half a mark at both ends

export interface LaneStyle {
  theme: Theme;
  series: LaneSeries;
  axis: LaneAxis;
  colours: ColourScale;
  width: number;
  height: number;
}

export function drawLane(canvas: HTMLCanvasElement, run: RunSummary, style: LaneStyle): void {
  const c = prepareCanvas(canvas, style.width, style.height);
  if (c) paintLane(c, run, style);
  canvas.dataset.drawn = String(run.lane.steps.length > 0);
}

/** Draws a lane at the painter's origin. */
export function paintLane(c: Painter, run: RunSummary, style: LaneStyle): void {
  const { width, height, axis } = style;
  const steps = axis.of(run);
  const span = width - 2 * LANE_INSET;
  const x = (at: number) => LANE_INSET + at * span;
  const middle = height / 2;

  c.fillStyle = themeColour("grid");
  for (const tick of axis.ticks(span)) c.fillRect(Math.round(x(tick.at)), 0, 1, height);

  drawPoints(c, run, style);
  // Nothing is drawn beyond a zoomed axis.
  const shown = (at: number) => at >= 0 && at <= 1;

  for (const episode of run.contained) {
    const at = steps.middle(episode.start.step);
    if (shown(at)) drawMark(c, "contained", x(at), middle, markColours("contained"), 3.5);
  }
  if (run.onset && isBad(run.status)) {
    const at = steps.middle(run.onset.step);
    if (shown(at)) drawMark(c, run.status, x(at), middle, markColours(run.status));
  }
  if ((run.state === "running" || run.state === "interrupted") && shown(steps.start(run.steps))) {
    drawEnd(c, run.state, x(steps.start(run.steps)) + 3, middle);
  }
}

function drawPoints(c: Painter, run: RunSummary, style: LaneStyle): void {
  const bad = badPattern(c, style.theme, "aftermath");
  const top = style.height / 2 - 6.5;
  for (const { left, right, colour, carried } of spansOf(run, style)) {
    c.fillStyle = colour ?? bad;
    fillSpan(c, left, right, carried ? top + 4 : top, carried ? 5 : 13);
  }
}

/** A stretch of one colour; null is the hatch of what is not finite. */
interface Span {
  left: number;
  right: number;
  colour: string | null;
  /** Nothing was measured here: the colour is that of the last measurement before. */
  carried: boolean;
}

// A sort or a cut moves lanes and changes none: their spans are worked out once.
const known = new WeakMap<RunSummary, { lane: Lane; style: LaneStyle; spans: Span[] }>();

function spansOf(run: RunSummary, style: LaneStyle): readonly Span[] {
  const found = known.get(run);
  if (
    found?.lane === run.lane &&
    found.style.series === style.series &&
    found.style.axis === style.axis &&
    found.style.colours === style.colours &&
    found.style.width === style.width
  )
    return found.spans;
  const spans = measured(run, style);
  known.set(run, { lane: run.lane, style, spans });
  return spans;
}

function measured(run: RunSummary, { theme, series, axis, colours, width }: LaneStyle): Span[] {
  const values = run.lane.series[series];
  const ends = run.lane.steps;
  const steps = axis.of(run);
  const extent = width - 2 * LANE_INSET;
  const onset = run.onset && isBad(run.status) ? run.onset.step : Number.POSITIVE_INFINITY;
  // Once weights or slots are lost, what is still finite (a dead layer's zeros) means
  // nothing: the lane must not turn pale as if it had healed.
  const lost = run.status === "diverged" ? onset : Number.POSITIVE_INFINITY;
  const nothing = nothingColour(theme);
  // Of a zoomed axis only what is shown is drawn.
  const edge = (step: number) => LANE_INSET + extent * Math.min(1, Math.max(0, steps.start(step)));
  const [first, end] = [LANE_INSET, LANE_INSET + extent];
  const spans: Span[] = [];
  let left = edge(0);
  let pending = Number.NEGATIVE_INFINITY;
  let pendingBad = false;
  // Of what is measured now and then, the last measurement goes on as a thin line.
  const now = LOOKED_SERIES.includes(series);
  let latest: string | null = null;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    const last = ends[i]!;
    if (last > lost) pendingBad = true;
    else if (Number.isFinite(value)) pending = Math.max(pending, value);
    else pendingBad ||= last >= onset;
    const right = edge(last + 1);
    if (right === first) continue;
    if (left === end) break;
    // Points narrower than a pixel share one: the worst is shown, none is skipped.
    if (right - left < 1 && i < values.length - 1) continue;
    const measured = pending !== Number.NEGATIVE_INFINITY;
    if (measured) latest = colours.of(pending > 0 ? Math.log10(pending) : -99);
    const carried: boolean = now && !measured && !pendingBad && latest !== null;
    const colour: string | null = pendingBad ? null : measured || carried ? latest : nothing;
    const before = spans[spans.length - 1];
    if (before?.colour === colour && before.carried === carried) before.right = right;
    else spans.push({ left, right, colour, carried });
    left = right;
    pending = Number.NEGATIVE_INFINITY;
    pendingBad = false;
  }
  return spans;
}

/** Fills from pixel to pixel: fractions would leave seams between neighbours. */
export function fillSpan(
  c: Painter,
  left: number,
  right: number,
  top: number,
  height: number,
): void {
  const ratio = window.devicePixelRatio || 1;
  const from = Math.round(left * ratio) / ratio;
  const to = Math.max(from + 1 / ratio, Math.round(right * ratio) / ratio);
  c.fillRect(from, top, to - from, height);
}

function drawEnd(c: Painter, state: "running" | "interrupted", x: number, y: number): void {
  c.fillStyle = themeColour("muted");
  if (state === "running") {
    c.beginPath();
    c.moveTo(x, y - 4);
    c.lineTo(x + 6, y);
    c.lineTo(x, y + 4);
    c.fill();
  } else {
    c.fillRect(x, y - 5, 1.5, 10);
    c.fillRect(x + 3.5, y - 5, 1.5, 10);
  }
}

export const SERIES_WORDS: Record<LaneSeries, string> = {
  growth: "growth",
  loss: "loss",
  gradient_norm: "gradient norm",
  activation: "activation rms",
  weight: "weight rms",
  update_ratio: "update / weight",
  activation_max: "largest |activation|",
};

/** The lane's values at a place, in words. */
export function laneFacts(
  run: RunSummary,
  style: LaneStyle,
  pixel: number,
  exact: Record<LaneSeries, Float32Array> | null = null,
): string[] {
  const span = style.width - 2 * LANE_INSET;
  const step = style.axis.of(run).invert((pixel - LANE_INSET) / span);
  const points = run.lane.steps;
  const title = run.name;
  const facts: string[] = [];
  const index = points.findIndex((last) => last >= step);
  if (!points.length && run.steps > 0) facts.push("its lane is being read");
  else if (index >= 0) {
    const first = index > 0 ? points[index - 1]! + 1 : 0;
    const last = points[index]!;
    facts.push(
      first === last ? `step ${integer(first)}` : `steps ${integer(first)} to ${integer(last)}`,
    );
    // A layer that makes 0 of NaN is finite again, and has not healed.
    const lost = run.status === "diverged" && run.onset !== null && first > run.onset.step;
    if (lost) facts.push("trained on NaN or infinity: what is finite here means nothing");
    for (const name of Object.keys(SERIES_WORDS) as LaneSeries[]) {
      const known = exact?.[name][index];
      const value = known ?? run.lane.series[name][index]!;
      if (Number.isNaN(value) || (lost && Number.isFinite(value))) continue;
      // Lanes travel with as many digits as their colours show.
      const about = known === undefined ? "≈ " : "";
      const text = sizeText(value, known === undefined ? 1 : undefined);
      facts.push(`${SERIES_WORDS[name]} ${about}${name === "growth" ? "×" : ""}${text}`);
    }
  } else {
    facts.push(`ended after ${integer(run.steps)} steps`);
  }
  if (run.onset && isBad(run.status)) facts.push(`first bad step: ${position(run.onset)}`);
  return [title, ...facts];
}
