// The panel of the chosen run: what happened in words, and where in the network.

import type { Phase, Probe } from "../api/schema.gen";
import type { RunDetail, RunSummary } from "../api/types";
import { keyOf } from "../api/types";
import { rangesCsv, trialJson } from "../format/csv";
import { compact, integer, plural } from "../format/number";
import * as words from "../format/words";
import { composed, type PictureType, savePicture } from "../paint/save";
import type { AxisName } from "../scale/axis";
import { detailAxis } from "../scale/detail";
import { chainOf } from "../state/chain";
import { isIncomplete, originPhase } from "../state/detail";
import { memo } from "../state/memo";
import { onsetStep } from "../state/onset";
import { findRun, type Model, type State } from "../state/state";
import { isBad } from "../state/trials";
import { causes } from "./causes";
import { ChainView } from "./chain";
import { type Child, el, replace, themeColour } from "./dom";
import { download } from "./download";
import { elsewhere } from "./elsewhere";
import { FlightView } from "./flight";
import { HeatmapView } from "./heatmap";
import { LOSS_SCALE, lossScaleRanges } from "./loss_scale";
import { markImage } from "./marks";
import { postmortem } from "./postmortem";
import { prose } from "./prose";
import { RANGE, RangeChartView } from "./range_chart";
import type { Tooltip } from "./tooltip";
import { fold, list, tunerView } from "./tuner_view";

interface DetailActions {
  close(): void;
  phase(phase: Phase): void;
  probe(index: number): void;
}

export class DetailView {
  readonly node = el("section", { class: "detail", "aria-label": "Chosen trial", hidden: true });
  private readonly head = el("div", { class: "detail-head" });
  private readonly facts = el("div", {
    class: "facts",
    tabindex: 0,
    role: "region",
    "aria-label": "What happened",
    scroll: () => {
      this.read = this.facts.scrollTop;
    },
  });
  /** How far down the facts were scrolled: to ask would lay the panel out twice. */
  private read = 0;
  private readonly figures = el("div", { class: "figures" });
  private readonly note = el("p", { class: "note", role: "status" });
  private readonly chain: ChainView;
  private readonly heatmap: HeatmapView;
  private readonly chart = new RangeChartView();
  private readonly flight = new FlightView();
  /** What stands beside the heat map. */
  private figure: Figure = "range";
  private state: State | null = null;
  private model: Model | null = null;
  private shown = "";
  /** What the facts were made of. */
  private told: unknown[] = [];
  /** Views redraw where these differ. */
  private readonly axisOf = memo(
    // A lane may come after its run; epochs and seconds are read from it.
    (name: AxisName, run: RunSummary, phase: Phase, last: number, _lanes: number) =>
      detailAxis(name, run, phase, last),
  );
  private readonly chainOf = memo(chainOf);
  private readonly scaleRanges = memo(lossScaleRanges);

  constructor(
    private readonly actions: DetailActions,
    tooltip: Tooltip,
  ) {
    this.heatmap = new HeatmapView((index) => actions.probe(index), tooltip);
    this.chain = new ChainView((index) => actions.probe(index));
    this.figures.append(
      this.chain.node,
      this.heatmap.node,
      this.chart.node,
      this.flight.node,
      this.note,
    );
    this.node.append(this.head, el("div", { class: "detail-body" }, this.facts, this.figures));
    this.node.addEventListener("keydown", (e) => {
      if (e.key === "Escape") actions.close();
    });
  }

  update(state: State, model: Model): void {
    this.state = state;
    this.model = model;
    const run = findRun(state.overview, state.selected);
    this.node.hidden = run === null;
    if (!run) {
      this.shown = "";
      return;
    }
    const detail = state.detail && keyOf(state.detail.run) === keyOf(run) ? state.detail : null;
    this.drawHead(run, detail, state);
    this.drawFacts(run, detail, model);
    this.drawFigures(run, detail, state, model);
  }

