// Events: in order of arrival, the duplicates that were dropped, and one event with all that is known of it.

import { code, el, fill, name, say } from "./dom.js";
import { value } from "./fields.js";
import { count, money, number, time } from "./format.js";

const KINDS = { stored: null, duplicate: "dropped, same content", differs: "dropped, other content" };

/** Events as list items. */
export function rows(events, link) {
  return events.map((one) =>
    el(
      "li",
      { class: "row" },
      el("a", { href: link(`events/${one.seq}`), class: "main" }, name(one.name)),
      el("span", { class: "money" }, money(one.value, one.currency)),
      el("span", { class: "who" }, one.who ? el("a", { href: link(`customers/${one.who}`) }, name(one.customer || "customer")) : null),
      el("span", { class: "when" }, time(one.timestamp)),
      KINDS[one.kind] && el("span", { class: `tag ${one.kind}` }, KINDS[one.kind]),
      el("span", { class: "id faint" }, one.uniqueId === null ? "without uniqueId" : name(one.uniqueId)),
    ),
  );
}

export async function events({ get, link, live, filter, query, path, refresh }, dropped = false) {
  const before = query.get("before");
  const kind = query.get("kind");
  const asked = { ...filter, before, dropped: dropped ? (kind === "differs" ? "differing" : "all") : null };
  const place = el("ul", { class: "rows" });
  const pager = el("p", { class: "pager" });
  const nothing = el("p", { class: "faint", hidden: true });
  let newest = null;

  async function load() {
    const found = await get("events", asked);
    if (newest === JSON.stringify(found.events.map((one) => one.seq))) return;
    newest = JSON.stringify(found.events.map((one) => one.seq));
    fill(place, rows(found.events, link));
    nothing.hidden = found.events.length > 0;
    say(nothing, dropped ? "No duplicates were dropped." : "No events.");
    fill(
      pager,
      before && el("a", { href: link(path, { kind }) }, "Newest"),
      found.before && el("a", { href: link(path, { kind, before: found.before }) }, "Older"),
    );
  }

  await load();
  const title = dropped ? "Duplicates" : "Events";
  const words = dropped
    ? "Redo drops an event whose uniqueId its store has had, and says nothing, whatever its content. What was dropped, the last first:"
    : "In order of arrival, the last first.";
  const kinds =
    dropped &&
    el(
      "p",
      { class: "switch" },
      [["", "All"], ["differs", "With other content"]].map(([key, label]) =>
        el("a", { href: link(path, { kind: key || null }), "aria-current": (kind ?? "") === key ? "true" : null }, label),
      ),
    );
  return {
    title,
    nodes: [el("h1", {}, title), el("p", { class: "lead" }, words), kinds, nothing, place, pager],
    // The first page follows what arrives, unless somebody is in it.
    update: async () => {
      if (!before && !place.contains(document.activeElement) && !place.matches(":hover")) await load();
    },
  };
}

export async function event({ get, link, parts }) {
  const one = await get(`events/${parts[0]}`);
  const came = one.request.events > 1
    ? `number ${one.seq - one.request.first + 1} of ${count(one.request.events, "event")} in a bulk request`
    : { true: "the only one of a bulk request", false: "by itself, at the endpoint for one event", null: "alone in its request" }[one.bulk];
  const facts = [
    ["Customer", one.who ? el("a", { href: link(`customers/${one.who}`) }, name(one.customer || "customer")) : "none: it was dropped"],
    ["Happened", [time(one.timestamp, { exact: true }), one.event.eventTimestamp === undefined && el("span", { class: "tag" }, "not given: the time of arrival")]],
    ["Value", money(one.value, one.currency) || el("span", { class: "faint" }, "none")],
    ["uniqueId", one.uniqueId === null ? el("span", { class: "faint" }, "none: a repetition would count again") : el("bdi", { class: "break" }, one.uniqueId)],
    ["Received", [time(one.at * 1000, { exact: true }), `, ${came}`]],
    ["Store", name(one.store)],
  ];
  return {
    title: one.name,
    tab: one.kind === "stored" ? "events" : "duplicates",
    nodes: [
      el("p", { class: "crumb" }, el("a", { href: link(one.kind === "stored" ? "events" : "duplicates") }, one.kind === "stored" ? "Events" : "Duplicates"), ` / ${number(one.seq)}`),
      el("h1", {}, name(one.name), KINDS[one.kind] && el("span", { class: `tag ${one.kind}` }, KINDS[one.kind])),
      el("dl", { class: "facts" }, facts.map(([label, shown]) => el("div", {}, el("dt", {}, label), el("dd", {}, shown)))),
      one.original && comparison(one, link),
      one.later.length > 0 && laterOnes(one, link),
      unset(one),
      el("section", {}, el("h2", {}, "JSON"), el("p", { class: "faint" }, "As the API reads it, keys in order of the alphabet."), code(JSON.stringify(one.event, null, 2))),
    ],
  };
}

