// SPDX-License-Identifier: Apache-2.0
// Layers x steps: where in the network values grew, and which tensor went non-finite first.

import type { Phase, Probe } from "../api/schema.gen";
import type { Origin, Ranges } from "../api/types";
import { compact, integer } from "../format/number";
import * as words from "../format/words";
import type { Painter, Picture } from "../paint/painter";
import {
  badPattern,
  type ColourScale,
  decadeScale,
  nothingColour,
  type Theme,
} from "../scale/colour";
import type { DetailAxis } from "../scale/detail";
import { countedInRanges } from "../state/counted";
import { reveal, sumHeights, type Tops, visible } from "../state/window";
import { el, prepareCanvas, replace, sizeOf, themeColour } from "./dom";
import { fillSpan } from "./lane";
import { decadeLegend } from "./legend";
import { drawMark, markColours } from "./marks";
import type { Tooltip } from "./tooltip";

const ROW = 15;
const HEADING = 17;
const AXIS = 18;
const LABEL_SHARE = 0.3;

type HeatLine = { type: "kind"; text: string } | { type: "probe"; index: number };

interface HeatmapData {
  ranges: Ranges;
  probes: readonly Probe[];
  axis: DetailAxis;
  theme: Theme;
  phase: Phase;
  /** First bad step, where the run went bad in this phase. */
  onset: number | null;
  origin: Origin | null;
  /** Whether values after the onset mean nothing, since the model itself is damaged. */
  lost: boolean;
}

export class HeatmapView {
  readonly node: HTMLElement;
  private readonly canvas = el("canvas", { "aria-hidden": "true" });
  private readonly spacer = el("div", { class: "spacer" });
  private readonly scroller: HTMLElement;
  private readonly legend = el("div", { class: "legend" });
  private data: HeatmapData | null = null;
  private chosen = -1;
  private lines: HeatLine[] = [];
  private tops: Tops = sumHeights([]);
  private colours: ColourScale | null = null;
  private frame = 0;
  /** The size that the canvas was drawn at. */
  private drawnAt = "";

  constructor(
    private readonly choose: (probe: number) => void,
    private readonly tooltip: Tooltip,
  ) {
    this.scroller = el(
      "div",
      {
        class: "heat-scroller",
        tabindex: 0,
        role: "slider",
        "aria-orientation": "vertical",
        "aria-label": "Watched tensors in causal order. Up and down choose one.",
        "aria-valuemin": 0,
        scroll: () => this.schedule(),
        click: (e: MouseEvent) => this.onClick(e),
        keydown: (e: KeyboardEvent) => this.onKey(e),
        mousemove: (e: MouseEvent) => this.onHover(e),
        mouseleave: () => tooltip.hide(),
      },
      el("div", { class: "heat-sticky" }, this.canvas),
      this.spacer,
    );
    this.node = el(
      "section",
      { class: "panel heat" },
      el("div", { class: "panel-head" }, el("h3", {}, "Layers × steps"), this.legend),
      this.scroller,
    );
    new ResizeObserver(() => {
      if (this.drawnAt !== sizeOf(this.scroller)) this.schedule();
    }).observe(this.scroller);
  }

  update(data: HeatmapData, chosen: number): void {
    const fresh = this.data?.ranges !== data.ranges || this.data?.probes !== data.probes;
    if (fresh || this.data?.theme !== data.theme) {
      this.colours = colourScale(data);
      replace(this.legend, decadeLegend("rms, own scale", this.colours, data.theme, true));
    }
    if (fresh) {
      this.lines = linesOf(data.probes, data.ranges.probes);
      this.tops = sumHeights(this.lines.map((l) => (l.type === "kind" ? HEADING : ROW)));
      this.spacer.style.height = `${this.tops.total + AXIS}px`;
    }
    const moved = chosen !== this.chosen;
    this.data = data;
    this.chosen = chosen;
    if (fresh || moved) this.revealChosen();
    const probe = data.probes[chosen];
    const { scroller } = this;
    scroller.setAttribute("aria-valuemax", String(Math.max(0, data.ranges.probes - 1)));
    scroller.setAttribute("aria-valuenow", String(chosen));
    scroller.setAttribute("aria-valuetext", probe ? words.tensor(probe.kind, probe.name) : "none");
    this.draw();
  }

