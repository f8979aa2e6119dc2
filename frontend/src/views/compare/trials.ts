// SPDX-License-Identifier: Apache-2.0
// Two trials side by side: their lanes on one axis, what they differ in, where they first differ.

import type { RunComparison, RunSummary } from "../../api/types";
import { keyOf } from "../../api/types";
import { compact, integer, plural } from "../../format/number";
import * as words from "../../format/words";
import type { Picture } from "../../paint/painter";
import { laneAxis } from "../../scale/axis";
import {
  differences,
  nearestOther,
  PARTING_FACTOR,
  type Parting,
  pairOf,
  partingOf,
} from "../../state/compare/nearest";
import { Latest } from "../../state/latest";
import type { Model, State } from "../../state/state";
import { isBad, type Trial } from "../../state/trials";
import { AXIS_WORDS } from "../controls";
import { type Child, el, replace, themeColour, tickLabel } from "../dom";
import { drawLane, LANE_INSET, type LaneStyle, paintLane, SERIES_WORDS } from "../lane";
import { markImage } from "../marks";
import type { Tooltip } from "../tooltip";
import { CoursesView } from "./courses";

const LANE_HEIGHT = 24;

interface TrialsActions {
  compare(left: RunSummary, right: RunSummary, signal: AbortSignal): Promise<RunComparison>;
  runs(keys: [string, string]): void;
  open(key: string): void;
}

export class TrialsView {
  readonly node: HTMLElement;
  private readonly selects: [HTMLSelectElement, HTMLSelectElement];
  private readonly body = el("div", { class: "two-body" });
  private readonly canvases = [
    el("canvas", { class: "lane", "aria-hidden": "true" }),
    el("canvas", { class: "lane", "aria-hidden": "true" }),
  ];
  private readonly ticks = el("div", { class: "ticks", "aria-hidden": "true" });
  private readonly lanes = el("div", { class: "two-lanes" });
  private readonly courses: CoursesView;
  private pair: [Trial, RunSummary][] = [];
  private state: State | null = null;
  private model: Model | null = null;
  private key: unknown[] = [];
  private optionsOf: unknown = null;
  private readonly compared = new Latest<RunComparison>(() => {
    const { state, model } = this;
    this.key = [];
    if (state && model) this.update(state, model);
  });

  constructor(
    private readonly actions: TrialsActions,
    tooltip: Tooltip,
  ) {
    this.courses = new CoursesView(tooltip, titleOf);
    const choose = () => actions.runs([this.selects[0].value, this.selects[1].value]);
    this.selects = [
      el("select", { "aria-label": "first trial", change: choose }),
      el("select", { "aria-label": "second trial", change: choose }),
    ];
    this.node = el(
      "div",
      { class: "two" },
      el(
        "div",
        { class: "compare-controls" },
        el("label", {}, "trial ", this.selects[0]),
        el("label", {}, "beside ", this.selects[1]),
        el(
          "button",
          { type: "button", class: "small", click: () => this.chooseNearest() },
          "compare with the nearest trial that ended differently",
        ),
      ),
      this.body,
    );
    new ResizeObserver(() => this.drawLanes()).observe(this.body);
  }

