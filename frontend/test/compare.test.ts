// @vitest-environment happy-dom
import { describe, expect, it } from "vitest";
import { decodeOverview, decodeRunComparison, decodeSearchComparison } from "../src/api/decode";
import { NO_LANE } from "../src/api/lane";
import { type LaneSeries, LOOKED_SERIES } from "../src/api/schema.gen";
import { laneAxis } from "../src/scale/axis";
import { hparamAxis, kept, outcomeAxes, varying } from "../src/state/compare/axes";
import { courseOf, nearestTo } from "../src/state/compare/course";
import { differences, nearestOther, pairOf, partingOf } from "../src/state/compare/nearest";
import { partsOf, rateOf } from "../src/state/compare/parts";
import { INITIAL_COMPARE } from "../src/state/compare/state";
import { tileLength, tiles } from "../src/state/compare/tiles";
import { createModel, INITIAL } from "../src/state/state";
import { PairView } from "../src/views/compare/pair";
import { otherOf, SearchesView, spaceText } from "../src/views/compare/searches";
import { TrialsView } from "../src/views/compare/trials";
import { ValuesView } from "../src/views/compare/values";

const NO_TOOLTIP = { show: () => {}, hide: () => {} };
const SPACE = [
  { name: "rate", type: "float", min: 1e-4, max: 1, sampling: "log" },
  { name: "kind", type: "choice", values: ["sgd", "adam"] },
  { name: "momentum", type: "float", min: 0, max: 1 },
  { name: "same", type: "int", min: 1, max: 9 },
];

const lane = (loss: (number | string)[]) => ({
  steps: loss.map((_, i) => i),
  loss,
  growth: loss.map(() => 1),
});

// SGD goes bad at 0.1 and above; momentum is a hyperparameter of SGD only.
const RUNS = [1e-3, 1e-2, 0.1, 1].flatMap((rate, i) =>
  ["sgd", "adam"].map((kind) => {
    const bad = kind === "sgd" && rate >= 0.1;
    return {
      run: `${kind}${i}/execution0`,
      session: "s",
      search: "new",
      trial_id: `${kind}${i}`,
      name: `Trial ${kind}${i}`,
      state: "finished",
      status: bad ? "diverged" : "clean",
      onset: bad ? { phase: "train", step: 2, epoch: 0, batch: 2 } : null,
      score: bad ? "NaN" : rate,
      steps: 4,
      hparams: { rate, kind, same: 3, ...(kind === "sgd" && { momentum: 0.5 + i / 10 }) },
      inactive: kind === "sgd" ? [] : ["momentum"],
      lane: lane(bad ? [1, 50, "Infinity", "NaN"] : [1, 0.9, 0.8, 0.7]),
    };
  }),
);

const OVERVIEW = decodeOverview({
  schema_version: 1,
  searches: [
    {
      search: "new",
      name: "wide",
      started: 200,
      hparams: SPACE,
      rates: [
        { hparam: "kind", label: "sgd", bad: 2, total: 4, low: 0.15, high: 0.85 },
        { hparam: "kind", label: "adam", bad: 0, total: 4, low: 0, high: 0.49 },
      ],
    },
    { search: "old", name: "wide", started: 100, hparams: [{ ...SPACE[0], max: 10 }] },
  ],
  runs: RUNS,
});

const STATE = { ...INITIAL, search: "new", overview: OVERVIEW };
const MODEL = createModel()(STATE)!;
const never = () => new Promise<never>(() => {});
const trial = (id: string) => MODEL.trials.find((t) => t.id === id)!;

