import { describe, expect, it } from "vitest";
import { decodeOverview } from "../src/api/decode";
import { parseFilter, withRange } from "../src/state/filter";
import { trialsOf } from "../src/state/trials";

const TRIALS = trialsOf(
  decodeOverview({
    schema_version: 1,
    searches: [{ search: "a" }],
    runs: [
      ["00", "diverged", { rate: 0.5, optimizer: "sgd", "my name": 1 }, 3],
      ["01", "clean", { rate: 0.001, optimizer: "sgd", kernel: "3,3" }, null],
      ["02", "clean", { rate: 0.1234567, optimizer: "adam", big: true }, null],
      ["10", "score_lost", { rate: 0.02, optimizer: "adam" }, 90],
    ].map(([trial_id, status, hparams, step]) => ({
      run: `r/${trial_id}`,
      session: "s",
      search: "a",
      trial_id,
      number: Number(trial_id) + 1,
      status,
      steps: trial_id === "02" ? 1024 : 12,
      hparams,
      state: trial_id === "02" ? "running" : "finished",
      score: trial_id === "10" ? "NaN" : 0.25,
      onset: step === null ? null : { phase: "train", step, epoch: 0, batch: step },
      causes: step === null ? [] : [{ id: "learning_rate", confidence: 0.9 }],
    })),
  }),
  "a",
);
const NAMES = ["rate", "optimizer", "my name", "big", "kernel"];

function kept(text: string): string {
  const filter = parseFilter(text, NAMES);
  expect(filter.problems).toEqual([]);
  return TRIALS.filter(filter.keeps)
    .map((t) => t.id)
    .join(" ");
}

describe("filter", () => {
  it("finds the number that KerasTuner prints", () => {
    expect(kept("#3")).toBe("02");
    expect(kept("-#3")).toBe("00 01 10");
    expect(kept("number>3")).toBe("10");
  });

  it.each([
    ["", "00 01 02 10"],
    ["   ", "00 01 02 10"],
    ["diverged", "00"],
    ["bad", "00 10"],
    ['"score lost"', "10"],
    ["score_lost", "10"],
    ["running", "02"],
    ["-bad", "01 02"],
    ["01", "01"],
    ["1", "01 10"],
    ["sgd", "00 01"],
    ["rate>1e-2", "00 02 10"],
    ["rate > 1e-2 optimizer = adam", "02 10"],
    ["rate<=0.001", "01"],
    ["RATE=0.123", "02"],
    ["optimizer!=sgd", "02 10"],
    ["optimizer:SGD -bad", "01"],
    ['"my name"=1', "00"],
    ["big=True", "02"],
    ["onset<50", "00"],
    ["score<1", "00 01 02"],
    ["cause=learning_rate", "00 10"],
    ["trial=10", "10"],
    // As the box itself shows it, and every other way of writing a comma.
    ["bad, rate>0.1", "00"],
    ["rate>0.1, bad", "00"],
    ["rate>0.1,bad", "00"],
    ["bad,rate>=0.02,rate<0.1", "10"],
    ["bad , optimizer=adam", "10"],
    ["optimizer=adam,bad", "10"],
    ["optimizer=adam,-bad", "02"],
    ["sgd,bad", "00"],
    ['"my name"=1, sgd', "00"],
    // A comma of a value's own.
    ["kernel=3,3", "01"],
    ["kernel=3,3,clean", "01"],
    ["kernel!=3,3 -bad", "02"],
    ['kernel="3,3", clean', "01"],
    ['"3,3"', "01"],
    ["steps>1,000", "02"],
    ["steps=1,024,running", "02"],
    // Still being typed.
    ["bad,", "00 10"],
    [",", "00 01 02 10"],
    ["rate>0.1,", "00 02"],
    ["rate>", "00 01 02 10"],
  ])("%s", (text, ids) => {
    expect(kept(text)).toBe(ids);
  });

  it("finds what stalled, which went bad", () => {
    const trials = trialsOf(
      decodeOverview({
        schema_version: 1,
        searches: [{ search: "a" }],
        runs: ["contained", "stalled", "runaway"].map((status, i) => ({
          run: `r/${i}`,
          session: "s",
          search: "a",
          trial_id: String(i),
          status,
        })),
      }),
      "a",
    );
    const ids = (text: string) => trials.filter(parseFilter(text, []).keeps).map((t) => t.id);
    expect(ids("stalled")).toEqual(["1"]);
    expect(ids("bad")).toEqual(["1", "2"]);
  });

  it("keeps the other terms where a range is dragged", () => {
    expect(withRange("bad, rate>0.5, kernel=3,3", "rate", [0.1, 1])).toBe(
      "bad kernel=3,3 rate>=0.1 rate<=1",
    );
  });

  it("says what it does not understand, and leaves nothing out for it", () => {
    const filter = parseFilter("ratee>1 rate>much", NAMES);
    expect(filter.problems).toEqual([
      expect.stringContaining('there is no "ratee"; known are rate, optimizer'),
      '"much" is no number to compare rate with',
    ]);
    expect(TRIALS.every(filter.keeps)).toBe(true);
  });
});
