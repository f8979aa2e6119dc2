// Generated from tb_nanwatch/record/schema.py and reading/contract. Do not edit.

import {
  at,
  count,
  flag,
  list,
  number,
  object,
  optional,
  optionalObject,
  record,
  required,
  scalar,
  size,
  text,
  textOrNull,
  word,
  wordOrNull,
} from "./json";
import type * as types from "./schema.gen";
import {
  KINDS,
  MISREADS,
  PHASES,
  STATES,
  STATUSES,
  type HParamType,
  type Kind,
  type Misread,
  type Phase,
  type State,
  type Status,
} from "./schema.gen";

export function aborted(value: unknown): types.Aborted {
  const o = object(value, "Aborted");
  return {
    trials: list(o.trials, text),
    names: list(o.names, text),
    reasons: list(o.reasons, text),
    message: text(o.message),
    fix: text(o.fix),
    next: text(o.next),
  };
}

export function cost(value: unknown): types.Cost {
  const o = object(value, "Cost");
  return {
    seconds: count(o.seconds),
    seconds_after_onset: count(o.seconds_after_onset),
    share: count(o.share),
    text: text(o.text),
  };
}

export function searchAnswer(value: unknown): types.SearchAnswer {
  const o = object(value, "SearchAnswer");
  return {
    happened: text(o.happened),
    cause: text(o.cause),
    why: text(o.why),
    sure: text(o.sure),
    record: text(o.record),
    fix: text(o.fix),
    tested: text(o.tested),
    where: text(o.where),
    after: text(o.after),
    changed: text(o.changed),
    count: count(o.count),
    of: count(o.of),
    whose: text(o.whose),
    names: list(o.names, text),
    id: text(o.id),
  };
}

export function condition(value: unknown): types.Condition {
  const o = object(value, "Condition");
  return {
    name: text(o.name),
    values: list(o.values, scalar),
  };
}

export function spaceHParam(value: unknown): types.SpaceHParam {
  const o = object(value, "SpaceHParam");
  return {
    name: text(o.name),
    type: word<HParamType>(o.type, ["int", "float", "choice", "boolean", "fixed", "text", "number"], "text"),
    active: o.active === true,
    min: scalar(o.min ?? null),
    max: scalar(o.max ?? null),
    step: scalar(o.step ?? null),
    sampling: textOrNull(o.sampling),
    values: Array.isArray(o.values) ? list(o.values, scalar) : null,
    ordered: flag(o.ordered),
    default: scalar(o.default ?? null),
    conditions: list(o.conditions, condition),
  };
}

export function toldBoundary(value: unknown): types.ToldBoundary {
  const o = object(value, "ToldBoundary");
  return {
    name: text(o.name),
    where: record(o.where, scalar),
    dead_above: o.dead_above !== false,
    living: scalar(o.living ?? null),
    dead: scalar(o.dead ?? null),
    middle: scalar(o.middle ?? null),
    all_living: o.all_living === true,
    all_dead: o.all_dead === true,
    sure: o.sure === true,
    text: text(o.text),
  };
}

export function frontier(value: unknown): types.Frontier {
  const o = object(value, "Frontier");
  return {
    boundaries: list(o.boundaries, toldBoundary),
    code: text(o.code),
    kept: count(o.kept),
    trials: count(o.trials),
    bad: count(o.bad),
    steps: count(o.steps),
    spent_steps: count(o.spent_steps),
    seconds: count(o.seconds),
  };
}

export function confirmation(value: unknown): types.Confirmation {
  const o = object(value, "Confirmation");
  return {
    condition: text(o.condition),
    other: text(o.other),
    inside: [count(at(o.inside, 0)), count(at(o.inside, 1))],
    outside: [count(at(o.outside, 0)), count(at(o.outside, 1))],
    p_value: count(o.p_value),
    confirmed: o.confirmed === true,
    steps: count(o.steps),
    seconds: count(o.seconds),
    text: text(o.text),
  };
}

export function rate(value: unknown): types.Rate {
  const o = object(value, "Rate");
  return {
    hparam: text(o.hparam),
    label: text(o.label),
    bad: count(o.bad),
    total: count(o.total),
    low: count(o.low),
    high: count(o.high),
  };
}

