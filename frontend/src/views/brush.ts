// SPDX-License-Identifier: Apache-2.0
// Dragging over a stretch of an axis.

import { el } from "./dom";

// Less is a click.
const LEAST_PX = 4;

/** Where a pointer is on an element, in [0, 1] between its insets. */
export function placeIn(node: Element, clientX: number, inset: number): number {
  const box = node.getBoundingClientRect();
  const place = (clientX - box.left - inset) / Math.max(1, box.width - 2 * inset);
  return Math.min(1, Math.max(0, place));
}

/**
 * Calls back with the ends of what was dragged over, in [0, 1], and with nulls after a
 * double click, which undoes it.
 */
export function brush(
  node: HTMLElement,
  inset: number,
  done: (from: number | null, to: number | null) => void,
): void {
  let start: number | null = null;
  const mark = el("span", { class: "brush", hidden: true });
  node.classList.add("brushable");
  const show = (clientX: number) => {
    if (start === null) return;
    const { left } = node.getBoundingClientRect();
    mark.style.left = `${Math.min(start, clientX) - left}px`;
    mark.style.width = `${Math.abs(clientX - start)}px`;
    mark.hidden = false;
  };
  node.addEventListener("pointerdown", (e) => {
    if (e.button !== 0) return;
    start = e.clientX;
    node.setPointerCapture(e.pointerId);
    node.append(mark);
    e.preventDefault();
  });
  node.addEventListener("pointermove", (e) => show(e.clientX));
  const end = (e: PointerEvent) => {
    const from = start;
    start = null;
    mark.remove();
    if (e.type !== "pointerup" || from === null || Math.abs(e.clientX - from) < LEAST_PX) return;
    done(placeIn(node, from, inset), placeIn(node, e.clientX, inset));
  };
  node.addEventListener("pointerup", end);
  node.addEventListener("pointercancel", end);
  node.addEventListener("dblclick", () => done(null, null));
}
