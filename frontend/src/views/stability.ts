// SPDX-License-Identifier: Apache-2.0
// The result of a stability search: along each boundary the stable side, the side that goes
// bad, and the uncertain part between them; and how a later search fared in that space.

import type { JSONScalar } from "../api/schema.gen";
import type { Frontier } from "../api/types";
import * as words from "../format/words";
import { type HParamScale, hparamScale } from "../scale/hparam";
import type { Model } from "../state/state";
import type { Trial } from "../state/trials";
import { type Child, el, replace } from "./dom";
import { prose } from "./prose";

type Side = "lives" | "unsure" | "dies";
type Boundary = Frontier["boundaries"][number];

interface Segment {
  side: Side;
  /** Places on the axis, in [0, 1]. */
  from: number;
  to: number;
}

export class StabilityView {
  readonly node = el("section", { class: "stability", "aria-label": "Frontier", hidden: true });
  private key = "";

  update({ search, trials }: Model): void {
    const { frontier, afterwards } = search;
    this.node.hidden = !frontier?.boundaries.length && afterwards === "";
    const ended = trials.filter((t) => t.runs.some((r) => r.state === "finished")).length;
    const key = JSON.stringify([search.search, frontier, afterwards, ended]);
    if (this.node.hidden || key === this.key) return;
    this.key = key;
    if (!frontier?.boundaries.length) {
      replace(this.node, el("p", { "data-fact": "afterwards" }, ...prose(afterwards)));
      return;
    }
    const lines: Child[] = [];
    for (const [name, boundaries] of grouped(frontier.boundaries, (b) => b.name)) {
      const space = search.hparams.find((h) => h.name === name);
      const seen = trials.map((t) => t.hparams[name] ?? null);
      const scale = space ? hparamScale(space, seen) : null;
      lines.push(heading(name, scale));
      // Values that go bad on both sides have two boundaries in one place.
      for (const [, here] of grouped(boundaries, (b) => JSON.stringify(b.where)))
        lines.push(line(here, scale, tried(here[0]!, trials)));
    }
    replace(this.node, el("div", { class: "boundaries" }, ...lines), legend());
  }
}

function grouped<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const found = new Map<string, T[]>();
  for (const item of items) found.set(keyOf(item), [...(found.get(keyOf(item)) ?? []), item]);
  return found;
}

function heading(name: string, scale: HParamScale | null): HTMLElement {
  const end = (place: number) => {
    const value = scale?.invert(place);
    return el("span", {}, value === null || value === undefined ? "" : words.value(value, true));
  };
  return el(
    "div",
    { class: "boundary-axis" },
    el("strong", {}, name || "the whole space"),
    el("span", { class: "ends" }, end(0), scale?.log ? el("i", {}, "log scale") : null, end(1)),
  );
}

function line(here: readonly Boundary[], scale: HParamScale | null, dots: Trial[]): HTMLElement {
  const at = (value: JSONScalar) => (value === null ? null : (scale?.at(value) ?? null));
  const style = (from: number, to: number) =>
    `left:${(100 * from).toFixed(2)}%;width:${(100 * (to - from)).toFixed(2)}%`;
  const middles = here.map((b) => at(b.middle)).filter((p) => p !== null);
  return el(
    "div",
    { class: here.every((b) => b.sure) ? "boundary" : "boundary unsure" },
    el("span", { class: "boundary-text" }, here.map((b) => b.text).join("; ")),
    el(
      "span",
      { class: "boundary-bar", "aria-hidden": "true" },
      ...segments(here, at).map(({ side, from, to }) =>
        el("i", { class: side, title: side, style: style(from, to) }),
      ),
      ...dots.map((t) => {
        const place = at(t.hparams[here[0]!.name] ?? null);
        return place === null
          ? null
          : el("i", {
              class: t.bad ? "dot bad" : "dot",
              title: `${t.runs[0]?.name ?? t.id}: ${t.bad ? "went bad" : "lived"}`,
              style: `left:${(100 * place).toFixed(2)}%`,
            });
      }),
      ...middles.map((place) =>
        el("i", {
          class: "half",
          title: "half of the seeds die here",
          style: `left:${(100 * place).toFixed(2)}%`,
        }),
      ),
    ),
  );
}

/** Returns the stable, bad and uncertain parts of an axis, from its low end to its high end. */
export function segments(
  here: readonly Boundary[],
  at: (value: JSONScalar) => number | null,
): Segment[] {
  const place = (b: Boundary) => at(b.middle) ?? at(b.living) ?? at(b.dead) ?? 0.5;
  const sorted = here.toSorted((a, b) => place(a) - place(b));
  const found: Segment[] = [];
  sorted.forEach((b, i) => {
    const low = i === 0 ? 0 : (place(sorted[i - 1]!) + place(b)) / 2;
    const next = sorted[i + 1];
    const high = next ? (place(b) + place(next)) / 2 : 1;
    if (b.all_living || b.all_dead) {
      const side = b.all_living ? "lives" : "dies";
      found.push({ side: b.sure ? side : "unsure", from: low, to: high });
      return;
    }
    const [below, above] = b.dead_above ? [b.living, b.dead] : [b.dead, b.living];
    const from = Math.max(low, at(below) ?? low);
    const to = Math.min(high, at(above) ?? high);
    const [first, last]: [Side, Side] = b.dead_above ? ["lives", "dies"] : ["dies", "lives"];
    found.push({ side: first, from: low, to: from });
    found.push({ side: "unsure", from, to });
    found.push({ side: last, from: to, to: high });
  });
  return found.filter((s) => s.to > s.from);
}

/** The trials that determine a boundary: those of its levels. */
function tried(boundary: Boundary, trials: readonly Trial[]): Trial[] {
  const where = Object.entries(boundary.where);
  if (where.some(([, value]) => typeof value === "number")) return [];
  return trials.filter(
    (t) => t.status !== "unwatched" && where.every(([name, value]) => t.hparams[name] === value),
  );
}

function legend(): HTMLElement {
  const entry = (kind: string, text: string) =>
    el("span", {}, el("i", { class: kind, "aria-hidden": "true" }), ` ${text}`);
  return el(
    "p",
    { class: "boundary-legend" },
    entry("lives", "lives"),
    entry("unsure", "not known"),
    entry("dies", "dies"),
    entry("half", "half of the seeds die"),
    entry("dot", "a trial that lived"),
    entry("dot bad", "one that went bad"),
  );
}
