"""Rows that can't be sent: named, kept as they were, and brought in once they are mended."""

from __future__ import annotations

import csv
import os

import pytest

from backfill.read import read_report
from tests.end_to_end.support import STORE, csv_text

HEAD = ["order_id", "at", "email", "total", "note"]


def order(number, note="x", **cells):
    plain = {"order_id": number, "at": "2024-01-01", "email": f"c{number}@example.com", "total": "1.50", "note": note}
    return [str(value) for value in (plain | cells).values()]


def test_the_same_id_twice(shop, box):
    """Across chunks, files and runs: alike is a duplicate, otherwise the later one is invalid and names the earlier."""
    shop.orders(30_000, "a.csv")
    shop.write("b.csv", csv_text([HEAD, order(30_000), order(5, "other"), order(30_000)]))
    with (shop.folder / "a.csv").open("a") as file:
        file.write("7,2024-01-08T10:00:07Z,c7@example.com,7.50,n7\n9,2024-01-08T10:00:07Z,c9@example.com,7.50,other\n")
    shop.mapping(files=["a.csv", "b.csv"], delivery={"endpoint": "bulk"})
    run = shop.deliver("--rate", "5000", status=3)
    assert run.events == {"total": 30_005, "accepted": 30_001, "duplicate": 2, "invalid": 2}
    assert run.summary["problems"] == {"id_conflict": 2}
    first, second = shop.rejected(run.folder)
    assert [first[key] for key in ("order_id", "note", "problem", "file", "row")] == [
        "9", "other", "id_conflict", "a.csv", "30003",
    ]  # fmt: skip
    assert "a.csv:11" in first["detail"]
    assert [second[key] for key in ("order_id", "note", "file", "row")] == ["5", "other", "b.csv", "3"]
    assert "a.csv:7" in second["detail"]
    assert box.summary().stored == 30_001
    assert {one.event["data"]["Note"] for one in box.events(limit=10)} == {f"n{i}" for i in range(10)}

    again = shop.deliver(status=3)
    assert again.events == {"total": 30_005, "already_delivered": 30_001, "duplicate": 2, "invalid": 2}
    assert again.summary["requests"] == 0
    assert not again.lines("changed.ndjson")


def test_groups_apart(shop, box):
    rows = [("1", "a", "2"), ("1", "b", "1"), ("2", "c", "3"), ("1", "d", "9"), ("3", "e", "1")]
    shop.write("lines.csv", csv_text([["order_id", "item", "qty"], *rows]))
    event = {
        "eventName": "Order Placed",
        "uniqueId": "order:{order_id}",
        "eventTimestamp": "2024-01-01T00:00:00Z",
        "customer": {"email": "a@example.com"},
        "data": {
            "Items": {"sql": "SUM(TRY_CAST(qty AS INT))", "type": "integer"},
            "$extra": {"Lines": {"collect": {"Title": "{item}"}}},
        },
    }
    source = {"group_by": ["order_id"]}
    shop.mapping(files="lines.csv", source=source, events=[event])
    run = shop.deliver(status=3)
    assert run.events == {"total": 4, "accepted": 2, "invalid": 2}
    assert run.summary["problems"] == {"group_apart": 2}
    rejected = shop.rejected(run.folder)
    # All rows of the group, so that they can be put together again.
    assert [(row["item"], row["row"]) for row in rejected] == [("a", "2"), ("b", "3"), ("d", "5")]
    assert "lines.csv:5" in rejected[0]["detail"]
    assert "lines.csv:2" in rejected[-1]["detail"]
    assert box.ids(STORE) == {"order:2", "order:3"}

    # Put together as they stand in rejected.csv, they are what is missing.
    shop.mapping("mend.yaml", str(run.folder / "rejected.csv"), source=source, events=[event])
    assert shop.deliver(mapping="mend.yaml").events == {"total": 1, "accepted": 1}
    (mended,) = box.events(after=2)
    assert mended.event["data"] == {"Items": 12, "$extra": {"Lines": [{"Title": "a"}, {"Title": "b"}, {"Title": "d"}]}}

    shop.mapping(files="lines.csv", source={"group_by": {"columns": ["order_id"], "adjacent": False}}, events=[event])
    assert shop.deliver().events == {"total": 3, "already_delivered": 3}
    assert not list(shop.state.glob("runs/*/gather-*"))


