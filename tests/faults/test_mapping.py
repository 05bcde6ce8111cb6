"""What cells can hold that is no event, through the real command: what arrives is compared value by value, and the rest
is rejected with file and row.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from backfill.sandbox import SandboxThread
from backfill.shape import advice
from tests.end_to_end.support import Run, Shop, csv_text

PLACED = {
    "eventName": "Order Placed",
    "uniqueId": "{k}",
    "eventTimestamp": "2024-01-01T00:00:00Z",
    "customer": {"email": "ada@example.com"},
}


def cells(shop: Shop, columns: dict[str, list[Any]], kind: str = "csv") -> None:
    """An export of these columns and one `k`, which numbers its rows from 0."""
    columns = {"k": [f"k{i}" for i in range(len(next(iter(columns.values()))))], **columns}
    if kind == "csv":
        rows = zip(*([("" if cell is None else cell) for cell in column] for column in columns.values()), strict=True)
        shop.write("export.csv", csv_text([list(columns), *map(list, rows)]))
    else:
        pl.DataFrame(columns).write_parquet(shop.folder / "export.parquet")


def found(shop: Shop, run: Run, box: SandboxThread, *path: str) -> list[Any]:
    """What came of each row: the value at `path` as it arrived, None where there is none, or "!" and its problem."""
    values: dict[int, Any] = {}
    for one in box.events(after=0):
        value: Any = one.event
        for part in path:
            value = (value or {}).get(part)
        values[int(str(one.unique_id).removeprefix("k"))] = value
    for row in shop.rejected(run.folder) if run.done.status else []:
        number = int(row["k"].removeprefix("k"))
        # Never sent, and named by where it stands: after a CSV's header.
        assert number not in values
        assert int(row["row"]) == number + (2 if row["file"].endswith(".csv") else 1)
        assert advice(row["problem"]).title in row["detail"]
        values[number] = f"!{row['problem']}"
    assert len(values) == run.summary["rows"]["read"]
    assert run.summary["rows"]["unreadable"] == 0
    return [values[number] for number in sorted(values)]


def deliver(shop: Shop, status: int, event: dict[str, Any], kind: str = "csv", **source: Any) -> Run:
    path = shop.mapping(files=f"export.{kind}", source=source, events=[PLACED | event], delivery={"endpoint": "bulk"})
    if "timezone" not in source:
        path.write_text(path.read_text().replace("  timezone: UTC\n", ""))
    return shop.deliver(status=status)


# 12


def test_an_id_has_one_content(shop: Shop, box: SandboxThread) -> None:
    """Twice in a chunk, in chunks apart, in files apart and by two events of a row: alike goes once, the first one wins."""
    shop.orders(6_000, "a.csv", pad="." * 1_000)
    lines = (shop.folder / "a.csv").read_text().splitlines()
    near, far, other_file = lines[2], lines[3], lines[4]
    lines[10:10] = [near, near.replace(",n1.", ",near.")]
    lines += [far, far.replace(",n2.", ",far.")]
    shop.write("a.csv", "\n".join(lines) + "\n")
    shop.write("b.csv", "\n".join([lines[0], other_file.replace(",n3.", ",file."), other_file]) + "\n")
    placed = PLACED | {"uniqueId": "order:{order_id}", "eventTimestamp": "{at}", "data": {"Note": "{note}"}}
    again = placed | {"eventName": "Order Again", "where": "order_id = '5'", "data": {"Note": "{note}"}}
    same = placed | {"where": "order_id = '7'"}
    shop.mapping(files=["a.csv", "b.csv"], events=[placed, again, same], delivery={"endpoint": "bulk"})
    run = shop.deliver("--rate", "5000", status=3)
    assert run.events == {"total": 6_008, "accepted": 6_000, "duplicate": 4, "invalid": 4}
    assert run.summary["problems"] == {"id_conflict": 4}
    notes = {one.unique_id: one.event["data"]["Note"] for one in box.events()}
    assert notes == {f"order:{i}": f"n{i}{'.' * 1_000}" for i in range(6_000)}
    assert {one.event["eventName"] for one in box.events()} == {"Order Placed"}
    told = [(row["file"], row["row"], row["note"][:5], row["detail"]) for row in shop.rejected(run.folder)]
    assert [one[:3] for one in told] == [
        ("a.csv", "7", "n5..."), ("a.csv", "12", "near."), ("a.csv", "6005", "far.."), ("b.csv", "2", "file."),
    ]  # fmt: skip
    assert "two events of this row" in told[0][3]
    assert ["a.csv:3" in told[1][3], "a.csv:4" in told[2][3], "a.csv:5" in told[3][3]] == [True] * 3


@pytest.mark.slow
def test_an_id_whose_first_row_is_rejected(shop: Shop, box: SandboxThread) -> None:
    """Its second row goes; mended, the first one has another content under an id that was delivered."""
    cells(shop, {"id": ["1", "1", "1"], "total": ["N/A", "5", "6"]})
    event = {"uniqueId": "{id}", "value": "{total}"}
    run = deliver(shop, 3, event)
    assert run.events == {"total": 3, "accepted": 1, "invalid": 2}
    assert run.summary["problems"] == {"not_a_number": 1, "id_conflict": 1}
    cells(shop, {"id": ["1", "1", "1"], "total": ["4", "5", "6"]})
    run = deliver(shop, 3, event)
    assert run.events == {"total": 3, "changed": 1, "invalid": 2}
    assert [one.event["value"] for one in box.events()] == [5]


# 13


@pytest.mark.parametrize("kind", ["csv", pytest.param("parquet", marks=pytest.mark.slow)])
def test_an_id_is_never_nothing(shop: Shop, box: SandboxThread, kind: str) -> None:
    texts = ["x", None, "", " ", "\t", "None", "nan", "null"]
    cells(shop, {"a": texts, "b": [*texts[1:], "x"], "c": [None] * 6 + ["", "c"]}, kind)
    named = [PLACED | {"eventName": name} for name in ("one", "two", "hash", "none")]
    ids: list[Any] = ["{a}", "two:{a}-{c}", {"hash": ["a", "b"], "prefix": "h:"}, {"hash": ["c"]}]
    events = [event | {"uniqueId": unique} for event, unique in zip(named, ids, strict=True)]
    shop.mapping(files=f"export.{kind}", events=events, delivery={"endpoint": "bulk"})
    run = shop.deliver(status=3)
    arrived = [(one.name, one.unique_id) for one in box.events()]
    assert [one for name, one in arrived if name == "one"] == ["x", "None", "nan", "null"]
    assert [one for name, one in arrived if name == "two"] == ["two:null-c"]
    # A blank is a value to a hash, as golden ids have it; the row of a null and an empty text has none.
    assert len({one for name, one in arrived if name == "hash"}) == 7
    assert len([one for name, one in arrived if name == "none"]) == 1
    assert run.summary["problems"] == {"missing_id": 4 + 7 + 1 + 7}
    # A row that makes events that can't be sent is there once.
    assert [row["k"] for row in shop.rejected(run.folder)] == [f"k{i}" for i in range(7)]


def test_numbers_that_are_no_id(shop: Shop, box: SandboxThread) -> None:
    floats = [1.0, None, float("nan"), float("inf"), -0.0, 2.5, 1e16]
    cells(shop, {"f": floats, "i": [2**63 - 1, None, 1, 1, 0, -1, 2**53 + 1]}, "parquet")
    run = deliver(shop, 3, {"uniqueId": "{f}/{i}"}, "parquet")
    assert [one.unique_id for one in box.events()] == [f"1/{2**63 - 1}", "0/0", "2.5/-1", f"1e+16/{2**53 + 1}"]
    assert [row["problem"] for row in shop.rejected(run.folder)] == ["missing_id", "not_a_number", "not_a_number"]


# 14

LARGE, NONE = "!integer_too_large", "!not_a_number"
NUMBERS: dict[str, Any] = {
    "12": 12, " 12 ": 12, "+5": 5, "-5.50": -5.5, ".5": 0.5, "5.": 5, "-0": 0, "-0.0": 0, "1e3": 1000, "007": 7, "": None,
    " ": None, "9007199254740992": 2**53, "-9007199254740992": -(2**53), "9007199254740993": LARGE,
    "-9007199254740993": LARGE, "9007199254740993.0": LARGE, "9007199254740993.5": LARGE, "9007199254740992.5": LARGE,
    "12345678901234567.89": LARGE, "9007199254740993e0": LARGE, "9.007199254740993e15": LARGE, "9" * 400: LARGE,
    "1e22": 1e22, "1e400": NONE, "-1e400": NONE, "1e-400": NONE, "0." + "0" * 400 + "1": NONE, "0e-400": 0, "NaN": NONE,
    "inf": NONE, "-Infinity": NONE, "1,234.50": NONE, "1.234,50": NONE, "1,5": NONE, "(12.00)": NONE, "12.00-": NONE, "$12": NONE,
    "12 USD": NONE, "12%": NONE, "١٢": NONE, "\uff15": NONE, "1_000": NONE, "1 000": NONE, "0x10": NONE, "0b1": NONE, "--5": NONE,
    "\u22125": NONE, "1e": NONE, "e5": NONE, ".": NONE, "-": NONE, "true": NONE, "1\u200b": NONE,
}  # fmt: skip


def test_numbers_in_text(shop: Shop, box: SandboxThread) -> None:
    cells(shop, {"n": list(NUMBERS)})
    number = {"column": "n", "type": "number"}
    customer = {"id": "c", "customFields": {"n": number}}
    run = deliver(shop, 3, {"value": "{n}", "valueCurrency": "USD", "customer": customer, "data": {"n": number}})
    for path in (["value"], ["customer", "customFields", "n"]):
        assert found(shop, run, box, *path) == list(NUMBERS.values())
    # The API does not store 0 in data.
    assert found(shop, run, box, "data", "n") == [one or None for one in NUMBERS.values()]


def test_numbers_as_they_are_declared(shop: Shop, box: SandboxThread) -> None:
    texts = ["1.234,50", "1.234", "12,5", "1,234.50", "1.23", "9.007.199.254.740.993", "1.234,5e400", "(12,00)"]
    cells(shop, {"n": texts})
    run = deliver(shop, 3, {"value": "{n}"}, numbers={"decimal": ",", "thousands": "."})
    assert found(shop, run, box, "value") == [1234.5, 1234, 12.5, NONE, NONE, LARGE, NONE, NONE]


@pytest.mark.slow
def test_numbers_by_their_type(shop: Shop, box: SandboxThread) -> None:
    """Each column's two cells are whole and beyond what the API can take; ids in texts keep all their digits."""
    columns: dict[str, tuple[list[Any], Any, Any]] = {
        "i64": (pl.Series([2**53, 2**63 - 1]), 2**53, LARGE),
        "u64": (pl.Series([2**53, 2**64 - 1], dtype=pl.UInt64), 2**53, LARGE),
        "low": (pl.Series([-(2**53), -(2**53) - 1]), -(2**53), LARGE),
        "f64": (pl.Series([-0.0, float("nan")]), 0, NONE),
        "inf": (pl.Series([1e300, float("-inf")]), 1e300, NONE),
        "f32": (pl.Series([0.1, float("inf")], dtype=pl.Float32), 0.1, NONE),
        "dec": (pl.Series([Decimal("1.10"), Decimal("12345678901234567.89")], dtype=pl.Decimal(38, 2)), 1.1, LARGE),
        "big": (pl.Series([Decimal(5), Decimal(2**53 + 1)], dtype=pl.Decimal(38, 0)), 5, LARGE),
        "list": (pl.Series([[1, 2**53], [2**53 + 1]]), [1, 2**53], LARGE),
        "struct": (pl.Series([{"a": [{"b": 1.5}]}, {"a": [{"b": float("nan")}]}]), {"a": [{"b": 1.5}]}, NONE),
        "json": (pl.Series(['{"a":[9007199254740992,-0.5]}', "[9007199254740993]"]), {"a": [2**53, -0.5]}, LARGE),
        "exp": (pl.Series(["[1e22]", "[9007199254740993.0]"]), [1e22], LARGE),
        "under": (pl.Series(["0.0", "1e-400"]), 0, "!not_json_value"),
    }
    names = list(columns)
    # A row for each column in which all others are well, after one in which all are.
    rows = [0, *range(1, len(names) + 1)]
    cells(
        shop,
        {name: pl.Series([cell[row == at] for row in rows], dtype=cell.dtype) for at, (name, (cell, *_)) in enumerate(columns.items(), 1)},
        "parquet",
    )  # fmt: skip
    typed = {"json", "exp", "under"}
    values = {name: {"column": name, "type": "json"} if name in typed else f"{{{name}}}" for name in names}
    texts = {name: {"column": name, "type": "string"} for name in ("i64", "u64", "low", "dec", "big")}
    run = deliver(shop, 3, {"data": {"$extra": values}}, "parquet")
    wrong = [columns[name][2] for name in names]
    assert found(shop, run, box, "data", "$extra") == [{name: columns[name][1] for name in names}, *wrong]

    shop.mapping("texts.yaml", "export.parquet", events=[PLACED | {"uniqueId": "text:{k}", "data": texts}])
    shop.deliver("--new-ids", mapping="texts.yaml")
    arrived = {one.unique_id: one.event["data"] for one in box.events() if str(one.unique_id).startswith("text")}
    assert arrived["text:k1"]["i64"] == "9223372036854775807"
    assert arrived["text:k2"]["u64"] == "18446744073709551615"
    assert arrived["text:k3"]["low"] == "-9007199254740993"
    assert arrived["text:k7"]["dec"] == "12345678901234567.89"
    assert arrived["text:k8"]["big"] == "9007199254740993"


