"""Promises over any table: bodies are JSON that the API takes, values survive, ids hang on nothing but the row."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backfill.api import EVENT_BYTES
from backfill.mapping import Mapping, Source
from backfill.read import open_export
from backfill.records import FILE, ROW
from backfill.shape import PROBLEMS, advice, compile_shaper
from backfill.shape.texts import ESCAPED
from tests.shape.support import NOW, compiled, event, make, mapping, run, table

ODD = ["", " ", "\0", '"', "\\", "\n", "\u2028", "\x7f", "é", "😀", "2024-01-02T03:04:05Z", "1e400", "null", "true", ',"x":null', '{"":null', "}", "NaN",
       "0", "-0", "a@b.de", "+14155552671", "USD", "DE", "[1]", '{"a":1}', '","x":null,"', "=1"]  # fmt: skip
TEXTS = st.sampled_from(ODD) | st.text(max_size=8)
CELLS = st.none() | TEXTS
COLUMNS = ("a", "b", "c")
TABLES = st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=12).map(
    lambda rows: pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.String), orient="row")
)


def values(*, nested: bool) -> st.SearchStrategy[Any]:
    """Values of a mapping over the columns, in many of their forms."""
    plain = st.sampled_from(["{a}", "{b}", "{a}-{c}", "x{b}", 5, 1.5, True, "const"])
    kinds = ["string", "number", "integer", "boolean", "datetime", "date", *(["json"] if nested else [])]
    typed = st.builds(lambda column, kind, omit: {"column": column, "type": kind, **({"on_invalid": "omit"} if omit else {})},
                      st.sampled_from(COLUMNS), st.sampled_from(kinds), st.booleans())  # fmt: skip
    mapped = st.just({"column": "a", "map": {"0": "zero", "a": "A"}, "otherwise": "{b}", "default": "none"})
    sql = st.sampled_from([{"sql": "UPPER(a)"}, {"sql": "a > 1"}, {"sql": "LENGTH(b)"}, {"sql": "COALESCE(a, b)"}])
    default = st.just({"column": "c", "default": "{a}"})
    return plain | typed | mapped | sql | default


NAMES = st.sampled_from(["x", 'q"', "b\\", "é", "n\n", "", "$y", "a.b", "null", "Order ID"]).filter(bool)
DATA = st.dictionaries(NAMES, values(nested=False), max_size=5)
EXTRA = st.dictionaries(NAMES, values(nested=True) | st.lists(values(nested=True), max_size=3), max_size=4)
PARTS = st.fixed_dictionaries(
    {"data": st.builds(lambda data, extra: {**data, **({"$extra": extra} if extra else {})}, DATA, EXTRA)},
    optional={
        "eventName": st.just("{a}"),
        "value": st.just("{b}"),
        "valueCurrency": st.just("{c}"),
        "eventTimestamp": st.just({"column": "a", "default": "2024-01-02"}),
        "uniqueId": st.sampled_from(["{a}", "o:{a}/{b}", {"hash": ["a", "b"], "prefix": "h:"}, {"hash": "*"}]),
        "customer": st.fixed_dictionaries(
            {"email": st.just("{a}")},
            optional={
                "phoneNumber": st.just({"column": "b", "region": "US"}),
                "id": st.just("{c}"),
                "firstName": st.just("{c}"),
                "location": st.just({"city": "{a}", "countryCode": "{b}", "latitude": "{c}"}),
                "customFields": DATA,
            },
        ),
    },
)  # fmt: skip


@settings(max_examples=100)
@given(PARTS, TABLES)
def test_each_row_is_an_event_that_the_api_takes_or_has_a_problem(parts: dict[str, Any], columns: pl.DataFrame) -> None:
    made = make(parts, columns, timezone="UTC")  # `run` has each body judged
    assert sorted(made.rows + [bad.row for bad in made.invalid]) == list(range(1, columns.height + 1))
    assert all(bad.detail for bad in made.invalid)


@settings(max_examples=50)
@given(TABLES)
def test_texts_survive(columns: pl.DataFrame) -> None:
    parts = {"data": {"a": "{a}", 'k"': "{b}", "$extra": {"a": "{a}", "in": {"c": "{c}"}}}}
    for body, (a, b, c) in zip(make(parts, columns).bodies, columns.rows(), strict=True):
        expected: dict[str, Any] = {key: value for key, value in (("a", a), ('k"', b)) if value is not None}
        inner = ({"a": a} if a is not None else {}) | ({"in": {"c": c}} if c is not None else {})
        assert body.get("data", {}) == expected | ({"$extra": inner} if inner else {})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50)
@given(st.lists(JSON, min_size=1, max_size=4))
def test_json_survives(documents: list[Any]) -> None:
    node = {"x": {"column": "a", "type": "json"}}
    made = make({"data": {"$extra": node}}, {"a": [json.dumps(document) for document in documents]})
    found = {
        row: body.get("data", {}).get("$extra", {}).get("x") for row, body in zip(made.rows, made.bodies, strict=True)
    }
    for row, document in enumerate(documents, 1):
        if row in found:
            assert found[row] == document
    assert {bad.problem for bad in made.invalid} <= {"integer_too_large"}


def test_no_character_breaks_a_body() -> None:
    letters = [chr(code) for code in [*range(0x800), 0x2028, 0x2029, 0xFEFF, 0xFFFD, 0xFFFF, 0x1F600, 0x10FFFF]]
    made = make({"data": {"x": "{a}", "$extra": {"y": "{a}"}}}, {"a": letters})
    assert [body["data"]["x"] for body in made.bodies] == letters
    assert [body["data"]["$extra"]["y"] for body in made.bodies] == letters


def test_exactly_what_polars_escapes_is_escaped() -> None:
    """Else a body would hang on whether another text of its chunk needs an escape."""
    letters = [chr(code) for code in range(0x11_0000) if not 0xD800 <= code < 0xE000]
    frame = pl.DataFrame({"x": letters}).with_columns(json=pl.struct("x").struct.json_encode())
    changed = frame.filter(pl.col("json") != pl.concat_str([pl.lit('{"x":"'), "x", pl.lit('"}')]))
    assert changed["x"].to_list() == sorted(ESCAPED)


def test_keys_stand_in_an_order_of_their_own() -> None:
    one = make({"data": {"b": "{a}", "a": 1, "$extra": {"d": 1, "c": "{a}"}}}, {"a": ["x"]})
    two = make({"data": {"$extra": {"c": "{a}", "d": 1}, "a": 1, "b": "{a}"}}, {"a": ["x"]})
    assert one.texts == two.texts


@pytest.mark.parametrize("unique_id", ["{id}", {"hash": "*"}, {"hash": ["id"], "prefix": 'é"\n:'}])
@pytest.mark.parametrize("key", ["1", 'é"\n'])
def test_an_event_may_have_as_many_bytes_as_the_api_takes(unique_id: Any, key: str) -> None:
    parts = {"uniqueId": unique_id, "data": {**{f"k{i}": "{b}" for i in range(55)}, "last": "{a}"}}
    columns = {"id": [key, key], "b": ["x" * 90_000] * 2}
    short = make(parts, {**columns, "a": ["x", "x"]})
    room = EVENT_BYTES - len(short.texts[0].encode())
    made = make(parts, {**columns, "a": ["x" * (1 + room), "x" * (2 + room)]})
    assert (made.rows, made.problems) == ([1], ["event_too_large"])
    assert len(made.texts[0].encode()) == EVENT_BYTES


# Ids and bodies hang on nothing but the row

PARTS_OF_ALL = {
    "uniqueId": {"hash": "*", "prefix": "h:"},
    "data": {"x": "{a}", "n": {"column": "b", "type": "number", "on_invalid": "omit"}, "$extra": {"c": "{c}"}},
}


@settings(max_examples=30)
@given(TABLES, st.randoms(use_true_random=False), st.integers(1, 4))
def test_neither_order_nor_chunks_nor_neighbours_change_an_event(columns: pl.DataFrame, random: Any, size: int) -> None:
    frame = table(columns.with_columns(id=pl.lit("x")))
    shaper = compiled(mapping([event(**PARTS_OF_ALL)]), frame)
    expected = dict(zip((made := run(shaper, [frame])).rows, made.texts, strict=True))
    order = list(range(frame.height))
    random.shuffle(order)
    shuffled = frame[order].with_columns(pl.lit(3, dtype=pl.UInt32).alias(FILE))
    parts = [shuffled.slice(at, size) for at in range(0, frame.height, size)]
    made = run(shaper, parts)
    assert dict(zip(made.rows, made.texts, strict=True)) == expected


def texts_of(base: Path, entry: str, whole: Mapping) -> dict[str, str]:
    """The bodies of an export by id."""
    export = open_export(Source(files=[entry], format=None), base)
    shaper = compile_shaper(whole, export.schema, NOW)
    made = run(shaper, [chunk.frame for chunk in export.chunks()])
    assert made.invalid == []
    return dict(zip(made.ids, made.texts, strict=True))


@settings(max_examples=15)
@given(
    st.lists(
        st.tuples(*[st.none() | st.text(alphabet="ab1é,\"'\n ", min_size=1, max_size=5)] * 3), min_size=1, max_size=8
    )
)
@example([("a", None, None), (None, "a", None), ("1", "1.0", "01")])
def test_neither_format_nor_files_nor_path_change_an_id(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("i")
    numbered = [(str(at), *row) for at, row in enumerate(rows)]
    frame = pl.DataFrame(numbered, schema=dict.fromkeys(("k", *COLUMNS), pl.String), orient="row")
    (folder / "one").mkdir()
    (folder / "two" / "deep").mkdir(parents=True)
    frame.write_csv(folder / "one" / "a.csv")
    frame.write_parquet(folder / "one" / "a.parquet")
    middle = len(rows) // 2
    frame.select("c", "k", "b", "a").head(middle).write_csv(
        folder / "two" / "z.csv", separator=";", quote_style="always"
    )
    frame.slice(middle).write_parquet(folder / "two" / "deep" / "a.parquet")
    whole = mapping([event(**PARTS_OF_ALL)])
    expected = texts_of(folder / "one", "a.csv", whole)
    assert len(expected) == len(rows)
    assert texts_of(folder / "one", "a.parquet", whole) == expected
    assert texts_of(folder, "two", whole) == expected


def test_a_new_column_without_values_changes_no_id() -> None:
    before = make({"uniqueId": {"hash": "*"}}, {"a": ["x", "y"], "id": ["1", "2"]})
    after = make({"uniqueId": {"hash": "*"}}, {"a": ["x", "y"], "id": ["1", "2"], "b": [None, ""]})
    assert before.ids == after.ids


def test_twins() -> None:
    frame = table({"a": ["x", "x", "y"], "id": ["1", "1", "1"]})
    shaper = compiled(mapping([event(uniqueId={"hash": "*", "prefix": "h:", "occurrence": True})]), frame)
    events = shaper.shape(frame).events
    once = shaper.finish_id(events)[":id"].to_list()
    told = shaper.finish_id(events, pl.Series([0, 1, 0]))[":id"].to_list()
    assert once[0] == once[1] == told[0]
    assert len({*told}) == 3
    assert all(len(found) == 34 for found in told)


# Problems

READ = {"ragged", "undecodable", "quote", "not_json", "still_unreadable", "store_missing"}
OVER_ALL = {
    "id_conflict",
    "group_apart",
    "group_incomplete",
    "unset",
    "where_unknown",
    "value_without_currency",
    "similar_names",
    "many_names",
    "twins_differ",
    "group_differs",
}
RAISED: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "not_a_number": ({"value": "{a}"}, {"a": ["5", "x"]}, {}),
    "not_an_integer": ({"data": {"x": {"column": "a", "type": "integer"}}}, {"a": ["5", "5.5"]}, {}),
    "integer_too_large": ({"data": {"x": "{a}"}}, {"a": [1, 2**53 + 1]}, {}),
    "number_out_of_range": ({"customer": {"id": "x", "location": {"latitude": "{a}"}}}, {"a": ["5", "91"]}, {}),
    "not_a_boolean": ({"data": {"x": {"column": "a", "type": "boolean"}}}, {"a": ["yes", "x"]}, {}),
    "not_a_time": ({"eventTimestamp": "{a}"}, {"a": ["2024-01-01T00:00:00Z", "x"]}, {}),
    "time_without_zone": ({"eventTimestamp": "{a}"}, {"a": ["2024-01-01T00:00:00Z", "2024-01-01"]}, {}),
    "ambiguous_time": ({"eventTimestamp": "{a}"}, {"a": ["2024-01-01", "2024-03-31 02:30"]}, {"timezone": "Europe/Berlin"}),
    "time_in_future": ({"eventTimestamp": "{a}"}, {"a": ["2024-01-01", "2026-01-01"]}, {"timezone": "UTC"}),
    "time_out_of_range": ({"eventTimestamp": "{a}"}, {"a": ["2024-01-01", "0000-01-01"]}, {"timezone": "UTC"}),
    "not_json_value": ({"data": {"$extra": {"x": {"column": "a", "type": "json"}}}}, {"a": ["{}", "{"]}, {}),
    "not_in_map": ({"data": {"x": {"column": "a", "map": {"b": "B"}}}}, {"a": ["b", "x"]}, {}),
    "missing": ({"data": {"x": {"column": "a", "required": True}}}, {"a": ["b", None]}, {}),
    "missing_time": ({"eventTimestamp": "{a}"}, {"a": ["2024-01-01T00:00:00Z", None]}, {}),
    "missing_id": ({"uniqueId": "{a}"}, {"a": ["b", None]}, {}),
    "missing_name": ({"eventName": "{a}"}, {"a": ["b", None]}, {}),
    "missing_group": ({}, {"a": ["b", None]}, {"group_by": ["a"]}),
    "sql_failed": ({"data": {"x": {"sql": "CAST(a AS INTEGER)"}}}, {"a": ["1", "x"]}, {}),
    "undecodable": ({"data": {"x": "{a}"}}, {"a": [b"a", b"\xff"]}, {}),
    "invalid_email": ({"customer": {"id": "x", "email": {"column": "a", "on_invalid": "reject"}}}, {"a": ["a@b.de", "x"]}, {}),
    "invalid_phone": ({"customer": {"id": "x", "phoneNumber": {"column": "a", "on_invalid": "reject"}}}, {"a": ["+14155552671", "x"]}, {}),
    "invalid_currency": ({"valueCurrency": "{a}"}, {"a": ["USD", "x"]}, {}),
    "invalid_country": ({"customer": {"id": "x", "location": {"countryCode": "{a}"}}}, {"a": ["DE", "x"]}, {}),
    "invalid_time_zone": ({"customer": {"id": "x", "location": {"ianaTimeZoneName": "{a}"}}}, {"a": ["UTC", "x"]}, {}),
    "no_identifier": ({"customer": {"email": "{a}"}}, {"a": ["a@b.de", "x"]}, {}),
    "id_too_long": ({"uniqueId": "{a}"}, {"a": ["x", "x" * 256]}, {}),
    "text_too_long": ({"data": {"x": "{a}"}}, {"a": ["x", "x" * 100_001]}, {}),
    "event_too_large": ({"data": {f"k{i}": "{a}" for i in range(60)}}, {"a": ["x", "x" * 90_000]}, {}),
    "too_many_properties": ({"data": {**{f"k{i}": "{a}" for i in range(400)}, "$extra": {"x": "{b}"}}}, {"a": ["x", "x"], "b": [None, "x"]}, {}),
}  # fmt: skip


@pytest.mark.parametrize("code", sorted(set(PROBLEMS) - (READ - {"undecodable"}) - OVER_ALL))
def test_each_problem_rejects_its_row_and_no_other(code: str) -> None:
    parts, columns, source = RAISED[code]
    made = make(parts, columns, **source)
    assert (made.rows, [(bad.row, bad.problem) for bad in made.invalid]) == ([1], [(2, code)])
    assert advice(code).title in made.invalid[0].detail or code == "sql_failed"


def test_each_problem_has_its_words() -> None:
    assert all(words.title and words.fix for words in PROBLEMS.values())
    assert advice("unheard_of").title == "unheard_of"


def test_a_csv_of_everything_odd(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": ODD, "k": [str(i) for i in range(len(ODD))]})
    text = io.StringIO()
    frame.write_csv(text, quote_style="always")
    (tmp_path / "a.csv").write_bytes(text.getvalue().encode())
    bodies = texts_of(tmp_path, "a.csv", mapping([event(uniqueId="{k}", data={"x": "{a}"})]))
    assert [json.loads(body).get("data", {}).get("x") for body in bodies.values()] == [cell or None for cell in ODD]
    assert ROW not in json.loads(next(iter(bodies.values())))
