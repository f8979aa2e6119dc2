// SPDX-License-Identifier: Apache-2.0
// The lanes of the table, several lines to a canvas. Each canvas costs the browser a layer
// at every frame of a scroll, so there are few; and a line is painted again only where its
// content or its place has changed.

import type { Lane, RunSummary } from "../api/types";
import type { Line } from "../state/order";
import type { Tops } from "../state/window";
import { el, prepareCanvas } from "./dom";
import { type LaneStyle, paintLane } from "./lane";
import { ROW_HEIGHT } from "./row";

const LINES = 16;
// As .row.superseded and .row.removed of the style sheet.
const FADED = { superseded: 0.62, removed: 0.45 };

/** The content that was last painted for one line. */
interface Painted {
  run: RunSummary;
  lane: Lane;
  y: number;
  alpha: number;
}

interface Tile {
  canvas: HTMLCanvasElement;
  style: LaneStyle | null;
  height: number;
  painted: (Painted | null)[];
}

export class LaneTiles {
  readonly node = el("div", { class: "lanes", "aria-hidden": "true" });
  private readonly tiles = new Map<number, Tile>();
  private readonly pool: Tile[] = [];

  /** @param removed says whether an edit of the search space leaves a line out. */
  draw(
    lines: readonly Line[],
    { tops }: Tops,
    [first, last]: readonly [number, number],
    style: LaneStyle,
    removed: (line: Line) => boolean,
  ): void {
    const from = Math.floor(first / LINES);
    const to = Math.ceil(last / LINES);
    for (const [index, tile] of this.tiles) {
      if (index >= from && index < to) continue;
      this.tiles.delete(index);
      this.pool.push(tile);
    }
    for (let index = from; index < to; index++) {
      let tile = this.tiles.get(index);
      if (!tile) {
        tile = this.pool.pop() ?? newTile();
        this.tiles.set(index, tile);
      }
      const start = index * LINES;
      const end = Math.min(lines.length, start + LINES);
      const top = tops[start]!;
      const wanted = lines.slice(start, end).map((line, i): Painted | null => {
        if (line.type !== "run") return null;
        const { run } = line;
        const alpha = (run.superseded ? FADED.superseded : 1) * (removed(line) ? FADED.removed : 1);
        return { run, lane: run.lane, y: tops[start + i]! - top, alpha };
      });
      paint(tile, wanted, tops[end]! - top, style);
      tile.canvas.style.top = `${top}px`;
      if (!tile.canvas.isConnected) this.node.append(tile.canvas);
    }
    for (const tile of this.pool) tile.canvas.remove();
  }
}

function newTile(): Tile {
  const canvas = el("canvas", { class: "lane" });
  return { canvas, style: null, height: 0, painted: [] };
}

function paint(tile: Tile, wanted: (Painted | null)[], height: number, style: LaneStyle): void {
  const kept = tile.style !== null && sameStyle(tile.style, style) && tile.height === height;
  if (kept && wanted.every((w, i) => same(tile.painted[i], w))) return;
  const c = prepareCanvas(tile.canvas, style.width, height, !kept);
  if (!c) return;
  // Clear first: a line that moved may lie where another one was.
  if (kept)
    tile.painted.forEach((was, i) => {
      if (was && !same(was, wanted[i])) c.clearRect(0, was.y, style.width, ROW_HEIGHT);
    });
  wanted.forEach((line, i) => {
    if (!line || (kept && same(tile.painted[i], line))) return;
    c.save();
    c.clearRect(0, line.y, style.width, ROW_HEIGHT);
    c.translate(0, line.y);
    c.globalAlpha = line.alpha;
    paintLane(c, line.run, style);
    c.restore();
  });
  Object.assign(tile, { style, height, painted: wanted });
  tile.canvas.dataset.drawn = String(wanted.some((w) => w !== null && w.lane.steps.length > 0));
}

const sameStyle = (a: LaneStyle, b: LaneStyle): boolean =>
  (Object.keys(a) as (keyof LaneStyle)[]).every((key) => Object.is(a[key], b[key]));

function same(a: Painted | null | undefined, b: Painted | null | undefined): boolean {
  if (!a || !b) return !a && !b;
  return a.run === b.run && a.lane === b.lane && a.y === b.y && a.alpha === b.alpha;
}
