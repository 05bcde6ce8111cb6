"""Parquet, Arrow, NDJSON and Excel: types kept, rows numbered, broken ones refused by name."""

from __future__ import annotations

import json
import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import ipc

from backfill.canonical import as_text
from backfill.errors import ExportError
from backfill.read.widen import merge
from tests.read.support import content, opened, read_text

FRAME = pl.DataFrame(
    {
        "id": [1, 2**60, None],
        "total": [1.5, float("nan"), None],
        "price": [Decimal("1.10"), Decimal("-2.25"), None],
        "at": [datetime(2024, 1, 2, 3, 4, 5, 678901, UTC), datetime(2024, 1, 2, tzinfo=UTC), None],
        "local": [datetime(2024, 1, 2, 3, 4), datetime(1, 1, 1), None],
        "day": [date(2024, 1, 2), date(9999, 12, 31), None],
        "ok": [True, False, None],
        "name": ["é", "", None],
        "tags": [["a", None], [], None],
        "at_place": [{"city": "Köln", "zip": 1}, {"city": None, "zip": 2}, None],
    }
)


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    FRAME.write_parquet(tmp_path / "a.parquet")
    found = content(opened(tmp_path, "a.parquet"))
    assert found.export.schema == dict(FRAME.schema)
    assert str(found.rows) == str(FRAME.rows())
    assert found.lines == [1, 2, 3]


@pytest.mark.parametrize("form", ["file", "stream", "feather"])
def test_arrow_keeps_its_types(tmp_path: Path, form: str) -> None:
    table = FRAME.to_arrow()
    if form == "feather":
        FRAME.write_ipc(tmp_path / "a.arrow", compression="zstd")
    else:
        with (ipc.new_file if form == "file" else ipc.new_stream)(tmp_path / "a.arrow", table.schema) as out:
            for batch in table.to_batches(max_chunksize=2):
                out.write_batch(batch)
    found = content(opened(tmp_path, "a.arrow"))
    assert found.export.schema == dict(FRAME.schema)
    assert str(found.rows) == str(FRAME.rows())
    assert found.lines == [1, 2, 3]


def test_many_row_groups(tmp_path: Path) -> None:
    pl.DataFrame({"id": range(100_000)}).write_parquet(tmp_path / "a.parquet", row_group_size=1_000)
    export = opened(tmp_path, "a.parquet")
    found = content(export)
    assert found.rows == [(i,) for i in range(100_000)]
    assert found.lines == list(range(1, 100_001))


def test_dictionaries_and_offsets_become_plain(tmp_path: Path) -> None:
    table = pa.table(
        {
            "tier": pa.array(["a", None, "b"]).dictionary_encode(),
            "at": pa.array([0, None, 1], pa.timestamp("ms", "-02:15")),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1)
    found = content(opened(tmp_path, "a.parquet"))
    assert found.export.schema == {"tier": pl.String(), "at": pl.Datetime("ms", "UTC")}
    assert [row[0] for row in found.rows] == ["a", None, "b"]
    assert found.rows[0][1] == datetime(1970, 1, 1, tzinfo=UTC)


def test_maps_and_dictionaries_become_plain_wherever_they_stand(tmp_path: Path) -> None:
    pairs = pa.map_(pa.string(), pa.dictionary(pa.int8(), pa.string()))
    table = pa.table({
        "m": pa.array([[("a", "x"), ("b", None)], None, []], pairs),
        "s": pa.array([{"m": [("a", "x")]}, None, {"m": None}], pa.struct([("m", pa.map_(pa.string(), pa.string()))])),
        "l": pa.array([[[("a", 1)]], [], None], pa.list_(pa.map_(pa.string(), pa.int64()))),
        "d": pa.array([Decimal("1.50"), None, Decimal("-2.00")], pa.decimal256(20, 2)),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "a.parquet")
    with ipc.new_file(tmp_path / "b.arrow", table.schema) as out:
        out.write_table(table)
    for name in ("a.parquet", "b.arrow"):
        found = content(opened(tmp_path, name))
        assert found.rows == [
            ([{"key": "a", "value": "x"}, {"key": "b", "value": None}], {"m": [{"key": "a", "value": "x"}]},
             [[{"key": "a", "value": 1}]], Decimal("1.50")),
            (None, None, [], None),
            ([], {"m": None}, None, Decimal("-2.00")),
        ]  # fmt: skip


def test_a_decimal_that_is_too_long_refuses_the_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    kind = pa.list_(pa.decimal256(50, 2))
    pq.write_table(pa.table({"a": [1], "d": pa.array([[Decimal("1.50")]], kind)}), tmp_path / "a.parquet")
    with pytest.raises(ExportError, match=r'a\.parquet: "d" can\'t be read: a decimal of 50 digits'):
        opened(tmp_path)
    assert capfd.readouterr().err == ""


def test_texts_that_are_no_utf8_refuse_the_file(tmp_path: Path) -> None:
    bad = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(bytes([0, 0, 0, 0, 2, 0, 0, 0])), pa.py_buffer(b"\xff\xfe")])  # fmt: skip
    pq.write_table(pa.table({"a": bad}), tmp_path / "a.parquet")
    with pytest.raises(ExportError, match=r"a\.parquet: .*UTF"):
        content(opened(tmp_path, "a.parquet"))