describe("axes", () => {
  it("drop no trial: what is inactive has a place of its own", () => {
    expect(varying(MODEL).sort()).toEqual(["kind", "momentum", "rate"]);
    const axis = hparamAxis(MODEL, "momentum");
    expect(axis.at(trial("adam0"))).toBeNull();
    expect(axis.at(trial("sgd0"))).not.toBeNull();
    const [onset, score] = outcomeAxes(MODEL);
    expect(onset!.at(trial("sgd3"))).not.toBeNull();
    expect(onset!.at(trial("adam3"))).toBeNull();
    expect(score!.at(trial("sgd3"))).toBeNull();
  });

  it("label decades of a logarithmic one, and all of a few values", () => {
    expect(hparamAxis(MODEL, "rate").ticks.map((t) => t.label)).toEqual([
      "1e-4",
      "0.001",
      "0.01",
      "0.1",
      "1",
    ]);
    expect(hparamAxis(MODEL, "kind").ticks.map((t) => t.label)).toEqual(["sgd", "adam"]);
  });

  it("are brushed together, and by having no place", () => {
    const axes = ["rate", "momentum"].map((n) => hparamAxis(MODEL, n));
    const ids = (brushes: Record<string, [number, number]>) =>
      MODEL.trials.filter((t) => kept(t, axes, brushes)).map((t) => t.id);
    expect(ids({ rate: [0.7, 1] }).sort()).toEqual(["adam2", "adam3", "sgd2", "sgd3"]);
    expect(ids({ rate: [0.7, 1], momentum: [-1, -1] }).sort()).toEqual(["adam2", "adam3"]);
    expect(ids({ momentum: [0, 1] })).toHaveLength(4);
    expect(ids({})).toHaveLength(8);
  });
});

describe("rates", () => {
  it("count every trial in one part", () => {
    for (const name of ["rate", "kind", "momentum"]) {
      const parts = partsOf(MODEL.ranking.scales.get(name)!, MODEL.trials);
      const counted = parts.map((p) => MODEL.trials.filter((t) => p.holds(t.hparams[name])).length);
      expect(counted.reduce((a, b) => a + b)).toBe(8);
      expect(Math.min(...counted)).toBeGreaterThan(0);
    }
    expect(rateOf(MODEL.trials)).toMatchObject({ bad: 2, total: 8 });
  });

  it("bin many numbers into parts of about the same size", () => {
    const trials = Array.from({ length: 40 }, (_, i) => ({
      ...trial("sgd0"),
      hparams: { rate: 10 ** (-i / 10) },
    }));
    const parts = partsOf(MODEL.ranking.scales.get("rate")!, trials);
    expect(parts.map((p) => trials.filter((t) => p.holds(t.hparams.rate)).length)).toEqual([
      10, 10, 10, 10,
    ]);
  });
});

