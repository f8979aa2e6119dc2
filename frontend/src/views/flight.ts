// SPDX-License-Identifier: Apache-2.0
// The flight recorder: every watched tensor in each of the last steps up to the first bad
// one, as numbers on the colour of their decade.

import type { Probe } from "../api/schema.gen";
import type { Flight, Origin } from "../api/types";
import { compact, integer, NON_FINITE } from "../format/number";
import * as words from "../format/words";
import { type ColourScale, decadeScale, type Theme } from "../scale/colour";
import { countedInFlight } from "../state/counted";
import { el, replace } from "./dom";

const STEPS = 12;
const ROWS = 300;

interface FlightData {
  flight: Flight;
  probes: readonly Probe[];
  theme: Theme;
  onset: number | null;
  origin: Origin | null;
}

export class FlightView {
  readonly node = el("section", { class: "panel flight", "aria-label": "Flight recorder" });
  private data: FlightData | null = null;
  private scroller: HTMLElement | null = null;

  constructor() {
    new ResizeObserver(() => this.align()).observe(this.node);
  }

  /** The scroller, how far from its left edge the first step may stand, and where each is. */
  private columns(): { scroller: HTMLElement; inset: number; steps: HTMLElement[] } | null {
    const { scroller } = this;
    if (!scroller?.clientWidth) return null;
    const [names, ...steps] = [...scroller.querySelectorAll<HTMLElement>("thead th")];
    return names && steps.length ? { scroller, inset: names.offsetWidth + 2, steps } : null;
  }

  /** Leaves room behind the last step, so that at the end no column is cut by the names. */
  private align(): void {
    const columns = this.columns();
    if (!columns) return;
    const { scroller, inset, steps } = columns;
    const atEnd = scroller.scrollLeft + scroller.clientWidth >= scroller.scrollWidth - 2;
    const room = scroller.clientWidth - inset;
    const last = steps[steps.length - 1]!;
    const end = last.offsetLeft + last.offsetWidth;
    const first = steps.find((th) => end - th.offsetLeft <= room) ?? last;
    const spare = first === steps[0] ? 0 : Math.max(0, room - (end - first.offsetLeft));
    scroller.querySelector("table")!.style.marginRight = `${spare}px`;
    if (atEnd) scroller.scrollLeft = scroller.scrollWidth;
  }

  /** After a scroll: to the nearest step. Browsers do not snap to the cells of a table. */
  private settle(): void {
    const columns = this.columns();
    if (!columns) return;
    const { scroller, inset, steps } = columns;
    const most = scroller.scrollWidth - scroller.clientWidth;
    const places = steps.map((th) => Math.min(most, th.offsetLeft - inset));
    const off = (left: number) => Math.abs(left - scroller.scrollLeft);
    const nearest = places.reduce((a, b) => (off(b) < off(a) ? b : a));
    if (off(nearest) > 1) scroller.scrollLeft = nearest;
  }

  update(data: FlightData): void {
    const before = this.data;
    if (before?.flight === data.flight && before.theme === data.theme) return;
    this.data = data;
    const { flight } = data;
    const steps = lastSteps(flight, data.onset);
    if (!steps.length) {
      replace(
        this.node,
        el("p", { class: "note" }, "No steps were recorded before the first bad one."),
      );
      return;
    }
    const colours = scaleOf(flight, steps, data.theme);
    const table = el(
      "table",
      {},
      el(
        "caption",
        {},
        el(
          "span",
          {},
          `rms in the last ${steps.length} of ${integer(flight.steps.length)} recorded steps`,
        ),
      ),
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          el("th", { scope: "col" }, "step"),
          ...steps.map((i) => {
            const step = flight.steps[i]!;
            return el(
              "th",
              { scope: "col", class: step === data.onset ? "bad-text" : "" },
              integer(step),
            );
          }),
        ),
      ),
    );
    const body = el("tbody");
    const count = Math.min(flight.probes, data.probes.length, ROWS);
    for (let p = 0; p < count; p++) body.append(this.row(data, p, steps, colours));
    table.append(body);
    const scroller = el(
      "div",
      {
        class: "flight-scroller",
        tabindex: 0,
        role: "region",
        "aria-label": "Last steps",
        scrollend: () => this.settle(),
      },
      table,
      flight.probes > count &&
        el("p", { class: "aside" }, `and ${integer(flight.probes - count)} more tensors`),
    );
    replace(this.node, scroller);
    this.scroller = scroller;
    scroller.scrollLeft = scroller.scrollWidth;
    this.align();
    // To the first bad step and tensor. scrollIntoView() would move TensorBoard's page, too.
    const row = body.querySelector<HTMLElement>(".origin");
    if (row) scroller.scrollTop = row.offsetTop - scroller.clientHeight / 2;
  }

  private row(data: FlightData, p: number, steps: readonly number[], colours: ColourScale) {
    const { flight, origin } = data;
    const probe = data.probes[p]!;
    const isOrigin = origin?.kind === probe.kind && origin.name === probe.name;
    const name = words.tensor(probe.kind, probe.name);
    return el(
      "tr",
      { class: isOrigin ? "origin" : "" },
      el("th", { scope: "row", title: name }, name),
      ...steps.map((i) => {
        const rms = flight.rms[i * flight.probes + p]!;
        const bad = countedInFlight(flight, flight.steps[i]!, p);
        const where = `${name}, step ${integer(flight.steps[i]!)}`;
        if (!bad && Number.isNaN(rms))
          return el("td", { class: "not-summed", title: `${where}: finite, not measured` }, "·");
        if (bad || !Number.isFinite(rms)) {
          const found = bad || NON_FINITE;
          return el("td", { class: "not-finite", title: `${where}: ${found}` }, `✖ ${found}`);
        }
        const title = `${where}: rms ${compact(rms, 6)}`;
        const ground = colours.of(rms > 0 ? Math.log10(rms) : -99);
        return el(
          "td",
          { style: `background:${ground};color:${inkOn(ground)}`, title },
          compact(rms, 2),
        );
      }),
    );
  }
}

/** Indices of the steps to show, the first bad one last. */
export function lastSteps(flight: Flight, onset: number | null): number[] {
  const until = [...flight.steps.keys()].filter((i) => onset === null || flight.steps[i]! <= onset);
  return until.slice(-STEPS);
}

function scaleOf(flight: Flight, steps: readonly number[], theme: Theme): ColourScale {
  const decades: number[] = [];
  for (const i of steps) {
    for (let p = 0; p < flight.probes; p++) {
      const rms = flight.rms[i * flight.probes + p]!;
      if (rms > 0 && Number.isFinite(rms)) decades.push(Math.log10(rms));
    }
  }
  if (!decades.length) return decadeScale(theme, 0, 1);
  decades.sort((a, b) => a - b);
  return decadeScale(
    theme,
    decades[Math.floor(decades.length * 0.05)]!,
    decades[decades.length - 1]!,
  );
}

/** Black or white, whichever is read better: one of them always has a contrast of 4.5. */
export function inkOn(ground: string): string {
  const [r, g, b] = (ground.match(/\d+/g) ?? ["255", "255", "255"]).map((part) => {
    const c = Number(part) / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000000" : "#ffffff";
}
