// What the HTTP API answers (tb_nanwatch/reading/tab/http_api.md), after decoding:
// the strings "NaN", "Infinity" and "-Infinity" have become numbers.

import type {
  BadTensor,
  Boundary,
  Episode,
  HParam,
  JSONScalar,
  LaneSeries,
  Lineage,
  Misread,
  Phase,
  Position,
  PostMortem,
  Probe,
  State,
  Status,
} from "./schema.gen";

export interface Lane {
  /** Last step of each point; points are contiguous from step 0. */
  steps: Float64Array;
  /** Seconds since the start, at the end of each point. */
  seconds: Float64Array;
  /** Epoch of each point, from 0. */
  epochs: Float64Array;
  series: Record<LaneSeries, Float64Array>;
  /** The least and the largest finite, positive value; null where there is none. */
  extremes(series: LaneSeries): [number, number] | null;
}

export interface Origin extends BadTensor {
  op: string | null;
  source: string | null;
}

export interface Cause {
  id: string;
  /** As people say it: "division by zero in your loss". */
  label: string;
  /** "tested", "likely" or "unclear". */
  sure: string;
  confidence: number | null;
  evidence: string[];
  fix: string;
}

/** What a run that went bad comes down to, in the words of printed answer and report. */
export interface Answer {
  /** "diverged at epoch 1, batch 3". */
  happened: string;
  /** "learning rate too high". */
  cause: string;
  why: string;
  /** "tested", "likely" or "unclear"; "" where the cause is unknown. */
  sure: string;
  /** How often causes as sure as this one were right of other people's programs. */
  record: string;
  fix: string;
  /** What an experiment has shown of it; "" where none did. */
  tested: string;
  where: string;
  after: string;
}

/** What a stability search found out. */
export interface Frontier {
  /** Each with its line of the report. */
  boundaries: (Boundary & { text: string })[];
  /** Declares the space that lives; "" where nothing does. */
  code: string;
  /** Steps of training for which it holds. */
  steps: number;
}

/** What stands first of a search, in the server's sentences. */
export interface FirstScreen {
  /** "4 of 24 trials diverged". */
  happened: string;
  why: string;
  /** "tested", "likely" or "unclear"; "" where the cause is unknown. */
  sure: string;
  where: string;
  fix: string;
  tested: string;
  /** How to go on once that is changed. */
  next: string;
  /** What nobody must miss beside it. */
  notes: string[];
  /** What it rests on: counts, p values, rival conditions, reasons, cost. */
  more: string[];
}

/** A scalar of a run without NaN Watch with epochs that were not finite. */
export interface BadScalar {
  phase: string;
  tag: string;
  /** From 0. */
  first_epoch: number;
  count: number;
  total: number;
  text: string;
}

export interface SearchSummary {
  /** "" for runs without a search. */
  search: string;
  name: string;
  tuner: string;
  objective: string | null;
  direction: "min" | "max" | null;
  started: number;
  trials: number;
  by_status: Partial<Record<Status, number>>;
  verdict: string;
  first: FirstScreen;
  /** The trials of a stability search are short, have no score, and went bad on purpose. */
  purpose: "search" | "stability";
  frontier: Frontier | null;
  /** How it fared in the space that an earlier stability search found to live. */
  afterwards: string;
  hparams: HParam[];
  /** Versions of the blocks in which the lanes are asked for. */
  lanes: string[];
  rates: HParamRate[];
}

/** How many trials went bad at one value of a hyperparameter, or in one part of its range. */
export interface HParamRate {
  hparam: string;
  label: string;
  bad: number;
  total: number;
  /** Wilson's 95 % interval of the rate. */
  low: number;
  high: number;
}

