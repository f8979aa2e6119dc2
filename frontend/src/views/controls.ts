// SPDX-License-Identifier: Apache-2.0
// How the table is drawn: axis, order, facet, colour, with the legend beside.

import { LANE_SERIES, type LaneSeries, LOOKED_SERIES } from "../api/schema.gen";
import { integer } from "../format/number";
import type { AxisName } from "../scale/axis";
import { cuttable } from "../state/cut";
import { hasWord } from "../state/filter";
import { hparamColumn, type SortColumn } from "../state/order";
import type { Model, State } from "../state/state";
import { el, replace, setText } from "./dom";
import { SERIES_WORDS } from "./lane";
import { carriedSwatch, decadeLegend, laneBadSwatch } from "./legend";

interface ControlActions {
  xScale(name: AxisName): void;
  sort(column: SortColumn): void;
  facet(name: string | null): void;
  colour(series: LaneSeries): void;
  filter(text: string): void;
  /** Shows the bad trials alone, or all again. */
  badOnly(): void;
  /** Places the cut that gains most. */
  cut(): void;
}

export const AXIS_WORDS: Record<AxisName, string> = {
  log: "log step",
  linear: "step",
  epoch: "epoch",
  time: "wall time",
  onset: "steps before the onset",
};

// A facet for each of many values would be no grouping.
const MOST_FACETS = 12;

export const SERIES_TITLES: Record<LaneSeries, string> = {
  growth: "growth over the run's first step",
  loss: "loss",
  gradient_norm: "gradient norm",
  activation: "largest activation (rms)",
  weight: "largest weight (rms)",
  update_ratio: "largest update-to-weight ratio",
  activation_max: "largest |activation|",
};

const SERIES_NOTES: Partial<Record<LaneSeries, string>> = {
  update_ratio:
    "how far one step moved a weight, over its size: ||after - before|| / ||before|| of each weight " +
    "with two or more dimensions, the largest of them; up to 1e-1 is usual, and the colours end at 10. " +
    "Measured in the first steps and once a second.",
  activation_max:
    "the largest finite element of a layer's output, without its sign, in the steps that were looked " +
    "at in full: the first ones, one or two a second, and each that stood out.",
};

export class ControlsView {
  readonly node = el("section", { class: "controls", "aria-label": "Display" });
  private readonly x: HTMLSelectElement;
  private readonly rows: HTMLSelectElement;
  private readonly facet: HTMLSelectElement;
  private readonly colour: HTMLSelectElement;
  private readonly facetLabel: HTMLElement;
  private readonly legend = el("span", { class: "legend" });
  private readonly filter: HTMLInputElement;
  private readonly filtered = el("span", { class: "filtered", role: "status" });
  private readonly cut: HTMLButtonElement;
  private readonly bad: HTMLButtonElement;
  private optionsKey = "";
  private legendKey: unknown[] = [];

  constructor(actions: ControlActions) {
    this.x = choice(Object.entries(AXIS_WORDS), (v) => actions.xScale(v as AxisName));
    this.rows = choice([], (v) => actions.sort(v as SortColumn));
    this.facet = choice([], (v) => actions.facet(v || null));
    this.colour = choice(
      LANE_SERIES.map((s) => [s, SERIES_WORDS[s]]),
      (v) => actions.colour(v as LaneSeries),
    );
    this.facetLabel = el(
      "label",
      { title: "group the rows by a second hyperparameter, one band for each of its values" },
      "group by (facet) ",
      this.facet,
    );
    this.filter = el("input", {
      type: "search",
      placeholder: "diverged, units>64 …",
      title:
        "Words and comparisons, all of which must hold: diverged, running, a trial, " +
        "units>64, optimizer=sgd, score<0.1; -word leaves out.",
      spellcheck: "false",
      autocomplete: "off",
      input: () => actions.filter(this.filter.value),
    });
    this.cut = el(
      "button",
      {
        type: "button",
        class: "cut-button",
        title: "cut the search space between two rows",
        click: () => actions.cut(),
      },
      "✂ cut",
    );
    this.bad = el(
      "button",
      {
        type: "button",
        class: "bad-only",
        title: "show the bad trials alone, or all again",
        click: () => actions.badOnly(),
      },
      "bad only",
    );
    this.node.append(
      this.bad,
      el("label", {}, "filter ", this.filter),
      this.filtered,
      this.adjust(),
      this.cut,
      el("span", { class: "spring" }),
      this.legend,
    );
  }

