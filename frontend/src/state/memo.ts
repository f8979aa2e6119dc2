// SPDX-License-Identifier: Apache-2.0
/** Remembers the last result: views compare identities to know what changed. */
export function memo<A extends readonly unknown[], R>(
  compute: (...args: A) => R,
): (...args: A) => R {
  let last: A | null = null;
  let result: R;
  return (...args) => {
    if (last === null || args.some((a, i) => !Object.is(a, last![i]))) {
      result = compute(...args);
      last = args;
    }
    return result;
  };
}
