// @vitest-environment happy-dom
import { describe, expect, it } from "vitest";
import { decodeOverview } from "../src/api/decode";
import { createModel, INITIAL } from "../src/state/state";
import { HeaderView } from "../src/views/header";
import { StabilityView, segments } from "../src/views/stability";
import { VerdictView } from "../src/views/verdict";

const HOSTILE = '<img src=x onerror="alert(1)">';
const RATE = { name: "rate", type: "float", min: 1e-4, max: 1, sampling: "log" };
const BELOW = { name: "rate", where: {}, dead_above: true, living: 0.01, dead: 0.1, middle: 0.03 };

function model(search: object, runs: object[] = []) {
  const whole = { search: "a", tuner: "StabilitySearch", hparams: [RATE], ...search };
  const overview = decodeOverview({ schema_version: 1, searches: [whole], runs });
  const state = { ...INITIAL, overview };
  return { state, model: createModel()(state)! };
}

const run = (id: string, rate: number, optimizer: string, status: string) => ({
  run: `${id}/execution0`,
  session: id,
  search: "a",
  trial_id: id,
  number: Number(id) + 1,
  name: `trial ${id}`,
  status,
  state: "finished",
  hparams: { rate, optimizer },
});

const place = (value: unknown) => (typeof value === "number" ? (Math.log10(value) + 4) / 4 : null);
const whole = (b: object) => ({
  ...{ name: "rate", where: {}, dead_above: true, living: null, dead: null, middle: null },
  ...{ all_living: false, all_dead: false, sure: true, text: "" },
  ...b,
});
const told = (...boundaries: object[]) =>
  segments(boundaries.map(whole), place).map((s) => [
    s.side,
    Number(s.from.toFixed(3)),
    Number(s.to.toFixed(3)),
  ]);

describe("a boundary's bar", () => {
  it("lives on one side, dies on the other, and is unsure between", () => {
    expect(told(BELOW)).toEqual([
      ["lives", 0, 0.5],
      ["unsure", 0.5, 0.75],
      ["dies", 0.75, 1],
    ]);
    expect(told({ ...BELOW, dead_above: false, living: 0.1, dead: 0.01 })).toEqual([
      ["dies", 0, 0.5],
      ["unsure", 0.5, 0.75],
      ["lives", 0.75, 1],
    ]);
  });

  it("claims no side that is not known", () => {
    expect(told({ ...BELOW, dead: null })).toEqual([
      ["lives", 0, 0.5],
      ["unsure", 0.5, 1],
    ]);
    expect(told({ ...BELOW, living: null })).toEqual([
      ["unsure", 0, 0.75],
      ["dies", 0.75, 1],
    ]);
    expect(told({ all_living: true, sure: false })).toEqual([["unsure", 0, 1]]);
    expect(told({ all_living: true })).toEqual([["lives", 0, 1]]);
    expect(told({ all_dead: true })).toEqual([["dies", 0, 1]]);
  });

  it("may die on both sides", () => {
    const low = { dead_above: false, dead: 0.001, living: 0.001, middle: 0.001 };
    const high = { dead: 0.1, living: 0.1, middle: 0.1 };
    const lived = ["lives", "lives"];
    expect(told(high, low).map(([side]) => side)).toEqual(["dies", ...lived, "dies"]);
    expect(told(high, low).at(-1)).toEqual(["dies", 0.75, 1]);
  });
});

describe("a stability search", () => {
  const boundaries = [
    { ...BELOW, where: { optimizer: "sgd" }, text: "optimizer=sgd: lives up to 0.01", sure: true },
    { ...BELOW, where: { optimizer: HOSTILE }, text: `optimizer=${HOSTILE}: unsure` },
  ];
  const search = {
    purpose: "stability",
    objective: "went_bad",
    frontier: { boundaries, code: 'rate = hp.Float("rate", 1e-4, 0.01)', steps: 100 },
    first: { happened: "1 of 2 went bad", why: "all of it", fix: "the code" },
  };
  const runs = [run("0", 0.001, "sgd", "clean"), run("1", 1, "sgd", "diverged")];

  it("is drawn, each boundary with its own trials", () => {
    const view = new StabilityView();
    view.update(model(search, runs).model);
    expect(view.node.hidden).toBe(false);
    const lines = [...view.node.querySelectorAll(".boundary")];
    expect(lines.map((l) => l.textContent)).toEqual(boundaries.map((b) => b.text));
    expect(lines.map((l) => l.classList.contains("unsure"))).toEqual([false, true]);
    expect(lines.map((l) => l.querySelectorAll(".dot").length)).toEqual([2, 0]);
    expect(lines[0]!.querySelectorAll(".dot.bad").length).toBe(1);
    expect(lines[0]!.querySelectorAll(".lives, .unsure, .dies").length).toBe(3);
    expect(view.node.querySelector(".ends")!.textContent).toContain("log scale");
    expect(view.node.querySelector("img")).toBeNull();
  });

  it("is marked, has no score, and its code stands as code and not as a fix", () => {
    const header = new HeaderView(
      () => {},
      () => {},
    );
    const shown = model(search, runs);
    header.update(shown.state, shown.model);
    expect(header.node.querySelector('[data-fact="purpose"]')!.textContent).toBe(
      "stability search",
    );
    expect(header.node.querySelector("option")!.textContent).toContain("stability search");
    expect(shown.model.search.objective).toBeNull();
    const verdict = new VerdictView({ badOnly: () => {}, markdown: async () => "" });
    verdict.update(shown.model);
    expect(verdict.node.querySelector('[data-fact="why"]')).toBeNull();
    expect(verdict.node.querySelector(".edit code")!.textContent).toBe(search.frontier.code);
  });

  it("is none where a search has no purpose of its own", () => {
    const view = new StabilityView();
    const shown = model({ objective: "val_loss", first: { why: "a cause" } }, runs);
    view.update(shown.model);
    expect(view.node.hidden).toBe(true);
    expect(shown.model.search.objective).toBe("val_loss");
    const afterwards = "2 of 40 trials went bad inside the stable space.";
    view.update(model({ afterwards }, runs).model);
    expect(view.node.hidden).toBe(false);
    expect(view.node.textContent).toBe(afterwards);
  });
});