export function firstScreen(value: unknown): types.FirstScreen {
  const o = object(value, "FirstScreen");
  return {
    happened: text(o.happened),
    why: text(o.why),
    sure: text(o.sure),
    where: text(o.where),
    fix: text(o.fix),
    tested: text(o.tested),
    edit: text(o.edit),
    paste: text(o.paste),
    next: text(o.next),
    notes: list(o.notes, text),
    more: list(o.more, text),
  };
}

export function searchSummary(value: unknown): types.SearchSummary {
  const o = object(value, "SearchSummary");
  return {
    search: text(o.search),
    name: text(o.name),
    tuner: text(o.tuner),
    objective: textOrNull(o.objective),
    direction: textOrNull(o.direction),
    started: count(o.started),
    trials: count(o.trials),
    by_status: record(o.by_status, count),
    aborted: optional(o.aborted, aborted),
    cost: optional(o.cost, cost),
    counted: text(o.counted),
    verdict: text(o.verdict),
    answer: optional(o.answer, searchAnswer),
    hparams: list(o.hparams, spaceHParam),
    purpose: text(o.purpose, "search"),
    frontier: optional(o.frontier, frontier),
    afterwards: text(o.afterwards),
    confirmation: optional(o.confirmation, confirmation),
    rates: list(o.rates, rate),
    first: firstScreen(optionalObject(o.first) ?? {}),
    lanes: list(o.lanes, text),
  };
}

export function position(value: unknown): types.Position {
  const o = object(value, "Position");
  return {
    phase: word<Phase>(o.phase, PHASES, "train"),
    step: count(o.step),
    epoch: count(o.epoch),
    batch: count(o.batch),
  };
}

export function origin(value: unknown): types.Origin {
  const o = object(value, "Origin");
  return {
    kind: word<Kind>(o.kind, KINDS, "activation"),
    name: text(o.name),
    num_nan: count(o.num_nan),
    num_pos_inf: count(o.num_pos_inf),
    num_neg_inf: count(o.num_neg_inf),
    size: count(o.size),
    row: number(o.row),
    replica: count(o.replica),
    op: textOrNull(o.op),
    source: textOrNull(o.source),
  };
}

export function badTensor(value: unknown): types.BadTensor {
  const o = object(value, "BadTensor");
  return {
    kind: word<Kind>(o.kind, KINDS, "activation"),
    name: text(o.name),
    num_nan: count(o.num_nan),
    num_pos_inf: count(o.num_pos_inf),
    num_neg_inf: count(o.num_neg_inf),
    size: count(o.size),
    row: number(o.row),
    replica: count(o.replica),
  };
}

export function episode(value: unknown): types.Episode {
  const o = object(value, "Episode");
  return {
    id: count(o.id),
    start: position(optionalObject(o.start) ?? {}),
    end_step: number(o.end_step),
    level: word<Status>(o.level, STATUSES, "unwatched"),
    tensors: list(o.tensors, badTensor),
    new: list(o.new, count),
  };
}

export function source(value: unknown): types.Source {
  const o = object(value, "Source");
  return {
    file: text(o.file),
    line: count(o.line),
    function: text(o.function),
    text: text(o.text),
  };
}

