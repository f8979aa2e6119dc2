import { describe, expect, it } from "vitest";
import type { HParam } from "../src/api/schema.gen";
import { growthScale } from "../src/scale/colour";
import { hparamScale } from "../src/scale/hparam";
import { stepScale } from "../src/scale/step";
import { symlog, symlogUnit } from "../src/scale/symlog";
import { valueScale } from "../src/scale/value";

const SPACE: HParam = {
  name: "x",
  type: "float",
  active: true,
  min: 1e-4,
  max: 1,
  step: null,
  sampling: "log",
  values: null,
  ordered: null,
  default: null,
  conditions: [],
};

describe("steps", () => {
  it("gives early steps room, and comes back to the same step", () => {
    const scale = stepScale("log", 1000);
    expect(scale.start(0)).toBe(0);
    expect(scale.start(1000)).toBe(1);
    expect(scale.start(1)).toBeGreaterThan(0.1);
    for (const step of [0, 1, 37, 999]) expect(scale.invert(scale.middle(step))).toBe(step);
  });

  it("labels no two ticks over each other", () => {
    for (const name of ["log", "linear"] as const) {
      for (const steps of [1, 7, 640, 1_000_000]) {
        const ticks = stepScale(name, steps).ticks(400);
        expect(ticks[0]?.step).toBe(0);
        for (let i = 1; i < ticks.length; i++) {
          expect((ticks[i]!.at - ticks[i - 1]!.at) * 400).toBeGreaterThanOrEqual(38);
        }
      }
    }
  });
});

describe("hyperparameters", () => {
  it("follows the sampling between the bounds of the space", () => {
    const scale = hparamScale(SPACE, [1e-2]);
    expect(scale.log).toBe(true);
    expect(scale.at(1e-2)).toBeCloseTo(0.5);
    expect(scale.at(null)).toBeNull();
    expect(hparamScale({ ...SPACE, sampling: "linear", min: 0 }, [0.5]).at(0.5)).toBeCloseTo(0.5);
  });

  it("keeps the declared order of categories", () => {
    const choice: HParam = {
      ...SPACE,
      type: "choice",
      min: null,
      max: null,
      sampling: null,
      values: ["sgd", "adam"],
    };
    const scale = hparamScale(choice, ["adam"]);
    expect(scale.numeric).toBe(false);
    expect(scale.order("sgd")).toBeLessThan(scale.order("adam"));
    expect(scale.order(undefined)).toBe(Number.POSITIVE_INFINITY);
  });
});

describe("colour", () => {
  it("has an answer for every decade", () => {
    for (const theme of ["light", "dark"] as const) {
      const scale = growthScale(theme);
      for (const decade of [-99, 0, 0.5, 1, 12, 30, 400])
        expect(scale.of(decade)).toMatch(/^rgb\(/);
      expect(scale.of(0)).not.toBe(scale.of(1));
    }
  });
});

describe("symmetric log", () => {
  it("is its own inverse, and keeps signs and zero", () => {
    const scale = symlog(1e-3);
    for (const v of [-1e20, -3, 0, 1e-4, 7e5]) {
      expect(scale.inverse(scale.forward(v))).toBeCloseTo(
        v,
        v === 0 ? 10 : -Math.log10(Math.abs(v)) + 6,
      );
    }
    expect(scale.ticks(-3, 3, 6)).toContain(0);
  });

  it("draws nothing but zero as zero, however far below the largest", () => {
    expect(symlogUnit([])).toBe(1);
    for (const least of [1, 1e-7]) {
      const sizes = [least, 1e3, 1e38];
      const { at } = valueScale("symlog", sizes);
      expect(at(least)! - at(0)!).toBeGreaterThan(0.01);
      expect(at(1e3)! - at(least)!).toBeGreaterThan(0.05);
    }
    // What the band does near zero is told by the line.
    expect(valueScale("symlog", [-1e-30, 5], [1, 5]).at(1)).toBeGreaterThan(0.3);
  });
});
