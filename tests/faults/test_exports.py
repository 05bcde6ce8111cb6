"""Exports that are cut, mixed up, hostile or huge, through the real command: each row arrives, or is rejected with its
place, or its file is refused by name; and memory stays flat.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from backfill.read import records
from backfill.sandbox import SandboxThread
from tests.conftest import Require
from tests.end_to_end.support import COMMAND, SECONDS, STORE, Done, Shop, csv_text

HEAD = ["order_id", "at", "email", "total", "note"]
# The command itself, with an export of one row, takes some 120 MB.
PEAK_BYTES = 550_000_000
MEASURED = """
from backfill.cli import main
try:
    main()
finally:
    import pathlib, sys
    print("PEAK", pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0], file=sys.stderr)
"""


def order(number: int | str, note: str = "x") -> list[str]:
    return [str(number), "2024-01-01T00:00:00Z", f"c{number}@example.com", "1.50", note]


def orders(*numbers: int) -> str:
    return csv_text([HEAD, *map(order, numbers)])


def plain(shop: Shop, files: object, **source: Any) -> None:
    shop.mapping(files=files, source=source, delivery={"endpoint": "bulk"})


def notes(box: SandboxThread) -> dict[str, str | None]:
    """What arrived: the note of each id."""
    return {str(one.unique_id): one.event.get("data", {}).get("Note") for one in box.events(after=0, limit=2_000)}


def places(rows: list[dict[str, str]]) -> list[tuple[str, str, str]]:
    return [(row["file"], row["row"], row["problem"]) for row in rows]


@pytest.fixture
def measured(lone_shop: Shop, require: Require) -> Any:
    """`measured(status, files=…)`: `check` of an export with the plain mapping, and the most memory that it took."""
    require(Path("/proc/self/status").exists(), "only Linux tells a process's peak of memory")

    def run(status: int, files: object, **parts: Any) -> tuple[Done, int]:
        lone_shop.mapping(files=files, **parts)
        command = [sys.executable, *COMMAND[1:-1], MEASURED, "check", "orders.yaml", "--quiet"]
        done = subprocess.run(
            command,
            cwd=lone_shop.folder,
            env=lone_shop.env,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        said, _, peak = done.stderr.rpartition("PEAK ")
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in said
        print(f"{int(peak) / 1024:.0f} MB")
        return Done(done.returncode, done.stdout, said), int(peak) * 1024

    return run


# --------------------------------------------------------------------------------------- 1, 2, 3: rows and quotes


def test_long_and_short_rows_keep_their_lines_and_texts(shop: Shop, box: SandboxThread) -> None:
    """Behind cells of several lines, blank lines and both kinds of line end."""
    body = csv_text([order(1, "two\nlines"), order(2, "three_more_lines,")]).replace("_", "\r\n")
    shop.write(
        "orders.csv", f"{','.join(HEAD)}\r\n{body}\n3,short\n\n{','.join(order(4))},long\r\n5,\n{','.join(order(6))}"
    )
    plain(shop, "orders.csv")
    run = shop.deliver(status=3)
    assert run.summary["rows"] == {"read": 6, "unreadable": 3, "filtered": 0, "mapped": 3}
    assert notes(box) == {"order:1": "two\nlines", "order:2": "three\r\nmore\r\nlines,", "order:6": "x"}
    rejected = shop.rejected(run.folder)
    assert places(rejected) == [("orders.csv", line, "ragged") for line in ("8", "10", "11")]
    for row, text in zip(rejected, ["3,short", f"{','.join(order(4))},long", "5,"], strict=True):
        assert row["detail"].endswith(f": {text}")
        assert row["order_id"] == ""  # no cell of it is taken for a column's


@pytest.mark.slow
def test_line_breaks_in_quotes_at_the_borders_of_blocks(shop: Shop, box: SandboxThread) -> None:
    """The first border splits a CR LF, the second a doubled quote, the third parts a closing quote from its line's end."""
    border = records.BLOCK_BYTES
    marks = {border - 1: "\r\n", 2 * border - 1: '""', 3 * border - 1: '"\n'}
    text, number = ",".join(HEAD) + "\n", 0
    lines: dict[int, int] = {}
    expected: dict[str, str] = {}
    for place, mark in marks.items():
        while len(text) < place - 120_000:
            number += 1
            lines[number] = text.count("\n") + 1
            note = f"a\nb {'x' * 90_000}"
            text += f'{",".join(order(number)[:-1])},"{note}"\n'
            expected[f"order:{number}"] = note
        number += 1
        lines[number] = text.count("\n") + 1
        start = f'{",".join(order(number)[:-1])},"\n'
        filler = "y" * (place - len(text) - len(start))
        tail = "" if mark == '"\n' else 'z"\n'
        text += f"{start}{filler}{mark}{tail}"
        note = f"\n{filler}" + {"\r\n": "\r\nz", '""': '"z', '"\n': ""}[mark]
        # Texts over 100 KB are not sent, but stand in rejected.csv as they are, with their line.
        expected[f"order:{number}"] = note
        number += 1
        lines[number] = text.count("\n") + 1
        text += f"{number},short\n"
    for place, mark in marks.items():
        assert text[place : place + 2] == mark
    shop.write("orders.csv", text)
    plain(shop, "orders.csv")
    run = shop.deliver(status=3)
    rejected = shop.rejected(run.folder)
    assert {int(row["row"]) for row in rejected if row["problem"] == "ragged"} == {
        line for n, line in lines.items() if f"order:{n}" not in expected
    }
    sent = notes(box)
    told = {row["order_id"]: row for row in rejected if row["problem"] != "ragged"}
    for id_, note in expected.items():
        n = id_.removeprefix("order:")
        if n in told:
            assert (told[n]["note"], int(told[n]["row"])) == (note, lines[int(n)])
        else:
            assert sent[id_] == note
    assert len(sent) + len(told) == len(expected)