@pytest.mark.parametrize("at", range(0, 3000, 150))
def test_a_damaged_parquet_gives_all_rows_or_an_error(tmp_path: Path, at: int) -> None:
    file = tmp_path / "a.parquet"
    pl.DataFrame({"id": range(500), "name": [f"n{i}" for i in range(500)]}).write_parquet(file)
    data = bytearray(file.read_bytes())
    at %= len(data)
    data[at : at + 4] = b"\xff\x00\xff\x7f"
    file.write_bytes(data)
    try:
        rows = len(content(opened(tmp_path, "a.parquet")).rows)
    except ExportError as caught:
        error: ExportError | None = caught
    else:
        error = None
        assert rows == 500
    assert error is None or error.message.startswith("a.parquet: ")


def test_a_cut_parquet(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    FRAME.write_parquet(file)
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(ExportError, match=r"^a\.parquet: is not a file in parquet format") as caught:
        opened(tmp_path, "a.parquet")
    assert caught.value.exit_status == 65


# NDJSON


def test_ndjson(tmp_path: Path) -> None:
    text = '\ufeff{"id": 1, "at": {"city": "Köln"}}\n\n{"id": 2.5, "at": null, "x": [1, "a"]}\r\n{}\n{"id": null}'
    found = read_text(tmp_path, text, "a.ndjson")
    assert found.columns == ["id", "at", "x"]
    assert found.rows == [(1.0, {"city": "Köln"}, None), (2.5, None, ["1", "a"]), (None, None, None), (None,) * 3]
    assert found.lines == [1, 3, 4, 5]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "Expecting property name"), ("[1]", "it is a list"), ("5", "it is a int"), ('{"id": NaN}', "NaN"),
        ('{"id": 1} {"id": 2}', "Extra data"), ('{"id": "\\ud800"}', "half of a surrogate"), ('{"id": 1', "delimiter"),
        ('{"id": "x\ty"}', "control character"), ("\x00", "Expecting value"),
    ],
)  # fmt: skip
def test_a_line_that_is_no_object_costs_that_line(tmp_path: Path, line: str, reason: str) -> None:
    found = read_text(tmp_path, '{"id": "a"}\n' + line + '\n\n{"id": "\\ud83d\\ude00"}\n', "a.ndjson")
    assert found.rows == [("a",), ("😀",)]
    assert found.lines == [1, 4]
    assert found.problems == [(2, "not_json")]
    assert reason in found.bad[0].detail


def test_undecodable_bytes_cost_their_line(tmp_path: Path) -> None:
    found = read_text(tmp_path, b'{"id": "a"}\n{"id": "\xff"}\n{"id": "b"}\n', "a.ndjson")
    assert found.rows == [("a",), ("b",)]
    assert found.problems == [(2, "not_json")]


def test_integers_among_fractions_are_exact_or_refused(tmp_path: Path) -> None:
    found = read_text(tmp_path, '{"n": 1.5}\n{"n": 9007199254740993}\n{"n": 9007199254740992}\n', "a.ndjson")
    assert found.rows == [(1.5,), (9007199254740992.0,)]
    assert found.problems == [(2, "not_json")]
    assert "beyond 2^53" in found.bad[0].detail


def test_nested_integers_among_fractions_are_exact_or_refused(tmp_path: Path) -> None:
    lines = ['{"n": {"a": [{"id": 1.5}]}}', f'{{"n": {{"a": [{{"id": 2}}, {{"id": {2**53 + 1}}}]}}}}', '{"n": {"a": null}}',
             f'{{"n": {{"a": [{{"id": {2**54}}}]}}}}', '{"n": {"a": [{"id": 1e300}]}}']  # fmt: skip
    found = read_text(tmp_path, "\n".join(lines), "a.ndjson")
    assert found.lines == [1, 3, 4, 5]
    assert found.problems == [(2, "not_json")]
    assert found.bad[0].detail.startswith('"n.a.id" is an integer beyond 2^53')


def test_what_can_not_be_read_keeps_its_text(tmp_path: Path) -> None:
    """The group that it is of may stand behind all that is shown of it."""
    filler = "x" * 100_000
    assert read_text(tmp_path, f"a,b\n{filler},1,A-17\n").bad[0].text == f"{filler},1,A-17"
    assert read_text(tmp_path, f'{{"a": "{filler}", "b": A-17', "a.ndjson").bad[0].text.endswith("A-17")


