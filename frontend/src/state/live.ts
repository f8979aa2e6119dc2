// SPDX-License-Identifier: Apache-2.0
// Keeps the overview fresh: often while something trains, seldom otherwise, not at all
// while nobody looks.

import type { Client } from "../api/client";
import type { Overview } from "../api/types";

const RUNNING_MS = 5_000;
const IDLE_MS = 30_000;
const AFTER_ERROR_MS = 10_000;
// TensorBoard is still loading records that are known to exist. Those that have not come a
// minute after the last change are lost, not late.
const LOADING_MS = 1_500;
const LATE_MS = 60_000;

interface LiveOptions {
  client: Client;
  onOverview(overview: Overview): void;
  onError(message: string | null): void;
  /** Whether anything is still training. */
  running(): boolean;
  /** Whether records are known to exist that have not been read. */
  loading(): boolean;
}

export class Live {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private request: AbortController | null = null;
  private failed = false;
  private lastTry = 0;
  private lastNews = 0;

  constructor(private readonly options: LiveOptions) {}

  start(): void {
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) clearTimeout(this.timer);
      else if (Date.now() - this.lastTry >= RUNNING_MS) this.refresh();
      else this.schedule();
    });
    this.refresh();
  }

  refresh(): void {
    clearTimeout(this.timer);
    this.request?.abort();
    void this.fetch();
  }

  private async fetch(): Promise<void> {
    const request = new AbortController();
    this.request = request;
    this.lastTry = Date.now();
    try {
      const overview = await this.options.client.overview(request.signal);
      if (request.signal.aborted) return;
      this.failed = false;
      this.options.onError(null);
      if (overview) {
        this.lastNews = Date.now();
        this.options.onOverview(overview);
      }
    } catch (e) {
      if (request.signal.aborted) return;
      this.failed = true;
      this.options.onError(e instanceof Error ? e.message : String(e));
    }
    this.request = null;
    this.schedule();
  }

  private schedule(): void {
    clearTimeout(this.timer);
    if (document.hidden) return;
    this.timer = setTimeout(() => this.refresh(), this.wait());
  }

  private wait(): number {
    if (this.failed) return AFTER_ERROR_MS;
    const { loading, running } = this.options;
    if (loading() && Date.now() - this.lastNews < LATE_MS) return LOADING_MS;
    return running() ? RUNNING_MS : IDLE_MS;
  }
}
