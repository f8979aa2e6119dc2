// SPDX-License-Identifier: Apache-2.0
// The heading of a facet's band. Its nodes stay the same when it is updated, so that a click
// in progress and the keyboard's focus survive new data.

import { integer } from "../format/number";
import * as words from "../format/words";
import { cuttable } from "../state/cut";
import type { Line } from "../state/order";
import type { Model } from "../state/state";
import { removable } from "../state/without";
import { el, setText } from "./dom";

type Facet = Extract<Line, { type: "facet" }>;

export class Heading {
  private readonly check = el("input", { type: "checkbox", class: "band" });
  private readonly value = el("strong");
  private readonly label = el("label", {}, this.check, this.value);
  private readonly rate = el("span");
  private readonly cut = el("button", { type: "button", class: "cut-here" }, "✂ cut here");
  readonly node = el("div", { class: "facet", role: "gridcell" }, this.label, this.rate, this.cut);

  /** Returns whether the band is unchecked. */
  bind({ name, value, bad, total }: Facet, model: Model): boolean {
    const { removed, ranking, cutBasis } = model;
    const off =
      removed?.removed.hparam === name &&
      value !== undefined &&
      removed.removed.values.includes(value);
    const offered = value !== undefined && removable(ranking.space, name);
    this.check.hidden = !offered;
    this.check.checked = !off;
    this.label.title = offered ? "leave this value out of the edited search space" : "";
    setText(this.value, `${name} = ${words.value(value)}`);
    setText(this.rate, `${integer(bad)} of ${integer(total)} went bad`);
    this.cut.hidden = !(cutBasis && cuttable(cutBasis) !== null && total > 1);
    return off;
  }
}
