// SPDX-License-Identifier: Apache-2.0
// Sentences of the server, set for reading.

import { plural } from "../format/number";
import { type Child, el } from "./dom";

/** Warnings that are read; of a log that is being written there may be one for each run. */
const MOST = 2;

/** The first warnings, and how many more there are. */
export function few(warnings: readonly string[]): string[] {
  const more = warnings.length - MOST;
  if (more <= 0) return [...warnings];
  return [...warnings.slice(0, MOST), `${plural(more, "more warning")}.`];
}

const HINT = " A hint: ";

/** Dims the evidence of a hint, sets code as code, and keeps "1e-92" on one line. */
export function prose(verdict: string): Child[] {
  const at = verdict.indexOf(HINT);
  const words = (text: string) =>
    text.split(/(`[^`]+`|\S*\de-\d\S*)/).map((part, i): Child => {
      if (i % 2 === 0) return part;
      if (part.startsWith("`")) return el("code", {}, part.slice(1, -1));
      return el("span", { class: "unbroken" }, part);
    });
  if (at < 0) return words(verdict);
  return [
    ...words(verdict.slice(0, at)),
    el("span", { class: "hint" }, ...words(verdict.slice(at))),
  ];
}
