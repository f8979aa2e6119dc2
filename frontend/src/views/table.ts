// The table of trials: a sticky head with the common axes, and only those lines that are
// on screen.

import type { JSONScalar, LaneSeries } from "../api/schema.gen";
import { keyOf, type RunSummary } from "../api/types";
import * as words from "../format/words";
import type { AxisName } from "../scale/axis";
import { panned, stretch, WHOLE, type Zoom, zoomedBy } from "../scale/zoom";
import type { Group } from "../state/cut";
import { hparamColumn, hparamOf, type Line, type SortColumn } from "../state/order";
import type { Model, State } from "../state/state";
import { reveal, sumHeights, type Tops, visible } from "../state/window";
import { takesTrial } from "../state/without";
import { brush, placeIn } from "./brush";
import { type Columns, layOut } from "./columns";
import { CUT_HEIGHT, type CutActions, CutStrip } from "./cut";
import { el, putInOrder, replace, tickLabel } from "./dom";
import { LANE_INSET, type LaneStyle, laneFacts } from "./lane";
import { LaneTiles } from "./lane_tiles";
import { FACET_HEIGHT, ROW_HEIGHT, Row } from "./row";
import type { Tooltip } from "./tooltip";

const HEAD_HEIGHT = 34;
const SPARE_LINES = 6;

const TIMELINES: Record<AxisName, string> = {
  log: "timeline, by training step",
  linear: "timeline, by training step",
  epoch: "timeline, by epoch",
  time: "timeline, by wall time",
  onset: "timeline, steps before the first bad one (or the end)",
};
// Near the edge a dragged cut scrolls the table.
const SCROLL_ZONE = 26;

const POINTED_MS = 80;
/** Under this name the focus is found again when the head is drawn anew. */
const MORE_COLUMNS = "more";

type ExactLane = Record<LaneSeries, Float32Array>;

interface TableActions {
  sort(column: SortColumn): void;
  select(key: string | null): void;
  /** The exact values of a run's lane. */
  exactLane(run: RunSummary): Promise<ExactLane>;
  /** Places a cut in a facet's group. */
  cutGroup(group: Group): void;
  /** Checks a band off, or on again. */
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
  private readonly head = el("div", { role: "row", class: "head", "aria-rowindex": "1" });
  private readonly body = el("div", { class: "body", role: "rowgroup" });
  private readonly lanes = new LaneTiles();
  private readonly rows = new Map<number, Row>();
  private pool: Row[] = [];
  private model: Model | null = null;
  private state: State | null = null;
  private columns: Columns | null = null;
  private lane: LaneStyle | null = null;
  private tops: Tops = sumHeights([]);
  private active: string | null = null;
  private showAll = false;
  /** Exact numbers of the lane under the pointer; null until they have come. */
  private pointed: { run: RunSummary; pixel: number; x: number; y: number } | null = null;
  private exact: { run: RunSummary; values: ExactLane | null } | null = null;
  private frame = 0;
  private layoutKey = "";
  // As the browser last told them. To ask for them after a change would have it lay out
  // everything at once, and once more before it paints.
  private width = 0;
  private height = 0;
  private scrollTop = 0;

