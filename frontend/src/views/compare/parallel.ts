// SPDX-License-Identifier: Apache-2.0
// Parallel coordinates in which no trial is dropped: bad ones are drawn on top, and lines of
// inactive values or missing scores pass through a place of their own below the axis.

import { keyOf } from "../../api/types";
import { integer } from "../../format/number";
import * as words from "../../format/words";
import type { Painter, Picture } from "../../paint/painter";
import { type Axis, hparamAxis, kept, outcomeAxes, varying } from "../../state/compare/axes";
import { rateOf } from "../../state/compare/parts";
import type { Brush } from "../../state/compare/state";
import { CROWDED } from "../../state/compare/tiles";
import type { Model, State } from "../../state/state";
import type { Trial } from "../../state/trials";
import { el, prepareCanvas, replace, setText, themeColour } from "../dom";
import type { Tooltip } from "../tooltip";
import { intervalText } from "./interval";
import { drawOutcome } from "./outcome";

const SIDE = 64;
const TOP = 26;
/** Below the axes: the place for trials without a value, and its name. */
const NONE = 34;
const AXIS_MIN = 86;
const REACH = 6;
/** A brush at this place holds the trials without a place on the axis. */
const NOWHERE: Brush = [-1, -1];
const KEY_STEP = 0.02;
/** Lines that cross an axis of few values cross it within this many pixels of the value. */
const SPREAD = 22;
const FEW_LEVELS = 12;
const GOLDEN = 0.6180339887;

interface ParallelActions {
  brush(name: string, brush: Brush | null): void;
  clear(): void;
  select(key: string): void;
}

export class ParallelView {
  readonly node: HTMLElement;
  private readonly canvas = el("canvas", { "aria-hidden": "true" });
  private readonly overlay = el("div", { class: "brushes" });
  private readonly inner = el("div", { class: "parallel-inner" }, this.canvas, this.overlay);
  private readonly scroller: HTMLElement;
  private readonly told = el("span", { role: "status" });
  private readonly clear: HTMLButtonElement;
  private readonly handles = new Map<string, AxisHandles>();
  private model: Model | null = null;
  private state: State | null = null;
  private axes: Axis[] = [];
  private hovered: Trial | null = null;
  /** How far a trial's line stands beside its value, -0.5 to 0.5. */
  private spread = new Map<Trial, number>();
  private bad = 0;
  private overlayKey = "";
  private key: unknown[] = [];

  constructor(
    private readonly actions: ParallelActions,
    private readonly tooltip: Tooltip,
  ) {
    this.clear = el(
      "button",
      { type: "button", class: "small", click: () => actions.clear() },
      "clear brushes",
    );
    this.scroller = el("div", { class: "parallel-scroller" }, this.inner);
    this.node = el(
      "div",
      { class: "parallel" },
      el(
        "div",
        { class: "compare-controls" },
        this.told,
        this.clear,
        el(
          "span",
          { class: "aside" },
          "drag along an axis to keep a part of it; click a line to open its trial",
        ),
      ),
      this.scroller,
    );
    this.inner.addEventListener("mousemove", (e) => this.onHover(e));
    this.inner.addEventListener("mouseleave", () => this.hover(null));
    this.inner.addEventListener("click", () => {
      if (this.hovered) this.actions.select(keyOf(this.hovered.runs[0]!));
    });
    new ResizeObserver(() => this.draw()).observe(this.scroller);
  }

  update(state: State, model: Model): void {
    const key = [model.trials, state.theme, state.selected, state.compare.brushes, model.ranking];
    const same = key.every((k, i) => k === this.key[i]);
    this.state = state;
    this.model = model;
    if (same) return;
    this.key = key;
    // The most telling next to the outcome.
    this.axes = [
      ...varying(model)
        .toReversed()
        .map((n) => hparamAxis(model, n)),
      ...outcomeAxes(model),
    ];
    this.hovered = null;
    this.bad = model.trials.filter((t) => t.bad).length;
    // The golden ratio's multiples fill an interval evenly, however many there are.
    this.spread = new Map(
      model.trials.length > CROWDED
        ? model.trials.map((t, i) => [t, ((i * GOLDEN) % 1) - 0.5])
        : [],
    );
    this.draw();
  }

  picture(): Picture | null {
    if (!this.model) return null;
    const width = Math.max(720, this.axes.length * 130 + 2 * SIDE);
    return { width, height: 420, draw: (c) => this.paint(c, width, 420) };
  }