@pytest.mark.slow
def test_a_quote_that_never_closes(shop: Shop, box: SandboxThread) -> None:
    """The line is that in which it opened, and nothing of its file is sent, of the others all."""
    shop.write("a.csv", orders(1, 2))
    shop.write("b.csv", orders(3) + csv_text([order(4, "two\nlines")]) + '5,2024-01-01,"c5,1.50,\n' + "6,,,,\n" * 5_000)
    shop.write("c.csv", orders(7))
    plain(shop, "?.csv")
    run = shop.deliver(status=65)
    assert "b.csv:5: a quote that opens here never closes" in run.done.err
    assert box.ids(STORE) == {"order:1", "order:2", "order:7"}
    plain(shop, "b.csv")
    assert "b.csv:5: a quote" in shop.do("run", "orders.yaml", status=65).err
    assert box.summary().stored == 3
    shop.write("b.csv", orders(3, 4).replace("\n", "\r") + '5,2024-01-01,"c5')
    assert "b.csv:4: a quote" in shop.do("check", "orders.yaml", status=65).err


# ------------------------------------------------------------------------------------------ 4, 5: bytes and letters


@pytest.mark.slow
def test_encodings_are_found_and_shown(shop: Shop, box: SandboxThread) -> None:
    japanese = "東京都千代田区から大阪府大阪市へ送りました"
    texts = {
        "utf-16-le": ("utf-16-le", "Zoë", b"\xff\xfe"),
        "utf-16-be": ("utf-16-be", "Zoë €", b"\xfe\xff"),
        "le_bare": ("utf-16-le", "größer", b""),
        "be_bare": ("utf-16-be", "größer", b""),
        "utf8_bom": ("utf-8", "größer 漢字", b"\xef\xbb\xbf"),
        "cp1252": ("cp1252", "größer € œ", b""),
        "shift_jis": ("shift_jis", japanese, b""),
    }
    expected = {}
    for at, (name, (encoding, note, bom)) in enumerate(texts.items()):
        rows = [order(100 * at + i, note) for i in range(9)]
        shop.write(f"{name}.csv", bom + csv_text([HEAD, *rows]).encode(encoding))
        expected |= {f"order:{100 * at + i}": note for i in range(9)}
    plain(shop, "*.csv")
    shown = shop.do("check", "orders.yaml").out
    for name, (encoding, _, _) in texts.items():
        assert f"{name}.csv: {'cp932' if encoding == 'shift_jis' and 'cp932' in shown else encoding}," in shown
    assert shop.deliver().events == {"total": 63, "accepted": 63}
    assert notes(box) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoding", "bad"), [("utf-8", b"\xe9"), ("cp1252", b"\x81"), ("shift_jis", b"\xfd"), ("utf-16-le", b"\x00\xd8")]
)
def test_a_byte_that_does_not_decode_rejects_its_row(lone_shop: Shop, encoding: str, bad: bytes) -> None:
    """Also where the encoding is declared."""
    text = csv_text([HEAD, order(1), order(2, "?"), order(3)])
    lone_shop.write("orders.csv", text.encode(encoding).replace("?".encode(encoding), bad))
    lone_shop.mapping(source={"csv": {"encoding": encoding}})
    done = lone_shop.do("check", "orders.yaml", "--json", status=3)
    found = json.loads(done.out.splitlines()[-1])
    assert found["rows"] == {"read": 3, "unreadable": 1, "filtered": 0, "mapped": 2}
    (problem,) = found["problems"]
    assert problem["code"] == "undecodable"
    assert problem["examples"][0]["place"] == "orders.csv:3"
    assert encoding in problem["examples"][0]["detail"]