  update(state: State, model: Model): void {
    this.state = state;
    this.model = model;
    const key = [
      model.trials,
      state.compare.runs,
      state.selected,
      state.theme,
      state.lanes,
      model.axis,
      model.colours,
    ];
    if (key.every((k, i) => k === this.key[i])) return;
    this.key = key;
    this.pair = pairOf(model, state.compare.runs, state.selected);
    this.fill(model);
    const [left, right] = this.pair;
    if (!left || !right) {
      replace(
        this.body,
        el("p", { class: "note" }, "There is only one trial: nothing to put beside it."),
      );
      return;
    }
    const asked = JSON.stringify([left, right].map(([, r]) => [keyOf(r), r.updated, r.status]));
    const answer = this.compared.get(asked, (signal) =>
      this.actions.compare(left[1], right[1], signal),
    );
    replace(
      this.body,
      this.lanes,
      ...(answer?.value ? told(answer.value) : []),
      // Until the server has compared every tensor, and where it cannot: by the lanes.
      !answer?.value?.parting && this.parting(partingOf(left[1], right[1])),
      answer?.error && el("p", { class: "note" }, `Not compared in full: ${answer.error}`),
      el(
        "div",
        { class: "two-tables" },
        this.facts(left, right),
        hparamTable(model, left[0], right[0]),
      ),
      this.courses.node,
    );
    const runs = this.pair.map(([, run]) => run);
    this.courses.update(runs, laneAxis(state.xScale, runs));
    replace(
      this.lanes,
      el(
        "div",
        { class: "two-lane" },
        el("span", { class: "aside" }, AXIS_WORDS[state.xScale]),
        el("div", { class: "two-ticks" }, this.ticks),
      ),
      ...this.pair.map(([, run], i) => this.laneRow(run, this.canvases[i]!)),
    );
    this.drawLanes();
  }

  picture(): Picture | null {
    const { model, pair } = this;
    if (!model || pair.length < 2) return null;
    const width = 900;
    const family = getComputedStyle(this.node).fontFamily;
    const style = this.style(width - 130);
    return {
      width,
      height: 2 * LANE_HEIGHT + 16,
      draw: (c) =>
        pair.forEach(([, run], i) => {
          c.font = `12px ${family}`;
          c.textBaseline = "middle";
          c.fillStyle = themeColour("ink");
          c.fillText(titleOf(run), 0, i * LANE_HEIGHT + LANE_HEIGHT / 2);
          c.save();
          c.translate(120, i * LANE_HEIGHT);
          paintLane(c, run, style);
          c.restore();
        }),
    };
  }

  private fill(model: Model): void {
    if (this.optionsOf !== model.trials) {
      this.optionsOf = model.trials;
      for (const select of this.selects) {
        const group = (label: string, trials: Trial[]) =>
          trials.length > 0 &&
          el(
            "optgroup",
            { label },
            ...trials.flatMap((t) =>
              t.runs.map((r) =>
                el(
                  "option",
                  { value: keyOf(r) },
                  `${titleOf(r)} · ${words.status(r.status, r.state)}`,
                ),
              ),
            ),
          );
        replace(
          select,
          group(
            "went bad",
            model.trials.filter((t) => t.bad),
          ),
          group(
            "did not",
            model.trials.filter((t) => !t.bad),
          ),
        );
      }
    }
    this.pair.forEach(([, run], i) => {
      this.selects[i]!.value = keyOf(run);
    });
  }

  private chooseNearest(): void {
    const [left] = this.pair;
    const other = left && this.model && nearestOther(this.model, left[0]);
    if (left && other) this.actions.runs([keyOf(left[1]), keyOf(other.runs[0]!)]);
  }

  private style(width: number): LaneStyle {
    const { model, state, pair } = this;
    const axis = laneAxis(
      state!.xScale,
      pair.map(([, run]) => run),
    );
    return {
      theme: state!.theme,
      series: state!.colour,
      axis,
      colours: model!.colours,
      width,
      height: LANE_HEIGHT,
    };
  }

  private laneRow(run: RunSummary, canvas: HTMLCanvasElement): HTMLElement {
    return el(
      "div",
      { class: "two-lane" },
      el(
        "button",
        {
          type: "button",
          class: "small",
          title: "open this trial",
          click: () => this.actions.open(keyOf(run)),
        },
        isBad(run.status) ? markImage(run.status) : null,
        titleOf(run),
      ),
      canvas,
    );
  }

  private drawLanes(): void {
    if (!this.model || this.pair.length < 2) return;
    const width = this.lanes.clientWidth - 130;
    if (width <= 2 * LANE_INSET) return;
    const style = this.style(width);
    const span = width - 2 * LANE_INSET;
    replace(
      this.ticks,
      ...style.axis.ticks(span).map((t) => tickLabel(t, LANE_INSET + t.at * span)),
    );
    for (const [i, [, run]] of this.pair.entries()) drawLane(this.canvases[i]!, run, style);
  }

