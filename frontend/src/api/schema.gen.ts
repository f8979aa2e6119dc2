// Generated from tb_nanwatch/record/schema.py and reading/contract. Do not edit.

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

export interface Aborted {
  /** ids of the trials that caused it. */
  trials: string[];
  /** of these, for people. */
  names: string[];
  /** why each of them failed, in one line. */
  reasons: string[];
  /** of the exception. */
  message: string;
  /** what to do, with reasons. */
  fix: string;
  /** the same in short, for where the cause and its fix are told already. */
  next: string;
}

export interface Cost {
  /** of training. */
  seconds: number;
  /**
   * those after the first bad step of trainings that went non-finite (a runaway's are not
   * counted: `on_nonfinite="stop"` would not have ended it).
   */
  seconds_after_onset: number;
  /** of the second in the first. */
  share: number;
  /** a sentence, "" where that is less than one percent. */
  text: string;
}

export interface SearchAnswer {
  /** "diverged at epoch 1, batch 3". */
  happened: string;
  /** as people say it, "learning rate too high". */
  cause: string;
  /** sentences. */
  why: string;
  /** "tested", "likely" or "unclear"; empty where the cause is unknown. */
  sure: string;
  /** how often causes named as surely were right in other people's programs. */
  record: string;
  /** what to change, in sentences. */
  fix: string;
  /** the result of the experiment that tested the cause, in a sentence. */
  tested: string;
  /** operation and line, or the first bad tensor. */
  where: string;
  /** how long training went on after going bad, in a sentence. */
  after: string;
  /** what the experiment of `tested` ran with: "a learning rate of 0.3 instead of 3". */
  changed: string;
  /** bad trials that share it. */
  count: number;
  /** bad trials in all. */
  of: number;
  /** the trial whose numbers these are, "Trial #3". */
  whose: string;
  /** of the first few that share it. */
  names: string[];
  /** of the cause, one of `CAUSES`. */
  id: string;
}

export interface Condition {
  /** of the parent. */
  name: string;
  /** of the parent. */
  values: JSONScalar[];
}

export interface SpaceHParam {
  /** the hyperparameter's name. */
  name: string;
  /**
   * which KerasTuner class declared it; "number" and "text" for values that came without a
   * search space.
   */
  type: HParamType;
  /** whether the conditions held in any run. */
  active: boolean;
  /** least value of an "int" or "float". */
  min: JSONScalar;
  /** largest value of these. */
  max: JSONScalar;
  /** between their values. */
  step: JSONScalar;
  /** "linear", "log" or "reverse_log"; null where it has none. */
  sampling: string | null;
  /** of a "choice". */
  values: JSONScalar[] | null;
  /** whether a "choice" has an order. */
  ordered: boolean | null;
  /** the value that the space names as default. */
  default: JSONScalar;
  /** all must hold for the hyperparameter to be active. */
  conditions: Condition[];
}

export interface ToldBoundary {
  /** the hyperparameter's along which it runs; "" where no number moves it. */
  name: string;
  /** values of the others that move it. */
  where: Record<string, JSONScalar>;
  /** whether the larger values die; else the smaller ones do. */
  dead_above: boolean;
  /** the last value that is known to live, None for none. */
  living: JSONScalar;
  /** the first value that is known to die, None for none. */
  dead: JSONScalar;
  /** at which about half of the seeds die. */
  middle: JSONScalar;
  /** the whole range is on one side. */
  all_living: boolean;
  /** the whole range is on one side. */
  all_dead: boolean;
  /** whether `living` and `dead` are as near as was wanted. */
  sure: boolean;
  /** a sentence. */
  text: string;
}

export interface Frontier {
  /** along one number each, at values of what moves them. */
  boundaries: ToldBoundary[];
  /** that declares the space that lives. */
  code: string;
  /** share of the searched space that it keeps. */
  kept: number;
  /** short ones. */
  trials: number;
  /** how many of them went bad. */
  bad: number;
  /** of training for which it holds: those of a short trial. */
  steps: number;
  /** of all trials together. */
  spent_steps: number;
  /** of all trials together. */
  seconds: number;
}