  private get brushes(): Readonly<Record<string, Brush>> {
    return this.state?.compare.brushes ?? {};
  }

  private draw(): void {
    const { model } = this;
    const height = this.scroller.clientHeight;
    if (!model || !this.scroller.clientWidth || !height) return;
    const width = Math.max(
      this.scroller.clientWidth,
      this.axes.length * AXIS_MIN + 2 * SIDE - AXIS_MIN,
    );
    this.inner.style.width = `${width}px`;
    const c = prepareCanvas(this.canvas, width, height);
    if (c) this.paint(c, width, height);
    this.placeHandles(width, height);
    const shown = model.trials.filter((t) => kept(t, this.axes, this.brushes));
    const rate = rateOf(shown);
    this.clear.hidden = Object.keys(this.brushes).length === 0;
    setText(
      this.told,
      `${integer(shown.length)} of ${integer(model.trials.length)} trials kept; ` +
        `${integer(rate.bad)} of ${integer(rate.total)} went bad (95 % interval ${intervalText(rate)})`,
    );
  }

  private x(index: number, width: number): number {
    const last = Math.max(1, this.axes.length - 1);
    return SIDE + (index / last) * (width - 2 * SIDE);
  }

  private y(at: number | null, height: number): number {
    return at === null ? height - NONE / 2 - 6 : TOP + (1 - at) * (height - TOP - NONE - 8);
  }

  /** Where its line crosses an axis: among very many, beside the value, so that shares are seen. */
  private place(axis: Axis, trial: Trial, height: number): number {
    const at = axis.at(trial);
    const spread = at === null ? 0 : (this.spread.get(trial) ?? 0);
    return this.y(at, height) + (axis.levels <= FEW_LEVELS ? spread * SPREAD : 0);
  }

  private paint(c: Painter, width: number, height: number): void {
    const { model, axes } = this;
    if (!model) return;
    const family = getComputedStyle(this.node).fontFamily;
    const bottom = this.y(0, height);
    const inside = new Set(model.trials.filter((t) => kept(t, axes, this.brushes)));
    const layer = (t: Trial) => (inside.has(t) ? 2 : 0) + Number(t.bad);
    c.lineJoin = "round";
    for (const trial of model.trials.toSorted((a, b) => layer(a) - layer(b)))
      this.paintTrial(c, trial, inside.has(trial), width, height);
    c.font = `11px ${family}`;
    c.textBaseline = "middle";
    axes.forEach((axis, i) => {
      const x = Math.round(this.x(i, width));
      c.fillStyle = themeColour("muted");
      c.fillRect(x, TOP, 1, bottom - TOP);
      const some = model.trials.some((t) => axis.at(t) === null);
      const y = this.y(null, height);
      if (some) {
        c.fillRect(x - 4, y, 9, 1);
        this.label(c, axis.none, x, y + 13, "muted", "center");
      }
      for (const tick of axis.ticks) {
        const ty = this.y(tick.at, height);
        c.fillStyle = themeColour("muted");
        c.fillRect(x - 3, Math.round(ty), 7, 1);
        this.label(c, tick.label, x + 7, ty, "ink", "left");
      }
      c.font = `600 11.5px ${family}`;
      const room = (width - 2 * SIDE) / Math.max(1, axes.length - 1) - 8;
      this.label(
        c,
        shortened(c, `${axis.title}${axis.log ? " (log)" : ""}`, Math.max(80, room)),
        x,
        9,
        "ink",
        "center",
      );
      c.font = `11px ${family}`;
    });
    for (const trial of [this.selected, this.hovered])
      if (trial) this.paintTrial(c, trial, true, width, height, true);
  }

  private get selected(): Trial | null {
    const key = this.state?.selected;
    return this.model?.trials.find((t) => t.runs.some((r) => keyOf(r) === key)) ?? null;
  }

