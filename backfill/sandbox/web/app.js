// The frame: where the reader is (the address's hash), what the sandbox says every second, and what stays in sight.

import { customer, customers } from "./customers.js";
import { el, fill, say, short, visible } from "./dom.js";
import { event, events } from "./events.js";
import { ago, count, number } from "./format.js";
import { overview } from "./overview.js";
import { refused, unset } from "./refused.js";

const EVERY_MS = 1000;
const ANNOUNCE_MS = 15000;

const VIEWS = [
  [/^$/, overview],
  [/^customers$/, customers],
  [/^customers\/(\d+)$/, customer],
  [/^events$/, events],
  [/^events\/(\d+)$/, event],
  [/^duplicates$/, (context) => events(context, true)],
  [/^refused$/, refused],
  [/^unset$/, unset],
];
const TABS = [
  ["", "Overview", () => null],
  ["customers", "Customers", (live) => live.customers],
  ["events", "Events", (live) => live.stored],
  ["duplicates", "Duplicates", (live) => live.duplicates],
  ["refused", "Refused", (live) => live.refused],
  ["unset", "Unset", (live) => live.unset],
];

const answers = new Map(); // path: what it answered, and its ETag
const scrolled = new Map(); // hash: how far down the reader was
let live = null;
let shown = null; // the view: {update(live)}
let here = location.hash;
let followed = false; // whether the reader came by a link, not by the back button
let announced = { at: 0, text: "" };
let arrived = { events: 0, at: 0 };

/** The JSON at a path of the sandbox, asked for only if it has changed. */
async function get(path, parameters = {}) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined));
  const address = `/_sandbox/look/${path}?${query}`;
  const had = answers.get(address);
  const answer = await fetch(address, { headers: had ? { "If-None-Match": had.tag } : {} });
  if (answer.status === 304) return had.body;
  const body = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(body.detail || answer.statusText), { status: answer.status });
  if (answers.size > 50) answers.clear();
  answers.set(address, { tag: answer.headers.get("ETag"), body });
  return body;
}

/** Where the hash points: {path, query}. */
function route() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { path, query: new URLSearchParams(query) };
}

/** What the reader has chosen to see: a store, an event name. */
function filter() {
  const { query } = route();
  return { store: query.get("store"), name: query.get("name") };
}

/** A hash that points there, with the reader's choice, and with changes to its query. */
function link(path, changes = {}) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries({ ...filter(), ...changes })) {
    if (value !== null && value !== undefined && value !== "") query.set(key, value);
  }
  return `#/${path}${query.size ? `?${query}` : ""}`;
}

const status = el("p", { class: "status" });
const faults = el("p", { class: "faults", hidden: true });
const indexing = el("p", { class: "note", hidden: true });
const spoken = el("p", { class: "spoken", role: "status", "aria-live": "polite" });
const storeChoice = el("select", { id: "store", on: { change: choose } });
const nameChoice = el("select", { id: "name", on: { change: choose } });
const storeField = el("label", { hidden: true }, "Store ", storeChoice);
const nameField = el("label", { hidden: true }, "Event ", nameChoice);
const tabs = new Map(TABS.map(([path, label]) => [path, { link: el("a", {}, label), count: el("span", { class: "badge" }) }]));
const main = el("main", { id: "main", tabindex: "-1" });

function frame() {
  for (const { link: tab, count: badge } of tabs.values()) tab.append(" ", badge);
  document.body.append(
    el("a", { href: "#main", class: "skip", on: { click: (click) => (click.preventDefault(), main.focus()) } }, "Skip to content"),
    el(
      "header",
      {},
      el(
        "div",
        { class: "top" },
        el("div", {}, el("p", { class: "title" }, "Sandbox"), el("p", { class: "faint" }, "A rehearsal. Nothing here has reached a customer. All times are in UTC.")),
        status,
      ),
      el(
        "div",
        { class: "bar" },
        el("nav", { "aria-label": "Sections" }, el("ul", {}, [...tabs.values()].map(({ link: tab }) => el("li", {}, tab)))),
        el("div", { class: "choices" }, storeField, nameField),
      ),
      faults,
      indexing,
    ),
    main,
    spoken,
  );
}

function choose() {
  const { path } = route();
  const list = path.split("/")[0];
  location.hash = link(list, { store: storeChoice.value, name: nameChoice.value });
}

/** Bring a choice up to date with what there is to choose from. */
function offer(select, field, all, entries, chosen) {
  const known = entries.some(([value]) => value === chosen);
  const options = [["", all], ...(chosen && !known ? [[chosen, short(chosen, 40)]] : []), ...entries];
  const text = JSON.stringify(options);
  if (select.dataset.options !== text) {
    fill(select, options.map(([value, label]) => Object.assign(el("option", {}, label), { value })));
    select.dataset.options = text;
  }
  select.value = chosen ?? "";
  field.hidden = options.length < 3 && !chosen;
}

