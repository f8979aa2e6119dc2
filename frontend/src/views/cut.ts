// The cut between two rows: a line to drag or to move by keyboard, and below it what it
// would do. It stands in a gap of the table, so that it hides no trial.

import { value as valueText } from "../format/words";
import { type Cut, type CutView, intervalText, outcomeText } from "../state/cut";
import { copyButton } from "./copy";
import { el, setText } from "./dom";

export interface CutActions {
  /** `done` is false while the line is being dragged. */
  move(cut: Cut, done: boolean): void;
  flip(): void;
  close(): void;
}

const LINE = 15; // of code
const LEAST = 51;
const PADDING = 14;

/** The room that the strip takes among the rows. */
export function cutHeight(view: CutView): number {
  const lines = view.told ? 1 : (view.edit?.code.split("\n").length ?? 1);
  return Math.max(LEAST, lines * LINE + PADDING + 4);
}

export class CutStrip {
  readonly node: HTMLElement;
  private readonly handle: HTMLElement;
  private readonly title = el("strong", {});
  private readonly outcome = el("span", { "data-fact": "cut" });
  private readonly interval = el("span", { class: "aside" });
  private readonly where = el("span", { class: "aside" });
  private readonly code = el("code", {});
  private readonly pre = el(
    "pre",
    { tabindex: 0, role: "region", "aria-label": "the edit of the search space" },
    this.code,
  );
  private readonly copy = copyButton(
    () => this.view?.edit?.code ?? "",
    "the edit of the search space",
  );
  private readonly none = el("span", { class: "aside" });
  private view: CutView | null = null;
  private drag: number | null = null;

  /** @param placeAt gives the place nearest to a height on the screen. */
  constructor(
    private readonly actions: CutActions,
    private readonly placeAt: (clientY: number) => number,
  ) {
    this.handle = el(
      "div",
      {
        class: "cut-handle",
        role: "separator",
        tabindex: 0,
        "aria-orientation": "horizontal",
        "aria-label": "Cut of the search space. Up and down move it.",
        title: "drag, or use the arrow keys",
        keydown: (e: KeyboardEvent) => this.onKey(e),
        pointerdown: (e: PointerEvent) => this.onDown(e),
        pointermove: (e: PointerEvent) => this.onMove(e),
        pointerup: () => this.onUp(),
        pointercancel: () => this.onUp(),
      },
      el("span", { class: "grip", "aria-hidden": "true" }, "⋮⋮"),
    );
    const button = (text: string, title: string, click: () => void) =>
      el("button", { type: "button", title, "aria-label": title, click }, text);
    this.node = el(
      "section",
      { class: "cut", "aria-label": "Cut", hidden: true },
      this.handle,
      el(
        "div",
        { class: "cut-body" },
        el(
          "div",
          { class: "cut-text" },
          el(
            "p",
            {},
            this.title,
            button("⇅", "remove the other side", () => this.actions.flip()),
            button("✕", "no cut", () => this.actions.close()),
          ),
          el("p", {}, this.outcome, " ", this.interval, " ", this.where),
        ),
        el("div", { class: "code" }, this.pre, this.none, this.copy),
      ),
    );
  }

  update(view: CutView | null, log: boolean): void {
    this.view = view;
    this.node.hidden = view === null;
    if (!view) return;
    const { cut, outcome, edit, place, places } = view;
    const code = edit?.code ?? "";
    const at = valueText(cut.bound, log);
    const sign = cut.op === "ge" ? ">" : "<";
    const where = cut.group ? `${cut.group.facet} = ${valueText(cut.group.value)}, ` : "";
    setText(this.title, `cut: ${where}${cut.hparam} ${sign} ${at}`);
    setText(this.outcome, outcomeText(outcome));
    setText(this.interval, intervalText(outcome));
    setText(this.where, view.told ? "" : (edit?.where ?? ""));
    setText(this.code, code);
    this.pre.hidden = !code || view.told;
    this.copy.hidden = !code;
    this.none.hidden = !this.pre.hidden;
    setText(
      this.none,
      view.told
        ? "its edit is shown above"
        : edit
          ? "No edit: KerasTuner's conditional scopes cannot say this cut."
          : "…",
    );
    const { handle } = this;
    handle.setAttribute("aria-valuemin", "0");
    handle.setAttribute("aria-valuemax", String(places.length - 1));
    handle.setAttribute("aria-valuenow", String(place));
    handle.setAttribute(
      "aria-valuetext",
      `${where}${cut.hparam} ${sign} ${at}: ${outcomeText(outcome)}`,
    );
  }

  focus(): void {
    this.handle.focus();
  }

  private to(place: number, done: boolean): void {
    const { view } = this;
    if (!view) return;
    const bound = view.places[Math.min(view.places.length - 1, Math.max(0, place))]!.bound;
    if (bound !== view.cut.bound || done) this.actions.move({ ...view.cut, bound }, done);
  }

  private onKey(event: KeyboardEvent): void {
    const { view } = this;
    if (!view) return;
    const moves: Record<string, number> = {
      ArrowUp: -1,
      ArrowLeft: -1,
      ArrowDown: 1,
      ArrowRight: 1,
      PageUp: -10,
      PageDown: 10,
      Home: -view.places.length,
      End: view.places.length,
    };
    const by = moves[event.key];
    if (by !== undefined) this.to(view.place + by, true);
    else if (event.key === "Delete" || event.key === "Escape") this.actions.close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  private onDown(event: PointerEvent): void {
    if (event.button !== 0) return;
    this.drag = event.pointerId;
    this.handle.setPointerCapture(event.pointerId);
    this.node.classList.add("dragged");
    this.handle.focus();
    event.preventDefault();
  }

  private onMove(event: PointerEvent): void {
    if (this.drag === event.pointerId) this.to(this.placeAt(event.clientY), false);
  }

  private onUp(): void {
    if (this.drag === null) return;
    this.drag = null;
    this.node.classList.remove("dragged");
    if (this.view) this.to(this.view.place, true);
  }
}
