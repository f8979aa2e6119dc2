// SPDX-License-Identifier: Apache-2.0
// The table of trials: a sticky head with the common axes, and only those lines that are
// on screen.

import type { JSONScalar } from "../api/schema.gen";
import type { RunSummary } from "../api/types";
import { panned, WHOLE, type Zoom, zoomedBy } from "../scale/zoom";
import type { Group } from "../state/cut";
import { hparamOf, type SortColumn } from "../state/order";
import type { Model, State } from "../state/state";
import { reveal, sumHeights, type Tops, visible } from "../state/window";
import { placeIn } from "./brush";
import { type Columns, layOut } from "./columns";
import { CUT_HEIGHT, type CutActions, CutStrip } from "./cut";
import { el } from "./dom";
import { LANE_INSET, type LaneStyle } from "./lane";
import { type ExactLane, LanePointer } from "./lane_pointer";
import { FACET_HEIGHT, ROW_HEIGHT } from "./row";
import { TableHead } from "./table_head";
import { keyOfLine, TableRows } from "./table_rows";
import type { Tooltip } from "./tooltip";

const HEAD_HEIGHT = 34;
const SPARE_LINES = 6;

// Near the edge a dragged cut scrolls the table.
const SCROLL_ZONE = 26;

interface TableActions {
  sort(column: SortColumn): void;
  select(key: string | null): void;
  /** The exact values of a run's lane. */
  exactLane(run: RunSummary): Promise<ExactLane>;
  /** Places a cut in a facet's group. */
  cutGroup(group: Group): void;
  /** Unchecks a band, or checks it again. */
  band(hparam: string, value: JSONScalar): void;
  /** Filters by a range of a hyperparameter; null takes the range away. */
  range(hparam: string, range: readonly [number, number] | null): void;
  zoom(zoom: Zoom): void;
  cut: CutActions;
}

export class TableView {
  readonly node: HTMLElement;
  private readonly grid: HTMLElement;
  private readonly strip: CutStrip;
  private readonly head: TableHead;
  private readonly body = el("div", { class: "body", role: "rowgroup" });
  private readonly rows = new TableRows(this.body);
  private readonly pointer: LanePointer;
  private model: Model | null = null;
  private state: State | null = null;
  private columns: Columns | null = null;
  private lane: LaneStyle | null = null;
  private tops: Tops = sumHeights([]);
  private active: string | null = null;
  private showAll = false;
  private frame = 0;
  private layoutKey = "";
  // The sizes that the browser last reported. Reading them after a change would force an extra
  // layout before the next paint.
  private width = 0;
  private height = 0;
  private scrollTop = 0;

  constructor(
    private readonly actions: TableActions,
    private readonly tooltip: Tooltip,
  ) {
    this.pointer = new LanePointer(actions.exactLane, tooltip);
    this.head = new TableHead({
      sort: actions.sort,
      range: actions.range,
      zoom: actions.zoom,
      more: () => {
        this.showAll = !this.showAll;
        this.layOutAndDraw();
      },
    });
    this.grid = el(
      "div",
      {
        class: "grid",
        role: "grid",
        tabindex: 0,
        "aria-label":
          "Trials. Arrow keys move, Enter opens a trial, Escape closes it; + and - zoom the lanes.",
        keydown: (e: KeyboardEvent) => this.onKey(e),
        mousemove: (e: MouseEvent) => this.onHover(e),
        mouseleave: () => this.pointer.leave(),
      },
      el("div", { class: "head-group", role: "rowgroup" }, this.head.node),
      this.body,
    );
    this.strip = new CutStrip(actions.cut, (y) => this.cutPlaceAt(y));
    // The strip is no row: it lies over a gap that the rows leave.
    this.node = el(
      "div",
      { class: "table", scroll: () => this.onScroll() },
      this.grid,
      this.strip.node,
    );
    this.body.addEventListener("click", (e) => this.onClick(e));
    this.node.addEventListener("wheel", (e) => this.onWheel(e), { passive: false });
    new ResizeObserver(() => this.onResize()).observe(this.node);
  }

  update(state: State, model: Model): void {
    const before = this.model;
    const themeChanged = this.state?.theme !== state.theme;
    const selectionChanged = this.state?.selected !== state.selected;
    const searchChanged = before?.search.search !== model.search.search;
    // Where somebody sorts, the top is shown. Where rows move because new ones came, or because
    // another hyperparameter is now ranked first, the lines on screen stay in place.
    const fromTop = searchChanged || this.state?.sort !== state.sort;
    this.state = state;
    this.model = model;
    if (before !== model || themeChanged) {
      const anchor = fromTop ? null : this.anchor();
      const cut = model.cut;
      const gapAfter = cut ? cut.line - 1 : -1;
      this.tops = sumHeights(
        model.lines.map(
          (l, i) =>
            (l.type === "run" ? ROW_HEIGHT : FACET_HEIGHT) +
            (cut && i === gapAfter ? CUT_HEIGHT : 0),
        ),
      );
      this.grid.setAttribute("aria-rowcount", String(model.lines.length + 1));
      this.layOutAndDraw(anchor);
      if (fromTop) this.scrollTo(0);
    }
    if (selectionChanged) {
      this.active = state.selected ?? this.active;
      this.markRows();
      if (state.selected) this.revealLine(state.selected);
    }
  }

