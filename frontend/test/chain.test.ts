// @vitest-environment happy-dom
import { readFileSync } from "node:fs";
import { describe, expect, it, vi } from "vitest";
import { decodeRanges, decodeRun } from "../src/api/decode";
import type { Flight, Origin, RunSummary } from "../src/api/types";
import { chainOf } from "../src/state/chain";
import { onsetStep } from "../src/state/onset";
import { ChainView } from "../src/views/chain";
import { postmortem as postmortemView } from "../src/views/postmortem";

const KINDS = ["input", "activation", "activation", "loss", "gradient", "optimizer", "weight"];
const DETAIL = decodeRun({
  run: {
    run: "0/execution0",
    trial_id: "0",
    status: "diverged",
    onset: { phase: "train", step: 3, epoch: 0, batch: 3 },
    origin: {
      kind: "loss",
      name: "p3",
      num_pos_inf: 2,
      size: 32,
      op: "tf.math.log",
      source: "demo/loss.py:12",
    },
    hparams: { rate: 0.5 },
  },
  probes: {
    train: KINDS.map((kind, i) => ({
      kind,
      name: `p${i}`,
      layer: "",
      dtype: "float32",
      shape: [],
    })),
  },
});
const PROBES = DETAIL.probes.train;
const RUN: RunSummary = DETAIL.run;
const ORIGIN: Origin = RUN.origin!;
const { NaN: nan, POSITIVE_INFINITY: inf } = Number;

const flight = (steps: number[], rows: number[][]): Flight => ({
  probes: KINDS.length,
  steps: Float32Array.from(steps),
  rms: Float32Array.from(rows.flat()),
  fullSteps: new Float32Array(0),
  counts: new Float32Array(0),
});

const FLIGHT = flight(
  [2, 3, 4],
  [
    [1, 2, 4, 10, 1, 1, 1],
    [1, nan, 400, inf, inf, inf, 1],
    [1, 2, inf, inf, inf, inf, inf],
  ],
);

describe("causal chain", () => {
  it("goes from the data to the weights, lit at the origin", () => {
    const chain = chainOf(PROBES, ORIGIN, 3, FLIGHT, null)!;
    expect(chain.stages.map((s) => s.name)).toEqual([
      "data",
      "layers",
      "loss",
      "gradients",
      "optimizer",
      "weights",
    ]);
    expect(chain.stages.filter((s) => s.lit).map((s) => s.name)).toEqual(["loss"]);
    expect(chain.stages.map((s) => s.bad)).toEqual([0, 0, 1, 1, 1, 0]);
    expect([chain.before, chain.at]).toEqual([2, 3]);
    // Of the layers, the one that grew from 4 to 400 is told.
    expect(chain.stages[1]!.key).toEqual({
      probe: 2,
      before: 4,
      at: 400,
      counted: { before: "", at: "" },
      bad: false,
    });
  });

  it("has no step before the first one, and none at all where the record does not reach", () => {
    const first = chainOf(PROBES, ORIGIN, 2, FLIGHT, null)!;
    expect(first.before).toBeNull();
    expect(first.stages[0]!.key.before).toBeNull();
    expect(chainOf(PROBES, ORIGIN, 9, FLIGHT, null)).toBeNull();
  });

  it("is read from the ranges of a real run where the last steps are missing", () => {
    const golden = (name: string) => readFileSync(`${import.meta.dirname}/golden/${name}`);
    const detail = decodeRun(JSON.parse(golden("run.json").toString()));
    const bytes = golden("ranges.bin");
    const ranges = decodeRanges(
      bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer,
    );
    const { onset, origin } = detail.run;
    const chain = chainOf(detail.probes.train, origin, onset!.step, null, ranges)!;
    expect(chain.stages.filter((s) => s.lit)).toHaveLength(1);
    expect(chain.stages.find((s) => s.lit)!.key.bad).toBe(true);
  });

  it("says NaN and Inf only of what was counted", () => {
    const counts = new Float32Array(3 * KINDS.length);
    counts.set([6, 0, 0], 3 * 4);
    counts.set([1, 2, 3], 3 * 5);
    const said = (record: Flight) => {
      const view = new ChainView(() => {});
      view.update({
        chain: chainOf(PROBES, ORIGIN, 3, record, null)!,
        run: { ...RUN, origin: { ...ORIGIN, num_pos_inf: 0 } },
        probes: PROBES,
        hparams: [],
        theme: "light",
        chosen: 3,
      });
      return [...view.node.querySelectorAll<HTMLElement>("button.stage")].map((stage) => [
        stage.querySelector(".stage-numbers")!.textContent,
        stage.title.split("\n")[1],
      ]);
    };
    const counted = said({ ...FLIGHT, fullSteps: Float32Array.of(3), counts });
    expect(counted.slice(3, 5)).toEqual([
      ["1 → NaN", "step 2: rms 1; step 3: 6 NaN"],
      ["1 → NaN, Inf, -Inf", "step 2: rms 1; step 3: 1 NaN, 2 Inf and 3 -Inf"],
    ]);
    // Kept without its counts, or counted in another step.
    const elsewhere = { ...FLIGHT, fullSteps: Float32Array.of(4), counts };
    for (const record of [FLIGHT, elsewhere]) {
      const stages = said(record);
      expect(stages[2]).toEqual(["10 → non-finite", "step 2: rms 10; step 3: non-finite"]);
      expect(stages.slice(2, 5).flat().join()).not.toMatch(/NaN|Inf/);
      expect(stages[0]).toEqual(["1 → 1", "step 2: rms 1; step 3: rms 1"]);
    }
  });

  it("is drawn with the numbers before and at the onset, and chooses a tensor", () => {
    const chosen: number[] = [];
    const view = new ChainView((probe) => chosen.push(probe));
    view.update({
      chain: chainOf(PROBES, ORIGIN, 3, FLIGHT, null)!,
      run: RUN,
      probes: PROBES,
      hparams: [["rate", 0.5]],
      theme: "light",
      chosen: 3,
    });
    const stages = [...view.node.querySelectorAll("li")].map((li) => li.textContent);
    expect(stages[0]).toContain("rate0.5");
    expect(stages[2]).toContain("4 → 400");
    expect(view.node.querySelectorAll(".lit")).toHaveLength(1);
    expect(view.node.querySelector(".lit")!.textContent).toContain("tf.math.log, loss.py:12");
    expect(view.node.querySelector(".lit")!.textContent).toContain("10 → 2 Inf of 32");
    view.node.querySelector<HTMLButtonElement>(".reached")!.click();
    expect(chosen).toEqual([4]);
  });
});

