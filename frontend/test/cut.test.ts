import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { decodeOverview } from "../src/api/decode";
import type { HParam } from "../src/api/schema.gen";
import {
  bestCut,
  type Cut,
  type CutBasis,
  firstCut,
  intervalText,
  otherSide,
  outcomeOf,
  outcomeText,
  placesOf,
  removes,
  shortBetween,
  viewOf,
  wilson,
} from "../src/state/cut";
import { editQuery } from "../src/state/edits";
import { createModel, INITIAL, type State } from "../src/state/state";

// What tb_nanwatch/reading/search/edit.py answers.
const GOLDEN = JSON.parse(
  readFileSync(new URL("./golden/bounds.json", import.meta.url), "utf-8"),
) as { live: number; dead: number; log: boolean; short: number }[];

describe("bound", () => {
  it.each(GOLDEN)("$short lies between $live and $dead", ({ live, dead, log, short }) => {
    expect(shortBetween(live, dead, log)).toBe(short);
  });
});

const SPACE: Partial<HParam>[] = [
  { name: "a", type: "float", min: 1e-4, max: 1, sampling: "log", default: 1e-4 },
  { name: "b", type: "choice", values: ["sgd", "adam"], ordered: false, default: "sgd" },
];
// SGD dies at 0.11 and above, Adam never; the best score is Adam's at 0.5.
const ROWS: [number, string, boolean, number][] = [
  [0.9, "sgd", true, Number.NaN],
  [0.4, "sgd", true, Number.NaN],
  [0.11, "sgd", true, Number.NaN],
  [0.026, "sgd", false, 0.7],
  [0.026, "sgd", false, 0.8],
  [0.001, "sgd", false, 0.9],
  [0.7, "adam", false, 0.3],
  [0.5, "adam", false, 0.1],
  [0.002, "adam", false, 0.4],
];

function overviewOf(finding: object | null, extra: object[] = []) {
  const runs = ROWS.map(([a, b, bad, score], i) => ({
    run: `r/${i}`,
    session: "s",
    search: "x",
    trial_id: `${i}`,
    state: "finished",
    status: bad ? "diverged" : "clean",
    hparams: { a, b },
    score: Number.isNaN(score) ? "NaN" : score,
    onset: bad ? { phase: "train", step: i, epoch: 0, batch: i } : null,
  }));
  return decodeOverview({
    schema_version: 1,
    searches: [{ search: "x", direction: "min", hparams: SPACE }],
    runs: [...runs, ...extra],
    findings: finding ? [{ search: "x", hparam: "a", ...finding }] : [],
  });
}

const PAIR = {
  condition: "b = sgd and a >= 0.11",
  inside: [3, 3],
  outside: [0, 6],
  edit: "the finding's code",
};

function modelOf(patch: Partial<State>, finding: object | null = null, extra: object[] = []) {
  return createModel()({ ...INITIAL, overview: overviewOf(finding, extra), ...patch })!;
}

const SORTED: Partial<State> = { sort: { column: "hparam:a", descending: true } };
const whole = (bound: number, op: "ge" | "le" = "ge"): Cut => ({
  hparam: "a",
  op,
  bound,
  group: null,
});

