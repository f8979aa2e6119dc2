// Untyped answers to typed ones. Missing optional fields become their neutral value,
// so that a server a little older or newer than the tab still shows what it has; what
// the tab cannot do without raises a DecodeError that names it.

import { extremesOf, NO_LANE } from "./lane";
import {
  type BadTensor,
  type Boundary,
  type Episode,
  type HParam,
  type JSONScalar,
  KINDS,
  type Kind,
  LANE_SERIES,
  type LaneSeries,
  type Lineage,
  type Link,
  MISREADS,
  type Operand,
  type Phase,
  type Position,
  type PostMortem,
  type Probe,
  SCHEMA_VERSION,
  type Since,
  type Source,
  STATES,
  STATUSES,
  type State,
  type Status,
} from "./schema.gen";
import type {
  Answer,
  BadScalar,
  Cause,
  Environment,
  Finding,
  FirstScreen,
  Flight,
  FramedArray,
  Frontier,
  HParamRate,
  Lane,
  LossScaling,
  Origin,
  Overview,
  Ranges,
  RunComparison,
  RunDetail,
  RunSummary,
  SearchComparison,
  SearchSummary,
  SpaceEdit,
} from "./types";

export class DecodeError extends Error {
  override name = "DecodeError";
}

type Json = Record<string, unknown>;

const NONFINITE: Record<string, number> = {
  NaN: Number.NaN,
  Infinity: Number.POSITIVE_INFINITY,
  "-Infinity": Number.NEGATIVE_INFINITY,
};

/** A number or one of the three strings; null where it is neither. */
export function number(value: unknown): number | null {
  if (typeof value === "number") return value;
  if (typeof value === "string" && Object.hasOwn(NONFINITE, value)) return NONFINITE[value]!;
  return null;
}

function object(value: unknown, where: string): Json {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new DecodeError(`${where}: expected an object, received ${preview(value)}`);
  }
  return value as Json;
}

function preview(value: unknown): string {
  return (JSON.stringify(value) ?? String(value)).slice(0, 60);
}

function optionalObject(value: unknown): Json | null {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Json)
    : null;
}

function list<T>(value: unknown, item: (value: unknown, index: number) => T): T[] {
  return Array.isArray(value) ? value.map(item) : [];
}

const text = (value: unknown, otherwise = ""): string =>
  typeof value === "string" ? value : otherwise;
const textOrNull = (value: unknown): string | null => (typeof value === "string" ? value : null);
const numOrNull = (value: unknown): number | null => (typeof value === "number" ? value : null);
const count = (value: unknown): number => number(value) ?? 0;
const texts = (value: unknown): string[] => list(value, (v) => text(v, String(v)));

function word<T extends string>(value: unknown, words: readonly T[], otherwise: T): T {
  return words.includes(value as T) ? (value as T) : otherwise;
}

function scalar(value: unknown): JSONScalar {
  return value === null || ["string", "number", "boolean"].includes(typeof value)
    ? (value as JSONScalar)
    : JSON.stringify(value);
}

function position(value: unknown): Position | null {
  const p = optionalObject(value);
  if (!p) return null;
  return {
    phase: word<Phase>(p.phase, ["train", "validation"], "train"),
    step: count(p.step),
    epoch: count(p.epoch),
    batch: count(p.batch),
  };
}

function tensor(value: unknown): BadTensor {
  const t = object(value, "tensor");
  return {
    kind: word<Kind>(t.kind, KINDS, "activation"),
    name: text(t.name),
    num_nan: count(t.num_nan),
    num_pos_inf: count(t.num_pos_inf),
    num_neg_inf: count(t.num_neg_inf),
    size: count(t.size),
    row: number(t.row),
    replica: count(t.replica),
  };
}

function origin(value: unknown): Origin | null {
  const o = optionalObject(value);
  return o && { ...tensor(o), op: textOrNull(o.op), source: textOrNull(o.source) };
}

function episode(value: unknown): Episode {
  const e = object(value, "episode");
  return {
    id: count(e.id),
    start: position(e.start) ?? { phase: "train", step: 0, epoch: 0, batch: 0 },
    end_step: number(e.end_step),
    level: word<Status>(e.level, STATUSES, "contained"),
    tensors: list(e.tensors, tensor),
    new: list(e.new, count),
  };
}