function unset(one) {
  if (!one.unset.length) return null;
  return el(
    "section",
    {},
    el("h2", {}, "Not kept"),
    el("p", {}, "In ", el("code", {}, "data"), ", these values count as unset, so that Redo stores nothing for them:"),
    el("dl", { class: "fields" }, one.unset.map((key) => el("div", { class: "unset" }, el("dt", {}, name(key)), el("dd", {}, JSON.stringify(one.event.data[key]))))),
  );
}

function laterOnes(one, link) {
  return el(
    "section",
    {},
    el("h2", {}, "Dropped for it"),
    el("p", {}, "Later events had the same uniqueId:"),
    el(
      "ul",
      { class: "values" },
      one.later.map((late) =>
        el("li", {}, el("a", { href: link(`events/${late.seq}`) }, late.differs ? "with other content" : "the same again"), ", ", time(late.at * 1000, { exact: true })),
      ),
    ),
  );
}

/** The first event with an id beside the one that was dropped; what differs comes first and is marked. */
function comparison(late, link) {
  const before = flat(late.original.event);
  const after = flat(late.event);
  const paths = [...new Set([...before.keys(), ...after.keys()])].sort();
  const differing = paths.filter((path) => before.get(path) !== after.get(path));
  const same = paths.filter((path) => before.get(path) === after.get(path));
  const cell = (side, path, mark) => {
    if (!side.has(path)) return el("td", { class: "faint" }, "not there");
    const shown = value(JSON.parse(side.get(path)));
    return el("td", {}, mark ? el(mark, {}, shown) : shown);
  };
  const row = (path, differs) =>
    el(
      "tr",
      { class: differs ? "differs" : null },
      el("th", { scope: "row" }, name(path)),
      cell(before, path, differs && "del"),
      cell(after, path, differs && "ins"),
    );
  const body = el("tbody", {}, differing.map((path) => row(path, true)));
  const rest = el("tbody", { hidden: differing.length > 0 }, same.map((path) => row(path, false)));
  const button = el("button", { type: "button", class: "quiet" }, `Show ${count(same.length, "field")} that are the same`);
  button.addEventListener("click", () => {
    rest.hidden = !rest.hidden;
    button.textContent = rest.hidden ? `Show ${count(same.length, "field")} that are the same` : "Hide what is the same";
  });
  return el(
    "section",
    {},
    el("h2", {}, "Beside the one that was kept"),
    el("p", {}, differing.length ? `${count(differing.length, "field")} of ${number(paths.length)} differ. Redo keeps the first; the later content is lost.` : "Nothing differs: it is the same event once more."),
    el(
      "div",
      { class: "scroll", tabindex: "0", role: "group", "aria-label": "Comparison" },
      el(
        "table",
        { class: "compare" },
        el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Field"), el("th", { scope: "col" }, el("a", { href: link(`events/${late.original.seq}`) }, "Kept"), ", the first"), el("th", { scope: "col" }, "Dropped, this one"))),
        body,
        rest,
      ),
    ),
    differing.length > 0 && same.length > 0 && button,
  );
}

/** An event as {path: JSON of the value there}; lists are taken whole. */
function flat(object, prefix = "", found = new Map()) {
  for (const [key, given] of Object.entries(object)) {
    const path = prefix ? `${prefix}.${key}` : key;
    if (given !== null && typeof given === "object" && !Array.isArray(given) && Object.keys(given).length) flat(given, path, found);
    else found.set(path, JSON.stringify(given));
  }
  return found;
}
