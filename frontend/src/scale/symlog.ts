// SPDX-License-Identifier: Apache-2.0
// A symmetric logarithm: linear around zero, by decades away from it, so that a band
// from -1e20 to 1e-3 has a shape.

interface SymlogScale {
  forward(value: number): number;
  inverse(place: number): number;
  /** Values where an axis is labelled, within [low, high] (places). */
  ticks(low: number, high: number, most: number): number[];
}

/** `unit`: the size below which the scale is linear; a power of ten. */
export function symlog(unit: number): SymlogScale {
  const forward = (v: number) => Math.sign(v) * Math.log10(1 + Math.abs(v) / unit);
  const inverse = (p: number) => Math.sign(p) * (10 ** Math.abs(p) - 1) * unit;
  return {
    forward,
    inverse,
    ticks(low, high, most) {
      const decades = Math.max(1, Math.ceil((high - low) / Math.max(1, most)));
      const ticks: number[] = low <= 0 && high >= 0 ? [0] : [];
      const top = Math.max(Math.abs(low), Math.abs(high));
      for (let d = decades; d <= top + decades; d += decades) {
        const size = 10 ** (d + Math.log10(unit));
        if (forward(size) <= high && forward(size) >= low) ticks.push(size);
        if (forward(-size) >= low && forward(-size) <= high) ticks.unshift(-size);
      }
      return ticks.sort((a, b) => a - b);
    },
  };
}

/** A unit below the least size, so that nothing but a zero is drawn as one. */
export function symlogUnit(sizes: readonly number[]): number {
  const positive = sizes.filter((s) => s > 0 && Number.isFinite(s));
  if (!positive.length) return 1;
  const least = positive.reduce((a, b) => Math.min(a, b));
  return 10 ** Math.floor(Math.log10(least) - 0.5);
}
