// SPDX-License-Identifier: Apache-2.0
// Code to paste, and the button that copies it.

import { el } from "./dom";

const SHOWN_MS = 1600;
/** Shorter code is typed as quickly as copied. */
const LONG_CODE = 16;

/** Copies text; false where neither the clipboard nor the old way is allowed. */
async function copyText(text: string): Promise<boolean> {
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

/** `text` is called at the click, so that the text shown then is copied. */
export function copyButton(
  text: () => string | Promise<string>,
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
        button.textContent = await said(text);
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

/** The button's text after copying. */
async function said(text: () => string | Promise<string>): Promise<string> {
  let found: string;
  try {
    const given = text();
    // Copy at once where the text is ready: some browsers allow it only during the click.
    found = typeof given === "string" ? given : await given;
  } catch {
    return "not read: try again";
  }
  return (await copyText(found)) ? "copied" : "press Ctrl+C";
}

/** Copies the code that a sentence ends in; null where it names no more than a word or two. */
export function codeButton(sentence: string): HTMLButtonElement | null {
  const code =
    sentence
      .match(/`[^`]+`/g)
      ?.at(-1)
      ?.slice(1, -1) ?? "";
  return code.length < LONG_CODE ? null : copyButton(() => code, "the code of the fix");
}

/** Copies an answer, for an issue or a chat: the same lines as `tb-nanwatch report --markdown`. */
export function copyAnswer(markdown: () => Promise<string>): HTMLButtonElement {
  const button = copyButton(markdown, "answer", "Copy answer");
  button.title = "copy what happened, why and what to change, for an issue or a chat (Markdown)";
  return button;
}
