// SPDX-License-Identifier: Apache-2.0
// Which lines are on screen. Lines may differ in height (headings, trials), so tops are
// summed once and searched.

export interface Tops {
  /** tops[i] is where line i begins; one more entry holds the total. */
  tops: Float64Array;
  total: number;
}

export function sumHeights(heights: readonly number[]): Tops {
  const tops = new Float64Array(heights.length + 1);
  for (let i = 0; i < heights.length; i++) tops[i + 1] = tops[i]! + heights[i]!;
  return { tops, total: tops[heights.length] ?? 0 };
}

/** First and one-past-last line that touch [scrollTop, scrollTop + height], with some spare. */
export function visible(
  { tops }: Tops,
  scrollTop: number,
  height: number,
  spare: number,
): [number, number] {
  const lines = tops.length - 1;
  const first = lineAt(tops, scrollTop);
  let last = first;
  while (last < lines && tops[last]! < scrollTop + height) last++;
  return [Math.max(0, first - spare), Math.min(lines, last + spare)];
}

function lineAt(tops: Float64Array, y: number): number {
  let low = 0;
  let high = Math.max(0, tops.length - 2);
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (tops[middle]! <= y) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Where to scroll so that [top, bottom] is in view; the same place if it is already. */
export function reveal(scrollTop: number, height: number, top: number, bottom: number): number {
  if (top < scrollTop) return top;
  if (bottom > scrollTop + height) return bottom - height;
  return scrollTop;
}
