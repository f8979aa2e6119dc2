// SPDX-License-Identifier: Apache-2.0
// The verdict on a search: what happened, why, what to change; the evidence opens with
// "how sure?". The one edit on screen is that of the cut, where the user has placed one.

import type { Finding, FirstScreen, SpaceEdit } from "../api/types";
import * as words from "../format/words";
import type { Model } from "../state/state";
import { codeButton, copyAnswer, copyButton } from "./copy";
import { type Child, el, replace, setText } from "./dom";
import { few, prose } from "./prose";

interface VerdictActions {
  /** Shows the bad trials alone, or all again. */
  badOnly(): void;
  /** The answer of a search, to copy. */
  markdown(search: string): Promise<string>;
}

export class VerdictView {
  readonly node = el("section", { class: "verdict", "aria-label": "Verdict" });
  private readonly body = el("div", { class: "verdict-body", id: "verdict-body" });
  private readonly edit = new EditBox();
  private readonly next = el("p", { class: "next" });
  private readonly notes = el("p", { class: "notes", "data-fact": "notes" });
  private readonly more = el("div", { class: "how-sure", id: "how-sure", hidden: true });
  private readonly copy = copyAnswer(() => this.actions.markdown(this.search ?? ""));
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
  private readonly sure = el("button", {
    type: "button",
    class: "small",
    "aria-controls": "how-sure",
    click: () => {
      this.open = !this.open;
      this.showMore();
    },
  });
  private key = "";
  private search: string | null = null;
  private open = false;
  /** Shown whole, whatever room that takes. */
  private whole = false;
  /** The finding whose edit is shown while there is no cut; null: the one that goes with the fix. */
  private chosen: number | null = null;
  private model: Model | null = null;