const size = (value: unknown): number => number(value) ?? Number.NaN;

function operand(value: unknown): Operand {
  const o = object(value, "operand");
  return {
    name: text(o.name),
    dtype: text(o.dtype),
    shape: list(o.shape, count),
    size: count(o.size),
    min: size(o.min),
    max: size(o.max),
    smallest: size(o.smallest),
    num_zero: count(o.num_zero),
    num_negative: count(o.num_negative),
    num_nan: count(o.num_nan),
    num_pos_inf: count(o.num_pos_inf),
    num_neg_inf: count(o.num_neg_inf),
  };
}

const source = (value: unknown): Source | null => {
  const s = optionalObject(value);
  return (
    s && {
      file: text(s.file),
      line: count(s.line),
      function: text(s.function),
      text: text(s.text),
    }
  );
};

const trueOrFalse = (value: unknown): boolean | null => (typeof value === "boolean" ? value : null);

function link(value: unknown): Link {
  const l = object(value, "link");
  return {
    operand: text(l.operand),
    value: size(l.value),
    low: size(l.low),
    high: size(l.high),
    origin: text(l.origin),
    name: text(l.name),
    layer: text(l.layer),
    source: source(l.source),
    operands: list(l.operands, size),
    row: number(l.row) ?? -1,
    column: list(l.column, count),
  };
}

function since(value: unknown): Since | null {
  const s = optionalObject(value);
  return (
    s && {
      batches: count(s.batches),
      bad: count(s.bad),
      low: size(s.low),
      high: size(s.high),
      steps: count(s.steps),
      was_bad: trueOrFalse(s.was_bad),
    }
  );
}

function postmortem(value: unknown): PostMortem | null {
  const p = optionalObject(value);
  if (!p) return null;
  return {
    reproduced: p.reproduced === true,
    reason: text(p.reason),
    text: text(p.text),
    op: textOrNull(p.op),
    op_type: textOrNull(p.op_type),
    forward_type: textOrNull(p.forward_type),
    gradient: p.gradient === true,
    layer: text(p.layer),
    owner: text(p.owner),
    source: source(p.source),
    in_model: trueOrFalse(p.in_model),
    finite_in_float32: trueOrFalse(p.finite_in_float32),
    chain: list(p.chain, link),
    since: since(p.since),
    finding: text(p.finding),
    inputs: list(p.inputs, operand),
    num_nan: count(p.num_nan),
    num_pos_inf: count(p.num_pos_inf),
    num_neg_inf: count(p.num_neg_inf),
    size: count(p.size),
    shape: list(p.shape, count),
    dtype: text(p.dtype),
    data: textOrNull(p.data),
    held: text(p.held),
    rows: list(p.rows, count),
    outliers: list(p.outliers, (v) => {
      const o = object(v, "outlier");
      return {
        name: text(o.name),
        rows: list(o.rows, count),
        row: count(o.row),
        column: list(o.column, count),
        value: number(o.value) ?? Number.NaN,
        usual: number(o.usual) ?? Number.NaN,
        batches: count(o.batches),
        count: count(o.count),
        size: count(o.size),
        ago: count(o.ago),
      };
    }),
    capsule: text(p.capsule),
    own_code: texts(p.own_code),
    seconds: count(p.seconds),
    experiments: list(p.experiments, (v) => {
      const e = object(v, "experiment");
      return {
        change: text(e.change),
        text: text(e.text),
        finite: e.finite === true,
        steps: count(e.steps),
        note: text(e.note),
        tried: e.tried !== false,
        first: count(e.first),
        learns: typeof e.learns === "boolean" ? e.learns : null,
        value: numOrNull(e.value),
        first_loss: numOrNull(e.first_loss),
        last_loss: numOrNull(e.last_loss),
      };
    }),
    untried: text(p.untried),
  };
}

