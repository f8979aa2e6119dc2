// SPDX-License-Identifier: Apache-2.0
// Which search is shown, and how its trials fared.
import { STATUS_MEANING } from "../api/schema.gen";

import type { SearchSummary } from "../api/types";
import { integer, plural } from "../format/number";
import * as words from "../format/words";
import { hasWord } from "../state/filter";
import type { Model, State } from "../state/state";
import { type Child, el, replace } from "./dom";
import { MARKED, markImage } from "./marks";

export class HeaderView {
  readonly node = el("header", { class: "header" });
  private readonly picker: HTMLSelectElement;
  private readonly details = el("span", { class: "tuner" });
  private readonly counts = el("span", { class: "counts" });
  private pickerKey = "";
  private countsKey = "";

  constructor(
    choose: (search: string) => void,
    private readonly filter: (word: string) => void,
  ) {
    this.picker = el("select", {
      class: "picker",
      "aria-label": "search, newest first",
      change: () => choose(this.picker.value),
    });
    this.node.append(this.picker, this.details, this.counts);
  }

  update(state: State, model: Model): void {
    const { searches } = model.overview;
    const pickerKey = JSON.stringify([
      searches.map((s) => [s.search, s.name, s.started, s.trials, s.purpose]),
      model.search.search,
    ]);
    if (pickerKey !== this.pickerKey) {
      this.pickerKey = pickerKey;
      replace(
        this.picker,
        ...searches.map((s) =>
          el("option", { value: s.search, selected: s.search === model.search.search }, title(s)),
        ),
      );
      replace(
        this.details,
        model.search.tuner,
        model.search.purpose === "stability" &&
          el(
            "span",
            { class: "badge", title: STABILITY, "data-fact": "purpose" },
            "stability search",
          ),
      );
    }
    const countsKey = JSON.stringify([
      model.byStatus,
      model.scoredAnyway,
      model.running,
      model.trials.length,
      state.theme,
      state.filter,
      model.search.search,
    ]);
    if (countsKey !== this.countsKey) {
      this.countsKey = countsKey;
      this.drawCounts(model, state.filter);
    }
  }

  private drawCounts(model: Model, filter: string): void {
    const focused = this.counts.contains(document.activeElement)
      ? (document.activeElement as HTMLElement).dataset.word
      : undefined;
    const count = (word: string, kind: string, title: string, ...content: Child[]) =>
      el(
        "button",
        {
          type: "button",
          class: `count ${kind}`,
          "data-word": word,
          "aria-pressed": String(hasWord(filter, word)),
          title: `${title}. Click: show these alone, or all again.`,
          click: () => this.filter(word),
        },
        ...content,
      );
    const noun = model.search.search === "" ? "run" : "trial";
    replace(
      this.counts,
      el("strong", {}, plural(model.trials.length, noun)),
      ...model.byStatus.map(([status, n]) =>
        count(
          status,
          "",
          words.capital(STATUS_MEANING[status]),
          MARKED.includes(status) ? markImage(status) : null,
          el(
            "span",
            { class: `word ${status}` },
            `${integer(n)} ${words.status(status, "finished")}`,
          ),
        ),
      ),
      model.scoredAnyway
        ? count(
            "scored",
            "badge",
            "Went bad, and has a score all the same",
            `${model.scoredAnyway} scored anyway`,
          )
        : null,
      model.running
        ? count("running", "running", "Still training", `${integer(model.running)} running`)
        : null,
    );
    if (focused !== undefined)
      this.counts.querySelector<HTMLElement>(`[data-word="${focused}"]`)?.focus();
  }
}

const STABILITY =
  "Its trials are short, have no score, and were chosen for lying where trainings begin to go bad.";

function title(search: SearchSummary): string {
  if (search.search === "") return `runs without a search (${search.trials})`;
  const name = search.name ? `${search.name} · ` : "";
  const kind = search.purpose === "stability" ? "stability search · " : "";
  return `${name}${kind}${words.moment(search.started)}`;
}
