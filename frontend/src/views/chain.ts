// SPDX-License-Identifier: Apache-2.0
// The causal chain on one line, lit where the first bad tensor is. A stage is a button that
// shows its most telling tensor in the heat map and the range chart.

import type { JSONScalar, Probe } from "../api/schema.gen";
import type { RunSummary } from "../api/types";
import { integer, NON_FINITE, sizeText } from "../format/number";
import * as words from "../format/words";
import type { Theme } from "../scale/colour";
import { nothingColour } from "../scale/colour";
import type { Chain, Link, Stage, StageName } from "../state/chain";
import { type Child, el, prepareCanvas, replace, themeColour } from "./dom";

const TITLES: Record<StageName, [string, string]> = {
  data: ["data", "data"],
  layers: ["layer", "layers"],
  loss: ["loss", "losses"],
  gradients: ["gradient", "gradients"],
  optimizer: ["slot", "optimizer"],
  weights: ["weight", "weights"],
};
const HPARAMS = 3;
const CELLS = 96;

interface ChainData {
  chain: Chain;
  run: RunSummary;
  probes: readonly Probe[];
  /** Those most associated with going bad first. */
  hparams: readonly [string, JSONScalar | undefined][];
  theme: Theme;
  chosen: number;
}

export class ChainView {
  readonly node = el("section", {
    class: "chain",
    "aria-label": "Causal chain at the first bad step",
  });
  private data: ChainData | null = null;

  constructor(private readonly choose: (probe: number) => void) {}

  update(data: ChainData): void {
    const before = this.data;
    const same =
      before !== null &&
      before.chain === data.chain &&
      before.chosen === data.chosen &&
      before.theme === data.theme &&
      before.run.origin === data.run.origin;
    if (same) return;
    this.data = data;
    const focused = [...this.node.querySelectorAll("button")].indexOf(
      document.activeElement as HTMLButtonElement,
    );
    replace(
      this.node,
      el("ol", {}, hparamStage(data), ...data.chain.stages.map((stage) => this.stage(stage, data))),
    );
    if (focused >= 0) this.node.querySelectorAll("button")[focused]?.focus();
  }

  private stage(stage: Stage, data: ChainData): HTMLElement {
    const { key } = stage;
    const probe = data.probes[key.probe]!;
    const name = probe.name || probe.kind.replace("_", " ");
    const [one, many] = TITLES[stage.name];
    const state = stage.lit ? "lit" : stage.bad ? "reached" : "fine";
    const node = el(
      "button",
      {
        type: "button",
        class: `stage ${state}`,
        "aria-pressed": String(stage.links.some((l) => l.probe === data.chosen)),
        title: facts(stage, data).join("\n"),
        click: () => this.choose(key.probe),
      },
      el(
        "span",
        { class: "stage-title" },
        el("span", {}, stage.links.length === 1 ? one : many),
        flag(stage),
      ),
      cells(stage, data),
      el("span", { class: "stage-name" }, name),
      el("span", { class: "stage-numbers" }, numbers(key, stage, data.run)),
      stage.lit && madeBy(data.run),
    );
    return el("li", {}, node);
  }
}

function flag({ lit, bad, links }: Stage): Child {
  const count = integer(links.length);
  if (lit) return el("strong", { class: "stage-flag" }, "✖ first bad");
  if (bad) return el("span", { class: "stage-flag" }, `✖ ${integer(bad)}/${count}`);
  return links.length > 1 && el("span", { class: "stage-count" }, count);
}

function hparamStage({ hparams }: ChainData): Child {
  if (!hparams.length) return null;
  return el(
    "li",
    {},
    el(
      "div",
      { class: "stage fine values" },
      el("span", { class: "stage-title" }, "values"),
      ...hparams
        .slice(0, HPARAMS)
        .map(([name, value]) =>
          el(
            "span",
            { class: "stage-value", title: name },
            el("span", {}, name),
            el("b", {}, words.value(value)),
          ),
        ),
    ),
  );
}

/** "0.31 → 4.1e18", or the non-finite counts where it went bad. */
function numbers(link: Link, stage: Stage, run: RunSummary): Child {
  const was = said(kinds(link.counted.before), link.before, 2) ?? "–";
  const counted = stage.lit && run.origin ? words.counts(run.origin) : "";
  const is = said(counted || kinds(link.counted.at), link.at, 2);
  return `${was} → ${is ?? (link.bad ? NON_FINITE : "–")}`;
}

/** "tf.math.divide, loss.py:12", of the first bad operation. */
function madeBy({ origin }: RunSummary): Child {
  const parts = [origin?.op, origin?.source?.split("/").at(-1)].filter(Boolean);
  return parts.length > 0 && el("span", { class: "stage-name plain-order" }, parts.join(", "));
}

function facts(stage: Stage, { chain, probes, run }: ChainData): string[] {
  const { key } = stage;
  const probe = probes[key.probe]!;
  const before =
    chain.before === null
      ? ""
      : `step ${integer(chain.before)}: ${fact(key.counted.before, key.before)}; `;
  const lines = [
    words.tensor(probe.kind, probe.name),
    `${before}step ${integer(chain.at)}: ${fact(key.counted.at, key.at)}`,
  ];
  if (stage.lit && run.origin) lines.push(words.counts(run.origin), run.postmortem?.text ?? "");
  lines.push(
    stage.bad
      ? `${integer(stage.bad)} of ${integer(stage.links.length)} non-finite here`
      : "all finite here",
  );
  return lines.filter(Boolean);
}

/** "NaN, Inf" of "6 NaN, 2 Inf": there is room for the numbers in the hover text only. */
const kinds = (counted: string): string =>
  counted
    .split(/, | and /)
    .map((part) => part.split(" ").at(-1))
    .join(", ");

/** The non-finite counts, else the size; null where neither is known. */
function said(counted: string, rms: number | null, digits: number): string | null {
  return counted || (rms === null ? null : sizeText(rms, digits));
}

function fact(counted: string, rms: number | null): string {
  const text = said(counted, rms, 4);
  if (text === null) return "rms not measured";
  return counted || text === NON_FINITE ? text : `rms ${text}`;
}

/** Each tensor of a stage as a cell, in causal order; the worst of each where there are many. */
function cells(stage: Stage, { theme, probes, run }: ChainData): HTMLElement {
  const canvas = el("canvas", { class: "stage-cells", "aria-hidden": "true" });
  const count = Math.min(CELLS, stage.links.length);
  const c = prepareCanvas(canvas, CELLS, 6);
  if (!c) return canvas;
  const width = Math.min(12, CELLS / count);
  for (let i = 0; i < count; i++) {
    const from = Math.floor((i * stage.links.length) / count);
    const to = Math.floor(((i + 1) * stage.links.length) / count);
    const part = stage.links.slice(from, Math.max(from + 1, to));
    const origin = part.some((l) => {
      const p = probes[l.probe]!;
      return run.origin?.kind === p.kind && run.origin.name === p.name;
    });
    const bad = part.some((l) => l.bad);
    c.fillStyle = origin || bad ? themeColour("bad") : nothingColour(theme);
    c.globalAlpha = bad && !origin ? 0.45 : 1;
    // Shape as well as colour: what is fine is a low line, what is bad is tall.
    const height = origin || bad ? 6 : 2;
    if (!(origin || bad)) c.fillStyle = themeColour("dot");
    c.fillRect(i * width, 6 - height, Math.max(1, width - 1), height);
  }
  return canvas;
}