  private revealChosen(): void {
    const line = this.lines.findIndex((l) => l.type === "probe" && l.index === this.chosen);
    const height = this.scroller.clientHeight - AXIS;
    if (line < 0 || height <= 0) return;
    // With a heading's worth of context on either side.
    this.scroller.scrollTop = reveal(
      this.scroller.scrollTop,
      height,
      Math.max(0, this.tops.tops[line]! - 2 * ROW),
      this.tops.tops[line + 1]! + 2 * ROW,
    );
  }

  private schedule(): void {
    this.tooltip.hide();
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  /** A picture of the whole heat map, however long, at a given width. */
  picture(width: number): Picture | null {
    const { data, colours } = this;
    if (!data || !colours) return null;
    const height = this.tops.total + AXIS + 4;
    const sheet = this.sheet(data, colours, width, height, 0);
    return { width, height, draw: (c) => paintHeat(c, sheet) };
  }

  private sheet(
    data: HeatmapData,
    colours: ColourScale,
    width: number,
    height: number,
    scroll: number,
  ): Sheet {
    const family = getComputedStyle(this.scroller).fontFamily;
    const { lines, tops, chosen } = this;
    return { data, colours, lines, tops, chosen, width, height, scroll, family };
  }

  private draw(): void {
    const { data, colours } = this;
    this.drawnAt = sizeOf(this.scroller);
    const width = this.scroller.clientWidth;
    const height = this.scroller.clientHeight;
    if (!data || !colours || !width || !height) return;
    const c = prepareCanvas(this.canvas, width, height);
    if (c) paintHeat(c, this.sheet(data, colours, width, height, this.scroller.scrollTop));
  }

  private lineAt(event: MouseEvent): HeatLine | null {
    const box = this.scroller.getBoundingClientRect();
    const y = event.clientY - box.top - AXIS;
    if (y < 0) return null;
    const [first] = visible(this.tops, y + this.scroller.scrollTop, 0.001, 0);
    const line = this.lines[first];
    return line && y + this.scroller.scrollTop < this.tops.total ? line : null;
  }

  private onClick(event: MouseEvent): void {
    const line = this.lineAt(event);
    if (line?.type === "probe") this.choose(line.index);
  }

  private onKey(event: KeyboardEvent): void {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step === 0) return;
    event.preventDefault();
    const probes = this.lines.flatMap((l) => (l.type === "probe" ? [l.index] : []));
    const now = probes.indexOf(this.chosen);
    const next = probes[Math.min(probes.length - 1, Math.max(0, now + step))];
    if (next !== undefined) this.choose(next);
  }

  private onHover(event: MouseEvent): void {
    const line = this.lineAt(event);
    const { data } = this;
    if (!data || line?.type !== "probe") {
      this.tooltip.hide();
      return;
    }
    const x = event.clientX - this.scroller.getBoundingClientRect().left;
    const probe = data.probes[line.index]!;
    const facts = [words.tensor(probe.kind, probe.name)];
    const shape = probe.shape.length
      ? `${probe.dtype} [${probe.shape.map((n) => n ?? "?").join(", ")}]`
      : probe.dtype;
    facts.push(shape);
    const width = this.scroller.clientWidth;
    const left = labelWidth(width);
    if (x >= left) {
      const at = (x - left) / (place(width, 1) - left);
      facts.push(...cellFacts(data.ranges, line.index, data.axis.invert(at)));
    }
    this.tooltip.show(facts, event.clientX, event.clientY);
  }
}

interface Sheet {
  data: HeatmapData;
  colours: ColourScale;
  lines: readonly HeatLine[];
  tops: Tops;
  chosen: number;
  width: number;
  height: number;
  scroll: number;
  family: string;
}

const labelWidth = (width: number): number => Math.min(230, Math.max(110, width * LABEL_SHARE));

function place(width: number, at: number): number {
  const left = labelWidth(width);
  return left + at * (width - left - 6);
}

