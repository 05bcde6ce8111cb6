// Events by name over their own time, as stacked bars.

import { el, fill, name, short, visible } from "./dom.js";
import { count, day, month, number } from "./format.js";

const SLOTS = 8;
const OTHER = "other events";
const UNITS = { day: "day", week: "week", month: "month", year: "year" };

/** Which names have a colour of their own: the most frequent, each with its slot's number; the rest share one. */
export function colours(names) {
  const slots = new Map();
  const many = names.length > SLOTS;
  for (const { name: one } of names.slice(0, many ? SLOTS - 1 : SLOTS)) slots.set(one, slots.size + 1);
  return { of: (one) => (slots.has(one) ? `var(--c${slots.get(one)})` : "var(--c0)"), slots, many };
}

/** A chart that is drawn anew when its data or its width change. */
export function chart() {
  const place = el("div", { class: "chart" });
  const numbers = el("tbody", {});
  const head = el("tr", {});
  const table = el(
    "details",
    { class: "numbers" },
    el("summary", {}, "The numbers"),
    el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Events over time" }, el("table", { class: "small" }, el("thead", {}, head), numbers)),
  );
  let drawn = "";
  let last = null;

  function draw(given, palette) {
    last = [given, palette];
    const width = place.clientWidth;
    const key = JSON.stringify([given, [...palette.slots], width]);
    // A tip that is being read is not taken away.
    if (!width || key === drawn || (drawn && place.matches(":hover") && place.querySelector("[aria-label=tip] text"))) return;
    drawn = key;
    const bars = folded(given.bars, palette);
    fill(place, bars.length ? svg(bars, given.unit, palette, width) : el("p", { class: "faint" }, "Nothing to draw yet."));
    tabulate(bars, given.unit);
  }

  function tabulate(bars, unit) {
    const names = [...new Set(bars.map((bar) => bar.name))];
    const starts = [...new Set(bars.map((bar) => bar.start.getTime()))];
    const found = new Map(bars.map((bar) => [`${bar.start.getTime()} ${bar.name}`, bar.events]));
    fill(head, el("th", { scope: "col" }, `${UNITS[unit]}, in UTC`), names.map((one) => el("th", { scope: "col", class: "n" }, name(one))));
    fill(
      numbers,
      starts.map((start) =>
        el("tr", {}, el("th", { scope: "row" }, period(start, unit)), names.map((one) => el("td", { class: "n" }, number(found.get(`${start} ${one}`) ?? 0)))),
      ),
    );
  }

  new ResizeObserver(() => last && draw(...last)).observe(place);
  return { nodes: [place, table], draw };
}

/** The names in the colours of the bars, with their counts; each is a link to its events alone. */
export function legend(names, palette, link, chosen) {
  const total = names.reduce((sum, one) => sum + one.events, 0);
  return names.map(({ name: one, events }) => {
    // Not a style attribute, which the page's policy forbids, but the style itself.
    const swatch = el("span", { class: "swatch" });
    swatch.style.background = palette.of(one);
    const share = total ? (100 * events) / total : 0;
    const only = one === chosen;
    return el(
      "li",
      {},
      el("a", { href: link("", { name: only ? null : one }), "aria-current": only ? "true" : null }, swatch, name(one)),
      el("span", { class: "n" }, number(events)),
      el("span", { class: "n faint" }, share > 0 && share < 1 ? "< 1 %" : `${Math.round(share)} %`),
    );
  });
}

function folded(bars, palette) {
  const sums = new Map();
  for (const [start, one, events] of bars) {
    const label = palette.slots.has(one) ? one : OTHER;
    const key = `${start} ${label}`;
    const bar = sums.get(key) ?? { start: new Date(`${start}T00:00:00Z`), name: label, events: 0 };
    bar.events += events;
    sums.set(key, bar);
  }
  return [...sums.values()];
}

function svg(bars, unit, palette, width) {
  const names = [...palette.slots.keys(), OTHER];
  const interval = unit === "week" ? d3.utcMonday : unit;
  const narrow = width < 500;
  const starts = bars.map((bar) => bar.start);
  const span = [new Date(Math.min(...starts)), new Date(Math.max(...starts))];
  const step = { day: d3.utcDay, week: d3.utcMonday, month: d3.utcMonth, year: d3.utcYear }[unit];
  // So few bars would be as wide as the page.
  const from = step.count(...span) < 6 ? step.offset(span[0], -2) : span[0];
  const to = step.offset(span[1], step.count(...span) < 6 ? 3 : 1);
  const drawn = Plot.plot({
    className: "plot",
    width,
    height: narrow ? 220 : 280,
    marginLeft: narrow ? 40 : 52,
    marginRight: 8,
    marginTop: 16,
    style: { fontSize: "12px" },
    x: { type: "utc", label: null, domain: [from, to], ticks: narrow ? 4 : 8 },
    y: { label: null, grid: true, ticks: 4, tickFormat: narrow ? "~s" : ",d", nice: true },
    color: { domain: names, range: names.map((one) => palette.of(one)) },
    marks: [
      Plot.rectY(bars, {
        x: "start",
        y: "events",
        fill: "name",
        order: names,
        interval,
        insetLeft: 0.75,
        insetRight: 0.75,
        title: (bar) => `${visible(short(bar.name, 60))}\n${period(bar.start, unit)}: ${count(bar.events, "event")}`,
        tip: { fill: "var(--panel)", stroke: "var(--line)", fontSize: 12 },
      }),
      Plot.ruleY([0], { stroke: "var(--line)" }),
    ],
    ariaLabel: `Events over time, by ${UNITS[unit]} in UTC`,
    ariaDescription: `${count(bars.reduce((sum, bar) => sum + bar.events, 0), "event")}, ${day(span[0])} to ${period(span[1], unit)}`,
  });
  // Its own styles are in style.css: the page's policy allows none that a script writes.
  drawn.querySelector("style")?.remove();
  drawn.setAttribute("role", "img");
  return drawn;
}

function period(start, unit) {
  if (unit === "month") return month(start);
  if (unit === "year") return String(new Date(start).getUTCFullYear());
  return unit === "week" ? `week of ${day(start)}` : day(start);
}
