// SPDX-License-Identifier: Apache-2.0
// A rate with its interval, as a bar with a mark; the numbers stand beside it as text.

import type { Rate } from "../../state/compare/parts";
import { el } from "../dom";

const percent = (share: number): number => Math.round(100 * share);

export function intervalBar({ bad, total, low, high }: Rate): HTMLElement {
  const at = (share: number) => `${(100 * share).toFixed(1)}%`;
  return el(
    "span",
    { class: "interval", "aria-hidden": "true" },
    el("i", { class: "range", style: `left:${at(low)};width:${at(high - low)}` }),
    total > 0 && el("i", { class: "rate", style: `left:${at(bad / total)}` }),
  );
}

export const rateText = ({ bad, total }: Rate): string => `${bad} of ${total}`;

export const intervalText = ({ low, high }: Rate): string => `${percent(low)}–${percent(high)} %`;
