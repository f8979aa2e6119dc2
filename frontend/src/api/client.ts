// SPDX-License-Identifier: Apache-2.0
// All requests of the tab to its server. Views know the interface only.

import {
  decodeEdit,
  decodeFlight,
  decodeMarkdown,
  decodeOverview,
  decodePlugins,
  decodeRanges,
  decodeRun,
  decodeRunComparison,
  decodeSearchComparison,
} from "./decode";
import { decodeExactLane, decodeLanes } from "./lanes";
import type { LaneSeries, Phase } from "./schema.gen";
import type {
  Flight,
  Lane,
  Overview,
  Ranges,
  RunComparison,
  RunDetail,
  RunKey,
  SearchComparison,
  SpaceEdit,
} from "./types";

export interface Client {
  /** The newest overview; null where it is what the last call returned. */
  overview(signal: AbortSignal): Promise<Overview | null>;
  /** A block of a search's lanes, by their runs' keys. */
  lanes(search: string, block: number, version: string): Promise<Map<string, Lane>>;
  /** The exact values of one lane. */
  lane(key: RunKey): Promise<Record<LaneSeries, Float32Array>>;
  run(key: RunKey, signal: AbortSignal): Promise<RunDetail>;
  ranges(key: RunKey, phase: Phase, signal: AbortSignal): Promise<Ranges>;
  flight(key: RunKey, phase: Phase, signal: AbortSignal): Promise<Flight>;
  compareRuns(left: RunKey, right: RunKey, signal: AbortSignal): Promise<RunComparison>;
  /** The first one before an edit of the search space, the second one after it. */
  compareSearches(before: string, after: string, signal: AbortSignal): Promise<SearchComparison>;
  /** The edit of a search's space that a cut stands for, by `editQuery`. */
  edit(query: string): Promise<SpaceEdit>;
  /** The answer of a search, or of a run, as the report gives it in Markdown. */
  markdown(of: { search: string } | RunKey): Promise<string>;
  /** Names of TensorBoard's plugins that have data. */
  plugins(): Promise<ReadonlySet<string>>;
}

class HttpError extends Error {
  override name = "HttpError";
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

async function checked(response: Response): Promise<Response> {
  if (response.ok) return response;
  let message = `${response.status} ${response.statusText}`.trim();
  try {
    const body: unknown = await response.json();
    if (typeof body === "object" && body !== null && "error" in body) message = String(body.error);
  } catch {
    // Not our server's JSON error (a proxy's page): the status has to do.
  }
  throw new HttpError(response.status, message);
}

function query(key: RunKey, more: Record<string, string> = {}): string {
  return new URLSearchParams({ run: key.run, session: key.session, ...more }).toString();
}

export class HttpClient implements Client {
  private etag: string | null = null;
  private lastBody: string | null = null;
  private asked: Promise<Response> | null = null;

  /** Paths are relative to the document's <base>, whatever prefix TensorBoard runs under. */
  constructor(private readonly base: string = "./") {}

  /** Asks for the first overview while the rest of the tab is still being loaded. */
  ask(): void {
    this.asked = fetch(`${this.base}overview`, { cache: "no-store" });
    this.asked.catch(() => undefined); // told where it is awaited
  }

  async overview(signal: AbortSignal): Promise<Overview | null> {
    const headers: Record<string, string> = {};
    if (this.etag !== null) headers["If-None-Match"] = this.etag;
    const { asked } = this;
    this.asked = null;
    const response = await (asked ??
      fetch(`${this.base}overview`, { signal, headers, cache: "no-store" }));
    if (response.status === 304) return null;
    const body = await (await checked(response)).text();
    if (body === this.lastBody) return null;
    const overview = decodeOverview(JSON.parse(body));
    this.etag = response.headers.get("ETag");
    this.lastBody = body;
    return overview;
  }

  async lanes(search: string, block: number, version: string): Promise<Map<string, Lane>> {
    const query = new URLSearchParams({ search, block: String(block), version });
    const response = await fetch(`${this.base}lanes?${query}`);
    return decodeLanes(await (await checked(response)).arrayBuffer());
  }

  async lane(key: RunKey): Promise<Record<LaneSeries, Float32Array>> {
    const response = await fetch(`${this.base}lane?${query(key)}`);
    return decodeExactLane(await (await checked(response)).arrayBuffer());
  }

  async compareRuns(left: RunKey, right: RunKey, signal: AbortSignal): Promise<RunComparison> {
    const other = { with_run: right.run, with_session: right.session };
    const response = await fetch(`${this.base}compare_runs?${query(left, other)}`, { signal });
    return decodeRunComparison(await (await checked(response)).json());
  }

  async compareSearches(
    before: string,
    after: string,
    signal: AbortSignal,
  ): Promise<SearchComparison> {
    const pair = new URLSearchParams({ search: before, with_search: after }).toString();
    const response = await fetch(`${this.base}compare_searches?${pair}`, { signal });
    return decodeSearchComparison(await (await checked(response)).json());
  }

  async edit(query: string): Promise<SpaceEdit> {
    const response = await fetch(`${this.base}edit?${query}`);
    return decodeEdit(await (await checked(response)).json());
  }

  async markdown(of: { search: string } | RunKey): Promise<string> {
    const asked = "run" in of ? query(of) : new URLSearchParams({ search: of.search }).toString();
    const response = await checked(await fetch(`${this.base}markdown?${asked}`));
    return decodeMarkdown(await response.json());
  }

  async plugins(): Promise<ReadonlySet<string>> {
    const response = await checked(await fetch(`${this.base}../../plugins_listing`));
    return decodePlugins(await response.json());
  }

  async run(key: RunKey, signal: AbortSignal): Promise<RunDetail> {
    const response = await fetch(`${this.base}run?${query(key)}`, { signal });
    return decodeRun(await (await checked(response)).json());
  }

  async ranges(key: RunKey, phase: Phase, signal: AbortSignal): Promise<Ranges> {
    const response = await fetch(`${this.base}ranges?${query(key, { phase })}`, { signal });
    return decodeRanges(await (await checked(response)).arrayBuffer());
  }

  async flight(key: RunKey, phase: Phase, signal: AbortSignal): Promise<Flight> {
    const response = await fetch(`${this.base}flight?${query(key, { phase })}`, { signal });
    return decodeFlight(await (await checked(response)).arrayBuffer());
  }
}