export function operand(value: unknown): types.Operand {
  const o = object(value, "Operand");
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

export function link(value: unknown): types.Link {
  const o = object(value, "Link");
  return {
    operand: text(o.operand),
    value: size(o.value),
    low: size(o.low),
    high: size(o.high),
    origin: text(o.origin),
    name: text(o.name),
    layer: text(o.layer),
    source: optional(o.source, source),
    operands: list(o.operands, size),
    row: number(o.row) ?? -1,
    column: list(o.column, count),
  };
}

export function since(value: unknown): types.Since {
  const o = object(value, "Since");
  return {
    batches: count(o.batches),
    bad: count(o.bad),
    low: size(o.low),
    high: size(o.high),
    steps: count(o.steps),
    was_bad: flag(o.was_bad),
  };
}

export function outlier(value: unknown): types.Outlier {
  const o = object(value, "Outlier");
  return {
    name: text(o.name),
    rows: list(o.rows, count),
    row: count(o.row),
    column: list(o.column, count),
    value: size(o.value),
    usual: size(o.usual),
    batches: count(o.batches),
    count: number(o.count) ?? 1,
    size: count(o.size),
    ago: count(o.ago),
  };
}

export function experiment(value: unknown): types.Experiment {
  const o = object(value, "Experiment");
  return {
    change: text(o.change),
    text: text(o.text),
    finite: o.finite === true,
    steps: count(o.steps),
    note: text(o.note),
    tried: o.tried !== false,
    first: count(o.first),
    learns: flag(o.learns),
    value: number(o.value),
    first_loss: number(o.first_loss),
    last_loss: number(o.last_loss),
    batches: count(o.batches),
  };
}

export function example(value: unknown): types.Example {
  const o = object(value, "Example");
  return {
    row: count(o.row),
    example: count(o.example),
  };
}

export function postMortem(value: unknown): types.PostMortem {
  const o = object(value, "PostMortem");
  return {
    reproduced: o.reproduced === true,
    reason: text(o.reason),
    text: text(o.text),
    op: textOrNull(o.op),
    op_type: textOrNull(o.op_type),
    forward_type: textOrNull(o.forward_type),
    gradient: o.gradient === true,
    layer: text(o.layer),
    in_model: flag(o.in_model),
    owner: text(o.owner),
    source: optional(o.source, source),
    finding: text(o.finding),
    inputs: list(o.inputs, operand),
    chain: list(o.chain, link),
    since: optional(o.since, since),
    num_nan: count(o.num_nan),
    num_pos_inf: count(o.num_pos_inf),
    num_neg_inf: count(o.num_neg_inf),
    size: count(o.size),
    shape: list(o.shape, count),
    dtype: text(o.dtype),
    finite_in_float32: flag(o.finite_in_float32),
    data: textOrNull(o.data),
    held: text(o.held),
    rows: list(o.rows, count),
    outliers: list(o.outliers, outlier),
    capsule: text(o.capsule),
    own_code: list(o.own_code, text),
    seconds: count(o.seconds),
    experiments: list(o.experiments, experiment),
    untried: text(o.untried),
    epoch_steps: count(o.epoch_steps),
    planned_steps: count(o.planned_steps),
    redrawn: count(o.redrawn),
    examples: list(o.examples, example),
  };
}

export function namedCause(value: unknown): types.NamedCause {
  const o = object(value, "NamedCause");
  return {
    id: text(o.id),
    sure: text(o.sure),
    record: text(o.record),
    confidence: count(o.confidence),
    evidence: list(o.evidence, text),
    fix: text(o.fix),
    label: text(o.label),
  };
}

export function answer(value: unknown): types.Answer {
  const o = object(value, "Answer");
  return {
    happened: text(o.happened),
    cause: text(o.cause),
    why: text(o.why),
    sure: text(o.sure),
    record: text(o.record),
    fix: text(o.fix),
    tested: text(o.tested),
    where: text(o.where),
    after: text(o.after),
    changed: text(o.changed),
  };
}

export function toldCall(value: unknown): types.ToldCall {
  const o = object(value, "ToldCall");
  return {
    dtype: text(o.dtype),
    value: count(o.value),
    limit: count(o.limit),
    share: count(o.share),
    kind: text(o.kind),
    name: text(o.name),
    text: text(o.text),
  };
}

export function lineage(value: unknown): types.Lineage {
  const o = object(value, "Lineage");
  return {
    trial_id: textOrNull(o.trial_id),
    initial_epoch: number(o.initial_epoch),
    epochs: number(o.epochs),
    bracket: number(o.bracket),
    round: number(o.round),
  };
}

export function toldScalar(value: unknown): types.ToldScalar {
  const o = object(value, "ToldScalar");
  return {
    phase: text(o.phase),
    tag: text(o.tag),
    first_epoch: count(o.first_epoch),
    count: count(o.count),
    total: count(o.total),
    text: text(o.text),
  };
}

export function records(value: unknown): types.Records {
  const o = object(value, "Records");
  return {
    read: count(o.read),
    written: count(o.written),
  };
}

export function runSummary(value: unknown): types.RunSummary {
  const o = object(value, "RunSummary");
  return {
    run: required(o.run, "RunSummary.run"),
    name: text(o.name),
    session: text(o.session),
    search: text(o.search),
    trial_id: textOrNull(o.trial_id),
    number: number(o.number),
    execution: count(o.execution),
    fit: count(o.fit),
    retry: count(o.retry),
    superseded: o.superseded === true,
    worker: textOrNull(o.worker),
    state: word<State>(o.state, STATES, "interrupted"),
    stopped_by: textOrNull(o.stopped_by),
    status: word<Status>(o.status, STATUSES, "unwatched"),
    tuner_status: textOrNull(o.tuner_status),
    score: number(o.score),
    best_step: number(o.best_step),
    message: textOrNull(o.message),
    failure: textOrNull(o.failure),
    failure_text: textOrNull(o.failure_text),
    unwatched_text: textOrNull(o.unwatched_text),
    misread: wordOrNull<Misread>(o.misread, MISREADS),
    misread_text: textOrNull(o.misread_text),
    hparams: record(o.hparams, scalar),
    inactive: list(o.inactive, text),
    onset: optional(o.onset, position),
    origin: optional(o.origin, origin),
    contained: list(o.contained, episode),
    postmortem: optional(o.postmortem, postMortem),
    reproduction: textOrNull(o.reproduction),
    causes: list(o.causes, namedCause),
    answer: optional(o.answer, answer),
    clean_text: text(o.clean_text),
    started: count(o.started),
    updated: count(o.updated),
    steps: count(o.steps),
    epochs: count(o.epochs),
    epochs_planned: number(o.epochs_planned),
    steps_after_onset: count(o.steps_after_onset),
    seconds_after_onset: count(o.seconds_after_onset),
    recovered: o.recovered === true,
    closest: record(o.closest, size),
    closest_call: optional(o.closest_call, toldCall),
    loss_scale: number(o.loss_scale),
    skipped_steps: number(o.skipped_steps),
    lineage: optional(o.lineage, lineage),
    lineage_text: text(o.lineage_text),
    inherited: wordOrNull<Status>(o.inherited, STATUSES),
    inherited_text: text(o.inherited_text),
    scalars: list(o.scalars, toldScalar),
    error_type: textOrNull(o.error_type),
    error_message: textOrNull(o.error_message),
    damage: list(o.damage, text),
    records: records(optionalObject(o.records) ?? {}),
    attempt: text(o.attempt),
  };
}

export function finding(value: unknown): types.Finding {
  const o = object(value, "Finding");
  return {
    search: text(o.search),
    hparam: text(o.hparam),
    condition: text(o.condition),
    inside: [count(at(o.inside, 0)), count(at(o.inside, 1))],
    outside: [count(at(o.outside, 0)), count(at(o.outside, 1))],
    p_value: count(o.p_value),
    edit: text(o.edit),
    where: text(o.where),
    saves: text(o.saves),
    rivals: text(o.rivals),
    text: text(o.text),
  };
}

export function overview(value: unknown): types.Overview {
  const o = object(value, "Overview");
  return {
    schema_version: number(o.schema_version) ?? 1,
    searches: list(o.searches, searchSummary),
    runs: list(o.runs, runSummary),
    findings: list(o.findings, finding),
    warnings: list(o.warnings, text),
    with_data: o.with_data !== false,
    meanings: record(o.meanings, text),
    logdir: text(o.logdir),
  };
}

export function probe(value: unknown): types.Probe {
  const o = object(value, "Probe");
  return {
    kind: word<Kind>(o.kind, KINDS, "activation"),
    name: text(o.name),
    layer: text(o.layer),
    dtype: text(o.dtype, "float32"),
    shape: list(o.shape, (v) => number(v)),
  };
}

export function probes(value: unknown): types.Probes {
  const o = object(value, "Probes");
  return {
    train: list(o.train, probe),
    validation: list(o.validation, probe),
  };
}

export function environment(value: unknown): types.Environment {
  const o = object(value, "Environment");
  return {
    model: text(o.model),
    optimizer: record(o.optimizer, (v) => v),
    loss: text(o.loss),
    precision: text(o.precision),
    replicas: count(o.replicas),
    jit_compile: o.jit_compile === true,
    steps_per_execution: count(o.steps_per_execution),
    versions: record(o.versions, text),
    notes: list(o.notes, text),
  };
}

export function lossScaling(value: unknown): types.LossScaling {
  const o = object(value, "LossScaling");
  return {
    steps: list(o.steps, size),
    loss_scale: list(o.loss_scale, size),
    skipped_steps: list(o.skipped_steps, size),
  };
}

export function runDetail(value: unknown): types.RunDetail {
  const o = object(value, "RunDetail");
  return {
    run: runSummary(optionalObject(o.run) ?? {}),
    probes: probes(optionalObject(o.probes) ?? {}),
    episodes: list(o.episodes, episode),
    environment: environment(optionalObject(o.environment) ?? {}),
    phases: list(o.phases, (v) => word<Phase>(v, PHASES, "train")),
    loss_scaling: optional(o.loss_scaling, lossScaling),
  };
}

export function difference(value: unknown): types.Difference {
  const o = object(value, "Difference");
  return {
    topic: text(o.topic),
    name: text(o.name),
    first: scalar(o.first ?? null),
    second: scalar(o.second ?? null),
    decades: number(o.decades),
    likely: o.likely === true,
    text: text(o.text),
    setting: textOrNull(o.setting),
  };
}

export function partingTensor(value: unknown): types.PartingTensor {
  const o = object(value, "PartingTensor");
  return {
    kind: text(o.kind),
    name: text(o.name),
    first: count(o.first),
    second: count(o.second),
  };
}

export function parting(value: unknown): types.Parting {
  const o = object(value, "Parting");
  return {
    step: count(o.step),
    last_step: count(o.last_step),
    tensors: list(o.tensors, partingTensor),
    text: text(o.text),
  };
}

export function runComparison(value: unknown): types.RunComparison {
  const o = object(value, "RunComparison");
  return {
    schema_version: number(o.schema_version) ?? 1,
    kind: text(o.kind, "runs"),
    runs: list(o.runs, runSummary),
    names: list(o.names, text),
    verdict: text(o.verdict),
    differences: list(o.differences, difference),
    parting: optional(o.parting, parting),
    alike: list(o.alike, text),
    notes: list(o.notes, text),
  };
}

export function share(value: unknown): types.Share {
  const o = object(value, "Share");
  return {
    bad: count(o.bad),
    total: count(o.total),
    low: count(o.low),
    high: count(o.high),
  };
}

export function spaceChange(value: unknown): types.SpaceChange {
  const o = object(value, "SpaceChange");
  return {
    hparam: text(o.hparam),
    first: textOrNull(o.first),
    second: textOrNull(o.second),
    text: text(o.text),
  };
}

export function removed(value: unknown): types.Removed {
  const o = object(value, "Removed");
  return {
    bad: [count(at(o.bad, 0)), count(at(o.bad, 1))],
    clean: [count(at(o.clean, 0)), count(at(o.clean, 1))],
    best: flag(o.best),
    text: text(o.text),
  };
}

export function searchComparison(value: unknown): types.SearchComparison {
  const o = object(value, "SearchComparison");
  return {
    schema_version: number(o.schema_version) ?? 1,
    kind: text(o.kind, "searches"),
    searches: list(o.searches, searchSummary),
    names: list(o.names, text),
    verdict: text(o.verdict),
    shares: [share(optionalObject(at(o.shares, 0)) ?? {}), share(optionalObject(at(o.shares, 1)) ?? {})],
    p_value: number(o.p_value),
    changes: list(o.changes, spaceChange),
    removed: optional(o.removed, removed),
    best_scores: [number(at(o.best_scores, 0)), number(at(o.best_scores, 1))],
  };
}

export function markdown(value: unknown): types.Markdown {
  const o = object(value, "Markdown");
  return {
    markdown: text(o.markdown),
  };
}

export function spaceEdit(value: unknown): types.SpaceEdit {
  const o = object(value, "SpaceEdit");
  return {
    code: text(o.code),
    where: text(o.where),
  };
}
