// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Client } from "../src/api/client";
import { decodeOverview } from "../src/api/decode";
import { Live } from "../src/state/live";

const OVERVIEW = decodeOverview({ schema_version: 1 });

function start(
  answers: () => Promise<typeof OVERVIEW | null>,
  running: boolean,
  loading: () => boolean = () => false,
) {
  const calls = { overview: 0, seen: 0, errors: [] as (string | null)[] };
  const client: Client = {
    overview: () => {
      calls.overview++;
      return answers();
    },
    lanes: () => Promise.reject(new Error("not asked for")),
    lane: () => Promise.reject(new Error("not asked for")),
    run: () => Promise.reject(new Error("not asked for")),
    ranges: () => Promise.reject(new Error("not asked for")),
    flight: () => Promise.reject(new Error("not asked for")),
    compareRuns: () => Promise.reject(new Error("not asked for")),
    compareSearches: () => Promise.reject(new Error("not asked for")),
    edit: () => Promise.reject(new Error("not asked for")),
    markdown: () => Promise.reject(new Error("not asked for")),
    plugins: () => Promise.reject(new Error("not asked for")),
  };
  const live = new Live({
    client,
    onOverview: () => calls.seen++,
    onError: (e) => calls.errors.push(e),
    running: () => running,
    loading,
  });
  live.start();
  return calls;
}

describe("live", () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  it("asks every five seconds while something trains, and every thirty otherwise", async () => {
    const busy = start(async () => OVERVIEW, true);
    const idle = start(async () => OVERVIEW, false);
    await vi.advanceTimersByTimeAsync(61_000);
    expect(busy.overview).toBe(13);
    expect(idle.overview).toBe(3);
  });

  it("asks sooner while TensorBoard loads, but gives up on what does not come", async () => {
    let loading = true;
    const calls = start(
      async () => OVERVIEW,
      false,
      () => loading,
    );
    await vi.advanceTimersByTimeAsync(6_100);
    expect(calls.overview).toBe(5);
    loading = false;
    await vi.advanceTimersByTimeAsync(20_000);
    expect(calls.overview).toBe(6);
    let first = true;
    const lost = start(
      async () => {
        const answer = first ? OVERVIEW : null;
        first = false;
        return answer;
      },
      false,
      () => true,
    );
    await vi.advanceTimersByTimeAsync(62_000);
    const asked = lost.overview;
    await vi.advanceTimersByTimeAsync(25_000);
    expect(lost.overview).toBe(asked);
  });

  it("redraws nothing for an answer that is the same", async () => {
    let first = true;
    const calls = start(async () => {
      const answer = first ? OVERVIEW : null;
      first = false;
      return answer;
    }, true);
    await vi.advanceTimersByTimeAsync(11_000);
    expect(calls.overview).toBe(3);
    expect(calls.seen).toBe(1);
  });

  it("says why it failed, goes on trying, and takes it back", async () => {
    let fail = true;
    const calls = start(async () => {
      if (fail) throw new Error("Failed to fetch");
      return OVERVIEW;
    }, false);
    await vi.advanceTimersByTimeAsync(1);
    expect(calls.errors).toEqual(["Failed to fetch"]);
    fail = false;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(calls.errors.at(-1)).toBeNull();
    expect(calls.seen).toBe(1);
  });
});