export interface Confirmation {
  /** "learning_rate >= 0.3", fixed before the first of them. */
  condition: string;
  /** "learning_rate <= 0.1", its other side, fixed likewise; "" where that is all else. */
  other: string;
  /** bad trials, and all, where it holds. */
  inside: [number, number];
  /** the same on its other side. */
  outside: [number, number];
  /** of Fisher's exact test over these trials alone, one-sided. */
  p_value: number;
  /** whether that is at most 0.05. */
  confirmed: boolean;
  /** of a trial, at most. */
  steps: number;
  /** of all of them together. */
  seconds: number;
  /** all of it in a sentence. */
  text: string;
}

export interface Rate {
  /** name. */
  hparam: string;
  /** of the value or the part. */
  label: string;
  /** trials that went bad. */
  bad: number;
  /** trials. */
  total: number;
  /** lower end of the rate's interval, Wilson's of 95 %. */
  low: number;
  /** its upper end. */
  high: number;
}

export interface FirstScreen {
  /** "4 of 24 trials diverged". */
  happened: string;
  /** what most bad trials have in common: their cause, their hyperparameters. */
  why: string;
  /** "tested", "likely" or "unclear"; empty where the cause is unknown. */
  sure: string;
  /** operation and line, or the first bad tensor, where that tells something of all bad trials. */
  where: string;
  /** what to change. */
  fix: string;
  /** what an experiment has shown of `fix`. */
  tested: string;
  /** the one edit that goes with `fix`: code to paste, "" where there is none. */
  edit: string;
  /** a sentence on where to paste it, "" likewise. */
  paste: string;
  /** how to go on once that is changed. */
  next: string;
  /** what nobody must miss beside it. */
  notes: string[];
  /**
   * what the answer rests on: counts, p values, what else fits them, the reasons of an abort,
   * cost.
   */
  more: string[];
}

export interface SearchSummary {
  /**
   * id; "by-hand:DIRECTORY" of runs with `hparams=` that share a directory, "" for others
   * without a tuner.
   */
  search: string;
  /** KerasTuner's project name. */
  name: string;
  /** class of the tuner, "" where it is not known. */
  tuner: string;
  /** its name; null where it is not known. */
  objective: string | null;
  /** "min" or "max" of the objective; null where it is not known. */
  direction: string | null;
  /** seconds since the epoch. */
  started: number;
  /** how many. */
  trials: number;
  /** how many came to each status that occurs. */
  by_status: Record<string, number>;
  /** null where it ran to its end, or still runs. */
  aborted: Aborted | null;
  /** null where no run went bad. */
  cost: Cost | null;
  /** the part of `verdict` that counts trials, without what they say together. */
  counted: string;
  /** what became of the trials and what they say together, in sentences. */
  verdict: string;
  /** null where no trial went bad, and of a stability search, where they were to. */
  answer: SearchAnswer | null;
  /** the search space. */
  hparams: SpaceHParam[];
  /** "search" or "stability"; runs of the latter have no score. */
  purpose: string;
  /** what a stability search found; null elsewhere. */
  frontier: Frontier | null;
  /** how the space that lives fared in this later search, "" without one. */
  afterwards: string;
  /** what short extra trials made of the search's hint; null without any. */
  confirmation: Confirmation | null;
  /** how many trials went bad along each hyperparameter that took several values. */
  rates: Rate[];
  /** what the first screen says. */
  first: FirstScreen;
  /**
   * version of each block of `lanes`, which changes when a lane in it does; empty outside of
   * `overview`.
   */
  lanes: string[];
}

export interface Position {
  /** training or validation. */
  phase: Phase;
  /** training steps of the run before it, from 0. */
  step: number;
  /** from 0, as Keras counts (it starts at `initial_epoch`). */
  epoch: number;
  /** within the epoch, or within the validation pass, from 0. */
  batch: number;
}

export interface Origin {
  /** the probe's. */
  kind: Kind;
  /** the probe's. */
  name: string;
  /** elements. */
  num_nan: number;
  /** elements. */
  num_pos_inf: number;
  /** elements. */
  num_neg_inf: number;
  /** elements of the tensor in all. */
  size: number;
  /** index along the first axis of the first bad element, None for a scalar. */
  row: number | null;
  /** which replica saw it first. */
  replica: number;
  /** the operation as users know it, e.g. "tf.math.divide"; null where none is named. */
  op: string | null;
  /** the user's line, "file:line"; null where none is named. */
  source: string | null;
}

