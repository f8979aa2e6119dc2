// @vitest-environment happy-dom
import { describe, expect, it } from "vitest";
import { decodeFlight } from "../src/api/decode";
import type { Probe } from "../src/api/schema.gen";
import { countedInFlight } from "../src/state/counted";
import { FlightView, inkOn, lastSteps } from "../src/views/flight";

function frame(probes: number, arrays: Record<string, [number[], number[]]>): ArrayBuffer {
  const header = JSON.stringify({
    probes,
    arrays: Object.entries(arrays).map(([name, [shape]]) => ({ name, dtype: "float32", shape })),
  });
  const padded = header.padEnd(Math.ceil(header.length / 4) * 4);
  const data = Object.values(arrays).flatMap(([, values]) => values);
  const buffer = new ArrayBuffer(4 + padded.length + 4 * data.length);
  new DataView(buffer).setUint32(0, padded.length, true);
  new Uint8Array(buffer, 4, padded.length).set(new TextEncoder().encode(padded));
  new Float32Array(buffer, 4 + padded.length).set(data);
  return buffer;
}

const FLIGHT = decodeFlight(
  frame(2, {
    steps: [[3], [5, 6, 7]],
    rms: [
      [3, 2],
      [1, 2, 10, 20, Number.NaN, 200],
    ],
    full_steps: [[1], [7]],
    stats: [[1, 2, 6], new Array(12).fill(0)],
    counts: [
      [1, 2, 3],
      [3, 12, 0, 0, 0, 0],
    ],
  }),
);

describe("flight recorder", () => {
  it("is read from its frame", () => {
    expect([...FLIGHT.steps]).toEqual([5, 6, 7]);
    expect(FLIGHT.rms).toHaveLength(6);
    expect(() => decodeFlight(frame(2, { steps: [[2], [1, 2]] }))).toThrow("flight: rms has no");
  });

  it("shows the steps up to the first bad one", () => {
    expect(lastSteps(FLIGHT, 6)).toEqual([0, 1]);
    expect(lastSteps(FLIGHT, null)).toEqual([0, 1, 2]);
  });

  it("says what was counted, where it was", () => {
    expect(countedInFlight(FLIGHT, 7, 0)).toBe("3 NaN and 12 Inf");
    expect(countedInFlight(FLIGHT, 7, 1)).toBe("");
    expect(countedInFlight(FLIGHT, 6, 0)).toBe("");
  });

  it("tells what was not measured from what was not finite", () => {
    const inf = Number.POSITIVE_INFINITY;
    const probe = (name: string): Probe => ({
      kind: "activation",
      name,
      layer: name,
      dtype: "float32",
      shape: [4],
    });
    const view = new FlightView();
    view.update({
      flight: {
        ...FLIGHT,
        rms: Float32Array.from([1, 2, Number.NaN, 20, 3, inf]),
        fullSteps: new Float32Array(0),
        counts: new Float32Array(0),
      },
      probes: [probe("a"), probe("b")],
      theme: "light",
      onset: 7,
      origin: null,
    });
    const cells = [...view.node.querySelectorAll("tbody tr")].map((row) =>
      [...row.querySelectorAll("td")].map((cell) => cell.textContent),
    );
    expect(cells).toEqual([
      ["1", "·", "3"],
      ["2", "20", "✖ non-finite"],
    ]);
    expect(view.node.querySelectorAll(".not-finite")).toHaveLength(1);
    expect(view.node.querySelector(".not-summed")!.getAttribute("title")).toContain("finite");
  });

  it("is written in the ink that is read better", () => {
    expect(inkOn("rgb(230,234,241)")).toBe("#000000");
    expect(inkOn("rgb(94,7,25)")).toBe("#ffffff");
  });
});
