import { expect, test } from "vitest";
import { few } from "../src/views/prose";

test("a warning or two are told, of many the first and a count", () => {
  expect(few(["a", "b"])).toEqual(["a", "b"]);
  expect(few(["a", "b", "c"])).toEqual(["a", "b", "1 more warning."]);
  expect(few(["a", "b", "c", "d"])).toEqual(["a", "b", "2 more warnings."]);
});