export interface BadTensor {
  /** the probe's. */
  kind: Kind;
  /** the probe's. */
  name: string;
  /** elements. */
  num_nan: number;
  /** elements. */
  num_pos_inf: number;
  /** elements. */
  num_neg_inf: number;
  /** elements of the tensor in all. */
  size: number;
  /** index along the first axis of the first bad element, None for a scalar. */
  row: number | null;
  /** which replica saw it first. */
  replica: number;
}

export interface Episode {
  /** counts the run's episodes from 0; a later record with the same id replaces an earlier one. */
  id: number;
  /** its first step. */
  start: Position;
  /** its last step; None while it is open. */
  end_step: number | null;
  /** how far it reached: "contained", "score_lost" or "diverged". */
  level: Status;
  /** the non-finite probes in causal order, counts as of `start`. */
  tensors: BadTensor[];
  /** names the probes among `tensors`, by index, that were finite in the step before. */
  new: number[];
}

export interface Source {
  /** relative to the directory in which the training ran, where it is below. */
  file: string;
  /** from 1. */
  line: number;
  /** the function's name. */
  function: string;
  /** of the expression, in one line; "" where the source cannot be read. */
  text: string;
}

export interface Operand {
  /** its role in the operation, e.g. "denominator". */
  name: string;
  /** NumPy's name and the shape. */
  dtype: string;
  /** NumPy's name and the shape. */
  shape: number[];
  /** elements in all. */
  size: number;
  /** of the finite elements, NaN where there are none. */
  min: number;
  /** of the finite elements, NaN where there are none. */
  max: number;
  /** the smallest non-zero |element|, NaN where there are none. */
  smallest: number;
  /** elements. */
  num_zero: number;
  /** elements. */
  num_negative: number;
  /** elements. */
  num_nan: number;
  /** elements. */
  num_pos_inf: number;
  /** elements. */
  num_neg_inf: number;
}

export interface Link {
  /** its role in the operation that took it, e.g. "denominator". */
  operand: string;
  /** of the element that matters, NaN where no single one does. */
  value: number;
  /** of all elements but NaN, or where the row is known of that row's. */
  low: number;
  /** of all elements but NaN, or where the row is known of that row's. */
  high: number;
  /** "data", "variable", "constant" or "operation"; "" where that is unknown. */
  origin: string;
  /** of the data's tensor, path of the variable, or the operation as users know it. */
  name: string;
  /** path of the layer in which the operation ran, "" for none. */
  layer: string;
  /** the line of the user's that called it, None where there is none. */
  source: Source | null;
  /** what it took for this element, where it works element by element. */
  operands: number[];
  /** of the batch, -1 where it is unknown. */
  row: number;
  /** of data, the index within the example; empty where it is unknown. */
  column: number[];
}

export interface Since {
  /**
   * how many batches before the failing one were run with the state from before the failing
   * step.
   */
  batches: number;
  /** with how many of these its result was not finite. */
  bad: number;
  /** of the operand that the chain begins with, in these. */
  low: number;
  /** of the operand that the chain begins with, in these. */
  high: number;
  /** how many steps before the failing one the earlier state is from, 0 for none. */
  steps: number;
  /** whether the failing batch gives a bad result with that, None where that was not tried. */
  was_bad: boolean | null;
}

export interface Outlier {
  /** of the tensor, as the probes name it: "input", "label['a']". */
  name: string;
  /** of the batch that hold such values, at most 100. */
  rows: number[];
  /**
   * where the worst of them is; `column` is the index within the example, empty for a tensor
   * of one number an example.
   */
  row: number;
  /**
   * where the worst of them is; `column` is the index within the example, empty for a tensor
   * of one number an example.
   */
  column: number[];
  /** the worst. */
  value: number;
  /** the largest |value| that it is compared with. */
  usual: number;
  /**
   * before this one, in which `usual` was the largest; 0 where it is that of the other rows of
   * the same batch.
   */
  batches: number;
  /** such values in all. */
  count: number;
  /** rows of the batch. */
  size: number;
  /** how many steps before the failing one its batch came; 0 for the failing one. */
  ago: number;
}

