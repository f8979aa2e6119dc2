// SPDX-License-Identifier: Apache-2.0
// The head of the table: what the columns are called, their common axes, and the timeline.

import * as words from "../format/words";
import type { AxisName } from "../scale/axis";
import { stretch, WHOLE, type Zoom } from "../scale/zoom";
import { hparamColumn, type SortColumn } from "../state/order";
import type { Model } from "../state/state";
import { brush } from "./brush";
import type { Columns } from "./columns";
import { el, replace, tickLabel } from "./dom";
import { LANE_INSET } from "./lane";

const TIMELINES: Record<AxisName, string> = {
  log: "timeline, by training step",
  linear: "timeline, by training step",
  epoch: "timeline, by epoch",
  time: "timeline, by wall time",
  onset: "timeline, steps before the first bad one (or the end)",
};
/** The key by which the focus is restored when the head is drawn again. */
const MORE_COLUMNS = "more";

interface HeadActions {
  sort(column: SortColumn): void;
  /** Filters by a range of a hyperparameter; null takes the range away. */
  range(hparam: string, range: readonly [number, number] | null): void;
  zoom(zoom: Zoom): void;
  /** Shows the hyperparameters that did not fit, or hides them again. */
  more(): void;
}

export class TableHead {
  readonly node = el("div", { role: "row", class: "head", "aria-rowindex": "1" });

  constructor(private readonly actions: HeadActions) {}

  update(model: Model, columns: Columns, zoom: Zoom): void {
    const focused = (document.activeElement as HTMLElement | null)?.dataset.column;
    replace(
      this.node,
      this.cell(model, "trial", "trial", "trial"),
      ...columns.hparams.map((cell) => {
        const scale = model.ranking.scales.get(cell.name)!;
        const header = this.cell(model, hparamColumn(cell.name), cell.name, "hparam");
        if (cell.after) {
          header.style.paddingRight = `${cell.after + 8}px`;
          header.append(this.moreButton(columns));
        }
        if (cell.axis) {
          const bounds = boundsOf(model, cell.name);
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
            this.brushed(bar, model, cell.name);
          }
        }
        return header;
      }),
      this.cell(model, "onset", "status · first bad step", "status"),
      this.laneHead(model, columns, zoom),
      this.scoreHead(model),
    );
    if (focused) {
      this.node.querySelector<HTMLElement>(`[data-column="${CSS.escape(focused)}"]`)?.focus();
    }
  }

  /** A range that is dragged over a number's axis filters by it. */
  private brushed(bar: HTMLElement, model: Model, name: string): void {
    const scale = model.ranking.scales.get(name)!;
    bar.title = "drag over a range to filter by it; a double click takes it away";
    brush(bar, 0, (a, b) => {
      const low = a === null ? null : scale.invert(Math.min(a, b!));
      const high = a === null ? null : scale.invert(Math.max(a, b!));
      this.actions.range(name, low === null || high === null ? null : [low, high]);
    });
  }

  private cell(model: Model, column: SortColumn, label: string, kind: string): HTMLElement {
    const { sort } = model;
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

  private laneHead(model: Model, columns: Columns, zoom: Zoom): HTMLElement {
    const cell = this.cell(model, "steps", TIMELINES[model.axis.name], "lane-cell");
    const span = columns.lane - 2 * LANE_INSET;
    const ticks = el("div", { class: "ticks", "aria-hidden": "true" });
    for (const tick of model.axis.ticks(span)) {
      ticks.append(tickLabel(tick, LANE_INSET + tick.at * span));
    }
    cell.append(ticks);
    brush(ticks, LANE_INSET, (a, b) =>
      this.actions.zoom(a === null ? WHOLE : stretch(zoom, a, b!)),
    );
    ticks.title =
      "Drag over a stretch to zoom into it; Ctrl and the wheel zoom, Shift and the wheel " +
      "move, a double click shows all. In the table: +, -, 0 and the arrow keys.";
    if (zoom !== WHOLE) {
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

  private scoreHead(model: Model): HTMLElement {
    const { search, score } = model;
    const cell = this.cell(model, "score", "score", "score");
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
        click: () => this.actions.more(),
      },
      columns.showsAll ? "− fewer" : `+${columns.spare.length} more`,
    );
  }
}

/** The least and the greatest value of a hyperparameter, declared or tried, in words. */
function boundsOf(model: Model, name: string): [string, string] | null {
  const { ranking, trials } = model;
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
