// Customers: a list to search in, and each one's profile and timeline.

import { el, fill, name, put, say } from "./dom.js";
import { fields } from "./fields.js";
import { count, money, month, number, time } from "./format.js";

const label = (one) => [one.first, one.last].filter(Boolean).join(" ") || one.email || one.phone || one.id;

export async function customers({ get, link, filter, query, path, readdress }) {
  const place = el("ul", { class: "rows" });
  const found = el("p", { class: "faint", role: "status" });
  const pager = el("p", { class: "pager" });
  const search = el("input", { type: "search", id: "search", autocomplete: "off", spellcheck: "false", maxlength: "200" });
  search.value = query.get("q") ?? "";
  let page = Number(query.get("page") ?? 1);
  let state = "";
  let asked = 0;

  async function load() {
    const turn = ++asked;
    const words = search.value.trim();
    const answer = await get("customers", { store: filter.store, q: words || null, page });
    if (turn !== asked) return; // a later question is under way
    const next = JSON.stringify(answer);
    if (next === state) return;
    state = next;
    say(found, `${count(answer.total, "customer")}${words ? " found" : ""}`);
    fill(place, answer.customers.map((one) => row(one, link)));
    const to = (label_, where) => el("a", { href: link(path, { q: words, page: where > 1 ? where : null }) }, label_);
    fill(
      pager,
      page > 1 && to("Previous", page - 1),
      answer.pages > 1 && el("span", { class: "faint" }, `page ${number(page)} of ${number(answer.pages)}`),
      page < answer.pages && to("Next", page + 1),
    );
  }

  let later;
  search.addEventListener("input", () => {
    // The address changes at once: later it might overwrite that of a link the reader has followed since.
    page = 1;
    readdress(link(path, { q: search.value.trim() }));
    clearTimeout(later);
    later = setTimeout(load, 150);
  });
  await load();
  return {
    title: "Customers",
    nodes: [
      el("h1", {}, "Customers"),
      el("p", { class: "lead" }, "Those whom the events name, the one with the newest event first."),
      el("p", { class: "search" }, el("label", { for: "search" }, "Find by email, phone, name or id"), search),
      found,
      place,
      pager,
    ],
    update: async () => {
      if (page === 1 && !place.contains(document.activeElement) && !place.matches(":hover")) await load();
    },
  };
}

function row(one, link) {
  const title = label(one);
  const more = [one.email, one.phone, one.id].filter((part) => part && part !== title);
  return el(
    "li",
    { class: "row customer" },
    el("a", { href: link(`customers/${one.who}`), class: "main" }, name(title)),
    el("span", { class: "who faint" }, more.map((part, i) => [i > 0 && " · ", name(part)])),
    el("span", { class: "money" }, count(one.events, "event")),
    el("span", { class: "when" }, time(one.newest)),
  );
}

export async function customer({ get, link, parts }) {
  const address = `customers/${parts[0]}`;
  const first = await get(address);
  const { customer: one, profile } = first;
  const timeline = el("div", { class: "timeline" });
  const older = el("button", { type: "button", hidden: !first.before }, "Show older events");
  const newer = el("button", { type: "button", class: "fresh", hidden: true });
  let before = first.before;
  let group = { month: null, list: null };

  function add(events) {
    for (const event of events) {
      const when = month(event.timestamp);
      if (group.month !== when) {
        group = { month: when, list: el("ol", {}) };
        put(timeline, el("h3", {}, when), group.list);
      }
      put(group.list, moment(event, link));
    }
  }

  add(first.events);
  older.addEventListener("click", async () => {
    const next = await get(address, { before });
    const last = timeline.querySelector("li:last-child:last-of-type");
    add(next.events);
    before = next.before;
    older.hidden = !before;
    if (older.hidden) last?.querySelector("a")?.focus();
  });
  newer.addEventListener("click", () => {
    timeline.replaceChildren();
    group = { month: null, list: null };
    newer.hidden = true;
    get(address).then((fresh) => {
      shown = fresh.customer.events;
      add(fresh.events);
      before = fresh.before;
      older.hidden = !before;
    });
  });
  let shown = one.events;

  return {
    title: label(one),
    nodes: [
      el("p", { class: "crumb" }, el("a", { href: link("customers") }, "Customers")),
      el("h1", {}, name(label(one))),
      el(
        "div",
        { class: "person" },
        card(one, profile, first.dropped, link),
        el("section", {}, el("h2", {}, "Timeline"), el("p", { class: "faint" }, `${count(one.events, "event")}, by their own time in UTC, the newest first.`), newer, timeline, el("p", {}, older)),
      ),
    ],
    update: async (live) => {
      if (live.indexed === 0) return;
      const fresh = await get(address);
      const more = fresh.customer.events - shown;
      newer.hidden = more <= 0;
      if (more > 0) say(newer, `${count(more, "new event")}: show`);
    },
  };
}

/** "countryCode" as "Country code": these names are the API's own. */
const spaced = (object) =>
  Object.fromEntries(
    Object.entries(object).map(([key, shown]) => {
      const words = key.replace(/[A-Z](?![A-Z])/g, (letter) => ` ${letter.toLowerCase()}`).replace(/\d+/, " $&");
      return [words[0].toUpperCase() + words.slice(1), shown];
    }),
  );

function card(one, profile, dropped, link) {
  const { location = {}, customFields = {}, email, phoneNumber, id, firstName, lastName } = profile;
  const facts = { "First name": firstName, "Last name": lastName, Email: email, Phone: phoneNumber, "Redo id": id };
  const known = Object.fromEntries(Object.entries(facts).filter(([, shown]) => shown !== undefined));
  return el(
    "section",
    { class: "card" },
    el("h2", {}, "Profile"),
    fields(known),
    Object.keys(location).length > 0 && [el("h3", {}, "Location"), fields(spaced(location))],
    Object.keys(customFields).length > 0 && [el("h3", {}, "Custom fields"), fields(customFields)],
    el("h3", {}, "Store"),
    el("p", {}, name(one.store)),
    dropped > 0 && el("p", { class: "note" }, `${count(dropped, "more event")} dropped as ${dropped === 1 ? "a duplicate" : "duplicates"}.`),
    el("p", { class: "faint small" }, "Merged from the events in order of arrival: what a later one says replaces, what it leaves out stays. How Redo orders events that arrive out of their own order is not documented."),
  );
}

/** One event of the timeline. */
function moment(event, link) {
  const { $extra: extra, ...data } = event.event.data ?? {};
  return el(
    "li",
    {},
    el(
      "div",
      { class: "moment" },
      el("h4", {}, name(event.name)),
      el("span", { class: "money" }, money(event.value, event.currency)),
      el("span", { class: "when" }, time(event.timestamp), " · ", el("a", { href: link(`events/${event.seq}`), "aria-label": `JSON of event ${event.seq}` }, "JSON")),
    ),
    Object.keys(data).length > 0 && fields(data, event.unset),
    extra !== undefined && el("details", { class: "extra", open: true }, el("summary", {}, "$extra"), fields(extra)),
  );
}
