// The edit of a search space: the code to paste that leaves one side of a cut out; pure.
// The same code form as tb_nanwatch/reading/edit.py, whose answers are this one's tests.

import type { Condition, HParam, JSONScalar } from "../api/schema.gen";

/** "ge" takes the values above `bound` away, "le" those below. */
export interface Bound {
  op: "ge" | "le";
  bound: number;
}

/** Values of a Choice that go. */
export interface Without {
  op: "in";
  values: readonly JSONScalar[];
}

export type Taken = Bound | Without;

const INDENT = "    ";

export function takes(cut: Taken, value: JSONScalar | undefined): boolean {
  if (cut.op === "in") return value !== undefined && cut.values.includes(value);
  if (typeof value !== "number") return false;
  return cut.op === "ge" ? value > cut.bound : value < cut.bound;
}

/**
 * The number of fewest digits near the middle of two, not beyond either. It may equal
 * `live`, which stays, and never `dead`, which goes.
 */
export function shortBetween(live: number, dead: number, log: boolean): number {
  const low = Math.min(live, dead);
  const high = Math.max(live, dead);
  const middle = log && low > 0 ? Math.sqrt(low) * Math.sqrt(high) : low / 2 + high / 2;
  for (let digits = 0; digits < 16; digits++) {
    const rounded = Number(middle.toExponential(digits));
    if (rounded >= low && rounded <= high && rounded !== dead) return rounded;
  }
  return live;
}

/** The declaration with one side cut away; null where nothing would be left. */
export function unconditional(cut: Taken, spec: HParam): string | null {
  const call = declaration(spec, cut);
  return call === null ? null : scoped(spec.conditions, variable(spec.name), call);
}

/**
 * The declaration cut where another hyperparameter has one value. null where KerasTuner's
 * scopes cannot say it: the parent must stand in just the scopes around this one, and
 * have values to list.
 */
export function within(
  cut: Bound,
  spec: HParam,
  parent: HParam,
  level: JSONScalar,
  taken: ReadonlySet<string>,
): string | null {
  let every = listed(parent);
  if (!every?.includes(level)) return null;
  let around = spec.conditions;
  const innermost = around[around.length - 1];
  if (innermost?.name === parent.name && sameConditions(around.slice(0, -1), parent.conditions)) {
    // It stands in a scope of the parent already: that scope is divided.
    every = every.filter((v) => innermost.values.includes(v));
    around = around.slice(0, -1);
  } else if (!sameConditions(around, parent.conditions)) return null;
  if (!every.includes(level)) return null;
  const rest = every.filter((v) => v !== level);
  // Two scopes cannot share a name: KerasTuner drops the value of an active
  // hyperparameter whose name stands in an inactive scope as well.
  const name = rest.length ? newName(spec.name, level, taken) : spec.name;
  const call = declaration({ ...spec, name }, cut);
  const whole = declaration(spec, null);
  if (call === null || whole === null) return null;
  const hit = { name: parent.name, values: [level] };
  const code = scoped([...around, hit], variable(name), call);
  if (!rest.length) return code;
  const own = variable(spec.name);
  const others = scoped([...around, { name: parent.name, values: rest }], own, whole);
  // An inactive scope's hyperparameter is None.
  return `${others}\n${code}\nif ${own} is None:\n${INDENT}${own} = ${variable(name)}`;
}

function sameConditions(a: readonly Condition[], b: readonly Condition[]): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

// More values than this in a scope's list are no code that anyone would paste.
const MOST_LISTED = 12;

function listed(spec: HParam): JSONScalar[] | null {
  if (spec.type === "boolean") return [false, true];
  if (spec.type === "choice" && spec.values?.length) return spec.values;
  if (spec.type === "int") {
    const values = grid(spec);
    return values !== null && values.length <= MOST_LISTED ? values : null;
  }
  return null;
}

function newName(name: string, level: JSONScalar, taken: ReadonlySet<string>): string {
  const suffix = trimmed(pythonText(level)).toLowerCase();
  const wanted = suffix ? `${name}_${suffix}` : `${name}_2`;
  let found = wanted;
  for (let n = 3; taken.has(found) || variable(found) === variable(name); n++) {
    found = `${wanted}_${n}`;
  }
  return found;
}

function scoped(parents: readonly Condition[], target: string, call: string): string {
  // In no scope the call stands in the user's code, whatever that does with it.
  if (!parents.length) return call;
  const lines = parents.map((parent, depth) => {
    const values = parent.values.map((v) => literal(v)).join(", ");
    return `${INDENT.repeat(depth)}with hp.conditional_scope(${literal(parent.name)}, [${values}]):`;
  });
  return [...lines, `${INDENT.repeat(parents.length)}${target} = ${call}`].join("\n");
}

const trimmed = (text: string): string =>
  text.replace(/[^A-Za-z0-9_]+/g, "_").replace(/^_+|_+$/g, "");

const KEYWORDS = new Set(
  (
    "and as assert async await break class continue def del elif else except finally for " +
    "from global if import in is lambda nonlocal not or pass raise return try while with yield hp"
  ).split(" "),
);

function variable(name: string): string {
  const found = trimmed(name).toLowerCase() || "value";
  return /^\d/.test(found) || KEYWORDS.has(found) ? `value_${found}` : found;
}

// --- Declarations ---

