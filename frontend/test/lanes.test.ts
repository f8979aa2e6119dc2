import { describe, expect, it } from "vitest";
import { decodeOverview } from "../src/api/decode";
import { NO_LANE } from "../src/api/lane";
import { decodeExactLane, decodeLanes } from "../src/api/lanes";
import { LANE_SERIES } from "../src/api/schema.gen";
import type { Lane, Overview } from "../src/api/types";
import { Lanes } from "../src/state/lanes";
import { INITIAL, type State } from "../src/state/state";
import { createStore } from "../src/state/store";

type Arrays = Record<string, Float32Array | Uint32Array | Uint16Array | Uint8Array>;

function framed(header: object, arrays: Arrays): ArrayBuffer {
  const entries = Object.entries(arrays).map(([name, a]) => ({
    name,
    dtype: a.constructor.name.replace("Array", "").toLowerCase(),
    shape: [a.length],
  }));
  let text = JSON.stringify({ ...header, arrays: entries });
  text += " ".repeat((4 - (text.length % 4)) % 4);
  const blobs = Object.values(arrays).map(
    (a) => new Uint8Array(a.buffer as ArrayBuffer, a.byteOffset, a.byteLength),
  );
  const pad = (n: number) => Math.ceil(n / 4) * 4;
  const out = new Uint8Array(4 + text.length + blobs.reduce((n, b) => n + pad(b.length), 0));
  new DataView(out.buffer).setUint32(0, text.length, true);
  out.set(new TextEncoder().encode(text), 4);
  let at = 4 + text.length;
  for (const blob of blobs) {
    out.set(blob, at);
    at += pad(blob.length);
  }
  return out.buffer;
}

const SERIES = [...LANE_SERIES];
const FLAT = [0, 1, -2, 3, ...Array<number>(2 * (SERIES.length - 2)).fill(0)];

function block(): ArrayBuffer {
  const codes = (n: number, growth: number[]) => [
    ...growth,
    ...Array<number>(n * (SERIES.length - 1)).fill(0),
  ];
  return framed(
    {
      runs: [
        ["a", "s", 3],
        ["b", "s", 1],
      ],
      series: SERIES,
    },
    {
      scales: new Float32Array([...FLAT, 8, ...FLAT, 0]),
      steps: new Uint32Array([1, 2, 3, 7]),
      seconds: new Uint16Array([0, 32768, 65535, 0]),
      epochs: new Uint16Array([0, 0, 1, 4]),
      values: new Uint8Array([...codes(3, [3, 255, 2]), ...codes(1, [1])]),
    },
  );
}

describe("packed lanes", () => {
  it("unpack to steps, times and values", () => {
    const lanes = decodeLanes(block());
    const a = lanes.get("s/a")!;
    expect([...a.steps]).toEqual([0, 2, 5]);
    expect([...a.epochs]).toEqual([0, 0, 1]);
    expect(a.seconds[1]).toBeCloseTo(4, 3);
    expect(a.seconds[2]).toBe(8);
    expect([...a.series.growth]).toEqual([1, 10, Number.POSITIVE_INFINITY]);
    expect([...a.series.loss]).toEqual([Number.NaN, Number.NaN, Number.NaN]);
    expect(a.extremes("growth")).toEqual([1, 10]);
    expect(a.extremes("loss")).toBeNull();
    const b = lanes.get("s/b")!;
    expect([...b.steps]).toEqual([6]);
    expect([...b.series.growth]).toEqual([0]);
    expect(b.extremes("growth")).toBeNull();
  });

  it("that are cut short are an error that says so", () => {
    const whole = block();
    expect(() => decodeLanes(whole.slice(0, whole.byteLength - 4))).toThrow(/cut short/);
    const few = framed({ runs: [["a", "s", 2]], series: SERIES }, { steps: new Uint32Array(1) });
    const expected = `scales has no values, expected ${2 * SERIES.length + 1}`;
    expect(() => decodeLanes(few)).toThrow(expected);
  });

  it("are told exactly one by one", () => {
    const n = SERIES.length;
    const values = Float32Array.from({ length: 2 * n }, (_, i) => i + 1);
    const lane = decodeExactLane(framed({ series: SERIES }, { values }));
    expect([...lane.growth]).toEqual([1, 1 + n]);
    expect([...lane[SERIES[4]!]]).toEqual([5, 5 + n]);
  });

  it("of a server that knows fewer series, or more, hold those that both know", () => {
    const { NaN: nan } = Number;
    const series = ["loss", "of another version"];
    const lane = decodeExactLane(framed({ series }, { values: new Float32Array([1, 2, 3, 4]) }));
    expect([...lane.loss]).toEqual([1, 3]);
    expect([...lane.update_ratio]).toEqual([nan, nan]);
    const packed = decodeLanes(
      framed(
        { runs: [["a", "s", 2]], series },
        {
          scales: new Float32Array([0, 1, 0, 1, 1]),
          steps: new Uint32Array([1, 1]),
          seconds: new Uint16Array(2),
          epochs: new Uint16Array(2),
          values: new Uint8Array([3, 255, 3, 3]),
        },
      ),
    ).get("s/a")!;
    expect([...packed.series.loss]).toEqual([1, 10]);
    expect([...packed.series.update_ratio]).toEqual([nan, nan]);
    expect(packed.extremes("update_ratio")).toBeNull();
  });
});

function overview(versions: string[]): Overview {
  return decodeOverview({
    schema_version: 1,
    searches: [
      { search: "x", lanes: versions },
      { search: "y", lanes: ["far"] },
    ],
    runs: ["a", "b"].map((run) => ({ run, session: "s", search: "x" })),
  });
}

const settled = () => new Promise((done) => setTimeout(done, 0));

describe("lanes", () => {
  it("come after the rest, once for each version of a block, and stay with new overviews", async () => {
    const store = createStore<State>(INITIAL);
    const asked: string[] = [];
    let fail = false;
    const client = {
      lanes: async (search: string, number: number, version: string) => {
        asked.push(`${search}${number}${version}`);
        if (fail) throw new Error("away");
        const all = decodeLanes(block());
        const key = number === 0 ? "s/a" : "s/b";
        return new Map<string, Lane>([[key, all.get(key)!]]);
      },
    };
    const lanes = new Lanes(store, client);
    store.set({ overview: lanes.attach(overview(["v1", "w1"])) });
    const runs = () => store.get().overview!.runs;
    expect(runs()[0]!.lane).toBe(NO_LANE);
    await settled();
    expect(asked).toEqual(["x0v1", "x1w1"]);
    expect(runs().map((r) => r.lane.steps.length)).toEqual([3, 1]);
    expect(store.get().lanes).toBe(2);

    // A new overview shows what is known at once, and asks for what changed alone.
    const next = lanes.attach(overview(["v1", "w2"]));
    expect(next.runs[0]!.lane.steps.length).toBe(3);
    fail = true;
    store.set({ overview: next });
    await settled();
    expect(asked.slice(2)).toEqual(["x1w2"]);
    // What failed is asked for again with the next overview.
    fail = false;
    store.set({ overview: lanes.attach(overview(["v1", "w2"])) });
    await settled();
    expect(asked.slice(3)).toEqual(["x1w2"]);
    store.set({ search: "y" });
    await settled();
    expect(asked.slice(4)).toEqual(["y0far"]);
  });
});
