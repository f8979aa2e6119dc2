// SPDX-License-Identifier: Apache-2.0
// Two trials' series over time: a small chart for each, both trials on one logarithm and on
// the axis of their lanes. A dash tells the second from the first, colour their fates.

import { LANE_SERIES, type LaneSeries, LOOKED_SERIES } from "../../api/schema.gen";
import type { RunSummary } from "../../api/types";
import { compact, tickLabels } from "../../format/number";
import type { Painter } from "../../paint/painter";
import type { LaneAxis } from "../../scale/axis";
import { type ValueScale, valueScale } from "../../scale/value";
import { type Course, courseOf, nearestTo } from "../../state/compare/course";
import { isBad } from "../../state/trials";
import { SERIES_TITLES } from "../controls";
import { el, prepareCanvas, replace, themeColour } from "../dom";
import { drawMark, markColours } from "../marks";
import { stretches } from "../range_paint";
import type { Tooltip } from "../tooltip";

const LEAST_HEIGHT = 138;
const LEFT = 54;
const RIGHT = 10;
const TOP = 12;
const BOTTOM = 18;
const DASH = [5, 3];

interface Chart {
  series: LaneSeries;
  node: HTMLElement;
  canvas: HTMLCanvasElement;
  courses: Course[];
}

export class CoursesView {
  readonly node = el("div", { class: "courses" });
  private charts: Chart[] = [];
  private runs: readonly RunSummary[] = [];
  private axis: LaneAxis | null = null;
  private drawnAt = 0;

  constructor(
    private readonly tooltip: Tooltip,
    private readonly name: (run: RunSummary) => string,
  ) {
    new ResizeObserver(() => {
      if (this.drawnAt !== this.node.clientWidth) this.draw();
    }).observe(this.node);
  }

  update(runs: readonly RunSummary[], axis: LaneAxis): void {
    this.runs = runs;
    this.axis = axis;
    this.charts = LANE_SERIES.flatMap((series) => {
      const courses = runs.map((run) => courseOf(run, series, axis));
      const known = courses.some(({ values }) => values.some((v) => !Number.isNaN(v)));
      return known ? [this.chart(series, courses)] : [];
    });
    replace(
      this.node,
      this.charts.length > 0 && this.key(),
      el("div", { class: "course-charts" }, ...this.charts.map(({ node }) => node)),
    );
    this.draw();
  }

  private key(): HTMLElement {
    return el(
      "p",
      { class: "course-key" },
      ...this.runs.map((run, i) => {
        const colour = colourOf(this.runs, i);
        const line = `border-top:2px ${i ? "dashed" : "solid"} var(--${colour})`;
        return el("span", {}, el("i", { style: line, "aria-hidden": "true" }), this.name(run));
      }),
      this.charts.some(({ series }) => LOOKED_SERIES.includes(series)) &&
        el("span", { class: "aside" }, "points: measured now and then, not at every step"),
    );
  }

  private chart(series: LaneSeries, courses: Course[]): Chart {
    const canvas = el("canvas", { "aria-hidden": "true" });
    const said = this.runs.map((run, i) => {
      const known = courses[i]!.values.filter((v) => !Number.isNaN(v));
      return known.length
        ? `${this.name(run)} from ${compact(known[0]!)} to ${compact(known[known.length - 1]!)}`
        : `${this.name(run)} not measured`;
    });
    const chart: Chart = { series, canvas, courses, node: el("figure", { class: "course" }) };
    const plot = el(
      "div",
      {
        role: "img",
        "aria-label": `${SERIES_TITLES[series]}: ${said.join(", ")}`,
        mousemove: (e: MouseEvent) => this.point(chart, e),
        mouseleave: () => this.tooltip.hide(),
      },
      canvas,
    );
    chart.node.append(el("figcaption", {}, SERIES_TITLES[series]), plot);
    return chart;
  }

  private draw(): void {
    const { axis, runs } = this;
    this.drawnAt = this.node.clientWidth;
    if (!axis) return;
    const family = getComputedStyle(this.node).fontFamily;
    for (const { node, canvas, courses, series } of this.charts) {
      const width = node.clientWidth;
      if (width <= LEFT + RIGHT) continue;
      const height = Math.max(LEAST_HEIGHT, Math.round(0.42 * width));
      const c = prepareCanvas(canvas, width, height);
      if (c) paintCourses(c, runs, series, courses, axis, width, height, family);
    }
  }

