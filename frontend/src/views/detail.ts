// SPDX-License-Identifier: Apache-2.0
// The panel of the chosen run: what happened in words, and where in the network.

import type { Phase } from "../api/schema.gen";
import type { RunDetail, RunSummary } from "../api/types";
import { keyOf } from "../api/types";
import { rangesCsv, trialJson } from "../format/csv";
import * as words from "../format/words";
import type { PictureType } from "../paint/save";
import { originPhase } from "../state/detail";
import { findRun, type Model, type State } from "../state/state";
import { isBad } from "../state/trials";
import { el, replace } from "./dom";
import { download } from "./download";
import { elsewhere } from "./elsewhere";
import { factsOf } from "./facts";
import { FIGURE_TITLES, FIGURES, type Figure, Figures } from "./figures";
import { markImage } from "./marks";
import type { Tooltip } from "./tooltip";

interface DetailActions {
  close(): void;
  phase(phase: Phase): void;
  probe(index: number): void;
}

export class DetailView {
  readonly node = el("section", { class: "detail", "aria-label": "Chosen trial", hidden: true });
  private readonly head = el("div", { class: "detail-head" });
  private readonly facts = el("div", {
    class: "facts",
    tabindex: 0,
    role: "region",
    "aria-label": "What happened",
    scroll: () => {
      this.read = this.facts.scrollTop;
    },
  });
  /** How far down the facts were scrolled; reading it back would lay the panel out twice. */
  private read = 0;
  private readonly figures: Figures;
  private state: State | null = null;
  private model: Model | null = null;
  private shown = "";
  /** The data that the facts were last drawn from. */
  private told: unknown[] = [];

  constructor(
    private readonly actions: DetailActions,
    tooltip: Tooltip,
  ) {
    this.figures = new Figures((probe) => actions.probe(probe), tooltip);
    this.node.append(this.head, el("div", { class: "detail-body" }, this.facts, this.figures.node));
    this.node.addEventListener("keydown", (e) => {
      if (e.key === "Escape") actions.close();
    });
  }

  update(state: State, model: Model): void {
    this.state = state;
    this.model = model;
    const run = findRun(state.overview, state.selected);
    this.node.hidden = run === null;
    if (!run) {
      this.shown = "";
      return;
    }
    const detail = state.detail && keyOf(state.detail.run) === keyOf(run) ? state.detail : null;
    this.drawHead(run, detail, state);
    this.drawFacts(run, detail, model);
    this.figures.update(run, detail, state, model);
  }

  private drawHead(run: RunSummary, detail: RunDetail | null, state: State): void {
    const phase = state.phase ?? originPhase(run);
    const key = JSON.stringify([
      keyOf(run),
      run.status,
      run.state,
      phase,
      detail?.phases,
      state.theme,
      this.figures.shown,
      state.flight !== null,
      state.ranges !== null,
      detail !== null && detail.lossScaling !== null,
      [...state.plugins],
    ]);
    if (key === this.shown) return;
    this.shown = key;
    const phases = detail?.phases ?? [];
    replace(
      this.head,
      el(
        "h2",
        {},
        isBad(run.status) ? markImage(run.status) : null,
        run.name,
        el("span", { class: `word ${run.status}` }, words.status(run.status, run.state)),
      ),
      run.run !== "." && run.run !== run.name && el("span", { class: "run-name" }, run.run),
      ...elsewhere(run, state.plugins),
      el("span", { class: "spring" }),
      ...this.figureButtons([
        "range",
        ...(state.flight && isBad(run.status) ? (["flight"] as const) : []),
        ...(detail?.lossScaling && phase === "train" ? (["scale"] as const) : []),
      ]),
      ...(detail
        ? downloads(
            run,
            detail,
            () => this.state,
            (type, name) => this.figures.save(type, name, run),
          )
        : []),
      phases.length > 1
        ? el(
            "label",
            {},
            "phase ",
            select(phases, phase, (p) => this.actions.phase(p as Phase)),
          )
        : null,
      el(
        "button",
        {
          type: "button",
          class: "plain",
          title: "close (Escape)",
          "aria-label": "close",
          click: () => this.actions.close(),
        },
        "✕",
      ),
    );
  }

  private figureButtons(figures: readonly Figure[]): HTMLElement[] {
    if (figures.length < 2) return [];
    const shown = figures.includes(this.figures.shown) ? this.figures.shown : "range";
    return figures.map((figure) =>
      el(
        "button",
        {
          type: "button",
          class: "figure-button",
          title: FIGURE_TITLES[figure],
          "aria-pressed": String(shown === figure),
          click: () => {
            this.figures.shown = figure;
            if (this.state && this.model) this.update(this.state, this.model);
            this.head.querySelector<HTMLElement>('[aria-pressed="true"]')?.focus();
          },
        },
        FIGURES[figure],
      ),
    );
  }

  private drawFacts(run: RunSummary, detail: RunDetail | null, model: Model): void {
    const told = [run, detail, model];
    if (told.every((part, i) => part === this.told[i])) return;
    // Keep the scroll position while the same trial is shown; begin at the top for another one.
    const before = this.told[0] as RunSummary | undefined;
    const scroll = before && keyOf(before) === keyOf(run) ? this.read : 0;
    this.told = told;
    replace(this.facts, ...factsOf(run, detail, model));
    if (scroll !== 0 || this.read !== 0) this.facts.scrollTop = scroll;
  }
}

function downloads(
  run: RunSummary,
  detail: RunDetail,
  state: () => State | null,
  picture: (type: PictureType, name: string) => void,
): HTMLElement[] {
  const button = (text: string, title: string, click: () => void) =>
    el("button", { type: "button", class: "download", title, click }, text);
  const name = `${run.run}-${run.session}`;
  return [
    button("CSV ↓", "download the ranges of this phase as CSV", () => {
      const now = state();
      if (!now?.ranges || !now.rangesPhase) return;
      const phase = now.rangesPhase;
      const csv = rangesCsv(now.ranges, detail.probes[phase], phase);
      download(`${name}-${phase}.csv`, "text/csv", csv);
    }),
    button("JSON ↓", "download this run as JSON", () =>
      download(`${name}.json`, "application/json", trialJson(detail)),
    ),
    button("PNG ↓", "download the figures as a PNG picture", () => picture("PNG", name)),
    button("SVG ↓", "download the figures as an SVG picture", () => picture("SVG", name)),
  ];
}

function select(
  options: readonly string[],
  value: string,
  change: (v: string) => void,
): HTMLElement {
  const node = el("select", { change: () => change(node.value) });
  for (const option of options)
    node.append(el("option", { value: option, selected: option === value }, option));
  return node;
}