@pytest.mark.slow
def test_a_header_that_does_not_decode_refuses_the_file(lone_shop: Shop) -> None:
    """Ids hang on the names; and it is no row that could be mended and imported."""
    lone_shop.write("orders.csv", "order_id,größe,at\n".encode("cp1252") + "1,ä,2024-01-01\n2,ö,2024-01-01\n".encode())
    lone_shop.mapping(events=[{**bare(), "uniqueId": "{order_id}"}])
    done = lone_shop.do("check", "orders.yaml", status=65)
    assert done.err.startswith("orders.csv:1: the header can't be read: the byte 0xf6 is not utf-8")
    named = {"csv": {"columns": ["order_id", "size", "at"], "skip_lines": 1}}
    lone_shop.mapping(events=[{**bare(), "uniqueId": "{order_id}"}], source=named)
    assert "2 read, 2 mapped" in lone_shop.do("check", "orders.yaml").out


def bare() -> dict[str, Any]:
    return {
        "eventName": "Row",
        "uniqueId": {"hash": "*", "occurrence": True},
        "eventTimestamp": "2024-01-01T00:00:00Z",
        "customer": {"email": "ann@example.com"},
    }


CONTROLS = (
    "".join(map(chr, [*range(1, 10), 11, 12, *range(14, 32), 127, 0x85, 0x2028, 0xFEFF, 0xFFFF])) + "\0 \ud83d\ude00"
)


def test_control_characters_arrive_and_surrogates_are_rejected(shop: Shop, box: SandboxThread) -> None:
    whole = CONTROLS.encode("utf-16", "surrogatepass").decode("utf-16")
    shop.write(
        "a.csv", csv_text([HEAD, order(1, f"a{whole}b"), order(2)]).encode() + b"3,2024-01-01,c,1,\xed\xa0\x80\n"
    )
    lines = [
        dict(zip(HEAD, order(i, note), strict=True))
        for i, note in [(4, CONTROLS), (5, "\ud800"), (6, "\udc00x"), (7, "y")]
    ]
    shop.write("b.ndjson", "".join(json.dumps(line) + "\n" for line in lines) + '{"order_id": "8\x00"}\n\x00\n')
    plain(shop, ["a.csv", "b.ndjson"])
    run = shop.deliver(status=3)
    assert notes(box) == {"order:1": f"a{whole}b", "order:2": "x", "order:4": whole, "order:7": "y"}
    assert places(shop.rejected(run.folder)) == [
        ("a.csv", "4", "undecodable"), *[("b.ndjson", line, "not_json") for line in "2356"],
    ]  # fmt: skip


