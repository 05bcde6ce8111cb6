// How numbers, times and money are written.

import { el } from "./dom.js";

const NUMBER = new Intl.NumberFormat("en");
const MONTHS = "January February March April May June July August September October November December".split(" ");

const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/i;

/** 1,234,567 */
export const number = (n) => NUMBER.format(n);

/** "1 event", "2,000 events" */
export const count = (n, one, many = `${one}s`) => `${number(n)} ${n === 1 ? one : many}`;

/** Whether the API takes a text for a date: RFC 3339. */
export const isDate = (text) => RFC_3339.test(text) && !Number.isNaN(Date.parse(text));

/** "March 2024", in UTC. */
export const month = (moment) => {
  const date = new Date(moment);
  return `${MONTHS[date.getUTCMonth()]} ${date.getUTCFullYear()}`;
};

/** "5 Mar 2024", in UTC. */
export const day = (moment) => {
  const date = new Date(moment);
  return `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()].slice(0, 3)} ${date.getUTCFullYear()}`;
};

/** "5 Mar 2024, 14:02 UTC"; the title says it as it came. */
export function time(moment, { exact = false } = {}) {
  const date = new Date(moment);
  if (Number.isNaN(date.getTime())) return el("span", {}, moment);
  const iso = date.toISOString();
  const clock = iso.slice(iso.indexOf("T") + 1).slice(0, exact ? 8 : 5);
  return el("time", { datetime: iso, title: typeof moment === "string" ? moment : iso }, `${day(date)}, ${clock} UTC`);
}

/** "59.90 USD" by the currency's own places; the number alone where there is no currency. A text keeps its digits. */
export function money(value, currency) {
  if (value === null || value === undefined) return "";
  if (!currency) return String(value);
  try {
    return new Intl.NumberFormat("en", { style: "currency", currency, currencyDisplay: "code", maximumFractionDigits: 8 })
      .formatToParts(value)
      .filter(({ type }) => type !== "literal" && type !== "currency")
      .map(({ value: part }) => part)
      .join("") + ` ${currency}`;
  } catch {
    return `${value} ${currency}`;
  }
}

/** "3 seconds ago" */
export function ago(seconds) {
  if (seconds < 2) return "just now";
  if (seconds < 60) return `${Math.round(seconds)} seconds ago`;
  if (seconds < 3600) return `${count(Math.round(seconds / 60), "minute")} ago`;
  return `${count(Math.round(seconds / 3600), "hour")} ago`;
}
