// What the chosen run's panel fetches, and when it does so anew.
import { describe, expect, it } from "vitest";
import type { Client } from "../src/api/client";
import { decodeOverview } from "../src/api/decode";
import { watchDetail } from "../src/state/detail";
import { INITIAL, type State } from "../src/state/state";
import { createStore } from "../src/state/store";

const ID = "0123456789abcdef";

function overview(read: number, other = 0) {
  const run = { session: ID, search: "a", status: "clean", state: "finished" };
  return decodeOverview({
    schema_version: 1,
    searches: [{ search: "a" }],
    runs: [
      { ...run, run: "0", records: { read, written: 3 } },
      { ...run, run: "1", records: { read: other, written: 3 } },
    ],
  });
}

function watched() {
  const store = createStore<State>({ ...INITIAL, overview: overview(1) });
  const signals: AbortSignal[] = [];
  const answers: ((detail: unknown) => void)[] = [];
  const pending = (_run: unknown, signal: AbortSignal) => {
    signals.push(signal);
    return new Promise((done) => answers.push(done));
  };
  watchDetail(store, {
    run: pending,
    ranges: async () => ({}),
    plugins: async () => new Set(),
  } as unknown as Client);
  return { store, signals, answers };
}

describe("a chosen run", () => {
  it("is asked for again when more of its records were read, and only then", () => {
    const { store, signals } = watched();
    store.set({ selected: `${ID}/0` });
    expect(signals.length).toBe(1);
    store.set({ overview: overview(1, 2) });
    expect(signals.length).toBe(1);
    store.set({ overview: overview(3, 2) });
    expect(signals.length).toBe(2);
  });

  it("cancels what it asked for before, and forgets an answer that comes too late", async () => {
    const { store, signals, answers } = watched();
    store.set({ selected: `${ID}/0` });
    store.set({ overview: overview(3) });
    expect(signals.map((s) => s.aborted)).toEqual([true, false]);
    answers[1]!("new");
    answers[0]!("old");
    await new Promise((done) => setTimeout(done));
    expect(store.get().detail).toBe("new");
    store.set({ selected: null });
    expect(signals[1]!.aborted).toBe(true);
  });
});