def test_large_integers_are_exact(tmp_path: Path) -> None:
    found = read_text(tmp_path, '{"n": 12345678901234567890}\n{"n": -1}\n', "a.ndjson")
    assert found.rows == [(12345678901234567890,), (-1,)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=80)
@given(st.lists(st.dictionaries(st.sampled_from("abc"), JSON, max_size=3), min_size=1, max_size=6))
def test_each_line_is_a_row_or_is_refused(tmp_path_factory: pytest.TempPathFactory, lines: list[object]) -> None:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    found = read_text(tmp_path_factory.mktemp("j"), text, "a.ndjson")
    assert sorted(found.lines + [bad.row for bad in found.bad]) == list(range(1, len(lines) + 1))


def test_one_array_is_no_ndjson(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="one JSON array") as caught:
        read_text(tmp_path, ' [\n{"id": 1}]', "a.json")
    assert "jq" in caught.value.hint


def test_utf16_is_no_ndjson(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="UTF-16"):
        read_text(tmp_path, '{"id": 1}\n'.encode("utf-16"), "a.ndjson")


def test_many_bad_lines_are_told_quickly(tmp_path: Path) -> None:
    lines = [f'{{"id": {i}}}' if i % 3 else "{oops" for i in range(60_000)]
    found = read_text(tmp_path, "\n".join(lines), "a.ndjson")
    assert (len(found.rows), len(found.bad)) == (40_000, 20_000)


# Excel


def sheet(path: Path, rows: list[list[str | float | None]]) -> None:
    """An .xlsx with inline texts, by hand: nothing here writes one."""

    def cell(value: str | float | None, at: str) -> str:
        if value is None:
            return ""
        if isinstance(value, str):
            return f'<c r="{at}" t="inlineStr"><is><t xml:space="preserve">{value}</t></is></c>'
        return f'<c r="{at}"><v>{value}</v></c>'

    body = "".join(
        f'<row r="{y}">' + "".join(cell(value, f"{'ABCDEFG'[x]}{y}") for x, value in enumerate(row)) + "</row>"
        for y, row in enumerate(rows, 1)
    )
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    rels = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    types = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{types}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{types}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{rels}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{rels}"><sheets>'
        '<sheet name="S" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{rels}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{body}</sheetData></worksheet>',
    }
    with zipfile.ZipFile(path, "w") as out:
        for name, text in parts.items():
            out.writestr(name, '<?xml version="1.0" encoding="UTF-8"?>' + text)


def test_excel(tmp_path: Path) -> None:
    pytest.importorskip("fastexcel")
    sheet(tmp_path / "a.xlsx", [["id", "name", "total"], ["007", "Köln", 1.5], ["8", None, 2.0]])
    found = content(opened(tmp_path, "a.xlsx"))
    assert found.columns == ["id", "name", "total"]
    assert found.rows == [("007", "Köln", 1.5), ("8", None, 2.0)]
    assert found.lines == [2, 3]


def test_a_text_far_down_among_numbers_is_not_lost(tmp_path: Path) -> None:
    pytest.importorskip("fastexcel")
    rows: list[list[str | float | None]] = [[float(i)] for i in range(3_000)]
    sheet(tmp_path / "a.xlsx", [["n"], *rows, ["A-17"]])
    found = content(opened(tmp_path, "a.xlsx"))
    assert found.rows[-1] == ("A-17",)
    assert found.rows[2_500][0] in ("2500", "2500.0")


# Columns of two types


@pytest.mark.parametrize(
    ("left", "right", "both"),
    [
        (pl.Int32(), pl.Int8(), pl.Int64()), (pl.Int64(), pl.UInt64(), pl.Int128()), (pl.Int64(), pl.Float32(), pl.Float64()),
        (pl.String(), pl.Int64(), pl.String()), (pl.Null(), pl.Date(), pl.Date()), (pl.Date(), pl.Null(), pl.Date()),
        (pl.Date(), pl.Datetime("ms"), pl.String()), (pl.Datetime("ms"), pl.Datetime("ns"), pl.Datetime("ns")),
        (pl.Datetime("us", "UTC"), pl.Datetime("us"), pl.String()), (pl.Date(), pl.Datetime("us", "UTC"), pl.String()),
        (pl.Decimal(10, 2), pl.Decimal(8, 4), pl.Decimal(38, 4)), (pl.Boolean(), pl.Int8(), pl.String()),
        (pl.Decimal(10, 2), pl.Float64(), pl.String()), (pl.Int64(), pl.Decimal(10, 2), pl.Decimal(38, 2)),
        (pl.Int64(), pl.Decimal(30, 19), pl.String()),
        (pl.List(pl.Int8()), pl.List(pl.String()), pl.List(pl.String())),
        (pl.Struct({"a": pl.Int8()}), pl.Struct({"b": pl.String()}), pl.Struct({"a": pl.Int8(), "b": pl.String()})),
    ],
)  # fmt: skip
def test_one_type_for_two(left: pl.DataType, right: pl.DataType, both: pl.DataType) -> None:
    assert merge({"x": left}, {"x": right}) == {"x": both}


