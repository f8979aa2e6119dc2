// @vitest-environment happy-dom
import { describe, expect, it } from "vitest";
import { decodeOverview } from "../src/api/decode";
import { createModel, INITIAL } from "../src/state/state";
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

  it("shows the sentence, the abort and its fix", () => {
    const view = new VerdictView();
    view.update(
      model(
        {
          search: "a",
          verdict: "All 3 trials went bad.",
          aborted: {
            trials: ["0", "1"],
            reasons: ["diverged at step 3", "ValueError: no"],
            message: "Number of failures\nmore",
            fix: "Set x.",
          },
          cost: { seconds: 10, seconds_after_onset: 4, share: 0.4, text: "40 % was spent after." },
        },
        [{ run: "0/execution0", search: "a", trial_id: "0", number: 1 }],
      ).model,
    );
    expect(view.node.textContent).toContain("All 3 trials went bad.");
    const aborted = view.node.querySelector('[data-fact="aborted"]')!;
    expect([...aborted.children].map((c) => c.textContent)).toEqual([
      "Aborted: Number of failures",
      "trial 0 (#1): diverged at step 3trial 1: ValueError: no",
      "Set x.",
    ]);
    expect(view.node.querySelector('[data-fact="cost"]')?.textContent).toBe(
      "40 % was spent after.",
    );
    expect(view.node.classList.contains("went-bad")).toBe(true);
  });
});

describe("a verdict that has too little room", () => {
  const long = model({ search: "a", verdict: "Long." }, []).model;
  const shown = (high: number, room: number) => {
    const view = new VerdictView();
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
  rivals: "units <= 48 fits the counts better (4 of 4), but is probably chance.",
  saves: "removes 5 of 5 bad trials, loses 0 of 19 clean, best score kept",
  text: "said elsewhere",
};

describe("findings", () => {
  const verdict = "5 of 24 trials went bad. rate >= 0.11 went bad in 5 of 5 trials.";
  const count = (node: Element, text: string) => node.textContent!.split(text).length - 1;

  it("say each thing once: the sentence, what the edit saves, the edit and the reminder", () => {
    const view = new VerdictView();
    view.update(model({ search: "a", verdict }, [], [FINDING]).model);
    for (const text of [
      "rate >= 0.11",
      FINDING.rivals,
      FINDING.saves,
      FINDING.edit,
      "overwrite=True",
    ])
      expect(count(view.node, text)).toBe(1);
    expect(view.node.querySelector(".code button")?.textContent).toBe("copy");
    expect(view.node.querySelector("details")).toBeNull();
  });

  it("stand behind a toggle where there are more", () => {
    const view = new VerdictView();
    const more = { ...FINDING, condition: "depth >= 3", edit: "hp.Int(1)" };
    view.update(model({ search: "a", verdict }, [], [FINDING, more, more]).model);
    const details = view.node.querySelector("details")!;
    expect(details.open).toBe(false);
    expect(details.querySelector("summary")?.textContent).toBe("2 more findings");
    expect(count(details, FINDING.rivals)).toBe(2);
    expect(count(details, "depth >= 3 went bad in 5 of 5 trials, elsewhere 0 of 19")).toBe(2);
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
