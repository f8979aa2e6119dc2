import { describe, expect, it } from "vitest";
import type { Probe } from "../src/api/schema.gen";
import type { Ranges } from "../src/api/types";
import { rangesCsv, trialJson } from "../src/format/csv";

const probe = (name: string): Probe => ({
  kind: "activation",
  name,
  layer: "",
  dtype: "float32",
  shape: [],
});

const RANGES: Ranges = {
  buckets: 1,
  probes: 3,
  columns: ["min", "max"],
  countColumns: ["num_nan"],
  steps: new Float32Array([0, 4]),
  stats: new Float32Array([-1.5, 2, Number.NaN, Number.NaN, 0, Number.NEGATIVE_INFINITY]),
  counts: new Float32Array([0, 7, 0]),
  badSteps: new Float32Array([0, 2, 0]),
  measured: new Float32Array([5]),
};

describe("csv", () => {
  it("writes a line for each tensor and bucket; no name becomes a formula", () => {
    const probes = [probe('=HYPERLINK("x")'), probe("a, b"), probe("@sum")];
    expect(rangesCsv(RANGES, probes, "train").split("\r\n")).toEqual([
      "phase,first_step,last_step,kind,tensor,layer,min,max,num_nan,bad_steps",
      `train,0,4,activation,"'=HYPERLINK(""x"")",,-1.5,2,0,0`,
      'train,0,4,activation,"a, b",,NaN,NaN,7,2',
      "train,0,4,activation,'@sum,,0,'-Infinity,0,0",
      "",
    ]);
  });
});

describe("csv formulas", () => {
  it.each(["＝1+1", "＋1", "－1", "＠sum", "\n=1"])("%j is text", (name) => {
    const csv = rangesCsv(RANGES, [probe(name), probe("a＝b"), probe("ok")], "train");
    expect(csv).toContain(`'${name}`);
    expect(csv).toContain(",a＝b,");
  });
});

describe("json", () => {
  it("keeps what is not finite", () => {
    const text = trialJson({
      a: Number.NaN,
      b: [Number.NEGATIVE_INFINITY],
      c: new Float32Array([1]),
    });
    expect(JSON.parse(text)).toEqual({ a: "NaN", b: ["-Infinity"], c: [1] });
  });
});