  private drawHead(run: RunSummary, detail: RunDetail | null, state: State): void {
    const phase = state.phase ?? originPhase(run);
    const key = JSON.stringify([
      keyOf(run),
      run.status,
      run.state,
      phase,
      detail?.phases,
      state.theme,
      this.figure,
      state.flight !== null,
      state.ranges !== null,
      detail !== null && detail.lossScaling !== null,
      [...state.plugins],
    ]);
    if (key === this.shown) return;
    this.shown = key;
    const phases = detail?.phases ?? [];
    replace(
      this.head,
      el(
        "h2",
        {},
        isBad(run.status) ? markImage(run.status) : null,
        run.name,
        el("span", { class: `word ${run.status}` }, words.status(run.status, run.state)),
      ),
      run.run !== "." && run.run !== run.name && el("span", { class: "run-name" }, run.run),
      ...elsewhere(run, state.plugins),
      el("span", { class: "spring" }),
      ...this.figureButtons([
        "range",
        ...(state.flight && isBad(run.status) ? (["flight"] as const) : []),
        ...(detail?.lossScaling && phase === "train" ? (["scale"] as const) : []),
      ]),
      ...(detail
        ? downloads(
            run,
            detail,
            () => this.state,
            (type, name) => this.save(type, name, run),
          )
        : []),
      phases.length > 1
        ? el(
            "label",
            {},
            "phase ",
            select(phases, phase, (p) => this.actions.phase(p as Phase)),
          )
        : null,
      el(
        "button",
        {
          type: "button",
          class: "plain",
          title: "close (Escape)",
          "aria-label": "close",
          click: () => this.actions.close(),
        },
        "✕",
      ),
    );
  }

  private figureButtons(figures: readonly Figure[]): HTMLElement[] {
    if (figures.length < 2) return [];
    const shown = figures.includes(this.figure) ? this.figure : "range";
    return figures.map((figure) =>
      el(
        "button",
        {
          type: "button",
          class: "figure-button",
          title: FIGURE_TITLES[figure],
          "aria-pressed": String(shown === figure),
          click: () => {
            this.figure = figure;
            if (this.state && this.model) this.update(this.state, this.model);
            this.head.querySelector<HTMLElement>('[aria-pressed="true"]')?.focus();
          },
        },
        FIGURES[figure],
      ),
    );
  }

