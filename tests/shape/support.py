"""What the tests of shaping share: a mapping, a table, and the events that they make, judged as the API would."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from backfill.mapping import Mapping, parse
from backfill.records import FILE, ROW, Chunk, Rejection
from backfill.sandbox.judge import Taken, judge
from backfill.sandbox.judge import parse as parse_body
from backfill.shape import HEAD, ID, KEY, PROBLEMS, TAIL, Notice, Shaper, compile_shaper

NOW = datetime(2025, 1, 1, tzinfo=UTC)
EVENT: dict[str, Any] = {
    "eventName": "Order Placed",
    "uniqueId": "{id}",
    "eventTimestamp": "2024-01-02T03:04:05Z",
    "customer": {"email": "ada@example.com"},
}
BODY: dict[str, Any] = {**EVENT}


@dataclass
class Made:
    """What shaping a table gave: `bodies` parsed, in order, each judged to be one that the API takes."""

    bodies: list[dict[str, Any]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    invalid: list[Rejection] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    filtered: int = 0
    mapped: int = 0

    @property
    def problems(self) -> list[str]:
        return [bad.problem for bad in self.invalid]

    @property
    def ids(self) -> list[str]:
        return [body["uniqueId"] for body in self.bodies]


def mapping(events: list[dict[str, Any]], **source: Any) -> Mapping:
    """A mapping from what its YAML would say; JSON is YAML."""
    draft = parse(json.dumps({"source": {"files": "a.csv", **source}, "events": events}), Path("m.yaml"))
    assert draft.problems == []
    assert draft.mapping is not None
    return draft.mapping


def event(**parts: Any) -> dict[str, Any]:
    """A right event of which some parts are others."""
    return {**EVENT, **parts}


def table(columns: dict[str, Any] | pl.DataFrame, first: int = 1, file: int = 0) -> pl.DataFrame:
    """A frame as `read` gives it; an id is added where there is none."""
    frame = columns if isinstance(columns, pl.DataFrame) else pl.DataFrame(columns)
    if "id" not in frame.columns:
        frame = frame.with_columns(pl.int_range(pl.len()).cast(pl.String).alias("id"))
    place = pl.int_range(first, first + frame.height, dtype=pl.UInt64, eager=True).alias(ROW)
    return frame.with_columns(pl.lit(file, dtype=pl.UInt32).alias(FILE), place)


def compiled(made_of: Mapping, frame: pl.DataFrame) -> Shaper:
    return compile_shaper(made_of, frame.drop(FILE, ROW).schema, NOW)


def run(shaper: Shaper, frames: list[pl.DataFrame | Chunk], folder: Path | None = None) -> Made:
    """All events of some chunks."""
    made = Made()
    chunks = [one if isinstance(one, Chunk) else Chunk(one) for one in frames]
    for chunk in shaper.whole_groups(chunks, folder):
        shaped = shaper.shape(chunk.frame)
        assert shaped.filtered + shaped.mapped == chunk.frame.height
        made.filtered += shaped.filtered
        made.mapped += shaped.mapped
        made.invalid += shaped.invalid
        made.notices += shaped.notices
        events = shaper.finish_id(shaped.events)
        for row in events.iter_rows(named=True):
            text = f'{row[HEAD]},"uniqueId":{json.dumps(row[ID], ensure_ascii=False)}{row[TAIL]}'
            body = parse_body(text.encode())
            verdict = judge(body, len(text.encode()))
            assert isinstance(verdict, Taken), (str(verdict), text[:500])
            made.texts.append(text)
            made.bodies.append(json.loads(text))
            made.rows.append(row[ROW])
            made.keys.append(row.get(KEY, ""))
    assert {bad.problem for bad in made.invalid} <= set(PROBLEMS)
    return made


def make(parts: dict[str, Any], columns: dict[str, Any] | pl.DataFrame, **source: Any) -> Made:
    """The events of one event's parts over a table."""
    frame = table(columns)
    return run(compiled(mapping([event(**parts)], **source), frame), [frame])


def data(value: Any, columns: dict[str, Any] | pl.DataFrame, **source: Any) -> list[Any]:
    """What becomes of one value under `data`, for each row: the value, None where left out, or the problem's code."""
    return _each(
        make({"data": {"x": value}}, columns, **source),
        table(columns).height,
        lambda body: body.get("data", {}).get("x"),
    )


def extra(value: Any, columns: dict[str, Any] | pl.DataFrame, **source: Any) -> list[Any]:
    """The same under `data.$extra`."""
    made = make({"data": {"$extra": {"x": value}}}, columns, **source)
    return _each(made, table(columns).height, lambda body: body.get("data", {}).get("$extra", {}).get("x"))


def field_of(name: str, value: Any, columns: dict[str, Any] | pl.DataFrame, **source: Any) -> list[Any]:
    """The same for a field, with dots for the customer's."""
    parts = name.split(".")
    inner: Any = value
    for part in reversed(parts[1:]):
        inner = {part: inner}
    if parts[0] == "customer":
        inner = {**EVENT["customer"], **inner}
    made = make({parts[0]: inner}, columns, **source)

    def reach(body: dict[str, Any]) -> Any:
        found: Any = body
        for part in parts:
            found = (found or {}).get(part)
        return found

    return _each(made, table(columns).height, reach)


def _each(made: Made, height: int, reach: Any) -> list[Any]:
    found: dict[int, Any] = {row: reach(body) for row, body in zip(made.rows, made.bodies, strict=True)}
    found |= {bad.row: f"!{bad.problem}" for bad in made.invalid}
    return [found.get(row, "!nothing") for row in range(1, height + 1)]
