// SPDX-License-Identifier: Apache-2.0
// Two hyperparameters against the outcome: every trial as a mark, and beside it how many
// went bad in each cell. Inactive values have a strip of their own.

import { keyOf } from "../../api/types";
import { integer } from "../../format/number";
import * as words from "../../format/words";
import type { Painter, Picture } from "../../paint/painter";
import { type Axis, hparamAxis, varying } from "../../state/compare/axes";
import { partsOf, rateOf } from "../../state/compare/parts";
import { CROWDED, type Place, tileLength, tiles } from "../../state/compare/tiles";
import type { Model, State } from "../../state/state";
import type { Trial } from "../../state/trials";
import { el, prepareCanvas, replace, setText, themeColour } from "../dom";
import type { Tooltip } from "../tooltip";
import { intervalText } from "./interval";
import { drawOutcome } from "./outcome";

const LEFT = 76;
const BOTTOM = 40;
const TOP = 12;
const RIGHT = 14;
/** Width of the strip for inactive values. */
const STRIP = 26;
const REACH = 10;

interface PairActions {
  pair(names: [string, string]): void;
  select(key: string): void;
}

export class PairView {
  readonly node: HTMLElement;
  private readonly across: HTMLSelectElement;
  private readonly up: HTMLSelectElement;
  private readonly canvas = el("canvas", { "aria-hidden": "true" });
  private readonly plot: HTMLElement;
  private readonly told = el("span", { class: "aside legend-mark" });
  private readonly matrix = el("div", { class: "matrix" });
  private model: Model | null = null;
  private state: State | null = null;
  private names: [string, string] | null = null;
  private places: Place[] = [];
  private active = -1;
  private key: unknown[] = [];

  constructor(
    private readonly actions: PairActions,
    private readonly tooltip: Tooltip,
  ) {
    const choose = () => actions.pair([this.across.value, this.up.value]);
    this.across = el("select", { change: choose });
    this.up = el("select", { change: choose });
    this.plot = el(
      "div",
      {
        class: "scatter",
        tabindex: 0,
        role: "slider",
        "aria-label": "Trials. Left and right go from one to the next, Enter opens it.",
        "aria-valuemin": 0,
        mousemove: (e: MouseEvent) => this.onHover(e),
        mouseleave: () => tooltip.hide(),
        click: (e: MouseEvent) => this.open(this.nearest(e)),
        keydown: (e: KeyboardEvent) => this.onKey(e),
        blur: () => this.setActive(-1),
      },
      this.canvas,
    );
    this.node = el(
      "div",
      { class: "pair" },
      el(
        "div",
        { class: "compare-controls" },
        el("label", {}, "across ", this.across),
        el("label", {}, "up ", this.up),
        this.told,
      ),
      el("div", { class: "pair-body" }, this.plot, this.matrix),
    );
    new ResizeObserver(() => this.draw()).observe(this.plot);
  }

  update(state: State, model: Model): void {
    this.state = state;
    this.model = model;
    const names = varying(model);
    const wanted = state.compare.pair;
    const known = (name: string | undefined) => name !== undefined && names.includes(name);
    // By default the hyperparameter that is ranked first, and the facet that goes with it.
    const first = known(wanted?.[0]) ? wanted![0] : (names[0] ?? "");
    const facet = model.ranking.facet;
    const suggested =
      facet && facet !== first && known(facet) ? facet : names.find((n) => n !== first);
    const second = known(wanted?.[1]) ? wanted![1] : (suggested ?? first);
    this.names = names.length ? [first, second] : null;
    for (const [select, value] of [
      [this.across, first],
      [this.up, second],
    ] as const) {
      if (
        select.options.length !== names.length ||
        [...select.options].some((o, i) => o.value !== names[i])
      )
        replace(select, ...names.map((n) => el("option", { value: n }, n)));
      select.value = value;
    }
    const key = [model.trials, first, second, state.theme, state.selected];
    if (key.every((k, i) => k === this.key[i])) return;
    this.key = key;
    setText(
      this.told,
      model.trials.length > CROWDED
        ? "a tile is several trials: the stronger, the more; filled from below by the share that went bad"
        : "a mark is a trial: ✖ went bad, ○ stayed finite",
    );
    this.draw();
    this.drawMatrix(model);
  }

