// SPDX-License-Identifier: Apache-2.0
// A painter that writes SVG, so that drawings on a canvas can be saved as vectors.

import type { Painter, Picture } from "./painter";

interface Style {
  fillStyle: string;
  strokeStyle: string;
  lineWidth: number;
  lineCap: CanvasLineCap;
  lineJoin: CanvasLineJoin;
  font: string;
  textAlign: CanvasTextAlign;
  textBaseline: CanvasTextBaseline;
  globalAlpha: number;
  dash: number[];
  x: number;
  y: number;
  clipId: string;
}

const INITIAL: Style = {
  fillStyle: "#000000",
  strokeStyle: "#000000",
  lineWidth: 1,
  lineCap: "butt",
  lineJoin: "miter",
  font: "10px sans-serif",
  textAlign: "left",
  textBaseline: "alphabetic",
  globalAlpha: 1,
  dash: [],
  x: 0,
  y: 0,
  clipId: "",
};

const ANCHORS: Partial<Record<CanvasTextAlign, string>> = { center: "middle", right: "end" };

class SvgPainter implements Painter {
  private style: Style = { ...INITIAL };
  private readonly stack: Style[] = [];
  private path = "";
  private readonly defs: string[] = [];
  private readonly hatches = new Map<string, string>();
  private readonly body: string[] = [];
  private readonly measure = document.createElement("canvas").getContext("2d");

  get fillStyle(): string {
    return this.style.fillStyle;
  }
  set fillStyle(value: string | CanvasGradient | CanvasPattern) {
    this.style.fillStyle = String(value);
  }
  get strokeStyle(): string {
    return this.style.strokeStyle;
  }
  set strokeStyle(value: string | CanvasGradient | CanvasPattern) {
    this.style.strokeStyle = String(value);
  }
  get lineWidth(): number {
    return this.style.lineWidth;
  }
  set lineWidth(value: number) {
    this.style.lineWidth = value;
  }
  get lineCap(): CanvasLineCap {
    return this.style.lineCap;
  }
  set lineCap(value: CanvasLineCap) {
    this.style.lineCap = value;
  }
  get lineJoin(): CanvasLineJoin {
    return this.style.lineJoin;
  }
  set lineJoin(value: CanvasLineJoin) {
    this.style.lineJoin = value;
  }
  get font(): string {
    return this.style.font;
  }
  set font(value: string) {
    this.style.font = value;
  }
  get textAlign(): CanvasTextAlign {
    return this.style.textAlign;
  }
  set textAlign(value: CanvasTextAlign) {
    this.style.textAlign = value;
  }
  get textBaseline(): CanvasTextBaseline {
    return this.style.textBaseline;
  }
  set textBaseline(value: CanvasTextBaseline) {
    this.style.textBaseline = value;
  }
  get globalAlpha(): number {
    return this.style.globalAlpha;
  }
  set globalAlpha(value: number) {
    this.style.globalAlpha = value;
  }

  save(): void {
    this.stack.push({ ...this.style });
  }
  restore(): void {
    this.style = this.stack.pop() ?? this.style;
  }
  translate(x: number, y: number): void {
    this.style.x += x;
    this.style.y += y;
  }
  setLineDash(segments: number[]): void {
    this.style.dash = segments;
  }

