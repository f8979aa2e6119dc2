// SPDX-License-Identifier: Apache-2.0
// Draws one tensor's ranges over time: the finite minimum and maximum as a band, rms as a
// line, non-finite steps as hatched ground with marks. NaN is a gap, never a zero.

import type { Probe, Status } from "../api/schema.gen";
import type { Ranges } from "../api/types";
import { tickLabels } from "../format/number";
import type { Painter } from "../paint/painter";
import { badPattern, type Theme } from "../scale/colour";
import type { DetailAxis } from "../scale/detail";
import { type ValueScaleName, valueScale } from "../scale/value";
import { themeColour } from "./dom";
import { drawMark, markColours } from "./marks";

const LEFT = 58;
const RIGHT = 8;
const TOP = 15;
const BOTTOM = 22;

export interface RangeChartData {
  ranges: Ranges;
  probe: Probe;
  index: number;
  axis: DetailAxis;
  theme: Theme;
  /** First bad step, in the phase's own steps. */
  onset: number | null;
  texts: ChartTexts;
}

/** The chart's texts about its numbers. */
export interface ChartTexts {
  title(probe: Probe): string;
  /** Keys of the band and the line; a chart without a band has none. */
  band(log: boolean): string | null;
  line: string;
  /** Of the steps that are marked, and where there is none. */
  marked(steps: number): string;
  unmarked: string;
  mark: Status;
  /** The numbers at a step. */
  facts(data: RangeChartData, step: number): string[];
}

interface Curve {
  /** Where each bucket begins and ends, in [0, 1]. */
  start: number[];
  end: number[];
  top: number[];
  bottom: number[];
  line: number[];
}

/**
 * The band and the line of one tensor; NaN where nothing finite was measured. A logarithm has
 * only sizes: there the band lies between rms and the largest finite size.
 */
export function curveOf({ ranges, index, axis }: RangeChartData, scale: ValueScaleName): Curve {
  const curve: Curve = { start: [], end: [], top: [], bottom: [], line: [] };
  const width = ranges.columns.length;
  const columns = ["min", "max", "rms"].map((name) => ranges.columns.indexOf(name));
  for (let b = 0; b < ranges.buckets; b++) {
    const at = (b * ranges.probes + index) * width;
    const [low, high, rms] = columns.map((column) => {
      const value = column < 0 ? Number.NaN : ranges.stats[at + column]!;
      return Number.isFinite(value) ? value : Number.NaN;
    }) as [number, number, number];
    curve.start.push(axis.start(ranges.steps[2 * b]!));
    curve.end.push(axis.start(ranges.steps[2 * b + 1]! + 1));
    curve.line.push(rms);
    curve.top.push(scale === "log" ? Math.max(Math.abs(low), Math.abs(high)) : high);
    curve.bottom.push(scale === "log" ? rms : low);
  }
  return curve;
}

function plotPlace(width: number, at: number): number {
  return LEFT + at * (width - LEFT - RIGHT);
}

export function plotInvert(width: number, x: number): number {
  return (x - LEFT) / (width - LEFT - RIGHT);
}

