// SPDX-License-Identifier: Apache-2.0
// One line of the table. Lines are recycled while scrolling: bind() gives one another run.
import { STATUS_MEANING } from "../api/schema.gen";

import type { RunSummary } from "../api/types";
import { keyOf } from "../api/types";
import { compact, integer } from "../format/number";
import * as words from "../format/words";
import type { Theme } from "../scale/colour";
import { hparamOf, type Line } from "../state/order";
import type { Model } from "../state/state";
import { isBad, type Trial } from "../state/trials";
import { takesTrial } from "../state/without";
import type { Columns } from "./columns";
import { el, setText } from "./dom";
import { Heading } from "./heading";
import type { LaneStyle } from "./lane";
import { markImage, setMark } from "./marks";

export const ROW_HEIGHT = 22;
export const FACET_HEIGHT = 24;

export interface RowContext {
  model: Model;
  columns: Columns;
  lane: LaneStyle;
}

interface HParamView {
  cell: HTMLElement;
  text: HTMLElement;
  axis: HTMLElement | null;
  dot: HTMLElement | null;
}

export class Row {
  readonly node: HTMLElement;
  private readonly id = el("span", { class: "id" });
  private readonly exec = el("span", { class: "exec" });
  private readonly trial = el("div", { role: "gridcell", class: "cell trial" }, this.id, this.exec);
  private readonly hparams: HParamView[];
  private readonly mark = markImage("clean");
  private readonly word = el("span", { class: "word" });
  private readonly aside = el("span", { class: "aside" });
  private readonly status = el(
    "div",
    { role: "gridcell", class: "cell status" },
    this.mark,
    this.word,
    this.aside,
  );
  private marked = "";
  // The lanes lie above the rows, several to a canvas.
  private readonly laneCell = el("div", { role: "gridcell", class: "cell lane-cell" });
  private readonly scoreText = el("span", { class: "value" });
  private readonly scoreDot = el("span", { class: "dot" });
  private readonly scoreAxis = el("span", { class: "axis" }, this.scoreDot);
  private readonly badge = el("span", { class: "badge" }, "scored anyway");
  private readonly score = el(
    "div",
    { role: "gridcell", class: "cell score" },
    this.scoreText,
    this.scoreAxis,
    this.badge,
  );
  private readonly heading = new Heading();
  line: Line | null = null;

  constructor(columns: Columns, stops: (name: string) => readonly number[]) {
    this.hparams = columns.hparams.map((column) => {
      const text = el("span", { class: "value" });
      const axis = column.axis ? el("span", { class: "axis" }) : null;
      const dot = axis && el("span", { class: "dot" });
      if (axis && dot) {
        const places = stops(column.name);
        if (places.length <= 12) {
          for (const at of places) axis.append(el("i", { style: `left:${at * 100}%` }));
        }
        axis.append(dot);
      }
      const cell = el(
        "div",
        {
          role: "gridcell",
          class: `cell hparam${column.written ? " written" : ""}${axis ? "" : " category"}`,
          style: column.after ? `padding-right:${column.after + 14}px` : "",
        },
        text,
        axis,
      );
      return { cell, text, axis, dot };
    });
    this.node = el(
      "div",
      { role: "row", class: "row" },
      this.trial,
      ...this.hparams.map((h) => h.cell),
      this.status,
      this.laneCell,
      this.score,
      this.heading.node,
    );
  }

  bind(line: Line, index: number, top: number, context: RowContext): void {
    this.line = line;
    this.node.style.transform = `translateY(${top}px)`;
    this.node.setAttribute("aria-rowindex", String(index + 2));
    const isRun = line.type === "run";
    this.node.classList.toggle("heading", !isRun);
    if (isRun) this.bindRun(line.trial, line.run, line.first, context);
    else {
      this.node.removeAttribute("id"); // it may have stood for a run before
      this.node.classList.toggle("removed", this.heading.bind(line, context.model));
    }
  }

  select(selected: boolean, active: boolean): void {
    this.node.classList.toggle("selected", selected);
    this.node.classList.toggle("active", active);
    // Called for every row at every frame of a scroll.
    const told = String(selected);
    if (this.node.ariaSelected !== told) this.node.ariaSelected = told;
  }

