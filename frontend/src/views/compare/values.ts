// SPDX-License-Identifier: Apache-2.0
// Each hyperparameter's values against the outcome, with rates and intervals, ranked.

import type { HParamRate } from "../../api/types";
import { compact, plural } from "../../format/number";
import type { Model } from "../../state/state";
import { type Child, el, replace } from "../dom";
import { intervalBar, intervalText, rateText } from "./interval";

export class ValuesView {
  readonly node = el("div", { class: "cards" });
  private model: Model | null = null;

  constructor(private readonly pair: (name: string) => void) {}

  update(model: Model): void {
    if (model === this.model) return;
    this.model = model;
    const groups = new Map<string, HParamRate[]>();
    for (const rate of model.search.rates) {
      const group = groups.get(rate.hparam);
      if (group) group.push(rate);
      else groups.set(rate.hparam, [rate]);
    }
    const names = model.ranking.names.filter((name) => groups.has(name));
    if (!names.length) {
      replace(
        this.node,
        el(
          "p",
          { class: "note" },
          "No hyperparameter took several values among the trials whose fate is known. Trials that still run are counted once they end.",
        ),
      );
      return;
    }
    replace(this.node, ...names.map((name, i) => this.card(name, i, groups.get(name)!, model)));
  }

  private card(name: string, place: number, rates: HParamRate[], model: Model): HTMLElement {
    return el(
      "section",
      { class: "card" },
      el(
        "div",
        { class: "card-head" },
        el("h2", {}, `${place + 1}. ${name}`),
        el(
          "button",
          {
            type: "button",
            class: "small",
            click: () => this.pair(name),
            "aria-label": `show in pairs: ${name} and another hyperparameter`,
          },
          "show in pairs",
        ),
      ),
      el("p", { class: "aside" }, standing(name, model)),
      el(
        "table",
        { class: "rates" },
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            el("th", { scope: "col" }, "value"),
            el("th", { scope: "col" }, "went bad"),
            el("th", { scope: "col", title: "from 0 to 100 %" }, "share"),
            el("th", { scope: "col" }, "95 %"),
          ),
        ),
        el("tbody", {}, ...rates.map(row)),
      ),
      missing(rates, model),
    );
  }
}

function row(rate: HParamRate): HTMLElement {
  return el(
    "tr",
    { class: rate.bad ? "some" : "" },
    // A range of numbers stays on one line; a long name may not.
    el("th", { scope: "row", class: / to /.test(rate.label) ? "number" : "" }, rate.label),
    el("td", { class: "number" }, rate.bad ? el("b", {}, "✖ ") : null, rateText(rate)),
    el("td", {}, intervalBar(rate)),
    el("td", { class: "number aside" }, intervalText(rate)),
  );
}

/** How well it parts bad from good: 0 is chance, 1 a border. */
function standing(name: string, model: Model): string {
  const found = model.ranking.ranked.find((s) => s.name === name);
  if (!found) return "";
  const where = model.ranking.scales.get(name)?.numeric
    ? found.badIsHigh
      ? ", bad ones high"
      : ", bad ones low"
    : "";
  return `separation ${compact(found.strength, 2)} of 1 (${compact(found.z, 2)} σ from chance)${where}`;
}

function missing(rates: readonly HParamRate[], model: Model): Child {
  const counted = rates.reduce((n, r) => n + r.total, 0);
  const left = model.trials.length - counted;
  return (
    left > 0 &&
    el("p", { class: "aside" }, `not active in, or not yet known of, ${plural(left, "trial")}`)
  );
}
