// SPDX-License-Identifier: Apache-2.0
// Two searches side by side: how they fared before and after an edit of the space.

import { type HParam, STATUSES } from "../../api/schema.gen";
import type { SearchComparison, SearchSummary } from "../../api/types";
import { compact, integer } from "../../format/number";
import * as words from "../../format/words";
import { hparamScale } from "../../scale/hparam";
import { partsOf, rateOf } from "../../state/compare/parts";
import { Latest } from "../../state/latest";
import type { Model, State } from "../../state/state";
import { bestOf, scoredAnyway, type Trial, trialsOf } from "../../state/trials";
import { type Child, el, replace } from "../dom";
import { prose } from "../prose";
import { intervalBar, intervalText, rateText } from "./interval";
import { sideBySide } from "./trials";

interface SearchesActions {
  compare(before: string, after: string, signal: AbortSignal): Promise<SearchComparison>;
  against(search: string): void;
}

export class SearchesView {
  readonly node: HTMLElement;
  private readonly select: HTMLSelectElement;
  private readonly controls: HTMLElement;
  private readonly body = el("div", { class: "two-body" });
  private key: unknown[] = [];
  private state: State | null = null;
  private model: Model | null = null;
  private readonly compared = new Latest<SearchComparison>(() => {
    const { state, model } = this;
    this.key = [];
    if (state && model) this.update(state, model);
  });

  constructor(private readonly actions: SearchesActions) {
    this.select = el("select", { change: () => actions.against(this.select.value) });
    this.controls = el(
      "div",
      { class: "compare-controls" },
      el("label", {}, "beside ", this.select),
      el("span", { class: "aside" }, "the older one stands on the left"),
    );
    this.node = el("div", { class: "two" }, this.controls, this.body);
  }

  update(state: State, model: Model): void {
    const key = [model.overview, model.search, state.compare.against];
    this.state = state;
    this.model = model;
    if (key.every((k, i) => k === this.key[i])) return;
    this.key = key;
    const others = model.overview.searches.filter((s) => s.search !== model.search.search);
    const other = otherOf(others, model.search, state.compare.against);
    replace(
      this.select,
      !other && el("option", { value: "" }, "choose a search"),
      ...others.map((s) => el("option", { value: s.search }, nameOf(s))),
    );
    this.select.value = other?.search ?? "";
    this.controls.hidden = others.length === 0;
    if (!other) {
      replace(this.body, el("p", { class: "note" }, none(model.search)));
      return;
    }
    const inOrder = [other, model.search].sort((a, b) => a.started - b.started);
    const sides = inOrder.map((s) => side(s, trialsOf(model.overview, s.search))) as [Side, Side];
    const [before, after] = inOrder as [SearchSummary, SearchSummary];
    const asked = JSON.stringify(inOrder.map((q) => [q.search, q.trials, q.by_status]));
    const answer = this.compared.get(asked, (signal) =>
      this.actions.compare(before.search, after.search, signal),
    );
    replace(
      this.body,
      ...(answer?.value ? told(answer.value) : []),
      answer?.error && el("p", { class: "note" }, `Not compared in full: ${answer.error}`),
      el("div", { class: "two-tables" }, outcomes(sides), spaces(sides)),
      el(
        "div",
        { class: "two-tables" },
        ...sides.map(({ search }) =>
          el(
            "p",
            { class: "verdict-beside" },
            el("strong", {}, `${nameOf(search)}: `),
            ...prose(search.verdict || "No verdict yet."),
          ),
        ),
      ),
      byValue(sides),
    );
  }
}

function told({ verdict, changes, removed }: SearchComparison): Child[] {
  return [
    verdict !== "" && el("p", { class: "parting", "data-fact": "compared" }, verdict),
    // Where it is known, the verdict ends with it.
    removed && !verdict.includes(removed.text) && el("p", {}, removed.text),
    // Of two programs the spaces are told side by side only: nothing of them was edited.
    removed && changes.length > 0 && el("ul", {}, ...changes.map((c) => el("li", {}, c.text))),
  ];
}

interface Side {
  search: SearchSummary;
  trials: Trial[];
}

const side = (search: SearchSummary, trials: Trial[]): Side => ({ search, trials });

/** The wanted search, else the latest earlier search of the same project. */
export function otherOf(
  others: readonly SearchSummary[],
  shown: SearchSummary,
  wanted: string | null,
): SearchSummary | null {
  const chosen = others.find((s) => s.search === wanted);
  if (chosen || shown.name === "") return chosen ?? null;
  const older = others.filter((s) => s.name === shown.name && s.started < shown.started);
  return older.sort((a, b) => b.started - a.started)[0] ?? null;
}

const none = (shown: SearchSummary): string =>
  `There is no older search${shown.name && ` of the project "${shown.name}"`} in this log ` +
  "directory. Run it again with an edited space and overwrite=True, with the same log directory, " +
  "and the two stand here side by side.";