  focus(): void {
    this.grid.focus({ preventScroll: true });
  }

  focusCut(): void {
    this.revealCut();
    this.strip.focus();
  }

  // --- Layout ---

  private onResize(): void {
    const { clientWidth, clientHeight, scrollTop } = this.node;
    const lower = clientHeight < this.height;
    this.width = clientWidth;
    this.height = clientHeight;
    this.scrollTop = scrollTop;
    this.layOutAndDraw();
    // The panel that opens below takes room; the chosen line must not vanish behind it.
    if (lower && this.state?.selected) this.revealLine(this.state.selected);
  }

  private scrollTo(top: number): void {
    if (top === this.scrollTop) return;
    this.node.scrollTop = top;
    this.scrollTop = this.node.scrollTop;
  }

  private layOutAndDraw(anchor: { key: string; offset: number } | null = null): void {
    const { model, state } = this;
    if (!model || !state) return;
    if (this.width === 0) return;
    const columns = layOut(model, this.width, this.showAll);
    const layoutKey = JSON.stringify([columns.template, columns.hparams, model.ranking.names]);
    if (layoutKey !== this.layoutKey || this.columns === null) {
      this.layoutKey = layoutKey;
      this.rows.drop(columns.laneLeft);
      this.node.style.setProperty("--columns", columns.template);
      this.node.style.setProperty("--width", `${columns.total}px`);
    }
    this.columns = columns;
    this.lane = {
      theme: state.theme,
      series: state.colour,
      axis: model.axis,
      colours: model.colours,
      width: columns.lane,
      height: ROW_HEIGHT,
    };
    this.body.style.height = `${this.tops.total}px`;
    this.node.style.setProperty("--content", `${this.tops.total + HEAD_HEIGHT + 2}px`);
    this.head.update(model, columns, this.zoom);
    this.placeCut();
    this.rows.recycle();
    if (anchor) this.restore(anchor);
    this.drawRows();
  }

  private placeCut(): void {
    const { model } = this;
    const cut = model?.cut ?? null;
    const name = model && hparamOf(model.sort.column);
    this.strip.update(cut, (name && model?.ranking.scales.get(name)?.log) || false);
    if (!cut) return;
    const top = this.tops.tops[cut.line]! - CUT_HEIGHT + HEAD_HEIGHT;
    this.strip.node.style.transform = `translateY(${top}px)`;
    this.strip.node.style.height = `${CUT_HEIGHT}px`;
  }

  private revealCut(): void {
    const cut = this.model?.cut;
    if (!cut) return;
    const bottom = this.tops.tops[cut.line]!;
    this.scrollTo(
      reveal(
        this.scrollTop,
        this.height - HEAD_HEIGHT,
        bottom - CUT_HEIGHT - 3 * ROW_HEIGHT,
        bottom + ROW_HEIGHT,
      ),
    );
  }

  /** The place of the cut nearest to a pointer; the gap counts as no height. */
  private cutPlaceAt(clientY: number): number {
    const cut = this.model?.cut;
    if (!cut) return 0;
    const box = this.node.getBoundingClientRect();
    if (clientY > box.bottom - SCROLL_ZONE) this.node.scrollTop += ROW_HEIGHT;
    else if (clientY < box.top + HEAD_HEIGHT + SCROLL_ZONE) this.node.scrollTop -= ROW_HEIGHT;
    const y = clientY - box.top - HEAD_HEIGHT + this.node.scrollTop;
    const gap = CUT_HEIGHT;
    const now = cut.line;
    const top = (line: number) => this.tops.tops[line]! - (line >= now ? gap : 0);
    let nearest = 0;
    cut.places.forEach((p, i) => {
      if (Math.abs(top(p.line) - y) < Math.abs(top(cut.places[nearest]!.line) - y)) nearest = i;
    });
    return nearest;
  }

  private anchor(): { key: string; offset: number } | null {
    return this.scrollTop === 0 ? null : this.rows.firstBelow(this.scrollTop, this.tops);
  }

  private restore(anchor: { key: string; offset: number }): void {
    const index = this.lineOf(anchor.key);
    if (index >= 0) this.scrollTo(this.tops.tops[index]! - anchor.offset);
  }