  private save(type: PictureType, name: string, run: RunSummary): void {
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

  private drawFacts(run: RunSummary, detail: RunDetail | null, model: Model): void {
    const told = [run, detail, model];
    if (told.every((part, i) => part === this.told[i])) return;
    // What is read on, not what another trial was read to.
    const before = this.told[0] as RunSummary | undefined;
    const scroll = before && keyOf(before) === keyOf(run) ? this.read : 0;
    this.told = told;
    replace(
      this.facts,
      ...happened(run, detail?.run.clean_text || run.clean_text),
      ...causes(run, model.overview.meanings), // why and what to change: what a reader came for
      ...postmortem(run),
      ...tunerView(run, model),
      ...hparams(run, model),
      ...contained(run, detail),
      ...course(run),
      ...environment(detail),
    );
    if (scroll !== 0 || this.read !== 0) this.facts.scrollTop = scroll;
  }

  private drawFigures(run: RunSummary, detail: RunDetail | null, state: State, model: Model): void {
    const phase = state.phase ?? originPhase(run);
    const ranges = detail && state.rangesPhase === phase ? state.ranges : null;
    const probes = detail?.probes[phase] ?? [];
    const empty = ranges !== null && (ranges.buckets === 0 || ranges.probes === 0);
    const ready = ranges !== null && !empty && probes.length > 0;
    const flight = isBad(run.status) && this.figure === "flight" ? state.flight : null;
    const scaling = this.figure === "scale" && phase === "train" ? detail?.lossScaling : null;
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
}

/** The hyperparameters, those that go most with going bad first. */
function telling({ ranking, findings }: Model): string[] {
  const condition = findings[0]?.condition ?? "";
  const found = ranking.names.filter((name) => condition.includes(name));
  return [...new Set([...found, ...ranking.ranked.map((s) => s.name), ...ranking.names])];
}

const PICTURE_WIDTH = 720;

type Figure = "range" | "flight" | "scale";

const FIGURES: Record<Figure, string> = {
  range: "range",
  flight: "last steps",
  scale: "loss scale",
};
const FIGURE_TITLES: Record<Figure, string> = {
  range: "the chosen tensor's values over time",
  flight: "the flight recorder: each tensor in the last steps before the first bad one",
  scale:
    "mixed precision multiplies the loss by this factor; a step in which a gradient then overflows is skipped, and the factor falls",
};

function downloads(
  run: RunSummary,
  detail: RunDetail,
  state: () => State | null,
  picture: (type: PictureType, name: string) => void,
): HTMLElement[] {
  const button = (text: string, title: string, click: () => void) =>
    el("button", { type: "button", class: "download", title, click }, text);
  const name = `${run.run}-${run.session}`;
  return [
    button("CSV ↓", "download the ranges of this phase as CSV", () => {
      const now = state();
      if (!now?.ranges || !now.rangesPhase) return;
      const phase = now.rangesPhase;
      const csv = rangesCsv(now.ranges, detail.probes[phase], phase);
      download(`${name}-${phase}.csv`, "text/csv", csv);
    }),
    button("JSON ↓", "download this run as JSON", () =>
      download(`${name}.json`, "application/json", trialJson(detail)),
    ),
    button("PNG ↓", "download the figures as a PNG picture", () => picture("PNG", name)),
    button("SVG ↓", "download the figures as an SVG picture", () => picture("SVG", name)),
  ];
}

function originProbe(run: RunSummary, phase: Phase, probes: readonly Probe[]): number {
  const { origin } = run;
  if (origin && originPhase(run) === phase) {
    const index = probes.findIndex((p) => p.kind === origin.kind && p.name === origin.name);
    if (index >= 0) return index;
  }
  const loss = probes.findIndex((p) => p.kind === "loss");
  return Math.max(0, loss);
}

function select(
  options: readonly string[],
  value: string,
  change: (v: string) => void,
): HTMLElement {
  const node = el("select", { change: () => change(node.value) });
  for (const option of options)
    node.append(el("option", { value: option, selected: option === value }, option));
  return node;
}

function happened(run: RunSummary, clean: string): Child[] {
  const { onset, origin } = run;
  if (!isBad(run.status)) {
    return [
      el(
        "p",
        { class: "lead", "data-fact": "finite" },
        clean || `${words.capital(words.STATUS_MEANING[run.status])}.`,
      ),
      ...[run.failure_text, run.unwatched_text].map(
        (said) => said && el("p", { "data-fact": "failure" }, ...prose(said)),
      ),
      ...closest(run),
      ...run.scalars.map((s) => el("p", { "data-fact": "scalar" }, s.text)),
    ];
  }
  const rows: [string, Child][] = [];
  if (onset)
    rows.push([
      run.status === "runaway" ? "take-off" : "first bad step",
      el("strong", { "data-fact": "onset" }, words.position(onset)),
    ]);
  if (origin) {
    rows.push([
      "first bad tensor",
      el("strong", { "data-fact": "origin" }, words.tensor(origin.kind, origin.name)),
    ]);
    const counts = words.counts(origin);
    if (counts)
      rows.push(["", el("span", { "data-fact": "counts" }, `${counts}${words.firstBad(origin)}`)]);
    if (!run.postmortem && (origin.source || origin.op)) {
      rows.push(["", `${origin.op ?? "operation"}${origin.source ? ` at ${origin.source}` : ""}`]);
    }
  }
  if (run.steps_after_onset > 0) {
    const spent = run.seconds_after_onset > 0 ? `, ${words.duration(run.seconds_after_onset)}` : "";
    rows.push([
      "trained on",
      `for ${plural(run.steps_after_onset, "more step")}${spent} after it${run.recovered ? "; recovered" : ""}`,
    ]);
  }
  return [
    list(rows),
    el("p", { class: "aside" }, `${words.capital(words.STATUS_MEANING[run.status])}.`),
    run.failure_text && el("p", { "data-fact": "failure" }, ...prose(run.failure_text)),
  ];
}

/** How near a run that stayed finite came to what its numbers can hold. */
function closest(run: RunSummary): Child[] {
  const rows = Object.entries(run.closest)
    .filter(([, share]) => share > 0)
    .map(([dtype, share]): [string, Child] => [
      dtype,
      `at most ${compact(share, 2)} of its largest number (${words.decades(share)})`,
    ]);
  if (!rows.length && !run.closest_call) return [];
  return [
    el("h3", {}, "Closest call"),
    run.closest_call && el("p", { "data-fact": "closest" }, `${run.closest_call.text}.`),
    rows.length > 0 && list(rows),
  ];
}

function hparams(run: RunSummary, model: Model): Child[] {
  const names = model.ranking.names.filter((n) => n in run.hparams);
  if (!names.length && !run.inactive.length) return [];
  const rows = names.map((n): [string, Child] => [n, words.value(run.hparams[n])]);
  for (const name of run.inactive) rows.push([name, "not active"]);
  return [el("h3", {}, "Hyperparameters"), list(rows)];
}

function contained(run: RunSummary, detail: RunDetail | null): Child[] {
  const episodes = detail?.episodes.filter((e) => e.level === "contained") ?? run.contained;
  if (!episodes.length) return [];
  const shown = episodes.slice(0, 8);
  return [
    el("h3", {}, `Contained: ${plural(episodes.length, "episode")}`),
    el("p", { class: "aside" }, "Non-finite, but neither in a loss nor in anything that persists."),
    el(
      "ul",
      {},
      ...shown.map((e) => {
        const first = e.tensors[e.new[0] ?? 0];
        const what = first
          ? `${words.tensor(first.kind, first.name)}: ${words.counts(first)}, `
          : "";
        return el("li", {}, `${what}${words.episodeSpan(e)}`);
      }),
      episodes.length > shown.length
        ? el("li", {}, `and ${integer(episodes.length - shown.length)} more`)
        : null,
    ),
  ];
}

function course(run: RunSummary): Child[] {
  const planned = run.epochs_planned === null ? "" : ` of ${integer(run.epochs_planned)}`;
  const rows: [string, Child][] = [
    ["trained", `${plural(run.steps, "step")}, epoch ${integer(run.epochs)}${planned}`],
    ["state", words.stateNote(run.state, run.stopped_by) || "finished"],
  ];
  if (run.updated > run.started) rows.push(["time", words.duration(run.updated - run.started)]);
  if (run.worker) rows.push(["worker", run.worker]);
  if (run.loss_scale !== null) {
    rows.push(["loss scale", `${compact(run.loss_scale, 6)} after the last step`]);
    rows.push(["skipped", plural(run.skipped_steps ?? 0, "step")]);
  }
  const nodes: Child[] = [el("h3", {}, "Training"), list(rows)];
  if (run.error_type) {
    nodes.push(fold(`ended with ${run.error_type}`, el("pre", {}, run.error_message ?? "")));
  }
  if (run.damage.length) {
    nodes.push(
      el("h3", { class: "bad-text" }, "The log is damaged"),
      el("ul", { "data-fact": "damage" }, ...run.damage.map((d) => el("li", {}, d))),
      el(
        "p",
        { class: "aside" },
        "What could be read is shown. If the files were copied, copy the log directory anew; " +
          "if the training was killed, its last records were never written.",
      ),
    );
  }
  return nodes;
}

function environment(detail: RunDetail | null): Child[] {
  if (!detail) return [];
  const e = detail.environment;
  const optimizer =
    typeof e.optimizer.class_name === "string"
      ? e.optimizer.class_name
      : typeof e.optimizer.name === "string"
        ? e.optimizer.name
        : "";
  const rows: [string, Child][] = [];
  const add = (term: string, value: string) => value && rows.push([term, value]);
  add("model", e.model);
  add("optimizer", optimizer);
  add("loss", e.loss);
  add("precision", e.precision);
  if (e.replicas > 1) add("replicas", integer(e.replicas));
  if (e.jit_compile) add("XLA", "compiled");
  if (e.steps_per_execution > 1) add("steps per execution", integer(e.steps_per_execution));
  for (const [name, version] of Object.entries(e.versions)) add(name, version);
  const nodes: Child[] = [];
  if (e.notes.length) {
    nodes.push(el("h3", {}, "Not watched"), el("ul", {}, ...e.notes.map((n) => el("li", {}, n))));
  }
  if (rows.length) nodes.push(fold("environment", list(rows)));
  return nodes;
}