  beginPath(): void {
    this.path = "";
  }
  moveTo(x: number, y: number): void {
    this.path += `M${this.at(x, y)}`;
  }
  lineTo(x: number, y: number): void {
    this.path += `L${this.at(x, y)}`;
  }
  closePath(): void {
    this.path += "Z";
  }
  rect(x: number, y: number, width: number, height: number): void {
    this.path += `M${this.at(x, y)}h${short(width)}v${short(height)}h${short(-width)}Z`;
  }
  /** Whole circles only: nothing here draws any other arc. */
  arc(x: number, y: number, radius: number, _start: number, _end: number): void {
    const r = short(radius);
    const half = `a${r},${r} 0 1 0`;
    this.path += `M${this.at(x - radius, y)}${half} ${short(2 * radius)},0${half} ${short(-2 * radius)},0Z`;
  }
  clip(): void {
    const id = `clip${this.defs.length}`;
    const outer = this.style.clipId ? ` clip-path="url(#${this.style.clipId})"` : "";
    this.defs.push(`<clipPath id="${id}"><path d="${this.path}"${outer}/></clipPath>`);
    this.style.clipId = id;
  }
  fill(): void {
    if (this.path) this.add(`<path d="${this.path}" fill="${escaped(this.style.fillStyle)}"`);
  }
  stroke(): void {
    if (this.path) this.add(`<path d="${this.path}" fill="none"${this.pen()}`);
  }
  fillRect(x: number, y: number, width: number, height: number): void {
    this.add(`${this.box(x, y, width, height)} fill="${escaped(this.style.fillStyle)}"`);
  }
  strokeRect(x: number, y: number, width: number, height: number): void {
    this.add(`${this.box(x, y, width, height)} fill="none"${this.pen()}`);
  }
  fillText(text: string, x: number, y: number): void {
    const { textAlign, textBaseline, font, fillStyle } = this.style;
    const anchor = ANCHORS[textAlign] ? ` text-anchor="${ANCHORS[textAlign]}"` : "";
    const baseline = textBaseline === "middle" ? ' dominant-baseline="central"' : "";
    const place = this.at(x, y).split(",") as [string, string];
    this.add(
      `<text x="${place[0]}" y="${place[1]}"${anchor}${baseline} fill="${escaped(fillStyle)}" style="font:${escaped(font)}"`,
      `>${escaped(text)}</text>`,
    );
  }
  measureText(text: string): { width: number } {
    if (!this.measure) return { width: text.length * 6 };
    this.measure.font = this.style.font;
    return this.measure.measureText(text);
  }
  hatch(ground: string, ink: string): string {
    const key = `${ground} ${ink}`;
    let id = this.hatches.get(key);
    if (id === undefined) {
      id = `hatch${this.hatches.size}`;
      this.hatches.set(key, id);
      this.defs.push(
        `<pattern id="${id}" width="6" height="6" patternUnits="userSpaceOnUse">` +
          `<rect width="6" height="6" fill="${ground}"/>` +
          `<path d="M-1,1L1,-1M0,6L6,0M5,7L7,5" stroke="${ink}" stroke-width="1.2"/></pattern>`,
      );
    }
    return `url(#${id})`;
  }

  text(width: number, height: number): string {
    return (
      `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" ` +
      `viewBox="0 0 ${width} ${height}"><defs>${this.defs.join("")}</defs>${this.body.join("")}</svg>\n`
    );
  }

  private at(x: number, y: number): string {
    return `${short(x + this.style.x)},${short(y + this.style.y)}`;
  }
  private box(x: number, y: number, width: number, height: number): string {
    const left = short(x + this.style.x);
    const top = short(y + this.style.y);
    return `<rect x="${left}" y="${top}" width="${short(width)}" height="${short(height)}"`;
  }
  private pen(): string {
    const { strokeStyle, lineWidth, lineCap, lineJoin, dash } = this.style;
    return (
      ` stroke="${escaped(strokeStyle)}" stroke-width="${short(lineWidth)}"` +
      (lineCap === "butt" ? "" : ` stroke-linecap="${lineCap}"`) +
      (lineJoin === "miter" ? "" : ` stroke-linejoin="${lineJoin}"`) +
      (dash.length ? ` stroke-dasharray="${dash.join(" ")}"` : "")
    );
  }
  private add(open: string, close = "/>"): void {
    const { globalAlpha, clipId } = this.style;
    const alpha = globalAlpha === 1 ? "" : ` opacity="${globalAlpha}"`;
    this.body.push(`${open}${alpha}${clipId ? ` clip-path="url(#${clipId})"` : ""}${close}`);
  }
}

/** The picture as the text of an SVG file. */
export function svgOf({ width, height, draw }: Picture): string {
  const painter = new SvgPainter();
  draw(painter);
  return painter.text(width, height);
}

const short = (n: number): string => String(Math.round(n * 100) / 100);

function escaped(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
