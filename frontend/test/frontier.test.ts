import { describe, expect, it } from "vitest";
import { decodeOverview } from "../src/api/decode";
import { laneAxis } from "../src/scale/axis";
import { panned, stretch, WHOLE, zoomedAxis, zoomedBy } from "../src/scale/zoom";
import { parseFilter, withRange } from "../src/state/filter";
import { createModel, INITIAL } from "../src/state/state";
import { removable, toggled } from "../src/state/without";

const OVERVIEW = decodeOverview({
  schema_version: 1,
  searches: [
    {
      search: "s",
      direction: "min",
      hparams: [
        { name: "optimizer", type: "choice", values: ["sgd", "adam", "rms"], default: "sgd" },
        { name: "rate", type: "float", min: 1e-4, max: 1, sampling: "log" },
      ],
    },
  ],
  runs: [
    ["sgd", "diverged", "NaN"],
    ["sgd", "diverged", "NaN"],
    ["sgd", "clean", 3],
    ["adam", "clean", 1],
    ["rms", "clean", 2],
  ].map(([optimizer, status, score], i) => ({
    run: String(i),
    session: "s",
    search: "s",
    trial_id: String(i),
    state: "finished",
    status,
    score,
    steps: 100,
    hparams: { optimizer, rate: 10 ** (-i / 2) },
  })),
});

const modelOf = (removed: ReturnType<typeof toggled>) =>
  createModel()({ ...INITIAL, overview: OVERVIEW, removed })!;

describe("bands that are checked off", () => {
  it("say what goes and what is lost", () => {
    const sgd = toggled(null, "optimizer", "sgd");
    const { removed } = modelOf(sgd);
    expect(removed!.outcome).toEqual({
      ...{ bad: 2, removedBad: 2, clean: 3, removedClean: 1, keepsBest: true },
    });
    expect(removed!.edit).toBeUndefined();
    const both = toggled(sgd, "optimizer", "adam");
    expect(modelOf(both).removed!.outcome.keepsBest).toBe(false);
    expect(toggled(toggled(both, "optimizer", "sgd"), "optimizer", "adam")).toBeNull();
  });

  it("are those of choices alone, and of one hyperparameter at a time", () => {
    const { space } = modelOf(null).ranking;
    expect(removable(space, "optimizer")).toBe(true);
    expect(removable(space, "rate")).toBe(false);
    const other = toggled(toggled(null, "optimizer", "sgd"), "flag", true);
    expect(other).toEqual({ hparam: "flag", values: [true] });
  });
});

describe("a range that is dragged over", () => {
  it("becomes bounds in the filter, in the place of earlier ones", () => {
    const text = withRange("-clean rate>=0.5 units>64", "rate", [0.0123456, 0.2]);
    expect(text).toBe("-clean units>64 rate>=0.0123 rate<=0.2");
    expect(withRange(text, "rate", null)).toBe("-clean units>64");
    const spaced = withRange("", "my rate", [1, 2]);
    expect(spaced).toBe('"my rate">=1 "my rate"<=2');
    expect(withRange(spaced, "my rate", null)).toBe("");
    expect(parseFilter(spaced, ["my rate"]).problems).toEqual([]);
  });
});

describe("a zoomed axis", () => {
  const axis = laneAxis("linear", OVERVIEW.runs);
  const run = OVERVIEW.runs[0]!;

  it("spreads its part over the whole width, ticks and steps alike", () => {
    const half = zoomedAxis(axis, [0.5, 1]);
    expect(half.of(run).start(50)).toBeCloseTo(0);
    expect(half.of(run).start(75)).toBeCloseTo(0.5);
    expect(half.of(run).start(0)).toBeCloseTo(-1);
    expect(half.of(run).invert(0.5)).toBe(75);
    const ticks = half.ticks(400);
    expect(ticks.length).toBeGreaterThan(1);
    for (const tick of ticks) expect(tick.at).toBeGreaterThanOrEqual(0);
    expect(zoomedAxis(axis, WHOLE)).toBe(axis);
  });

  it("keeps what is under the pointer, and stays within the whole", () => {
    const zoom = zoomedBy(WHOLE, 0.5, 0.8);
    expect(zoom[0] + 0.8 * (zoom[1] - zoom[0])).toBeCloseTo(0.8);
    expect(zoomedBy(zoom, 4, 0.5)).toBe(WHOLE);
    expect(panned([0.2, 0.4], -9)).toEqual([0, 0.2]);
    expect(panned([0.2, 0.4], 9)[1]).toBe(1);
    const [from, to] = stretch([0.5, 1], 0.6, 0.2);
    expect([from, to]).toEqual([expect.closeTo(0.6), expect.closeTo(0.8)]);
    // A click, or a narrower stretch than can be shown.
    const narrow = zoomedBy([0.5, 0.501], 0.001, 0.5);
    expect(narrow[1] - narrow[0]).toBeCloseTo(0.005);
  });
});
