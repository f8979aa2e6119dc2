// SPDX-License-Identifier: Apache-2.0
// The cut between two rows: a line to drag or to move by keyboard, with its effect below it.
// It stands in a gap of the table, so that it hides no trial; its edit stands in
// the verdict.

import { value as valueText } from "../format/words";
import { type Cut, type CutView, intervalText, outcomeText } from "../state/cut";
import { el, setText } from "./dom";

export interface CutActions {
  /** `done` is false while the line is being dragged. */
  move(cut: Cut, done: boolean): void;
  flip(): void;
  close(): void;
}

/** The room that the strip takes among the rows. */
export const CUT_HEIGHT = 30;

export class CutStrip {
  readonly node: HTMLElement;
  private readonly handle: HTMLElement;
  private readonly title = el("strong", {});
  private readonly outcome = el("span", { "data-fact": "cut" });
  private readonly interval = el("span", { class: "aside" });
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
        this.title,
        button("⇅", "remove the other side", () => this.actions.flip()),
        button("✕", "no cut", () => this.actions.close()),
        el("span", { class: "cut-text" }, this.outcome, " ", this.interval),
      ),
    );
  }

  update(view: CutView | null, log: boolean): void {
    this.view = view;
    this.node.hidden = view === null;
    if (!view) return;
    const { cut, outcome, place, places } = view;
    const at = valueText(cut.bound, log);
    const sign = cut.op === "ge" ? ">" : "<";
    const where = cut.group ? `${cut.group.facet} = ${valueText(cut.group.value)}, ` : "";
    setText(this.title, `cut: ${where}${cut.hparam} ${sign} ${at}`);
    setText(this.outcome, outcomeText(outcome));
    setText(this.interval, intervalText(outcome));
    const text = this.outcome.parentElement!;
    text.title = text.textContent ?? "";
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
