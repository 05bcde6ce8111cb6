"""The page's HTML: the place that its scripts (in the folder `web`) fill, and for browsers without scripts, tables."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import orjson
from jinja2 import Environment

from backfill.sandbox.kept import Stored
from backfill.sandbox.tally import Summary

_MAX_SHOWN = 2000

_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>backfill sandbox</title>
<link rel="icon" href="/_sandbox/web/icon.svg">
<link rel="stylesheet" href="/_sandbox/web/style.css">
<script src="/_sandbox/web/charts.js" defer></script>
<script src="/_sandbox/web/app.js" type="module"></script>
</head>
<body>
<noscript>
<div class="plain">
<h1>Sandbox</h1>
<p>Nothing here has reached a customer. Faults in force: <code>{{ faults or "none" }}</code></p>
{% for title, rows in tables %}
{% if rows %}
<h2>{{ title }}</h2>
<table>
{% for name, count in rows %}<tr><td><bdi>{{ name|visible }}</bdi></td><td class="n">{{ count }}</td></tr>
{% endfor %}
</table>
{% endif %}
{% endfor %}
<h2>Newest events</h2>
<table>
<tr><th>#</th><th>time</th><th>store</th><th>name</th><th>uniqueId</th><th></th></tr>
{% for event in events %}
<tr>
<td>{{ event.seq }}</td>
<td>{{ event.timestamp|visible }}</td>
<td><bdi>{{ event.store|visible }}</bdi></td>
<td><bdi>{{ event.name|visible }}</bdi></td>
<td><bdi>{{ (event.unique_id or "")|visible }}</bdi></td>
<td>{% if event.differs %}duplicate, other content{% elif event.duplicate %}duplicate{% endif %}
<details><summary>event</summary><pre>{{ event|content }}</pre></details></td>
</tr>
{% else %}
<tr><td colspan="6">none yet</td></tr>
{% endfor %}
</table>
</div>
</noscript>
</body>
</html>
"""


def visible(text: str) -> str:
    """The text, cut, with control and direction characters as code points: they could hide the rest."""
    cut = text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"
    return "".join(
        f"\\u{{{ord(char):x}}}" if unicodedata.category(char) in {"Cc", "Cf", "Co", "Cs"} and char != "\n" else char
        for char in cut
    )


def _content(event: Stored) -> str:
    return visible(orjson.dumps(event.event, option=orjson.OPT_INDENT_2).decode("utf-8"))


_ENVIRONMENT = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
_ENVIRONMENT.filters["visible"] = visible
_ENVIRONMENT.filters["content"] = _content
_PAGE = _ENVIRONMENT.from_string(_TEMPLATE)


def render(summary: Summary, events: Sequence[Stored], faults: str) -> str:
    """The page as HTML; `events` are shown in the order given."""

    def sorted_rows(counts: dict[str, int]) -> list[tuple[str, int]]:
        return sorted(counts.items(), key=lambda row: (-row[1], row[0]))[:100]

    tables = [
        (
            "Events",
            [
                ("stored", summary.stored),
                ("duplicates, dropped", summary.duplicates),
                ("duplicates with other content", summary.differing),
                ("distinct uniqueIds", summary.ids),
                ("values in data that count as unset", summary.dropped_values),
                ("refused", summary.refused),
                ("held back with refused ones", summary.held_back),
            ],
        ),
        ("By name", sorted_rows(summary.names)),
        ("Refused because", sorted_rows(summary.reasons)),
        ("Answers", [("requests", summary.requests), *sorted_rows(summary.statuses)]),
        ("Faults played", sorted_rows(summary.faults)),
        ("Most requests within a second, by store", sorted_rows(summary.busiest_second)),
    ]
    return _PAGE.render(tables=tables, events=events, faults=faults)