  // --- Lines ---

  private onScroll(): void {
    this.tooltip.hide();
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.scrollTop = this.node.scrollTop;
      this.drawRows();
    });
  }

  private drawRows(): void {
    const { model, columns, lane } = this;
    if (!model || !columns || !lane) return;
    const shown = visible(
      this.tops,
      Math.min(this.scrollTop, Math.max(0, this.tops.total + HEAD_HEIGHT - this.height)),
      Math.max(0, this.height - HEAD_HEIGHT),
      SPARE_LINES,
    );
    this.rows.draw(shown, this.tops, { model, columns, lane });
    this.markRows();
  }

  private markRows(): void {
    const id = this.rows.mark(this.state?.selected ?? null, this.active);
    if (id) this.grid.setAttribute("aria-activedescendant", id);
    else this.grid.removeAttribute("aria-activedescendant");
  }

  private lineOf(key: string | null): number {
    return key === null ? -1 : (this.model?.lines.findIndex((l) => keyOfLine(l) === key) ?? -1);
  }

  private revealLine(key: string | null): void {
    const index = this.lineOf(key);
    if (index < 0) return;
    this.scrollTo(
      reveal(
        this.scrollTop,
        this.height - HEAD_HEIGHT,
        this.tops.tops[index]!,
        this.tops.tops[index + 1]!,
      ),
    );
    this.drawRows();
  }

  // --- Input ---

  private onClick(event: Event): void {
    const row = this.rows.at(event.target as Element);
    if (row?.line?.type === "facet") {
      const { name, value } = row.line;
      if ((event.target as Element).matches("input.band") && value !== undefined)
        this.actions.band(name, value);
      else if ((event.target as Element).closest("button"))
        this.actions.cutGroup({ facet: row.line.name, value: row.line.value });
      return;
    }
    const key = keyOfLine(row?.line ?? null);
    if (key !== null) this.actions.select(key === this.state?.selected ? null : key);
  }

  private onKey(event: KeyboardEvent): void {
    if ((event.target as Element).closest("button, input")) return; // they have keys of their own
    const lines = this.model?.lines ?? [];
    const page = Math.max(1, Math.floor((this.height - HEAD_HEIGHT) / ROW_HEIGHT) - 1);
    const zooms: Record<string, () => Zoom> = {
      "+": () => zoomedBy(this.zoom, 0.5, 0.5),
      "-": () => zoomedBy(this.zoom, 2, 0.5),
      "0": () => WHOLE,
      ArrowLeft: () => panned(this.zoom, -0.25),
      ArrowRight: () => panned(this.zoom, 0.25),
    };
    const zoom = zooms[event.key];
    if (zoom && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      this.actions.zoom(zoom());
      return;
    }
    const moves: Record<string, number> = {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: page,
      PageUp: -page,
      Home: -lines.length,
      End: lines.length,
    };
    const move = moves[event.key];
    if (move !== undefined) {
      event.preventDefault();
      this.moveActive(move);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.actions.select(this.active);
    } else if (event.key === "Escape") {
      this.actions.select(null);
    }
  }

  private moveActive(by: number): void {
    const runs = (this.model?.lines ?? []).filter((l) => l.type === "run");
    if (!runs.length) return;
    const now = runs.findIndex((l) => keyOfLine(l) === this.active);
    const next = now < 0 ? (by > 0 ? 0 : runs.length - 1) : now + by;
    this.active = keyOfLine(runs[Math.min(runs.length - 1, Math.max(0, next))]!);
    this.revealLine(this.active);
  }

  private get zoom(): Zoom {
    return this.state?.zoom ?? WHOLE;
  }

  /** Ctrl and the wheel zoom over a lane, Shift and the wheel move what is shown. */
  private onWheel(event: WheelEvent): void {
    const cell = (event.target as Element).closest(".lane-cell");
    if (!cell || !this.columns || !(event.ctrlKey || event.shiftKey)) return;
    event.preventDefault();
    const by = event.deltaY || event.deltaX;
    if (event.ctrlKey) {
      const place = placeIn(cell, event.clientX, LANE_INSET);
      this.actions.zoom(zoomedBy(this.zoom, by > 0 ? 1.25 : 0.8, place));
    } else this.actions.zoom(panned(this.zoom, by > 0 ? 0.1 : -0.1));
  }

  private onHover(event: MouseEvent): void {
    const cell = (event.target as Element).closest(".row .lane-cell");
    const line = cell && this.rows.at(cell)?.line;
    if (cell && line?.type === "run" && this.lane)
      this.pointer.move(cell, line.run, this.lane, event);
    else this.pointer.leave();
  }
}