  private point({ series, canvas, courses }: Chart, event: MouseEvent): void {
    const { left, width } = canvas.getBoundingClientRect();
    const place = (event.clientX - left - LEFT) / (width - LEFT - RIGHT);
    const facts = this.runs.map((run, i) => {
      const { at, values } = courses[i]!;
      const found = nearestTo(courses[i]!, place);
      if (found < 0) return `${this.name(run)}: not measured`;
      const step = this.axis!.of(run).invert(at[found]!);
      return `${this.name(run)}: ≈ ${compact(values[found]!, 2)} at step ${step}`;
    });
    this.tooltip.show([SERIES_TITLES[series], ...facts], event.clientX, event.clientY);
  }
}

/** Colours of the theme: bad is red; of two trials with the same fate the second is grey. */
function colourOf(runs: readonly RunSummary[], index: number): "bad" | "accent" | "dot" {
  const bad = isBad(runs[index]!.status);
  if (index > 0 && bad === isBad(runs[0]!.status)) return "dot";
  return bad ? "bad" : "accent";
}

function paintCourses(
  c: Painter,
  runs: readonly RunSummary[],
  series: LaneSeries,
  courses: readonly Course[],
  axis: LaneAxis,
  width: number,
  height: number,
  family: string,
): void {
  const scale = valueScale(
    "log",
    courses.flatMap(({ values }) => values),
  );
  const span = width - LEFT - RIGHT;
  const plot = height - TOP - BOTTOM;
  const x = (at: number) => LEFT + at * span;
  const y = (value: number) => TOP + (1 - scale.at(value)!) * plot;
  c.font = `10.5px ${family}`;
  c.textBaseline = "middle";
  paintGrid(c, scale, axis, width, height, x, y);
  c.save();
  c.beginPath();
  c.rect(LEFT, 0, span + RIGHT, height - BOTTOM + 1);
  c.clip();
  for (const [i, run] of runs.entries()) {
    const { at, values } = courses[i]!;
    const colour = themeColour(colourOf(runs, i));
    c.strokeStyle = c.fillStyle = colour;
    c.lineWidth = 1.6;
    c.lineJoin = "round";
    c.setLineDash(i ? DASH : []);
    for (const [from, to] of stretches(values, values)) {
      c.beginPath();
      c.moveTo(x(at[from]!), y(values[from]!));
      for (let k = from + 1; k <= to; k++) c.lineTo(x(at[k]!), y(values[k]!));
      c.stroke();
      const single = from === to || LOOKED_SERIES.includes(series);
      if (single)
        for (let k = from; k <= to; k++) c.fillRect(x(at[k]!) - 2, y(values[k]!) - 2, 4, 4);
    }
    c.setLineDash([]);
    if (run.onset && isBad(run.status)) {
      const onset = axis.of(run).middle(run.onset.step);
      if (onset >= 0 && onset <= 1)
        drawMark(c, run.status, x(onset), TOP - 6, markColours(run.status), 3.4);
    }
  }
  c.restore();
}

function paintGrid(
  c: Painter,
  scale: ValueScale,
  axis: LaneAxis,
  width: number,
  height: number,
  x: (at: number) => number,
  y: (value: number) => number,
): void {
  const span = width - LEFT - RIGHT;
  const values = scale.ticks(height - TOP - BOTTOM);
  const labels = tickLabels(values);
  const ticks = axis.ticks(span);
  c.fillStyle = themeColour("grid");
  for (const tick of ticks) c.fillRect(Math.round(x(tick.at)), TOP, 1, height - TOP - BOTTOM);
  for (const value of values) c.fillRect(LEFT, Math.round(y(value)), span, 1);
  c.fillStyle = themeColour("muted");
  c.textAlign = "right";
  values.forEach((value, i) => {
    c.fillText(labels[i]!, LEFT - 6, y(value));
  });
  c.textAlign = "center";
  for (const tick of ticks) {
    const half = c.measureText(tick.label).width / 2;
    c.fillText(tick.label, Math.min(width - half, x(tick.at)), height - BOTTOM / 2 + 1);
  }
  c.textAlign = "left";
}
