// SPDX-License-Identifier: Apache-2.0
// The parts of decoders: each takes a value of any type and returns one of the wanted type.

import type { JSONScalar } from "./schema.gen";

export class DecodeError extends Error {
  override name = "DecodeError";
}

export type Json = Record<string, unknown>;

const NONFINITE: Record<string, number> = {
  NaN: Number.NaN,
  Infinity: Number.POSITIVE_INFINITY,
  "-Infinity": Number.NEGATIVE_INFINITY,
};

/** A number or one of the three strings; null where it is neither. */
export function number(value: unknown): number | null {
  if (typeof value === "number") return value;
  if (typeof value === "string" && Object.hasOwn(NONFINITE, value)) return NONFINITE[value]!;
  return null;
}

export function object(value: unknown, where: string): Json {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new DecodeError(`${where}: expected an object, received ${preview(value)}`);
  }
  return value as Json;
}

export function preview(value: unknown): string {
  return (JSON.stringify(value) ?? String(value)).slice(0, 60);
}

export function optionalObject(value: unknown): Json | null {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Json)
    : null;
}

export function list<T>(value: unknown, item: (value: unknown) => T): T[] {
  return Array.isArray(value) ? value.map((v) => item(v)) : [];
}

/** An object by name; a name may be that of a property that every object has. */
export function record<T>(value: unknown, item: (value: unknown) => T): Record<string, T> {
  const found: Record<string, T> = Object.create(null);
  for (const [name, v] of Object.entries(optionalObject(value) ?? {})) found[name] = item(v);
  return found;
}

export function optional<T>(value: unknown, item: (value: unknown) => T): T | null {
  const found = optionalObject(value);
  return found && item(found);
}

/** An item of a list; undefined where the list has no such item. */
export const at = (value: unknown, index: number): unknown =>
  Array.isArray(value) ? value[index] : undefined;

/** A text without which nothing can be shown; throws where it is missing. */
export function required(value: unknown, where: string): string {
  if (typeof value === "string") return value;
  throw new DecodeError(`${where}: expected a text, received ${preview(value)}`);
}

export const text = (value: unknown, otherwise = ""): string =>
  typeof value === "string" ? value : otherwise;
export const textOrNull = (value: unknown): string | null =>
  typeof value === "string" ? value : null;
/** A count; 0 for a value that is not a number. */
export const count = (value: unknown): number => number(value) ?? 0;
export const texts = (value: unknown): string[] => list(value, (v) => text(v, String(v)));

export function word<T extends string>(value: unknown, words: readonly T[], otherwise: T): T {
  return words.includes(value as T) ? (value as T) : otherwise;
}

export function scalar(value: unknown): JSONScalar {
  return value === null || ["string", "number", "boolean"].includes(typeof value)
    ? (value as JSONScalar)
    : JSON.stringify(value);
}

/** A measured number; NaN for a value that is not a number. */
export const size = (value: unknown): number => number(value) ?? Number.NaN;

export const flag = (value: unknown): boolean | null => (typeof value === "boolean" ? value : null);

export function wordOrNull<T extends string>(value: unknown, words: readonly T[]): T | null {
  return words.find((w) => w === value) ?? null;
}
