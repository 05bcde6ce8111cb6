// What was refused and why, and which values count as unset.

import { code, el, fill, name } from "./dom.js";
import { count, number, time } from "./format.js";

export async function refused({ get, filter }) {
  const place = el("div", {});
  let state = "";

  async function load() {
    const found = await get("refused", filter);
    const next = JSON.stringify(found);
    // An example that somebody has opened stays open.
    if (next === state || place.querySelector("details[open]") || place.contains(document.activeElement)) return;
    state = next;
    const examples = new Map();
    for (const one of found.refused) {
      for (const reason of one.reasons) examples.set(reason, [...(examples.get(reason) ?? []), one]);
    }
    const reasons = [...new Set([...Object.keys(found.reasons), ...examples.keys()])]
      .filter((reason) => examples.has(reason) || !(filter.store || filter.name))
      .sort((a, b) => (found.reasons[b] ?? 0) - (found.reasons[a] ?? 0));
    fill(place, reasons.length ? reasons.map((reason) => section(reason, found.reasons[reason], examples.get(reason) ?? [])) : el("p", { class: "faint" }, "Nothing was refused."));
  }

  await load();
  return {
    title: "Refused",
    nodes: [
      el("h1", {}, "Refused"),
      el("p", { class: "lead" }, "What broke a rule of the API, by reason; counted since this sandbox started. Of each, some examples are kept."),
      place,
    ],
    update: load,
  };
}

function section(reason, times, examples) {
  return el(
    "section",
    { class: "reason" },
    el("h2", {}, name(reason)),
    el("p", { class: "faint" }, times === undefined ? "before this sandbox started" : count(times, "time")),
    examples.map((one) =>
      el(
        "details",
        { class: "example" },
        el("summary", {}, name(one.name ?? "the body of a request"), " ", el("span", { class: "faint" }, time(one.at * 1000, { exact: true }), `, ${one.bulk ? "in bulk" : "single"}`)),
        one.reasons.length > 1 && el("ul", {}, one.reasons.map((each) => el("li", {}, each))),
        el("p", { class: "faint" }, "Store ", name(one.store)),
        code(pretty(one.body), one.body),
      ),
    ),
  );
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

export async function unset({ get, link, filter }) {
  const place = el("tbody", {});
  const nothing = el("p", { class: "faint" }, "None.");
  let state = "";

  async function load() {
    const found = await get("unset", filter);
    const next = JSON.stringify(found);
    if (next === state || place.contains(document.activeElement)) return;
    state = next;
    nothing.hidden = found.unset.length > 0;
    fill(
      place,
      found.unset.map((one) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, el("a", { href: link(`events/${one.example}`) }, name(one.key))),
          el("td", {}, el("code", {}, one.value)),
          el("td", {}, name(one.name)),
          el("td", { class: "n" }, number(one.events)),
        ),
      ),
    );
  }

  await load();
  const head = ["Field", "Value", "Event"].map((label) => el("th", { scope: "col" }, label));
  return {
    title: "Unset values",
    nodes: [
      el("h1", {}, "Unset values"),
      el("p", { class: "lead" }, "In ", el("code", {}, "data"), ", Redo takes 0, null and empty text for “not set” and does not store them. In ", el("code", {}, "$extra"), " they are kept. Each field leads to an event."),
      nothing,
      el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Unset values" }, el("table", {}, el("thead", {}, el("tr", {}, head, el("th", { scope: "col", class: "n" }, "Events"))), place)),
    ],
    update: load,
  };
}
