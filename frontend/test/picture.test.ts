// @vitest-environment happy-dom
import { describe, expect, it } from "vitest";
import { decodeOverview } from "../src/api/decode";
import type { Ranges } from "../src/api/types";
import type { Painter } from "../src/paint/painter";
import { composed } from "../src/paint/save";
import { svgOf } from "../src/paint/svg";
import { stepScale } from "../src/scale/step";
import { valueScale } from "../src/scale/value";
import { createModel, INITIAL } from "../src/state/state";
import { scalarsHash } from "../src/views/elsewhere";
import { lanesPicture } from "../src/views/lanes_picture";
import { RANGE } from "../src/views/range_chart";
import { curveOf, paintRange, type RangeChartData, stretches } from "../src/views/range_paint";

const { NaN: nan } = Number;
const ROWS = [
  [-2, 4, 1],
  [-4, 3, 2],
  [nan, nan, nan],
  [-1, 1, 0.5],
];
const RANGES: Ranges = {
  buckets: 4,
  probes: 1,
  columns: ["min", "max", "rms"],
  countColumns: ["num_nan", "num_pos_inf", "num_neg_inf"],
  steps: Float32Array.from([0, 0, 1, 1, 2, 2, 3, 3]),
  stats: Float32Array.from(ROWS.flat()),
  counts: new Float32Array(12),
  badSteps: Float32Array.from([0, 0, 1, 0]),
  measured: new Float32Array(4),
};
const DATA: RangeChartData = {
  texts: RANGE,
  ranges: RANGES,
  probe: { kind: "loss", name: "total", layer: "", dtype: "float32", shape: [] },
  index: 0,
  axis: { title: "step", ...stepScale("linear", 4) },
  theme: "light",
  onset: 2,
};

describe("range chart", () => {
  it("has gaps where nothing finite was measured, never a zero", () => {
    const curve = curveOf(DATA, "symlog");
    expect(curve.line[2]).toBeNaN();
    expect(stretches(curve.top, curve.bottom)).toEqual([
      [0, 1],
      [3, 3],
    ]);
  });

  it("shows sizes on a logarithmic axis: from rms to the largest", () => {
    const curve = curveOf(DATA, "log");
    expect(curve.top.slice(0, 2)).toEqual([4, 4]);
    expect(curve.bottom.slice(0, 2)).toEqual([1, 2]);
  });
});

describe("vertical axes", () => {
  it.each(["linear", "symlog", "log"] as const)("%s keeps the order and labels inside", (name) => {
    const values = [1e-6, 0.02, 1, 40, 3e5];
    const scale = valueScale(name, [...values, nan, Number.POSITIVE_INFINITY]);
    const places = values.map((v) => scale.at(v)!);
    expect(places).toEqual(places.toSorted((a, b) => a - b));
    expect(Math.min(...places)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...places)).toBeLessThanOrEqual(1);
    const ticks = scale.ticks(200);
    expect(ticks.length).toBeGreaterThan(1);
    for (const tick of ticks) expect(scale.at(tick)).toBeGreaterThanOrEqual(0);
    expect(scale.at(nan)).toBeNull();
  });

  it("has no logarithm of what is not positive, and room for what never changes", () => {
    expect(valueScale("log", [-1, 0, 5]).at(-1)).toBeNull();
    expect(valueScale("log", [5]).ticks(200).length).toBeGreaterThan(0);
    expect(valueScale("linear", [5, 5]).at(5)).toBeCloseTo(0.5);
    expect(valueScale("symlog", []).at(0)).toBeCloseTo(0.5);
  });
});

const parsed = (svg: string) =>
  new DOMParser().parseFromString(svg, "image/svg+xml").documentElement;

describe("SVG", () => {
  it("holds the band, the line in two stretches, the hatch and the labels", () => {
    const style = { ground: "#fff", ink: "#000", family: 'Arial, "Segoe UI"' };
    const part = {
      width: 300,
      height: 150,
      draw: (c: Painter) => paintRange(c, DATA, "linear", 300, 150, style.family),
    };
    const svg = svgOf(composed('<img src=x onerror="alert(1)">', [part], style));
    const root = parsed(svg);
    expect(root.getAttribute("viewBox")).toBe("0 0 336 202");
    expect(root.querySelector("img")).toBeNull();
    expect(root.textContent).toContain("<img src=x");
    expect(root.querySelectorAll("pattern")).toHaveLength(1);
    expect(svg).not.toContain("NaN");
    expect(root.querySelectorAll('path[stroke-width="1.75"]')).toHaveLength(2);
  });
});

describe("the table as a picture", () => {
  const run = (id: string, more: object) => ({
    run: `${id}/execution0`,
    session: "s",
    search: "a",
    trial_id: id,
    number: Number(id) + 1,
    state: "finished",
    status: "clean",
    steps: 300,
    score: 1.5,
    hparams: { rate: 0.1 },
    ...more,
  });
  const onset = { phase: "validation", step: 290, epoch: 9, batch: 22 };
  const bad = { status: "score_lost", onset };
  const drawn = (runs: object[]) => {
    const overview = decodeOverview({ schema_version: 1, searches: [{ search: "a" }], runs });
    const state = { ...INITIAL, overview };
    const picture = lanesPicture(state, createModel()(state)!, "Arial");
    const root = parsed(svgOf(picture));
    return { picture, texts: [...root.querySelectorAll("text")] };
  };

  it("cuts no status, and says what was scored anyway", () => {
    const { picture, texts } = drawn([run("0", bad), run("1", { ...bad, misread: "stale_score" })]);
    const words = texts.map((t) => t.textContent);
    expect(words.filter((w) => w === "score lost validation of epoch 10")).toHaveLength(2);
    expect(words.filter((w) => w === "scored anyway")).toHaveLength(1);
    const ends = texts.map((t) => Number(t.getAttribute("x")) + 7 * t.textContent!.length);
    expect(Math.max(...ends)).toBeLessThanOrEqual(picture.width);
    // The mirror: where nothing was, there is no badge.
    expect(drawn([run("0", bad)]).texts.map((t) => t.textContent)).not.toContain("scored anyway");
  });

  it("has its verdict in as many lines as it takes", () => {
    const part = { width: 300, height: 50, draw: () => {} };
    const style = { ground: "#fff", ink: "#000", family: "Arial" };
    const title = "4 of 24 trials went bad. ".repeat(6).trim();
    const whole = composed(title, [part], style);
    const lines = [...parsed(svgOf(whole)).querySelectorAll("text")].map((t) => t.textContent!);
    expect(lines.join(" ")).toBe(title);
    expect(lines.length).toBeGreaterThan(2);
    for (const line of lines) expect(7 * line.length).toBeLessThanOrEqual(300);
    expect(whole.height).toBe(composed("one", [part], style).height + 18 * (lines.length - 1));
  });
});

describe("links to other tabs", () => {
  it("check the run and what lies below it, not its namesakes", () => {
    const hash = scalarsHash("a+b/10/execution0");
    const pattern = new RegExp(decodeURIComponent(hash.split("regexInput=")[1]!));
    expect(pattern.test("a+b/10/execution0/train")).toBe(true);
    expect(pattern.test("a+b/10/execution0")).toBe(true);
    expect(pattern.test("a+b/10/execution01")).toBe(false);
    expect(pattern.test("x/a+b/10/execution0")).toBe(false);
  });
});