# 15

TIMES: dict[str, tuple[str, str, str]] = {
    # text: as ambiguous rejects, earliest, latest, in New York
    "2023-07-01 12:00:00": ("2023-07-01T16:00:00Z",) * 3,
    "2023-07-01T12:00:00+02:00": ("2023-07-01T10:00:00Z",) * 3,
    "2023-11-05 01:30:00": ("!ambiguous_time", "2023-11-05T05:30:00Z", "2023-11-05T06:30:00Z"),
    "2023-11-05 02:00:00": ("2023-11-05T07:00:00Z",) * 3,
    "2023-03-12 02:30:00": ("!ambiguous_time", "2023-03-12T07:30:00Z", "2023-03-12T06:30:00Z"),
    "2023-03-12 03:00:00": ("2023-03-12T07:00:00Z",) * 3,
    "2023-11-05 01:30:00-04:00": ("2023-11-05T05:30:00Z",) * 3,
    "2023-07-01 24:00:00": ("!not_a_time",) * 3,
    "2023-07-01 23:59:60": ("!not_a_time",) * 3,
    "2016-12-31T23:59:60Z": ("!not_a_time",) * 3,
    "2023-02-30": ("!not_a_time",) * 3,
    "2023-02-29 10:00": ("!not_a_time",) * 3,
    "23-07-01": ("!not_a_time",) * 3,
    "01/07/2023": ("!not_a_time",) * 3,
    "1688212800": ("!not_a_time",) * 3,
    "10000-01-01T00:00:00Z": ("!not_a_time",) * 3,
    "0000-06-01T00:00:00Z": ("!time_out_of_range",) * 3,
    "0001-01-01T00:00:00+05:00": ("!time_out_of_range",) * 3,
    "0001-01-01T00:00:00Z": ("0001-01-01T00:00:00Z",) * 3,
    "9999-12-31T23:59:59Z": ("!time_in_future",) * 3,
    "9999-12-31T23:59:59-05:00": ("!time_out_of_range",) * 3,
    "2222-01-01": ("!time_in_future",) * 3,
    "": ("!missing_time",) * 3,
}


