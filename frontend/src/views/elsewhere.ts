// SPDX-License-Identifier: Apache-2.0
// Links from a run to itself in TensorBoard's other tabs, by the hash of TensorBoard's page.

import type { RunSummary } from "../api/types";
import { type Child, el } from "./dom";

/** Only to tabs that have data; nothing where TensorBoard's page cannot be reached. */
export function elsewhere(run: RunSummary, plugins: ReadonlySet<string>): Child[] {
  const page = tensorboardPage();
  if (page === null) return [];
  const link = (hash: string, text: string, title: string) =>
    // Only the hash differs, so that the page is not loaded again.
    el("a", { href: `${page}#${hash}`, target: "_parent", title }, text);
  const links: HTMLElement[] = [];
  if (plugins.has("scalars"))
    links.push(link(scalarsHash(run.run), "Scalars", `the scalars of ${run.run}`));
  if (plugins.has("hparams")) {
    links.push(link("hparams", "HParams", `the HParams tab, which holds ${run.name}, too`));
  }
  return links.length ? [el("span", { class: "elsewhere" }, "in ", ...links)] : [];
}

/** The Scalars tab with the run and those below it (Keras' train and validation) checked. */
export function scalarsHash(run: string): string {
  const pattern = `^${run.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}($|/)`;
  return `scalars&regexInput=${encodeURIComponent(pattern)}`;
}

function tensorboardPage(): string | null {
  try {
    return window.parent.location.href.split("#", 1)[0]!;
  } catch {
    return null; // embedded from another origin
  }
}