function declaration(spec: HParam, cut: Taken | null): string | null {
  switch (spec.type) {
    case "float":
    case "int":
      return cut?.op === "in" ? null : numeric(spec, cut);
    case "choice":
      return choice(spec, cut);
    case "boolean":
      return boolean(spec, cut);
    default:
      return null;
  }
}

function finite(value: JSONScalar): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

function numeric(spec: HParam, cut: Bound | null): string | null {
  let low = finite(spec.min);
  let high = finite(spec.max);
  if (low === null || high === null) return null;
  const whole = spec.type === "int";
  if (cut !== null) {
    const points = grid(spec);
    if (points !== null) {
      const left = points.filter((v) => !takes(cut, v));
      if (!left.length) return null;
      low = left[0]!;
      high = left[left.length - 1]!;
    } else if (cut.op === "ge") {
      high = Math.min(high, whole ? Math.floor(cut.bound) : cut.bound);
    } else {
      low = Math.max(low, whole ? Math.ceil(cut.bound) : cut.bound);
    }
  }
  if (low > high) return null;
  if (low === high) return `hp.Fixed(${literal(spec.name)}, ${literal(low, !whole)})`;
  const parts = [literal(spec.name), literal(low, !whole), literal(high, !whole)];
  const plainStep = whole && spec.step === 1 && (spec.sampling ?? "linear") === "linear";
  if (spec.step !== null && !plainStep) parts.push(`step=${literal(spec.step, !whole)}`);
  if (spec.sampling === "log" || spec.sampling === "reverse_log") {
    parts.push(`sampling="${spec.sampling}"`);
  }
  const standard = finite(spec.default);
  // The first value is the default anyway.
  if (standard !== null && standard !== spec.min && standard >= low && standard <= high) {
    parts.push(`default=${literal(standard, !whole)}`);
  }
  return `hp.${whole ? "Int" : "Float"}(${parts.join(", ")})`;
}

function boolean(spec: HParam, cut: Taken | null): string | null {
  const left = [false, true].filter((v) => cut === null || !takes(cut, v));
  if (!left.length) return null;
  const name = literal(spec.name);
  if (left.length === 1) return `hp.Fixed(${name}, ${literal(left[0]!)})`;
  return `hp.Boolean(${name}${spec.default === true ? ", default=True" : ""})`;
}

function choice(spec: HParam, cut: Taken | null): string | null {
  const values = spec.values ?? [];
  const left = values.filter((v) => cut === null || !takes(cut, v));
  if (!left.length) return null;
  const float = left.some((v) => typeof v === "number" && !Number.isInteger(v));
  const parts = [literal(spec.name), `[${left.map((v) => literal(v, float)).join(", ")}]`];
  if (spec.ordered === false && left.every((v) => finite(v) !== null)) {
    parts.push("ordered=False");
  }
  if (spec.default !== values[0] && left.includes(spec.default)) {
    parts.push(`default=${literal(spec.default, float)}`);
  }
  return `hp.Choice(${parts.join(", ")})`;
}

// A grid with more points than this is cut like a continuous range.
const MOST_POINTS = 100_000;

/** The values that a step allows; null where there is no step. */
function grid(spec: HParam): number[] | null {
  const low = finite(spec.min);
  const high = finite(spec.max);
  let step = finite(spec.step);
  if (low === null || high === null || spec.sampling === "reverse_log") return null;
  const log = spec.sampling === "log";
  if (step === null) {
    if (spec.type !== "int" || log) return null;
    step = 1;
  }
  if (log ? step <= 1 || low <= 0 : step <= 0) return null;
  // As KerasTuner counts them.
  const count = log
    ? Math.floor(Math.log(high / low) / Math.log(step) + 1e-8) + 1
    : Math.round((high - low - ((high - low) % step)) / step) + 1; // Python's //
  if (count <= 0 || count > MOST_POINTS) return null;
  const start = low;
  const by = step;
  const values = Array.from({ length: count }, (_, i) => (log ? start * by ** i : start + i * by));
  return spec.type === "int" ? values.map(Math.trunc) : values;
}

// --- Literals: names and values come from logs, so each is written as Python source ---

/** `float`: JSON has one kind of number, Python two. */
export function literal(value: JSONScalar, float = false): string {
  return typeof value === "string" ? quoted(value) : pythonText(value, float);
}

function pythonText(value: JSONScalar, float = false): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "string") return value;
  return float || !Number.isInteger(value) ? numberText(value) : String(value);
}

function quoted(text: string): string {
  if (/^[ -~]*$/.test(text)) return JSON.stringify(text);
  // As Python's ascii(): what cannot be seen or confuses is escaped.
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = [...text].map((c) => {
    if (c === quote || c === "\\") return `\\${c}`;
    const short = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[c];
    if (short) return short;
    if (c >= " " && c <= "~") return c;
    const code = c.codePointAt(0)!;
    const [letter, width] = code > 0xffff ? ["U", 8] : code > 0xff ? ["u", 4] : ["x", 2];
    return `\\${letter}${code.toString(16).padStart(width as number, "0")}`;
  });
  return `${quote}${escaped.join("")}${quote}`;
}

/** A float that reads back as itself, written as people write it. */
export function numberText(value: number): string {
  const size = Math.abs(value);
  if (value === 0 || (size >= 1e-3 && size < 1e6)) {
    return Number.isInteger(value) ? `${value}.0` : String(value);
  }
  return value.toExponential().replace("e+", "e");
}