function paintHeat(c: Painter, sheet: Sheet): void {
  const { data, colours, width, height, scroll, family } = sheet;
  const { origin, onset } = data;
  const left = labelWidth(width);
  const ink = themeColour("ink");
  const muted = themeColour("muted");
  const bad = badPattern(c, data.theme, "cell");
  const after = badPattern(c, data.theme, "aftermath");
  const nothing = nothingColour(data.theme);
  const [first, last] = visible(sheet.tops, scroll, height - AXIS, 1);
  const places = bucketPlaces(data, width);
  c.textBaseline = "middle";
  c.save();
  c.beginPath();
  c.rect(0, AXIS, width, height - AXIS);
  c.clip();
  for (let i = first; i < last; i++) {
    const line = sheet.lines[i]!;
    const y = sheet.tops.tops[i]! - scroll + AXIS;
    if (line.type === "kind") {
      c.font = `600 10.5px ${family}`;
      c.fillStyle = muted;
      c.fillText(line.text, 4, y + HEADING / 2 + 1);
      continue;
    }
    const probe = data.probes[line.index]!;
    const chosen = line.index === sheet.chosen;
    const isOrigin =
      onset !== null && origin !== null && origin.kind === probe.kind && origin.name === probe.name;
    if (chosen) {
      c.fillStyle = themeColour("chosen");
      c.fillRect(0, y, left, ROW);
    }
    c.font = `${chosen || isOrigin ? "600 " : ""}11px ${family}`;
    c.fillStyle = isOrigin ? themeColour("bad") : ink;
    c.fillText(elide(c, probe.name || probe.kind, left - 24), 12, y + ROW / 2 + 0.5);
    paintCells(c, data, line.index, y, places, colours, bad, nothing, after);
    if (chosen) {
      c.strokeStyle = ink;
      c.lineWidth = 1;
      c.strokeRect(left - 0.5, Math.round(y) + 0.5, width - left - 5, ROW);
    }
    if (isOrigin) {
      const x = place(width, data.axis.middle(onset));
      drawMark(c, "diverged", Math.min(x, width - 8), y + ROW / 2, markColours("diverged"), 3.5);
    }
  }
  c.restore();
  paintAxis(c, sheet, muted);
}

function paintCells(
  c: Painter,
  { ranges, lost, onset }: HeatmapData,
  probe: number,
  y: number,
  places: readonly (readonly [number, number])[],
  colours: ColourScale,
  bad: CanvasPattern | string,
  nothing: string,
  after: CanvasPattern | string,
): void {
  const rmsColumn = ranges.columns.indexOf("rms");
  for (let b = 0; b < places.length; b++) {
    const [left, right] = places[b]!;
    const rms = ranges.stats[(b * ranges.probes + probe) * ranges.columns.length + rmsColumn]!;
    const isBad = ranges.badSteps[b * ranges.probes + probe]! > 0;
    c.fillStyle = isBad
      ? bad
      : lost && onset !== null && ranges.steps[2 * b]! > onset
        ? after
        : Number.isFinite(rms)
          ? colours.of(rms > 0 ? Math.log10(rms) : -99)
          : nothing;
    fillSpan(c, left, right, y + 1, ROW - 1);
  }
}

/** The start and the end of each bucket on the axis, the same in every row. */
function bucketPlaces({ ranges, axis }: HeatmapData, width: number): [number, number][] {
  const places: [number, number][] = [];
  for (let b = 0; b < ranges.buckets; b++) {
    const start = axis.start(ranges.steps[2 * b]!);
    // An axis that ends at the onset has no place for what came after.
    if (start >= 1) break;
    places.push([place(width, start), place(width, axis.start(ranges.steps[2 * b + 1]! + 1))]);
  }
  return places;
}

