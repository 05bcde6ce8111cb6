"""Layers compute what is wanted, the JSON is put together as each chunk needs it, and no short cut changes a result."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backfill.shape.joined import Object, Scalar, joined
from backfill.shape.layers import Layers
from tests.shape.support import Made, compiled, event, extra, mapping, run, table


def test_only_what_is_wanted_is_computed() -> None:
    layers = Layers()
    double = layers.let(pl.col("a") * 2)
    fails = layers.let(pl.col("a").map_batches(lambda _: pytest.fail("not wanted"), return_dtype=pl.Int64))
    more = layers.let(double + 1)
    frame = layers.apply(pl.DataFrame({"a": [1, 2]}), more.meta.root_names())
    assert frame.select(more).to_series().to_list() == [3, 5]
    assert fails.meta.output_name() not in frame.columns
    assert layers.let(pl.col("a")).meta.eq(pl.col("a"))


def test_one_way_or_the_other() -> None:
    layers = Layers()
    full = layers.let(pl.col("a").abs())
    either = layers.either((pl.col("a") >= 0).all(), pl.col("a"), full)
    for values in ([1, 2], [1, -2], []):
        frame = layers.apply(pl.DataFrame({"a": values}, schema={"a": pl.Int64}), either.meta.root_names())
        assert frame.select(either).to_series().to_list() == [abs(value) for value in values]
        assert (full.meta.output_name() in frame.columns) == (values == [1, -2])


KEYS = ("a", "b", "c", "d", "e", "f")
FLAT: list[tuple[str, Any]] = [(f'"{key}":', Scalar(key, (pl.col(key),), '"', '"')) for key in KEYS]
TREE: list[tuple[str, Any]] = [
    ('"always":', Scalar("always", (pl.lit("1"),))),
    FLAT[0],
    ('"x":', Object([*FLAT[1:3], ('"y":', Object([FLAT[3], ('"z":', Object([FLAT[4]]))])), FLAT[5]])),
    ('"empty":', Object([])),
]


def plainly(row: dict[str, str | None]) -> dict[str, Any]:
    """The same object, from Python."""
    value: dict[str, Any] = {key: text for key, text in row.items() if text is not None}
    z = {"e": value["e"]} if "e" in value else {}
    y = {key: value[key] for key in "d" if key in value} | ({"z": z} if z else {})
    x = {key: value[key] for key in "bc" if key in value} | ({"y": y} if y else {})
    x |= {"f": value["f"]} if "f" in value else {}
    return {"always": 1} | ({"a": value["a"]} if "a" in value else {}) | ({"x": x} if x else {})


@settings(max_examples=200)
@given(st.lists(st.tuples(*[st.none() | st.just("v")] * len(KEYS)), min_size=1, max_size=5))
@example([(None,) * 6])
@example([("v",) * 6])
def test_the_json_of_members(rows: list[tuple[str | None, ...]]) -> None:
    frame = pl.DataFrame(rows, schema=dict.fromkeys(KEYS, pl.String), orient="row").with_columns(always=pl.lit("1"))
    texts = frame.with_columns(joined(frame, TREE, "}").alias("json"))["json"].to_list()
    for text, row in zip(texts, rows, strict=True):
        assert text == "," + json.dumps(plainly(dict(zip(KEYS, row, strict=True))), separators=(",", ":"))[1:]


def shaped(columns: dict[str, Any]) -> list[Made]:
    """The events of a table as one chunk, and row by row."""
    parts = {
        "eventTimestamp": "{t}",
        "value": "{n}",
        "customer": {"id": "{id}", "email": "{e}", "phoneNumber": {"column": "p", "region": "US"}},
        "data": {"A": "{a}", "M": {"column": "a", "map": {"ab": "x", 'q"': "y"}, "otherwise": "z"}},
    }
    frame = table(columns)
    shaper = compiled(mapping([event(**parts)], timezone="America/New_York"), frame)
    return [run(shaper, [frame]), run(shaper, [frame.slice(at, 1) for at in range(frame.height)])]


TIMES = st.sampled_from(["2024-03-01 09:15:00", "2024-03-01 09:15:60", "2024-03-10 02:30:00", "1969-12-31 18:59:59"])
TIMES |= st.sampled_from(["2024-03-01T09:15:00Z", "2024-03-01 09:15:00.5", "24-03-01 09:15:00", "", " ", "x"])
NUMBERS = st.sampled_from(["1.50", "0", " 2 ", "1e-400", "1e400", "9007199254740993", "x", ""])
EMAILS = st.sampled_from(["a@b.co", " a@b.co ", "a" * 65 + "@b.co", "a@" + "b" * 63 + ".co", "nobody", ""])
PHONES = st.sampled_from(["(212) 555-0101", "+44 20 7946 0958", "1-800-FLOWERS", "123", ""])
TEXTS = st.sampled_from(["ab", "", 'q"', "b\\", "\x01\n", "é", " "])
ROWS = st.fixed_dictionaries({"t": TIMES, "n": NUMBERS, "e": EMAILS, "p": PHONES, "a": TEXTS})


@settings(max_examples=60, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=8))
def test_a_row_is_the_same_whatever_stands_beside_it(rows: list[dict[str, str]]) -> None:
    together, alone = shaped({name: [row[name] for row in rows] for name in rows[0]})
    assert (together.texts, together.invalid) == (alone.texts, alone.invalid)


def test_texts_that_are_often_alike() -> None:
    texts = ['say "hi"', "plain", None, "tab\there", ""] * 200
    assert extra("{a}", {"a": texts}) == texts


def test_two_threads_at_once() -> None:
    rows = {"t": ["2024-03-01 09:15:00", "x"] * 500, "n": ["1", "y"] * 500, "e": ["a@b.co", "z"] * 500}
    frame = table({**rows, "p": ["123"] * 1000, "a": ["ab", 'q"'] * 500})
    parts = {"eventTimestamp": "{t}", "value": "{n}", "customer": {"email": "{e}"}, "data": {"A": "{a}"}}
    shaper = compiled(mapping([event(**parts)], timezone="UTC"), frame)
    frames = [frame.slice(at, 400) for at in range(0, 600, 50)]
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(shaper.shape, frames))
    for one, expected in zip(found, map(shaper.shape, frames), strict=True):
        assert one.events.equals(expected.events)
        assert (one.invalid, one.notices) == (expected.invalid, expected.notices)