  private paintTrial(
    c: Painter,
    trial: Trial,
    inside: boolean,
    width: number,
    height: number,
    strong = false,
  ): void {
    const { length } = this.model!.trials;
    // The more lines lie upon one another, the fainter each, or all were one surface.
    const faint = (most: number, enough: number, count: number) =>
      Math.max(0.04, Math.min(most, (most * enough) / Math.max(1, count)));
    c.save();
    c.globalAlpha = strong
      ? 1
      : !inside
        ? faint(0.07, 1000, length)
        : trial.bad
          ? Math.max(0.15, faint(0.85, 60, this.bad))
          : faint(0.5, 150, length - this.bad);
    c.strokeStyle = themeColour(trial.bad ? "bad" : "accent");
    c.lineWidth = strong ? 3 : trial.bad ? 1.6 : 1.2;
    // A dash as well as a colour: bad ones are told apart without it.
    if (trial.bad) c.setLineDash([7, 3]);
    c.beginPath();
    this.axes.forEach((axis, i) => {
      const [x, y] = [this.x(i, width), this.place(axis, trial, height)];
      if (i === 0) c.moveTo(x, y);
      else c.lineTo(x, y);
    });
    c.stroke();
    // Ends stand so close that they would hide the axis: among very many only bad ones.
    if (strong || (inside && (trial.bad || length <= 2000))) {
      c.globalAlpha = 1;
      c.setLineDash([]);
      const last = this.axes.length - 1;
      const end = this.axes[last];
      if (end) drawOutcome(c, trial, this.x(last, width), this.y(end.at(trial), height), 3.5);
    }
    c.restore();
  }

  /** Text on a ground of its own, so that lines do not cross it. */
  private label(
    c: Painter,
    text: string,
    x: number,
    y: number,
    colour: string,
    align: CanvasTextAlign,
  ): void {
    const w = c.measureText(text).width;
    const left = align === "center" ? x - w / 2 : x;
    c.save();
    c.globalAlpha = 0.8;
    c.fillStyle = themeColour("ground");
    c.fillRect(left - 1, y - 7, w + 2, 14);
    c.restore();
    c.fillStyle = themeColour(colour);
    c.textAlign = align;
    c.fillText(text, x, y);
    c.textAlign = "left";
  }

  // --- Brushes ---

  private placeHandles(width: number, height: number): void {
    const key = JSON.stringify(this.axes.map((a) => a.name));
    if (key !== this.overlayKey) {
      this.overlayKey = key;
      this.handles.clear();
      for (const axis of this.axes)
        this.handles.set(
          axis.name,
          new AxisHandles(axis, (brush) => this.actions.brush(axis.name, brush)),
        );
      replace(this.overlay, ...[...this.handles.values()].map((h) => h.node));
    }
    for (const [i, axis] of this.axes.entries()) {
      this.handles.get(axis.name)?.place(
        this.x(i, width),
        this.y(0, height),
        this.y(null, height),
        this.brushes[axis.name] ?? null,
        this.model!.trials.some((t) => axis.at(t) === null),
      );
    }
  }

  private onHover(event: MouseEvent): void {
    const box = this.inner.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let found: Trial | null = null;
    let least = REACH;
    const width = this.inner.clientWidth;
    const height = this.scroller.clientHeight;
    const step = (width - 2 * SIDE) / Math.max(1, this.axes.length - 1);
    const i = Math.min(this.axes.length - 2, Math.max(0, Math.floor((x - SIDE) / step)));
    const [left, right] = [this.axes[i], this.axes[i + 1]];
    if (left && right && event.buttons === 0) {
      const share = (x - this.x(i, width)) / step;
      for (const trial of this.model?.trials ?? []) {
        if (!kept(trial, this.axes, this.brushes)) continue;
        const from = this.place(left, trial, height);
        const d = Math.abs(from + share * (this.place(right, trial, height) - from) - y);
        if (d < least || (d === least && trial.bad)) [found, least] = [trial, d];
      }
    }
    this.hover(found);
    if (found) this.tooltip.show(this.facts(found), event.clientX, event.clientY);
    else this.tooltip.hide();
  }

  private hover(trial: Trial | null): void {
    if (trial === null) this.tooltip.hide();
    if (trial === this.hovered) return;
    this.hovered = trial;
    this.draw();
  }

  private facts(trial: Trial): string[] {
    const run = trial.runs[0]!;
    return [
      `${run.name}: ${words.status(trial.status, run.state)}`,
      ...this.axes.map(
        (a) =>
          `${a.title}: ${a.at(trial) === null && a.text(trial) === "–" ? a.none : a.text(trial)}`,
      ),
    ];
  }
}

/** The two ends of one axis' brush: dragged, or moved by the arrow keys. */
class AxisHandles {
  readonly node: HTMLElement;
  private readonly window = el("div", { class: "brush-window" });
  private readonly ends: [HTMLElement, HTMLElement];
  private readonly none: HTMLButtonElement;
  private brush: Brush | null = null;
  private height = 1;