function paintAxis(
  c: Painter,
  { data, width, height, scroll, tops, family }: Sheet,
  muted: string,
): void {
  const { axis, onset } = data;
  c.fillStyle = themeColour("panel");
  c.fillRect(0, 0, width, AXIS);
  c.font = `10.5px ${family}`;
  c.fillStyle = muted;
  c.textAlign = "left";
  c.fillText(axis.title, 4, AXIS / 2);
  const span = place(width, 1) - place(width, 0);
  c.textAlign = "center";
  for (const tick of axis.ticks(span)) {
    const x = place(width, tick.at);
    c.fillText(tick.label, Math.min(width - 12, Math.max(labelWidth(width) + 4, x)), AXIS / 2);
    c.fillRect(Math.round(x), AXIS - 3, 1, 3);
  }
  c.textAlign = "left";
  if (onset === null) return;
  const x = Math.round(place(width, axis.start(onset))) + 0.5;
  c.save();
  c.strokeStyle = themeColour("bad");
  c.lineWidth = 1;
  c.setLineDash([3, 2]);
  c.beginPath();
  c.moveTo(x, AXIS);
  c.lineTo(x, Math.min(height, AXIS + tops.total - scroll));
  c.stroke();
  c.restore();
}

function colourScale({ ranges, theme }: HeatmapData): ColourScale {
  const column = ranges.columns.indexOf("rms");
  const decades = new Float64Array(ranges.stats.length / ranges.columns.length || 0);
  let n = 0;
  for (let i = column; i < ranges.stats.length; i += ranges.columns.length) {
    const value = ranges.stats[i]!;
    if (value > 0 && Number.isFinite(value)) decades[n++] = Math.log10(value);
  }
  if (n === 0) return decadeScale(theme, 0, 1);
  const known = decades.subarray(0, n).sort();
  // The lowest twentieth (dying gradients, zero biases) would stretch the scale for nothing.
  const low = known[Math.floor(n * 0.05)]!;
  return decadeScale(theme, low, known[n - 1]!);
}

function linesOf(probes: readonly Probe[], count: number): HeatLine[] {
  const lines: HeatLine[] = [];
  let kind = "";
  probes.slice(0, count).forEach((probe, index) => {
    if (probe.kind !== kind) {
      kind = probe.kind;
      lines.push({ type: "kind", text: words.KIND_HEADINGS[probe.kind] });
    }
    lines.push({ type: "probe", index });
  });
  return lines;
}

/** The bucket that holds a step; -1 where none does. */
export function bucketAt(ranges: Ranges, step: number): number {
  for (let b = 0; b < ranges.buckets; b++) {
    if (step >= ranges.steps[2 * b]! && step <= ranges.steps[2 * b + 1]!) return b;
  }
  return -1;
}

export function cellFacts(ranges: Ranges, probe: number, step: number): string[] {
  const b = bucketAt(ranges, step);
  if (b < 0) return ["nothing was measured here"];
  const first = ranges.steps[2 * b]!;
  const last = ranges.steps[2 * b + 1]!;
  const facts = [
    first === last ? `step ${integer(first)}` : `steps ${integer(first)} to ${integer(last)}`,
  ];
  const at = b * ranges.probes + probe;
  const stat = (name: string) => {
    const column = ranges.columns.indexOf(name);
    return column < 0 ? Number.NaN : ranges.stats[at * ranges.columns.length + column]!;
  };
  if (Number.isFinite(stat("rms"))) facts.push(`rms ${compact(stat("rms"), 4)}`);
  if (Number.isFinite(stat("min"))) {
    facts.push(`finite from ${compact(stat("min"), 4)} to ${compact(stat("max"), 4)}`);
  }
  if (stat("zero_fraction") > 0) facts.push(`${compact(100 * stat("zero_fraction"))} % zeros`);
  if (Number.isFinite(stat("update_ratio")))
    facts.push(`update / weight ${compact(stat("update_ratio"), 3)}`);
  const bad = ranges.badSteps[at]!;
  if (bad > 0) {
    facts.push(first === last ? "non-finite" : `non-finite in ${integer(bad)} steps`);
    const found = countedInRanges(ranges, b, probe);
    if (found) facts.push(`${found} counted`);
  } else if (!Number.isFinite(stat("rms"))) facts.push("nothing finite was measured");
  return facts;
}

function elide(c: Painter, text: string, width: number): string {
  if (c.measureText(text).width <= width) return text;
  // The end of a path says more than its beginning.
  let cut = text;
  while (cut.length > 1 && c.measureText(`…${cut}`).width > width) cut = cut.slice(1);
  return `…${cut}`;
}
