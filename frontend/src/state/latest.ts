// SPDX-License-Identifier: Apache-2.0
// Keeps only the answer to the latest request, in whatever order answers come back.

export type Answer<T> = { value: T; error: null } | { value: null; error: string };

/** Asks where the key differs from the last one; tells the answer to the last question only. */
export class Latest<T> {
  private key = "";
  private request: AbortController | null = null;
  private found: Answer<T> | null = null;

  constructor(private readonly answered: () => void) {}

  /** The answer for `key`; null until it has come. */
  get(key: string, ask: (signal: AbortSignal) => Promise<T>): Answer<T> | null {
    if (key === this.key) return this.found;
    this.key = key;
    this.found = null;
    this.request?.abort();
    const current = new AbortController();
    this.request = current;
    const settle = (answer: Answer<T>) => {
      if (current.signal.aborted) return;
      this.found = answer;
      this.answered();
    };
    ask(current.signal).then(
      (value) => settle({ value, error: null }),
      (e) => settle({ value: null, error: e instanceof Error ? e.message : String(e) }),
    );
    return null;
  }
}
