// The golden answers were sent by the plugin over logs of a real search.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  DecodeError,
  decodeFrame,
  decodeOverview,
  decodeRanges,
  decodeRun,
  number,
} from "../src/api/decode";
import { LANE_SERIES, RANGE_COLUMNS } from "../src/api/schema.gen";

const golden = (name: string) => readFileSync(new URL(`./golden/${name}`, import.meta.url));
const json = (name: string): unknown => JSON.parse(golden(name).toString("utf-8"));
const bytes = (name: string): ArrayBuffer => new Uint8Array(golden(name)).buffer;

describe("overview", () => {
  it("keeps every run, its values and its lane", () => {
    const overview = decodeOverview(json("overview.json"));
    expect(overview.runs).toHaveLength(8);
    const bad = overview.runs.find((r) => r.status === "diverged")!;
    expect(bad.onset?.phase).toBe("train");
    expect(bad.origin?.name).not.toBe("");
    expect(bad.score).toBeNaN();
    expect(bad.lane.steps.length).toBeGreaterThan(0);
    for (const series of LANE_SERIES) {
      expect(bad.lane.series[series]).toHaveLength(bad.lane.steps.length);
    }
    expect(Object.keys(bad.hparams).sort()).toEqual(["learning_rate", "units"]);
    expect(overview.searches[0]?.hparams.map((h) => h.name)).toContain("learning_rate");
  });

  it("turns the three strings into numbers, and nothing else", () => {
    expect(number("NaN")).toBeNaN();
    expect(number("Infinity")).toBe(Number.POSITIVE_INFINITY);
    expect(number("-Infinity")).toBe(Number.NEGATIVE_INFINITY);
    expect(number("7")).toBeNull();
    expect(number("toString")).toBeNull();
    expect(number(null)).toBeNull();
  });

  it("takes no harm from hostile names", () => {
    const overview = decodeOverview(
      JSON.parse(
        '{"schema_version":1,"runs":[{"run":"r","hparams":{"__proto__":1,"constructor":"<b>"}}]}',
      ),
    );
    expect(Object.keys(overview.runs[0]!.hparams)).toEqual(["__proto__", "constructor"]);
    expect(({} as Record<string, unknown>).run).toBeUndefined();
  });

  it("refuses a newer version with words that help", () => {
    expect(() => decodeOverview({ schema_version: 99 })).toThrow(/restart TensorBoard/);
  });

  it.each([null, [], "text", 3])("refuses %j", (value) => {
    expect(() => decodeOverview(value)).toThrow(DecodeError);
  });
});

describe("run", () => {
  it("keeps probes, episodes and environment", () => {
    const detail = decodeRun(json("run.json"));
    expect(detail.phases).toContain("train");
    expect(detail.probes.train.map((p) => p.kind)).toContain("gradient");
    expect(detail.episodes.length).toBeGreaterThan(0);
    expect(detail.environment.versions.keras).toBeDefined();
  });
});

describe("ranges", () => {
  it("reads the arrays that the header describes", () => {
    const ranges = decodeRanges(bytes("ranges.bin"));
    expect(ranges.columns).toEqual([...RANGE_COLUMNS]);
    expect(ranges.stats).toHaveLength(ranges.buckets * ranges.probes * RANGE_COLUMNS.length);
    expect(ranges.steps[0]).toBe(0);
    expect(Math.max(...ranges.badSteps)).toBeGreaterThan(0);
    const probes = decodeRun(json("run.json")).probes.train;
    expect(probes).toHaveLength(ranges.probes);
  });

  it("refuses what is cut short", () => {
    const whole = bytes("ranges.bin");
    expect(() => decodeRanges(whole.slice(0, whole.byteLength - 4))).toThrow(/cut short/);
    expect(() => decodeFrame(whole.slice(0, 20))).toThrow(/cut short/);
    expect(() => decodeFrame(new ArrayBuffer(0))).toThrow(/empty/);
  });
});