  picture(): Picture | null {
    const axes = this.axes;
    return axes && { width: 720, height: 480, draw: (c) => void this.paint(c, axes, 720, 480) };
  }

  private get axes(): [Axis, Axis] | null {
    const { model, names } = this;
    return model && names && [hparamAxis(model, names[0]), hparamAxis(model, names[1])];
  }

  private draw(): void {
    const { clientWidth: width, clientHeight: height } = this.plot;
    const axes = this.axes;
    if (!axes || !width || !height) return;
    const c = prepareCanvas(this.canvas, width, height);
    if (!c) return;
    this.places = this.paint(c, axes, width, height);
    this.plot.setAttribute("aria-valuemax", String(Math.max(0, this.places.length - 1)));
    this.tell();
  }

  private paint(c: Painter, [across, up]: [Axis, Axis], width: number, height: number): Place[] {
    const family = getComputedStyle(this.plot).fontFamily;
    const { trials } = this.model!;
    const strips = {
      x: trials.some((t) => across.at(t) === null) ? STRIP : 0,
      y: trials.some((t) => up.at(t) === null) ? STRIP : 0,
    };
    const box = {
      left: LEFT + strips.x,
      right: width - RIGHT,
      top: TOP,
      bottom: height - BOTTOM - strips.y,
    };
    const crowded = trials.length > CROWDED;
    const tile = {
      width: tileLength(across, box.right - box.left),
      height: tileLength(up, box.bottom - box.top),
    };
    // Between the frame and what stands at the end of an axis.
    const edge = {
      x: crowded ? tile.width / 2 + 4 : 10,
      y: crowded ? tile.height / 2 + 4 : 10,
    };
    const x = (at: number | null) =>
      at === null ? LEFT + STRIP / 2 : box.left + edge.x + at * (box.right - box.left - 2 * edge.x);
    const y = (at: number | null) =>
      at === null
        ? height - BOTTOM - STRIP / 2
        : box.bottom - edge.y - at * (box.bottom - box.top - 2 * edge.y);
    const muted = themeColour("muted");
    c.font = `11px ${family}`;
    c.textBaseline = "middle";
    c.fillStyle = themeColour("hover");
    if (strips.x) c.fillRect(LEFT, TOP, STRIP - 4, height - BOTTOM - TOP);
    if (strips.y) c.fillRect(LEFT, height - BOTTOM - STRIP + 4, width - RIGHT - LEFT, STRIP - 4);
    c.fillStyle = themeColour("grid");
    for (const t of across.ticks) c.fillRect(Math.round(x(t.at)), box.top, 1, box.bottom - box.top);
    for (const t of up.ticks) c.fillRect(box.left, Math.round(y(t.at)), box.right - box.left, 1);
    c.strokeStyle = themeColour("line");
    c.lineWidth = 1;
    c.strokeRect(box.left + 0.5, box.top + 0.5, box.right - box.left - 1, box.bottom - box.top - 1);
    c.fillStyle = muted;
    c.textAlign = "center";
    let last = Number.NEGATIVE_INFINITY;
    for (const t of across.ticks) {
      const half = c.measureText(t.label).width / 2;
      if (x(t.at) - half < last) continue;
      c.fillText(t.label, Math.min(x(t.at), width - half - 2), height - BOTTOM + 10);
      last = x(t.at) + half + 8;
    }
    if (strips.x) c.fillText("–", x(null), height - BOTTOM + 10);
    c.fillText(
      `${across.title}${across.log ? " (log)" : ""}`,
      (box.left + box.right) / 2,
      height - 12,
    );
    c.textAlign = "right";
    for (const t of up.ticks) c.fillText(fitted(c, t.label, LEFT - 10), LEFT - 6, y(t.at));
    if (strips.y) c.fillText("–", LEFT - 6, y(null));
    c.textAlign = "left";

    const [px, py] = [(t: Trial) => x(across.at(t)), (t: Trial) => y(up.at(t))];
    const size = (t: Trial) => ({
      width: across.at(t) === null ? STRIP - 8 : tile.width,
      height: up.at(t) === null ? STRIP - 8 : tile.height,
    });
    const places = crowded ? tiles(trials, px, py, size) : marks(trials, px, py);
    const ring = places[this.active] ?? places.find((p) => p.trials.some(this.isSelected, this));
    if (crowded) this.paintTiles(c, places, ring);
    else paintMarks(c, places, ring);
    return places;
  }