const POSTMORTEM = {
  reproduced: true,
  text: "`tf.math.divide` at demo/loss.py:12: 3 of 32 denominators are 0",
  source: { file: "demo/loss.py", line: 12, function: "loss", text: "x / y" },
  inputs: [
    { name: "denominator", dtype: "float32", shape: [32], size: 32, min: 0, max: 4, num_zero: 3 },
  ],
  experiments: [
    { change: "learning_rate/10", text: "a tenth of the rate", finite: false, note: "the same" },
    { change: "clipnorm", text: "clipped gradients", finite: true, steps: 5 },
    { change: "inputs", text: "scaled inputs", finite: true, steps: 1, learns: false },
    { change: "labels", text: "scaled labels", finite: true, steps: 67, learns: true },
    { change: "float32", text: "float32", tried: false },
  ],
};

describe("operation and line", () => {
  const facts = (postmortem: object | null, more: object = {}) => {
    const { run } = decodeRun({
      run: { run: "0", origin: { kind: "loss" }, postmortem, ...more },
    });
    const node = document.createElement("div");
    node.append(...(postmortemView(run).filter(Boolean) as Node[]));
    return node;
  };

  it("stand with the inputs and with what would have helped", () => {
    const node = facts(POSTMORTEM);
    expect(node.querySelector("code")!.textContent).toBe("tf.math.divide");
    expect(node.querySelector("pre")!.textContent).toContain("x / y");
    expect(node.textContent).toContain("denominator float32 [32], finite from 0 to 4, 3 zeros");
    const tried = [...node.querySelectorAll(".experiments li")].map((li) => li.textContent);
    expect(tried).toEqual([
      "✖ a tenth of the rate: bad all the same (the same)",
      "✔ clipped gradients: finite for 5 steps",
      "✖ scaled inputs: finite for 1 step, but it does not learn",
      "✔ scaled labels: finite for 67 steps, and the loss falls",
    ]);
  });

  it("come with the outliers of the batch, also from a log that has none", () => {
    const outlier = { name: "label['a']", rows: [3], row: 3, column: [6, 0], value: -9999 };
    const decoded = (postmortem: object) =>
      decodeRun({ run: { run: "0", postmortem } }).run.postmortem!.outliers;
    expect(decoded(POSTMORTEM)).toEqual([]);
    expect(decoded({ ...POSTMORTEM, outliers: [{ ...outlier, usual: 3, batches: 5 }] })).toEqual([
      { ...outlier, usual: 3, batches: 5, count: 1, size: 0, ago: 0 },
    ]);
  });

  it("stand with a script to copy, where there is a capsule", async () => {
    const copied: string[] = [];
    const clipboard = { writeText: async (text: string) => void copied.push(text) };
    vi.stubGlobal("navigator", { clipboard });
    const node = facts(POSTMORTEM, { reproduction: "import tb_nanwatch" });
    node.querySelector<HTMLButtonElement>(".reproduction button")!.click();
    vi.unstubAllGlobals();
    expect(copied).toEqual(["import tb_nanwatch"]);
    expect(facts(POSTMORTEM).querySelector(".reproduction")).toBeNull();
  });

  it("say why nothing is named, and nothing where nobody looked", () => {
    expect(facts({ text: "", reason: "The step could not be run again." }).textContent).toContain(
      "could not be run again",
    );
    expect(facts(null).textContent).toBe("");
  });
});

describe("first bad step of a phase", () => {
  it("is the training step, and in validation the batch that the record tells", () => {
    expect(onsetStep(RUN, "train", null, PROBES)).toBe(3);
    expect(onsetStep(RUN, "validation", FLIGHT, PROBES)).toBeNull();
    const late = { ...RUN, onset: { phase: "validation" as const, step: 640, epoch: 9, batch: 0 } };
    expect(onsetStep(late, "train", FLIGHT, PROBES)).toBeNull();
    expect(onsetStep(late, "validation", FLIGHT, PROBES)).toBe(3);
    expect(onsetStep(late, "validation", null, PROBES)).toBeNull();
  });
});