function showFrame() {
  const { path } = route();
  const chosen = filter();
  for (const [tab, { link: anchor, count: badge }] of tabs) {
    anchor.href = link(tab);
    if ((shown?.tab ?? path.split("/")[0]) === tab) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
    const n = live && TABS.find(([one]) => one === tab)[2](live);
    say(badge, n ? number(n) : "");
  }
  if (!live) return;
  offer(storeChoice, storeField, "all stores", live.stores.map((one) => [one, short(one, 40)]), chosen.store);
  offer(nameChoice, nameField, "all events", live.names.map((one) => [one.name, short(one.name, 40)]), chosen.name);
  faults.hidden = !live.faults;
  if (live.faults) fill(faults, "Faults in force: ", el("code", {}, live.faults));
  const behind = live.newest - live.indexed;
  indexing.hidden = behind <= 0 || live.indexed / live.newest > 0.98;
  if (!indexing.hidden) say(indexing, `Reading what arrived: ${number(live.indexed)} of ${number(live.newest)} events.`);
}

/** Say in the corner whether something arrives; aloud, seldom, what has changed. */
function showStatus(trouble) {
  const now = Date.now();
  if (trouble) {
    status.className = "status off";
    say(status, "The sandbox does not answer. Trying again.");
    return;
  }
  const total = live.newest + live.refused;
  const since = arrived.at && (now - arrived.at) / 1000;
  if (total !== arrived.events) {
    const speed = arrived.at && total > arrived.events && since < 5 ? (total - arrived.events) / since : 0;
    arrived = { events: total, at: now, speed };
  }
  const quiet = (now - arrived.at) / 1000;
  const busy = quiet < 3 && arrived.speed > 0;
  status.className = busy ? "status busy" : "status";
  if (busy) say(status, `Receiving ${count(Math.max(1, Math.round(arrived.speed)), "event")} a second`);
  else if (!total) say(status, "Waiting for the first event");
  else say(status, arrived.speed ? `Listening; the last event came ${ago(quiet)}` : "Listening");

  const text = `${count(live.stored, "event")} stored, ${number(live.duplicates)} dropped as duplicates, ${number(live.refused)} refused.`;
  if (text !== announced.text && now - announced.at > ANNOUNCE_MS) {
    if (announced.text) say(spoken, text);
    announced = { at: now, text };
  }
}

async function poll() {
  if (!document.hidden) {
    const asked = filter();
    try {
      const answer = await get("overview", asked);
      if (asked.store === filter().store && asked.name === filter().name) {
        live = answer;
        showFrame();
        showStatus(false);
        await shown?.update?.(live);
      }
    } catch (error) {
      showStatus(true);
      if (error instanceof TypeError && error.message.includes("undefined")) throw error;
    }
  }
  setTimeout(poll, EVERY_MS);
}

async function show() {
  const { path, query } = route();
  const at = location.hash;
  const [pattern, view] = VIEWS.find(([one]) => one.test(path)) ?? [/^/, missing];
  const first = shown === null;
  let made;
  try {
    live ??= await get("overview", filter());
    const context = { get, link, live: () => live, filter: filter(), query, path, parts: path.match(pattern).slice(1), refresh, readdress };
    made = await view(context);
  } catch (error) {
    made = failed(error);
  }
  if (at !== location.hash) return; // the reader has gone on
  scrolled.set(here, window.scrollY);
  here = at;
  const back = !followed && scrolled.get(at);
  followed = false;
  shown = made;
  fill(main, made.nodes);
  main.dataset.shown = at;
  showFrame();
  document.title = visible(`${short(made.title, 80)} · backfill sandbox`);
  if (!first) main.focus({ preventScroll: true });
  window.scrollTo(0, first ? window.scrollY : back || 0);
  made.drawn?.();
}

const refresh = () => show();

/** Name what is shown by another hash, without showing it anew. */
function readdress(hash) {
  history.replaceState(null, "", hash);
  here = hash;
}

function missing() {
  return { title: "Not found", nodes: [el("h1", {}, "There is nothing here"), el("p", {}, el("a", { href: "#/" }, "To the overview"))] };
}

function failed(error) {
  if (error.status !== 404) {
    return { title: "Trouble", nodes: [el("h1", {}, "The sandbox does not answer"), el("p", {}, error.message)], update: refresh };
  }
  const behind = live && live.indexed < live.newest;
  const words = behind ? "It may be among the events that are still being read." : "Perhaps the sandbox was reset, or has another database than before.";
  return {
    title: "Not found",
    nodes: [el("h1", {}, "Not found"), el("p", {}, words), el("p", {}, el("a", { href: "#/" }, "To the overview"))],
    update: behind ? refresh : null,
  };
}

document.addEventListener("click", (click) => {
  if (click.target.closest?.("a[href^='#/']")) followed = true;
});
window.addEventListener("hashchange", async () => {
  const asked = filter();
  try {
    live = await get("overview", asked);
  } catch {
    // `show` says so
  }
  await show();
});
document.addEventListener("visibilitychange", () => (announced.at = Date.now()));
history.scrollRestoration = "manual";
frame();
await show();
poll();
