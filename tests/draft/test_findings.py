"""What is found out about columns, one thing at a time."""

from __future__ import annotations

import pytest

from backfill.draft import wrong_answer
from backfill.draft.names import read_name, title
from backfill.draft.scalars import scalar
from backfill.mapping import parse
from tests.draft.support import line_of


def column(shelf, name: str, *cells: str, **answers: str) -> str:
    """The draft of an export with this column among others."""
    rows = [f'{n},a{n}@example.com,2024-01-{n % 28 + 1:02}T00:00:00Z,"{cell}"' for n, cell in enumerate(cells)]
    return shelf.draft("orders.csv", "\n".join([f'id,email,created_at,"{name}"', *rows]) + "\n", **answers).text


@pytest.mark.parametrize(
    "cells, code",
    [
        (["3", "4"], "type: integer"),
        (["3.5", "4"], "type: number"),
        (["yes", "no"], "type: boolean"),
        (["oui", "non"], "map: {non: false, oui: true}"),
        (["007", "008"], '"{x}"'),
        (["12345678901234567", "1"], '"{x}"'),
        (["2024-01-31", "2024-02-01"], "type: date"),
        (["2024-01-31 10:00:00+01:00", "2024-02-01 10:00:00+01:00"], "type: datetime"),
        (["31.12.2023 10:00", "01.02.2024 10:00"], 'type: datetime, format: "%d.%m.%Y %H:%M"'),
        (["5 Jan 2024", "17 Feb 2024"], 'type: date, format: "%d %b %Y"'),
        (["January 5, 2024", "March 17, 2024"], 'type: date, format: "%B %d, %Y"'),
        (["2024/01/05", "2024/12/17"], 'type: date, format: "%Y/%m/%d"'),
        (["Fri, 05 Jan 2024 10:00:00 +0100", "Sat, 06 Jan 2024 10:00:00 +0100"], 'format: "%a, %d %b %Y %H:%M:%S %z"'),
        (["1/2/24 3:04:05 PM", "1/31/24 3:04:05 AM"], 'format: "%m/%d/%y %I:%M:%S %p"'),
        (["$3.50", "$4.00"], "REPLACE(x, '$', '')"),
        (["3 %", "4 %"], "REPLACE(x, '%', '')"),
        (["red", "blue"], '"{x}"'),
    ],
)
def test_kinds_of_texts(shelf, cells, code):
    text = column(shelf, "x", *cells, *cells)
    assert code in line_of(text, "X: ")
    _, found = shelf.check(shelf.draft("orders.csv"))
    assert found.events()["ready"] == 2 * len(cells)


@pytest.mark.parametrize(
    "cell, other", [("1.234,5", "12,5"), ("1 234,5", "1 000,5"), ("1'234.5", "12.5"), ("1,234.5", "12.5")]
)
def test_numbers_are_written_in_one_way(shelf, cell, other):
    text = column(shelf, "total", cell, other)
    mapping = shelf.mapping(shelf.draft("orders.csv"))
    assert mapping.source.numbers.decimal == ("," if other.endswith(",5") else ".")
    assert "value: " in text
    _, found = shelf.check(shelf.draft("orders.csv"))
    assert found.events()["ready"] == 2


def test_a_thousand_or_a_fraction_is_for_the_user(shelf):
    text = column(shelf, "total", "1,234", "2,345")
    assert "# TODO: 1,234 could be a thousand" in text


@pytest.mark.parametrize("name, shown", [("first name", ["Ada", "Ada"]), ("notes", ["a", "a"]), ("x", ["(212) 555-0101"] * 2),
                                         ("birthday", ["1980-01-31"] * 2), ("ip", ["10.0.0.1"] * 2), ("x", ["5551234"] * 4)])  # fmt: skip
def test_what_may_be_personal_is_not_shown(shelf, name, shown):
    text = column(shelf, name, *shown, "b")
    assert all(cell not in text for cell in shown if len(cell) > 1)
    assert "such as a\n" not in text


@pytest.mark.parametrize("name", ["Password", "api_token", "Card Number", "SSN", "cvv", "iban"])
def test_secrets_are_left_out(shelf, name):
    text = column(shelf, name, "hunter2", "hunter3")
    assert f"look like secrets: {name}." in text
    assert "hunter" not in text
    assert f"{{{name}}}" not in text