def test_several_events_a_row_and_filters(shop, box):
    shop.write(
        "orders.csv",
        csv_text([
            [*HEAD, "refunded"],
            [*order(1), ""], [*order(2), "5"], [*order(3, "test"), "5"], [*order(4, email="nobody"), "5"],
        ]),
    )  # fmt: skip
    placed = {
        "eventName": "Order Placed", "uniqueId": "order:{order_id}", "eventTimestamp": "{at}",
        "customer": {"email": "{email}"},
    }  # fmt: skip
    refunded = {
        **placed,
        "eventName": "Order Refunded",
        "uniqueId": "refund:{order_id}",
        "where": "refunded IS NOT NULL",
    }
    shop.mapping(source={"where": "note <> 'test'"}, events=[placed, refunded], delivery={"endpoint": "bulk"})
    run = shop.deliver(status=3)
    assert run.summary["rows"] == {"read": 4, "unreadable": 0, "filtered": 1, "mapped": 3}
    assert run.events == {"total": 5, "accepted": 3, "invalid": 2}
    assert run.summary["by_event_name"]["Order Refunded"]["accepted"] == 1
    # One row, though it makes two events that can't be sent.
    (row,) = shop.rejected(run.folder)
    assert (row["order_id"], row["problem"], row["row"]) == ("4", "no_identifier", "5")
    assert box.ids(STORE) == {"order:1", "order:2", "refund:2"}


def test_unreadable_rows(shop, box):
    text = (
        csv_text([HEAD, order(1, "Zoë, größer")])
        + "2,2024-01-01\n"
        + csv_text([order(3), [*order(4), "more"], order(5)])
    )
    shop.write("orders.csv", text.encode() + b"6,2024-01-01,c6@example.com,1.50,\xff\xfe\n")
    shop.mapping()
    run = shop.deliver(status=3)
    assert run.summary["rows"] == {"read": 6, "unreadable": 3, "filtered": 0, "mapped": 3}
    assert run.events == {"total": 3, "accepted": 3}
    assert run.summary["problems"] == {"ragged": 2, "undecodable": 1}
    rejected = shop.rejected(run.folder)
    assert [(row["problem"], row["file"], row["row"]) for row in rejected] == [
        ("ragged", "orders.csv", "3"),
        ("ragged", "orders.csv", "5"),
        ("undecodable", "orders.csv", "7"),
    ]
    assert "2,2024-01-01" in rejected[0]["detail"]
    assert box.ids(STORE) == {"order:1", "order:3", "order:5"}


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "'=1", "''+x", "it's", '=HYPERLINK("http://x","y")']


