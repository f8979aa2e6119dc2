// SPDX-License-Identifier: Apache-2.0
// Lanes as they travel: packed for all runs at once, unpacked when one is first drawn.

import { DecodeError, decodeFrame } from "./decode";
import { extremesOf } from "./lane";
import { LANE_SERIES, type LaneSeries } from "./schema.gen";
import { keyOf, type Lane } from "./types";

// As tb_nanwatch/reading/tab/lanes.py packs them.
const NOT_POSITIVE = 1;
const INFINITE = 2;
const LEAST = 3;
const MOST = 255;
const SECOND_CODES = 65535;

/** Parses the answer of `lanes`: the lanes of a block by their runs' keys. */
export function decodeLanes(buffer: ArrayBuffer): Map<string, Lane> {
  const { header, arrays } = decodeFrame(buffer, "lanes");
  const runs = Array.isArray(header.runs) ? (header.runs as [string, string, number][]) : [];
  const names = Array.isArray(header.series) ? (header.series as string[]) : [];
  const points = runs.reduce((sum, [, , n]) => sum + n, 0);
  const take = <T extends { length: number }>(
    name: string,
    type: new (n: number) => T,
    size: number,
  ): T => {
    const data = arrays[name]?.data;
    if (data instanceof type && data.length === size) return data;
    throw new DecodeError(
      `lanes: ${name} has ${data?.length ?? "no"} values, expected ${size} of ${type.name}`,
    );
  };
  const width = 2 * names.length + 1;
  const scales = take("scales", Float32Array, runs.length * width);
  const apart = take("steps", Uint32Array, points);
  const seconds = take("seconds", Uint16Array, points);
  const epochs = take("epochs", Uint16Array, points);
  const values = take("values", Uint8Array, points * names.length);
  const lanes = new Map<string, Lane>();
  let first = 0;
  runs.forEach(([run, session, n], i) => {
    const packed: Packed = {
      names,
      apart: apart.subarray(first, first + n),
      seconds: seconds.subarray(first, first + n),
      epochs: epochs.subarray(first, first + n),
      values: values.subarray(first * names.length, (first + n) * names.length),
      scale: scales.subarray(i * width, (i + 1) * width),
    };
    lanes.set(keyOf({ run, session }), new PackedLane(packed));
    first += n;
  });
  return lanes;
}

interface Packed {
  names: string[];
  /** Steps that each point holds. */
  apart: Uint32Array;
  seconds: Uint16Array;
  epochs: Uint16Array;
  /** Codes, series after series. */
  values: Uint8Array;
  /** For each series log10 of its least and largest value, then the last second. */
  scale: Float32Array;
}

class PackedLane implements Lane {
  private open: Lane | null = null;

  constructor(private readonly packed: Packed) {}

  get steps(): Float64Array {
    return this.unpacked().steps;
  }
  get seconds(): Float64Array {
    return this.unpacked().seconds;
  }
  get epochs(): Float64Array {
    return this.unpacked().epochs;
  }
  get series(): Lane["series"] {
    return this.unpacked().series;
  }

  extremes(series: LaneSeries): [number, number] | null {
    const { names, values, scale, apart } = this.packed;
    const at = names.indexOf(series);
    const n = apart.length;
    if (at < 0 || !values.subarray(at * n, (at + 1) * n).some((code) => code >= LEAST)) return null;
    return [10 ** scale[2 * at]!, 10 ** scale[2 * at + 1]!];
  }

  private unpacked(): Lane {
    this.open ??= unpack(this.packed);
    return this.open;
  }
}

function unpack({ names, apart, seconds, epochs, values, scale }: Packed): Lane {
  const n = apart.length;
  const steps = new Float64Array(n);
  let step = -1;
  for (let i = 0; i < n; i++) {
    step += apart[i]!;
    steps[i] = step;
  }
  const last = scale[scale.length - 1]!;
  const series = {} as Record<LaneSeries, Float64Array>;
  for (const name of LANE_SERIES) {
    const at = names.indexOf(name);
    const out = new Float64Array(n).fill(Number.NaN);
    series[name] = out;
    if (at < 0) continue;
    const low = scale[2 * at]!;
    const by = (scale[2 * at + 1]! - low) / (MOST - LEAST);
    for (let i = 0; i < n; i++) {
      const code = values[at * n + i]!;
      if (code >= LEAST) out[i] = 10 ** (low + by * (code - LEAST));
      else if (code === NOT_POSITIVE) out[i] = 0;
      else if (code === INFINITE) out[i] = Number.POSITIVE_INFINITY;
    }
  }
  return {
    steps,
    seconds: Float64Array.from(seconds, (s) => (s / SECOND_CODES) * last),
    epochs: Float64Array.from(epochs),
    series,
    extremes: (name) => extremesOf(series[name]),
  };
}

/** Parses the answer of `lane`: one lane's exact values, at the points of a packed one. */
export function decodeExactLane(buffer: ArrayBuffer): Record<LaneSeries, Float32Array> {
  const { header, arrays } = decodeFrame(buffer, "lane");
  const names = Array.isArray(header.series) ? (header.series as string[]) : [];
  const data = arrays.values?.data ?? new Float32Array(0);
  const n = names.length ? data.length / names.length : 0;
  return Object.fromEntries(
    LANE_SERIES.map((name) => {
      const at = names.indexOf(name);
      const read = (i: number) => (at < 0 ? Number.NaN : data[i * names.length + at]!);
      return [name, Float32Array.from({ length: n }, (_, i) => read(i))];
    }),
  ) as Record<LaneSeries, Float32Array>;
}