export function decodeRunComparison(value: unknown): RunComparison {
  const c = object(value, "comparison");
  const parting = optionalObject(c.parting);
  return {
    verdict: text(c.verdict),
    differences: list(c.differences, (v) => {
      const d = object(v, "difference");
      return {
        topic: text(d.topic),
        name: text(d.name),
        likely: d.likely === true,
        text: text(d.text),
      };
    }),
    parting: parting && {
      step: count(parting.step),
      last_step: count(parting.last_step),
      text: text(parting.text),
    },
    alike: texts(c.alike),
    notes: texts(c.notes),
  };
}

export function decodeSearchComparison(value: unknown): SearchComparison {
  const c = object(value, "comparison");
  return {
    verdict: text(c.verdict),
    changes: list(c.changes, (v) => {
      const d = object(v, "change");
      return {
        hparam: text(d.hparam),
        first: textOrNull(d.first),
        second: textOrNull(d.second),
        text: text(d.text),
      };
    }),
    removed: textOrNull(optionalObject(c.removed)?.text),
  };
}

function cause(value: unknown): Cause {
  const c = object(value, "cause");
  return {
    id: text(c.id, "unknown"),
    label: text(c.label) || text(c.id, "unknown").replaceAll("_", " "),
    sure: text(c.sure),
    confidence: number(c.confidence),
    evidence: texts(c.evidence),
    fix: text(c.fix),
  };
}

function badScalar(value: unknown): BadScalar {
  const s = object(value, "scalar");
  return {
    phase: text(s.phase),
    tag: text(s.tag),
    first_epoch: count(s.first_epoch),
    count: count(s.count),
    total: count(s.total),
    text: text(s.text),
  };
}

function lineage(value: unknown): Lineage | null {
  const l = optionalObject(value);
  return (
    l && {
      trial_id: textOrNull(l.trial_id),
      initial_epoch: number(l.initial_epoch),
      epochs: number(l.epochs),
      bracket: number(l.bracket),
      round: number(l.round),
    }
  );
}

function numbers(value: unknown, length?: number): Float64Array {
  const source = Array.isArray(value) ? value : [];
  const out = new Float64Array(length ?? source.length).fill(Number.NaN);
  for (let i = 0; i < Math.min(out.length, source.length); i++) {
    out[i] = number(source[i]) ?? Number.NaN;
  }
  return out;
}

function lane(value: unknown): Lane {
  const l = optionalObject(value);
  if (!l) return NO_LANE;
  const steps = numbers(l.steps);
  const series = {} as Record<LaneSeries, Float64Array>;
  for (const name of LANE_SERIES) series[name] = numbers(l[name], steps.length);
  return {
    steps,
    seconds: numbers(l.seconds, steps.length),
    epochs: numbers(l.epochs, steps.length),
    series,
    extremes: (name) => extremesOf(series[name]),
  };
}

function hparam(value: unknown): HParam {
  const h = object(value, "hyperparameter");
  return {
    name: text(h.name),
    value: scalar(h.value ?? null),
    type: word(h.type, ["int", "float", "choice", "boolean", "fixed", "text", "number"], "text"),
    active: h.active !== false,
    min: scalar(h.min ?? null),
    max: scalar(h.max ?? null),
    step: scalar(h.step ?? null),
    sampling: textOrNull(h.sampling),
    values: Array.isArray(h.values) ? h.values.map(scalar) : null,
    ordered: typeof h.ordered === "boolean" ? h.ordered : null,
    default: scalar(h.default ?? null),
    conditions: list(h.conditions, (c) => {
      const condition = object(c, "condition");
      return { name: text(condition.name), values: list(condition.values, scalar) };
    }),
  };
}

function rate(value: unknown): HParamRate {
  const r = object(value, "rate");
  return {
    hparam: text(r.hparam),
    label: text(r.label),
    bad: count(r.bad),
    total: count(r.total),
    low: number(r.low) ?? 0,
    high: number(r.high) ?? 1,
  };
}

function firstScreen(value: unknown, verdict: string): FirstScreen {
  const f = optionalObject(value) ?? {};
  return {
    happened: text(f.happened) || verdict,
    why: text(f.why),
    sure: text(f.sure),
    where: text(f.where),
    fix: text(f.fix),
    tested: text(f.tested),
    next: text(f.next),
    notes: texts(f.notes),
    more: texts(f.more),
  };
}