  private paintTiles(c: Painter, places: readonly Place[], ring: Place | undefined): void {
    const most = Math.max(...places.map((p) => p.trials.length));
    for (const { trials, x, y, width, height } of places) {
      const { bad, total } = rateOf(trials);
      const [w, h] = [width - 1, height - 1];
      const [left, top] = [x - w / 2, y - h / 2];
      // By the square root: a tile of one trial is still seen beside one of a hundred.
      const strength = Math.sqrt(trials.length / most);
      // One bad trial among many is a line of its own, all bad ones fill the tile.
      const filled = bad === 0 ? 0 : bad === total ? h : Math.max(2, (h * bad) / total);
      c.globalAlpha = 0.2 + 0.8 * strength;
      c.fillStyle = themeColour(total ? "accent" : "muted");
      c.fillRect(left, top, w, h - filled);
      c.globalAlpha = 0.5 + 0.5 * strength;
      c.fillStyle = themeColour("bad");
      c.fillRect(left, top + h - filled, w, filled);
    }
    c.globalAlpha = 1;
    if (!ring) return;
    c.strokeStyle = themeColour("ink");
    c.lineWidth = 2;
    c.strokeRect(ring.x - ring.width / 2, ring.y - ring.height / 2, ring.width, ring.height);
  }

  private isSelected(trial: Trial): boolean {
    return trial.runs.some((r) => keyOf(r) === this.state?.selected);
  }

  private drawMatrix(model: Model): void {
    if (!this.names) {
      replace(this.matrix, el("p", { class: "note" }, "No hyperparameter took several values."));
      return;
    }
    const [across, up] = this.names;
    const columns = partsOf(model.ranking.scales.get(across)!, model.trials);
    const rows = partsOf(model.ranking.scales.get(up)!, model.trials).toReversed();
    replace(
      this.matrix,
      el(
        "table",
        { class: "cells" },
        el("caption", {}, `trials that went bad, by ${up} (down) and ${across} (across)`),
        el(
          "thead",
          {},
          el("tr", {}, el("td", {}), ...columns.map((p) => el("th", { scope: "col" }, p.label))),
        ),
        el(
          "tbody",
          {},
          ...rows.map((row) =>
            el(
              "tr",
              {},
              el("th", { scope: "row" }, row.label),
              ...columns.map((column) => {
                const inside = model.trials.filter(
                  (t) => column.holds(t.hparams[across]) && row.holds(t.hparams[up]),
                );
                const rate = rateOf(inside);
                if (!rate.total) return el("td", { class: "none" }, "·");
                const share = rate.bad / rate.total;
                return el(
                  "td",
                  {
                    class: rate.bad ? "some" : "",
                    style: `--share:${(70 * share).toFixed(0)}%`,
                    title: `${rate.bad} of ${rate.total} went bad, 95 % interval ${intervalText(rate)}`,
                  },
                  `${rate.bad ? "✖ " : ""}${rate.bad}/${rate.total}`,
                );
              }),
            ),
          ),
        ),
      ),
    );
  }

  private nearest(event: MouseEvent): number {
    const box = this.plot.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let found = -1;
    let least = this.model!.trials.length > CROWDED ? 1 : REACH ** 2;
    this.places.forEach((p, i) => {
      const d =
        Math.max(0, Math.abs(p.x - x) - p.width / 2) ** 2 +
        Math.max(0, Math.abs(p.y - y) - p.height / 2) ** 2;
      if (d < least) [found, least] = [i, d];
    });
    return found;
  }

