// One tensor over time: finite minimum and maximum as a band, rms as a line, non-finite
// steps as marks. NaN is a gap, never a zero.

import uPlot from "uplot";
import type { Probe } from "../api/schema.gen";
import type { Ranges } from "../api/types";
import { compact, integer } from "../format/number";
import * as words from "../format/words";
import { badPattern, type Theme } from "../scale/colour";
import type { StepScale } from "../scale/step";
import { type SymlogScale, symlog, symlogUnit } from "../scale/symlog";
import { el, replace, themeColour } from "./dom";
import { cellFacts } from "./heatmap";
import { drawMark, markColours } from "./marks";

export interface RangeChartData {
  ranges: Ranges;
  probe: Probe;
  index: number;
  steps: StepScale;
  theme: Theme;
  onset: number | null;
}

type YScale = "symlog" | "linear";

export class RangeChartView {
  readonly node: HTMLElement;
  private readonly title = el("h3", {}, "Range");
  private readonly plot = el("div", { class: "plot" });
  private readonly readout = el("div", { class: "readout" });
  private readonly select: HTMLSelectElement;
  private chart: uPlot | null = null;
  private data: RangeChartData | null = null;
  private yScale: YScale = "symlog";

  constructor() {
    this.select = el(
      "select",
      {
        "aria-label": "vertical axis",
        change: () => {
          this.yScale = this.select.value as YScale;
          this.draw();
        },
      },
      el("option", { value: "symlog" }, "y: symmetric log"),
      el("option", { value: "linear" }, "y: linear"),
    );
    this.node = el(
      "section",
      { class: "panel chart" },
      el("div", { class: "panel-head" }, this.title, this.select),
      this.plot,
      this.readout,
    );
    new ResizeObserver(() => this.resize()).observe(this.plot);
  }

  update(data: RangeChartData): void {
    const same =
      this.data !== null &&
      (Object.keys(data) as (keyof RangeChartData)[]).every((k) => this.data![k] === data[k]);
    if (same) return;
    this.data = data;
    this.draw();
  }

  private resize(): void {
    const { clientWidth: width, clientHeight: height } = this.plot;
    if (!width || !height) return;
    if (this.chart) this.chart.setSize({ width, height });
    else this.draw();
  }

  private draw(): void {
    const { data } = this;
    const { clientWidth: width, clientHeight: height } = this.plot;
    if (!data || !width || !height) return;
    this.title.textContent = `Range of ${words.tensor(data.probe.kind, data.probe.name)}`;
    this.title.title = this.title.textContent;
    this.chart?.destroy();
    const series = columnsOf(data);
    const scale: SymlogScale | null =
      this.yScale === "symlog" ? symlog(symlogUnit(series.sizes)) : null;
    const forward = (v: number | null) => (v === null || scale === null ? v : scale.forward(v));
    this.chart = new uPlot(
      options(data, scale, width, height, (index) => this.showReadout(index)),
      [
        series.x,
        series.max.map(forward),
        series.min.map(forward),
        series.rms.map(forward),
      ] as uPlot.AlignedData,
      this.plot,
    );
    this.showReadout(null);
  }

  private showReadout(index: number | null): void {
    const { data } = this;
    if (!data) return;
    const key = (cls: string, text: string) =>
      el("span", { class: "key" }, el("i", { class: cls }), text);
    if (index === null) {
      const { ranges } = data;
      let bad = 0;
      for (let b = 0; b < ranges.buckets; b++)
        bad += ranges.badSteps[b * ranges.probes + data.index]!;
      replace(
        this.readout,
        key("band", "finite minimum to maximum"),
        key("line", "rms"),
        el(
          "span",
          { class: bad ? "bad-text" : "" },
          bad ? `✖ non-finite in ${integer(bad)} steps` : "always finite",
        ),
      );
    } else {
      const facts = cellFacts(data.ranges, data.index, data.ranges.steps[2 * index]!);
      replace(this.readout, ...facts.map((f) => el("span", {}, f)));
    }
  }
}

function columnsOf({ ranges, index, steps }: RangeChartData) {
  const x: number[] = [];
  const columns = {
    min: [] as (number | null)[],
    max: [] as (number | null)[],
    rms: [] as (number | null)[],
  };
  const sizes: number[] = [];
  for (let b = 0; b < ranges.buckets; b++) {
    const start = steps.start(ranges.steps[2 * b]!);
    const end = steps.start(ranges.steps[2 * b + 1]! + 1);
    x.push((start + end) / 2);
    for (const name of ["min", "max", "rms"] as const) {
      const column = ranges.columns.indexOf(name);
      const value = ranges.stats[(b * ranges.probes + index) * ranges.columns.length + column]!;
      columns[name].push(Number.isFinite(value) ? value : null);
      if (Number.isFinite(value)) sizes.push(Math.abs(value));
    }
  }
  return { x, ...columns, sizes };
}