describe("two trials", () => {
  it("are a bad one and the one of the other fate that is most like it", () => {
    expect(nearestOther(MODEL, trial("sgd2"))!.id).toBe("sgd1");
    const keys = pairOf(MODEL, null, "s/sgd3/execution0").map(([t]) => t.id);
    expect(keys[0]).toBe("sgd3");
    expect(trial(keys[1]!).bad).toBe(false);
    expect(
      pairOf(MODEL, ["s/adam0/execution0", "s/sgd0/execution0"], null).map(([t]) => t.id),
    ).toEqual(["adam0", "sgd0"]);
  });

  it("differ first where they differ, an inactive value too", () => {
    const found = differences(MODEL, trial("sgd2"), trial("adam2"));
    expect(
      found
        .filter((d) => !d.same)
        .map((d) => d.name)
        .sort(),
    ).toEqual(["kind", "momentum"]);
    expect(found.at(-1)!.same).toBe(true);
  });

  it("part at the first step that differs tenfold, and never where they do not", () => {
    const run = (id: string) => trial(id).runs[0]!;
    expect(partingOf(run("sgd3"), run("adam0"))).toMatchObject({
      step: 1,
      series: "loss",
      left: 50,
    });
    expect(partingOf(run("sgd0"), run("adam0"))).toBeNull();
    // Two runs are looked at in full at different times: that parts them nowhere.
    const looked = (name: string, series: LaneSeries, ...values: number[]) => {
      const { lane, ...rest } = run(name);
      return {
        ...rest,
        lane: { ...lane, series: { ...lane.series, [series]: Float64Array.from(values) } },
      };
    };
    for (const series of ["weight", ...LOOKED_SERIES] as const) {
      const parting = partingOf(
        looked("sgd0", series, 1, 99, 1, 1),
        looked("adam0", series, 1, 1, 1, 1),
      );
      expect(parting?.series ?? null).toBe(series === "weight" ? series : null);
    }
  });

  it("stand side by side", () => {
    const view = new TrialsView({ compare: never, runs: () => {}, open: () => {} }, NO_TOOLTIP);
    const runs = ["s/sgd3/execution0", "s/adam3/execution0"] as const;
    view.update({ ...STATE, compare: { ...INITIAL_COMPARE, runs } }, MODEL);
    const text = view.node.textContent!;
    expect(text).toContain("They first differ by step 1: loss 50 against 0.9");
    expect(text).toContain("hyperparameters: 2 differ");
    expect(view.node.querySelectorAll(".two-lane canvas.lane")).toHaveLength(2);
    // Only what was measured has a chart; what it shows is said in words, too.
    const charts = [...view.node.querySelectorAll(".course [role=img]")];
    expect(charts.map((c) => c.getAttribute("aria-label"))).toEqual([
      "growth over the run's first step: Trial sgd3 from 1 to 1, Trial adam3 from 1 to 1",
      "loss: Trial sgd3 from 1 to 50, Trial adam3 from 1 to 0.7",
    ]);
  });

  it("have no charts where nothing was measured", () => {
    const view = new TrialsView({ compare: never, runs: () => {}, open: () => {} }, NO_TOOLTIP);
    const bare = { ...OVERVIEW, runs: OVERVIEW.runs.map((r) => ({ ...r, lane: NO_LANE })) };
    const state = { ...STATE, overview: bare };
    view.update(state, createModel()(state)!);
    expect(view.node.querySelectorAll(".course")).toHaveLength(0);
    expect(view.node.querySelector(".course-key")).toBeNull();
  });

  it("are drawn as far as they mean something", () => {
    const run = (id: string) => MODEL.trials.find((t) => t.id === id)!.runs[0]!;
    const axis = laneAxis("linear", [run("sgd3")]);
    const course = courseOf(run("sgd3"), "loss", axis);
    // The weights are lost from step 2 on; a step is a quarter of the axis.
    expect(course.at).toEqual([0.125, 0.375, 0.625, 0.875]);
    expect(course.values).toEqual([1, 50, Number.NaN, Number.NaN]);
    expect(nearestTo(course, 0.9)).toBe(1);
    expect(courseOf(run("adam3"), "loss", axis).values).toEqual([1, 0.9, 0.8, 0.7]);
    const none = courseOf(run("sgd3"), "weight", axis);
    expect(nearestTo(none, 0.5)).toBe(-1);
    const { lane, ...rest } = run("adam3");
    const now = Float64Array.of(Number.NaN, 3, Number.NaN, 4);
    const series = { ...lane.series, update_ratio: now, weight: now };
    const looked = { ...rest, lane: { ...lane, series } };
    // A measurement now and then is a line of points; a gap in every step's series is a gap.
    expect(courseOf(looked, "update_ratio", axis).values).toEqual([3, 4]);
    expect(courseOf(looked, "weight", axis).values).toEqual([Number.NaN, 3, Number.NaN, 4]);
  });
});

describe("what the server compares", () => {
  const turn = () => new Promise((resolve) => setTimeout(resolve));

  it("stands in place of the lanes' guess, and where it fails, why", async () => {
    const answer = decodeRunComparison({
      verdict: "The learning rate is 100 times higher. They first differ at step 1, in loss.",
      differences: [
        { topic: "hparam", name: "rate", likely: true, text: "rate is 1 against 0.01." },
        { topic: "data", name: "label.range", text: "Labels are larger." },
      ],
      parting: { step: 1, last_step: 1, text: "They first differ at step 1, in loss." },
    });
    const view = new TrialsView(
      {
        compare: () => Promise.resolve(answer),
        runs: () => {},
        open: () => {},
      },
      NO_TOOLTIP,
    );
    view.update(STATE, MODEL);
    expect(view.node.querySelectorAll('[data-fact="parting"]')).toHaveLength(1);
    await turn();
    const parting = view.node.querySelectorAll('[data-fact="parting"]');
    expect([...parting].map((p) => p.textContent)).toEqual([
      "They first differ at step 1, in loss.",
    ]);
    for (const text of ["100 times higher", "Labels are larger"])
      expect(view.node.textContent).toContain(text);

    const failing = new TrialsView(
      {
        compare: () => Promise.reject(new Error("no such run")),
        runs: () => {},
        open: () => {},
      },
      NO_TOOLTIP,
    );
    failing.update(STATE, MODEL);
    await turn();
    expect(failing.node.textContent).toContain("Not compared in full: no such run");
    expect(failing.node.textContent).toContain("They first differ by step");
  });

  it("asks for two searches in the order of their time, once", async () => {
    const asked: string[][] = [];
    const view = new SearchesView({
      compare: (...searches) => {
        asked.push(searches.slice(0, 2) as string[]);
        return Promise.resolve(decodeSearchComparison({ verdict: "Fewer." }));
      },
      against: () => {},
    });
    view.update(STATE, MODEL);
    await turn();
    view.update({ ...STATE }, MODEL);
    expect(asked).toEqual([["old", "new"]]);
    expect(view.node.textContent).toContain("Fewer.");
  });

  it("takes no score of a trial that went bad for the best", () => {
    const runaway = { ...RUNS[0], run: "r/execution0", trial_id: "r", name: "Trial r" };
    const overview = decodeOverview({
      schema_version: 1,
      searches: [
        { search: "new", name: "wide", direction: "min", started: 200 },
        { search: "old", name: "wide", direction: "min", started: 100 },
      ],
      runs: [...RUNS, { ...runaway, status: "runaway", score: 1e-5 }],
    });
    const view = new SearchesView({ compare: never, against: () => {} });
    const state = { ...STATE, overview };
    view.update(state, createModel()(state)!);
    const rows = [...view.node.querySelectorAll("tr")].map((row) => row.textContent);
    expect(rows).toContain("≠ best score–0.001");
  });
});

