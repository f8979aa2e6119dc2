import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Client } from "../src/api/client";
import type { SpaceEdit } from "../src/api/types";
import type { Cut } from "../src/state/cut";
import { editQuery, watchEdits } from "../src/state/edits";
import { INITIAL, type Model, type State } from "../src/state/state";
import { createStore } from "../src/state/store";

const cut = (bound: number): Cut => ({ hparam: "a b", op: "ge", bound, group: null });

/** A store whose model shows just its cut, and what the server was asked. */
function start(answer: (query: string) => Promise<SpaceEdit>) {
  const store = createStore<State>(INITIAL);
  const asked: string[] = [];
  const client = {
    edit: (query: string) => {
      asked.push(query);
      return answer(query);
    },
  } as unknown as Client;
  const model = (state: State) =>
    ({
      search: { search: "x" },
      cut: state.cut ? { cut: state.cut } : null,
      removed: null,
    }) as Model | null;
  watchEdits(store, client, model);
  return { store, asked };
}

describe("edits", () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  it("ask in the words of the server's API", () => {
    expect(editQuery("x", cut(0.05))).toBe("search=x&hparam=a+b&op=ge&bound=0.05");
    const group = { facet: "b", value: true };
    expect(editQuery("x", { ...cut(2), group })).toContain("&bound=2&facet=b&value=true");
    const values = ["s", 1, null];
    expect(new URLSearchParams(editQuery("x", { hparam: "b", values })).get("values")).toBe(
      '["s",1,null]',
    );
  });

  it("are asked for once, and where a line that is dragged rests", async () => {
    const { store, asked } = start(async () => ({ code: "hp", where: "here" }));
    for (let i = 1; i <= 5; i++) {
      store.set({ cut: cut(i) });
      await vi.advanceTimersByTimeAsync(10);
    }
    await vi.advanceTimersByTimeAsync(100);
    expect(asked).toEqual([editQuery("x", cut(5))]);
    expect(store.get().edits.get(asked[0]!)).toEqual({ code: "hp", where: "here" });
    store.set({ filter: "a>1" });
    await vi.advanceTimersByTimeAsync(100);
    expect(asked).toHaveLength(1);
  });

  it("that fail are asked for again at the next change", async () => {
    const { store, asked } = start(() => Promise.reject(new Error("gone")));
    store.set({ cut: cut(1) });
    await vi.advanceTimersByTimeAsync(100);
    expect(store.get().edits.size).toBe(0);
    store.set({ filter: "a>1" });
    await vi.advanceTimersByTimeAsync(100);
    expect(asked).toHaveLength(2);
  });
});