def test_card_numbers_are_secrets_by_their_digits(shelf):
    text = column(shelf, "x", "4111 1111 1111 1111", "5500005555555559")
    assert "look like secrets: x." in text


def test_constant_and_empty_columns_are_listed(shelf):
    head = "id,email,created_at,shop,nothing\n"
    text = shelf.draft("orders.csv", head + "".join(f"{n},a{n}@example.com,2024-01-01,Main,\n" for n in range(5))).text
    assert "# The same in every row, left out: shop (Main)." in text
    assert "# Empty, left out: nothing." in text


def test_words_for_null(shelf):
    text = column(shelf, "total", "5", "NULL", "N/A")
    assert line_of(text, "csv:") == 'csv: {null_values: ["NULL", "N/A"]}'
    assert shelf.check(shelf.draft("orders.csv"))[1].events()["ready"] == 3


@pytest.mark.parametrize(
    "cells, where",
    [
        (["paid", "test", "paid", "test"] * 2, "status <> 'test'"),
        (["paid", "test", "", "test"] * 2, "status <> 'test' OR status IS NULL"),
    ],
)
def test_rows_that_look_like_tests(shelf, cells, where):
    text = column(shelf, "status", *cells)
    suggested = next(line for line in text.splitlines() if line.startswith("  # where:"))
    mapping = parse(text.replace(suggested, suggested.replace("# where", "where")), shelf.folder / "m.yaml").mapping
    assert mapping.source.where == where


def test_answers_take_the_place_of_guesses(shelf):
    shelf.put(
        "data.csv",
        "when,mail,phone,amount\n01/02/2024 10:00,a@example.com,0171 5550123,5\n02/03/2024 11:00,b@example.com,,6\n",
    )
    looked = shelf.look("data.csv")
    assert [question.key for question in looked.questions] == [
        "timezone",
        "date_order",
        "event_name",
        "currency",
        "phone_region",
    ]
    answers = {
        "timezone": "Europe/Berlin",
        "date_order": "day",
        "event_name": "Sold {x}",
        "currency": "EUR",
        "phone_region": "DE",
    }
    drafted = looked.draft(answers)
    assert drafted.todos == []
    event = shelf.mapping(drafted).events[0]
    assert event.eventTimestamp.format == "%d/%m/%Y %H:%M"
    assert event.valueCurrency.const == "EUR"
    assert event.customer.phoneNumber.region == "DE"
    assert event.eventName.const == "Sold {x}"


@pytest.mark.parametrize("key, bad, good", [("timezone", "Berlin", "Europe/Berlin"), ("currency", "Euro", "EUR"), ("phone_region", "UK", "GB"),
                                            ("date_order", "year", "day"), ("event_name", " ", "Sold")])  # fmt: skip
def test_answers_that_can_not_be_taken(shelf, key, bad, good):
    shelf.put(
        "data.csv", "when,mail,phone,amount\n01/02/2024,a@example.com,0171 5550123,5\n02/03/2024,b@example.com,,6\n"
    )
    question = next(one for one in shelf.look("data.csv").questions if one.key == key)
    assert wrong_answer(question, bad)
    assert not wrong_answer(question, good)


def test_another_id_of_those_offered(shelf):
    shelf.put("orders.csv", "order_id,line_id,email,created_at,sku\n" + "".join(
        f"{n // 2},L{n},c{n // 2}@example.com,2024-01-0{n // 2 + 1},S{n}\n" for n in range(8)))  # fmt: skip
    looked = shelf.look("orders.csv")
    question = next(one for one in looked.questions if one.key == "id")
    assert question.default == "group by order_id"
    assert question.choices == ("line_id", "group by order_id", "hash")
    for choice, events in (("line_id", 8), ("hash", 8), ("group by order_id", 4)):
        _, found = shelf.check(looked.draft({"id": choice}))
        assert found.events()["ready"] == events


def test_a_few_rows_that_are_there_twice_do_not_hide_an_id(shelf):
    rows = [f"e{n},a{n % 9}@example.com,2024-01-01T00:00:00Z" for n in range(300)]
    drafted = shelf.draft("things.csv", "\n".join(["event_id,email,created_at", *rows, rows[7]]) + "\n")
    assert line_of(drafted.text, "uniqueId") == 'uniqueId: "things:{event_id}"'
    assert "different in 300 of 301 rows" in drafted.text