describe("values", () => {
  it("stand with rates and intervals, and lead to a pair", () => {
    const asked: string[] = [];
    const view = new ValuesView((name) => asked.push(name));
    view.update(MODEL);
    const rows = [...view.node.querySelectorAll("tbody tr")].map((r) => r.textContent);
    expect(rows).toEqual(["sgd✖ 2 of 415–85 %", "adam0 of 40–49 %"]);
    view.node.querySelector("button")!.click();
    expect(asked).toEqual(["kind"]);
  });

  it("say what to expect where there are none", () => {
    const view = new ValuesView(() => {});
    view.update(createModel()({ ...STATE, search: "old" })!);
    expect(view.node.textContent).toContain("counted once they end");
  });
});

describe("two hyperparameters", () => {
  it("give a cell for each part of both, inactive ones too", () => {
    const view = new PairView({ pair: () => {}, select: () => {} }, { show() {}, hide() {} });
    const compare = { ...INITIAL_COMPARE, pair: ["momentum", "kind"] as const };
    view.update({ ...STATE, compare }, MODEL);
    const table = view.node.querySelector("table.cells")!;
    const heads = [...table.querySelectorAll("thead th")].map((h) => h.textContent);
    expect(heads.at(-1)).toBe("not active");
    const rows = [...table.querySelectorAll("tbody tr")].map((r) => r.textContent);
    expect(rows).toContain("adam····0/4");
    expect(rows.find((r) => r!.startsWith("sgd"))).toContain("✖ 1/1");
  });
});

describe("tiles of many trials", () => {
  it("hold every trial once, on a value of few or in a grid of many", () => {
    const { trials } = MODEL;
    const [rate, kind] = [hparamAxis(MODEL, "rate"), hparamAxis(MODEL, "kind")];
    expect(tileLength(kind, 300)).toBe(56);
    expect(tileLength({ ...rate, levels: 400 }, 300)).toBe(14);
    const place = (axis: typeof rate) => (t: (typeof trials)[number]) => 300 * axis.at(t)!;
    const across = place(rate);
    const found = tiles(trials, across, place(kind), () => ({
      width: 14,
      height: 56,
    }));
    expect(found.flatMap((p) => p.trials.map((t) => t.id)).toSorted()).toEqual(
      trials.map((t) => t.id).toSorted(),
    );
    // Four rates and two kinds, apart.
    expect(found.length).toBe(8);
    for (const { trials: inside, x, y, width } of found) {
      expect(Math.abs(across(inside[0]!) - x)).toBeLessThanOrEqual(width / 2);
      expect([0, 300]).toContain(y);
    }
    const together = tiles(
      trials,
      () => 20,
      () => 20,
      () => ({ width: 14, height: 14 }),
    );
    expect(together.map((p) => [p.trials.length, p.x, p.y])).toEqual([[trials.length, 21, 21]]);
  });

  it("are what is said of a crowd, marks of a few", () => {
    const view = new PairView({ pair: () => {}, select: () => {} }, { show() {}, hide() {} });
    view.update(STATE, MODEL);
    expect(view.node.textContent).toContain("a mark is a trial: ✖ went bad");
    const trials = Array.from({ length: 401 }, (_, i) => MODEL.trials[i % MODEL.trials.length]!);
    view.update(STATE, { ...MODEL, trials });
    expect(view.node.textContent).toContain("a tile is several trials");
  });
});