LOCAL = {text for text in TIMES if text.startswith(("2023", "2222")) and len(text) < 20} & {
    text for text, one in TIMES.items() if "not" not in one[0]
}


@pytest.mark.parametrize(
    "ambiguous", ["reject", None, *(pytest.param(name, marks=pytest.mark.slow) for name in ("earliest", "latest"))]
)
def test_times_in_text(shop: Shop, box: SandboxThread, ambiguous: str | None) -> None:
    """As declared; with no zone declared, a time that has none is rejected whatever it is."""
    cells(shop, {"at": list(TIMES)})
    expected = [one[["reject", "earliest", "latest"].index(ambiguous or "reject")] for one in TIMES.values()]
    source = {"timezone": "America/New_York", "ambiguous": ambiguous} if ambiguous else {}
    run = deliver(shop, 3, {"eventTimestamp": "{at}"}, **source)
    if ambiguous is None:
        expected = ["!time_without_zone" if text in LOCAL else one for text, one in zip(TIMES, expected, strict=True)]
    assert found(shop, run, box, "eventTimestamp") == expected


def test_times_by_their_type(shop: Shop, box: SandboxThread) -> None:
    """PostgreSQL's infinity, in Parquet the largest integer, costs its row as any other time that is none."""
    instant = datetime(2024, 1, 2, 3, 4, 5, 678_000)
    columns = {
        "ms": pl.Series([instant]).cast(pl.Datetime("ms")),
        "us": pl.Series([instant.replace(tzinfo=UTC)]).cast(pl.Datetime("us", "UTC")),
        "ns": pl.Series([instant]).cast(pl.Datetime("ns")),
        "day": pl.Series([date(2024, 1, 2)]),
        "sec": pl.Series([1_704_164_645]),
        "mil": pl.Series([1_704_164_645_678.0]),
    }
    wild: dict[str, list[Any]] = {
        "ms": [None, 2**63 - 1, -(2**63), 253_402_300_800_000],
        "us": [None, 2**63 - 1, -(2**63), -62_135_596_800_000_001],
        "ns": [None, 2**63 - 1],
        "day": [None, 2**31 - 1, -(2**31), -719_163],
        "sec": [None, 2**63 - 1, -62_135_596_801, 1_704_164_645_678],
        "mil": [None, float("nan"), 1e300, 1_704_164_645_678_000.0],
    }
    rows = [(name, cell) for name in columns for cell in (..., *wild[name])]
    frame = {
        name: pl.concat(
            one if at != name or cell is ... else pl.Series([cell], dtype=one.to_physical().dtype).cast(one.dtype)
            for at, cell in rows
        )
        for name, one in columns.items()
    }
    cells(shop, {"which": [name for name, _ in rows], **frame}, "parquet")
    formats = {"sec": "epoch_s", "mil": "epoch_ms"}
    events = [
        PLACED | {
            "where": f"which = '{name}'",
            "uniqueId": "{k}",
            "eventTimestamp": {"column": name, **({"format": formats[name]} if name in formats else {})},
        }
        for name in columns
    ]  # fmt: skip
    shop.mapping(
        files="export.parquet", source={"timezone": "Europe/Berlin"}, events=events, delivery={"endpoint": "bulk"}
    )
    run = shop.deliver(status=3)
    far, late, missing, none = "!time_out_of_range", "!time_in_future", "!missing_time", "!not_a_time"
    assert found(shop, run, box, "eventTimestamp") == [
        "2024-01-02T02:04:05.678Z", missing, far, far, late,
        "2024-01-02T03:04:05.678Z", missing, far, far, far,
        "2024-01-02T02:04:05.678Z", missing, late,
        "2024-01-01T23:00:00Z", missing, far, far, far,
        "2024-01-02T03:04:05Z", missing, none, far, none,
        "2024-01-02T03:04:05.678Z", missing, none, none, none,
    ]  # fmt: skip
    assert "9223372036854775807" in (run.folder / "rejected.csv").read_text()


