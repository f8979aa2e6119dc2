// SPDX-License-Identifier: Apache-2.0
// Pictures as files: PNG at twice the size of the screen, or SVG.

import { download } from "../views/download";
import type { Picture } from "./painter";
import { svgOf } from "./svg";
import { wrapped } from "./text";

export type PictureType = "PNG" | "SVG";

const PNG_SCALE = 2;
// Browsers refuse larger canvases; a thousand rows then come out at the screen's size.
const MOST_PIXELS = 16_000;

export function savePicture(type: PictureType, name: string, picture: Picture): void {
  if (type === "SVG") download(`${name}.svg`, "image/svg+xml", svgOf(picture));
  else
    canvasOf(picture)?.toBlob((blob) => {
      if (blob) download(`${name}.png`, "image/png", blob);
    });
}

function canvasOf({ width, height, draw }: Picture): HTMLCanvasElement | null {
  const canvas = document.createElement("canvas");
  const scale = Math.min(PNG_SCALE, MOST_PIXELS / Math.max(width, height));
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const c = canvas.getContext("2d");
  if (!c) return null;
  c.scale(scale, scale);
  draw(c);
  return canvas;
}

const LINE = 18;

/** Pictures side by side below a title, in as many lines as it takes, on the ground of the theme. */
export function composed(
  title: string,
  parts: readonly Picture[],
  style: { ground: string; ink: string; family: string },
): Picture {
  const gap = 18;
  const font = `600 13px ${style.family}`;
  const width = parts.reduce((sum, p) => sum + p.width + gap, gap);
  const lines = wrapped(title, font, width - 2 * gap);
  const top = 16 + LINE * lines.length;
  const height = top + Math.max(0, ...parts.map((p) => p.height)) + gap;
  return {
    width,
    height,
    draw(c) {
      c.fillStyle = style.ground;
      c.fillRect(0, 0, width, height);
      c.fillStyle = style.ink;
      c.font = font;
      c.textBaseline = "middle";
      lines.forEach((line, i) => {
        c.fillText(line, gap, 18 + LINE * i);
      });
      let x = gap;
      for (const part of parts) {
        c.save();
        c.translate(x, top);
        part.draw(c);
        c.restore();
        x += part.width + gap;
      }
    },
  };
}