  /** Controls that are seldom used are folded away, so that the others fit in one row. */
  private adjust(): HTMLElement {
    const node = el(
      "details",
      {
        class: "adjust",
        keydown: (e: KeyboardEvent) => {
          if (e.key !== "Escape" || !node.open) return;
          node.open = false;
          summary.focus();
          e.stopPropagation();
        },
        focusout: (e: FocusEvent) => {
          if (e.relatedTarget instanceof Node && !node.contains(e.relatedTarget)) node.open = false;
        },
      },
      el("summary", { title: "axis, order, groups and colour" }, "Adjust ▾"),
      el(
        "div",
        { class: "adjust-body" },
        el("label", {}, "x axis ", this.x),
        el("label", {}, "order rows by ", this.rows),
        this.facetLabel,
        el("label", {}, "colour by ", this.colour),
      ),
    );
    const summary = node.firstElementChild as HTMLElement;
    return node;
  }

  private drawFiltered(state: State, model: Model): void {
    const { problems } = model.filter;
    this.filter.setAttribute("aria-invalid", String(problems.length > 0));
    this.filtered.hidden = state.filter.trim() === "";
    this.filtered.classList.toggle("bad-text", problems.length > 0);
    setText(
      this.filtered,
      problems.length
        ? problems.join("; ")
        : `${integer(model.shown)} of ${integer(model.trials.length)} shown`,
    );
  }

  update(state: State, model: Model): void {
    const { ranking, sort } = model;
    const facets = ranking.space
      .filter((h) => {
        const values = new Set(model.trials.map((t) => t.hparams[h.name] ?? null));
        return (
          values.size >= 2 &&
          values.size <= MOST_FACETS &&
          ["choice", "boolean", "text"].includes(h.type)
        );
      })
      .map((h) => h.name);
    const key = JSON.stringify([ranking.names, facets]);
    if (key !== this.optionsKey) {
      this.optionsKey = key;
      fill(this.rows, [
        ...ranking.names.map((n): [string, string] => [hparamColumn(n), n]),
        ["onset", "first bad step"],
        ["score", "score"],
        ["steps", "steps trained"],
        ["trial", "trial"],
      ]);
      fill(this.facet, [["", "none"], ...facets.map((n): [string, string] => [n, n])]);
      this.facetLabel.hidden = facets.length === 0;
    }
    this.x.value = state.xScale;
    this.rows.value = sort.column;
    this.facet.value = model.facet ?? "";
    this.colour.value = state.colour;
    if (this.filter.value !== state.filter) this.filter.value = state.filter;
    this.bad.hidden = !model.trials.some((t) => t.bad);
    this.bad.setAttribute("aria-pressed", String(hasWord(state.filter, "bad")));
    this.drawFiltered(state, model);
    this.cut.hidden = model.cutBasis === null || cuttable(model.cutBasis) === null;
    this.cut.setAttribute("aria-pressed", String(model.cut !== null));
    const legendKey = [model.colours, state.theme, state.colour];
    if (legendKey.some((v, i) => v !== this.legendKey[i])) {
      this.legendKey = legendKey;
      replace(
        this.legend,
        decadeLegend(
          SERIES_TITLES[state.colour],
          model.colours,
          state.theme,
          false,
          SERIES_NOTES[state.colour],
        ),
        LOOKED_SERIES.includes(state.colour) && carriedSwatch(model.colours),
        laneBadSwatch(state.theme),
      );
    }
  }
}

function choice(options: [string, string][], change: (value: string) => void): HTMLSelectElement {
  const node = el("select", { change: () => change(node.value) });
  fill(node, options);
  return node;
}

function fill(node: HTMLSelectElement, options: [string, string][]): void {
  replace(node, ...options.map(([value, label]) => el("option", { value }, label)));
}
