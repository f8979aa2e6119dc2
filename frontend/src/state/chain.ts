// SPDX-License-Identifier: Apache-2.0
// The causal chain of one bad step: from the hyperparameters through data, layers, loss,
// gradients and optimizer to the weights, each tensor at the onset and in the step before.

import type { Kind, Probe } from "../api/schema.gen";
import type { Flight, Origin, Ranges } from "../api/types";
import { countedInFlight, countedInRanges } from "./counted";

export type StageName = "data" | "layers" | "loss" | "gradients" | "optimizer" | "weights";

const STAGE_OF: Record<Kind, StageName> = {
  input: "data",
  label: "data",
  sample_weight: "data",
  activation: "layers",
  prediction: "layers",
  loss: "loss",
  metric: "loss",
  gradient: "gradients",
  optimizer: "optimizer",
  weight: "weights",
  layer_state: "weights",
};

export interface Link {
  /** Index of its probe. */
  probe: number;
  /** rms in the step before and at the onset; null where it was not measured. */
  before: number | null;
  at: number | null;
  /** "12 NaN", as far as its non-finite elements were counted in those steps; else "". */
  counted: { before: string; at: string };
  bad: boolean;
}

export interface Stage {
  name: StageName;
  /** In causal order. */
  links: Link[];
  /** The tensor that tells most: the origin, else the first bad, else what grew most. */
  key: Link;
  bad: number;
  /** Holds the origin. */
  lit: boolean;
}

export interface Chain {
  stages: Stage[];
  /** The steps that are compared; null where the onset was the first. */
  before: number | null;
  at: number;
}

interface Source {
  probes: number;
  before: number | null;
  at: number;
  rms(where: "before" | "at", probe: number): number | null;
  counted(where: "before" | "at", probe: number): string;
  bad(probe: number): boolean;
}

/** null where neither the last steps nor the ranges reach the onset. */
export function chainOf(
  probes: readonly Probe[],
  origin: Origin | null,
  onset: number,
  flight: Flight | null,
  ranges: Ranges | null,
): Chain | null {
  const source = (flight && fromFlight(flight, onset)) ?? (ranges && fromRanges(ranges, onset));
  if (!source) return null;
  const stages = new Map<StageName, Stage>();
  probes.slice(0, source.probes).forEach((probe, index) => {
    const name = STAGE_OF[probe.kind];
    const link: Link = {
      probe: index,
      before: source.before === null ? null : source.rms("before", index),
      at: source.rms("at", index),
      counted: {
        before: source.before === null ? "" : source.counted("before", index),
        at: source.counted("at", index),
      },
      bad: source.bad(index),
    };
    const isOrigin = origin?.kind === probe.kind && origin.name === probe.name;
    const stage = stages.get(name);
    if (!stage) {
      stages.set(name, { name, links: [link], key: link, bad: Number(link.bad), lit: isOrigin });
      return;
    }
    stage.links.push(link);
    stage.bad += Number(link.bad);
    if (isOrigin || (!stage.lit && tellsMore(link, stage.key))) stage.key = link;
    stage.lit ||= isOrigin;
  });
  return { stages: [...stages.values()], before: source.before, at: source.at };
}

function tellsMore(link: Link, than: Link): boolean {
  if (link.bad !== than.bad) return link.bad;
  return !link.bad && growth(link) > growth(than);
}

function growth({ before, at }: Link): number {
  return before !== null && at !== null && before > 0 && at > 0 ? at / before : 0;
}

const known = (rms: number): number | null => (Number.isNaN(rms) ? null : rms);

function fromFlight(flight: Flight, onset: number): Source | null {
  const i = flight.steps.indexOf(onset);
  if (i < 0) return null;
  const value = (row: number, p: number) => flight.rms[row * flight.probes + p]!;
  return {
    probes: flight.probes,
    before: i > 0 ? flight.steps[i - 1]! : null,
    at: onset,
    rms: (where, p) => known(value(where === "at" ? i : i - 1, p)),
    counted: (where, p) => countedInFlight(flight, flight.steps[where === "at" ? i : i - 1]!, p),
    bad: (p) =>
      value(i, p) === Number.POSITIVE_INFINITY || countedInFlight(flight, onset, p) !== "",
  };
}

function fromRanges(ranges: Ranges, onset: number): Source | null {
  let at = -1;
  for (let b = 0; b < ranges.buckets; b++) {
    if (onset >= ranges.steps[2 * b]! && onset <= ranges.steps[2 * b + 1]!) at = b;
  }
  if (at < 0) return null;
  const column = ranges.columns.indexOf("rms");
  const value = (b: number, p: number) =>
    known(ranges.stats[(b * ranges.probes + p) * ranges.columns.length + column]!);
  return {
    probes: ranges.probes,
    before: at > 0 ? ranges.steps[2 * at - 1]! : null,
    at: onset,
    rms: (where, p) => value(where === "at" ? at : at - 1, p),
    counted: (where, p) => {
      const b = where === "at" ? at : at - 1;
      // Of several steps the counts do not say which of them it was.
      const alone = ranges.steps[2 * b] === ranges.steps[2 * b + 1];
      return alone ? countedInRanges(ranges, b, p) : "";
    },
    bad: (p) => ranges.badSteps[at * ranges.probes + p]! > 0,
  };
}
