// @vitest-environment happy-dom
import { describe, expect, it } from "vitest";
import { decodeOverview } from "../src/api/decode";
import { LANE_SERIES, type LaneSeries, LOOKED_SERIES } from "../src/api/schema.gen";
import { svgOf } from "../src/paint/svg";
import { laneAxis } from "../src/scale/axis";
import { decadeScale, nothingColour } from "../src/scale/colour";
import { createModel, INITIAL } from "../src/state/state";
import { ControlsView } from "../src/views/controls";
import { LANE_INSET, type LaneStyle, laneFacts, paintLane, SERIES_WORDS } from "../src/views/lane";

const VALUES = ["NaN", 0.01, "NaN", "NaN", 1, "NaN", "NaN", "NaN"];
const COLOURS = decadeScale("light", -3, 1);
const THIN = 5;
const WHOLE = 13;

const overview = (status: string) =>
  decodeOverview({
    schema_version: 1,
    searches: [{ search: "s" }],
    runs: [
      {
        run: "0/execution0",
        session: "s",
        search: "s",
        trial_id: "0",
        state: "finished",
        status,
        onset: status === "clean" ? null : { phase: "train", step: 6, epoch: 0, batch: 6 },
        steps: 8,
        lane: {
          steps: [0, 1, 2, 3, 4, 5, 6, 7],
          ...Object.fromEntries(LANE_SERIES.map((s) => [s, VALUES])),
        },
      },
    ],
  });

function style(series: LaneSeries, status: string): LaneStyle {
  const { trials } = createModel()({ ...INITIAL, overview: overview(status) })!;
  const axis = laneAxis(
    "linear",
    trials.flatMap((t) => t.runs),
  );
  return { theme: "light", series, axis, colours: COLOURS, width: 814, height: 20 };
}

/** Colour and height of each step's piece; a step is 100 pixels wide. */
function painted(series: LaneSeries, status: string): [string, number][] {
  const look = style(series, status);
  const svg = svgOf({
    width: 814,
    height: 20,
    draw: (c) => paintLane(c, overview(status).runs[0]!, look),
  });
  const rects = [...new DOMParser().parseFromString(svg, "image/svg+xml").querySelectorAll("rect")]
    .map((r) => Object.fromEntries([...r.attributes].map((a) => [a.name, a.value])))
    .filter((r) => Number(r.height) === THIN || Number(r.height) === WHOLE);
  return Array.from({ length: 8 }, (_, step) => {
    const x = LANE_INSET + 100 * step + 50;
    const r = rects.find((r) => Number(r.x) <= x && x < Number(r.x) + Number(r.width))!;
    return [r.fill!.startsWith("url") ? "hatch" : r.fill!, Number(r.height)];
  });
}

const nothing = nothingColour("light");
const low = COLOURS.of(-2);
const high = COLOURS.of(0);

describe("a lane", () => {
  it.each(LOOKED_SERIES)("carries %s, which is measured now and then, on as a thin line", (s) => {
    expect(painted(s, "clean")).toEqual([
      [nothing, WHOLE],
      [low, WHOLE],
      [low, THIN],
      [low, THIN],
      [high, WHOLE],
      [high, THIN],
      [high, THIN],
      [high, THIN],
    ]);
  });

  it.each(LOOKED_SERIES)("carries %s no further than to the first bad step", (series) => {
    expect(painted(series, "diverged").slice(5)).toEqual([
      [high, THIN],
      ["hatch", WHOLE],
      ["hatch", WHOLE],
    ]);
  });

  it("carries nothing that is measured at every step", () => {
    for (const series of LANE_SERIES.filter((s) => !LOOKED_SERIES.includes(s)))
      expect(painted(series, "clean").map(([colour]) => colour)).toEqual([
        nothing,
        low,
        nothing,
        nothing,
        high,
        nothing,
        nothing,
        nothing,
      ]);
  });

  it("tells in words what was measured, and says nothing of what was not", () => {
    const facts = (step: number) => {
      const pixel = LANE_INSET + 100 * step + 50;
      return laneFacts(overview("clean").runs[0]!, style("update_ratio", "clean"), pixel).join();
    };
    for (const series of LOOKED_SERIES) {
      expect(facts(4)).toContain(`${SERIES_WORDS[series]} ≈ 1`);
      expect(facts(5)).not.toContain(SERIES_WORDS[series]);
    }
  });
});

describe("after the first bad step", () => {
  const facts = (status: string, step: number) =>
    laneFacts(
      overview(status).runs[0]!,
      style("growth", status),
      LANE_INSET + 100 * step + 50,
      Object.fromEntries(
        LANE_SERIES.map((s) => [s, new Float32Array(8).fill(0)]),
      ) as unknown as Record<LaneSeries, Float32Array>,
    ).join("; ");

  it("zeros of a layer that makes 0 of NaN are not told as if it had healed", () => {
    expect(facts("diverged", 7)).toContain("means nothing");
    expect(facts("diverged", 7)).not.toContain("×0");
    expect(facts("diverged", 5)).toContain("growth ×0");
    expect(facts("runaway", 7)).not.toContain("means nothing");
  });
});

describe("the legend", () => {
  const legend = (colour: LaneSeries) => {
    const never = () => {};
    const view = new ControlsView({
      xScale: never,
      sort: never,
      facet: never,
      colour: never,
      filter: never,
      badOnly: never,
      cut: never,
    });
    const state = { ...INITIAL, overview: overview("clean"), colour };
    view.update(state, createModel()(state)!);
    return view.node.querySelector(".legend")!;
  };

  it.each(LANE_SERIES)("of %s tells of thin lines where there are any", (series) => {
    const text = legend(series).textContent!;
    expect(text.includes("thin: as last measured")).toBe(LOOKED_SERIES.includes(series));
  });

  it("says what an update-to-weight ratio is", () => {
    const node = legend("update_ratio").querySelector(".legend-scale")!;
    expect(node.textContent).toContain("largest update-to-weight ratio");
    expect([...node.querySelectorAll(".legend-labels span")].map((n) => n.textContent)).toEqual([
      "1e-4",
      "1e-3",
      "1e-2",
      "1e-1",
      "1",
      "10",
    ]);
    expect(node.getAttribute("title")).toContain("||after - before|| / ||before||");
  });
});
