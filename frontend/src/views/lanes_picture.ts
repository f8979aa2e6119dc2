// SPDX-License-Identifier: Apache-2.0
// The table as a picture: each trial's values, lane, first bad step and score on one line.

import { compact } from "../format/number";
import * as words from "../format/words";
import type { Painter, Picture } from "../paint/painter";
import { textWidth } from "../paint/text";
import { hparamOf, type Line } from "../state/order";
import type { Model, State } from "../state/state";
import { isBad, scoredAnyway } from "../state/trials";
import { themeColour } from "./dom";
import { LANE_INSET, type LaneStyle, paintLane } from "./lane";
import { drawMark, markColours } from "./marks";

const ROW = 20;
const HEAD = 40;
const LANE = 520;
const COLUMN = 104;
const COLUMNS = 3;
const SCORE = 78;
const BADGE = "scored anyway";

export function lanesPicture(state: State, model: Model, family: string): Picture {
  const sorted = hparamOf(model.sort.column);
  const names = [...new Set([...(sorted ? [sorted] : []), ...model.ranking.names])].slice(
    0,
    COLUMNS,
  );
  const font = `12px ${family}`;
  const badgeFont = `11px ${family}`;
  const statuses = model.lines.map((line) => textWidth(statusOf(line), font));
  const left = 70 + names.length * COLUMN + Math.ceil(Math.max(154, ...statuses)) + 30;
  const badge = model.lines.some(hasBadge) ? Math.ceil(textWidth(BADGE, badgeFont)) + 12 : 0;
  const width = left + LANE + 12 + SCORE + badge;
  const height = HEAD + model.lines.length * ROW;
  const lane: LaneStyle = {
    theme: state.theme,
    series: state.colour,
    axis: model.axis,
    colours: model.colours,
    width: LANE,
    height: ROW,
  };
  const draw = (c: Painter) => {
    c.textBaseline = "middle";
    c.font = `600 11.5px ${family}`;
    c.fillStyle = themeColour("muted");
    c.fillText("trial", 0, 10);
    for (const [i, name] of names.entries()) c.fillText(name.slice(0, 15), 70 + i * COLUMN, 10);
    c.fillText("status, first bad step", 70 + names.length * COLUMN, 10);
    c.fillText("score", left + LANE + 12, 10);
    c.font = `10.5px ${family}`;
    c.textAlign = "center";
    for (const tick of model.axis.ticks(LANE - 2 * LANE_INSET))
      c.fillText(tick.label, left + LANE_INSET + tick.at * (LANE - 2 * LANE_INSET), 28);
    c.textAlign = "left";
    model.lines.forEach((line, i) => {
      const y = HEAD + i * ROW;
      const middle = y + ROW / 2;
      c.fillStyle = themeColour("ink");
      if (line.type === "facet") {
        c.font = `600 12px ${family}`;
        const text = `${line.name} = ${words.value(line.value)}: ${line.bad} of ${line.total} went bad`;
        c.fillText(text, 0, middle);
        return;
      }
      const { run } = line;
      c.font = font;
      c.fillText(line.first ? words.shortName(run).slice(0, 10) : "", 0, middle);
      for (const [k, name] of names.entries())
        c.fillText(words.value(run.hparams[name]).slice(0, 15), 70 + k * COLUMN, middle);
      const at = 70 + names.length * COLUMN;
      if (isBad(run.status)) {
        drawMark(c, run.status, at + 6, middle, markColours(run.status), 4);
        c.fillStyle = themeColour("bad");
      }
      c.fillText(statusOf(line), at + 16, middle);
      c.save();
      c.translate(left, y);
      // An axis that is zoomed into goes on to both sides.
      c.beginPath();
      c.rect(0, 0, LANE, ROW);
      c.clip();
      paintLane(c, run, lane);
      c.restore();
      c.fillStyle = themeColour("ink");
      if (run.score !== null) c.fillText(compact(run.score), left + LANE + 12, middle);
      if (!hasBadge(line)) return;
      const x = left + LANE + 12 + SCORE;
      c.fillStyle = themeColour("badge-ground");
      c.fillRect(x - 5, middle - 8, badge - 2, 16);
      c.fillStyle = themeColour("badge-ink");
      c.font = badgeFont;
      c.fillText(BADGE, x, middle);
    });
  };
  return { width, height, draw };
}

function statusOf(line: Line): string {
  if (line.type !== "run") return "";
  const { run } = line;
  const onset = run.onset && isBad(run.status) ? ` ${words.shortPosition(run.onset)}` : "";
  return `${words.status(run.status, run.state)}${onset}`;
}

const hasBadge = (line: Line): boolean =>
  line.type === "run" && line.first && scoredAnyway(line.trial);
