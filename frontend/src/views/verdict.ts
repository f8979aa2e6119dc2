// The verdict: what the whole search says in a sentence or two, and what to change.

import type { Aborted, Finding, SearchAnswer, SearchSummary } from "../api/types";
import { compact, plural } from "../format/number";
import type { Model } from "../state/state";
import type { Trial } from "../state/trials";
import { answerBody } from "./answer";
import { codeBlock } from "./copy";
import { type Child, el, replace, setText } from "./dom";
import { prose } from "./prose";

export const REMINDER =
  "Run it with overwrite=True or a new project_name: otherwise KerasTuner reloads the old " +
  "search and its old space.";

export class VerdictView {
  readonly node = el("section", {
    class: "verdict",
    "aria-label": "Verdict",
  });
  private readonly body = el("div", { class: "verdict-body", id: "verdict-body" });
  private readonly all = el("button", {
    type: "button",
    class: "show-all small",
    "aria-controls": "verdict-body",
    click: () => {
      this.whole = !this.whole;
      this.body.scrollTop = 0;
      this.showRest();
    },
  });
  private key = "";
  private search: string | null = null;
  private open = false;
  /** Shown whole, whatever room that takes. */
  private whole = false;

  constructor() {
    // In little room it is cut: then its lower edge fades, and a button shows all of it.
    this.body.addEventListener("scroll", () => this.showRest());
    this.node.append(this.body, this.all);
    new ResizeObserver(() => this.showRest()).observe(this.body);
  }

  private showRest(): void {
    const { node, body, all, whole } = this;
    node.classList.toggle("whole", whole);
    const scrolls = !whole && body.scrollHeight > body.clientHeight + 2;
    body.classList.toggle(
      "goes-on",
      scrolls && body.scrollTop + body.clientHeight < body.scrollHeight - 2,
    );
    if (scrolls) body.tabIndex = 0;
    else body.removeAttribute("tabindex");
    all.hidden = !scrolls && !whole;
    all.setAttribute("aria-expanded", String(whole));
    setText(all, whole ? "show less ▴" : "show all ▾");
  }

  update(model: Model): void {
    const { search, findings, overview } = model;
    const key = JSON.stringify([
      search.search,
      search.verdict,
      search.aborted,
      search.answer,
      search.cost,
      findings,
      overview.warnings,
    ]);
    if (key === this.key) return;
    this.key = key;
    if (this.search !== search.search) this.whole = false;
    this.search = search.search;
    const bad = model.trials.some((t) => t.bad) || search.aborted !== null;
    this.node.className = `verdict ${bad ? "went-bad" : "well"}`;
    const { aborted } = search;
    const [top, ...more] = findings;
    const told = top !== undefined && search.verdict.includes(top.condition);
    replace(
      this.body,
      el(
        "div",
        { class: "told" },
        el(
          "p",
          { class: "sentence" },
          ...prose(search.verdict || "No trial has been watched yet."),
        ),
        top && !told && el("p", {}, sentence(top)),
        top?.rivals && el("p", { "data-fact": "rivals" }, ...prose(top.rivals)),
        top?.edit && el("p", {}, saves(top, aborted?.fix.includes("overwrite=True") ?? false)),
        aborted && this.aborted(aborted, model.trials),
        leads(search, top) && ofTrials(search.answer!),
        search.cost?.text ? el("p", { "data-fact": "cost" }, search.cost.text) : null,
        more.length > 0 && this.more(more),
        ...overview.warnings.map((w) => el("p", { class: "warning" }, `⚠ ${w}`)),
      ),
      top?.edit && placed(top),
    );
    this.showRest();
  }

  /** Which trials in a row, why each failed, and what would have let the search go on. */
  private aborted(aborted: Aborted, trials: readonly Trial[]): HTMLElement {
    const numbers = new Map(trials.map((t) => [t.id, t.runs[0]?.number ?? null]));
    const name = (id: string) => {
      const number = numbers.get(id);
      return `trial ${id}${number == null ? "" : ` (#${number})`}`;
    };
    const reasons = aborted.trials.map((id, i) => [name(id), aborted.reasons[i] ?? ""] as const);
    return el(
      "div",
      { class: "aborted", "data-fact": "aborted" },
      el("p", {}, el("strong", {}, "Aborted: "), aborted.message.split("\n", 1)[0]!),
      el(
        "ul",
        {},
        ...reasons.map(([trial, reason]) =>
          el("li", {}, el("strong", {}, trial), reason && `: ${reason}`),
        ),
      ),
      aborted.fix && el("p", {}, aborted.fix),
    );
  }

  private more(findings: readonly Finding[]): HTMLElement {
    const node = el(
      "details",
      { open: this.open },
      el("summary", {}, plural(findings.length, "more finding")),
      ...findings.map((f) =>
        el(
          "div",
          { class: "finding" },
          el(
            "p",
            {},
            [sentence(f), f.rivals, f.saves && `The edit ${f.saves}.`].filter(Boolean).join(" "),
          ),
          f.edit && placed(f),
        ),
      ),
    );
    node.addEventListener("toggle", () => {
      this.open = node.open;
    });
    return node;
  }
}

/** Whether cause and fix of the bad trials say more than the counts and the verdict do. */
function leads({ answer, aborted, verdict }: SearchSummary, top: Finding | undefined): boolean {
  return answer !== null && aborted === null && !top?.edit && !verdict.includes(answer.fix);
}

function ofTrials(answer: SearchAnswer): HTMLElement {
  const { count, of, whose } = answer;
  const whom =
    of === 1 ? `${whose} ${answer.happened}.` : `${count} of ${of} bad alike; of ${whose}:`;
  return el(
    "div",
    { class: "answer-of-trials", "data-fact": "answer" },
    el("p", {}, whom),
    answerBody({ ...answer, after: "" }),
  );
}

function sentence(f: Finding): string {
  const p = f.p_value === null ? "" : `; corrected p = ${compact(f.p_value, 1)}`;
  return (
    `${f.condition} went bad in ${f.inside[0]} of ${f.inside[1]} trials, ` +
    `elsewhere ${f.outside[0]} of ${f.outside[1]}${p}.`
  );
}

function saves(top: Finding, reminded: boolean): Child {
  const first = top.saves ? `This edit ${top.saves}.` : "";
  return `${first} ${reminded ? "" : REMINDER}`.trim();
}

/** An edit below the sentence on where it goes. */
function placed(finding: Finding): HTMLElement {
  return el(
    "div",
    {},
    el("p", { "data-fact": "where" }, ...prose(finding.where)),
    codeBlock(finding.edit, "the edit of the search space"),
  );
}
