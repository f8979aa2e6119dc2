// SPDX-License-Identifier: Apache-2.0
// A hyperparameter in a few parts, and how many trials went bad in each; pure.

import type { JSONScalar } from "../../api/schema.gen";
import * as words from "../../format/words";
import type { HParamScale } from "../../scale/hparam";
import { wilson } from "../cut";
import type { Trial } from "../trials";

const BINS = 4;
const MOST_VALUES = 6;

export interface Part {
  label: string;
  holds(value: JSONScalar | undefined): boolean;
}

export interface Rate {
  bad: number;
  total: number;
  /** Wilson's 95 % interval. */
  low: number;
  high: number;
}

export function rateOf(trials: readonly Trial[]): Rate {
  const watched = trials.filter((t) => t.status !== "unwatched");
  const bad = watched.filter((t) => t.bad).length;
  const [low, high] = wilson(bad, watched.length);
  return { bad, total: watched.length, low, high };
}

/** Its values where they are few, else bins with about as many trials each; in order. */
export function partsOf(scale: HParamScale, trials: readonly Trial[]): Part[] {
  const values = trials.map((t) => t.hparams[scale.name]);
  const known = values.filter((v) => v !== undefined && v !== null);
  const distinct = [...new Set(known)].sort((a, b) => scale.order(a) - scale.order(b));
  const parts: Part[] =
    distinct.length <= MOST_VALUES || !scale.numeric
      ? distinct.map((v) => ({ label: words.value(v), holds: (w) => w === v }))
      : bins(known as number[]);
  if (known.length < values.length)
    parts.push({ label: "not active", holds: (v) => v === undefined || v === null });
  return parts;
}

function bins(values: number[]): Part[] {
  const sorted = values.toSorted((a, b) => a - b);
  const edges: number[] = [];
  for (let i = 1; i < BINS; i++) {
    const edge = sorted[Math.floor((i * sorted.length) / BINS)]!;
    if (edge > (edges.at(-1) ?? sorted[0]!)) edges.push(edge);
  }
  return [...edges, Number.POSITIVE_INFINITY].map((below, i) => {
    const from = i === 0 ? Number.NEGATIVE_INFINITY : edges[i - 1]!;
    const inside = sorted.filter((v) => v >= from && v < below);
    const [low, high] = [inside[0]!, inside[inside.length - 1]!];
    return {
      label: low === high ? words.value(low) : `${words.value(low)} to ${words.value(high)}`,
      holds: (v) => typeof v === "number" && v >= from && v < below,
    };
  });
}
