import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { compact, integer, plural, power, scientific, tickLabels } from "../src/format/number";
import * as words from "../src/format/words";

describe("numbers", () => {
  it.each([
    [0, "0"],
    [0.0143, "0.0143"],
    [1.5, "1.5"],
    [2048, "2,048"],
    [76949.3, "76,949"],
    [99999.7, "100,000"],
    [123456.7, "1.23e5"],
    [1e-7, "1e-7"],
    [Number.NaN, "NaN"],
    [Number.POSITIVE_INFINITY, "Inf"],
    [Number.NEGATIVE_INFINITY, "-Inf"],
  ])("writes %d compactly", (value, text) => expect(compact(value)).toBe(text));

  it("writes fewer digits than a number has, without a plus", () => {
    expect(compact(345.6, 2)).toBe("3.5e2");
    expect(compact(76949.3, 1)).toBe("8e4");
    expect(compact(76949.3, 4)).toBe("76,949");
  });

  it("labels an axis with as many digits as tell its ticks apart", () => {
    expect(tickLabels([0.13, 0.135, 0.14])).toEqual(["0.13", "0.135", "0.14"]);
    expect(tickLabels([99999.99, 1000])).toEqual(["100,000", "1,000"]);
    expect(tickLabels([0.01, 0.1])).toEqual(["0.01", "0.1"]);
    expect(tickLabels([2, 2])).toEqual(["2", "2"]);
  });

  it("writes log-scaled values plainly near 1, and with an exponent far from it", () => {
    expect(scientific(0.31017)).toBe("0.31");
    expect(scientific(0.01)).toBe("0.01");
    expect(scientific(1)).toBe("1");
    expect(scientific(950)).toBe("950");
    expect(scientific(0.00014)).toBe("1.4e-4");
    expect(scientific(3e4)).toBe("3e4");
  });

  it("groups and counts", () => {
    expect(integer(1234567)).toBe("1,234,567");
    expect(plural(1, "trial")).toBe("1 trial");
    expect(plural(24, "trial")).toBe("24 trials");
    expect(power(8)).toBe("1e8");
  });
});

describe("words", () => {
  const at = { phase: "train", step: 37, epoch: 0, batch: 37 } as const;

  it("shows epoch and batch from 1, the step from 0", () => {
    expect(words.position(at)).toBe("epoch 1, batch 38 (step 37)");
    expect(words.shortPosition(at)).toBe("epoch 1, batch 38");
  });

  it("places validation after the training steps done", () => {
    expect(words.position({ ...at, phase: "validation", batch: 2 })).toBe(
      "validation of epoch 1, batch 3 (step 37)",
    );
  });

  it("says what the server says", () => {
    const said = JSON.parse(
      readFileSync(new URL("./golden/words.gen.json", import.meta.url)).toString("utf-8"),
    );
    for (const [at, text] of said.position) expect(words.position(at)).toBe(text);
    for (const [at, text] of said.shortPosition) expect(words.shortPosition(at)).toBe(text);
    for (const [kind, name, text] of said.tensor) expect(words.tensor(kind, name)).toBe(text);
    for (const [status, state, text] of said.status) expect(words.status(status, state)).toBe(text);
    for (const [tensor, text] of said.counts) {
      const counted = words.counts(tensor);
      expect(words.tensor(tensor.kind, tensor.name) + (counted && `, ${counted}`)).toBe(text);
    }
  });

  it("counts elements by their kind", () => {
    const tensor = {
      kind: "gradient",
      name: "dense_2/kernel",
      num_nan: 0,
      num_pos_inf: 12,
      num_neg_inf: 0,
      size: 2048,
      row: 0,
      replica: 0,
    } as const;
    expect(words.counts(tensor)).toBe("12 Inf of 2,048");
    expect(words.counts({ ...tensor, num_nan: 3, num_neg_inf: 1 })).toBe(
      "3 NaN, 12 Inf and 1 -Inf of 2,048",
    );
    expect(words.tensor(tensor.kind, tensor.name)).toBe("gradient of dense_2/kernel");
    expect(words.tensor("prediction", "prediction")).toBe("prediction");
  });

  it("calls a running clean trial clean so far", () => {
    expect(words.status("clean", "running")).toBe("clean so far");
    expect(words.status("clean", "finished")).toBe("clean");
    expect(words.status("score_lost", "running")).toBe("score lost");
  });

  it("tells moments by the day", () => {
    const now = new Date(2026, 10, 24, 15, 0);
    const seconds = (...at: [number, number, number, number, number]) =>
      new Date(...at).getTime() / 1000;
    expect(words.moment(seconds(2026, 10, 24, 14, 2), now)).toBe("today 14:02");
    expect(words.moment(seconds(2026, 10, 23, 9, 5), now)).toBe("yesterday 09:05");
    expect(words.moment(seconds(2025, 10, 3, 9, 5), now)).toBe("3 Nov 2025 09:05");
  });
});

describe("where a tensor is bad first", () => {
  const bad = { name: "a", num_nan: 1, num_pos_inf: 0, num_neg_inf: 0, size: 192, replica: 0 };
  it.each([
    ["label", 24, ", the first in row 24 of the batch"],
    ["activation", 24, ", the first in row 24"],
    ["gradient", 1024, ", the first at index 1,024 of its first axis"],
    ["loss", null, ""],
  ] as const)("names the row of a bad %s", (kind, row, text) =>
    expect(words.firstBad({ ...bad, kind, row })).toBe(text),
  );
});
