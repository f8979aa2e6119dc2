import { describe, expect, it } from "vitest";
import { decodeOverview } from "../src/api/decode";
import type { RunSummary } from "../src/api/types";
import { AXES, laneAxis } from "../src/scale/axis";

function run(steps: number, onset: number | null, perEpoch: number, seconds: number): RunSummary {
  const all = Array.from({ length: steps }, (_, i) => i);
  return decodeOverview({
    schema_version: 1,
    runs: [
      {
        run: "r",
        session: "s",
        status: onset === null ? "clean" : "diverged",
        steps,
        onset: onset === null ? null : { phase: "train", step: onset, epoch: 0, batch: onset },
        lane: {
          steps: all,
          seconds: all.map((i) => (i + 1) * seconds),
          epochs: all.map((i) => Math.floor(i / perEpoch)),
        },
      },
    ],
  }).runs[0]!;
}

const BAD = run(25, 12, 10, 0.1);
const CLEAN = run(40, null, 20, 0.2);

describe("axes", () => {
  it.each(AXES)("%s never runs backwards, and a place leads back to its step", (name) => {
    const axis = laneAxis(name, [BAD, CLEAN]);
    for (const r of [BAD, CLEAN]) {
      const { start, middle, invert } = axis.of(r);
      const last = name === "onset" ? (r.onset?.step ?? r.steps - 1) : r.steps - 1;
      for (let step = 0; step <= last; step++) {
        expect(start(step + 1)).toBeGreaterThan(start(step));
        expect(invert(middle(step))).toBe(step);
      }
      expect(start(0)).toBeGreaterThanOrEqual(0);
      expect(start(last + 1)).toBeLessThanOrEqual(1);
    }
    expect(axis.ticks(400).length).toBeGreaterThan(1);
    for (const tick of axis.ticks(400)) {
      expect(tick.at).toBeGreaterThanOrEqual(0);
      expect(tick.at).toBeLessThanOrEqual(1);
    }
  });

  it("puts an epoch at the same place whatever its length", () => {
    const axis = laneAxis("epoch", [BAD, CLEAN]);
    expect(axis.of(BAD).start(10)).toBeCloseTo(axis.of(CLEAN).start(20));
    // 25 steps of ten an epoch: the last epoch was left half-way.
    expect(axis.of(BAD).start(25)).toBeCloseTo(1);
    expect(axis.of(CLEAN).start(40)).toBeCloseTo(0.8);
  });

  it("goes by each run's own clock", () => {
    const axis = laneAxis("time", [BAD, CLEAN]);
    expect(axis.of(CLEAN).start(40)).toBe(1);
    expect(axis.of(BAD).start(25)).toBeCloseTo(2.5 / 8);
  });

  it("lets all first bad steps stand at the right edge", () => {
    const axis = laneAxis("onset", [BAD, CLEAN]);
    expect(axis.of(BAD).start(13)).toBe(1);
    expect(axis.of(BAD).start(20)).toBe(1);
    expect(axis.of(CLEAN).start(40)).toBe(1);
    expect(axis.of(CLEAN).start(0)).toBe(0);
    expect(axis.ticks(400).map((t) => t.label)).toContain("−10");
  });
});