export interface Experiment {
  /** which change, e.g. "learning_rate/10". */
  change: string;
  /** the change in words. */
  text: string;
  /** whether everything stayed finite. */
  finite: boolean;
  /** steps that were run, the failing one included. */
  steps: number;
  /** where it went bad all the same, or why it could not be tried. */
  note: string;
  /** False where it does not apply. */
  tried: boolean;
  /** number of the training step that it began with. */
  first: number;
  /**
   * whether the loss fell as that of a training does, None where too few steps were run to
   * tell.
   */
  learns: boolean | null;
  /** the number that was set, such as a learning rate; None for none. */
  value: number | null;
  /** of the first step, and the mean of the last tenth of the steps; None where there is none. */
  first_loss: number | null;
  /** of the first step, and the mean of the last tenth of the steps; None where there is none. */
  last_loss: number | null;
  /**
   * how many different batches the steps were of, which came again in their order where there
   * were more steps; 0 where that is unknown (an older log).
   */
  batches: number;
}

export interface Example {
  /** of the batch, from 0. */
  row: number;
  /** of the data, from 0. */
  example: number;
}

export interface PostMortem {
  /** the origin was non-finite again, with the same counts. */
  reproduced: boolean;
  /** why nothing is named, where nothing is; a sentence. */
  reason: string;
  /** the finding in one line without a full stop. */
  text: string;
  /** the operation as users know it, e.g. "tf.math.divide". */
  op: string | null;
  /** TensorFlow's type of the operation that ran, e.g. "RealDiv". */
  op_type: string | null;
  /** TensorFlow's type of `op`. */
  forward_type: string | null;
  /** `op_type` belongs to the gradient of `op`. */
  gradient: boolean;
  /** path of the layer in which it ran, "" for none. */
  layer: string;
  /**
   * whether `op` ran in a call of the model or of one of its layers, and not in the loss or
   * the step; None where it is not known.
   */
  in_model: boolean | null;
  /** of library code that no line of the user's calls: what it is. */
  owner: string;
  /** the user's line, None where none can be named. */
  source: Source | null;
  /** what was wrong with the inputs, e.g. "3 of 32 denominators are 0". */
  finding: string;
  /** of the operation. */
  inputs: Operand[];
  /** where the input that matters came from, the operation's own first. */
  chain: Link[];
  /** whether other batches and earlier weights do the same. */
  since: Since | null;
  /** of its output. */
  num_nan: number;
  /** of its output. */
  num_pos_inf: number;
  /** of its output. */
  num_neg_inf: number;
  /** of its output. */
  size: number;
  /** of its output. */
  shape: number[];
  /** of its output. */
  dtype: string;
  /**
   * of a step whose first bad operation computes in float16: whether it stays finite up to the
   * origin when run in float32; None where that was not tried.
   */
  finite_in_float32: boolean | null;
  /** name of the input, label or sample weight that is non-finite itself. */
  data: string | null;
  /** path of a variable that was non-finite before the step already, "" for none. */
  held: string;
  /** of the batch that are bad there, at most 100. */
  rows: number[];
  /**
   * of the batch, one for each tensor that has some, the worst first; then those of the last
   * batch before it that had some.
   */
  outliers: Outlier[];
  /** where the capsule lies that the step can be run again from, "" for nowhere. */
  capsule: string;
  /**
   * what the model uses that the capsule does not hold, by name; a replay of the capsule needs
   * the code that makes the model.
   */
  own_code: string[];
  /** what it took. */
  seconds: number;
  /** changes that were tried, the control first. */
  experiments: Experiment[];
  /** why none was tried from before the failing step, in words. */
  untried: string;
  /** of an epoch of the training, 0 where that is unknown. */
  epoch_steps: number;
  /** that the training was to make in all, 0 where that is unknown. */
  planned_steps: number;
  /**
   * at which try the step, which draws random numbers that cannot be drawn again, went bad in
   * the same tensor with others; what is named is of that one. 0 where it is of the failing
   * step itself.
   */
  redrawn: number;
  /** which examples of the data some rows of the batch are, where their content tells. */
  examples: Example[];
}

