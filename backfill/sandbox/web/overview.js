// The overview: how much has arrived, when it happened, and what came last.

import { chart, colours, legend } from "./chart.js";
import { code, el, fill, name, put, say } from "./dom.js";
import { rows } from "./events.js";
import { count, money, number } from "./format.js";

const LATEST = 8;

export async function overview({ get, link, live, filter }) {
  const figures = el("dl", { class: "figures" });
  const shown = {};
  const figure = (key, label, path) => {
    shown[key] = { value: el("dd", {}), note: el("dd", { class: "note" }) };
    figures.append(el("div", {}, el("dt", {}, el("a", { href: link(path) }, label)), shown[key].value, shown[key].note));
  };
  figure("stored", "Events stored", "events");
  figure("customers", "Customers", "customers");
  figure("duplicates", "Duplicates dropped", "duplicates");
  figure("refused", "Refused", "refused");
  figure("unset", "Unset values", "unset");

  const drawing = chart();
  const key = el("ul", { class: "legend" });
  const worth = el("tbody", {});
  const sums = el(
    "section",
    { hidden: true },
    el("h2", {}, "What it is worth"),
    el("p", { class: "faint" }, "The sum of value over all stored events, duplicates left out: to be compared with your shop's own figures."),
    el(
      "div",
      { class: "scroll", tabindex: "0", role: "group", "aria-label": "Sums of value" },
      el("table", { class: "small worth" }, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Event"), el("th", { scope: "col", class: "n" }, "Sum of value"), el("th", { scope: "col", class: "n" }, "Events with a value"))), worth),
    ),
  );
  const latest = el("ul", { class: "rows" });
  const requests = el("div", { class: "columns" });
  const start = el("div", {}, empty(live()));
  const full = el(
    "div",
    {},
    figures,
    el("section", {}, el("h2", {}, "When it happened"), el("p", { class: "faint" }, "By each event's own time, in UTC: a wrong year shows here."), el("div", { class: "panel" }, drawing.nodes[0], key, drawing.nodes[1])),
    sums,
    el("section", {}, el("h2", {}, "Just arrived"), el("p", { class: "faint" }, "The last ones, each with its own time."), latest),
    el("section", {}, el("h2", {}, "Requests"), requests),
  );

  async function update(now) {
    const nothing = now.newest === 0 && now.requests === 0;
    start.hidden = !nothing;
    full.hidden = nothing;
    if (nothing) return;
    say(shown.stored.value, number(now.stored));
    say(shown.customers.value, number(now.customers));
    say(shown.duplicates.value, number(now.duplicates));
    say(shown.refused.value, number(now.refused));
    say(shown.unset.value, number(now.unset));
    say(shown.stored.note, now.names.length ? count(now.names.length, "event name") : "");
    say(shown.customers.note, filter.name ? "of all events" : "");
    say(shown.duplicates.note, now.differing ? `${number(now.differing)} with other content` : "");
    const held = now.heldBack ? `${number(now.heldBack)} held back with them` : "";
    say(shown.refused.note, held || (now.refused && (filter.store || filter.name) ? "of all stores and events" : ""));
    say(shown.unset.note, now.unset ? "in data; Redo keeps none" : "");
    const palette = colours(now.names);
    const names = filter.name ? now.names.filter((one) => one.name === filter.name) : now.names;
    keep(key, JSON.stringify([names, filter]), () => legend(names, palette, link, filter.name));
    drawing.draw(now.chart, palette);
    sums.hidden = !now.worth.length;
    keep(worth, JSON.stringify(now.worth), () =>
      now.worth.map((one) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, name(one.name)),
          el("td", { class: "n" }, one.currency ? money(one.sum, one.currency) : `${money(one.sum, null)} without a currency`),
          el("td", { class: "n" }, number(one.events)),
        ),
      ),
    );
    const { events } = await get("events", filter);
    keep(latest, String(events[0]?.seq), () => rows(events.slice(0, LATEST), link));
    keep(requests, JSON.stringify([now.requests, now.statuses, now.played, now.busiest]), () => answered(now));
  }

  await update(live());
  return { title: "Overview", nodes: [el("h1", { class: "spoken" }, "Overview"), start, full], update, drawn: () => update(live()) };
}

/** Fill an element anew only if what it shows has changed, so that the focus stays where it is. */
function keep(element, state, make) {
  if (element.dataset.state === state || element.contains(document.activeElement)) return;
  element.dataset.state = state;
  fill(element, make());
}

function answered(now) {
  const table = (title, counts) => {
    const sorted = Object.entries(counts).sort((a, b) => b[1] - a[1]).slice(0, 20);
    if (!sorted.length) return null;
    return el(
      "table",
      { class: "small" },
      el("caption", {}, title),
      el("tbody", {}, sorted.map(([what, n]) => el("tr", {}, el("th", { scope: "row" }, name(what)), el("td", { class: "n" }, number(n))))),
    );
  };
  if (!now.requests) return el("p", { class: "faint" }, "None since this sandbox started; what it shows is from its database.");
  return [
    table("Answers", now.statuses),
    table("Faults played", now.played),
    table("Most requests within a second, by store", now.busiest),
  ];
}

function empty({ baseUrl, anySecret }) {
  const box = el("section", { class: "empty" }, el("h2", {}, "Nothing has arrived yet"));
  put(
    box,
    el("p", {}, "Send something here, and watch it arrive. ", anySecret ? "Any word will do as the secret." : "Only the secrets in its --secret-file are taken."),
    code(`REDO_API_SECRET=${anySecret ? "rehearsal" : "…"} \\\n  backfill run orders.yaml --base-url ${baseUrl}`),
    el("p", {}, "Or look at what an earlier rehearsal with ", el("code", {}, "backfill run --sandbox"), " has left:"),
    code("backfill sandbox --database .backfill/sandbox/events.db"),
  );
  return box;
}
