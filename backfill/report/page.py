"""report.html: one file that opens offline and tells what became of the export."""

from __future__ import annotations

from typing import Any

from backfill.printable import printable

__all__ = ["render"]

TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>backfill report: {{ s.mapping }}</title>
<style>
:root { color-scheme: light dark; --line: #8884; --bad: #b3261e; --good: #1b6e3c; }
@media (prefers-color-scheme: dark) { :root { --bad: #ff8a80; --good: #7ddc9c; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
overflow-wrap: anywhere }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% } td, th { padding: .3rem .6rem; border-bottom: 1px solid var(--line);
text-align: left; vertical-align: top } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
.scroll { overflow-x: auto } code { overflow-wrap: anywhere; unicode-bidi: isolate; direction: ltr }
.bad { color: var(--bad) } .good { color: var(--good) } details { margin: .5rem 0 }
</style></head><body><main>
<h1>{{ s.mapping }} <small>to store <code>{{ s.store }}</code></small></h1>
<p><strong class="{{ 'good' if s.exit == 0 else 'bad' }}">{{ outcome }}</strong>
{{ s.started }} to {{ s.finished }}, exit status {{ s.exit }}.</p>
<p>{{ next }}</p>
<h2>Rows</h2>
<table><tr><th class="n">read</th><th class="n">unreadable</th><th class="n">filtered</th><th class="n">mapped</th></tr>
<tr>{% for key in ("read", "unreadable", "filtered", "mapped") %}<td class="n">{{ "{:,}".format(s.rows[key]) }}</td>
{% endfor %}</tr></table>
<h2>Events</h2>
<table>{% for key, count in s.events.items() %}<tr><th>{{ key.replace("_", " ") }}</th>
<td class="n">{{ "{:,}".format(count) }}</td><td>{{ meaning[key] }}</td></tr>
{% endfor %}</table>
<h2>By event name</h2>
<div class="scroll"><table><tr><th>eventName</th>{% for c in columns %}<th class="n">{{ c.replace("_", " ") }}</th>
{% endfor %}</tr>
{% for name, counts in s.by_event_name.items() %}<tr><td><code>{{ name }}</code></td>
{% for c in columns %}<td class="n">{{ "{:,}".format(counts.get(c, 0)) }}</td>{% endfor %}</tr>
{% endfor %}</table></div>
{% if problems %}<h2>Rejected</h2>
<p>The rows are in <code>rejected.csv</code>: mend them and import that file with the same mapping.</p>
{% for p in problems %}<details open><summary><strong>{{ "{:,}".format(p.count) }} &times; {{ p.title }}</strong>
(<code>{{ p.code }}</code>)</summary><p>{{ p.fix }}</p><ul>
{% for e in p.examples %}<li><code>{{ e.place }}</code> <code>{{ e.detail }}</code></li>{% endfor %}</ul></details>
{% endfor %}{% endif %}
{% if s.notices %}<h2>Suspicious</h2><ul>
{% for n in notices %}<li>{{ "{:,}".format(n.count) }} &times; <code>{{ n.field }}</code>: {{ n.title }}. {{ n.fix }}
</li>{% endfor %}</ul>{% endif %}
{% if s.events.changed %}<h2>Changed</h2><p>{{ "{:,}".format(s.events.changed) }} events were delivered before with
other content under the same id. The API would drop them without a word, so they were not sent; they are listed in
<code>changed.ndjson</code>.</p>{% endif %}
<h2>Requests</h2><p>{{ "{:,}".format(s.requests) }} requests, {{ "{:,}".format(s.retries) }} of them retries,
{{ "{:,}".format(s.rate_limited) }} answers 429.</p>
<h2>Files</h2><ul>{% for f in s.files %}<li><code>{{ f.name }}</code>: {{ f.read_as }}</li>{% endfor %}
{% for f in s.unread %}<li class="bad"><code>{{ f.why }}</code></li>{% endfor %}
{% for n in s.notes %}<li>{{ n }}</li>{% endfor %}</ul>
</main></body></html>
"""

MEANING = {
    "total": "all that the export makes; the sum of the rest",
    "invalid": "could not be mapped, or break a limit: not sent",
    "duplicate": "the same id and content twice in this export: sent once",
    "already_delivered": "accepted in an earlier run: not sent again",
    "changed": "delivered before with other content: not sent",
    "accepted": "the API answered 202",
    "refused": "the API answered 400: see rejected.ndjson",
    "pending": "not sent, or not known to have arrived: the next run's work",
}
COLUMNS = ("accepted", "already_delivered", "changed", "duplicate", "invalid", "refused", "pending")


def render(summary: dict[str, Any], problems: list[dict[str, Any]], outcome: str, todo: str) -> str:
    """The page; all that comes from the export is escaped."""
    from jinja2 import Environment, StrictUndefined

    from backfill.shape import advice

    # Markup is escaped; and what would turn a line around, or hide in it, is written out.
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: printable(value) if isinstance(value, str) else value,
    )
    notices = [{**n, "title": advice(n["code"]).title, "fix": advice(n["code"]).fix} for n in summary["notices"]]
    return environment.from_string(TEMPLATE).render(
        s=summary,
        problems=problems,
        notices=notices,
        outcome=outcome,
        next=todo,
        meaning=MEANING,
        columns=COLUMNS,
    )