  constructor(
    { title, none }: Axis,
    private readonly change: (brush: Brush | null) => void,
  ) {
    const end = (which: 0 | 1, word: string) =>
      el("div", {
        class: "brush-end",
        role: "slider",
        tabindex: 0,
        "aria-orientation": "vertical",
        "aria-label": `${title}: ${word} end kept, in percent of the axis`,
        "aria-valuemin": 0,
        "aria-valuemax": 100,
        keydown: (e: KeyboardEvent) => this.onKey(e, which),
        pointerdown: (e: PointerEvent) => this.drag(e, which),
      });
    this.ends = [end(0, "lower"), end(1, "upper")];
    this.node = el(
      "div",
      { class: "brush-axis", pointerdown: (e: PointerEvent) => this.drag(e, null) },
      this.window,
      ...this.ends,
    );
    this.none = el("button", {
      type: "button",
      class: "brush-none",
      title: `keep only trials that have no place here: ${none}`,
      "aria-label": `${title}: only ${none}`,
      click: () => change(this.brush?.[0] === NOWHERE[0] ? null : NOWHERE),
    });
    this.node.append(this.none);
    this.none.addEventListener("pointerdown", (e) => e.stopPropagation());
    this.node.addEventListener("click", (e) => e.stopPropagation());
  }

  place(x: number, bottom: number, none: number, brush: Brush | null, some: boolean): void {
    this.brush = brush;
    this.height = bottom - TOP;
    const nowhere = brush !== null && brush[0] === NOWHERE[0];
    this.node.style.transform = `translate(${x - 10}px, ${TOP}px)`;
    this.node.style.height = `${this.height}px`;
    this.node.classList.toggle("brushed", brush !== null && !nowhere);
    this.none.hidden = !some;
    this.none.style.top = `${none - TOP - 6}px`;
    this.none.setAttribute("aria-pressed", String(nowhere));
    const [low, high] = brush && !nowhere ? brush : [0, 1];
    this.window.style.top = `${100 * (1 - high)}%`;
    this.window.style.bottom = `${100 * low}%`;
    [low, high].forEach((at, i) => {
      const end = this.ends[i]!;
      end.style.top = `${100 * (1 - at)}%`;
      end.setAttribute("aria-valuenow", String(Math.round(100 * at)));
    });
  }

  private get range(): Brush {
    return this.brush && this.brush[0] >= 0 ? this.brush : [0, 1];
  }

  private onKey(event: KeyboardEvent, which: 0 | 1): void {
    const step = event.shiftKey ? 5 * KEY_STEP : KEY_STEP;
    const now = this.range;
    const moves: Record<string, number> = {
      ArrowUp: now[which] + step,
      ArrowDown: now[which] - step,
      Home: which === 0 ? 0 : now[0],
      End: which === 0 ? now[1] : 1,
    };
    if (event.key === "Delete" || event.key === "Backspace") {
      event.preventDefault();
      this.change(null);
      return;
    }
    const next = moves[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const at = Math.min(1, Math.max(0, next));
    this.change(which === 0 ? [Math.min(at, now[1]), now[1]] : [now[0], Math.max(at, now[0])]);
  }

  private drag(event: PointerEvent, which: 0 | 1 | null): void {
    event.preventDefault();
    event.stopPropagation();
    const target = event.currentTarget as HTMLElement;
    target.setPointerCapture(event.pointerId);
    const box = this.node.getBoundingClientRect();
    const place = (e: PointerEvent) =>
      Math.min(1, Math.max(0, 1 - (e.clientY - box.top) / this.height));
    const from = which === null ? place(event) : this.range[1 - which]!;
    let moved = which !== null;
    const move = (e: PointerEvent) => {
      const to = place(e);
      if (Math.abs(to - from) * this.height > 3) moved = true;
      if (moved) this.change([Math.min(from, to), Math.max(from, to)]);
    };
    const end = () => {
      target.removeEventListener("pointermove", move);
      target.removeEventListener("pointerup", end);
      target.removeEventListener("pointercancel", end);
      // A click on the axis takes its brush away.
      if (!moved) this.change(null);
    };
    target.addEventListener("pointermove", move);
    target.addEventListener("pointerup", end);
    target.addEventListener("pointercancel", end);
  }
}

function shortened(c: Painter, text: string, width: number): string {
  let cut = text;
  while (cut.length > 3 && c.measureText(cut).width > width) cut = `${cut.slice(0, -2)}…`;
  return cut;
}
