// SPDX-License-Identifier: Apache-2.0
// The tooltip for the lane under the pointer: the picture's values, then the exact ones.

import type { LaneSeries } from "../api/schema.gen";
import type { RunSummary } from "../api/types";
import { type LaneStyle, laneFacts } from "./lane";
import type { Tooltip } from "./tooltip";

const POINTED_MS = 80;
export type ExactLane = Record<LaneSeries, Float32Array>;

export class LanePointer {
  /** Exact numbers of the lane under the pointer; null until they have come. */
  private pointed: { run: RunSummary; pixel: number; x: number; y: number } | null = null;
  private exact: { run: RunSummary; values: ExactLane | null } | null = null;
  private lane: LaneStyle | null = null;

  constructor(
    private readonly ask: (run: RunSummary) => Promise<ExactLane>,
    private readonly tooltip: Tooltip,
  ) {}

  leave(): void {
    this.pointed = null;
    this.tooltip.hide();
  }

  /** Says what lies below the pointer: `cell` is the lane of `run`. */
  move(cell: Element, run: RunSummary, lane: LaneStyle, event: MouseEvent): void {
    this.lane = lane;
    const { clientX: x, clientY: y } = event;
    const pixel = x - cell.getBoundingClientRect().left;
    this.pointed = { run, pixel, x, y };
    if (this.exact?.run !== run) this.askExact(run);
    this.tooltip.show(laneFacts(run, lane, pixel, this.exact?.values), x, y);
  }

  private askExact(run: RunSummary): void {
    const asked = { run, values: null as ExactLane | null };
    this.exact = asked;
    // A pointer that passes over a hundred lanes asks for none of them.
    setTimeout(() => {
      if (this.exact !== asked || this.pointed?.run !== run) return;
      this.ask(run).then(
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