export interface NamedCause {
  /** one of `CAUSES`. */
  id: string;
  /** "tested" where an experiment confirmed it, else "likely" or "unclear". */
  sure: string;
  /**
   * how often causes as sure as this one were right of other people's programs, in words; ""
   * of "unknown".
   */
  record: string;
  /** the probability that this is the cause, in [0, 1]. */
  confidence: number;
  /** sentences with numbers taken from the run's own record. */
  evidence: string[];
  /** what to change, in one sentence. */
  fix: string;
  /** as people say it, "division by zero in your loss". */
  label: string;
}

export interface Answer {
  /** "diverged at epoch 1, batch 3". */
  happened: string;
  /** as people say it, "learning rate too high". */
  cause: string;
  /** sentences. */
  why: string;
  /** "tested", "likely" or "unclear"; empty where the cause is unknown. */
  sure: string;
  /** how often causes named as surely were right in other people's programs. */
  record: string;
  /** what to change, in sentences. */
  fix: string;
  /** the result of the experiment that tested the cause, in a sentence. */
  tested: string;
  /** operation and line, or the first bad tensor. */
  where: string;
  /** how long training went on after going bad, in a sentence. */
  after: string;
  /** what the experiment of `tested` ran with: "a learning rate of 0.3 instead of 3". */
  changed: string;
}

export interface ToldCall {
  /** of the tensor. */
  dtype: string;
  /** largest |value| of it that was seen. */
  value: number;
  /** the dtype's largest finite number. */
  limit: number;
  /** `value` over `limit`, in [NEAR, 1]. */
  share: number;
  /** of the tensor; "" where the log is too old to say. */
  kind: string;
  /** of the tensor; "" where the log is too old to say. */
  name: string;
  /** "output of dense_1 reached 3e+04 of 65504 in float16". */
  text: string;
}

export interface Lineage {
  /** the trial that it continues, None for none. */
  trial_id: string | null;
  /** the epoch that it begins with, from 0. */
  initial_epoch: number | null;
  /** the epoch that it ends before. */
  epochs: number | null;
  /** of Hyperband. */
  bracket: number | null;
  /** of Hyperband. */
  round: number | null;
}

export interface ToldScalar {
  /** "train", "validation", or the directory's own name. */
  phase: string;
  /** of the scalar. */
  tag: string;
  /** the first of these epochs, from 0. */
  first_epoch: number;
  /** how many there are. */
  count: number;
  /** epochs of the scalar that TensorBoard has kept, 1,000 at most. */
  total: number;
  /** the same in words. */
  text: string;
}

export interface Records {
  /** records that TensorBoard has loaded so far. */
  read: number;
  /**
   * those that the run's status says were written. As long as fewer are read, more is on its
   * way, or lost; then `damage` says so.
   */
  written: number;
}

