// @vitest-environment happy-dom
import { describe, expect, it } from "vitest";
import { decodeOverview } from "../src/api/decode";
import { createModel, INITIAL } from "../src/state/state";
import { HeaderView } from "../src/views/header";
import { MessageView } from "../src/views/message";
import { VerdictView } from "../src/views/verdict";

const HOSTILE = '<img src=x onerror="alert(1)">';

function model(search: object, runs: object[]) {
  const overview = decodeOverview({ schema_version: 1, searches: [search], runs });
  const state = { ...INITIAL, overview };
  return { state, model: createModel()(state)! };
}

describe("verdict", () => {
  it("shows the sentence, the abort and its fix", () => {
    const view = new VerdictView();
    view.update(
      model(
        {
          search: "a",
          verdict: "All 3 trials went bad.",
          aborted: { trials: ["0", "1", "2"], message: "Number of failures\nmore", fix: "Set x." },
        },
        [],
      ).model,
    );
    expect(view.node.textContent).toContain("All 3 trials went bad.");
    expect(view.node.textContent).toContain("Aborted by 0, 1, 2: Number of failures Set x.");
    expect(view.node.classList.contains("went-bad")).toBe(true);
  });
});

describe("names", () => {
  it("go in as text", () => {
    const hostile = model({ search: "a", name: HOSTILE, tuner: HOSTILE, verdict: HOSTILE }, []);
    const header = new HeaderView(() => {});
    header.update(hostile.state, hostile.model);
    const verdict = new VerdictView();
    verdict.update(hostile.model);
    for (const node of [header.node, verdict.node]) {
      expect(node.querySelector("img")).toBeNull();
      expect(node.textContent).toContain(HOSTILE);
    }
  });
});

describe("message", () => {
  it("says what to do when there is nothing, and when the server is away", () => {
    let tried = 0;
    const view = new MessageView(() => tried++);
    view.empty();
    expect(view.node.textContent).toContain('callbacks=[NanWatch("logs")]');
    view.error("Failed to fetch");
    expect(view.node.textContent).toContain("start it again");
    view.node.querySelector("button")?.click();
    expect(tried).toBe(1);
  });
});
