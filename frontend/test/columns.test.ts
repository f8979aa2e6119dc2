import { describe, expect, it } from "vitest";
import { decodeOverview } from "../src/api/decode";
import { createModel, INITIAL } from "../src/state/state";
import { type Columns, layOut } from "../src/views/columns";

function model(names: string[]) {
  const hparams = names.map((name) => ({ name, type: "float", min: 0, max: 1 }));
  const runs = ["0", "1"].map((id, i) => ({
    run: `${id}/execution0`,
    search: "a",
    trial_id: id,
    status: i ? "clean" : "diverged",
    onset: i ? null : { phase: "train", step: 3, epoch: 0, batch: 3 },
    hparams: Object.fromEntries(names.map((name) => [name, i / 2])),
  }));
  const overview = decodeOverview({
    schema_version: 1,
    searches: [{ search: "a", hparams }],
    runs,
  });
  const state = { ...INITIAL, overview };
  return createModel()(state)!;
}

const MANY = model(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]);
const FEW = model(["a", "transform"]);

const shown = (columns: Columns) => columns.hparams.map((c) => c.name);

describe("columns", () => {
  it("leave room behind the last hyperparameter for the button that shows the others", () => {
    const columns = layOut(MANY, 1250, false);
    expect(columns.spare.length).toBeGreaterThan(0);
    expect(shown(columns).length + columns.spare.length).toBe(10);
    expect(columns.hparams.map((c) => c.after > 0)).toEqual(
      columns.hparams.map((_, i) => i === columns.hparams.length - 1),
    );
    expect(columns.total).toBeLessThanOrEqual(1250);
  });

  it("show all on demand, and the way back, with a narrower lane", () => {
    const columns = layOut(MANY, 1250, true);
    expect(columns.showsAll).toBe(true);
    expect(shown(columns)).toHaveLength(10);
    expect(columns.spare).toEqual(layOut(MANY, 1250, false).spare);
    expect(columns.hparams.at(-1)!.after).toBeGreaterThan(0);
    expect(columns.lane).toBeLessThan(layOut(MANY, 1250, false).lane);
  });

  it("have no button where everything fits, whatever another search showed", () => {
    const columns = layOut(FEW, 1250, true);
    expect(columns.showsAll).toBe(false);
    expect(columns.spare).toEqual([]);
    expect(columns.hparams.every((c) => c.after === 0)).toBe(true);
    expect(columns.total).toBeLessThanOrEqual(1250);
  });

  it("keep the score in sight where there is little room", () => {
    expect(layOut(MANY, 960, false).total).toBeLessThanOrEqual(960);
  });
});