export interface RunSummary {
  /**
   * its name in TensorBoard; with `session` its key, since a search that is run again with
   * `overwrite=True` uses names again.
   */
  run: string;
  /**
   * for people: the trial as KerasTuner prints it ("Trial #3"; "Trial ID" where it has no
   * number), else the run's own name; "." as that of a directory says nothing.
   */
  name: string;
  /** id of the training that wrote it. */
  session: string;
  /** id of its search, "" for none. */
  search: string;
  /** of its trial, null outside of a search. */
  trial_id: string | null;
  /** the n of KerasTuner's "Trial #n". */
  number: number | null;
  /** of the trial, from 0. */
  execution: number;
  /**
   * counts, from 0, the trainings of one execution (a `HyperModel.fit` that trains twice, a
   * model that is trained on). They decide together, and the trial is as bad as the worst of
   * them; the tuner's score is that of the last.
   */
  fit: number;
  /** attempts at the same execution before this one, in a resumed search too. */
  retry: number;
  /**
   * whether it is an earlier attempt; a later session of the trial's execution decides, and
   * this one is counted as no trial.
   */
  superseded: boolean;
  /** the tuner's id. */
  worker: string | null;
  /** how the training is going. */
  state: State;
  /** what ended it, null for nothing but its own end. */
  stopped_by: string | null;
  /**
   * how far bad values reached. A run that ended before its first step was over is
   * "unwatched".
   */
  status: Status;
  /** KerasTuner's own word. */
  tuner_status: string | null;
  /** the tuner's, null where there is none, and in a stability search. */
  score: number | null;
  /** the epoch, from 0, whose objective became the score. */
  best_step: number | null;
  /** KerasTuner's whole traceback. */
  message: string | null;
  /**
   * the exception that ended it and the useful part of what it said ("ValueError: units must
   * be positive"), null where none did.
   */
  failure: string | null;
  /**
   * the same as a sentence; null too where the run's row says as much (the exceptions of
   * `on_nonfinite`).
   */
  failure_text: string | null;
  /**
   * why a run that did not fail is "unwatched" (its callbacks were not handed to `model.fit`,
   * say), null where nothing is known of it.
   */
  unwatched_text: string | null;
  /**
   * how KerasTuner took a run that went bad for a result, or null: `stale_score` (by an epoch
   * from before its first bad step), `damaged_score` (by a finite score of an epoch at whose
   * end weights or layer state were non-finite) or `infinite_score` (by an infinite one).
   */
  misread: Misread | null;
  /** the same in words. */
  misread_text: string | null;
  /** the values of the active hyperparameters, by name. */
  hparams: Record<string, JSONScalar>;
  /** names of those that were not active. */
  inactive: string[];
  /** the first bad step, or a runaway's take-off; null of a clean run. */
  onset: Position | null;
  /** the first bad tensor; null of a clean run. */
  origin: Origin | null;
  /** harmless episodes, the first tensor of each, at most 20. */
  contained: Episode[];
  /**
   * what running its failing step again has shown, or null. Values of single rows of data are
   * null where they are not told.
   */
  postmortem: PostMortem | null;
  /** a short Python script that runs that step again, null without a capsule. */
  reproduction: string | null;
  /** why it went bad, the likeliest first. */
  causes: NamedCause[];
  /**
   * what that comes down to, in the sentences that training, report and tab show; null of a
   * run that did not go bad.
   */
  answer: Answer | null;
  /**
   * the sentence of a run that stayed finite, "" of others; the route `run` counts the tensors
   * in it, too.
   */
  clean_text: string;
  /** seconds since the epoch. */
  started: number;
  /** seconds since the epoch, of the last sign of life. */
  updated: number;
  /** training steps so far. */
  steps: number;
  /** begun so far. */
  epochs: number;
  /** as `fit` was asked for; null where that is not known. */
  epochs_planned: number | null;
  /** what was trained on after the first bad step. */
  steps_after_onset: number;
  /** the same in seconds. */
  seconds_after_onset: number;
  /** whether a run that had gone bad is finite again. */
  recovered: boolean;
  /**
   * for each float dtype, the largest |value| of an activation or gradient over the dtype's
   * largest finite number.
   */
  closest: Record<string, number>;
  /** that of a clean run where it came within a decade of the end, else null. */
  closest_call: ToldCall | null;
  /** what the loss was multiplied with after the last step; null where it is not scaled. */
  loss_scale: number | null;
  /** how many of its steps a `LossScaleOptimizer` skipped, exact at any scale; null likewise. */
  skipped_steps: number | null;
  /** how a trial of Hyperband continues another, null elsewhere. */
  lineage: Lineage | null;
  /** the same in words, "" where there is none. */
  lineage_text: string;
  /**
   * the status of the training whose weights it began with (the trial's that it continues, or
   * the `fit` before) where that had gone bad otherwise than by stalling, which spares the
   * weights; else null.
   */
  inherited: Status | null;
  /** the same in words, or "". */
  inherited_text: string;
  /** of a run without NaN Watch, those that were not finite. */
  scalars: ToldScalar[];
  /** class of the exception that ended it. */
  error_type: string | null;
  /** what that said. */
  error_message: string | null;
  /** what is missing or unreadable, a sentence each. */
  damage: string[];
  /** how much of it TensorBoard has loaded. */
  records: Records;
  /** "exec 2/2 fit 1/2 retry 1"; "" where there is but one, and outside of `overview`. */
  attempt: string;
}

