// SPDX-License-Identifier: Apache-2.0
// The panel of one tensor's ranges: its vertical axis, and exact numbers under the pointer
// or the arrow keys.

import { integer } from "../format/number";
import * as words from "../format/words";
import type { Picture } from "../paint/painter";
import type { ValueScaleName } from "../scale/value";
import { el, prepareCanvas, replace, sizeOf } from "./dom";
import { cellFacts } from "./heatmap";
import { type ChartTexts, paintRange, plotInvert, type RangeChartData } from "./range_paint";

const SCALES: Record<ValueScaleName, string> = {
  symlog: "y: symmetric log",
  log: "y: log of sizes",
  linear: "y: linear",
};

/** Of a watched tensor. */
export const RANGE: ChartTexts = {
  title: (probe) => `Range of ${words.tensor(probe.kind, probe.name)}`,
  band: (log) => (log ? "rms to largest size" : "finite minimum to maximum"),
  line: "rms",
  marked: (n) => `✖ non-finite in ${integer(n)} steps`,
  unmarked: "always finite",
  mark: "diverged",
  facts: ({ ranges, index }, step) => cellFacts(ranges, index, step),
};

export class RangeChartView {
  readonly node: HTMLElement;
  private readonly title = el("h3", {}, "Range");
  private readonly canvas = el("canvas", { "aria-hidden": "true" });
  private readonly plot: HTMLElement;
  private readonly readout = el("div", { class: "readout" });
  private readonly select: HTMLSelectElement;
  private data: RangeChartData | null = null;
  private scale: ValueScaleName = "symlog";
  private cursor: number | null = null;
  /** The size that the canvas was drawn at. */
  private drawnAt = "";

  constructor() {
    this.select = el(
      "select",
      {
        "aria-label": "vertical axis",
        change: () => {
          this.scale = this.select.value as ValueScaleName;
          this.draw();
        },
      },
      ...Object.entries(SCALES).map(([value, text]) => el("option", { value }, text)),
    );
    this.plot = el(
      "div",
      {
        class: "plot",
        tabindex: 0,
        role: "slider",
        "aria-label": "Ranges over time. Left and right read them one by one.",
        "aria-valuemin": 0,
        keydown: (e: KeyboardEvent) => this.onKey(e),
        mousemove: (e: MouseEvent) => this.onHover(e),
        mouseleave: () => this.moveTo(null),
        blur: () => this.moveTo(null),
      },
      this.canvas,
    );
    this.node = el(
      "section",
      { class: "panel chart", "aria-label": "Range chart" },
      el("div", { class: "panel-head" }, this.title, this.select),
      this.plot,
      this.readout,
    );
    new ResizeObserver(() => {
      if (this.drawnAt !== sizeOf(this.plot)) this.draw();
    }).observe(this.plot);
  }

  update(data: RangeChartData): void {
    const same =
      this.data !== null &&
      (Object.keys(data) as (keyof RangeChartData)[]).every((k) => this.data![k] === data[k]);
    if (same) return;
    if (this.data?.ranges !== data.ranges) this.cursor = null;
    this.data = data;
    this.title.textContent = data.texts.title(data.probe);
    this.title.title = this.title.textContent;
    this.plot.setAttribute("aria-valuemax", String(Math.max(0, data.ranges.buckets - 1)));
    this.draw();
  }

  /** What is shown, at a size of its own. */
  picture(width: number, height: number): Picture | null {
    const { data, scale } = this;
    const family = this.family;
    return (
      data && { width, height, draw: (c) => paintRange(c, data, scale, width, height, family) }
    );
  }

  get heading(): string {
    return this.title.textContent;
  }

  private get family(): string {
    return getComputedStyle(this.plot).fontFamily;
  }

  private draw(): void {
    const { data } = this;
    const { clientWidth: width, clientHeight: height } = this.plot;
    this.drawnAt = sizeOf(this.plot);
    if (!data || !width || !height) return;
    const c = prepareCanvas(this.canvas, width, height);
    if (c) paintRange(c, data, this.scale, width, height, this.family, this.cursor);
    this.drawReadout(data);
  }

  private drawReadout(data: RangeChartData): void {
    const key = (cls: string, text: string) =>
      el("span", { class: "key" }, el("i", { class: cls }), text);
    const { ranges, index } = data;
    const { texts } = data;
    const facts = texts.facts(data, ranges.steps[2 * (this.cursor ?? 0)]!);
    this.plot.setAttribute("aria-valuenow", String(this.cursor ?? 0));
    this.plot.setAttribute("aria-valuetext", facts.join(", "));
    if (this.cursor !== null) {
      replace(this.readout, ...facts.map((f) => el("span", {}, f)));
      return;
    }
    let bad = 0;
    for (let b = 0; b < ranges.buckets; b++) bad += ranges.badSteps[b * ranges.probes + index]!;
    const band = texts.band(this.scale === "log");
    replace(
      this.readout,
      band && key("band", band),
      key("line", texts.line),
      el("span", { class: bad ? "bad-text" : "" }, bad ? texts.marked(bad) : texts.unmarked),
    );
  }

  private moveTo(cursor: number | null): void {
    if (cursor === this.cursor) return;
    this.cursor = cursor;
    this.draw();
  }

  private onHover(event: MouseEvent): void {
    const { data } = this;
    if (!data) return;
    const box = this.plot.getBoundingClientRect();
    const at = plotInvert(box.width, event.clientX - box.left);
    const { ranges, axis } = data;
    let nearest: number | null = null;
    let distance = Number.POSITIVE_INFINITY;
    for (let b = 0; b < ranges.buckets; b++) {
      const start = axis.start(ranges.steps[2 * b]!);
      const end = axis.start(ranges.steps[2 * b + 1]! + 1);
      const d = Math.max(start - at, at - end, 0);
      if (d < distance) [nearest, distance] = [b, d];
    }
    this.moveTo(nearest);
  }

  private onKey(event: KeyboardEvent): void {
    const last = (this.data?.ranges.buckets ?? 0) - 1;
    if (last < 0) return;
    const now = this.cursor ?? -1;
    const moves: Record<string, number> = {
      ArrowRight: Math.min(last, now + 1),
      ArrowLeft: Math.max(0, now - 1),
      Home: 0,
      End: last,
    };
    const next = moves[event.key];
    if (next === undefined) return;
    event.preventDefault();
    this.moveTo(next);
  }
}