  private onHover(event: MouseEvent): void {
    const place = this.places[this.nearest(event)];
    if (!place) this.tooltip.hide();
    else this.tooltip.show(this.facts(place), event.clientX, event.clientY);
  }

  private facts({ trials }: Place): string[] {
    const trial = trials[0]!;
    if (trials.length > 1) {
      const rate = rateOf(trials);
      return [
        `${integer(trials.length)} trials; ${integer(rate.bad)} went bad (95 % interval ${intervalText(rate)})`,
        ...(this.axes ?? []).map((a) => `${a.title} ${rangeText(a, trials)}`),
      ];
    }
    const run = trial.runs[0]!;
    return [
      `${run.name}: ${words.status(trial.status, run.state)}`,
      ...(this.axes ?? []).map((a) => `${a.title} ${a.text(trial)}`),
      ...(run.onset && trial.bad ? [`first bad step: ${words.position(run.onset)}`] : []),
    ];
  }

  private open(index: number): void {
    const trials = this.places[index]?.trials;
    const trial = trials?.find((t) => t.bad) ?? trials?.[0];
    if (trial) this.actions.select(keyOf(trial.runs[0]!));
  }

  private setActive(index: number): void {
    if (index === this.active) return;
    this.active = index;
    this.draw();
  }

  private tell(): void {
    const place = this.places[this.active];
    this.plot.setAttribute("aria-valuenow", String(Math.max(0, this.active)));
    this.plot.setAttribute("aria-valuetext", place ? this.facts(place).join(", ") : "none");
  }

  private onKey(event: KeyboardEvent): void {
    const order = this.places
      .map((_, i) => i)
      .sort((a, b) => this.places[a]!.x - this.places[b]!.x);
    const now = order.indexOf(this.active);
    const moves: Record<string, number> = {
      ArrowRight: now + 1,
      ArrowLeft: now < 0 ? order.length - 1 : now - 1,
      Home: 0,
      End: order.length - 1,
    };
    if (event.key === "Enter") this.open(this.active);
    const next = moves[event.key];
    if (next === undefined) return;
    event.preventDefault();
    this.setActive(order[Math.min(order.length - 1, Math.max(0, next))] ?? -1);
  }
}

/** Trials with the same values stand side by side in a small spiral, none hides another. */
function marks(
  trials: readonly Trial[],
  x: (trial: Trial) => number,
  y: (trial: Trial) => number,
): Place[] {
  const crowd = new Map<string, number>();
  return trials.map((trial): Place => {
    const spot = `${Math.round(x(trial) / 4)} ${Math.round(y(trial) / 4)}`;
    const n = crowd.get(spot) ?? 0;
    crowd.set(spot, n + 1);
    const angle = n * 2.4;
    const r = Math.min(18, 6.5 * Math.sqrt(n));
    return {
      trials: [trial],
      x: x(trial) + r * Math.cos(angle),
      y: y(trial) + r * Math.sin(angle),
      width: 0,
      height: 0,
    };
  });
}

function paintMarks(c: Painter, places: readonly Place[], ring: Place | undefined): void {
  // Bad ones on top.
  for (const { trials, x, y } of places.toSorted((a, b) => badness(a) - badness(b)))
    drawOutcome(c, trials[0]!, x, y);
  if (!ring) return;
  c.beginPath();
  c.arc(ring.x, ring.y, 8.5, 0, 2 * Math.PI);
  c.strokeStyle = themeColour("ink");
  c.lineWidth = 1.5;
  c.stroke();
}

const badness = ({ trials }: Place): number => Number(trials[0]!.bad);

/** "0.011 to 0.013", "sgd" */
function rangeText(axis: Axis, trials: readonly Trial[]): string {
  const sorted = trials.toSorted((a, b) => (axis.at(a) ?? -1) - (axis.at(b) ?? -1));
  const [low, high] = [axis.text(sorted[0]!), axis.text(sorted[sorted.length - 1]!)];
  return low === high ? low : `${low} to ${high}`;
}

function fitted(c: Painter, text: string, width: number): string {
  let cut = text;
  while (cut.length > 2 && c.measureText(cut).width > width) cut = `${cut.slice(0, -2)}…`;
  return cut;
}