# 16

TEXTS = [
    "007", "1e5", "1E400", "TRUE", "false", " x ", "  ", "null", "NULL", "NA", "N/A", "None", "nan", "-0", "0.10", "+5", "1,234.50",
    "2024-01-02", "2024-01-02T03:04:05+05:00", "é", "e\u0301", "😀", "👩‍👩‍👧", "\u200b", "\u202eabc", "\ufeffx", "a\tb", "a\nb", 'say "hi"',
    "\\", "{k}", "{{k}}", "=1+1", "'x", "\x00", "\x1b[31m", "\x7f", "\u2028", "\uffff", "\U0010ffff", "[1]", '{"a": 1}', "9007199254740993",
]  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_texts_stay_as_they_are(shop: Shop, box: SandboxThread, kind: str) -> None:
    cells(shop, {"t": TEXTS}, kind)
    event = {
        "customer": {"id": "c", "firstName": "{t}", "location": {"postalCode": "{t}"}, "customFields": {"t": "{t}"}},
        "data": {"t": "{t}", "s": {"column": "t", "type": "string"}, "$extra": {"t": ["{t}"]}},
    }
    run = deliver(shop, 0, event, kind)
    assert run.events == {"total": len(TEXTS), "accepted": len(TEXTS)}
    for path in (["firstName"], ["location", "postalCode"], ["customFields", "t"]):
        assert found(shop, run, box, "customer", *path) == TEXTS
    for name in ("t", "s"):
        assert found(shop, run, box, "data", name) == TEXTS
    assert found(shop, run, box, "data", "$extra", "t") == [[text] for text in TEXTS]


