// @vitest-environment happy-dom
import { afterEach, describe, expect, it, vi } from "vitest";
import { el, putInOrder } from "../src/views/dom";

/** Buttons of these names, in this order in the document; `moved` are those it takes out. */
function siblings(names: string) {
  const nodes = new Map([...names].map((n) => [n, el("button", {}, n)]));
  const parent = el("div", {}, el("canvas"), ...nodes.values());
  document.body.append(parent);
  const moved: string[] = [];
  for (const node of nodes.values()) {
    for (const how of ["before", "after"] as const) {
      const real = node[how].bind(node);
      vi.spyOn(node, how).mockImplementation((other) => {
        moved.push((other as Element).textContent);
        real(other);
      });
    }
  }
  const put = (order: string) => putInOrder([...order].map((n) => nodes.get(n)!));
  return { nodes, parent, moved, put };
}

describe("putInOrder", () => {
  afterEach(() => document.body.replaceChildren());

  it.each(["a", "ab", "ba", "abcde", "edcba", "bcdea", "eabcd", "daebc"])("orders %s", (names) => {
    const { parent, put } = siblings(names);
    put([...names].sort().join(""));
    expect(parent.textContent).toBe([...names].sort().join(""));
    expect(parent.firstElementChild?.tagName).toBe("CANVAS");
  });

  it("moves nothing that is in order, and of a scrolled list only what is new", () => {
    for (const [names, moves] of [
      ["abcdef", []],
      ["bcdefa", ["a"]], // scrolled up: the last row was used for the line above
      ["fabcde", ["f"]], // and down
    ] as const) {
      const { moved, put } = siblings(names);
      put("abcdef");
      expect(moved).toEqual(moves);
    }
  });

  it.each([..."abcde"])("never moves %s while it has the keyboard", (name) => {
    const { nodes, parent, moved, put } = siblings("ecadb");
    nodes.get(name)!.focus();
    put("abcde");
    expect(parent.textContent).toBe("abcde");
    expect(document.activeElement).toBe(nodes.get(name));
    expect(moved).not.toContain(name);
  });

  it("does with nothing", () => putInOrder([]));
});
