// SPDX-License-Identifier: Apache-2.0
// Measures and wraps text before there is a picture to draw it in.

// Of 13 px text, on the generous side: where there is no canvas to measure with.
const CHARACTER = 7;

let canvas: CanvasRenderingContext2D | null = null;

/** In CSS pixels. */
export function textWidth(text: string, font: string): number {
  canvas ??= document.createElement("canvas").getContext("2d");
  if (!canvas) return CHARACTER * text.length;
  canvas.font = font;
  return canvas.measureText(text).width;
}

/** Lines no wider than `width`, broken between words. */
export function wrapped(text: string, font: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const longer = lines.length ? `${lines.at(-1)} ${word}` : word;
    if (lines.length && textWidth(longer, font) <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}
