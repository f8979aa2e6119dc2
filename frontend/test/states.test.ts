// @vitest-environment happy-dom
// What stands in the tab when something is missing: each says what to do.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { decodeOverview } from "../src/api/decode";
import { createModel, INITIAL } from "../src/state/state";
import { DetailView } from "../src/views/detail";
import { MessageView } from "../src/views/message";
import { VerdictView } from "../src/views/verdict";

const RUN = {
  run: "0/execution0",
  session: "0123456789abcdef",
  search: "a",
  trial_id: "0",
  state: "interrupted",
  status: "clean",
  damage: ["3 records of ranges are missing"],
  closest: { float16: 0.4, float32: 1e-12 },
};

function state(run: object, more: object = {}) {
  const overview = decodeOverview({
    schema_version: 1,
    searches: [{ search: "a", verdict: "None went bad." }],
    runs: [run],
    ...more,
  });
  return { ...INITIAL, overview, selected: "0123456789abcdef/0/execution0" };
}

function detail(run: object, more: object = {}): HTMLElement {
  const view = new DetailView({ close() {}, phase() {}, probe() {} }, { show() {}, hide() {} });
  const shown = { ...state(run), ...more };
  view.update(shown, createModel()(shown)!);
  return view.node;
}

describe("states", () => {
  it("loading: says so, and only until there is an answer", () => {
    const view = new MessageView(() => {});
    view.loading();
    expect(view.node.getAttribute("role")).toBe("status");
    expect(view.node.textContent).toContain("Reading");
    view.hide();
    expect(view.node.hidden).toBe(true);
  });

  it("newer schema: reload, then restart", () => {
    let message = "";
    try {
      decodeOverview({ schema_version: 99 });
    } catch (e) {
      message = (e as Error).message;
    }
    const view = new MessageView(() => {});
    view.error(message);
    expect(view.node.textContent).toContain("Reload the page");
  });

  it("sampled data: the server's sentence stands in the verdict", () => {
    const told = "TensorBoard was started with --samples_per_plugin=nanwatch=10: restart it.";
    const view = new VerdictView({ badOnly: () => {}, markdown: async () => "" });
    const sampled = state(RUN, { warnings: [told] });
    view.update(createModel()(sampled)!);
    expect(view.node.querySelector(".warning")!.textContent).toContain(told);
    view.update(createModel()(state(RUN))!);
    expect(view.node.querySelector(".warning")).toBeNull();
  });

  it("damaged log: what is missing and what to do; silent on a whole one", () => {
    const text = detail(RUN).textContent!;
    expect(text).toContain("The log is damaged");
    expect(text).toContain("3 records of ranges are missing");
    expect(text).toContain("copy the log directory anew");
    expect(detail({ ...RUN, damage: [] }).textContent).not.toContain("damaged");
  });

  it("a run that cannot be read: why, and how to try again", () => {
    const note = detail(RUN, { detailError: "no such run" }).querySelector(".figures > .note")!;
    expect(note.textContent).toContain("no such run");
    expect(note.textContent).toContain("select the trial again");
  });

  it("a clean run: how near it came, by each dtype", () => {
    const text = detail(RUN).textContent!;
    expect(text).toContain("Closest call");
    expect(text).toContain("0.4 of its largest number (less than a decade below)");
    expect(text).toContain("1e-12 of its largest number (12 decades below)");
    expect(detail({ ...RUN, closest: {} }).textContent).not.toContain("Closest call");
    const told = "output of dense_1 reached 3e+04 of 65504 in float16";
    expect(detail({ ...RUN, closest_call: { text: told } }).textContent).toContain(`${told}.`);
  });

  it("links only to tabs that have data", () => {
    const links = (plugins: string[]) =>
      [...detail(RUN, { plugins: new Set(plugins) }).querySelectorAll(".elsewhere a")].map(
        (a) => a.textContent,
      );
    expect(links([])).toEqual([]);
    expect(links(["hparams"])).toEqual(["HParams"]);
    expect(links(["scalars", "hparams"])).toEqual(["Scalars", "HParams"]);
  });
});

describe("contrast", () => {
  const css = readFileSync(`${import.meta.dirname}/../src/style.css`, "utf-8");
  const colours = (selector: string): Map<string, string> => {
    const block = css.slice(css.indexOf(`${selector} {`)).split("}", 1)[0]!;
    return new Map([...block.matchAll(/--([\w-]+): (#[0-9a-f]{6});/g)].map((m) => [m[1]!, m[2]!]));
  };
  const luminance = (hex: string): number => {
    const [r, g, b] = [1, 3, 5].map((i) => {
      const c = Number.parseInt(hex.slice(i, i + 2), 16) / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    }) as [number, number, number];
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a: string, b: string): number => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y) as [number, number];
    return (high + 0.05) / (low + 0.05);
  };
  // WCAG 2.1: 4.5 for text, 3 for what must be seen to understand.
  const TEXT: [string, string[]][] = [
    ["ink", ["ground", "panel", "hover", "chosen", "bad-ground", "well-ground", "cut-ground"]],
    ["muted", ["ground", "panel", "hover", "chosen", "bad-ground", "well-ground"]],
    ["bad", ["ground", "panel", "bad-ground", "hover", "chosen"]],
    ["contained", ["ground", "panel", "bad-ground", "well-ground"]],
    ["good", ["ground", "chosen", "hover"]],
    ["accent", ["ground", "panel"]],
    ["code", ["code-ground"]],
    ["cut", ["cut-ground"]],
    ["badge-ink", ["badge-ground"]],
  ];
  const SEEN: [string, string[]][] = [
    ["dot", ["ground", "grid", "chosen"]],
    ["accent", ["ground", "grid", "chosen"]],
    ["bad", ["grid"]],
  ];

  it.each([":root", ':root[data-theme="dark"]'])("holds in %s", (selector) => {
    const theme = colours(selector);
    const low: string[] = [];
    for (const [pairs, least] of [
      [TEXT, 4.5],
      [SEEN, 3],
    ] as const) {
      for (const [ink, grounds] of pairs) {
        for (const ground of grounds) {
          const found = ratio(theme.get(ink)!, theme.get(ground)!);
          if (!(found >= least)) low.push(`${ink} on ${ground}: ${found.toFixed(2)}`);
        }
      }
    }
    expect(low).toEqual([]);
  });
});