@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ("[", "]")])
def test_json_that_is_nested_for_its_own_sake(lone_shop: Shop, opening: str, closing: str) -> None:
    """Of 900 levels, alike in all lines, Polars would think for hours."""
    deep = '{"id": ' + opening * 900 + "1" + closing * 900 + "}\n"
    lone_shop.write("orders.ndjson", deep * 3 + '{"id": {"a": [{"a": ["[{[{"]}]}}\n')
    lone_shop.mapping(files="orders.ndjson", events=[bare()])
    done = lone_shop.do("check", "orders.yaml", status=3)
    assert "4 read, 1 mapped, 0 filtered, 3 unreadable" in done.out
    assert "orders.ndjson:1: not a JSON object: it is nested deeper than 64 levels" in done.out


# ------------------------------------------------------------------------------------- 6, 7, 11: headers and columns


@pytest.mark.slow
def test_a_hundred_files_with_one_of_each_kind(shop: Shop, box: SandboxThread) -> None:
    for i in range(95):
        shop.write(f"o{i:02}.csv", orders(i))
    shop.write("p1.csv", "")
    shop.write("p2.csv", csv_text([HEAD]))
    shop.write("p3.csv", "Sales of 2024\n\nAll shops\n" + orders(101, 102, 103))
    shop.write("p4.csv", "\n\n" + orders(104, 105).replace("\n", "\n\n") + "\r\n")
    shop.write("p5.csv", b"\n\n\n")
    plain(shop, ".", format="csv")
    (shop.folder / "data").mkdir()
    for path in shop.folder.glob("*.csv"):
        path.rename(shop.folder / "data" / path.name)
    plain(shop, "data")
    run = shop.deliver()
    assert run.events == {"total": 100, "accepted": 100}
    assert box.ids(STORE) == {f"order:{i}" for i in [*range(95), *range(101, 106)]}
    for name in ("p1", "p5"):
        assert f"note: data/{name}.csv: is empty; it was passed over" in run.done.err
    plain(shop, "data/p3.csv")
    assert 'p3.csv: utf-8, comma, quote ", header, 3 lines before it' in shop.do("check", "orders.yaml").out
    plain(shop, "data/p2.csv")
    assert "No rows: the files have a header" in shop.do("check", "orders.yaml").out
    plain(shop, "data/p1.csv")
    assert "data/p1.csv: is empty: no header, no row" in shop.do("check", "orders.yaml", status=65).err


