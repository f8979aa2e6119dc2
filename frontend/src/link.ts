// SPDX-License-Identifier: Apache-2.0
// Keeps the hash of TensorBoard's own page in step with the state, both ways. Where that
// page belongs to another origin, there are no links; everything else works.

import { PLUGIN_NAME } from "./api/schema.gen";
import { decodeHash, encodeHash, isStep, type Linked } from "./state/link";
import type { State } from "./state/state";
import type { Store } from "./state/store";

// A filter is typed and a cut is dragged: browsers refuse many entries in a short time.
const SETTLE_MS = 250;
// After the frame in which the step is seen: TensorBoard's own page listens, too.
const STEP_MS = 40;

export function watchLink(store: Store<State>): void {
  const page = reachable();
  if (!page) return;
  let written: Linked = read(page) ?? store.get();
  let timer: ReturnType<typeof setTimeout> | undefined;

  const write = (after: Linked) => {
    if (!isOurs(page)) return;
    const hash = encodeHash(after, page.location.hash);
    if (hash === page.location.hash) return;
    // TensorBoard's router reads the state that it left there.
    const { history } = page;
    if (isStep(written, after)) history.pushState(history.state, "", hash);
    else history.replaceState(history.state, "", hash);
    written = after;
  };

  const restore = () => {
    const linked = read(page);
    if (!linked) return;
    clearTimeout(timer);
    written = linked;
    const { selected } = store.get();
    store.set(linked.selected === selected ? linked : { ...linked, phase: null, probe: null });
  };

  restore();
  page.addEventListener("popstate", restore);
  // For hashes typed into the address bar; the back button fires both events, the second one
  // without effect.
  page.addEventListener("hashchange", restore);
  window.addEventListener("pagehide", () => {
    page.removeEventListener("popstate", restore);
    page.removeEventListener("hashchange", restore);
  });
  store.subscribe((state) => {
    clearTimeout(timer);
    timer = setTimeout(() => write(store.get()), isStep(written, state) ? STEP_MS : SETTLE_MS);
  });
}

function reachable(): Window | null {
  try {
    // Reading throws where it belongs to another origin.
    return typeof window.parent.location.hash === "string" ? window.parent : null;
  } catch {
    return null;
  }
}

/** TensorBoard's tabs share one hash. */
function isOurs(page: Window): boolean {
  return page === window || page.location.hash.replace(/^#/, "").split("&")[0] === PLUGIN_NAME;
}

function read(page: Window): Linked | null {
  return isOurs(page) ? decodeHash(page.location.hash) : null;
}
