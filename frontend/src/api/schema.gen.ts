// Generated from tb_nanwatch/record/schema.py by generate_schema.py. Do not edit.

export const SCHEMA_VERSION = 1;
export const PLUGIN_NAME = "nanwatch";

export type JSONScalar = null | boolean | number | string;
export type State = "running" | "finished" | "stopped" | "failed" | "interrupted";
export type Status = "unwatched" | "clean" | "contained" | "stalled" | "score_lost" | "runaway" | "diverged";
export type Misread = "stale_score" | "infinite_score" | "damaged_score";
export type Phase = "train" | "validation";
export type Kind = "input" | "label" | "sample_weight" | "activation" | "prediction" | "loss" | "metric" | "gradient" | "optimizer" | "weight" | "layer_state";
export type HParamType = "int" | "float" | "choice" | "boolean" | "fixed" | "text" | "number";

export const STATES: readonly State[] = ["running", "finished", "stopped", "failed", "interrupted"];
export const STATUSES: readonly Status[] = ["unwatched", "clean", "contained", "stalled", "score_lost", "runaway", "diverged"];
export const BAD_STATUSES: readonly Status[] = ["stalled", "score_lost", "runaway", "diverged"];
export const MISREADS: readonly Misread[] = ["stale_score", "infinite_score", "damaged_score"];
export const PHASES: readonly Phase[] = ["train", "validation"];
export const KINDS: readonly Kind[] = ["input", "label", "sample_weight", "activation", "prediction", "loss", "metric", "gradient", "optimizer", "weight", "layer_state"];
export const PERSISTENT_KINDS: readonly Kind[] = ["optimizer", "weight", "layer_state"];
export const CAUSES = ["learning_rate", "unscaled_inputs", "unscaled_targets", "unscaled_data", "nonfinite_data", "outlier_data", "label_range", "loss_domain", "metric_domain", "layer_domain", "initialization", "gradient_amplification", "half_precision", "optimizer_settings", "inherited", "unknown"] as const;
export type Cause = (typeof CAUSES)[number];
export const RANGE_COLUMNS = ["min", "max", "rms_min", "rms_max", "rms", "zero_fraction", "update_ratio"] as const;
export type RangeColumn = (typeof RANGE_COLUMNS)[number];
export const COUNT_COLUMNS = ["num_nan", "num_pos_inf", "num_neg_inf"] as const;
export type CountColumn = (typeof COUNT_COLUMNS)[number];
export const LANE_SERIES = ["growth", "loss", "gradient_norm", "activation", "weight", "update_ratio", "activation_max"] as const;
export type LaneSeries = (typeof LANE_SERIES)[number];
export const LOOKED_SERIES: readonly LaneSeries[] = ["update_ratio", "activation_max"];

export interface Condition {
  name: string;
  values: JSONScalar[];
}

export interface HParam {
  name: string;
  value: JSONScalar;
  type: HParamType;
  active: boolean;
  min: JSONScalar;
  max: JSONScalar;
  step: JSONScalar;
  sampling: string | null;
  values: JSONScalar[] | null;
  ordered: boolean | null;
  default: JSONScalar;
  conditions: Condition[];
}

export interface Search {
  id: string;
  name: string;
  tuner: string;
  objective: string | null;
  direction: string | null;
  started: number;
  max_trials: number | null;
  max_consecutive_failed_trials: number | null;
  executions_per_trial: number;
  oracle: string | null;
  purpose: string;
}

export interface Boundary {
  name: string;
  where: Record<string, JSONScalar>;
  dead_above: boolean;
  living: JSONScalar;
  dead: JSONScalar;
  middle: JSONScalar;
  all_living: boolean;
  all_dead: boolean;
  sure: boolean;
}

export interface Lineage {
  trial_id: string | null;
  initial_epoch: number | null;
  epochs: number | null;
  bracket: number | null;
  round: number | null;
}

export interface Probe {
  kind: Kind;
  name: string;
  layer: string;
  dtype: string;
  shape: (number | null)[];
}

export interface Position {
  phase: Phase;
  step: number;
  epoch: number;
  batch: number;
}

export interface BadTensor {
  kind: Kind;
  name: string;
  num_nan: number;
  num_pos_inf: number;
  num_neg_inf: number;
  size: number;
  row: number | null;
  replica: number;
}

export interface Episode {
  id: number;
  start: Position;
  end_step: number | null;
  level: Status;
  tensors: BadTensor[];
  new: number[];
}

export interface Operand {
  name: string;
  dtype: string;
  shape: number[];
  size: number;
  min: number;
  max: number;
  smallest: number;
  num_zero: number;
  num_negative: number;
  num_nan: number;
  num_pos_inf: number;
  num_neg_inf: number;
}

export interface Source {
  file: string;
  line: number;
  function: string;
  text: string;
}

export interface Link {
  operand: string;
  value: number;
  low: number;
  high: number;
  origin: string;
  name: string;
  layer: string;
  source: Source | null;
  operands: number[];
  row: number;
  column: number[];
}

export interface Since {
  batches: number;
  bad: number;
  low: number;
  high: number;
  steps: number;
  was_bad: boolean | null;
}

export interface Outlier {
  name: string;
  rows: number[];
  row: number;
  column: number[];
  value: number;
  usual: number;
  batches: number;
  count: number;
  size: number;
  ago: number;
}

export interface Experiment {
  change: string;
  text: string;
  finite: boolean;
  steps: number;
  note: string;
  tried: boolean;
  first: number;
  learns: boolean | null;
  value: number | null;
  first_loss: number | null;
  last_loss: number | null;
}

export interface PostMortem {
  reproduced: boolean;
  reason: string;
  text: string;
  op: string | null;
  op_type: string | null;
  forward_type: string | null;
  gradient: boolean;
  layer: string;
  in_model: boolean | null;
  owner: string;
  source: Source | null;
  finding: string;
  inputs: Operand[];
  chain: Link[];
  since: Since | null;
  num_nan: number;
  num_pos_inf: number;
  num_neg_inf: number;
  size: number;
  shape: number[];
  dtype: string;
  finite_in_float32: boolean | null;
  data: string | null;
  held: string;
  rows: number[];
  outliers: Outlier[];
  capsule: string;
  own_code: string[];
  seconds: number;
  experiments: Experiment[];
  untried: string;
}
