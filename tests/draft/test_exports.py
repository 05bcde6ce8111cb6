"""Small strange exports, and the drafts of them as snapshots: what people read."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime

import polars as pl
import pytest

from tests.draft.support import line_of

GERMAN = (
    "Bestellnummer;Bestelldatum;E-Mail;Vorname;Nachname;PLZ;Ort;Land;Betrag;Newsletter\n"
    + "".join(
        f"B-{n};{n % 28 + 1:02}.03.2024;kunde{n}@example.com;Jörg;Müßig;0{1000 + n};Köln;DE;1.{200 + n},50;{'ja' if n % 2 else 'nein'}\n"
        for n in range(12)
    )
)  # fmt: skip
LINES = "order_id,ordered_at,email,total,item,quantity,unit_price\n" + "".join(
    f"{n},2024-05-0{n} 10:00:00+02:00,c{n}@example.com,{n * 10}.00,Cup {n}{m},{m},5.00\n"
    for n in range(1, 5)
    for m in (1, 2)
)
EXPORTS: dict[str, str | bytes] = {
    "german.csv": GERMAN,
    "latin1.csv": GERMAN.encode("cp1252"),
    "us_sales.csv": "Sale ID,Sale Date,Email,Amount\n"
    + "".join(f'{n},{n % 9 + 1}/{n % 27 + 1}/2024 3:{n:02} PM,a{n}@example.com,"${n},250.00"\n' for n in range(1, 30)),
    "doubtful_orders.csv": "id,date,email,price\n" + "".join(f"{n},0{n}/0{10 - n}/2024,a{n}@example.com,{n}.5\n" for n in range(1, 10)),
    "clicks.csv": "uuid,event,ts,email\n"
    + "".join(f"u{n},{('viewed_page', 'added_to_cart')[n % 2]},{1709284500123 + n * 1000},a{n}@example.com\n" for n in range(8)),
    "lines.csv": LINES,
    "apart.csv": LINES + "1,2024-05-01 10:00:00+02:00,c1@example.com,10.00,Late cup,1,5.00\n",
    "no_id.csv": "when,mail,points\n" + "".join(f"2024-01-0{n % 5 + 1},a{n % 3}@example.com,{n % 2}\n" for n in range(20)),
    "subscribers.csv": "Email Address,First Name,OPTIN_TIME,Password,Test,Country\n"
    + "".join(f"a{n}@example.com,Ada,2024-01-01 10:00:{n:02},hunter{n},{'yes' if n == 3 else 'no'},Germany\n" for n in range(10)),
    "no_customer.csv": "order_id,created_at,total\n1,2024-01-01T00:00:00Z,5\n2,2024-01-02T00:00:00Z,6\n",
    "no_time.csv": "order_id,email,total\n1,a@example.com,5\n2,b@example.com,6\n",
    "one.csv": "email\na@example.com\nb@example.com\n",
    "header_only.csv": "order_id,email,created_at,total\n",
    "no_header.csv": "a@example.com,2024-01-01,5.50\nb@example.com,2024-01-02,6.50\n",
    "odd_names.csv": 'id,"a {brace}","col: on","# hash","quo""te",  spaced  ,id,,"two\nlines",yes,$extra,"it\'s"\n'
    + "".join(f"{n},x{n},y{n},z{n},q{n},s{n},d{n},e{n},l{n},k{n},m{n},n{n}\n" for n in range(5)),
    "json_cells.csv": 'id,email,created,items,note\n1,a@example.com,2024-01-01,"[{""sku"": ""A""}]","'
    + "long words " * 20 + '"\n2,b@example.com,2024-01-02,"[]","' + "more words " * 20 + '"\n',
    "nested.ndjson": "".join(
        json.dumps({"id": f"e{n}", "at": f"2024-01-01T00:00:{n:02}Z", "user": {"email": f"a{n}@example.com", "name": "Ada Lovelace"},
                    "items": [{"sku": "A", "qty": n}], "amount_cents": 100 * n + 5, "a.b": n}) + "\n"
        for n in range(5)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPORTS)
def test_draft(shelf, snapshot, name):
    drafted = shelf.draft(name, EXPORTS[name])
    said = "\n".join([drafted.text, "--- to decide", *map(str, drafted.todos), "--- checked", *drafted.checked])
    assert said == snapshot
    checked = shelf.check(drafted)
    if checked is not None:
        _, found = checked
        assert found.events()["invalid"] == found.rows.unreadable == 0
        assert found.rows.read == found.rows.mapped


def parquet(**columns: object) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_parquet(buffer)
    return buffer.getvalue()


def test_typed_columns(shelf, snapshot):
    content = parquet(
        order_id=[10, 11, 12],
        created_at=[datetime(2024, 1, n, tzinfo=UTC) for n in (1, 2, 3)],
        email=["a@example.com", "b@example.com", None],
        phone=[2125550101, 2125550102, 2125550103],
        total=[1.5, 2.5, 3.5],
        day=[date(2024, 1, n) for n in (1, 2, 3)],
        gift=[True, False, True],
        tags=[["a"], ["b"], []],
        raw=[b"\xff", b"\xfe", b"\xfd"],
    )
    drafted = shelf.draft("orders.parquet", content)
    assert drafted.text == snapshot
    _, found = shelf.check(drafted)
    assert found.events()["ready"] == 3


def test_typed_dates_as_numbers(shelf):
    drafted = shelf.draft(
        "orders.parquet", parquet(id=["a", "b"], date=[20240131, 20240201], email=["a@example.com", "b@example.com"])
    )
    assert line_of(drafted.text, "eventTimestamp") == 'eventTimestamp: {template: "{date}", format: "%Y%m%d"}'
    _, found = shelf.check(drafted)
    assert found.events()["ready"] == 2


def test_many_columns(shelf):
    names = [f"field {n}" for n in range(300)]
    rows = [",".join(str(row * 7 + n % 5) for n in range(300)) for row in range(5)]
    drafted = shelf.draft("wide.csv", "id,email,date," + ",".join(names) + "\n"
                          + "".join(f"{n},a{n}@example.com,2024-01-0{n + 1},{row}\n" for n, row in enumerate(rows)))  # fmt: skip
    mapping = shelf.mapping(drafted)
    assert len(mapping.events[0].data) == 301
    _, found = shelf.check(drafted)
    assert found.events()["ready"] == 5


def test_more_columns_than_data_takes(shelf):
    head = "id,email,date," + ",".join(f"c{n}" for n in range(420))
    drafted = shelf.draft(
        "wide.csv",
        head + "\n" + "".join(f"{n},a{n}@example.com,2024-01-0{n + 1}" + f",{n}" * 420 + "\n" for n in range(3)),
    )
    event = shelf.mapping(drafted).events[0]
    assert len(event.data) <= 400
    assert len(event.data) + len(event.extra) == 421


def test_several_files(shelf):
    for n in range(3):
        shelf.put(
            f"exports/orders_{n}.csv",
            f"id,email,created_at,total\n{n},a{n}@example.com,2024-01-0{n + 1}T00:00:00Z,{n + 1}\n",
        )
    drafted = shelf.draft("exports/orders_*.csv")
    assert (
        line_of(drafted.text, "files:") == 'files: "exports/orders_*.csv"'
        or "files: exports/orders_*.csv" in drafted.text
    )
    _, found = shelf.check(drafted)
    assert found.events()["ready"] == 3


def test_only_a_part_of_a_long_export_is_read(shelf):
    for n in range(40):
        shelf.put(
            f"many/{n:02}.csv",
            "id,email,date\n" + "".join(f"{n}-{m},a{m}@example.com,2024-01-01\n" for m in range(600)),
        )
    looked = shelf.look("many", rows=100)
    assert not looked.sample.whole
    assert 100 <= looked.sample.rows < 40 * 600
    assert "from here and there" in looked.seen


def test_a_file_of_unknown_suffix(shelf):
    drafted = shelf.draft("export.dat", "id,email,date\n1,a@example.com,2024-01-01\n2,b@example.com,2024-01-02\n")
    assert "format: csv" in drafted.text
    assert shelf.check(drafted)[1].events()["ready"] == 2


@pytest.mark.parametrize(
    "above", ["Orders of March;;;\n;;;\n", "Orders;;made on Monday;\n\n;;;\n", '"Orders\nof March";;;\n']
)
def test_a_title_as_a_spreadsheet_pads_it(shelf, above):
    header, rows = "id;email;created;total\n", [f"{n};a{n}@example.com;2024-01-01T00:00:00Z;{n}\n" for n in range(9)]
    drafted = shelf.draft("orders.csv", above + header + "".join(rows))
    lines = above.count("\n")
    assert line_of(drafted.text, "csv:") == f"csv: {{skip_lines: {lines}}}"
    assert shelf.check(drafted)[1].events()["ready"] == 9


@pytest.mark.parametrize("first", ["a@example.com;;;", "id;;;", ";;x;", "id;email;;"])
def test_what_is_no_title_is_not_skipped(shelf, first):
    rows = [f"{n};a{n}@example.com;2024-01-01T00:00:00Z;{n}\n" for n in range(9)]
    assert "skip_lines" not in shelf.draft("orders.csv", first + "\n" + "".join(rows)).text


def test_lines_above_the_header(shelf):
    head = "Report;2024\nmade;on Monday\n"
    drafted = shelf.draft(
        "orders.csv",
        head + "id;email;created;total\n" + "".join(f"{n};a{n}@example.com;2024-01-01;{n}\n" for n in range(9)),
    )
    assert line_of(drafted.text, "csv:") == "csv: {skip_lines: 2}"
    assert shelf.check(drafted)[1].events()["ready"] == 9