describe("two searches", () => {
  it("are by themselves the shown one and the older one of its project", () => {
    const search = (id: string, name: string, started: number) => ({
      ...OVERVIEW.searches[0]!,
      search: id,
      name,
      started,
    });
    const wide = search("1", "wide", 100);
    const loss = search("0", "loss", 90);
    const edited = search("3", "wide", 300);
    const renamed = search("4", "wide_2", 400);
    const bare = search("", "", 101);
    expect(otherOf([renamed, wide, loss, bare], edited, null)).toBe(wide);
    // The nearest before it; never one of another name, nor one that came after it.
    const again = { ...wide, search: "5", started: edited.started + 1 };
    expect(otherOf([wide, edited, loss], again, null)).toBe(edited);
    expect(otherOf([renamed, edited, loss, bare], wide, null)).toBeNull();
    expect(otherOf([wide, edited], renamed, null)).toBeNull();
    expect(otherOf([wide, edited], bare, null)).toBeNull();
  });

  it("are the chosen ones where one is chosen", () => {
    const [shown, old] = OVERVIEW.searches;
    expect(otherOf([], shown!, null)).toBeNull();
    const newer = { ...shown!, search: "newer", started: 300 };
    expect(otherOf([newer, old!], shown!, "old")).toBe(old);
    expect(otherOf([newer, old!], shown!, "newer")).toBe(newer);
  });

  it("show the older on the left, with what changed in the space", () => {
    const view = new SearchesView({ compare: never, against: () => {} });
    view.update(STATE, MODEL);
    const rows = [...view.node.querySelectorAll("tr")].map((r) => r.textContent);
    expect(rows).toContain("≠ rate1e-4 to 10, log1e-4 to 1, log");
    expect(rows).toContain("≠ kindabsentsgd, adam");
    expect(rows).toContain("≠ diverged02");
    // The same values in both: how many went bad; an empty side has none.
    const kind = [...view.node.querySelectorAll(".by-value")].find(
      (c) => c.querySelector("h2")!.textContent === "kind",
    )!;
    const kinds = [...kind.querySelectorAll("tbody tr")].map((r) => r.textContent);
    expect(kinds).toEqual(expect.arrayContaining(["sgd–2 of 4 (15–85 %)", "adam–0 of 4 (0–49 %)"]));
    expect([...kind.querySelectorAll(".some")].map((c) => c.textContent)).toEqual([
      "2 of 4 (15–85 %)",
    ]);
  });

  it("say what to do where there is one only", () => {
    const view = new SearchesView({ compare: never, against: () => {} });
    const overview = { ...OVERVIEW, searches: OVERVIEW.searches.slice(0, 1) };
    const state = { ...STATE, overview };
    view.update(state, createModel()(state)!);
    expect(view.node.textContent).toContain("overwrite=True");
    expect(view.node.querySelector<HTMLElement>(".compare-controls")!.hidden).toBe(true);
  });

  it("can be chosen where none is an older one of the project", () => {
    const asked: string[] = [];
    const view = new SearchesView({ compare: never, against: (s) => asked.push(s) });
    const [shown, old] = OVERVIEW.searches;
    const overview = { ...OVERVIEW, searches: [shown!, { ...old!, name: "another" }] };
    const state = { ...STATE, overview };
    view.update(state, createModel()(state)!);
    expect(view.node.querySelector(".note")!.textContent).toMatch(/no older search .*"wide"/);
    const select = view.node.querySelector("select")!;
    expect(select.value).toBe("");
    select.value = "old";
    select.dispatchEvent(new Event("change"));
    expect(asked).toEqual(["old"]);
  });

  it("write a space as people do", () => {
    const space = (h: object) =>
      spaceText(
        decodeOverview({ searches: [{ hparams: [{ name: "x", ...h }] }] }).searches[0]!.hparams[0]!,
      );
    expect(space({ type: "int", min: 16, max: 64, step: 16, sampling: "linear" })).toBe(
      "16 to 64, step 16",
    );
    expect(space({ type: "boolean" })).toBe("True, False");
    expect(space({ type: "number" })).toBe("number");
  });
});
