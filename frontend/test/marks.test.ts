// @vitest-environment happy-dom

import { describe, expect, it } from "vitest";
import { BAD_STATUSES } from "../src/api/schema.gen";
import { svgOf } from "../src/paint/svg";
import { drawMark, MARKED } from "../src/views/marks";

const drawn = (status: (typeof MARKED)[number]) =>
  svgOf({
    width: 14,
    height: 14,
    draw: (c) => drawMark(c, status, 7, 7, { ink: "#a00", halo: "#fff" }),
  });

describe("marks", () => {
  it("has a shape of its own for every status that is bad", () => {
    expect(BAD_STATUSES.every((status) => MARKED.includes(status))).toBe(true);
    const shapes = MARKED.map(drawn);
    expect(new Set(shapes).size).toBe(MARKED.length);
    for (const shape of shapes) expect(shape).toMatch(/<path d="M[^"]+"[^>]*#a00/);
  });
});
