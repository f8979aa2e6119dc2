// SPDX-License-Identifier: Apache-2.0
// TensorBoard shows its theme only by a class on the parent document's body.

import type { Theme } from "./scale/colour";

/** Calls back at once and at every change. */
export function watchTheme(onTheme: (theme: Theme) => void): void {
  const body = parentBody();
  const tell = () => {
    const theme: Theme = body?.classList.contains("dark-mode") ? "dark" : "light";
    document.documentElement.dataset.theme = theme;
    onTheme(theme);
  };
  tell();
  if (body)
    new MutationObserver(tell).observe(body, { attributes: true, attributeFilter: ["class"] });
}

function parentBody(): HTMLElement | null {
  try {
    return window.parent === window ? document.body : window.parent.document.body;
  } catch {
    return null; // embedded from another origin: its class cannot be read
  }
}