def test_lines_without_an_order_total_are_summed(shelf):
    drafted = shelf.draft("orders.csv", "order_id,email,created_at,sku,qty,price\n" + "".join(
        f"{n // 2},c{n // 2}@example.com,2024-01-0{n // 2 + 1},S{n},{n % 3 + 1},{n}.50\n" for n in range(8)))  # fmt: skip
    assert line_of(drafted.text, "value:") == 'value: {sql: "SUM(price * qty)"}'
    assert any("is it the whole's worth?" in words for _, words in drafted.todos)
    assert shelf.check(drafted)[1].events()["ready"] == 4


@pytest.mark.parametrize("name, role, rank", [("E-Mail", "email", 0), ("billing_city", "city", 3), ("customer.home.zip", "postal_code", 3),
                                              ("product_name", "", 0), ("Customer Name", "full_name", 1), ("customerFirstName", "first_name", 1)])  # fmt: skip
def test_what_names_hint_at(name, role, rank):
    found = read_name(name)
    assert found.role == role
    assert found.rank == rank or not role


@pytest.mark.parametrize(
    "name, shown",
    [("order_id", "Order ID"), ("itemCount", "Item Count"), ("SKU", "SKU"), ("$value", "Value"), ("  ", "Column")],
)
def test_names_for_people(name, shown):
    assert title(name) == shown


@pytest.mark.parametrize("text", ["yes", "1", "a: b", "- a", "#x", "", " a", "a ", "null", "é", "\u2028", "\ud7ff", '"', "'", "{a}", "[a", "*a", "&a", "!a",
                                  "%a", "@a", "`a", "a\\b", "0x1", "1e3", ".5", "~", "\x7f", "\U0001f600", "a#b", "a #b", "on", "No"])  # fmt: skip
def test_texts_mean_themselves_in_yaml(text):
    draft = parse(f"source: {{files: {scalar(text)}}}\nevents: []\n")
    assert draft.source is None or draft.source.files == [text]
    if text.strip():
        assert draft.source is not None


def test_a_day_and_its_time_in_another_column(shelf):
    drafted = shelf.draft(
        "sales.csv",
        "id,Date,Time,email,Gross\n" + "".join(f"{n},1/{n}/2024,3:{n} PM,a{n}@example.com,5\n" for n in range(10, 20)),
    )
    assert (
        line_of(drafted.text, "eventTimestamp")
        == 'eventTimestamp: {template: "{Date} {Time}", format: "%m/%d/%Y %I:%M %p"}'
    )
    assert shelf.check(drafted)[1].events()["ready"] == 10


@pytest.mark.parametrize(
    "better, worse",
    [("Grand Total (Base)", "Subtotal"), ("total", "price"), ("amount", "cost"), ("order_total", "item_price")],
)
def test_which_number_is_the_worth(shelf, better, worse):
    drafted = shelf.draft(
        "orders.csv",
        f"id,email,created_at,{worse},{better}\n1,a@example.com,2024-01-01,5,6\n2,b@example.com,2024-01-02,7,8\n",
    )
    assert f"{{{better}}}" in line_of(drafted.text, "value: ")


@pytest.mark.parametrize(
    "name, text", [("Number of Items", False), ("Item Number", True), ("no_of_orders", False), ("Invoice No", True)]
)
def test_numbers_that_count_and_numbers_that_name(shelf, name, text):
    line = column(shelf, name, "5", "6", "6")
    assert ("type: integer" in line) != text


def test_last_names_first(shelf):
    text = column(shelf, "customer name", "Lovelace, Ada", "Hopper, Grace", "Liskov, Barbara")
    assert "TRIM(SPLIT_PART(" in line_of(text, "firstName")
    assert shelf.check(shelf.draft("orders.csv"))[1].events()["ready"] == 3


def test_a_row_without_its_id_does_not_make_events_of_line_items(shelf):
    lines = ["order_no;day;email;total;item"]
    for order in range(40):
        lines += [f"A{order};2024-03-{order % 28 + 1:02};c{order}@example.com;30;{item}" for item in ("cup", "pot")]
    lines[33] = ";2024-03-17;c16@example.com;30;cup"  # somebody has deleted the cell
    lines += ["total;;;1200;"]
    drafted = shelf.draft("orders.csv", "\n".join(lines) + "\n")
    assert 'group_by: ["order_no"]' in drafted.text or "group_by: [order_no]" in drafted.text
    assert 'uniqueId: "order:{order_no}"' in drafted.text