def test_bad_files_of_a_hundred_cost_themselves(shop: Shop, box: SandboxThread) -> None:
    """Cut, flipped, corrupt, lying: each is named, with 65, and all others are sent."""
    for i in range(94):
        shop.write(f"o{i:02}.csv", orders(i))
    text = orders(*range(1000, 9000)).encode()
    shop.write("p1.csv.gz", gzip.compress(text)[:-500])
    shop.write("p2.csv.zst", zstandard.compress(text)[:-500])
    flipped = bytearray(gzip.compress(text))
    flipped[5000:5050] = bytes(50)
    shop.write("p3.csv.gz", bytes(flipped))
    frame = pl.DataFrame([dict(zip(HEAD, order(i), strict=True)) for i in range(2000, 4000)])
    frame.write_parquet(shop.folder / "p4.parquet", compression="snappy")
    whole = (shop.folder / "p4.parquet").read_bytes()
    shop.write("p4.parquet", whole[:2000] + b"\xff" * 60 + whole[2060:])
    shop.write("p5.parquet", whole[: len(whole) // 2])
    shop.write("p6.parquet", b"PAR1" + b"\x15\xff\xff\xff\x7f" * 400 + b"\x00\x08\x00\x00PAR1")
    plain(shop, ["o*.csv", "p*"])
    run = shop.deliver(status=65)
    assert box.ids(STORE) == {f"order:{i}" for i in range(94)}
    names = ["p1.csv.gz", "p2.csv.zst", "p3.csv.gz", "p4.parquet", "p5.parquet", "p6.parquet"]
    assert [one["name"] for one in run.summary["unread"]] == names
    assert [name for name in names if f"{name}: " not in run.done.err] == []
    assert run.events["accepted"] == 94


@pytest.mark.slow
def test_columns_that_are_missing_twice_there_or_in_another_order(shop: Shop, box: SandboxThread) -> None:
    shop.write("a.csv", "order_id,at,emial,totl,note\n1,2024-01-01,c@example.com,1.50,x\n")
    plain(shop, "a.csv")
    err = shop.do("run", "orders.yaml", status=78).err
    lines = err.splitlines()
    for column, near in [("email", "emial"), ("total", "totl")]:
        (line,) = [line for line in lines if f'"{column}"' in line]
        assert line.startswith("orders.yaml:")
        assert "a.csv" in line
        assert f'did you mean "{near}"?' in line
    assert box.summary().requests == 0
    shop.write("a.csv", csv_text([[*HEAD, "note", ""], [*order(1, "first"), "second", "third"]]))
    shop.write("b.csv", csv_text([HEAD[::-1], order(2, "back to front")[::-1]]))
    plain(shop, "?.csv")
    run = shop.deliver()
    assert notes(box) == {"order:1": "first", "order:2": "back to front"}
    assert 'a.csv: "note" stands more than once in the header; a later one is called "note (2)"' in run.done.err


def test_a_second_file_with_other_columns_and_types(shop: Shop, box: SandboxThread) -> None:
    shop.write("a.csv", orders(1))
    frame = {"note": [5], "more": [1], "email": ["c2@example.com"], "order_id": [2], "at": ["2024-01-01T00:00:00Z"]}
    pl.DataFrame(frame).write_parquet(shop.folder / "b.parquet")
    shop.write("c.ndjson", '{"order_id": 3, "at": "2024-01-01", "email": "c3@example.com", "total": 2, "note": 7.5}\n')
    plain(shop, ["a.csv", "b.parquet", "c.ndjson"])
    run = shop.deliver()
    assert notes(box) == {"order:1": "x", "order:2": "5", "order:3": "7.5"}
    assert {one.unique_id: one.event.get("value") for one in box.events(after=0)} == {
        "order:1": 1.5, "order:2": None, "order:3": 2,
    }  # fmt: skip
    for said in (
        'b.parquet: has no "total", which a.csv or another file has: empty there',
        'b.parquet: has "more", which a.csv has not',
        'b.parquet: "note", "order_id" of another type than in a.csv',
        'c.ndjson: has no "more"',
    ):
        assert f"note: {said}" in run.done.err


# ------------------------------------------------------------------------------------------------- 9, 10: memory


@pytest.mark.slow
def test_a_gzip_bomb_and_a_cell_without_end_are_refused_in_little_memory(lone_shop: Shop, measured: Any) -> None:
    """One line of 300 MB in 1 MB; nothing but line ends, which are no rows; and cells of 50 MB."""
    head = f"{','.join(HEAD)}\n{','.join(order(1))}\n".encode()
    lone_shop.write("a.csv.gz", gzip.compress(head + b"0" * 300_000_000, 1))
    lone_shop.write("b.csv.gz", gzip.compress(head + b"\n" * 30_000_000, 1))
    lone_shop.write("c.csv", head + b'2,2024-01-01,c,1,"' + b"y" * 50_000_000 + b'"\n')
    lone_shop.write("d.ndjson", b'{"order_id": "3", "note": "' + b"y" * 50_000_000 + b'"}\n')
    done, peak = measured(65, ["a.csv.gz", "b.csv.gz", "c.csv", "d.ndjson"])
    assert "a.csv.gz:3: a record longer than 16 MB begins here" in done.err
    assert "c.csv:3: a record longer than 16 MB begins here" in done.err
    assert "see whether the quote opened at line 3 is ever closed" in done.err
    assert "d.ndjson:1: a line longer than 16 MB" in done.err
    assert "b.csv" not in done.err
    assert peak < PEAK_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["as a dictionary", "as texts"])
def test_a_row_group_of_a_gigabyte(lone_shop: Shop, measured: Any, kept: str) -> None:
    """10,000 rows of 100 KB, in a file of 60 KB."""
    texts = pa.array([letter * 100_000 for letter in "abcdefghij"])
    note: Any = pa.DictionaryArray.from_arrays(pa.array([i % 10 for i in range(10_000)], pa.int32()), texts)
    ids = [str(i) for i in range(10_000)]
    table = pa.table(
        {"order_id": ids, "at": ["2024-01-01"] * 10_000, "email": [f"c{i}@example.com" for i in ids], "note": note}
    )
    # Without the schema of Arrow the column is one of texts.
    pq.write_table(table, lone_shop.folder / "a.parquet", compression="zstd", store_schema=kept == "as a dictionary")
    assert (lone_shop.folder / "a.parquet").stat().st_size < 1_000_000
    event = {"value": ..., "valueCurrency": ..., "data": {"Note": {"sql": "LEFT(note, 10)"}}}
    done, peak = measured(0, "a.parquet", event=event)
    assert "10,000 read, 10,000 mapped" in done.out
    assert peak < 800_000_000


def test_a_parquet_page_that_lies_about_its_size(lone_shop: Shop, measured: Any) -> None:
    """The page says that it has 2 GB, and the memory is not there for it to be taken at its word."""
    frame = pl.DataFrame([dict(zip(HEAD, order(i), strict=True)) for i in range(2000)])
    frame.write_parquet(lone_shop.folder / "a.parquet", compression="snappy", statistics=False)
    data = bytearray((lone_shop.folder / "a.parquet").read_bytes())
    # Thrift: field 1 (which kind of page), 2 (its size), 3 (its size compressed), each a zigzag number. What stands
    # behind moves, but for the footer, which is found from the end.
    assert data[4] == 0x15
    at = 6
    for _ in range(2):
        assert data[at] == 0x15
        end = at + 1
        while data[end] & 0x80:
            end += 1
        data[at + 1 : end + 1] = b"\xfe\xff\xff\xff\x0f"
        at += 6
    lone_shop.write("a.parquet", bytes(data))
    done, peak = measured(65, "a.parquet")
    assert done.err.startswith("a.parquet: ")
    assert peak < PEAK_BYTES


def test_a_parquet_row_that_no_event_can_hold(lone_shop: Shop, measured: Any) -> None:
    pq.write_table(pa.table({"order_id": ["1"], "note": ["x" * 50_000_000]}), lone_shop.folder / "a.parquet")
    done, peak = measured(65, "a.parquet", events=[bare()])
    assert done.err.startswith("a.parquet: holds rows of 50 MB, where 16 MB is the most")
    assert peak < PEAK_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "parquet", "ndjson", "keys"])