  private parting(parting: Parting | null): HTMLElement {
    return el(
      "p",
      { class: "parting", "data-fact": "parting" },
      parting
        ? `They first differ by step ${integer(parting.step)}: ${SERIES_WORDS[parting.series]} ` +
            `${compact(parting.left)} against ${compact(parting.right)}.`
        : `Their lanes never differ by a factor of ${PARTING_FACTOR} while both run.`,
    );
  }

  private facts(left: [Trial, RunSummary], right: [Trial, RunSummary]): HTMLElement {
    const rows: [string, (run: RunSummary) => string][] = [
      ["status", (r) => words.status(r.status, r.state)],
      ["first bad step", (r) => (r.onset && isBad(r.status) ? words.position(r.onset) : "–")],
      [
        "first bad tensor",
        (r) => (r.origin && isBad(r.status) ? words.tensor(r.origin.kind, r.origin.name) : "–"),
      ],
      ["likely cause", (r) => r.causes[0]?.label ?? "–"],
      ["tuner says", (r) => r.tuner_status ?? "–"],
      ["score", (r) => (r.score === null ? "–" : compact(r.score, 4))],
      ["trained", (r) => `${plural(r.steps, "step")}, epoch ${integer(r.epochs)}`],
    ];
    return sideBySide(
      ["", titleOf(left[1]), titleOf(right[1])],
      rows.map(([name, of]) => [name, of(left[1]), of(right[1])]),
    );
  }
}

/** Words for the compared topics whose names are not plain words. */
const TOPICS: Record<string, string> = {
  hparam: "hyperparameters",
  setup: "set-up",
  initial: "first step before any update",
};

function told({ verdict, differences, parting, alike, notes }: RunComparison): Child[] {
  const others = differences.filter((d) => d.topic !== "hparam");
  return [
    parting && el("p", { class: "parting", "data-fact": "parting" }, parting.text),
    // It ends with where they first differ.
    el("p", { "data-fact": "compared" }, verdict.replace(parting?.text ?? "", "").trim()),
    others.length > 0 && el("ul", {}, ...others.map((d) => el("li", {}, d.text))),
    alike.length > 0 &&
      el("p", { class: "aside" }, `Alike: ${alike.map((t) => TOPICS[t] ?? t).join(", ")}.`),
    ...notes.map((n) => el("p", { class: "aside" }, n)),
  ];
}

const titleOf = (run: RunSummary): string => {
  return run.attempt ? `${run.name} ${run.attempt}` : run.name;
};

function hparamTable(model: Model, left: Trial, right: Trial): HTMLElement {
  const found = differences(model, left, right);
  if (!found.length) return el("p", { class: "note" }, "No hyperparameters were recorded.");
  const same = found.filter((d) => d.same).length;
  return sideBySide(
    [
      same === found.length
        ? "hyperparameters: all the same"
        : `hyperparameters: ${found.length - same} ${found.length - same === 1 ? "differs" : "differ"}`,
      titleOf(left.runs[0]!),
      titleOf(right.runs[0]!),
    ],
    found.map((d) => [d.name, words.value(d.left), words.value(d.right)]),
  );
}

/** A table of three columns in which rows that differ stand out. */
export function sideBySide(
  head: readonly [string, string, string],
  rows: readonly (readonly [string, Child, Child])[],
): HTMLElement {
  return el(
    "table",
    { class: "side-by-side" },
    el(
      "thead",
      {},
      el("tr", {}, ...head.map((h) => (h ? el("th", { scope: "col" }, h) : el("td", {})))),
    ),
    el(
      "tbody",
      {},
      ...rows.map(([name, left, right]) => {
        const differs = textOf(left) !== textOf(right);
        return el(
          "tr",
          { class: differs ? "differs" : "same" },
          el("th", { scope: "row" }, differs ? `≠ ${name}` : name),
          el("td", {}, left),
          el("td", {}, right),
        );
      }),
    ),
  );
}

const textOf = (child: Child): string =>
  child instanceof Node ? (child.textContent ?? "") : String(child ?? "");