  constructor(private readonly actions: VerdictActions) {
    // In little room it is cut: then its lower edge fades, and a button shows all of it.
    this.body.addEventListener("scroll", () => this.showRest());
    this.node.append(
      this.body,
      this.edit.node,
      this.next,
      el("div", { class: "verdict-foot" }, this.notes, this.copy, this.all, this.sure),
      this.more,
    );
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

  private showMore(): void {
    this.more.hidden = !this.open || this.sure.hidden;
    this.sure.setAttribute("aria-expanded", String(this.open));
    setText(this.sure, this.open ? "how sure? ▾" : "how sure? ▸");
  }

  update(model: Model): void {
    const { search, findings, overview } = model;
    this.model = model;
    if (this.search !== search.search) {
      this.whole = false;
      this.chosen = null;
    }
    this.search = search.search;
    const key = JSON.stringify([search.search, search.first, findings, overview.warnings]);
    if (key !== this.key) {
      this.key = key;
      this.draw(model, search.first);
    }
    this.showEdit();
  }

  private draw(model: Model, first: FirstScreen): void {
    const { findings, overview } = model;
    const bad = model.trials.some((t) => t.bad);
    // Trials of a stability search go bad on purpose, and its frontier is drawn below.
    const drawn = model.search.frontier !== null;
    const ill = !drawn && (bad || first.fix !== "" || first.next !== "");
    this.node.classList.toggle("went-bad", ill);
    this.node.classList.toggle("well", !ill);
    const told = prose(first.happened || "No trial has been watched yet.");
    const toggle = () => this.actions.badOnly();
    replace(
      this.body,
      el(
        "h2",
        { class: "sentence", "data-fact": "happened" },
        bad
          ? el(
              "button",
              { class: "as-text", type: "button", title: BAD_ONLY, click: toggle },
              ...told,
            )
          : el("span", {}, ...told),
      ),
      el(
        "dl",
        {},
        ...entry(
          "Why",
          drawn ? "" : first.why,
          "why",
          first.sure && el("span", { class: `sure ${first.sure}` }, first.sure),
        ),
        ...entry("Where", first.where, "where"),
      ),
      el(
        "dl",
        {},
        ...entry("Fix", drawn ? "" : first.fix, "fix", codeButton(first.fix)),
        ...entry("Tested", first.tested.replace(/^Tested: /, ""), "tested"),
      ),
    );
    this.next.hidden = first.next === "";
    replace(
      this.next,
      el("b", {}, "Then "),
      el("span", { "data-fact": "next" }, ...prose(first.next)),
    );
    replace(this.notes, ...first.notes.flatMap((note) => [...prose(note), " "]));
    replace(
      this.more,
      el("ul", { "data-fact": "more" }, ...first.more.map((text) => el("li", {}, ...prose(text)))),
      ...(lists(model) ? findings.map((f, i) => this.finding(f, i)) : []),
    );
    // A warning is not to be missed.
    for (const w of few(overview.warnings))
      this.notes.append(el("span", { class: "warning" }, `⚠ ${w} `));
    this.copy.hidden = !ill && !drawn;
    this.sure.hidden = !first.more.length && !lists(model);
    this.showMore();
    this.showRest();
  }

  /** One of several findings, with a button that shows its edit instead of the first one's. */
  private finding(f: Finding, index: number): HTMLElement {
    const show = () => {
      this.chosen = index;
      this.showEdit();
    };
    return el(
      "div",
      { class: "finding" },
      el("p", {}, ...prose(f.text)),
      f.edit && el("button", { type: "button", class: "small", click: show }, "show its edit"),
    );
  }

  private showEdit(): void {
    const { model } = this;
    if (!model) return;
    const { first } = model.search;
    const chosen = this.chosen === null ? undefined : model.findings[this.chosen];
    const [where, code] = chosen ? [chosen.where, chosen.edit] : [first.paste, first.edit];
    this.edit.update(editOf(model, code ? { title: where, code } : null));
    this.node.classList.toggle("with-edit", !this.edit.node.hidden);
  }
}

const BAD_ONLY = "show the bad trials alone, or all again";

interface Edit {
  /** The values that it leaves out, and where to paste it. */
  title: string;
  /** "": the search space cannot say it. */
  code: string;
}

const STABLE = "The space that lives, for the model's build function.";

/** Whether there are findings beside that of the answer's own edit. */
function lists({ search, findings }: Model): boolean {
  return findings.length > 1 || (findings[0]?.edit ?? "") !== search.first.edit;
}

/** The edit on screen: of values left out, else of the cut, else the one that is given. */
function editOf({ removed, cut, search }: Model, otherwise: Edit | null): Edit | null {
  if (removed) {
    const { hparam, values } = removed.removed;
    const left = values.map((v) => words.value(v)).join(", ");
    return titled(`${hparam} without ${left}`, removed.edit);
  }
  if (cut && !cut.told && (cut.edit?.code || search.tuner !== "")) {
    const { hparam, op, bound } = cut.cut;
    const kept = `${op === "ge" ? "at most" : "at least"} ${words.value(bound, true)}`;
    return titled(`${hparam} ${kept}`, cut.edit);
  }
  if (search.frontier?.code) return { title: STABLE, code: search.frontier.code };
  return otherwise;
}

/** undefined: the server has not said it yet. */
function titled(what: string, edit: SpaceEdit | undefined): Edit {
  return edit
    ? { title: `${what}. ${edit.where}`, code: edit.code }
    : { title: `${what}: …`, code: " " };
}

class EditBox {
  private readonly title = el("p", { class: "edit-title" });
  private readonly code = el("code", {});
  private readonly pre = el(
    "pre",
    { tabindex: 0, role: "region", "aria-label": "the edit of the search space" },
    this.code,
  );
  private readonly copy = copyButton(
    () => this.code.textContent ?? "",
    "the edit of the search space",
  );
  private readonly none = el(
    "p",
    { class: "aside" },
    "There is no edit for it: KerasTuner's conditional scopes cannot say this.",
  );
  readonly node = el(
    "div",
    { class: "edit", hidden: true },
    this.title,
    el("div", { class: "code" }, this.pre, this.copy),
    this.none,
  );

  update(edit: Edit | null): void {
    this.node.hidden = edit === null;
    replace(this.title, ...prose(edit?.title ?? ""));
    setText(this.code, edit?.code ?? "");
    this.pre.parentElement!.hidden = !edit?.code;
    this.none.hidden = edit === null || edit.code !== "";
  }
}

function entry(term: string, text: string, fact: string, more: Child = null): Child[] {
  if (!text) return [];
  return [el("dt", {}, term), el("dd", { "data-fact": fact }, ...prose(text), " ", more)];
}
