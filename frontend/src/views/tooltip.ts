// SPDX-License-Identifier: Apache-2.0
// One tooltip for the whole tab: exact numbers under the pointer.

import { el, replace } from "./dom";

export interface Tooltip {
  show(lines: readonly string[], x: number, y: number): void;
  hide(): void;
}

export function createTooltip(parent: HTMLElement): Tooltip {
  // For the pointer only: screen readers get the same text at the keyboard's focus.
  const box = el("div", { class: "tooltip", "aria-hidden": "true", hidden: true });
  parent.append(box);
  return {
    show(lines, x, y) {
      replace(box, ...lines.map((line, i) => el(i === 0 ? "strong" : "span", {}, line)));
      box.hidden = false;
      const { width, height } = box.getBoundingClientRect();
      const left = Math.min(x + 14, window.innerWidth - width - 8);
      const below = y + 16;
      const top = below + height > window.innerHeight - 4 ? y - height - 10 : below;
      box.style.transform = `translate(${Math.max(4, left)}px, ${Math.max(4, top)}px)`;
    },
    hide() {
      box.hidden = true;
    },
  };
}
