// SPDX-License-Identifier: Apache-2.0
// Puts the tab together: one store, the views that show it, the actions that change it.

import type { Client } from "./api/client";
import { keyOf } from "./api/types";
import { watchLink } from "./link";
import { WHOLE } from "./scale/zoom";
import { announcement } from "./state/announce";
import type { CompareState } from "./state/compare/state";
import { bestCut, type Cut, firstCut, otherSide } from "./state/cut";
import { isIncomplete, watchDetail } from "./state/detail";
import { watchEdits } from "./state/edits";
import { withRange, withWord } from "./state/filter";
import { Lanes } from "./state/lanes";
import { Live } from "./state/live";
import type { SortColumn } from "./state/order";
import { singleRun } from "./state/single";
import { createModel, INITIAL, type State } from "./state/state";
import { createStore } from "./state/store";
import { toggled } from "./state/without";
import style from "./style.css?inline";
import { watchTheme } from "./theme";
import { AnswerView } from "./views/answer";
import { CompareView } from "./views/compare/compare";
import { NavView } from "./views/compare/nav";
import { ControlsView } from "./views/controls";
import { DetailView } from "./views/detail";
import { el } from "./views/dom";
import { HeaderView } from "./views/header";
import { lanesPicture } from "./views/lanes_picture";
import { MessageView } from "./views/message";
import { RemovedStrip } from "./views/removed";
import { saveView } from "./views/save_view";
import { StabilityView } from "./views/stability";
import { TableView } from "./views/table";
import { createTooltip } from "./views/tooltip";
import { VerdictView } from "./views/verdict";

// With at most this many rows there is room for the whole verdict.
const FEW_LINES = 9;

