import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { decodeOverview } from "../src/api/decode";
import type { HParam, JSONScalar, Status } from "../src/api/schema.gen";
import type { Overview, RunSummary } from "../src/api/types";
import { linesOf, rank, sortTrials } from "../src/state/order";
import { separations } from "../src/state/rank";
import { createModel, INITIAL } from "../src/state/state";
import { createStore } from "../src/state/store";
import { familiesOf, type Trial, trialsOf } from "../src/state/trials";
import { reveal, sumHeights, visible } from "../src/state/window";

const REAL: Overview = decodeOverview(
  JSON.parse(readFileSync(new URL("./golden/overview.json", import.meta.url), "utf-8")),
);

function run(fields: Partial<RunSummary>): RunSummary {
  const [plain] = decodeOverview({
    schema_version: 1,
    runs: [{ run: "r", session: "s", status: "clean", state: "finished" }],
  }).runs;
  return { ...plain!, ...fields };
}

function overviewOf(runs: RunSummary[], hparams: HParam[] = []): Overview {
  const decoded = decodeOverview({ schema_version: 1, searches: [{ search: "" }] });
  return { ...decoded, runs, searches: [{ ...decoded.searches[0]!, hparams }] };
}

function trial(id: string, hparams: Record<string, JSONScalar>, onset: number | null): Trial {
  const status: Status = onset === null ? "clean" : "diverged";
  const position =
    onset === null ? null : { phase: "train" as const, step: onset, epoch: 0, batch: onset };
  return trialsOf(overviewOf([run({ run: id, hparams, status, onset: position })]), "")[0]!;
}

describe("trials", () => {
  it("gathers executions, and the worst of them decides", () => {
    const trials = trialsOf(
      overviewOf([
        run({ run: "1/execution1", trial_id: "1", execution: 1, status: "diverged" }),
        run({ run: "1/execution0", trial_id: "1", execution: 0 }),
        run({ run: "2/execution0", trial_id: "2" }),
      ]),
      "",
    );
    expect(trials.map((t) => [t.id, t.status, t.runs.length])).toEqual([
      ["1", "diverged", 2],
      ["2", "clean", 1],
    ]);
    expect(trials[0]!.runs.map((r) => r.execution)).toEqual([0, 1]);
  });

  it("lets a retry decide over what it replaced", () => {
    const trials = trialsOf(
      overviewOf([
        run({ run: "1", session: "a", trial_id: "1", status: "diverged", superseded: true }),
        run({ run: "1", session: "b", trial_id: "1", status: "clean", retry: 1 }),
      ]),
      "",
    );
    expect(trials).toHaveLength(1);
    expect(trials[0]).toMatchObject({ status: "clean", bad: false });
    expect(trials[0]!.runs).toHaveLength(2);
  });

  it("keeps what goes on with a trial below it, and counts both as one for a cut", () => {
    const going = (id: string, from: string | null, round: number, status: Status) =>
      run({
        run: id,
        trial_id: id,
        status,
        hparams: { x: round },
        lineage: { trial_id: from, initial_epoch: 0, epochs: 2, bracket: 1, round },
      });
    const trials = trialsOf(
      overviewOf([
        going("2", "0", 1, "clean"),
        going("1", null, 0, "clean"),
        going("0", null, 0, "clean"),
        going("3", "2", 2, "diverged"),
        going("4", "9", 1, "clean"),
      ]),
      "",
    );
    const ranking = rank(overviewOf([]).searches[0]!, trials, []);
    const ids = linesOf(trials, null, ranking).map((l) => l.type === "run" && l.trial.id);
    expect(ids).toEqual(["0", "2", "3", "1", "4"]);
    const families = familiesOf(trials);
    expect(families.map((t) => [t.id, t.bad, t.runs.length])).toEqual([
      ["2", true, 3],
      ["1", false, 1],
      ["4", false, 1],
    ]);
  });

  it("keeps searches apart", () => {
    const overview = overviewOf([
      run({ search: "a", trial_id: "0" }),
      run({ search: "b", trial_id: "0" }),
    ]);
    expect(trialsOf(overview, "a")).toHaveLength(1);
  });
});

