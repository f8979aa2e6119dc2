// SPDX-License-Identifier: Apache-2.0
// Counts of a tensor's non-finite elements in one step. A non-finite rms alone tells neither NaN
// nor infinity: that is known only where the elements were counted.

import type { Flight, Ranges } from "../api/types";
import { integer } from "../format/number";
import { enumerated } from "../format/words";

const WORDS = ["NaN", "Inf", "-Inf"];

function text(counts: Float32Array, start: number): string {
  return enumerated(
    WORDS.flatMap((word, i) => {
      const n = counts[start + i] ?? 0;
      return n > 0 ? [`${integer(n)} ${word}`] : [];
    }),
  );
}

/** "12 Inf", where that step was kept in full and the tensor was non-finite; else "". */
export function countedInFlight(flight: Flight, step: number, probe: number): string {
  const at = flight.fullSteps.indexOf(step);
  return at < 0 ? "" : text(flight.counts, (at * flight.probes + probe) * WORDS.length);
}

/** The same of a bucket, whose counts are of all its steps. */
export function countedInRanges(ranges: Ranges, bucket: number, probe: number): string {
  return text(ranges.counts, (bucket * ranges.probes + probe) * ranges.countColumns.length);
}