  private bindRun(trial: Trial, run: RunSummary, first: boolean, context: RowContext): void {
    const { model, columns } = context;
    this.node.id = `row-${keyOf(run)}`;
    this.node.classList.toggle("bad", isBad(run.status));
    this.node.classList.toggle("later", !first);
    this.node.classList.toggle("superseded", run.superseded);
    const { removed } = model;
    this.node.classList.toggle("removed", removed !== null && takesTrial(removed.removed, trial));
    this.bindTrial(trial, run, first);
    columns.hparams.forEach((column, i) => {
      const view = this.hparams[i]!;
      const scale = model.ranking.scales.get(column.name)!;
      const inactive = run.inactive.includes(column.name);
      const value = inactive ? undefined : run.hparams[column.name];
      const text = inactive ? "inactive" : words.value(value, scale.log);
      view.cell.title = inactive
        ? `${column.name} is not active: its condition does not hold in this trial`
        : `${column.name} = ${words.value(value)}`;
      view.cell.classList.toggle("inactive", inactive);
      setText(view.text, text);
      if (view.axis && view.dot) {
        const at = scale.at(value);
        view.dot.hidden = at === null;
        view.axis.classList.toggle("absent", at === null);
        if (at !== null) view.dot.style.left = `${at * 100}%`;
        view.cell.classList.toggle("sorted", hparamOf(model.sort.column) === column.name);
      }
    });
    this.bindStatus(run, context.lane.theme);
    this.bindScore(trial, run, first, model);
  }

  private bindTrial(trial: Trial, run: RunSummary, first: boolean): void {
    const name = words.shortName(run);
    const label = [run.attempt, run.superseded && "earlier"].filter(Boolean).join(", ");
    const full = run.superseded
      ? `${run.attempt} an earlier attempt: a later one decides`
      : run.attempt;
    const continues = trial.continues !== null && trial.root !== trial.id;
    setText(this.id, first ? `${continues ? "↳ " : ""}${name}` : "");
    this.id.dataset.trial = first ? trial.id : "";
    setText(this.exec, label);
    this.node.classList.toggle("continued", continues);
    this.trial.title = [
      run.trial_id === null ? run.name : `${run.name} (id ${run.trial_id})`,
      full.trim(),
      run.lineage_text,
    ]
      .filter(Boolean)
      .join(", ");
  }

  private bindStatus(run: RunSummary, theme: Theme): void {
    const note = words.stateNote(run.state, run.stopped_by);
    const bad = isBad(run.status) && run.onset !== null;
    const aside = bad
      ? words.shortPosition(run.onset!)
      : note && run.status !== "clean"
        ? note
        : "";
    // The exception that ended a run tells more than the word "failed".
    const failed = run.state === "failed" && run.failure ? run.failure : "";
    const cleanNote = !bad && run.status === "clean" && run.state !== "running" ? note : "";
    const scalar = run.scalars[0];
    const marked = `${run.status} ${theme}`;
    if (marked !== this.marked) {
      this.marked = marked;
      setMark(this.mark, run.status);
      this.word.className = `word ${run.status}`;
    }
    setText(this.word, words.status(run.status, run.state));
    setText(
      this.aside,
      scalar
        ? `${scalar.tag} not finite from epoch ${integer(scalar.first_epoch + 1)}`
        : bad
          ? aside
          : failed || aside || cleanNote,
    );
    const parts = [STATUS_MEANING[run.status], ...run.scalars.map((s) => s.text)];
    if (run.inherited) parts.push(run.inherited_text);
    for (const text of [run.failure_text ?? run.failure, run.unwatched_text])
      if (text) parts.push(text);
    if (run.skipped_steps)
      parts.push(`${integer(run.skipped_steps)} steps skipped by the loss scale`);
    if (run.onset) parts.unshift(`first bad step: ${words.position(run.onset)}`);
    if (note) parts.push(note);
    this.status.title = parts.join("; ");
  }

  private bindScore(trial: Trial, run: RunSummary, first: boolean, model: Model): void {
    const { score } = trial;
    const told = trial.runs.find((r) => r.misread !== null);
    const best = model.score.best === trial;
    const at = score === null ? null : model.score.at(score);
    setText(this.scoreText, !first ? "" : score === null ? "–" : compact(score));
    this.badge.hidden = !first || !told;
    this.scoreAxis.hidden = !first || !!told;
    this.scoreAxis.classList.toggle("absent", at === null);
    this.scoreDot.hidden = at === null;
    this.scoreDot.classList.toggle("best", best);
    if (at !== null) this.scoreDot.style.left = `${at * 100}%`;
    this.score.classList.toggle("best", best && first);
    this.score.title = told
      ? (told.misread_text ?? "")
      : best
        ? "the best score of the search"
        : run.tuner_status
          ? `the tuner says ${run.tuner_status}`
          : "";
  }
}