def test_files_with_other_types(tmp_path: Path) -> None:
    pl.DataFrame({"id": [1], "v": [{"a": 1}], "t": [date(2024, 1, 2)]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"id": [1.5], "v": ["x"], "t": [datetime(2024, 1, 2, 3)]}).write_parquet(tmp_path / "b.parquet")
    found = content(opened(tmp_path))
    assert found.rows == [(1.0, '{"a":1}', "2024-01-02"), (1.5, "x", "2024-01-02T03:00:00")]


ALONE = {
    "float64": pl.Series([1.0, 0.1, 1e-7, 1e22]),
    "float32": pl.Series([1.0, 0.1, 16777216.0], dtype=pl.Float32),
    "decimal": pl.Series([Decimal("12345678901234567.80"), Decimal("1.00")]),
    "date": pl.Series([date(2024, 1, 2)]),
    "datetime": pl.Series([datetime(2024, 1, 2, 3, 4, 5, 600_000), datetime(9999, 1, 1)]),
    "zoned": pl.Series([datetime(2024, 1, 2, tzinfo=UTC)]),
    "int64": pl.Series([1, -5, 2**53]),
    "boolean": pl.Series([True]),
    "nested": pl.Series([{"a": [0.5]}], dtype=pl.Struct({"a": pl.List(pl.Float32)})),
}
BESIDE = {
    "string": pl.Series(["x"]),
    "float64": pl.Series([1.5]),
    "decimal": pl.Series([Decimal("1.5")]),
    "int64": pl.Series([1]),
    "datetime": pl.Series([datetime(2024, 1, 2, 3)]),
    "nested": pl.Series([{"a": [0.1], "b": None}], dtype=pl.Struct({"a": pl.List(pl.Float64), "b": pl.Null})),
}


@pytest.mark.parametrize("other", BESIDE)
@pytest.mark.parametrize("kind", ALONE)
def test_a_file_gives_the_same_texts_alone_and_beside_another(tmp_path: Path, kind: str, other: str) -> None:
    """Ids are made of these texts: other ones would send all events again."""
    ALONE[kind].to_frame("v").write_parquet(tmp_path / "a.parquet")
    BESIDE[other].to_frame("v").write_parquet(tmp_path / "b.parquet")
    rows = ALONE[kind].len()

    def texts(*names: str) -> list[str | None]:
        frame = pl.concat([chunk.frame for chunk in opened(tmp_path, *names).chunks()]).head(rows)
        return frame.select(as_text(pl.col("v"), frame.schema["v"])).to_series().to_list()

    alone = [text and text.replace("}", ',"b":null}') for text in texts("a.parquet")] if other == "nested" else []
    beside = texts("a.parquet", "b.parquet")
    assert beside == texts("a.parquet") or (kind == "nested" and beside == alone)


def test_names_that_are_patterns_to_polars(tmp_path: Path) -> None:
    pl.DataFrame({"^a$": [1.0], "*": [2]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"^a$": ["x"], "*": [0.5]}).write_parquet(tmp_path / "b.parquet")
    assert content(opened(tmp_path)).rows == [("1", 2.0), ("x", 0.5)]
    assert read_text(tmp_path, '{"*": 1.5}\n{"^a$": 1e300}', "a.ndjson").rows == [(1.5, None), (None, 1e300)]


def test_a_nested_integer_that_another_files_type_would_change(tmp_path: Path) -> None:
    pl.DataFrame({"v": [[2**53 + 1]]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"v": [[1.5]]}).write_parquet(tmp_path / "b.parquet")
    found = content(opened(tmp_path))
    assert found.rows == [([1.5],)]
    assert [("a.parquet" in why, "beyond 2^53" in why) for why in found.unread] == [(True, True)]


def test_an_integer_that_another_files_type_would_change(tmp_path: Path) -> None:
    pl.DataFrame({"id": [2**53 + 1]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"id": [1.5]}).write_parquet(tmp_path / "b.parquet")
    found = content(opened(tmp_path))
    assert found.rows == [(1.5,)]
    (why,) = found.unread
    assert why.startswith('a.parquet: "id" is Int64 here')
    assert "beyond 2^53" in why