def test_mending_brings_exactly_what_is_missing(shop, box):
    """Cells that a spreadsheet would run are inert in rejected.csv, and are themselves again when it comes back."""
    good = [order(i) for i in range(100)]
    bad = [order(100 + i, formula, total="N/A") for i, formula in enumerate(FORMULAS)]
    shop.write("orders.csv", csv_text([HEAD, *good[:50], *bad, *good[50:]]))
    shop.mapping(delivery={"endpoint": "bulk"})
    run = shop.deliver(status=3)
    assert run.events == {"total": 110, "accepted": 100, "invalid": 10}
    rejected = shop.rejected(run.folder)
    assert list(rejected[0]) == [*HEAD, "problem", "detail", "file", "row"]
    for row, formula in zip(rejected, FORMULAS, strict=True):
        assert row["note"].lstrip("'") == formula.lstrip("'")
        for cell in row.values():
            assert cell[:1] not in {"=", "+", "-", "@", "\t", "\r"}
        assert row["problem"] == "not_a_number"
        assert "N/A" in row["detail"]
    assert [row["row"] for row in rejected[:2]] == ["52", "53"]

    # As it is, nothing of it can be sent either.
    shop.mapping("mend.yaml", str(run.folder / "rejected.csv"), delivery={"endpoint": "bulk"})
    assert shop.deliver(mapping="mend.yaml", status=3).events == {"total": 10, "invalid": 10}

    mended = [{**row, "total": "1.50"} for row in rejected]
    with (run.folder / "rejected.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rejected[0]))
        writer.writeheader()
        writer.writerows(mended)
    again = shop.deliver(mapping="mend.yaml")
    assert again.events == {"total": 10, "accepted": 10}
    assert box.ids(STORE) == {f"order:{i}" for i in range(110)}
    notes = {one.unique_id: one.event["data"]["Note"] for one in box.events(after=100)}
    assert notes == {f"order:{100 + i}": formula for i, formula in enumerate(FORMULAS)}

    # The export, mended too, makes the very same events.
    whole = [*good[:50], *([*row[:3], "1.50", row[4]] for row in bad), *good[50:]]
    shop.write("orders.csv", csv_text([HEAD, *whole]))
    assert shop.deliver().events == {"total": 110, "already_delivered": 110}


@pytest.mark.parametrize("kind", ["parquet", "ndjson"])
def test_rejected_rows_of_typed_files_come_back(shop, box, kind):
    import polars as pl

    frame = pl.DataFrame({
        "order_id": ["1", "2", "3"],
        "at": ["2024-01-01", "never", "2024-01-03"],
        "email": ["a@example.com"] * 3,
        "total": [1.5, -2.5, 3.0],
        "note": ["x", "-y", None],
    })  # fmt: skip
    path = shop.folder / f"orders.{kind}"
    frame.write_parquet(path) if kind == "parquet" else frame.write_ndjson(path)
    shop.mapping(files=path.name)
    run = shop.deliver(status=3)
    assert run.events == {"total": 3, "accepted": 2, "invalid": 1}
    (row,) = shop.rejected(run.folder)
    assert row["row"] == "2"
    assert (row["total"], row["note"]) == ("-2.5", "'-y")
    text = (run.folder / "rejected.csv").read_text().replace("never,", "2024-01-02,", 1)
    (run.folder / "rejected.csv").write_text(text)
    shop.mapping("mend.yaml", str(run.folder / "rejected.csv"))
    assert shop.deliver(mapping="mend.yaml").events == {"total": 1, "accepted": 1}
    (last,) = box.events(after=2)
    assert (last.event["value"], last.event["data"]) == (-2.5, {"Note": "-y"})


def test_a_row_that_could_not_be_read_does_not_vanish(shop, box):
    """rejected.csv has its text alone: imported as it is, it is rejected again, whatever `where` makes of nulls."""
    shop.orders(3)
    with (shop.folder / "orders.csv").open("a") as file:
        file.write("9,2024-01-01T00:00:00Z,z@example.com\n")
    shop.mapping(source={"where": "note <> 'test'"})
    first = shop.deliver(status=3)
    assert "1 row that can't be read in the export" in first.done.out
    assert "import that file" not in first.done.out
    again = shop.deliver("--files", str(first.folder / "rejected.csv"), status=3)
    assert again.summary["problems"] == {"still_unreadable": 1}
    assert again.summary["rows"]["unreadable"] == 1
    mended = (first.folder / "rejected.csv").read_text().splitlines()
    row = "9,2024-01-01T00:00:00Z,z@example.com,1,n" + mended[1][4:]
    shop.write("mended.csv", "\n".join([mended[0], row]) + "\n")
    assert shop.deliver("--files", "mended.csv").events == {"total": 1, "accepted": 1}
    assert box.summary().stored == 4


def mend(folder, column, value):
    """Another value in a column of rejected.csv; gives the file's path."""
    path = folder / "rejected.csv"
    with path.open(encoding="utf-8", newline="") as file:
        head, *rows = list(csv.reader(file))
    for row in rows:
        row[head.index(column)] = value
    path.write_text(csv_text([head, *rows]), encoding="utf-8")
    return str(path)


def test_rows_that_were_mended_are_delivered_when_the_export_comes_again(shop, box):
    """It still has them as they were: every night, until somebody mends it there."""
    bad = [order(100 + i, total="N/A") for i in range(3)]
    shop.write("orders.csv", csv_text([HEAD, *(order(i) for i in range(10)), *bad]))
    shop.mapping()
    first = shop.deliver(status=3)
    assert first.events == {"total": 13, "accepted": 10, "invalid": 3}
    assert shop.deliver("--files", mend(first.folder, "total", "1.50")).events == {"total": 3, "accepted": 3}
    for _ in range(2):
        again = shop.deliver()
        assert again.events == {"total": 13, "already_delivered": 13}
        assert again.summary["mended"] == 3
        assert again.summary["problems"] == {}
        assert again.summary["by_event_name"]["Order Placed"]["already_delivered"] == 13
        assert "3 events that could not be mapped are delivered already under their ids (mended earlier)" in (
            again.done.out
        )
        assert not (again.folder / "rejected.csv").exists()
    check = shop.do("check", "orders.yaml").out
    assert "0 invalid, 0 duplicates, 13 delivered before" in check
    assert "3 events that could not be mapped are delivered already under their ids (mended earlier)." in check
    # Another bad row is told by itself.
    shop.write("orders.csv", csv_text([HEAD, *(order(i) for i in range(10)), *bad, order(200, total="N/A")]))
    run = shop.deliver(status=3)
    assert run.events == {"total": 14, "already_delivered": 13, "invalid": 1}
    assert [row["order_id"] for row in shop.rejected(run.folder)] == ["200"]
    assert len(box.ids(STORE)) == 13


def test_mended_groups_and_rows_of_several_events(shop, box):
    head = ["order_id", "item", "qty", "at", "email"]
    rows = [["1", "a", "1", "2024-01-01", "a@example.com"], ["1", "b", "x", "2024-01-01", "a@example.com"],
            ["2", "c", "1", "2024-01-01", "b@example.com"]]  # fmt: skip
    shop.write("orders.csv", csv_text([head, *rows]))
    event = {
        "uniqueId": "order:{order_id}", "value": ..., "valueCurrency": ...,
        "data": {"Items": {"sql": "SUM(CAST(qty AS INT))"}, "$extra": {"Lines": {"collect": {"Title": "{item}"}}}},
    }  # fmt: skip
    event["data"]["$extra"]["Lines"]["collect"]["Quantity"] = {"column": "qty", "type": "integer"}
    del event["data"]["Items"]
    shop.mapping(source={"group_by": ["order_id"]}, event=event)
    first = shop.deliver(status=3)
    assert first.events == {"total": 2, "accepted": 1, "invalid": 1}
    assert len(shop.rejected(first.folder)) == 2
    shop.deliver("--files", mend(first.folder, "qty", "2"))
    again = shop.deliver()
    assert again.events == {"total": 2, "already_delivered": 2}
    assert again.summary["rows"] == {"read": 3, "unreadable": 0, "filtered": 0, "mapped": 3}


def test_what_was_mended_of_a_row_with_two_events(shop, box):
    """One of them is delivered, the other has still to be mended; and neither is one that can't have an id."""
    rows = [order(1, email="nobody"), order(2, total="N/A"), order(3), ["", *order(4, total="N/A")[1:]]]
    shop.write("orders.csv", csv_text([HEAD, *rows]))
    placed = {
        "eventName": {"column": "note", "map": {"x": "Order Placed"}}, "uniqueId": "order:{order_id}",
        "eventTimestamp": "{at}", "customer": {"email": "{email}"}, "value": "{total}",
    }  # fmt: skip
    seen = {**placed, "eventName": "Order Seen", "uniqueId": "seen:{order_id}", "value": 1}
    shop.mapping(events=[placed, seen])
    first = shop.deliver(status=3)
    assert first.events == {"total": 8, "accepted": 3, "invalid": 5}
    # Of the first row only the one event is sent.
    shop.write("mended.csv", csv_text([HEAD, order(1), order(2)]))
    shop.mapping("mended.yaml", files="mended.csv", events=[placed])
    assert shop.deliver(mapping="mended.yaml").events == {"total": 2, "accepted": 2}
    again = shop.deliver(status=3)
    assert again.events == {"total": 8, "already_delivered": 5, "invalid": 3}
    assert {name: counts["already_delivered"] for name, counts in again.summary["by_event_name"].items()} == {
        "Order Placed": 3,
        "Order Seen": 2,
    }
    assert [(row["order_id"], row["problem"]) for row in shop.rejected(again.folder)] == [
        ("1", "no_identifier"),
        ("", "not_a_number"),
    ]
    # A name that can't be told.
    shop.write("orders.csv", csv_text([HEAD, order(1, "?"), order(2), order(3)]))
    assert shop.deliver().summary["by_event_name"]["(no eventName)"] == {"already_delivered": 1}


def test_a_file_whose_bad_rows_were_mended_is_passed_over(shop, box):
    shop.write("orders.csv", csv_text([HEAD, order(1), order(2, total="N/A")]))
    shop.mapping()
    first = shop.deliver(status=3)
    shop.deliver("--files", mend(first.folder, "total", "1.50"))
    os.utime(shop.folder / "orders.csv", (1_700_000_000, 1_700_000_000))
    for unchanged in (False, True):
        run = shop.deliver()
        assert run.events == {"total": 2, "already_delivered": 2}
        assert run.summary["files"][0]["unchanged"] == unchanged


def test_twins_that_are_invalid_stay_so(shop, box):
    """Which of them was delivered, their ids alone do not tell."""
    rows = [order(1), order(1, total="N/A")]
    shop.write("orders.csv", csv_text([HEAD, *rows]))
    shop.mapping(event={"uniqueId": {"hash": ["order_id"], "occurrence": True}})
    for _ in range(2):
        assert shop.deliver(status=3).events["invalid"] == 1


STYLES = {
    "German": (";", "cp1252", "\ufeff", "utf-8"),
    "UTF-8 with a mark": (",", "utf-8-sig", "\ufeff", "utf-8"),
    "tabs in UTF-16": ("\t", "utf-16", "\ufeff", "utf-16-le"),
    "pipes": ("|", "utf-8", "", "utf-8"),
}


@pytest.mark.parametrize("declared", [False, True])
@pytest.mark.parametrize("style", STYLES)
def test_it_is_written_as_the_export_is(shop, box, style, declared):
    separator, encoding, mark, written = STYLES[style]
    notes = ["größer", "a,=1+1", "b;=1+1", "c\t=1+1", "d|x"]
    rows = [
        HEAD,
        order(1, "schön"),
        order(2, "Ärger"),
        *(order(10 + i, note, total="N/A") for i, note in enumerate(notes)),
    ]
    text = "".join(csv_text([row], separator) for row in rows)
    shop.write("orders.csv", text.encode(encoding))
    told = {"separator": separator, "encoding": encoding} if declared else {}
    shop.mapping(source={"csv": told} if told else {})
    run = shop.deliver(status=3)
    assert run.events == {"total": 7, "accepted": 2, "invalid": 5}
    path = run.folder / "rejected.csv"
    rejected = path.read_bytes().decode(written)
    assert rejected.startswith(mark + separator.join([*HEAD, "problem", "detail", "file", "row"]) + "\r\n")
    assert read_report(path)["order_id"].to_list() == [f"{10 + i}" for i in range(5)]
    assert "größer" in rejected
    for cells in rejected.split("\n"):
        for sign in "=+@":
            assert not any(f"{one}{sign}" in cells for one in ",;\t")
    mended = rejected.replace("N/A" + separator, "1.50" + separator)
    path.write_bytes(mended.encode(written))
    assert shop.deliver("--files", str(path)).events == {"total": 5, "accepted": 5}
    sent = {one.unique_id: one.event["data"]["Note"] for one in box.events(after=2)}
    assert sent == {f"order:{10 + i}": note for i, note in enumerate(notes)}


@pytest.mark.parametrize("declared", [False, True])
def test_a_spreadsheet_may_save_it_otherwise(shop, box, declared):
    """In its own encoding and with other quotes."""
    shop.write("orders.csv", csv_text([HEAD, order(1, "Müller, größer", total="N/A")]))
    shop.mapping(source={"csv": {"separator": ",", "encoding": "utf-8"}} if declared else {})
    run = shop.deliver(status=3)
    with (run.folder / "rejected.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    rows[1][3] = "1.50"
    quoted = "\r\n".join(";".join(f'"{cell}"' for cell in row) for row in rows) + "\r\n"
    shop.write("mended.csv", quoted.encode("cp1252"))
    done = shop.deliver("--files", "mended.csv")
    assert done.events == {"total": 1, "accepted": 1}
    (sent,) = box.events()
    assert sent.event["data"]["Note"] == "Müller, größer"


def test_files_of_several_styles(shop):
    """The first one's."""
    shop.write("a.csv", ";".join(HEAD) + "\n" + ";".join(order(1)) + "\n")
    shop.write("b.csv", csv_text([HEAD, order(2, total="N/A")]))
    shop.mapping(files=["a.csv", "b.csv"])
    run = shop.deliver(status=3)
    assert (run.folder / "rejected.csv").read_text().startswith("order_id;at;email;")
