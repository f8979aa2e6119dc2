// SPDX-License-Identifier: Apache-2.0
// The few DOM helpers that the views share. Text goes in as text, never as markup: every
// name here was chosen by somebody else.

export type Child = Node | string | null | false | undefined;
type Attributes = Record<
  string,
  string | number | boolean | null | undefined | ((e: never) => void)
>;

export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(name, value as EventListener);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  append(node, children);
  return node;
}

export function append(node: Element, children: readonly Child[]): void {
  for (const child of children) {
    if (child !== null && child !== false && child !== undefined) node.append(child);
  }
}

export function replace(node: Element, ...children: Child[]): void {
  node.replaceChildren();
  append(node, children);
}

/** Sets text only where it differs, so that a live region speaks only of changes. */
export function setText(node: Element, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Puts siblings in order: the keyboard and a screen reader follow the document's order, not
 * where things are drawn. A focused or pressed node stays in place, since moving it would lose
 * both, and the others move around it.
 */
export function putInOrder(nodes: readonly Element[]): void {
  const holds = (node: Element) => node.contains(document.activeElement) || node.matches(":active");
  const held = nodes.findIndex(holds);
  // New lines come at either end, so that from the middle few have to move.
  const anchor = held < 0 ? nodes.length >> 1 : held;
  for (let i = anchor - 1; i >= 0; i--) {
    const next = nodes[i + 1]!;
    if (nodes[i]!.nextElementSibling !== next) next.before(nodes[i]!);
  }
  for (let i = anchor + 1; i < nodes.length; i++) {
    const last = nodes[i - 1]!;
    if (nodes[i]!.previousElementSibling !== last) last.after(nodes[i]!);
  }
}

/** Sizes a canvas to its place in device pixels; null where it has none yet. */
export function prepareCanvas(
  canvas: HTMLCanvasElement,
  width: number,
  height: number,
  clear = true,
): CanvasRenderingContext2D | null {
  const ratio = window.devicePixelRatio || 1;
  const w = Math.round(width * ratio);
  const h = Math.round(height * ratio);
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = w > 0 && h > 0 ? canvas.getContext("2d") : null;
  context?.setTransform(ratio, 0, 0, ratio, 0, 0);
  if (clear) context?.clearRect(0, 0, width, height);
  return context;
}

/** A node's size, to check whether a drawing still fits. */
export const sizeOf = (node: Element): string => `${node.clientWidth} ${node.clientHeight}`;

let colours = new Map<string, string>();
let coloursOf: string | undefined;

/**
 * A colour of the current theme, for canvases. Remembered: asking for a computed style
 * between two writes makes the browser compute all styles again, for every row.
 */
export function themeColour(name: string): string {
  const root = document.documentElement;
  if (root.dataset.theme !== coloursOf) {
    coloursOf = root.dataset.theme;
    colours = new Map();
  }
  let colour = colours.get(name);
  if (colour === undefined) {
    colour = getComputedStyle(root).getPropertyValue(`--${name}`).trim();
    colours.set(name, colour);
  }
  return colour;
}

/** A label below an axis of lanes; the last one is kept from running over the axis' end. */
export function tickLabel(tick: { at: number; label: string }, left: number): HTMLElement {
  return el("span", { class: tick.at > 0.98 ? "end" : "", style: `left:${left}px` }, tick.label);
}
