"use strict";
// Draws the charts of report.html from the numbers in the page, and lets its rejected rows be searched. The page is whole
// without it. Names come from exports: they become text (textContent, or Plot's own text), never markup.
(() => {
  const told = JSON.parse(document.getElementById("data").textContent);
  const colours = ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6"].map((name) => `var(${name})`);
  const OTHER = "var(--c7)";
  const SVG = "http://www.w3.org/2000/svg";

  // What is drawn in a figure, drawn again when its width changes. Colours follow the page by themselves.
  function keepDrawn(kind, draw) {
    const figure = document.querySelector(`figure[data-chart=${kind}]`);
    if (!figure) return () => {};
    const plot = figure.querySelector(".plot");
    let width = 0;
    const again = () => {
      const style = getComputedStyle(figure);
      width = Math.floor(figure.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight));
      if (width > 0) plot.replaceChildren(...[draw(width)].flat());
    };
    new ResizeObserver(() => {
      const style = getComputedStyle(figure);
      const now = Math.floor(figure.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight));
      if (now !== width) again();
    }).observe(figure);
    again();
    return again;
  }

  // Fills for so many series: six colours, then the same hatched, so that no two look alike; the last may be "other".
  function fills(count, lastIsOther) {
    const found = [];
    for (let i = 0; i < count; i += 1) {
      if (lastIsOther && i === count - 1) found.push(OTHER);
      else if (i < colours.length) found.push(colours[i]);
      else found.push(hatched(i % colours.length));
    }
    return found;
  }

  let patterns = null;
  function hatched(i) {
    if (!patterns) {
      const holder = document.createElementNS(SVG, "svg");
      for (const name of ["width", "height"]) holder.setAttribute(name, "0");
      holder.setAttribute("aria-hidden", "true");
      holder.style.position = "absolute";
      patterns = holder.appendChild(document.createElementNS(SVG, "defs"));
      document.body.append(holder);
    }
    const id = `hatch-${i}`;
    if (!document.getElementById(id)) {
      const pattern = patterns.appendChild(document.createElementNS(SVG, "pattern"));
      const parts = { id, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" };
      for (const [name, value] of Object.entries(parts)) pattern.setAttribute(name, value);
      const ground = pattern.appendChild(document.createElementNS(SVG, "rect"));
      for (const [name, value] of Object.entries({ width: 6, height: 6, fill: colours[i], "fill-opacity": 0.35 }))
        ground.setAttribute(name, value);
      const stripe = pattern.appendChild(document.createElementNS(SVG, "rect"));
      for (const [name, value] of Object.entries({ width: 2.5, height: 6, fill: colours[i] })) stripe.setAttribute(name, value);
    }
    return `url(#${id})`;
  }

  function swatch(fill) {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", "0 0 14 14");
    svg.setAttribute("aria-hidden", "true");
    const rect = svg.appendChild(document.createElementNS(SVG, "rect"));
    for (const [name, value] of Object.entries({ width: 14, height: 14, rx: 3, fill })) rect.setAttribute(name, value);
    return svg;
  }

  // Buttons of which one at most is pressed; pressed again, it is let go. `chosen` is told which (-1: none).
  function choices(parent, labels, fill, chosen, { always = false } = {}) {
    const buttons = labels.map((label, i) => {
      const button = document.createElement("button");
      button.type = "button";
      if (fill) button.append(swatch(fill[i]));
      const words = button.appendChild(document.createElement("span"));
      words.textContent = label;
      button.setAttribute("aria-pressed", String(always && i === 0));
      button.addEventListener("click", () => {
        const was = button.getAttribute("aria-pressed") === "true";
        buttons.forEach((other) => other.setAttribute("aria-pressed", "false"));
        const now = always || !was ? i : -1;
        if (now >= 0) buttons[now].setAttribute("aria-pressed", "true");
        chosen(now);
      });
      parent.append(button);
      return button;
    });
  }

  // As functions: Plot would give a format's name the precision of its ticks.
  const whole = (most) => ({ ticks: Math.max(1, Math.min(5, Math.ceil(most))), tickFormat: d3.format(most >= 10000 ? "~s" : ",") });
  const count = (value) => d3.format(",")(Math.round(value * 10) / 10);

  // ------------------------------------------------------------------------------------------ when events happened

  function drawTimes({ starts, series, hours, states, unit, zone }) {
    const days = starts.map((day) => new Date(`${day}T00:00:00Z`));
    const names = series.map((one, i) => (series.findIndex((other) => other.name === one.name) === i ? one.name : `${one.name} (${i + 1})`));
    const fill = fills(names.length, names.length > 12);
    // Of a few days each has its date: Plot would tell hours between them.
    const dates = (width) => {
      const each = Math.ceil((days.length * 64) / width);
      return days.length > 9 || unit !== "day"
        ? { ticks: Math.max(2, Math.floor(width / 90)) }
        : { ticks: days.filter((_, i) => i % each === 0), tickFormat: d3.utcFormat("%b %-d") };
    };
    const totals = { all: (one, i) => one.new[i] + one.known[i], new: (one, i) => one.new[i], known: (one, i) => one.known[i] };
    let only = -1;
    let state = "all";
    const again = keepDrawn("times", (width) => {
      const bars = series.flatMap((one, k) =>
        only >= 0 && only !== k
          ? []
          : days.slice(0, -1).flatMap((start, i) => {
              const events = totals[state](one, i);
              return events ? [{ start, end: days[i + 1], name: names[k], events }] : [];
            }),
      );
      const sums = d3.rollups(bars, (rows) => d3.sum(rows, (row) => row.events), (row) => +row.start);
      const most = d3.max(sums, (sum) => sum[1]) || 1;
      const inset = width / days.length > 6 ? 0.75 : 0;
      return Plot.plot({
        width,
        height: width < 500 ? 220 : 280,
        marginLeft: 48,
        marginRight: 16,
        x: { type: "utc", domain: [days[0], days[days.length - 1]], label: null, ...dates(width) },
        y: { label: null, grid: true, domain: [0, most], nice: true, ...whole(most) },
        color: { domain: names, range: fill },
        marks: [
          Plot.rectY(bars, {
            x1: "start", x2: "end", y: "events", fill: "name", insetLeft: inset, insetRight: inset, shapeRendering: inset ? undefined : "crispEdges", order: names,
            channels: { from: { value: "start", label: `${unit} from` }, name: { value: "name", label: "name" }, count: { value: "events", label: "events" } },
            tip: { format: { x: false, x1: false, x2: false, y: false, fill: false, from: d3.utcFormat("%Y-%m-%d"), name: true, count } },
          }),
          Plot.ruleY([0], { stroke: "currentColor" }),
        ],
      });
    });
    const keys = document.querySelector("figure[data-chart=times] .keys");
    if (states) {
      const which = keys.appendChild(document.createElement("div"));
      which.className = "which";
      which.setAttribute("role", "group");
      which.setAttribute("aria-label", "Which events are shown");
      const kinds = ["all", "new", "known"];
      choices(which, ["all", states.new, states.known], null, (i) => { state = kinds[i]; again(); }, { always: true });
    }
    if (names.length > 1) {
      keys.setAttribute("role", "group");
      keys.setAttribute("aria-label", "Event names: press one to see it alone");
      choices(keys, names, fill, (i) => { only = i; again(); });
    } else {
      const alone = keys.appendChild(document.createElement("span"));
      alone.className = "quiet";
      alone.textContent = names[0];
    }

    const most = d3.max(hours) || 1;
    keepDrawn("hours", (width) =>
      Plot.plot({
        width,
        height: 170,
        marginLeft: 48,
        marginRight: 16,
        x: { domain: [0, 24], label: null, ticks: d3.range(0, 25, width < 500 ? 6 : 3), tickFormat: (hour) => `${String(hour).padStart(2, "0")}:00` },
        y: { label: null, grid: true, domain: [0, most], nice: true, ...whole(most), ticks: Math.min(3, most) },
        marks: [
          Plot.rectY(hours.map((events, hour) => ({ hour, end: hour + 1, events })), {
            x1: "hour", x2: "end", y: "events", fill: colours[0], insetLeft: 1, insetRight: 1,
            channels: { from: { value: "hour", label: `hour (${zone})` }, count: { value: "events", label: "events" } },
            tip: { format: { x: false, x1: false, x2: false, y: false, from: (hour) => `${String(hour).padStart(2, "0")}:00`, count } },
          }),
          Plot.ruleY([0], { stroke: "currentColor" }),
        ],
      }),
    );
  }

  // --------------------------------------------------------------------------------------------- how sending went

  function drawCourse({ seconds, statuses, samples, pauses }) {
    const [divisor, unit] = seconds < 180 ? [1, "s"] : seconds < 10800 ? [60, "min"] : [3600, "h"];
    const rows = samples.map(([start, end, events, median, p95, answers]) => ({
      start: start / divisor, end: end / divisor, middle: (start + end) / 2 / divisor,
      rate: events / Math.max(end - start, 0.01), median, p95, answers: answers.map((n) => n / Math.max(end - start, 0.01)),
    }));
    const span = [0, seconds / divisor];
    const x = { domain: span, label: null, tickFormat: (value) => `${d3.format("~")(value)} ${unit}` };
    const waited = pauses.map((one, i) => ({
      start: one.start / divisor, end: Math.max(one.end, one.start + seconds / 300) / divisor,
      mark: i < 20 ? String.fromCharCode(65 + i) : "", why: one.why,
    }));
    const clock = (value) => {
      const seconds = value * divisor;
      const two = (number) => String(Math.floor(number)).padStart(2, "0");
      if (seconds < 60) return `${d3.format(".1f")(seconds)} s`;
      return seconds < 3600 ? `${Math.floor(seconds / 60)}:${two(seconds % 60)}` : `${Math.floor(seconds / 3600)}:${two((seconds / 60) % 60)}:${two(seconds % 60)}`;
    };
    const draw = (width, options) =>
      Plot.plot({
        width, height: 180, marginLeft: 48, marginRight: 40, marginTop: 24,
        ...options,
        x: { ...x, ticks: Math.max(2, Math.floor(width / 100)) },
        marks: [
          Plot.rect(waited, { x1: "start", x2: "end", fill: "currentColor", fillOpacity: 0.16, className: "pauses", title: (one) => `waited: ${one.why}` }),
          Plot.text(waited, { x: (one) => (one.start + one.end) / 2, frameAnchor: "top", dy: -14, text: "mark", fill: "currentColor", fontWeight: 600 }),
          ...options.marks,
          Plot.ruleY([0], { stroke: "currentColor" }),
        ],
      });

    // Where there is no room for gaps, no seams either.
    const apart = rows.length < 100 ? { insetRight: 0.5 } : { shapeRendering: "crispEdges" };
    const fastest = d3.max(rows, (row) => row.rate) || 1;
    keepDrawn("speed", (width) => draw(width, {
      y: { label: null, grid: true, domain: [0, fastest], nice: true, ...whole(fastest) },
      marks: [
        Plot.rectY(rows, {
          x1: "start", x2: "end", y: "rate", fill: colours[0], ...apart,
          channels: { at: { value: "start", label: "from" }, rate: { value: "rate", label: "events/s" } },
          tip: { format: { x: false, x1: false, x2: false, y: false, at: clock, rate: count } },
        }),
      ],
    }));

    const slowest = d3.max(rows, (row) => row.p95) || 1;
    const last = rows[rows.length - 1];
    keepDrawn("latency", (width) => draw(width, {
      y: { label: null, grid: true, domain: [0, slowest], nice: true, ...whole(slowest), tickFormat: (ms) => `${d3.format(",")(ms)} ms`, ticks: 4 },
      marginLeft: 64,
      marks: [
        Plot.lineY(rows, { x: "middle", y: "p95", stroke: colours[1], strokeWidth: 1.75, strokeDasharray: "5 3" }),
        Plot.lineY(rows, { x: "middle", y: "median", stroke: colours[0], strokeWidth: 2 }),
        Plot.text([last], { x: "middle", y: "p95", text: ["95 %"], textAnchor: "start", dx: 5, fill: "currentColor" }),
        Plot.text([last], { x: "middle", y: "median", text: ["half"], textAnchor: "start", dx: 5, dy: Math.abs(last.p95 - last.median) < slowest / 10 ? 12 : 0, fill: "currentColor" }),
        Plot.tip(rows, Plot.pointerX({
          x: "middle", y: "p95",
          channels: { at: { value: "start", label: "from" }, half: { value: "median", label: "half under, ms" }, p95: { value: "p95", label: "95 % under, ms" } },
          format: { x: false, y: false, at: clock, half: count, p95: count },
        })),
      ],
    }));

    // A chart for each status, with a scale of its own: one 503 among a thousand 202 is seen.
    keepDrawn("answers", (width) =>
      statuses.flatMap((status, k) => {
        const bars = rows.filter((row) => row.answers[k]).map((row) => ({ start: row.start, end: row.end, n: row.answers[k] }));
        const most = d3.max(bars, (bar) => bar.n) || 1;
        const label = document.createElement("p");
        label.className = "quiet";
        label.textContent = status;
        const fill = /^2/.test(status) ? colours[2] : colours[3];
        const drawn = draw(width, {
          height: 104,
          y: { label: null, grid: true, domain: [0, most], nice: true, ticks: 2, tickFormat: d3.format(most < 1 ? "~g" : most >= 10000 ? "~s" : ",") },
          marks: [
            Plot.rectY(bars, {
              x1: "start", x2: "end", y: "n", fill, ...apart,
              channels: { at: { value: "start", label: "from" }, rate: { value: "n", label: "a second" } },
              tip: { format: { x: false, x1: false, x2: false, y: false, at: clock, rate: d3.format(",.3~r") } },
            }),
          ],
        });
        return [label, drawn];
      }),
    );
  }

  // ---------------------------------------------------------------------------------------------- rejected, searched

  function searchable() {
    const problems = [...document.querySelectorAll(".problem")];
    const box = document.querySelector(".search");
    if (!box) return;
    const input = document.getElementById("search");
    const matches = document.getElementById("matches");
    const wereOpen = problems.map((problem) => problem.open);
    const heads = problems.map((problem) =>
      [...problem.children].filter((part) => part.tagName !== "UL").map((part) => part.textContent).join(" ").toLowerCase(),
    );
    box.hidden = false;
    input.addEventListener("input", () => {
      const wanted = input.value.trim().toLowerCase();
      let found = 0;
      problems.forEach((problem, i) => {
        const whole = heads[i].includes(wanted);
        let some = 0;
        problem.querySelectorAll("li").forEach((example) => {
          example.hidden = !whole && !example.textContent.toLowerCase().includes(wanted);
          some += !example.hidden;
        });
        problem.hidden = !whole && !some;
        problem.open = wanted ? !problem.hidden : wereOpen[i];
        found += !problem.hidden;
      });
      matches.textContent = wanted ? `${found} of ${problems.length} problems` : "";
    });
    addEventListener("beforeprint", () => problems.forEach((problem) => { problem.open = true; }));
  }

  searchable();
  if (told.times) drawTimes(told.times);
  if (told.course) drawCourse(told.course);
})();
