// SPDX-License-Identifier: Apache-2.0
// The lines of the table that are on screen: those that scroll out are used again.

import { keyOf } from "../api/types";
import type { Line } from "../state/order";
import type { Tops } from "../state/window";
import { takesTrial } from "../state/without";
import { putInOrder } from "./dom";
import { LaneTiles } from "./lane_tiles";
import { Row, type RowContext } from "./row";

export class TableRows {
  private readonly rows = new Map<number, Row>();
  private pool: Row[] = [];
  private readonly lanes = new LaneTiles();

  constructor(private readonly body: HTMLElement) {
    body.append(this.lanes.node);
  }

  /** Drops all rows, since the columns have changed. */
  drop(laneLeft: number): void {
    this.lanes.node.style.left = `${laneLeft}px`;
    for (const row of this.rows.values()) row.node.remove();
    this.rows.clear();
    this.pool = [];
  }

  /** Makes every line draw itself again. */
  recycle(): void {
    this.pool.push(...this.rows.values());
    this.rows.clear();
  }

  /** Draws the lines of an interval, the last one excluded. */
  draw([first, last]: readonly [number, number], tops: Tops, context: RowContext): void {
    const { model, columns, lane } = context;
    for (const [index, row] of this.rows) {
      if (index < first || index >= last) {
        this.rows.delete(index);
        this.pool.push(row);
      }
    }
    const missing: number[] = [];
    for (let index = first; index < last; index++) if (!this.rows.has(index)) missing.push(index);
    // A line keeps the row that it has, so that a focused or pressed element there stays.
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
      row.bind(model.lines[index]!, index, tops.tops[index]!, context);
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
      tops,
      [first, last],
      lane,
      (line) => line.type === "run" && removed !== null && takesTrial(removed.removed, line.trial),
    );
  }

  /** Marks the chosen line and the active one; returns the id of the active row, "" for none. */
  mark(selected: string | null, active: string | null): string {
    let activeId = "";
    for (const row of this.rows.values()) {
      const key = keyOfLine(row.line);
      row.select(key !== null && key === selected, key !== null && key === active);
      if (key !== null && key === active) activeId = row.node.id;
    }
    return activeId;
  }

  /** The row that an element is in. */
  at(inside: Element): Row | undefined {
    const node = inside.closest(".row");
    return [...this.rows.values()].find((r) => r.node === node);
  }

  /** The first run at or below a height, and how far below it begins. */
  firstBelow(top: number, tops: Tops): { key: string; offset: number } | null {
    for (const [index, row] of [...this.rows].sort(([a], [b]) => a - b)) {
      const at = tops.tops[index]!;
      if (row.line?.type === "run" && at >= top)
        return { key: keyOf(row.line.run), offset: at - top };
    }
    return null;
  }
}

/** The identity of a line, which a new order or new data does not change. */
function nameOfLine(line: Line): string {
  return line.type === "run" ? keyOf(line.run) : JSON.stringify([line.name, line.value]);
}

export function keyOfLine(line: Line | null): string | null {
  return line?.type === "run" ? keyOf(line.run) : null;
}