function boundary(value: unknown): Boundary & { text: string } {
  const b = object(value, "boundary");
  const where = optionalObject(b.where) ?? {};
  return {
    name: text(b.name),
    where: Object.fromEntries(Object.entries(where).map(([name, v]) => [name, scalar(v)])),
    dead_above: b.dead_above !== false,
    living: scalar(b.living ?? null),
    dead: scalar(b.dead ?? null),
    middle: scalar(b.middle ?? null),
    all_living: b.all_living === true,
    all_dead: b.all_dead === true,
    sure: b.sure === true,
    text: text(b.text),
  };
}

function frontier(value: unknown): Frontier | null {
  const f = optionalObject(value);
  if (!f) return null;
  return { boundaries: list(f.boundaries, boundary), code: text(f.code), steps: count(f.steps) };
}

function search(value: unknown): SearchSummary {
  const s = object(value, "search");
  const by = optionalObject(s.by_status) ?? {};
  const by_status: Partial<Record<Status, number>> = {};
  for (const status of STATUSES) {
    if (count(by[status]) > 0) by_status[status] = count(by[status]);
  }
  return {
    search: text(s.search),
    name: text(s.name),
    tuner: text(s.tuner),
    // Its trials have no score: what its tuner minimises is how many of them live.
    objective: s.purpose === "stability" ? null : textOrNull(s.objective),
    direction: s.direction === "min" || s.direction === "max" ? s.direction : null,
    started: count(s.started),
    trials: count(s.trials),
    by_status,
    verdict: text(s.verdict),
    first: firstScreen(s.first, text(s.verdict)),
    purpose: s.purpose === "stability" ? "stability" : "search",
    frontier: frontier(s.frontier),
    afterwards: text(s.afterwards),
    hparams: list(s.hparams, hparam),
    lanes: texts(s.lanes),
    rates: list(s.rates, rate),
  };
}

function shares(value: unknown): Record<string, number> {
  const found: Record<string, number> = {};
  for (const [dtype, share] of Object.entries(optionalObject(value) ?? {}))
    found[dtype] = number(share) ?? Number.NaN;
  return found;
}

function records(value: unknown): RunSummary["records"] {
  const r = optionalObject(value);
  return { read: count(r?.read), written: count(r?.written) };
}

function answer(value: unknown): Answer | null {
  const a = optionalObject(value);
  if (!a) return null;
  return {
    happened: text(a.happened),
    cause: text(a.cause),
    why: text(a.why),
    sure: text(a.sure),
    record: text(a.record),
    fix: text(a.fix),
    tested: text(a.tested),
    where: text(a.where),
    after: text(a.after),
  };
}

function run(value: unknown): RunSummary {
  const r = object(value, "run");
  if (typeof r.run !== "string") {
    throw new DecodeError(`run: expected a name in "run", received ${preview(r.run)}`);
  }
  const hparams: Record<string, JSONScalar> = Object.create(null);
  for (const [name, v] of Object.entries(optionalObject(r.hparams) ?? {}))
    hparams[name] = scalar(v);
  return {
    run: r.run,
    name: text(r.name) || r.run,
    session: text(r.session),
    search: text(r.search),
    trial_id: textOrNull(r.trial_id),
    number: number(r.number),
    execution: count(r.execution),
    fit: count(r.fit),
    retry: count(r.retry),
    attempt: text(r.attempt),
    superseded: r.superseded === true,
    worker: textOrNull(r.worker),
    state: word<State>(r.state, STATES, "interrupted"),
    stopped_by: textOrNull(r.stopped_by),
    status: word<Status>(r.status, STATUSES, "unwatched"),
    tuner_status: textOrNull(r.tuner_status),
    score: number(r.score),
    best_step: number(r.best_step),
    message: textOrNull(r.message),
    failure: textOrNull(r.failure),
    failure_text: textOrNull(r.failure_text),
    unwatched_text: textOrNull(r.unwatched_text),
    loss_scale: number(r.loss_scale),
    skipped_steps: number(r.skipped_steps),
    misread: MISREADS.find((m) => m === r.misread) ?? null,
    misread_text: textOrNull(r.misread_text),
    hparams,
    inactive: texts(r.inactive),
    onset: position(r.onset),
    origin: origin(r.origin),
    postmortem: postmortem(r.postmortem),
    reproduction: textOrNull(r.reproduction),
    contained: list(r.contained, episode),
    causes: list(r.causes, cause),
    answer: answer(r.answer),
    clean_text: text(r.clean_text),
    started: count(r.started),
    updated: count(r.updated),
    steps: count(r.steps),
    epochs: count(r.epochs),
    epochs_planned: number(r.epochs_planned),
    steps_after_onset: count(r.steps_after_onset),
    seconds_after_onset: count(r.seconds_after_onset),
    recovered: r.recovered === true,
    num_episodes: count(r.num_episodes),
    lineage: lineage(r.lineage),
    inherited: STATUSES.find((s) => s === r.inherited) ?? null,
    scalars: list(r.scalars, badScalar),
    objective: number(r.objective),
    closest: shares(r.closest),
    closest_call: textOrNull(optionalObject(r.closest_call)?.text),
    error_type: textOrNull(r.error_type),
    error_message: textOrNull(r.error_message),
    damage: texts(r.damage),
    records: records(r.records),
    lane: lane(r.lane),
  };
}

