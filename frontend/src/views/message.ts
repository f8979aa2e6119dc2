// SPDX-License-Identifier: Apache-2.0
// The message shown while there is nothing else to show, with advice on what to do.

import { type Child, el, replace } from "./dom";

const SNIPPET = `from tb_nanwatch import NanWatch

model.fit(x, y, callbacks=[NanWatch("logs")])      # a training
tuner.search(x, y, callbacks=[NanWatch("logs")])   # a search`;

export class MessageView {
  readonly node = el("section", { class: "message", role: "status" });
  private kind = "";

  constructor(private readonly retry: () => void) {}

  loading(): void {
    this.show("loading", el("p", {}, "Reading the runs…"));
  }

  /** @param logdir the directory that was read; "" where the server does not say. */
  empty(logdir: string): void {
    this.show(
      `empty ${logdir}`,
      el("h2", {}, "No watched runs yet"),
      logdir
        ? el(
            "p",
            {},
            "TensorBoard reads ",
            el("code", { "data-fact": "logdir" }, logdir),
            " (its --logdir).",
          )
        : null,
      el(
        "p",
        {},
        "Add the callback to a training or a search, with this directory or one below it:",
      ),
      el("pre", {}, SNIPPET),
      el("p", {}, "Runs appear here while they train. Nothing else has to be set."),
    );
  }

  error(message: string): void {
    this.show(
      `error ${message}`,
      el("h2", {}, "The runs could not be read"),
      el("p", {}, message),
      el(
        "p",
        {},
        "If TensorBoard has ended, start it again; this page tries by itself every ten seconds.",
      ),
      el("button", { type: "button", click: () => this.retry() }, "Try now"),
    );
  }

  private show(kind: string, ...content: Child[]): void {
    this.node.hidden = false;
    if (kind === this.kind) return;
    this.kind = kind;
    replace(this.node, ...content);
  }

  hide(): void {
    this.node.hidden = true;
    this.kind = "";
  }
}
