// SPDX-License-Identifier: Apache-2.0
// The filter box: words and comparisons, all of which must hold; pure.
//
//   diverged            a status, a state, "bad", "scored" (anyway) or a cause
//   17                  a trial's id, or part of it; #17 is KerasTuner's "Trial #17"
//   learning_rate>1e-2  a hyperparameter, or score, steps, epochs, onset
//   optimizer=sgd       also !=; "my name"=x where a name has spaces
//   -clean              not
//
// Terms stand apart by spaces or commas; a value with either is quoted. Unquoted, `kernel=3,3`
// keeps its comma, and 1,024 is the number that the tab writes so.

import { type JSONScalar, STATES, STATUSES } from "../api/schema.gen";
import { value as valueText } from "../format/words";
import { scoredAnyway, type Trial } from "./trials";

export interface Filter {
  /** A message about a term that could not be parsed; that term then filters nothing. */
  problems: string[];
  keeps(trial: Trial): boolean;
}

type Test = (trial: Trial) => boolean;

const TERM = /"(?:[^"\\]|\\.)*"|[^\s"]+/g;
const SEPARATOR = /,(?=(?:[^"]*"[^"]*")*[^"]*$)/;
const GROUPED = /^-?\d{1,3}(,\d{3})+(\.\d+)?$/;
const COMPARISON = /^("(?:[^"\\]|\\.)*"|[^<>=!:]+)(>=|<=|!=|>|<|=|:)(.*)$/;

// Names of a trial's other quantities; a hyperparameter of the same name comes first.
const FIELDS: Record<string, (trial: Trial) => number | string | null> = {
  score: (t) => t.score,
  steps: (t) => t.steps,
  epochs: (t) => t.runs[0]?.epochs ?? null,
  onset: (t) => t.onsetStep,
  status: (t) => t.status,
  trial: (t) => t.id,
  number: (t) => t.runs[0]?.number ?? null,
  cause: (t) => t.runs[0]?.causes[0]?.id ?? null,
  origin: (t) => t.runs[0]?.origin?.name ?? null,
};

/** @param names of the search's hyperparameters. */
export function parseFilter(text: string, names: readonly string[]): Filter {
  const problems: string[] = [];
  const tests: Test[] = [];
  for (const term of terms(text)) {
    const negative = term.length > 1 && term.startsWith("-");
    const test = testOf(negative ? term.slice(1) : term, names, problems);
    if (test) tests.push(negative ? (t) => !test(t) : test);
  }
  return { problems, keeps: (trial) => tests.every((test) => test(trial)) };
}

/**
 * The filter's text with a range of a hyperparameter in it; earlier bounds of it go.
 * @param range null takes the bounds away.
 */
export function withRange(
  text: string,
  name: string,
  range: readonly [number, number] | null,
): string {
  const kept = terms(text).filter((term) => {
    const parts = COMPARISON.exec(term);
    return !(parts && unquoted(parts[1]!) === name && /[<>]/.test(parts[2]!));
  });
  if (range) {
    const own = /[\s<>=!:"]/.test(name) ? JSON.stringify(name) : name;
    const number = (v: number) => Number(v.toPrecision(3));
    kept.push(`${own}>=${number(range[0])}`, `${own}<=${number(range[1])}`);
  }
  return kept.join(" ");
}

/** Whether a filter holds a word: "bad", "diverged". */
export function hasWord(text: string, word: string): boolean {
  return terms(text).includes(word);
}

/** The filter's text with a word more, or without it where it is there already. */
export function withWord(text: string, word: string): string {
  const before = terms(text);
  const kept = before.filter((term) => term !== word);
  return [...kept, ...(kept.length === before.length ? [word] : [])].join(" ");
}

/** Splits at spaces and commas, but not around an operator nor within quotes. */
function terms(text: string): string[] {
  const tight = text.replace(/\s*(>=|<=|!=|>|<|=)\s*/g, "$1");
  const found: string[] = [];
  let end = -1;
  for (const match of tight.matchAll(TERM)) {
    // `"a name"=x` is matched in two pieces that touch.
    if (match.index === end && found.length) found[found.length - 1] += match[0];
    else found.push(match[0]);
    end = match.index + match[0].length;
  }
  return found.flatMap(atCommas);
}

/** Splits a word without spaces at its commas, except those within a value. */
function atCommas(text: string): string[] {
  const found: string[] = [];
  for (const piece of text.split(SEPARATOR)) {
    const last = found.at(-1);
    if (last && piece && belongs(last, piece)) found[found.length - 1] = `${last},${piece}`;
    else if (piece) found.push(piece);
  }
  return found;
}

function belongs(before: string, piece: string): boolean {
  const parts = COMPARISON.exec(before);
  if (!parts) return false;
  if (GROUPED.test(`${parts[3]},${piece}`)) return true;
  return /^(=|!=|:)$/.test(parts[2]!) && !COMPARISON.test(piece) && !isWord(piece);
}

/** Whether a word is a filter term of its own, not a trial's id, cause or value. */
function isWord(text: string): boolean {
  const plain = unquoted(text.replace(/^-/, "")).toLowerCase().replaceAll(" ", "_");
  return (
    plain === "bad" ||
    plain === "scored" ||
    /^#\d+$/.test(plain) ||
    STATUSES.some((s) => s === plain) ||
    STATES.some((s) => s === plain)
  );
}

function numberOf(text: string): number {
  return Number(GROUPED.test(text) ? text.replaceAll(",", "") : text);
}

function testOf(term: string, names: readonly string[], problems: string[]): Test | null {
  const parts = COMPARISON.exec(term);
  if (parts)
    return comparison(unquoted(parts[1]!), parts[2]!, unquoted(parts[3]!), names, problems);
  return word(unquoted(term).toLowerCase());
}

function comparison(
  name: string,
  operator: string,
  wanted: string,
  names: readonly string[],
  problems: string[],
): Test | null {
  const hparam =
    names.find((n) => n === name) ?? names.find((n) => n.toLowerCase() === name.toLowerCase());
  const field = FIELDS[name.toLowerCase()];
  if (hparam === undefined && !field) {
    problems.push(
      `there is no "${name}"; known are ${[...names, ...Object.keys(FIELDS)].join(", ")}`,
    );
    return null;
  }
  // An unfinished comparison is still being typed.
  if (wanted === "") return null;
  const read = (t: Trial): JSONScalar | undefined =>
    hparam !== undefined ? t.hparams[hparam] : field!(t);
  if (operator === "=" || operator === ":") return (t) => equals(read(t), wanted);
  if (operator === "!=") return (t) => !equals(read(t), wanted);
  const limit = numberOf(wanted);
  if (Number.isNaN(limit)) {
    problems.push(`"${wanted}" is no number to compare ${name} with`);
    return null;
  }
  return (t) => {
    const value = read(t);
    if (typeof value !== "number") return false;
    if (operator === ">") return value > limit;
    if (operator === "<") return value < limit;
    return operator === ">=" ? value >= limit : value <= limit;
  };
}

function equals(value: JSONScalar | undefined, wanted: string): boolean {
  if (value === undefined) return false;
  if (typeof value === "number") {
    const number = numberOf(wanted);
    // Numbers copied from the screen are rounded.
    return Math.abs(value - number) <= Math.abs(value) * 5e-3 || value === number;
  }
  return valueText(value).toLowerCase() === wanted.toLowerCase();
}

function word(wanted: string): Test {
  return (trial) => {
    if (wanted === "bad") return trial.bad;
    if (/^#\d+$/.test(wanted)) return trial.runs.some((r) => r.number === Number(wanted.slice(1)));
    if (wanted === "scored") return scoredAnyway(trial);
    const spaced = wanted.replaceAll(" ", "_");
    if (STATUSES.some((s) => s === spaced)) return trial.status === spaced;
    if (STATES.some((s) => s === spaced)) return trial.runs.some((r) => r.state === spaced);
    return (
      trial.id.toLowerCase().includes(wanted) ||
      trial.runs.some((r) => r.causes[0]?.id === spaced) ||
      Object.values(trial.hparams).some((v) => typeof v === "string" && v.toLowerCase() === wanted)
    );
  };
}

function unquoted(text: string): string {
  return text.length > 1 && text.startsWith('"') && text.endsWith('"')
    ? text.slice(1, -1).replace(/\\(.)/g, "$1")
    : text;
}
