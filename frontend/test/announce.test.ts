import { describe, expect, it } from "vitest";
import { decodeOverview } from "../src/api/decode";
import { announcement } from "../src/state/announce";
import { INITIAL } from "../src/state/state";

function overview(...statuses: string[]) {
  return decodeOverview({
    schema_version: 1,
    searches: [{ search: "s" }],
    runs: statuses.map((status, i) => ({
      run: `${i}/execution0`,
      session: "x",
      search: "s",
      trial_id: String(i),
      name: `Trial ${i}`,
      status,
      state: "running",
      onset: status === "clean" ? null : { phase: "train", step: 37, epoch: 1, batch: 5 },
    })),
  });
}

const said = (before: ReturnType<typeof overview>, after: ReturnType<typeof overview>) =>
  announcement(before, { ...INITIAL, overview: after });

describe("announcement", () => {
  it("names what went bad since the last look, and says nothing twice", () => {
    const before = overview("clean", "diverged");
    expect(said(before, overview("runaway", "diverged", "clean"))).toBe(
      "Trial 0: runaway at epoch 2, batch 6 (step 37).",
    );
    expect(said(before, overview("stalled", "diverged"))).toBe(
      "Trial 0: stalled at epoch 2, batch 6 (step 37).",
    );
    expect(said(before, overview("clean", "diverged", "clean"))).toBe("");
    expect(said(before, before)).toBe("");
  });

  it("counts many, and is silent about a search that is new", () => {
    const many = overview(...Array<string>(5).fill("diverged"));
    expect(said(overview("clean"), many)).toBe("5 more trials went bad.");
    expect(said(decodeOverview({ schema_version: 1 }), many)).toBe("");
  });
});
