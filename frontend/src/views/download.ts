// SPDX-License-Identifier: Apache-2.0
// A file made here, for the browser to save.

export function download(name: string, type: string, content: string | Blob): void {
  const url = URL.createObjectURL(
    typeof content === "string" ? new Blob([content], { type }) : content,
  );
  const link = document.createElement("a");
  link.href = url;
  link.download = name.replace(/[^\w.-]+/g, "_");
  link.click();
  // Only once the browser has begun to read it.
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
