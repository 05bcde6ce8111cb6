// An event's fields as a person reads them.

import { el, name, short } from "./dom.js";
import { isDate, number, time } from "./format.js";

const LONG = 300;
const MANY = 50;

/** One value: a date as a date, a long text folded, an object or array as a list or table. */
export function value(given) {
  if (given === null) return el("span", { class: "faint" }, "null");
  if (given === "") return el("span", { class: "faint" }, "empty text");
  if (typeof given === "string") return text(given);
  if (typeof given === "number" || typeof given === "boolean") return el("span", { class: "scalar" }, String(given));
  return Array.isArray(given) ? list(given) : fields(given);
}

/** An object as names and values; names in `unset` are marked as values that the API does not keep. */
export function fields(object, unset = []) {
  const entries = plainFirst(Object.entries(object));
  if (!entries.length) return el("span", { class: "faint" }, "nothing");
  const rows = entries.slice(0, MANY * 2).map(([key, given]) => {
    const without = unset.includes(key);
    return el(
      "div",
      { class: without ? "unset" : null },
      el("dt", {}, name(key)),
      el("dd", {}, value(given), without && el("span", { class: "tag" }, "unset")),
    );
  });
  return el("div", {}, el("dl", { class: "fields" }, rows), more(entries.length - rows.length));
}

function text(given) {
  if (isDate(given)) return time(given);
  if (given.length <= LONG) return el("bdi", {}, given);
  return el(
    "details",
    { class: "long" },
    el("summary", {}, el("bdi", {}, short(given, 80)), ` (${number(given.length)} characters)`),
    el("bdi", {}, given),
  );
}

function list(given) {
  if (!given.length) return el("span", { class: "faint" }, "an empty list");
  const shown = given.slice(0, MANY);
  const rest = more(given.length - shown.length);
  const plain = (one) => one === null || typeof one !== "object";
  const flat = (one) => !plain(one) && !Array.isArray(one) && Object.values(one).every(plain);
  if (shown.every(flat)) {
    // Words first, figures after them; else in the order in which they came.
    const keys = [...new Set(shown.flatMap(Object.keys))].sort((a, b) => numeric(shown, a) - numeric(shown, b));
    if (keys.length && keys.length <= 8) return el("div", {}, table(keys, shown), rest);
  }
  return el("div", {}, el("ul", { class: "values" }, shown.map((one) => el("li", {}, value(one)))), rest);
}

const nested = ([, given]) => Number(given !== null && typeof given === "object");
const plainFirst = (entries) => entries.sort((a, b) => nested(a) - nested(b));
const numeric = (rows, key) => rows.every((row) => !Object.hasOwn(row, key) || typeof row[key] === "number");

function table(keys, rows) {
  const cell = (row, key) => {
    if (!Object.hasOwn(row, key)) return el("td", {});
    return el("td", { class: typeof row[key] === "number" ? "n" : null }, value(row[key]));
  };
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "group", "aria-label": "table" },
    el(
      "table",
      { class: "small" },
      el("thead", {}, el("tr", {}, keys.map((key) => el("th", { scope: "col", class: numeric(rows, key) ? "n" : null }, name(key))))),
      el("tbody", {}, rows.map((row) => el("tr", {}, keys.map((key) => cell(row, key))))),
    ),
  );
}

const more = (n) => (n > 0 ? el("p", { class: "faint" }, `and ${number(n)} more, in the JSON`) : null);
