// SPDX-License-Identifier: Apache-2.0
// One store for the whole tab. Views read it and are told of changes; only actions write.

export interface Store<T> {
  get(): T;
  set(patch: Partial<T>): void;
  subscribe(listener: (state: T, before: T) => void): () => void;
}

export function createStore<T extends object>(initial: T): Store<T> {
  let state = initial;
  const listeners = new Set<(state: T, before: T) => void>();
  return {
    get: () => state,
    set(patch) {
      const before = state;
      const changed = (Object.keys(patch) as (keyof T)[]).some(
        (key) => !Object.is(patch[key], before[key]),
      );
      if (!changed) return;
      state = { ...state, ...patch };
      for (const listener of [...listeners]) listener(state, before);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
