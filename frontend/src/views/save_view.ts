// SPDX-License-Identifier: Apache-2.0
// A whole view as a file, with the search that it shows and what was found in it.

import type { Picture } from "../paint/painter";
import { composed, type PictureType, savePicture } from "../paint/save";
import type { Model } from "../state/state";
import { themeColour } from "./dom";

export function saveView(
  type: PictureType,
  view: string,
  picture: Picture,
  { search }: Model,
  family: string,
): void {
  const title = [search.name, search.verdict].filter(Boolean).join(": ");
  const style = { ground: themeColour("ground"), ink: themeColour("ink"), family };
  savePicture(type, `${search.name || "nanwatch"}-${view}`, composed(title, [picture], style));
}