describe("cut", () => {
  it("stands where the finding says, in its group, with the server's counts", () => {
    const { cut, facet, lines } = modelOf({}, PAIR);
    expect(facet).toBe("b");
    expect(cut!.cut).toEqual({
      hparam: "a",
      op: "ge",
      bound: 0.05,
      group: { facet: "b", value: "sgd" },
    });
    expect(outcomeText(cut!.outcome)).toBe(
      "removes 3 of 3 bad, loses 0 of 6 clean, keeps the best score",
    );
    expect(intervalText(cut!.outcome)).toBe("removed side: 3 of 3 bad (95 % interval 44–100 %)");
    // The suggestion's edit came with the finding; nobody has to ask for it.
    expect(cut).toMatchObject({ edit: { code: "the finding's code" }, told: true });
    const below = lines[cut!.line]!;
    expect(below.type === "run" && below.trial.hparams.a).toBe(0.026);
  });

  it("is there only when somebody asks for it where nothing was found", () => {
    expect(modelOf(SORTED).cut).toBeNull();
    expect(modelOf({ ...SORTED, cut: null, facet: "b" }, PAIR).cut).toBeNull();
    // The finding is about a group, and the rows are not grouped.
    expect(modelOf({ ...SORTED, facet: null }, PAIR).cut).toBeNull();
  });

  it("needs rows in the order of a number", () => {
    const cut = whole(0.05);
    expect(modelOf({ sort: { column: "score", descending: false }, cut }).cut).toBeNull();
    expect(modelOf({ ...SORTED, xScale: "onset", facet: null, cut }).cut).toBeNull();
    expect(modelOf({ ...SORTED, facet: null, cut }).cut).not.toBeNull();
    // A cut of a group that no row belongs to any longer.
    const gone = { ...cut, group: { facet: "b", value: "rmsprop" } };
    expect(modelOf({ ...SORTED, facet: "b", cut: gone }).cut).toBeNull();
  });

  it("loses the best score where it runs through all optimizers", () => {
    const { cut } = modelOf({ ...SORTED, facet: null, cut: whole(0.05) });
    expect(outcomeText(cut!.outcome)).toBe(
      "removes 3 of 3 bad, loses 2 of 6 clean, loses the best score",
    );
    expect(cut!.edit).toBeUndefined();
    const edits = new Map([[editQuery("x", whole(0.05)), { code: "hp", where: "here" }]]);
    const answered = modelOf({ ...SORTED, facet: null, cut: whole(0.05), edits });
    expect(answered.cut!.edit).toEqual({ code: "hp", where: "here" });
  });

  it("can stand between different values only", () => {
    const basis = modelOf({ ...SORTED, facet: null }).cutBasis!;
    const places = placesOf(basis, null, "ge");
    expect(places).toHaveLength(7);
    for (const { bound, line } of places) {
      const [above, below] = [line - 1, line].map((i) => {
        const l = basis.lines[i]!;
        return l.type === "run" ? (l.trial.hparams.a as number) : Number.NaN;
      });
      expect(bound).toBeLessThan(above!);
      expect(bound).toBeGreaterThanOrEqual(below!);
    }
  });

  it("removes the other side on demand, at the same line", () => {
    const { cut, cutBasis } = modelOf({ ...SORTED, facet: null, cut: whole(0.05) });
    const other = otherSide(cutBasis!, cut!);
    expect(other.op).toBe("le");
    const { removedBad, removedClean } = outcomeOf(cutBasis!.trials, cutBasis!.best, (t) =>
      removes(other, t),
    );
    expect([removedBad, removedClean]).toEqual([0, 4]);
  });

  it("takes no trial that went bad for the best, whatever its score", () => {
    const runaway = {
      ...{ run: "r/9", session: "s", search: "x", trial_id: "9", state: "finished" },
      ...{ status: "runaway", hparams: { a: 0.3, b: "adam" }, score: 0.01 },
    };
    expect(modelOf(SORTED, null, [runaway]).cutBasis!.best!.id).toBe("7");
    const clean = { ...runaway, status: "clean" };
    expect(modelOf(SORTED, null, [clean]).cutBasis!.best!.id).toBe("9");
  });

  it("finds the place that removes most for what it loses", () => {
    const basis = modelOf({ ...SORTED, facet: "b" }).cutBasis!;
    expect(firstCut(basis)).toEqual({ ...whole(0.05), group: { facet: "b", value: "sgd" } });
    expect(bestCut(basis, { facet: "b", value: "adam" })?.group?.value).toBe("adam");
    expect(bestCut(basis, { facet: "b", value: "nobody" })).toBeNull();
  });

  it("counts no trial whose fate nobody knows", () => {
    const more = (state: string, status: string) => ({
      run: `r/${state}${status}`,
      session: "s",
      search: "x",
      trial_id: `${state}${status}`,
      state,
      status,
      hparams: { a: 0.8, b: "sgd" },
    });
    const extra = [
      more("running", "clean"),
      more("interrupted", "clean"),
      more("finished", "unwatched"),
      more("running", "diverged"),
    ];
    const { cut } = modelOf({ ...SORTED, facet: null, cut: whole(0.05) }, null, extra);
    expect(cut!.outcome).toMatchObject({ bad: 4, removedBad: 4, clean: 6, removedClean: 2 });
  });

  it("stays at its bound when other trials come", () => {
    const basis: CutBasis = modelOf({ ...SORTED, facet: null }).cutBasis!;
    const view = viewOf(basis, whole(0.06));
    expect(view!.cut.bound).toBe(0.06);
    expect(view!.places[view!.place]!.bound).toBe(0.05);
    expect(view!.line).toBe(view!.places[view!.place]!.line);
    expect(view!.edit).toBeUndefined();
  });

  it("stays where it is when rows are filtered out, and counts them all the same", () => {
    const { cut, lines } = modelOf({ ...SORTED, facet: null, cut: whole(0.05), filter: "a<0.6" });
    expect(cut!.cut.bound).toBe(0.05);
    expect(cut!.outcome).toMatchObject({ removedBad: 3, removedClean: 2 });
    const [above, below] = [lines[cut!.line - 1]!, lines[cut!.line]!];
    expect(above.type === "run" && above.trial.hparams.a).toBe(0.11);
    expect(below.type === "run" && below.trial.hparams.a).toBe(0.026);
  });

  it("gives Wilson's interval", () => {
    expect(wilson(5, 5)[0]).toBeCloseTo(0.5655, 3);
    expect(wilson(5, 5)[1]).toBe(1);
    expect(wilson(0, 0)).toEqual([0, 1]);
    expect(wilson(1, 3)[0]).toBeCloseTo(0.0615, 3);
    expect(wilson(1, 3)[1]).toBeCloseTo(0.7923, 3);
  });
});
