// SPDX-License-Identifier: Apache-2.0
// The figures of the chosen run: the chain, the heat map, and one figure beside it.

import type { Phase, Probe } from "../api/schema.gen";
import type { RunDetail, RunSummary } from "../api/types";
import * as words from "../format/words";
import { composed, type PictureType, savePicture } from "../paint/save";
import type { AxisName } from "../scale/axis";
import { detailAxis } from "../scale/detail";
import { chainOf } from "../state/chain";
import { isIncomplete, originPhase } from "../state/detail";
import { memo } from "../state/memo";
import { onsetStep } from "../state/onset";
import type { Model, State } from "../state/state";
import { isBad } from "../state/trials";
import { ChainView } from "./chain";
import { el, themeColour } from "./dom";
import { FlightView } from "./flight";
import { HeatmapView } from "./heatmap";
import { LOSS_SCALE, lossScaleRanges } from "./loss_scale";
import { RANGE, RangeChartView } from "./range_chart";
import type { Tooltip } from "./tooltip";

/** The hyperparameters, those that go most with going bad first. */
function telling({ ranking, findings }: Model): string[] {
  const condition = findings[0]?.condition ?? "";
  const found = ranking.names.filter((name) => condition.includes(name));
  return [...new Set([...found, ...ranking.ranked.map((s) => s.name), ...ranking.names])];
}

const PICTURE_WIDTH = 720;

export type Figure = "range" | "flight" | "scale";

export const FIGURES: Record<Figure, string> = {
  range: "range",
  flight: "last steps",
  scale: "loss scale",
};
export const FIGURE_TITLES: Record<Figure, string> = {
  range: "the chosen tensor's values over time",
  flight: "the flight recorder: each tensor in the last steps before the first bad one",
  scale:
    "mixed precision multiplies the loss by this factor; a step in which a gradient then overflows is skipped, and the factor falls",
};

function originProbe(run: RunSummary, phase: Phase, probes: readonly Probe[]): number {
  const { origin } = run;
  if (origin && originPhase(run) === phase) {
    const index = probes.findIndex((p) => p.kind === origin.kind && p.name === origin.name);
    if (index >= 0) return index;
  }
  const loss = probes.findIndex((p) => p.kind === "loss");
  return Math.max(0, loss);
}

export class Figures {
  readonly node = el("div", { class: "figures" });
  /** What stands beside the heat map. */
  shown: Figure = "range";
  private readonly note = el("p", { class: "note", role: "status" });
  private readonly chain: ChainView;
  private readonly heatmap: HeatmapView;
  private readonly chart = new RangeChartView();
  private readonly flight = new FlightView();
  /** Views redraw where these differ. */
  private readonly axisOf = memo(
    // A lane may come after its run; epochs and seconds are read from it.
    (name: AxisName, run: RunSummary, phase: Phase, last: number, _lanes: number) =>
      detailAxis(name, run, phase, last),
  );
  private readonly chainOf = memo(chainOf);
  private readonly scaleRanges = memo(lossScaleRanges);

  constructor(choose: (probe: number) => void, tooltip: Tooltip) {
    this.heatmap = new HeatmapView(choose, tooltip);
    this.chain = new ChainView(choose);
    this.node.append(
      this.chain.node,
      this.heatmap.node,
      this.chart.node,
      this.flight.node,
      this.note,
    );
  }

  update(run: RunSummary, detail: RunDetail | null, state: State, model: Model): void {
    const phase = state.phase ?? originPhase(run);
    const ranges = detail && state.rangesPhase === phase ? state.ranges : null;
    const probes = detail?.probes[phase] ?? [];
    const empty = ranges !== null && (ranges.buckets === 0 || ranges.probes === 0);
    const ready = ranges !== null && !empty && probes.length > 0;
    const flight = isBad(run.status) && this.shown === "flight" ? state.flight : null;
    const scaling = this.shown === "scale" && phase === "train" ? detail?.lossScaling : null;
    this.heatmap.node.hidden = !ready;
    this.chart.node.hidden = !ready || flight !== null;
    this.flight.node.hidden = !ready || flight === null;
    this.note.hidden = ready;
    this.chain.node.hidden = true;
    if (!ready) {
      this.note.textContent = state.detailError
        ? `Could not read this run: ${state.detailError}. It is tried again when the run changes; select the trial again to retry now.`
        : empty && isIncomplete(run)
          ? "TensorBoard has not loaded all of this run's log yet; its ranges appear when it has."
          : empty
            ? "No ranges were recorded for this phase yet. They are written at every reading of the watched steps and at the end of each epoch."
            : "Reading the ranges…";
      return;
    }
    const onset = onsetStep(run, phase, state.flight, probes);
    const index = Math.min(state.probe ?? originProbe(run, phase, probes), ranges.probes - 1);
    const probe = probes[index]!;
    const last = ranges.steps[2 * ranges.buckets - 1]! + 1;
    const axis = this.axisOf(state.xScale, run, phase, last, state.lanes);
    const chain =
      onset === null ? null : this.chainOf(probes, run.origin, onset, state.flight, ranges);
    this.chain.node.hidden = chain === null;
    if (chain)
      this.chain.update({
        chain,
        run,
        probes,
        hparams: telling(model).map((name) => [name, run.hparams[name]]),
        theme: state.theme,
        chosen: index,
      });
    this.heatmap.update(
      {
        ranges,
        probes,
        axis,
        theme: state.theme,
        phase,
        onset,
        origin: run.origin,
        lost: run.status === "diverged",
      },
      index,
    );
    if (flight)
      this.flight.update({ flight, probes, theme: state.theme, onset, origin: run.origin });
    else if (scaling)
      this.chart.update({
        ranges: this.scaleRanges(scaling),
        probe,
        index: 0,
        axis,
        theme: state.theme,
        onset,
        texts: LOSS_SCALE,
      });
    else this.chart.update({ ranges, probe, index, axis, theme: state.theme, onset, texts: RANGE });
  }

  save(type: PictureType, name: string, run: RunSummary): void {
    const heat = this.heatmap.picture(PICTURE_WIDTH);
    const range = this.chart.picture(PICTURE_WIDTH, PICTURE_WIDTH / 2);
    const parts = [heat, range].filter((p) => p !== null);
    if (!parts.length) return;
    const onset = run.onset && isBad(run.status) ? `, ${words.position(run.onset)}` : "";
    const title = `${run.name}: ${words.status(run.status, run.state)}${onset}; ${this.chart.heading}`;
    const family = getComputedStyle(this.node).fontFamily;
    const colours = { ground: themeColour("ground"), ink: themeColour("ink"), family };
    savePicture(type, name, composed(title, parts, colours));
  }
}
