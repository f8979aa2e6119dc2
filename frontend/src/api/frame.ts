// SPDX-License-Identifier: Apache-2.0
// Arrays behind a JSON header, as the routes `ranges` and `flight` send them.

import { count, DecodeError, type Json, list, object, preview, text, texts } from "./json";
import type { Flight, FramedArray, Ranges } from "./types";

const DTYPES = {
  float32: Float32Array,
  uint32: Uint32Array,
  uint16: Uint16Array,
  uint8: Uint8Array,
};

/** Parses the framing: uint32 length, JSON header, then the header's arrays. */
export function decodeFrame(
  buffer: ArrayBuffer,
  route = "ranges",
): {
  header: Json;
  arrays: Record<string, FramedArray>;
} {
  if (buffer.byteLength < 4) throw new DecodeError(`${route}: the answer is empty`);
  const length = new DataView(buffer).getUint32(0, true);
  if (4 + length > buffer.byteLength) {
    throw new DecodeError(`${route}: the header of ${length} bytes is cut short`);
  }
  let header: Json;
  try {
    header = object(
      JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length))),
      `${route} header`,
    );
  } catch (e) {
    if (e instanceof DecodeError) throw e;
    throw new DecodeError(`${route}: the header is not JSON (${String(e)})`);
  }
  let offset = 4 + length;
  const arrays: Record<string, FramedArray> = {};
  for (const entry of list(header.arrays, (v) => object(v, "array"))) {
    const name = text(entry.name);
    const shape = list(entry.shape, count);
    const size = shape.reduce((a, b) => a * b, 1);
    if (typeof entry.dtype !== "string" || !Object.hasOwn(DTYPES, entry.dtype)) {
      throw new DecodeError(
        `${route}: ${name} has dtype ${preview(entry.dtype)}, expected ${Object.keys(DTYPES)}`,
      );
    }
    const type = DTYPES[entry.dtype as keyof typeof DTYPES];
    const bytes = size * type.BYTES_PER_ELEMENT;
    if (offset % 4 !== 0 || offset + bytes > buffer.byteLength) {
      throw new DecodeError(`${route}: ${name} is cut short or not aligned`);
    }
    arrays[name] = { shape, data: new type(buffer, offset, size) };
    offset += Math.ceil(bytes / 4) * 4;
  }
  return { header, arrays };
}

function taker(arrays: Record<string, FramedArray>, route: string) {
  return (name: string, size: number): Float32Array => {
    const data = arrays[name]?.data;
    if (!(data instanceof Float32Array) || data.length !== size) {
      throw new DecodeError(
        `${route}: ${name} has ${data?.length ?? "no"} values, expected ${size} of float32`,
      );
    }
    return data;
  };
}

export function decodeFlight(buffer: ArrayBuffer): Flight {
  const { header, arrays } = decodeFrame(buffer);
  const probes = count(header.probes);
  const steps = arrays.steps?.data.length ?? 0;
  const full = arrays.full_steps?.data.length ?? 0;
  const take = taker(arrays, "flight");
  return {
    probes,
    steps: take("steps", steps),
    rms: take("rms", steps * probes),
    fullSteps: take("full_steps", full),
    counts: take("counts", full * probes * 3),
  };
}

export function decodeRanges(buffer: ArrayBuffer): Ranges {
  const { header, arrays } = decodeFrame(buffer);
  const buckets = count(header.buckets);
  const probes = count(header.probes);
  const columns = texts(header.columns);
  const countColumns = texts(header.count_columns);
  const take = taker(arrays, "ranges");
  return {
    buckets,
    probes,
    columns,
    countColumns,
    steps: take("steps", buckets * 2),
    stats: take("stats", buckets * probes * columns.length),
    counts: take("counts", buckets * probes * countColumns.length),
    badSteps: take("bad_steps", buckets * probes),
    measured: take("measured", buckets),
  };
}
