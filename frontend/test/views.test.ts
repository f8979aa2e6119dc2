// @vitest-environment happy-dom
import { describe, expect, it } from "vitest";
import { decodeOverview } from "../src/api/decode";
import { parseFilter } from "../src/state/filter";
import { createModel, INITIAL, type Model } from "../src/state/state";
import { el } from "../src/views/dom";
import { HeaderView } from "../src/views/header";
import { MessageView } from "../src/views/message";
import { prose } from "../src/views/prose";
import { VerdictView } from "../src/views/verdict";

const HOSTILE = '<img src=x onerror="alert(1)">';

function model(search: object, runs: object[], findings: object[] = []) {
  const overview = decodeOverview({ schema_version: 1, searches: [search], runs, findings });
  const state = { ...INITIAL, overview };
  return { state, model: createModel()(state)! };
}

const markdown = async (search: string) => `# ${search}`;
const verdictView = () => new VerdictView({ badOnly: () => {}, markdown });

describe("verdict", () => {
  it("sets code as code, keeps numbers whole, tells a hint less loudly", () => {
    const node = el("p", {}, ...prose("3 of 3: `tf.divide`; p = 1e-92. A hint: `x` (p = 0.1)."));
    expect(node.textContent).toBe("3 of 3: tf.divide; p = 1e-92. A hint: x (p = 0.1).");
    const texts = (selector: string) =>
      [...node.querySelectorAll(selector)].map((n) => n.textContent);
    expect(texts("code")).toEqual(["tf.divide", "x"]);
    expect(texts(".unbroken")).toEqual(["1e-92."]);
    expect(texts(".hint")).toEqual([" A hint: x (p = 0.1)."]);
    const hostile = el("p", {}, ...prose(`\`${HOSTILE}\` ${HOSTILE}`));
    expect(hostile.querySelector("img")).toBeNull();
  });

  it("shows what happened, why and what to change; what that rests on stands behind", () => {
    const first = {
      happened: "Search aborted: 3 trials in a row failed",
      why: "Division by zero in your loss.",
      sure: "tested",
      where: "`tf.math.divide` at loss.py:17",
      fix: "Keep the denominator away from 0.",
      tested: "Tested: 11 steps are finite.",
      next: "Search again with overwrite=True.",
      notes: ["Trial #2 went bad but has a score: do not use it."],
      more: ["Trial #1: diverged.", "40 % was spent after."],
    };
    const view = verdictView();
    view.update(model({ search: "a", verdict: "All 3 trials went bad.", first }, []).model);
    const fact = (name: string) =>
      view.node.querySelector(`[data-fact="${name}"]`)!.textContent!.trim();
    expect(fact("happened")).toBe(first.happened);
    expect(fact("why")).toBe("Division by zero in your loss. tested");
    expect(fact("where")).toBe("tf.math.divide at loss.py:17");
    expect([fact("fix"), fact("tested")]).toEqual([first.fix, "11 steps are finite."]);
    expect([fact("next"), fact("notes")]).toEqual([first.next, first.notes[0]]);
    expect(view.node.classList.contains("went-bad")).toBe(true);
    const more = view.node.querySelector<HTMLElement>("#how-sure")!;
    const button = view.node.querySelector<HTMLButtonElement>('[aria-controls="how-sure"]')!;
    expect([more.hidden, button.getAttribute("aria-expanded")]).toEqual([true, "false"]);
    button.click();
    expect([more.hidden, button.getAttribute("aria-expanded")]).toEqual([false, "true"]);
    expect([...more.querySelectorAll("li")].map((n) => n.textContent)).toEqual(first.more);
  });

  it("of an older server is its sentence, with nothing to ask for", () => {
    const view = verdictView();
    view.update(model({ search: "a", verdict: "No trial went bad." }, []).model);
    expect(view.node.querySelector("h2")!.textContent).toBe("No trial went bad.");
    expect(view.node.classList.contains("well")).toBe(true);
    expect(view.node.querySelector<HTMLElement>('[aria-controls="how-sure"]')!.hidden).toBe(true);
  });
});

describe("a verdict that has too little room", () => {
  const long = model({ search: "a", verdict: "Long." }, []).model;
  const shown = (high: number, room: number) => {
    const view = verdictView();
    const body = view.node.querySelector(".verdict-body")!;
    Object.defineProperty(body, "scrollHeight", { value: high });
    Object.defineProperty(body, "clientHeight", { value: room });
    view.update(long);
    return { view, body, button: view.node.querySelector<HTMLButtonElement>(".show-all")! };
  };

  it("says so with a button that shows all of it, and takes it back", () => {
    const { view, body, button } = shown(300, 90);
    expect([button.hidden, button.textContent]).toEqual([false, "show all ▾"]);
    expect(button.getAttribute("aria-expanded")).toBe("false");
    expect(body.classList.contains("goes-on")).toBe(true);
    button.click();
    expect(view.node.classList.contains("whole")).toBe(true);
    expect([button.textContent, button.getAttribute("aria-expanded")]).toEqual([
      "show less ▴",
      "true",
    ]);
    expect(body.classList.contains("goes-on")).toBe(false);
    button.click();
    expect(view.node.classList.contains("whole")).toBe(false);
    // Another search begins folded.
    button.click();
    view.update(model({ search: "b", verdict: "Long." }, []).model);
    expect(view.node.classList.contains("whole")).toBe(false);
  });

  it("has none where all is in sight", () => {
    const { body, button } = shown(90, 90);
    expect(button.hidden).toBe(true);
    expect(body.classList.contains("goes-on")).toBe(false);
  });
});