export interface Finding {
  /** id. */
  search: string;
  /** the hyperparameter that the edit is of. */
  hparam: string;
  /** "learning_rate >= 0.3". */
  condition: string;
  /** bad trials, and all, where it holds. */
  inside: [number, number];
  /** the same where it does not. */
  outside: [number, number];
  /** corrected for all the conditions that were looked at. */
  p_value: number;
  /**
   * code, "" where there is none; of values that no space declares, a condition in Python that
   * holds for those to leave out.
   */
  edit: string;
  /** a sentence on where to paste it, "" likewise. */
  where: string;
  /** what it would have saved, in words, and how its bound relates to what was tried. */
  saves: string;
  /**
   * sentences on the conditions that fit the counts as well or better, "" where there are
   * none; `text` has them too.
   */
  rivals: string;
  /** all of it in sentences. */
  text: string;
}

export interface Overview {
  /** rises where a reader must know. */
  schema_version: number;
  /** the newest first, runs without a search last. */
  searches: SearchSummary[];
  /** of each search in turn, in the order in which they started. */
  runs: RunSummary[];
  /** conditions under which trials went bad, those of each search together. */
  findings: Finding[];
  /** sentences on what could not be read. */
  warnings: string[];
  /** whether values of single rows of data are told. */
  with_data: boolean;
  /** what each cause means, in a sentence. */
  meanings: Record<string, string>;
  /** the directory that TensorBoard reads, "" where it does not say. */
  logdir: string;
}

export interface Probe {
  /** of the tensor. */
  kind: Kind;
  /**
   * unique among the run's probes of one kind and phase; the path that `model.summary()`
   * shows, or of the variable.
   */
  name: string;
  /** path of the layer it belongs to, "" where it belongs to none. */
  layer: string;
  /** NumPy name of the dtype. */
  dtype: string;
  /** static shape, None for an unknown dimension. */
  shape: (number | null)[];
}

export interface Probes {
  /** of the training step. */
  train: Probe[];
  /** of the validation step. */
  validation: Probe[];
}

export interface Environment {
  /** its class and name. */
  model: string;
  /** class name and configuration. */
  optimizer: Record<string, unknown>;
  /** how the model was compiled. */
  loss: string;
  /** the dtype policy's name. */
  precision: string;
  /** of the model. */
  replicas: number;
  /** whether the step is compiled by XLA. */
  jit_compile: boolean;
  /** as `compile` was given it. */
  steps_per_execution: number;
  /** of tensorflow, keras, keras_tuner, tb_nanwatch and python. */
  versions: Record<string, string>;
  /** what could not be watched, a sentence each. */
  notes: string[];
}

export interface LossScaling {
  /** the last step of the point. */
  steps: number[];
  /** after that step. */
  loss_scale: number[];
  /**
   * how many of the point's steps were skipped, since a gradient of the scaled loss was non-
   * finite.
   */
  skipped_steps: number[];
}

export interface RunDetail {
  /** as in the overview. */
  run: RunSummary;
  /** the watched tensors. */
  probes: Probes;
  /** all of them, by id. */
  episodes: Episode[];
  /** what was trained, and with what. */
  environment: Environment;
  /** those that have probes. */
  phases: Phase[];
  /** null where no loss is scaled. */
  loss_scaling: LossScaling | null;
}

export interface Difference {
  /**
   * "hparam", "optimizer", "loss", "model", "data", "precision", "setup" or "initial"; the
   * latter are of the first step, before any update.
   */
  topic: string;
  /**
   * of what differs. That of "initial" and "data" begins with the kind of the tensor
   * ("activation.dense", "label.range"); tensors are paired by kind and place, never by name,
   * and a root mean square differs where one is more than half a decade above the other.
   */
  name: string;
  /** of the first run; null where it has no such thing. */
  first: JSONScalar;
  /** of the second run. */
  second: JSONScalar;
  /** log10 of the ratio of two numbers, else null. */
  decades: number | null;
  /** whether the likely cause of the one run that went bad is about this. */
  likely: boolean;
  /** the sentence, with its full stop. */
  text: string;
  /** name of the optimizer's setting that a hyperparameter sets, else null. */
  setting: string | null;
}