export interface RunSummary {
  run: string;
  /** For people; "." as the name of a directory says nothing. */
  name: string;
  session: string;
  search: string;
  trial_id: string | null;
  number: number | null;
  execution: number;
  /** Counts the trainings of one execution, from 0. */
  fit: number;
  retry: number;
  /** "exec 2/2 fit 1/2 retry 1"; "" where there is but one. */
  attempt: string;
  /** A retry or a later session of the same execution decides instead. */
  superseded: boolean;
  worker: string | null;
  state: State;
  stopped_by: string | null;
  status: Status;
  tuner_status: string | null;
  score: number | null;
  best_step: number | null;
  message: string | null;
  /** The exception that ended it, and what it said; null where none did. */
  failure: string | null;
  /** `failure` as a sentence; null where the row says as much. */
  failure_text: string | null;
  /** Why it is unwatched, where that is known. */
  unwatched_text: string | null;
  /** What the loss was multiplied with after the last step; null where it is not scaled. */
  loss_scale: number | null;
  /** Steps that a LossScaleOptimizer skipped; null where no loss is scaled. */
  skipped_steps: number | null;
  misread: Misread | null;
  /** What `misread` says, in words. */
  misread_text: string | null;
  hparams: Record<string, JSONScalar>;
  inactive: string[];
  onset: Position | null;
  origin: Origin | null;
  /** What running the failing step again has shown. */
  postmortem: PostMortem | null;
  /** A script that runs the failing step again; null without a capsule. */
  reproduction: string | null;
  contained: Episode[];
  causes: Cause[];
  /** null of a run that did not go bad. */
  answer: Answer | null;
  /** Of a run that stayed finite; else "". */
  clean_text: string;
  started: number;
  updated: number;
  steps: number;
  epochs: number;
  epochs_planned: number | null;
  steps_after_onset: number;
  seconds_after_onset: number;
  recovered: boolean;
  num_episodes: number;
  lineage: Lineage | null;
  /** Status of the trial whose weights it went on with, where that had gone bad. */
  inherited: Status | null;
  scalars: BadScalar[];
  objective: number | null;
  /** For each float dtype, the largest |value| over the dtype's largest number. */
  closest: Record<string, number>;
  /** Of a clean run that came within a decade of the end: which tensor, in words. */
  closest_call: string | null;
  error_type: string | null;
  error_message: string | null;
  damage: string[];
  /** Of what the panel shows: how much TensorBoard has loaded, and how much there is. */
  records: { read: number; written: number };
  /** Comes after the rest, for all runs of a block at once. */
  lane: Lane;
}

export interface Finding {
  search: string;
  hparam: string;
  condition: string;
  inside: [number, number];
  outside: [number, number];
  p_value: number | null;
  /** The code that leaves the condition out of the search space; "" where there is none. */
  edit: string;
  /** Where to paste it, a sentence. */
  where: string;
  /** What the edit would have saved, in words. */
  saves: string;
  /** Sentences on what fits the counts as well or better. */
  rivals: string;
  text: string;
}

/** What a cut stands for in the search space; both "" where the space cannot say it. */
export interface SpaceEdit {
  code: string;
  where: string;
}

export interface Overview {
  searches: SearchSummary[];
  runs: RunSummary[];
  findings: Finding[];
  warnings: string[];
  /** The directory that TensorBoard reads. */
  logdir: string;
  /** What each cause means, in a sentence. */
  meanings: Record<string, string>;
}

/** What two runs differ in, in sentences that the server makes. */
export interface RunComparison {
  verdict: string;
  differences: { topic: string; name: string; likely: boolean; text: string }[];
  parting: { step: number; last_step: number; text: string } | null;
  alike: string[];
  notes: string[];
}

/** What became of a search after its space was edited. */
export interface SearchComparison {
  verdict: string;
  changes: { hparam: string; first: string | null; second: string | null; text: string }[];
  /** What of the first search's trials lies outside of the second one's space. */
  removed: string | null;
}

export interface Environment {
  model: string;
  optimizer: Record<string, unknown>;
  loss: string;
  precision: string;
  replicas: number;
  jit_compile: boolean;
  steps_per_execution: number;
  versions: Record<string, string>;
  notes: string[];
}

export interface RunDetail {
  run: RunSummary;
  probes: Record<Phase, Probe[]>;
  episodes: Episode[];
  environment: Environment;
  phases: Phase[];
  /** null where no loss is scaled. */
  lossScaling: LossScaling | null;
}

/** What a LossScaleOptimizer did, at the lane's points. */
export interface LossScaling {
  /** Last step of each point. */
  steps: Float64Array;
  /** After that step. */
  scale: Float64Array;
  /** How many of the point's steps were skipped, since a gradient was non-finite. */
  skipped: Float64Array;
}

export interface FramedArray {
  shape: number[];
  data: Float32Array | Uint32Array | Uint16Array | Uint8Array;
}

export interface Ranges {
  buckets: number;
  probes: number;
  columns: string[];
  countColumns: string[];
  steps: Float32Array;
  stats: Float32Array;
  counts: Float32Array;
  badSteps: Float32Array;
  measured: Float32Array;
}

/** The last steps before the first bad one. */
export interface Flight {
  probes: number;
  steps: Float32Array;
  rms: Float32Array;
  /** Steps of which the counts were kept. */
  fullSteps: Float32Array;
  counts: Float32Array;
}

/** A search run again reuses run names, so a run is known by both. */
export interface RunKey {
  run: string;
  session: string;
}

export function keyOf(run: RunKey): string {
  return `${run.session}/${run.run}`;
}