function options(
  data: RangeChartData,
  scale: SymlogScale | null,
  width: number,
  height: number,
  onCursor: (index: number | null) => void,
): uPlot.Options {
  const muted = themeColour("muted");
  const line = themeColour("accent");
  const band = themeColour("band");
  const grid = { stroke: themeColour("grid"), width: 1 };
  const font = `10.5px ${getComputedStyle(document.body).fontFamily}`;
  const common = { stroke: muted, grid, ticks: { ...grid, size: 4 }, font };
  const edge = { stroke: band, width: 1, points: { show: false }, spanGaps: false };
  return {
    width,
    height,
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, y: false, points: { size: 6 } },
    padding: [14, 10, 0, 0],
    scales: {
      x: { time: false, range: [0, 1] },
      y: { range: (_u, low, high) => padded(low, high) },
    },
    axes: [
      {
        ...common,
        size: 24,
        splits: (u) => data.steps.ticks(u.bbox.width / devicePixelRatio).map((t) => t.at),
        values: (u) => data.steps.ticks(u.bbox.width / devicePixelRatio).map((t) => t.label),
      },
      {
        ...common,
        size: 62,
        ...(scale && {
          splits: (u: uPlot, _i: number, low: number, high: number) =>
            scale
              .ticks(low, high, Math.max(2, Math.floor(u.bbox.height / devicePixelRatio / 26)))
              .map(scale.forward),
        }),
        values: (_u, splits) => splits.map((v) => tick(scale ? scale.inverse(v) : v)),
      },
    ],
    series: [
      {},
      { ...edge, label: "max" },
      { ...edge, label: "min" },
      { stroke: line, width: 1.75, label: "rms", points: { show: false }, spanGaps: false },
    ],
    bands: [{ series: [1, 2], fill: band }],
    hooks: {
      setCursor: [(u) => onCursor(u.cursor.idx ?? null)],
      drawClear: [(u) => drawBad(u, data)],
      draw: [(u) => drawMarks(u, data)],
    },
  };
}

function padded(low: number | null, high: number | null): [number, number] {
  if (low === null || high === null || !Number.isFinite(low) || !Number.isFinite(high))
    return [-1, 1];
  const margin = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
  return [low - margin, high + margin];
}

// inverse(forward(1e5)) is 99999.99...: labels are of powers of ten, so round to them.
function tick(value: number): string {
  return compact(Number(value.toPrecision(3)), 2);
}

function eachBad(
  u: uPlot,
  { ranges, index, steps }: RangeChartData,
  draw: (left: number, right: number) => void,
) {
  for (let b = 0; b < ranges.buckets; b++) {
    if (!(ranges.badSteps[b * ranges.probes + index]! > 0)) continue;
    draw(
      u.valToPos(steps.start(ranges.steps[2 * b]!), "x", true),
      u.valToPos(steps.start(ranges.steps[2 * b + 1]! + 1), "x", true),
    );
  }
}

function drawBad(u: uPlot, data: RangeChartData): void {
  u.ctx.save();
  u.ctx.globalAlpha = 0.28;
  u.ctx.fillStyle = badPattern(u.ctx, data.theme, "cell");
  eachBad(u, data, (left, right) =>
    u.ctx.fillRect(left, u.bbox.top, Math.max(1, right - left), u.bbox.height),
  );
  u.ctx.restore();
}

function drawMarks(u: uPlot, data: RangeChartData): void {
  const ratio = devicePixelRatio;
  const colours = markColours("diverged");
  let last = Number.NEGATIVE_INFINITY;
  eachBad(u, data, (left, right) => {
    const x = (left + right) / 2;
    if (x - last < 9 * ratio) return; // marks side by side, not a smear
    last = x;
    drawMark(u.ctx, "diverged", x, u.bbox.top - 6 * ratio, colours, 3.2 * ratio);
  });
  if (data.onset !== null) {
    const x = Math.round(u.valToPos(data.steps.start(data.onset), "x", true));
    u.ctx.save();
    u.ctx.strokeStyle = colours.ink;
    u.ctx.lineWidth = ratio;
    u.ctx.setLineDash([3 * ratio, 2 * ratio]);
    u.ctx.beginPath();
    u.ctx.moveTo(x, u.bbox.top);
    u.ctx.lineTo(x, u.bbox.top + u.bbox.height);
    u.ctx.stroke();
    u.ctx.restore();
  }
}