def test_ten_thousand_columns(lone_shop: Shop, measured: Any, kind: str) -> None:
    """`keys`: 3,000 lines, each of which has a key of its own."""
    columns = {"id": [str(i) for i in range(50)]} | {f"c{j}": [f"{i}v{j}" for i in range(50)] for j in range(9_999)}
    frame = pl.DataFrame(columns if kind != "keys" else {"id": ["0"]})
    path = lone_shop.folder / f"a.{'ndjson' if kind == 'keys' else kind}"
    if kind == "keys":
        path.write_text("".join(json.dumps({"id": str(i), f"k{i}": i}) + "\n" for i in range(3_000)))
    else:
        {"csv": frame.write_csv, "parquet": frame.write_parquet, "ndjson": frame.write_ndjson}[kind](path)
    event = {**bare(), "uniqueId": "{id}"}
    done, peak = measured(0, path.name, events=[event])
    assert f"{3_000 if kind == 'keys' else 50:,} read" in done.out
    assert peak < 800_000_000


@pytest.mark.slow
def test_an_id_for_a_key_is_refused(lone_shop: Shop, measured: Any) -> None:
    lone_shop.write("a.ndjson", "".join(json.dumps({f"k{i}-{j}": 1 for j in range(100)}) + "\n" for i in range(1_000)))
    done, peak = measured(65, "a.ndjson", events=[bare()])
    assert re.match(r"a\.ndjson:\d+: here or below is the key number 20,001 of this file", done.err)
    assert peak < PEAK_BYTES