export function start(root: HTMLElement, client: Client): void {
  document.head.append(el("style", {}, style));
  document.title = "NaN Watch";
  document.documentElement.lang = "en";

  const store = createStore<State>(INITIAL);
  const modelOf = createModel();
  const model = () => modelOf(store.get());
  const tooltip = createTooltip(root);

  const sortBy = (column: SortColumn) => {
    const now = model()?.sort;
    // First by the order that reads best: bad values on top where the ranking knows them.
    const suggested = model()?.ranking.ranked.find((s) => column === `hparam:${s.name}`);
    const descending =
      now?.column === column ? !now.descending : (suggested?.badIsHigh ?? column === "steps");
    store.set({ sort: { column, descending } });
  };
  const select = (key: string | null) =>
    store.set({
      // Keep showing this search, even when a newer one comes.
      ...(key !== null && { search: model()?.search.search ?? null }),
      selected: key,
      phase: null,
      probe: null,
      detailError: null,
    });

  const toggleWord = (word: string) => store.set({ filter: withWord(store.get().filter, word) });
  const header = new HeaderView(
    (search) =>
      store.set({
        search,
        sort: null,
        facet: undefined,
        filter: "",
        cut: undefined,
        removed: null,
        zoom: WHOLE,
        selected: null,
        phase: null,
        probe: null,
      }),
    toggleWord,
  );
  const verdict = new VerdictView({
    badOnly: () => toggleWord("bad"),
    markdown: (search) => client.markdown({ search }),
  });
  const stability = new StabilityView();
  const answer = new AnswerView((run) => client.markdown(run));
  const controls = new ControlsView({
    xScale: (xScale) => store.set({ xScale, zoom: WHOLE }),
    sort: sortBy,
    facet: (facet) => store.set({ facet }),
    colour: (colour) => store.set({ colour }),
    filter: (filter) => store.set({ filter }),
    badOnly: () => toggleWord("bad"),
    cut: () => {
      const basis = model()?.cutBasis;
      if (model()?.cut || !basis) store.set({ cut: null });
      else placeCut(firstCut(basis));
    },
  });
  const placeCut = (cut: Cut | null) => {
    if (!cut) return;
    store.set({ cut });
    table.focusCut();
  };
  const table = new TableView(
    {
      sort: sortBy,
      select,
      band: (hparam, value) => store.set({ removed: toggled(store.get().removed, hparam, value) }),
      range: (hparam, range) => store.set({ filter: withRange(store.get().filter, hparam, range) }),
      zoom: (zoom) => store.set({ zoom }),
      exactLane: (run) => client.lane(run),
      cutGroup: (group) => {
        const basis = model()?.cutBasis;
        if (basis) placeCut(bestCut(basis, group));
      },
      cut: {
        move: (cut) => store.set({ cut }),
        flip: () => {
          const now = model();
          if (now?.cut && now.cutBasis) store.set({ cut: otherSide(now.cutBasis, now.cut) });
        },
        close: () => {
          store.set({ cut: null });
          table.focus();
        },
      },
    },
    tooltip,
  );
  const detail = new DetailView(
    {
      close: () => {
        if (singleRun(store.get().overview)) return;
        select(null);
        table.focus();
      },
      phase: (phase) => store.set({ phase, probe: null }),
      probe: (probe) => store.set({ probe }),
    },
    tooltip,
  );
  const removed = new RemovedStrip(() => store.set({ removed: null }));
  const setCompare = (patch: Partial<CompareState>) =>
    store.set({ compare: { ...store.get().compare, ...patch } });
  const compare = new CompareView(
    {
      client,
      set: setCompare,
      brush: (name, brush) => {
        const { [name]: _, ...others } = store.get().compare.brushes;
        setCompare({ brushes: brush ? { ...others, [name]: brush } : others });
      },
      select,
    },
    tooltip,
  );
  const nav = new NavView(
    (view) => setCompare({ view }),
    (type) => {
      const shown = model();
      if (!shown) return;
      const family = getComputedStyle(main).fontFamily;
      const state = store.get();
      const { view } = state.compare;
      const picture = view === "frontier" ? lanesPicture(state, shown, family) : compare.picture();
      if (picture) saveView(type, view, picture, shown, family);
    },
  );
  header.node.append(nav.node);
  const message = new MessageView(() => live.refresh());
  const stale = el("p", { class: "stale", role: "status", hidden: true });
  const hint = el(
    "p",
    { class: "what-next" },
    el(
      "span",
      {},
      "Click a trial to see here what happened in it: causes, layers step by step, ranges, last " +
        "steps. Or choose it with the arrow keys and Enter.",
    ),
  );
  const nothing = el(
    "p",
    { class: "nothing-fits", hidden: true },
    "No trial of this search fits the filter. ",
    el(
      "button",
      {
        type: "button",
        class: "small",
        click: () => {
          store.set({ filter: "" });
          table.focus();
        },
      },
      "clear the filter",
    ),
  );
  const main = el(
    "main",
    { class: "main", hidden: true },
    el("h1", { class: "off-screen" }, "NaN Watch"),
    header.node,
    answer.node,
    verdict.node,
    stability.node,
    controls.node,
    removed.node,
    stale,
    table.node,
    nothing,
    hint,
    compare.node,
    detail.node,
  );
  root.classList.add("nanwatch");
  root.append(message.node, main);

  const draw = (state: State) => {
    const shown = modelOf(state);
    main.hidden = shown === null;
    if (!shown) {
      if (state.error !== null) message.error(state.error);
      else if (state.overview) message.empty(state.overview.logdir);
      else message.loading();
      return;
    }
    message.hide();
    stale.hidden = state.error === null;
    stale.textContent =
      state.error === null
        ? ""
        : `Not up to date: ${state.error}. What is shown was read before; it is tried again every ten seconds.`;
    header.update(state, shown);
    const single = singleRun(state.overview);
    if (!single) verdict.update(shown);
    controls.update(state, shown);
    const { view } = state.compare;
    const frontier = view === "frontier";
    main.dataset.view = view;
    main.classList.toggle("single", single !== null);
    main.classList.toggle("few", shown.lines.length <= FEW_LINES);
    const read = single && state.detail && keyOf(state.detail.run) === keyOf(single);
    const clean = (read ? state.detail?.run : single)?.clean_text ?? "";
    answer.update(single, clean, shown.overview.warnings, state.theme);
    controls.node.hidden = table.node.hidden = !frontier || single !== null;
    hint.hidden = !frontier || state.selected !== null || shown.shown === 0;
    nothing.hidden = !frontier || shown.shown > 0 || shown.trials.length === 0;
    verdict.node.hidden = single !== null || view === "trials" || view === "searches";
    stability.update(shown);
    if (verdict.node.hidden || !frontier) stability.node.hidden = true;
    removed.update(shown.removed);
    if (!frontier) removed.node.hidden = true;
    nav.update(view, frontier || compare.hasPicture(view));
    header.node.hidden = single !== null;
    detail.update(state, shown);
    if (view === "trials" || view === "searches") detail.node.hidden = true;
    if (frontier) table.update(state, shown);
    compare.update(state, shown);
  };
  store.subscribe(draw);
  watchDetail(store, client);
  watchEdits(store, client, modelOf);
  const lanes = new Lanes(store, client);
  watchLink(store);
  const news = el("p", { class: "off-screen", role: "status", "aria-live": "polite" });
  root.append(news);
  store.subscribe((state, before) => {
    const text = before.overview ? announcement(before.overview, state) : "";
    if (text) news.textContent = text;
  });

  const live = new Live({
    client,
    onOverview: (found) => {
      const overview = lanes.attach(found);
      const single = singleRun(overview);
      // A run alone is open by itself.
      const selected = single ? keyOf(single) : store.get().selected;
      store.set({ overview, error: null, selected });
    },
    onError: (error) => store.set({ error }),
    running: () => store.get().overview?.runs.some((r) => r.state === "running") ?? false,
    loading: () => store.get().overview?.runs.some(isIncomplete) ?? false,
  });
  watchTheme((theme) => store.set({ theme }));
  draw(store.get());
  live.start();
}