const nameOf = (s: SearchSummary): string =>
  s.search === "" ? "runs without a search" : `${s.name || "search"} · ${words.moment(s.started)}`;

/** The names of both searches; longer ones where these are equal or empty. */
function shortNames([a, b]: readonly SearchSummary[]): [string, string] {
  const names = [a!, b!].map((s) => s.name);
  if (names[0] !== names[1] && names.every((n) => n !== "")) return names as [string, string];
  return [nameOf(a!), nameOf(b!)];
}

function outcomes(sides: readonly [Side, Side]): HTMLElement {
  const both = (of: (side: Side) => Child): [Child, Child] => [of(sides[0]), of(sides[1])];
  const rows: [string, Child, Child][] = [
    ["tuner", ...both((s) => s.search.tuner || "–")],
    ["objective", ...both((s) => s.search.objective ?? "–")],
    ["trials", ...both((s) => integer(s.trials.length))],
    ...STATUSES.filter((status) =>
      sides.some((s) => s.trials.some((t) => t.status === status)),
    ).map((status): [string, Child, Child] => [
      words.status(status, "finished"),
      ...both((s) => integer(s.trials.filter((t) => t.status === status).length)),
    ]),
    ["went bad", ...both(rateCell)],
    ["best score", ...both(bestScore)],
    ["scored anyway", ...both((s) => integer(s.trials.filter(scoredAnyway).length))],
  ];
  return sideBySide(["", nameOf(sides[0].search), nameOf(sides[1].search)], rows);
}

/** How often the same values went bad in the one and in the other. */
function byValue(sides: readonly [Side, Side]): Child {
  const spaces = new Map(sides.flatMap((s) => s.search.hparams.map((h) => [h.name, h] as const)));
  const both = sides.flatMap((s) => s.trials);
  const cards = [...spaces.values()].flatMap((space) => {
    const observed = both.map((t) => t.hparams[space.name] ?? null);
    const parts = partsOf(hparamScale(space, observed), both);
    if (parts.length < 2) return [];
    const rows = parts.map((part) => {
      const cells = sides.map(({ trials }) => {
        const held = trials.filter((t) => part.holds(t.hparams[space.name]));
        const bad = held.some((t) => t.bad);
        return el("td", { class: bad ? "some" : "" }, rateCell({ trials: held }));
      });
      return el("tr", {}, el("th", { scope: "row" }, part.label), ...cells);
    });
    const heads = ["went bad", ...shortNames(sides.map((s) => s.search))];
    const head = el("tr", {}, ...heads.map((text) => el("th", { scope: "col" }, text)));
    const table = el("table", { class: "rates" }, el("thead", {}, head), el("tbody", {}, ...rows));
    return [el("section", { class: "card by-value" }, el("h2", {}, space.name), table)];
  });
  return cards.length > 0 && el("div", { class: "cards" }, ...cards);
}

function rateCell({ trials }: Pick<Side, "trials">): Child {
  if (!trials.length) return "–";
  const rate = rateOf(trials);
  return el(
    "span",
    { class: "rate-cell" },
    `${rateText(rate)} (${intervalText(rate)})`,
    intervalBar(rate),
  );
}

function bestScore({ search, trials }: Side): string {
  const best = bestOf(search, trials);
  return best === null ? "–" : compact(best.score!, 4);
}

function spaces(sides: readonly [Side, Side]): HTMLElement {
  const names = [...new Set(sides.flatMap((s) => s.search.hparams.map((h) => h.name)))];
  const text = (s: Side, name: string) => {
    const found = s.search.hparams.find((h) => h.name === name);
    return found ? spaceText(found) : "absent";
  };
  const rows = names.map((name): [string, string, string] => [
    name,
    text(sides[0], name),
    text(sides[1], name),
  ]);
  rows.sort((a, b) => Number(a[1] === a[2]) - Number(b[1] === b[2]));
  if (!rows.length) return el("p", { class: "note" }, "No search spaces were recorded.");
  return sideBySide(["search space", nameOf(sides[0].search), nameOf(sides[1].search)], rows);
}

/** "1e-4 to 1, log", "sgd, adam" */
export function spaceText(h: HParam): string {
  if (h.type === "choice" && h.values) return h.values.map((v) => words.value(v)).join(", ");
  if (h.type === "boolean") return "True, False";
  if (h.type === "fixed") return `fixed ${words.value(h.default)}`;
  if (h.min === null && h.max === null) return h.type;
  const sampling = h.sampling && h.sampling !== "linear" ? `, ${h.sampling}` : "";
  const step = h.step === null ? "" : `, step ${words.value(h.step)}`;
  return `${words.value(h.min)} to ${words.value(h.max)}${step}${sampling}`;
}
