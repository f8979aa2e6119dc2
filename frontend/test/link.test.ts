import { describe, expect, it } from "vitest";
import { WHOLE } from "../src/scale/zoom";
import { INITIAL_COMPARE } from "../src/state/compare/state";
import { decodeHash, encodeHash, isStep, type Linked } from "../src/state/link";

const PLAIN: Linked = {
  search: null,
  selected: null,
  sort: null,
  facet: undefined,
  xScale: "log",
  colour: "growth",
  filter: "",
  cut: undefined,
  removed: null,
  zoom: WHOLE,
  compare: INITIAL_COMPARE,
};
const FULL: Linked = {
  search: "66221f0b56824cc1",
  selected: "9fa8bd4900d048b8/wide/02/execution0",
  sort: { column: "hparam:learning rate & more=100%", descending: true },
  facet: "optimizer",
  xScale: "onset",
  colour: "loss",
  filter: 'diverged "a b">1e-2',
  cut: {
    hparam: "learning rate & more=100%",
    op: "ge",
    bound: 0.05,
    group: { facet: "optimizer", value: "sgd" },
  },
  removed: { hparam: "opti & mizer=", values: ["sgd", true, 3] },
  zoom: [0.25, 0.5],
  compare: {
    view: "parallel",
    pair: ["a & b", "c"],
    brushes: { "learning rate & more=100%": [0.25, 1], score: [-1, -1] },
    runs: ["9fa8bd4900d048b8/0/execution0", "9fa8bd4900d048b8/1/execution0"],
    against: "66221f0b56824cc1",
  },
};

describe("link", () => {
  it("writes nothing of what is the default", () => {
    expect(encodeHash(PLAIN, "#nanwatch")).toBe("#nanwatch");
    expect(decodeHash("#nanwatch")).toEqual(PLAIN);
  });

  it("comes back as it was", () => {
    expect(decodeHash(encodeHash(FULL, "#nanwatch"))).toEqual(FULL);
    const choices: Linked = { ...PLAIN, facet: null, cut: null };
    expect(decodeHash(encodeHash(choices, "#nanwatch"))).toEqual(choices);
    const whole: Linked = {
      ...PLAIN,
      cut: { hparam: "units", op: "le", bound: 60, group: { facet: "x", value: undefined } },
    };
    expect(decodeHash(encodeHash(whole, "#nanwatch"))).toEqual(whole);
  });

  it("takes nothing that makes no sense", () => {
    for (const bad of ["zoom=1-0", "zoom=x", "zoom=0-7", "without=%5B", "without=%5B%22a%22%5D"])
      expect(decodeHash(`#nanwatch&${bad}`)).toEqual(PLAIN);
  });

  it("is split by TensorBoard as it was joined", () => {
    for (const part of encodeHash(FULL, "#nanwatch").slice(1).split("&").slice(1)) {
      expect(part.split("=")).toHaveLength(2);
    }
  });

  it("leaves the parameters of others alone and replaces its own", () => {
    expect(encodeHash({ ...PLAIN, xScale: "time" }, "#nanwatch&tagFilter=a%20b&x=log")).toBe(
      "#nanwatch&tagFilter=a%20b&x=time",
    );
  });

  it("forgives what nobody wrote", () => {
    const odd = "#nanwatch&x=furlongs&colour=&sort=nothing&cut=%7B%7D&filter=100%&cut=[1,2]";
    expect(decodeHash(odd)).toEqual({ ...PLAIN, filter: "100%", cut: null });
  });

  it("knows which changes the back button undoes", () => {
    expect(isStep(PLAIN, { ...PLAIN, selected: "a" })).toBe(true);
    expect(isStep(PLAIN, { ...PLAIN, filter: "a", cut: null })).toBe(false);
  });
});