const FINDING = {
  search: "a",
  hparam: "rate",
  condition: "rate >= 0.11",
  inside: [5, 5],
  outside: [0, 19],
  p_value: 0.002,
  edit: 'hp.Float("rate", 1e-4, 0.05, sampling="log")',
  where: "Replace the statement at train.py:7 by this.",
  rivals: "units <= 48 fits the counts better (4 of 4), but is probably chance.",
  saves: "removes 5 of 5 bad trials, loses 0 of 19 clean, best score kept",
  text: "said elsewhere",
};

describe("the edit", () => {
  const first = {
    happened: "5 of 24 trials diverged",
    fix: "Narrow rate.",
    edit: FINDING.edit,
    paste: FINDING.where,
  };
  const shown = (view: VerdictView) =>
    [...view.node.querySelectorAll("pre")].map((n) => n.textContent);

  it("of the finding is on screen, with a button that copies it", () => {
    const view = verdictView();
    view.update(model({ search: "a", first }, [], [FINDING]).model);
    expect(shown(view)).toEqual([FINDING.edit]);
    expect(view.node.querySelector(".edit-title")!.textContent).toBe(FINDING.where);
    expect(view.node.querySelector(".code button")?.textContent).toBe("copy");
  });

  it("of a finding is kept back where something else is to be mended first", () => {
    const view = verdictView();
    const data = { ...first, fix: "Scale the data.", edit: "", paste: "" };
    view.update(model({ search: "a", first: data }, [], [FINDING]).model);
    expect(view.node.querySelector<HTMLElement>(".edit")!.hidden).toBe(true);
    view.node.querySelector<HTMLButtonElement>(".finding button")!.click();
    expect(shown(view)).toEqual([FINDING.edit]);
  });

  it("is one at a time where there are several findings", () => {
    const view = verdictView();
    const more = { ...FINDING, condition: "depth >= 3", edit: "hp.Int(1)" };
    view.update(model({ search: "a", first }, [], [FINDING, more]).model);
    const [, second] = view.node.querySelectorAll<HTMLButtonElement>(".finding button");
    second!.click();
    expect(shown(view)).toEqual(["hp.Int(1)"]);
  });

  it("follows the cut, and says where there is none", () => {
    const view = verdictView();
    const { model: found } = model({ search: "a", tuner: "T", first }, [], [FINDING]);
    const bound = { hparam: "rate", group: null, op: "ge", bound: 0.1 } as const;
    const cut = {
      cut: bound,
      told: false,
      edit: { code: "hp.Float(1)", where: "Put it there." },
    } as unknown as Model["cut"];
    view.update({ ...found, cut });
    expect(shown(view)).toEqual(["hp.Float(1)"]);
    expect(view.node.querySelector(".edit-title")!.textContent).toBe(
      "rate at most 0.1. Put it there.",
    );
    view.update({ ...found, cut: { ...cut!, edit: { code: "", where: "" } } });
    expect(view.node.querySelector<HTMLElement>(".edit .code")!.hidden).toBe(true);
    expect(view.node.querySelector(".edit .aside")!.textContent).toContain("no edit");
    view.update(found);
    expect(shown(view)).toEqual([FINDING.edit]);
  });
});

describe("counts", () => {
  const RUNS = [
    { run: "0", search: "a", trial_id: "0", status: "diverged", misread: "stale_score" },
    { run: "1", search: "a", trial_id: "1", status: "clean", state: "finished" },
  ];

  it("filter by what they count, and say whether they do", () => {
    const words: string[] = [];
    const { state, model: found } = model({ search: "a" }, RUNS);
    const header = new HeaderView(
      () => {},
      (word) => words.push(word),
    );
    header.update({ ...state, filter: "diverged" }, found);
    const buttons = [...header.node.querySelectorAll<HTMLButtonElement>("button.count")];
    for (const button of buttons) button.click();
    expect(words).toEqual(["clean", "diverged", "scored"]);
    expect(buttons.map((b) => b.getAttribute("aria-pressed"))).toEqual(["false", "true", "false"]);
    expect(
      buttons.map((b) => found.trials.filter(parseFilter(b.dataset.word!, []).keeps).length),
    ).toEqual([1, 1, 1]);
  });

  it("are in the verdict too: what happened shows the bad trials alone", () => {
    let asked = 0;
    const view = new VerdictView({ badOnly: () => asked++, markdown });
    view.update(model({ search: "a", first: { happened: "1 of 2 diverged" } }, RUNS).model);
    view.node.querySelector<HTMLButtonElement>("h2 button")!.click();
    expect(asked).toBe(1);
  });
});

describe("names", () => {
  it("go in as text", () => {
    const hostile = model({ search: "a", name: HOSTILE, tuner: HOSTILE, verdict: HOSTILE }, []);
    const header = new HeaderView(
      () => {},
      () => {},
    );
    header.update(hostile.state, hostile.model);
    const verdict = verdictView();
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
    view.empty("/data/logs");
    expect(view.node.textContent).toContain("/data/logs");
    expect(view.node.textContent).toContain("model.fit(x, y, callbacks=");
    expect(view.node.textContent).toContain('callbacks=[NanWatch("logs")]');
    view.error("Failed to fetch");
    expect(view.node.textContent).toContain("start it again");
    view.node.querySelector("button")?.click();
    expect(tried).toBe(1);
  });
});