export interface PartingTensor {
  /** of the tensor. */
  kind: string;
  /** of the tensor. */
  name: string;
  /** its root mean square in the first run, "NaN" where non-finite. */
  first: number;
  /** the same in the second run. */
  second: number;
}

export interface Parting {
  /** the first step, or bucket of steps, at which they differ. */
  step: number;
  /** the last step of that bucket. */
  last_step: number;
  /** the first to differ, at most three, in causal order. */
  tensors: PartingTensor[];
  /** the sentence. */
  text: string;
}

export interface RunComparison {
  /** rises where a reader must know. */
  schema_version: number;
  /** "runs". */
  kind: string;
  /** as in the overview, in the order of the request. */
  runs: RunSummary[];
  /** what the sentences call them. */
  names: string[];
  /** a few sentences. */
  verdict: string;
  /** in the order of the topics. */
  differences: Difference[];
  /** null where they never part, or it was not recorded. */
  parting: Parting | null;
  /** topics that were compared and do not differ. */
  alike: string[];
  /** what could not be compared, a sentence each. */
  notes: string[];
}

export interface Share {
  /** trials that did. */
  bad: number;
  /** trials whose fate is known. */
  total: number;
  /** lower end of the rate's interval, Wilson's of 95 %. */
  low: number;
  /** its upper end. */
  high: number;
}

export interface SpaceChange {
  /** name. */
  hparam: string;
  /** code of the first search; null where it is not in the space. */
  first: string | null;
  /** code of the second search. */
  second: string | null;
  /** the sentence. */
  text: string;
}

export interface Removed {
  /** outside, and in all. */
  bad: [number, number];
  /** the same of those that did not go bad. */
  clean: [number, number];
  /**
   * whether the best trial of the first search is among them; null where it has no scored
   * trial.
   */
  best: boolean | null;
  /** the sentence. */
  text: string;
}

export interface SearchComparison {
  /** rises where a reader must know. */
  schema_version: number;
  /** "searches". */
  kind: string;
  /** as in the overview. */
  searches: SearchSummary[];
  /** what the sentences call them. */
  names: string[];
  /** a few sentences. */
  verdict: string;
  /** of both searches. */
  shares: [Share, Share];
  /** two-sided, of Fisher's exact test; null where a search has no trial whose fate is known. */
  p_value: number | null;
  /** declarations that were edited. */
  changes: SpaceChange[];
  /**
   * null where the space is the same in both, and where the two share less than half of their
   * hyperparameters (`verdict` then says that they look like different programs).
   */
  removed: Removed | null;
  /** of the trials that did not go bad; null where there is none. */
  best_scores: [number | null, number | null];
}

export interface Markdown {
  /**
   * as `tb-nanwatch report --markdown` prints it. Values of single rows of data are left out,
   * and the text says so.
   */
  markdown: string;
}

export interface SpaceEdit {
  /** to paste. */
  code: string;
  /** a sentence on where to. */
  where: string;
}

/** What stands before a tensor's name, where it is not its kind. */
export const KIND_TEXT: Partial<Record<Kind, string>> = {"sample_weight": "sample weight", "activation": "output of", "gradient": "gradient of", "optimizer": "optimizer slot", "layer_state": "state of"};

/** What a status is called. */
export const STATUS_TEXT: Record<Status, string> = {"unwatched": "unwatched", "clean": "clean", "contained": "contained", "stalled": "stalled", "score_lost": "score lost", "runaway": "runaway", "diverged": "diverged"};

/** What a status means. */
export const STATUS_MEANING: Record<Status, string> = {"unwatched": "nothing was measured", "clean": "every watched value was finite", "contained": "non-finite values that reached neither loss, objective nor anything that persists", "stalled": "finite, but most steps were skipped and the loss scale is at its end: nothing is learnt", "score_lost": "the loss or the objective was non-finite; weights, slots and layer state stayed finite", "runaway": "finite, but loss or activations grew out of all proportion", "diverged": "weights, optimizer slots or layer state became non-finite"};

export type HParam = SpaceHParam;