describe("ranking", () => {
  it("finds the learning rate in a real search and puts the bad on top", () => {
    const model = createModel()({ ...INITIAL, overview: REAL })!;
    expect(model.sort).toEqual({ column: "hparam:learning_rate", descending: true });
    const bad = model.lines.map((l) => l.type === "run" && l.trial.bad);
    expect(bad.lastIndexOf(true)).toBeLessThan(bad.indexOf(false));
  });

  it("orders by the first bad step where nothing goes with going bad", () => {
    const trials = [trial("a", { x: 1 }, 5), trial("b", { x: 1 }, null), trial("c", { x: 1 }, 2)];
    const ranking = rank(overviewOf([]).searches[0]!, trials, []);
    expect(ranking.sort).toEqual({ column: "onset", descending: false });
    expect(sortTrials(trials, ranking.sort, ranking).map((t) => t.id)).toEqual(["c", "a", "b"]);
  });

  it("prefers a range over decades where another parts the trials as well by chance", () => {
    const float = (name: string, sampling: string): HParam => ({
      ...{ name, value: null, type: "float", active: true, min: 1, max: 10, step: null },
      ...{ sampling, values: null, ordered: null, default: null, conditions: [] },
    });
    // Names are never read: either may be the one over decades.
    for (const [wide, narrow] of [
      ["a", "b"],
      ["b", "a"],
    ] as const) {
      const search = overviewOf([], [float(wide, "log"), float(narrow, "linear")]).searches[0]!;
      const values = (i: number) => ({
        [wide]: [3, 4, 5, 6, 7, 1, 8, 9, 2, 10][i]!,
        [narrow]: i,
      });
      const trials = Array.from({ length: 10 }, (_, i) =>
        trial(String(i), values(i), i >= 5 ? 3 : null),
      );
      expect(rank(search, trials, []).ranked[0]?.name).toBe(narrow);
      const close = trials.map((t, i) => ({ ...t, hparams: { [narrow]: i, [wide]: i } }));
      expect(rank(search, close, []).sort.column).toBe(`hparam:${wide}`);
    }
  });

  it("stays silent where every trial, or none, went bad", () => {
    const all = [1, 2, 3].map((x) => trial(String(x), { x }, 1));
    const { space } = rank(overviewOf([]).searches[0]!, all, []);
    expect(separations(all, space)).toEqual([]);
  });

  it("facets by a category where a number parts one of its groups", () => {
    const trials: Trial[] = [];
    for (let i = 0; i < 12; i++) {
      trials.push(
        trial(`s${i}`, { optimizer: "sgd", rate: 10 ** (i / 4 - 3) }, i >= 6 ? 20 - i : null),
      );
      trials.push(trial(`a${i}`, { optimizer: "adam", rate: 10 ** (i / 4 - 3) }, null));
      trials.push(trial(`r${i}`, { optimizer: "rmsprop", rate: 10 ** (i / 4 - 3) }, null));
    }
    const ranking = rank(overviewOf([]).searches[0]!, trials, []);
    expect(ranking.facet).toBe("optimizer");
    expect(ranking.sort).toEqual({ column: "hparam:rate", descending: true });
    const lines = linesOf(sortTrials(trials, ranking.sort, ranking), "optimizer", ranking);
    expect(lines[0]).toMatchObject({ type: "facet", value: "sgd", bad: 6, total: 12 });
    expect(lines.filter((l) => l.type === "facet")).toHaveLength(3);
  });
});

describe("sorting", () => {
  const trials = [
    { ...trial("a", { x: 2 }, null), score: 1 },
    { ...trial("b", { x: 10 }, null), score: null },
    { ...trial("c", {}, null), score: Number.NaN },
    { ...trial("d", { x: 1 }, null), score: 3 },
  ];
  const ranking = rank(overviewOf([]).searches[0]!, trials, []);
  const ids = (column: "hparam:x" | "score", descending: boolean) =>
    sortTrials(trials, { column, descending }, ranking).map((t) => t.id);

  it("compares numbers as numbers, and leaves the absent last both ways", () => {
    expect(ids("hparam:x", false)).toEqual(["d", "a", "b", "c"]);
    expect(ids("hparam:x", true)).toEqual(["b", "a", "d", "c"]);
    expect(ids("score", false).slice(0, 2)).toEqual(["a", "d"]);
    expect(ids("score", true).slice(0, 2)).toEqual(["d", "a"]);
  });
});

describe("window", () => {
  const tops = sumHeights([34, ...Array<number>(1000).fill(22)]);

  it("covers what is on screen, and little more", () => {
    expect(tops.total).toBe(34 + 22_000);
    expect(visible(tops, 0, 220, 0)).toEqual([0, 10]);
    const [first, last] = visible(tops, 11_000, 220, 3);
    expect(tops.tops[first + 3]).toBeLessThanOrEqual(11_000);
    expect(tops.tops[last - 3]).toBeGreaterThanOrEqual(11_220);
    expect(last - first).toBeLessThan(20);
    expect(visible(tops, 1e9, 220, 2)[1]).toBe(1001);
    expect(visible(sumHeights([]), 0, 100, 5)).toEqual([0, 0]);
  });

  it("scrolls no further than it must", () => {
    expect(reveal(100, 200, 150, 172)).toBe(100);
    expect(reveal(100, 200, 50, 72)).toBe(50);
    expect(reveal(100, 200, 290, 312)).toBe(112);
  });
});

describe("store", () => {
  it("tells of changes, and of nothing else", () => {
    const store = createStore({ a: 1, b: 2 });
    const seen: number[] = [];
    const stop = store.subscribe((s) => seen.push(s.a));
    store.set({ a: 1 });
    store.set({ a: 3 });
    stop();
    store.set({ a: 4 });
    expect(seen).toEqual([3]);
  });
});