# 18


def test_what_is_too_much_is_never_sent(shop: Shop, box: SandboxThread) -> None:
    """By a byte, a character and a property: the most that the API takes arrives, and one more does not."""
    most, over = "é" * 50_000, "é" * 50_000 + "x"
    plain = {"t": "x", "x": "1", "id": "i", "last": "", "pad": "x"}
    rows = [
        {"t": most}, {"t": over}, {"x": json_of(most)}, {"x": json_of(over)}, {"x": json_of("k", key=over)},
        {"id": "😀" * 253}, {"id": "😀" * 254}, {"last": "z"}, {"pad": "y" * 99_000}, {"pad": "y" * 97_000},
    ]  # fmt: skip
    names = list(plain)
    cells(shop, {name: [(plain | row)[name] for row in rows] for name in names})
    event = {
        "uniqueId": "{id}{k}",
        "data": {
            **{f"p{i:03}": "x" for i in range(398)},
            "t": "{t}",
            "last": "{last}",
            "$extra": {"j": {"column": "x", "type": "json"}, "pads": ["{pad}"] * 51},
        },
    }
    run = deliver(shop, 3, event)
    assert run.events == {"total": 10, "accepted": 4, "invalid": 6}
    problems = {row["k"]: row["problem"] for row in shop.rejected(run.folder)}
    assert problems == {
        "k1": "text_too_long", "k3": "text_too_long", "k4": "text_too_long", "k6": "id_too_long",
        "k7": "too_many_properties", "k8": "event_too_large",
    }  # fmt: skip
    arrived = {one.unique_id: one.event["data"] for one in box.events()}
    assert list(arrived) == ["ik0", "ik2", "😀" * 253 + "k5", "ik9"]
    assert arrived["ik0"]["t"] == arrived["ik2"]["$extra"]["j"]["b"][0]["a"] == most
    assert len(arrived["ik9"]) == 400


def json_of(text: str, key: str = "a") -> str:
    return f'{{"b": [{{"{key}": "{text}"}}]}}'