  constructor(
    private readonly actions: TableActions,
    private readonly tooltip: Tooltip,
  ) {
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
        mouseleave: () => {
          this.pointed = null;
          tooltip.hide();
        },
      },
      el("div", { class: "head-group", role: "rowgroup" }, this.head),
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
    this.body.append(this.lanes.node);
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
    // another hyperparameter now says more, what is read stays where it is.
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
      this.dropRows();
      this.node.style.setProperty("--columns", columns.template);
      this.node.style.setProperty("--width", `${columns.total}px`);
      this.lanes.node.style.left = `${columns.laneLeft}px`;
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
    this.drawHead();
    this.placeCut();
    this.recycle();
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
    const { scrollTop } = this;
    if (scrollTop === 0) return null;
    for (const row of this.rowsInOrder()) {
      const index = this.indexOfRow(row);
      if (row.line?.type === "run" && index >= 0 && this.tops.tops[index]! >= scrollTop) {
        return { key: keyOf(row.line.run), offset: this.tops.tops[index]! - scrollTop };
      }
    }
    return null;
  }

  private restore(anchor: { key: string; offset: number }): void {
    const index = this.lineOf(anchor.key);
    if (index >= 0) this.scrollTo(this.tops.tops[index]! - anchor.offset);
  }

  private rowsInOrder(): Row[] {
    return [...this.rows].sort((a, b) => a[0] - b[0]).map(([, row]) => row);
  }

  private indexOfRow(row: Row): number {
    for (const [index, candidate] of this.rows) if (candidate === row) return index;
    return -1;
  }

  // --- Head ---

  private drawHead(): void {
    const { model, columns } = this;
    if (!model || !columns) return;
    const focused = (document.activeElement as HTMLElement | null)?.dataset.column;
    replace(
      this.head,
      this.headCell("trial", "trial", "trial"),
      ...columns.hparams.map((cell) => {
        const scale = model.ranking.scales.get(cell.name)!;
        const header = this.headCell(hparamColumn(cell.name), cell.name, "hparam");
        if (cell.after) {
          header.style.paddingRight = `${cell.after + 8}px`;
          header.append(this.moreButton(columns));
        }
        if (cell.axis) {
          const bounds = this.bounds(cell.name);
          if (bounds) {
            const bar = el(
              "div",
              {
                class: `bounds${cell.written ? " written" : ""}${bounds[0] === bounds[1] ? " one" : ""}`,
                "aria-hidden": "true",
              },
              ...(bounds[0] === bounds[1]
                ? [el("span", {}, bounds[0])]
                : [
                    el("span", {}, bounds[0]),
                    scale.log && el("span", {}, "log"),
                    el("span", {}, bounds[1]),
                  ]),
            );
            header.append(bar);
            this.brushed(bar, cell.name);
          }
        }
        return header;
      }),
      this.headCell("onset", "status · first bad step", "status"),
      this.laneHead(),
      this.scoreHead(),
    );
    if (focused) {
      this.head.querySelector<HTMLElement>(`[data-column="${CSS.escape(focused)}"]`)?.focus();
    }
  }

  /** A range that is dragged over a number's axis filters by it. */
  private brushed(bar: HTMLElement, name: string): void {
    const scale = this.model!.ranking.scales.get(name)!;
    bar.title = "drag over a range to filter by it; a double click takes it away";
    brush(bar, 0, (a, b) => {
      const low = a === null ? null : scale.invert(Math.min(a, b!));
      const high = a === null ? null : scale.invert(Math.max(a, b!));
      this.actions.range(name, low === null || high === null ? null : [low, high]);
    });
  }

  private headCell(column: SortColumn, label: string, kind: string): HTMLElement {
    const { sort } = this.model!;
    const sorted = sort.column === column;
    const button = el(
      "button",
      {
        type: "button",
        class: "sort",
        "data-column": column,
        title: `sort by ${label}`,
        click: () => this.actions.sort(column),
      },
      el("span", { class: "label" }, label),
      el(
        "span",
        { class: "arrow", "aria-hidden": "true" },
        sorted ? (sort.descending ? "▼" : "▲") : "",
      ),
    );
    return el(
      "div",
      {
        role: "columnheader",
        class: `cell ${kind}${sorted ? " sorted" : ""}`,
        "aria-sort": sorted ? (sort.descending ? "descending" : "ascending") : "none",
      },
      button,
    );
  }

  private bounds(name: string): [string, string] | null {
    const { ranking, trials } = this.model!;
    const space = ranking.space.find((h) => h.name === name);
    const scale = ranking.scales.get(name)!;
    const values = trials
      .map((t) => t.hparams[name])
      .filter((v): v is number => typeof v === "number");
    const declared = (space?.type === "choice" ? (space.values ?? []) : []).filter(
      (v): v is number => typeof v === "number",
    );
    const all = [...values, ...declared, space?.min, space?.max].filter(
      (v): v is number => typeof v === "number" && Number.isFinite(v),
    );
    if (!all.length) return null;
    const show = (v: number) => words.value(v, scale.log);
    return [show(Math.min(...all)), show(Math.max(...all))];
  }

  private laneHead(): HTMLElement {
    const { model, columns } = this;
    const cell = this.headCell("steps", TIMELINES[model!.axis.name], "lane-cell");
    const span = columns!.lane - 2 * LANE_INSET;
    const ticks = el("div", { class: "ticks", "aria-hidden": "true" });
    for (const tick of model!.axis.ticks(span)) {
      ticks.append(tickLabel(tick, LANE_INSET + tick.at * span));
    }
    cell.append(ticks);
    brush(ticks, LANE_INSET, (a, b) =>
      this.actions.zoom(a === null ? WHOLE : stretch(this.zoom, a, b!)),
    );
    ticks.title =
      "Drag over a stretch to zoom into it; Ctrl and the wheel zoom, Shift and the wheel " +
      "move, a double click shows all. In the table: +, -, 0 and the arrow keys.";
    if (this.zoom !== WHOLE) {
      cell.append(
        el(
          "button",
          { type: "button", class: "zoom-out", click: () => this.actions.zoom(WHOLE) },
          "show all",
        ),
      );
    }
    return cell;
  }

  private scoreHead(): HTMLElement {
    const { search, score } = this.model!;
    const cell = this.headCell("score", "score", "score");
    if (search.objective) {
      const direction = search.direction ? `, ${search.direction}` : "";
      const log = score.log ? ", log" : "";
      cell.append(el("div", { class: "objective" }, `${search.objective}${direction}${log}`));
    }
    return cell;
  }

  private moreButton(columns: Columns): HTMLElement {
    return el(
      "button",
      {
        type: "button",
        class: "more",
        "data-column": MORE_COLUMNS,
        title: columns.showsAll
          ? "show only the hyperparameters that fit"
          : `hyperparameters that are not shown: ${columns.spare.join(", ")}`,
        "aria-expanded": String(columns.showsAll),
        click: () => {
          this.showAll = !this.showAll;
          this.layOutAndDraw();
        },
      },
      columns.showsAll ? "− fewer" : `+${columns.spare.length} more`,
    );
  }

  // --- Lines ---

  private dropRows(): void {
    for (const row of this.rows.values()) row.node.remove();
    this.rows.clear();
    this.pool = [];
  }

  private recycle(): void {
    this.pool.push(...this.rows.values());
    this.rows.clear();
  }

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
    const [first, last] = visible(
      this.tops,
      Math.min(this.scrollTop, Math.max(0, this.tops.total + HEAD_HEIGHT - this.height)),
      Math.max(0, this.height - HEAD_HEIGHT),
      SPARE_LINES,
    );
    for (const [index, row] of this.rows) {
      if (index < first || index >= last) {
        this.rows.delete(index);
        this.pool.push(row);
      }
    }
    const missing: number[] = [];
    for (let index = first; index < last; index++) if (!this.rows.has(index)) missing.push(index);
    // A line keeps its row where it has one: what is focused or pressed there stays itself.
    const own = new Map(this.pool.map((row) => [nameOfLine(row.line!), row]));
    const kept = new Map<number, Row>();
    for (const index of missing) {
      const row = own.get(nameOfLine(model.lines[index]!));
      if (row) kept.set(index, row);
    }
    const taken = new Set(kept.values());
    this.pool = this.pool.filter((row) => !taken.has(row));
    for (const index of missing) {
      const row =
        kept.get(index) ??
        this.pool.pop() ??
        new Row(columns, (name) => model.ranking.scales.get(name)?.stops ?? []);
      row.bind(model.lines[index]!, index, this.tops.tops[index]!, { model, columns, lane });
      if (!row.node.isConnected) this.body.append(row.node);
      this.rows.set(index, row);
    }
    for (const row of this.pool) row.node.remove();
    if (missing.length) {
      const shown = [...this.rows].sort(([a], [b]) => a - b);
      putInOrder(shown.map(([, row]) => row.node));
    }
    const { removed } = model;
    this.lanes.draw(
      model.lines,
      this.tops,
      [first, last],
      lane,
      (line) => line.type === "run" && removed !== null && takesTrial(removed.removed, line.trial),
    );
    this.markRows();
  }

  private markRows(): void {
    const selected = this.state?.selected ?? null;
    let activeId = "";
    for (const row of this.rows.values()) {
      const key = keyOfLine(row.line);
      row.select(key !== null && key === selected, key !== null && key === this.active);
      if (key !== null && key === this.active) activeId = row.node.id;
    }
    if (activeId) this.grid.setAttribute("aria-activedescendant", activeId);
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

  private rowOf(inside: Element): Row | undefined {
    const node = inside.closest(".row");
    return [...this.rows.values()].find((r) => r.node === node);
  }

  private onClick(event: Event): void {
    const row = this.rowOf(event.target as Element);
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
    const line = cell && this.rowOf(cell)?.line;
    if (!cell || line?.type !== "run" || !this.lane) {
      this.pointed = null;
      this.tooltip.hide();
      return;
    }
    const { run } = line;
    const { clientX: x, clientY: y } = event;
    const pixel = x - cell.getBoundingClientRect().left;
    this.pointed = { run, pixel, x, y };
    if (this.exact?.run !== run) this.askExact(run);
    this.tooltip.show(laneFacts(run, this.lane, pixel, this.exact?.values), x, y);
  }

  private askExact(run: RunSummary): void {
    const asked = { run, values: null as ExactLane | null };
    this.exact = asked;
    // A pointer that passes over a hundred lanes asks for none of them.
    setTimeout(() => {
      if (this.exact !== asked || this.pointed?.run !== run) return;
      this.actions.exactLane(run).then(
        (values) => {
          asked.values = values;
          const { pointed, lane } = this;
          if (this.exact !== asked || pointed?.run !== run || !lane) return;
          this.tooltip.show(laneFacts(run, lane, pointed.pixel, values), pointed.x, pointed.y);
        },
        () => undefined, // what is shown stays about right
      );
    }, POINTED_MS);
  }
}

/** What a line stands for: the same one in another order, or when told anew. */
function nameOfLine(line: Line): string {
  return line.type === "run" ? keyOf(line.run) : JSON.stringify([line.name, line.value]);
}

function keyOfLine(line: Line | null): string | null {
  return line?.type === "run" ? keyOf(line.run) : null;
}
