// SPDX-License-Identifier: Apache-2.0
// Which view is shown, and the picture of it.

import type { PictureType } from "../../paint/save";
import { VIEWS, type View } from "../../state/compare/state";
import { el } from "../dom";

const WORDS: Record<View, [string, string]> = {
  frontier: ["Frontier", "trials as lanes, in the order of a hyperparameter"],
  values: ["Values", "each hyperparameter's values against the outcome, ranked"],
  pair: ["Pair", "two hyperparameters against the outcome"],
  parallel: ["Parallel", "all hyperparameters of all trials on parallel axes"],
  trials: ["Trials", "two trials side by side"],
  searches: ["Searches", "two searches side by side"],
};

export class NavView {
  readonly node = el("nav", { class: "views", "aria-label": "Views" });
  private readonly buttons = new Map<View, HTMLButtonElement>();
  private readonly pictures: HTMLElement;

  constructor(choose: (view: View) => void, picture: (type: PictureType) => void) {
    for (const view of VIEWS) {
      const [text, title] = WORDS[view];
      const button = el("button", { type: "button", title, click: () => choose(view) }, text);
      this.buttons.set(view, button);
      this.node.append(button);
    }
    const save = (type: PictureType) =>
      el(
        "button",
        {
          type: "button",
          class: "download",
          title: `download this view as a picture (${type})`,
          "aria-label": `this view as ${type}`,
          click: () => picture(type),
        },
        `${type} ↓`,
      );
    this.pictures = el("span", { class: "pictures" }, save("PNG"), save("SVG"));
    this.node.append(this.pictures);
  }

  update(view: View, hasPicture: boolean): void {
    for (const [name, button] of this.buttons) {
      if (name === view) button.setAttribute("aria-current", "page");
      else button.removeAttribute("aria-current");
    }
    this.pictures.hidden = !hasPicture;
  }
}
