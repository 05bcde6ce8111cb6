"""group_by: one event of several rows, adjacent or gathered from anywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill.errors import MappingError
from backfill.records import FILE, ROW, Chunk, Rejection
from backfill.shape.columns import Columns
from backfill.shape.gather import gathered
from backfill.shape.group import GROUP, INCOMPLETE, KEY, adjacent
from tests.shape.support import compiled, event, mapping, run, table

ITEMS = {
    "order": ["1", "1", "2", "3", "3", "3"],
    "item": ["a", "b", "c", "d", None, "f"],
    "qty": ["1", "2", "3", "4", None, "6"],
    "note": [None, "x", "y", None, None, None],
}
ORDER = event(uniqueId="o:{order}", data={"x": 1})


def made(parts: dict[str, Any], columns: dict[str, Any] = ITEMS, **source: Any) -> Any:
    frame = table(columns)
    whole = mapping([event(**{"uniqueId": "o:{order}", **parts})], **{"group_by": ["order"], **source})
    return run(compiled(whole, frame), [frame])


def data_of(value: Any, **source: Any) -> list[Any]:
    return [body.get("data", {}).get("x") for body in made({"data": {"x": value}}, **source).bodies]


def test_a_plain_column_is_the_groups_first_value() -> None:
    assert data_of("{item}") == ["a", "c", "d"]
    assert data_of("{note}") == ["x", "y", None]
    assert data_of("{item}/{note}") == ["a/x", "c/y", None]
    assert data_of({"sql": "UPPER(item)"}) == ["A", "C", "D"]


def test_groups_whose_rows_differ_in_a_plain_column_are_told() -> None:
    """With how many they are, and the first row whose value is not taken; a null is no other value."""
    several = made({"data": {"x": "{item}/{note}", "$extra": {"Q": {"sql": "SUM(qty)"}}}})
    told = several.notices[0]
    assert (told.code, told.field, told.row, told.value) == ("group_differs", "item", 2, "b")
    assert sum(one.count for one in several.notices) == 2
    filtered = made({"data": {"x": "{item}"}}, where="item <> 'b'").notices
    assert [(one.code, one.count) for one in filtered] == [("where_unknown", 1), ("group_differs", 1)]
    assert made({"data": {"x": "{note}"}}).notices == []
    gathered_too = made({"data": {"x": "{item}"}}, group_by={"columns": ["order"], "adjacent": False})
    assert sum(one.count for one in gathered_too.notices) == 2


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([None, "a", "b"])), min_size=1, max_size=20))
def test_all_groups_whose_rows_differ_are_counted(rows: list[tuple[int, str | None]]) -> None:
    rows = sorted(rows, key=lambda row: row[0])
    values: dict[int, set[str]] = {}
    for key, value in rows:
        values.setdefault(key, set()).update([value] if value is not None else [])
    columns = {"order": [str(key) for key, _ in rows], "item": pl.Series([value for _, value in rows], dtype=pl.String)}
    count = sum(len(found) > 1 for found in values.values())
    told = made({"data": {"x": "{item}"}}, columns).notices
    assert sum(one.count for one in told) == count


def test_aggregates() -> None:
    assert data_of({"sql": "SUM(qty)"}) == [3, 3, 10]
    assert data_of({"sql": "COUNT(*)", "type": "integer"}) == [2, 1, 3]
    assert data_of({"sql": "COUNT(item)"}) == [2, 1, 2]
    assert data_of({"sql": "MAX(qty) > 2"}) == [False, True, True]
    assert data_of({"sql": "STRING_AGG(item, '+')"}) == ["a+b", "c", "d+f"]
    assert data_of({"sql": "SUM(qty)", "map": {"3": "three"}, "otherwise": "other"}) == ["three", "three", "other"]
    assert [body["value"] for body in made({"value": {"sql": "SUM(qty * 2)"}, "valueCurrency": "USD"}).bodies] == [
        6,
        6,
        20,
    ]


def test_collect() -> None:
    node = {"collect": {"Title": "{item}", "Quantity": {"column": "qty", "type": "integer"}, "In": {"n": "{note}"}}}
    bodies = made({"data": {"$extra": {"Items": node, "Sum": {"sql": "SUM(qty)"}, "Name": "{item}"}}}).bodies
    assert [body["data"]["$extra"] for body in bodies] == [
        {
            "Items": [{"Title": "a", "Quantity": 1}, {"Title": "b", "Quantity": 2, "In": {"n": "x"}}],
            "Sum": 3,
            "Name": "a",
        },
        {"Items": [{"Title": "c", "Quantity": 3, "In": {"n": "y"}}], "Sum": 3, "Name": "c"},
        {"Items": [{"Title": "d", "Quantity": 4}, {"Title": "f", "Quantity": 6}], "Sum": 10, "Name": "d"},
    ]


def test_collect_of_nothing() -> None:
    columns = {"order": ["1", "1"], "a": pl.Series([None, None], dtype=pl.String)}
    assert "data" not in made({"data": {"$extra": {"Items": {"collect": {"A": "{a}"}}}}}, columns).bodies[0]


def test_where_with_aggregates() -> None:
    result = made({"where": "SUM(qty) > 5"})
    assert (result.ids, result.filtered, result.mapped) == (["o:3"], 3, 3)
    result = made({"where": "COUNT(*) > 1"}, where="item <> 'b'")
    assert (result.ids, result.filtered, result.mapped) == (["o:3"], 4, 2)
    result = made({"where": "note = 'x'"})
    assert (result.ids, result.filtered) == (["o:1"], 4)
    result = made({"where": "SUM(qty) > 2 AND FIRST(item) = 'a'"})
    assert result.ids == ["o:1"]


@pytest.mark.parametrize(
    ("where", "said"), [("SUM(qty)", "where true or false is needed"), ("SUM(qty) > 2 AND item = 'a'", "FIRST")]
)
def test_where_that_is_no_condition_of_a_group(where: str, said: str) -> None:
    with pytest.raises(MappingError) as caught:
        made({"where": where})
    assert said in str(caught.value)


def test_a_bad_row_rejects_its_group() -> None:
    columns = {"order": ["1", "1", "2"], "qty": ["1", "x", "3"]}
    for parts in (
        {"data": {"x": {"sql": "SUM(qty)"}}},
        {"data": {"$extra": {"Items": {"collect": {"Q": {"column": "qty", "type": "integer"}}}}}},
        {"where": "SUM(qty) > 0"},
    ):
        result = made(parts, columns)
        assert result.ids == ["o:2"]
        assert [(bad.row, bad.problem, bad.value) for bad in result.invalid] == [(1, "not_a_number", "x")]
    result = made({}, columns, where="qty > 0")
    assert (result.ids, result.problems) == (["o:2"], ["not_a_number"])


def test_sql_that_fails_costs_its_group() -> None:
    columns = {"order": ["1", "1", "2", "3"], "qty": ["1", "x", "3", "4"]}
    result = made({"data": {"x": {"sql": "SUM(CAST(qty AS INTEGER))"}}}, columns)
    assert (result.ids, result.problems) == (["o:2", "o:3"], ["sql_failed"])


def test_a_group_without_a_key_is_rejected() -> None:
    result = made({"uniqueId": "{id}"}, {"order": ["1", None, "", "2"]})
    assert (len(result.ids), result.problems) == (2, ["missing_group"])


def test_a_hash_of_a_group_is_over_its_first_values() -> None:
    result = made({"uniqueId": {"hash": ["order", "note"], "prefix": "h:"}})
    alone = run(
        compiled(mapping([event(uniqueId={"hash": ["order", "note"], "prefix": "h:"})]), frame := table(
            {"order": ["1", "2", "3"], "note": pl.Series(["x", "y", None], dtype=pl.String)})), [frame])  # fmt: skip
    assert result.ids == alone.ids
    assert len(set(made({"uniqueId": {"hash": "*"}}).ids)) == 3


def test_several_keys_and_events() -> None:
    columns = {"a": ["1", "11", "1", "1"], "b": ["12", "2", "2", "2"], "n": [1, 2, 3, 4]}
    frame = table(columns)
    events = [
        event(uniqueId="s:{a}:{b}", data={"n": {"sql": "SUM(n)"}}),
        event(eventName="B", uniqueId="b:{a}:{b}", where="COUNT(*) > 1"),
    ]
    result = run(compiled(mapping(events, group_by=["a", "b"]), frame), [frame])
    assert [body["data"]["n"] for body in result.bodies if "data" in body] == [1, 2, 7]
    assert [i for i in result.ids if i.startswith("b:")] == ["b:1:2"]
    assert result.mapped == 4


ROWS = st.lists(st.sampled_from(["1", "2", "3", "", None]), max_size=25)


def chunks_of(keys: list[str | None], sizes: list[int]) -> list[Chunk]:
    frame = table({"order": pl.Series(keys, dtype=pl.String), "n": pl.Series(range(len(keys)), dtype=pl.Int64)})
    found, at = [], 0
    for size in [*sizes, len(keys)]:
        found.append(Chunk(frame.slice(at, size), [Rejection(0, at, "ragged", "x")] if size == 2 else []))
        at += size
    return found


@settings(max_examples=150)
@given(ROWS, st.lists(st.integers(0, 5), max_size=6))
def test_adjacent_rows_are_never_parted(keys: list[str | None], sizes: list[int]) -> None:
    chunks = chunks_of(keys, sizes)
    columns = Columns(chunks[0].frame.schema)
    found = list(adjacent(chunks, columns, ["order"]))
    whole = pl.concat(chunk.frame for chunk in found) if found else pl.DataFrame()
    if keys:
        assert whole["n"].to_list() == list(range(len(keys)))
    groups = [
        rows["order"].to_list()
        for chunk in found
        if chunk.frame.height
        for rows in chunk.frame.partition_by(GROUP, maintain_order=True)
    ]
    expected: list[list[str | None]] = []
    for key in keys:
        if expected and (expected[-1][-1] or None) == (key or None):
            expected[-1].append(key)
        else:
            expected.append([key])
    assert groups == expected
    assert sum(len(chunk.unreadable) for chunk in found) == sum(len(chunk.unreadable) for chunk in chunks)


@settings(max_examples=100)
@given(ROWS, st.lists(st.integers(0, 5), max_size=6), st.integers(1, 5))
def test_gathered_rows_are_whole_groups(
    tmp_path_factory: pytest.TempPathFactory, keys: list[str | None], sizes: list[int], partitions: int
) -> None:
    folder = tmp_path_factory.mktemp("g")
    chunks = chunks_of(keys, sizes)
    columns = Columns(chunks[0].frame.schema)
    found = list(gathered(chunks, columns, ["order"], folder, partitions))
    assert list(folder.iterdir()) == []
    groups: dict[str | None, list[int]] = {}
    for chunk in found:
        for rows in chunk.frame.partition_by(GROUP, maintain_order=True) if chunk.frame.height else []:
            key = rows[KEY][0]
            assert key not in groups
            assert rows[KEY].unique().len() == 1
            groups[key] = rows["n"].to_list()
    expected: dict[str | None, list[int]] = {}
    for at, key in enumerate(keys):
        expected.setdefault(f"{len(key)}:{key}" if key else None, []).append(at)
    assert groups == expected
    assert sum(len(chunk.unreadable) for chunk in found) == sum(len(chunk.unreadable) for chunk in chunks)


def test_gathered_events(tmp_path: Path) -> None:
    columns = {"order": ["1", "2", "1", "3", "2"], "qty": ["1", "2", "3", "4", "5"]}
    frame = table(columns)
    apart = mapping(
        [event(uniqueId="o:{order}", data={"n": {"sql": "SUM(qty)"}})],
        group_by={"columns": ["order"], "adjacent": False},
    )
    result = run(compiled(apart, frame), [frame.slice(0, 2), frame.slice(2)], tmp_path)
    assert {body["uniqueId"]: body["data"]["n"] for body in result.bodies} == {"o:1": 4, "o:2": 7, "o:3": 4}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("adjacent_rows", [True, False])
@pytest.mark.parametrize("cut", [0, 2, 3])
def test_a_group_that_lost_a_row_is_not_sent(tmp_path: Path, adjacent_rows: bool, cut: int) -> None:
    """Whichever chunk the lost row is told with, and whether its group ends or begins there."""
    frame = table({"order": ["A-1", "A-1", "B-2", "C-3", "C-3"]})
    # Row 4 was read; what could not be is between rows 3 and 4: the last of B-2 or the first of C-3.
    frame = frame.with_columns(pl.Series(ROW, [1, 2, 3, 5, 6], dtype=pl.UInt64))
    whole = mapping([event(uniqueId="o:{order}")], group_by={"columns": ["order"], "adjacent": adjacent_rows})
    for name, others in (("B-2", ["o:A-1", "o:C-3"]), ("C-3", ["o:A-1", "o:B-2"])):
        lost = Rejection(0, 4, "ragged", "3 fields where the header has 2", text=f"{name},x,y")
        chunks = [Chunk(frame.head(cut), [lost] * (cut == 3)), Chunk(frame.slice(cut), [lost] * (cut != 3))]
        result = run(compiled(whole, frame), [*chunks], tmp_path)
        assert sorted(result.ids) == others
        assert result.problems == ["group_incomplete"]


@pytest.mark.parametrize("adjacent_rows", [True, False])
@pytest.mark.parametrize(
    "keys, lost, held",
    [
        # Behind whatever is shown of a row, and written as JSON may write it.
        (["A-1", "B-2"], "x" * 100_000 + ",B-2", ["B-2"]),
        (["A-1", "Bü,😀/2"], r'{"id": "B\u00fc,\ud83d\ude00\/2", "n"', ["Bü,😀/2"]),
        (["A-1", 'B"\\2'], r'{"id": "B\"\\2", "n"', ['B"\\2']),
        ([1.0, 2.5, 7.0], '{"id": 7.0, "n"', ["7"]),
        # Half an escape is no reason to fail.
        (["A-1", "B-2"], r'{"id": "B-2", "x": "\u12', ["B-2"]),
    ],
)
def test_a_lost_row_names_its_group_wherever_its_key_stands(
    tmp_path: Path, adjacent_rows: bool, keys: list[Any], lost: str, held: list[str]
) -> None:
    frame = table({"order": keys})
    whole = mapping([event(uniqueId="o:{order}")], group_by={"columns": ["order"], "adjacent": adjacent_rows})
    chunk = Chunk(frame, [Rejection(0, len(keys) + 1, "ragged", "short", text=lost)])
    result = run(compiled(whole, frame), [chunk], tmp_path)
    texts = [str(key).removesuffix(".0") for key in keys]
    assert sorted(result.ids) == sorted(f"o:{key}" for key in texts if key not in held)


def test_a_key_of_several_columns_is_named_by_one_lost_row(tmp_path: Path) -> None:
    """The parts of a key in two lost rows are of two other groups."""
    frame = table({"a": ["1", "1", "2"], "b": ["x", "y", "y"]})
    whole = mapping([event(uniqueId="o:{a}{b}")], group_by={"columns": ["a", "b"], "adjacent": False})
    lost = [Rejection(0, 9 + i, "ragged", "", text=text) for i, text in enumerate(["1,x,?", "9,y,?", "2,z,?"])]
    result = run(compiled(whole, frame), [Chunk(frame, lost)], tmp_path)
    assert sorted(result.ids) == ["o:1y", "o:2y"]


def test_a_group_that_comes_back_shows_by_its_key() -> None:
    result = made({}, {"order": ["1", "2", "1"]})
    assert result.ids == ["o:1", "o:2", "o:1"]
    assert result.keys[0] == result.keys[2] != result.keys[1]


def test_the_files_go_when_the_reader_stops(tmp_path: Path) -> None:
    chunks = chunks_of(["1", "2", "3", "1"], [2])
    found = gathered(chunks, Columns(chunks[0].frame.schema), ["order"], tmp_path)
    next(found)
    assert list(tmp_path.iterdir())
    found.close()  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []


def test_nested_and_typed_columns_survive_the_disk(tmp_path: Path) -> None:
    frame = table(pl.DataFrame({"order": [1, 2, 1], "v": [{"a": [1]}, None, {"a": []}],
                                "c": pl.Series(["x", "y", "x"], dtype=pl.Categorical)}))  # fmt: skip
    found = pl.concat(c.frame for c in gathered([Chunk(frame)], Columns(frame.schema), ["order"], tmp_path))
    assert found.drop(KEY, GROUP, INCOMPLETE).schema == frame.schema
    assert sorted(found[ROW].to_list()) == [1, 2, 3]
    assert found[FILE].to_list() == [0, 0, 0]


GATHER = """
import hashlib, sys, polars as pl
from pathlib import Path
from backfill.records import FILE, ROW, Chunk
from backfill.shape.columns import Columns
from backfill.shape.gather import gathered
frame = pl.DataFrame({"order": [str(i * 7919 % 5000) for i in range(20_000)]}).with_columns(
    pl.lit(0, dtype=pl.UInt32).alias(FILE), pl.int_range(pl.len(), dtype=pl.UInt64).alias(ROW))
rows = [row for c in gathered([Chunk(frame)], Columns(frame.schema), ["order"], Path(sys.argv[1])) for row in c.frame[ROW].to_list()]
print(len(rows), hashlib.sha256(str(rows).encode()).hexdigest())
"""


def test_the_order_is_the_same_in_each_run(tmp_path: Path) -> None:
    runs = {
        subprocess.run(
            [sys.executable, "-c", GATHER, str(tmp_path)], capture_output=True, text=True, check=True,
            cwd=Path(__file__).parents[2], env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin", "POLARS_MAX_THREADS": seed},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(runs) == 1
    assert runs.pop().startswith("20000 ")
