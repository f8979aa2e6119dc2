// SPDX-License-Identifier: Apache-2.0
// TensorBoard imports this file by its name and calls render(). The rest of the tab has
// content hashes in its names, so that browsers may keep it for good.

export async function render(): Promise<void> {
  try {
    const [{ start }, client] = await Promise.all([
      import("./app"),
      import("./api/client").then(({ HttpClient }) => {
        const early = new HttpClient();
        early.ask();
        return early;
      }),
    ]);
    start(document.body, client);
  } catch (e) {
    document.body.textContent =
      `NaN Watch could not be loaded (${e instanceof Error ? e.message : String(e)}). ` +
      "If tb-nanwatch was just installed again, restart TensorBoard and reload this page.";
    throw e;
  }
}