function finding(value: unknown): Finding {
  const f = object(value, "finding");
  const pair = (v: unknown): [number, number] =>
    Array.isArray(v) ? [count(v[0]), count(v[1])] : [0, 0];
  return {
    search: text(f.search),
    hparam: text(f.hparam),
    condition: text(f.condition),
    inside: pair(f.inside),
    outside: pair(f.outside),
    p_value: number(f.p_value),
    edit: text(f.edit),
    where: text(f.where),
    saves: text(f.saves),
    rivals: text(f.rivals),
    text: text(f.text),
  };
}

export function decodeEdit(value: unknown): SpaceEdit {
  const e = object(value, "edit");
  return { code: text(e.code), where: text(e.where) };
}

export function decodeOverview(value: unknown): Overview {
  const o = object(value, "overview");
  const version = number(o.schema_version) ?? 0;
  if (version > SCHEMA_VERSION) {
    throw new DecodeError(
      `This tab reads version ${SCHEMA_VERSION} of the overview, and the server sent ` +
        `version ${version}. Reload the page; if that does not help, restart TensorBoard.`,
    );
  }
  return {
    searches: list(o.searches, search),
    runs: list(o.runs, run),
    findings: list(o.findings, finding),
    warnings: texts(o.warnings),
    logdir: text(o.logdir),
    meanings: Object.fromEntries(
      Object.entries(optionalObject(o.meanings) ?? {}).map(([id, said]) => [id, text(said)]),
    ),
  };
}

export const decodeMarkdown = (value: unknown): string => text(object(value, "markdown").markdown);

/** Of TensorBoard's own list: {name: {"enabled": has data}}. */
export function decodePlugins(value: unknown): ReadonlySet<string> {
  const plugins = Object.entries(object(value, "plugins"));
  return new Set(plugins.filter(([, p]) => optionalObject(p)?.enabled === true).map(([n]) => n));
}

function probe(value: unknown): Probe {
  const p = object(value, "probe");
  return {
    kind: word<Kind>(p.kind, KINDS, "activation"),
    name: text(p.name),
    layer: text(p.layer),
    dtype: text(p.dtype),
    shape: list(p.shape, number),
  };
}

function environment(value: unknown): Environment {
  const e = optionalObject(value) ?? {};
  const versions: Record<string, string> = {};
  for (const [name, v] of Object.entries(optionalObject(e.versions) ?? {})) {
    versions[name] = String(v);
  }
  return {
    model: text(e.model),
    optimizer: optionalObject(e.optimizer) ?? {},
    loss: text(e.loss, e.loss == null ? "" : String(e.loss)),
    precision: text(e.precision),
    replicas: number(e.replicas) ?? 1,
    jit_compile: e.jit_compile === true,
    steps_per_execution: number(e.steps_per_execution) ?? 1,
    versions,
    notes: texts(e.notes),
  };
}

