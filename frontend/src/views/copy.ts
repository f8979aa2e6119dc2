// Code to paste, and the button that copies it.

import { el } from "./dom";

const SHOWN_MS = 1600;

/** Copies text; false where neither the clipboard nor the old way is allowed. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // An iframe may not be given the clipboard (a notebook's), nor is it there without TLS.
    return copyFromSelection(text);
  }
}

function copyFromSelection(text: string): boolean {
  const area = el("textarea", { class: "off-screen", "aria-hidden": "true", readonly: true });
  area.value = text;
  const focused = document.activeElement;
  document.body.append(area);
  area.select();
  let done = false;
  try {
    done = document.execCommand("copy");
  } catch {
    // Said on the button.
  }
  area.remove();
  if (focused instanceof HTMLElement) focused.focus({ preventScroll: true });
  return done;
}

/** `text` is asked for at the click: what is copied is what is shown then. */
export function copyButton(
  text: () => string,
  what = "the code",
  label = "copy",
): HTMLButtonElement {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const button = el(
    "button",
    {
      type: "button",
      class: "copy",
      "aria-label": `copy ${what}`,
      click: async () => {
        const done = await copyText(text());
        button.textContent = done ? "copied" : "press Ctrl+C";
        clearTimeout(timer);
        timer = setTimeout(() => {
          button.textContent = label;
        }, SHOWN_MS);
      },
    },
    label,
  );
  return button;
}

export function codeBlock(code: string, what = "the code"): HTMLElement {
  return el(
    "div",
    { class: "code" },
    el("pre", { tabindex: 0, "aria-label": what, role: "region" }, el("code", {}, code)),
    copyButton(() => code, what),
  );
}