export function paintRange(
  c: Painter,
  data: RangeChartData,
  name: ValueScaleName,
  width: number,
  height: number,
  family: string,
  cursor: number | null = null,
): void {
  const curve = curveOf(data, name);
  const scale = valueScale(name, [...curve.top, ...curve.bottom, ...curve.line], curve.line);
  const plot = height - TOP - BOTTOM;
  const x = (at: number) => plotPlace(width, at);
  const y = (place: number) => TOP + (1 - place) * plot;
  const grid = themeColour("grid");
  c.font = `10.5px ${family}`;
  c.textBaseline = "middle";
  c.fillStyle = grid;
  const ticks = data.axis.ticks(width - LEFT - RIGHT);
  for (const tick of ticks) c.fillRect(Math.round(x(tick.at)), TOP, 1, plot);
  const labels = scale.ticks(plot);
  for (const value of labels)
    c.fillRect(LEFT, Math.round(y(scale.at(value)!)), width - LEFT - RIGHT, 1);
  c.fillStyle = themeColour("muted");
  c.textAlign = "right";
  const texts = tickLabels(labels);
  labels.forEach((value, i) => {
    c.fillText(texts[i]!, LEFT - 6, y(scale.at(value)!));
  });
  c.textAlign = "center";
  for (const tick of ticks)
    c.fillText(tick.label, Math.min(width - 14, x(tick.at)), height - BOTTOM + 11);
  c.textAlign = "left";
  c.fillText(data.axis.title, 4, height - BOTTOM + 11);

  c.save();
  c.beginPath();
  c.rect(LEFT, 0, width - LEFT, height - BOTTOM);
  c.clip();
  paintBad(c, data, curve, x, plot);
  const steps = curve.line.map((_, i) => x((curve.start[i]! + curve.end[i]!) / 2));
  c.fillStyle = themeColour("band");
  for (const [from, to] of stretches(curve.top, curve.bottom)) {
    c.beginPath();
    // A single bucket is as wide as it lasted.
    const left = from === to ? x(curve.start[from]!) : steps[from]!;
    const right = from === to ? Math.max(left + 1.5, x(curve.end[from]!)) : steps[to]!;
    c.moveTo(left, y(scale.at(curve.top[from]!) ?? 0));
    for (let i = from + 1; i <= to; i++) c.lineTo(steps[i]!, y(scale.at(curve.top[i]!) ?? 0));
    if (from === to) c.lineTo(right, y(scale.at(curve.top[to]!) ?? 0));
    c.lineTo(right, y(scale.at(curve.bottom[to]!) ?? 0));
    for (let i = to; i >= from; i--)
      c.lineTo(i === from ? left : steps[i]!, y(scale.at(curve.bottom[i]!) ?? 0));
    c.closePath();
    c.fill();
  }
  c.strokeStyle = themeColour("accent");
  c.lineWidth = 1.75;
  c.lineJoin = "round";
  const drawn = curve.line.map((v) => (scale.at(v) === null ? Number.NaN : v));
  for (const [from, to] of stretches(drawn, drawn)) {
    c.beginPath();
    c.moveTo(from === to ? x(curve.start[from]!) : steps[from]!, y(scale.at(drawn[from]!)!));
    for (let i = from + 1; i <= to; i++) c.lineTo(steps[i]!, y(scale.at(drawn[i]!)!));
    if (from === to)
      c.lineTo(Math.max(steps[from]! + 1, x(curve.end[from]!)), y(scale.at(drawn[from]!)!));
    c.stroke();
  }
  c.restore();
  paintMarks(c, data, curve, x, height);
  if (cursor !== null && cursor < steps.length) {
    c.fillStyle = themeColour("muted");
    c.fillRect(Math.round(steps[cursor]!), TOP, 1, plot);
  }
}

/** First and last index of each stretch in which both columns have a value. */
export function stretches(a: readonly number[], b: readonly number[]): [number, number][] {
  const found: [number, number][] = [];
  let from = -1;
  for (let i = 0; i <= a.length; i++) {
    const has = i < a.length && Number.isFinite(a[i]!) && Number.isFinite(b[i]!);
    if (has && from < 0) from = i;
    else if (!has && from >= 0) {
      found.push([from, i - 1]);
      from = -1;
    }
  }
  return found;
}

// An axis that ends at the onset has no place for what came after.
const isBad = ({ ranges, index }: RangeChartData, curve: Curve, b: number): boolean =>
  ranges.badSteps[b * ranges.probes + index]! > 0 && curve.start[b]! < 1;

function paintBad(
  c: Painter,
  data: RangeChartData,
  curve: Curve,
  x: (at: number) => number,
  plot: number,
): void {
  c.save();
  c.globalAlpha = 0.28;
  c.fillStyle = badPattern(c, data.theme, "cell");
  curve.start.forEach((start, b) => {
    if (isBad(data, curve, b))
      c.fillRect(x(start), TOP, Math.max(1, x(curve.end[b]!) - x(start)), plot);
  });
  c.restore();
}

function paintMarks(
  c: Painter,
  data: RangeChartData,
  curve: Curve,
  x: (at: number) => number,
  height: number,
): void {
  const { mark } = data.texts;
  const colours = markColours(mark);
  let last = Number.NEGATIVE_INFINITY;
  curve.start.forEach((start, b) => {
    const middle = x((start + curve.end[b]!) / 2);
    // Marks side by side, not a smear.
    if (!isBad(data, curve, b) || middle - last < 9) return;
    last = middle;
    drawMark(c, mark, middle, TOP - 7, colours, 3.2);
  });
  if (data.onset === null) return;
  const at = Math.round(x(data.axis.start(data.onset))) + 0.5;
  c.save();
  c.strokeStyle = colours.ink;
  c.lineWidth = 1;
  c.setLineDash([3, 2]);
  c.beginPath();
  c.moveTo(at, TOP);
  c.lineTo(at, height - BOTTOM);
  c.stroke();
  c.restore();
}