function lossScaling(value: unknown): LossScaling | null {
  const l = optionalObject(value);
  if (!l) return null;
  const steps = numbers(l.steps);
  return {
    steps,
    scale: numbers(l.loss_scale, steps.length),
    skipped: numbers(l.skipped_steps, steps.length),
  };
}

export function decodeRun(value: unknown): RunDetail {
  const d = object(value, "run detail");
  const probes = optionalObject(d.probes) ?? {};
  return {
    run: run(d.run),
    probes: { train: list(probes.train, probe), validation: list(probes.validation, probe) },
    episodes: list(d.episodes, episode),
    environment: environment(d.environment),
    phases: texts(d.phases).filter((p): p is Phase => p === "train" || p === "validation"),
    lossScaling: lossScaling(d.loss_scaling),
  };
}

const DTYPES = {
  float32: Float32Array,
  uint32: Uint32Array,
  uint16: Uint16Array,
  uint8: Uint8Array,
};

/** Parses the framing: uint32 length, JSON header, then the header's arrays. */
export function decodeFrame(
  buffer: ArrayBuffer,
  route = "ranges",
): {
  header: Json;
  arrays: Record<string, FramedArray>;
} {
  if (buffer.byteLength < 4) throw new DecodeError(`${route}: the answer is empty`);
  const length = new DataView(buffer).getUint32(0, true);
  if (4 + length > buffer.byteLength) {
    throw new DecodeError(`${route}: the header of ${length} bytes is cut short`);
  }
  let header: Json;
  try {
    header = object(
      JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length))),
      `${route} header`,
    );
  } catch (e) {
    if (e instanceof DecodeError) throw e;
    throw new DecodeError(`${route}: the header is not JSON (${String(e)})`);
  }
  let offset = 4 + length;
  const arrays: Record<string, FramedArray> = {};
  for (const entry of list(header.arrays, (v) => object(v, "array"))) {
    const name = text(entry.name);
    const shape = list(entry.shape, count);
    const size = shape.reduce((a, b) => a * b, 1);
    if (typeof entry.dtype !== "string" || !Object.hasOwn(DTYPES, entry.dtype)) {
      throw new DecodeError(
        `${route}: ${name} has dtype ${preview(entry.dtype)}, expected ${Object.keys(DTYPES)}`,
      );
    }
    const type = DTYPES[entry.dtype as keyof typeof DTYPES];
    const bytes = size * type.BYTES_PER_ELEMENT;
    if (offset % 4 !== 0 || offset + bytes > buffer.byteLength) {
      throw new DecodeError(`${route}: ${name} is cut short or not aligned`);
    }
    arrays[name] = { shape, data: new type(buffer, offset, size) };
    offset += Math.ceil(bytes / 4) * 4;
  }
  return { header, arrays };
}

function taker(arrays: Record<string, FramedArray>, route: string) {
  return (name: string, size: number): Float32Array => {
    const data = arrays[name]?.data;
    if (!(data instanceof Float32Array) || data.length !== size) {
      throw new DecodeError(
        `${route}: ${name} has ${data?.length ?? "no"} values, expected ${size} of float32`,
      );
    }
    return data;
  };
}

export function decodeFlight(buffer: ArrayBuffer): Flight {
  const { header, arrays } = decodeFrame(buffer);
  const probes = count(header.probes);
  const steps = arrays.steps?.data.length ?? 0;
  const full = arrays.full_steps?.data.length ?? 0;
  const take = taker(arrays, "flight");
  return {
    probes,
    steps: take("steps", steps),
    rms: take("rms", steps * probes),
    fullSteps: take("full_steps", full),
    counts: take("counts", full * probes * 3),
  };
}

export function decodeRanges(buffer: ArrayBuffer): Ranges {
  const { header, arrays } = decodeFrame(buffer);
  const buckets = count(header.buckets);
  const probes = count(header.probes);
  const columns = texts(header.columns);
  const countColumns = texts(header.count_columns);
  const take = taker(arrays, "ranges");
  return {
    buckets,
    probes,
    columns,
    countColumns,
    steps: take("steps", buckets * 2),
    stats: take("stats", buckets * probes * columns.length),
    counts: take("counts", buckets * probes * countColumns.length),
    badSteps: take("bad_steps", buckets * probes),
    measured: take("measured", buckets),
  };
}
