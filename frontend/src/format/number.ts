// SPDX-License-Identifier: Apache-2.0
// Numbers as people read them.

export const NON_FINITE = "non-finite";

const GROUPED = new Intl.NumberFormat("en-US");

function nonfinite(value: number): string | null {
  if (Number.isNaN(value)) return "NaN";
  if (value === Number.POSITIVE_INFINITY) return "Inf";
  if (value === Number.NEGATIVE_INFINITY) return "-Inf";
  return null;
}

/** A value on a logarithmic scale: "0.31" and "0.014", far from 1 "1.4e-5". */
export function scientific(value: number, digits = 2): string {
  const word = nonfinite(value);
  if (word !== null) return word;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e3) return String(Number(value.toPrecision(Math.max(digits, 2))));
  return value
    .toExponential(digits - 1)
    .replace("e+", "e")
    .replace(/\.0+e/, "e");
}

/** Three significant digits, without an exponent where that is short. */
export function compact(value: number, digits = 3): string {
  const word = nonfinite(value);
  if (word !== null) return word;
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (Number.isInteger(value) && size < 1e6) return GROUPED.format(value);
  // Of thousands with fewer digits than were asked for, `toPrecision` would write "7.98e+4".
  if (size >= 1e3 && size < 1e5 && digits >= 3) return GROUPED.format(Math.round(value));
  if (size < 1e-3 || size >= 1e5 || size >= 10 ** digits) {
    const [mantissa, exponent] = value.toExponential(digits - 1).split("e") as [string, string];
    return `${trimZeros(mantissa)}e${Number(exponent)}`;
  }
  return trimZeros(value.toPrecision(digits));
}

/** A measured size. What is not finite may be NaN or infinite: the size does not tell. */
export function sizeText(value: number, digits = 3): string {
  return Number.isFinite(value) ? compact(value, digits) : NON_FINITE;
}

/** Labels of an axis: no more digits than tell them apart. */
export function tickLabels(values: readonly number[]): string[] {
  // Powers of ten come back from their logarithm as 99999.99...
  const rounded = values.map((v) => Number(v.toPrecision(6)));
  for (let digits = 2; ; digits++) {
    const labels = rounded.map((v) => compact(v, digits));
    if (digits === 6 || new Set(labels).size === labels.length) return labels;
  }
}

function trimZeros(decimal: string): string {
  return decimal.includes(".") ? decimal.replace(/\.?0+$/, "") : decimal;
}

/** "2,048" */
export function integer(value: number): string {
  return nonfinite(value) ?? GROUPED.format(value);
}

/** "1 trial", "24 trials" */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${integer(count)} ${count === 1 ? one : many}`;
}

/** A decade as legends write it: "×1", "×10", "1e4". */
export function power(decade: number): string {
  if (decade === 0) return "1";
  if (decade === 1) return "10";
  return `1e${decade}`;
}
