"""What is found out about columns, one thing at a time."""

from __future__ import annotations

import pytest

from backfill.draft import Drafted, wrong_answer
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
    assert line_of(text, "csv:") == 'csv: {null_values: ["N/A", "NULL"]}'
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


def orders(shelf, header: str, *rows: str, above: str = "") -> str:
    return shelf.draft("orders.csv", above + "\n".join([header, *rows]) + "\n").text


def uncommented(text: str) -> str:
    assert text.count("  # where: ") == 1, text
    return text.replace("  # where: ", "  where: ")


@pytest.mark.parametrize(
    "name, cells, where, left_out",
    [
        ("Status", ["paid", "paid", "Test", "storniert"], "\"Status\" NOT IN ('Test', 'storniert')", 2),
        (
            "payment status",
            ["paid", "", "voided", "paid"],
            '"payment status" <> \'voided\' OR "payment status" IS NULL',
            1,
        ),
        ("financial_status", ["paid", "canceled", "paid", "refunded"], "financial_status <> 'canceled'", 1),
        ("is_cancelled", ["yes", "no", "no", "no"], "LOWER(is_cancelled) = 'no' OR is_cancelled IS NULL", 1),
        ("Cancelled at", ["", "2024-01-03", "2024-02-03", ""], '"Cancelled at" IS NULL', 2),
    ],
)
def test_rows_that_nobody_wants_are_proposed_to_be_left_out(shelf, name, cells, where, left_out):
    rows = [f"{n},a{n}@example.com,2024-01-{n + 1:02}T00:00:00Z,{cell}" for n, cell in enumerate(cells)]
    text = orders(shelf, f"id,email,created_at,{name}", *rows)
    says = "row says" if left_out == 1 else "rows say"
    assert f"{left_out} {says} " in text or "marks what was cancelled" in text or "2 rows have a time" in text
    mapping = parse(uncommented(text), shelf.folder / "m.yaml").mapping
    assert mapping is not None
    assert mapping.source.where == where
    _, found = shelf.check(Drafted(uncommented(text), [], []))
    assert (found.rows.filtered, found.events()["ready"]) == (left_out, 4 - left_out)


def test_more_conditions_are_one(shelf):
    rows = [f"{n},a{n}@example.com,2024-01-{n + 1:02}T00:00:00Z,{('paid', 'void')[n == 2]},{n == 3}" for n in range(6)]
    text = orders(shelf, "id,email,created_at,status,test", *rows)
    assert '1 row says "void" in column "status"; column "test" marks tests; to leave them out take the # away:' in text
    assert "(status <> 'void') AND (LOWER(test) = 'false' OR test IS NULL)" in uncommented(text)


def test_an_orders_status_is_asked_of_its_group(shelf):
    """It may stand on the first row alone: without that the others would be taken for the order."""
    cells = [("paid", "new"), ("", "new"), ("void", "new"), ("", "new"), ("paid", "new"), ("", "storno")]
    rows = [
        f"{n // 2},a{n // 2}@example.com,2024-01-{n // 2 + 1:02}T00:00:00Z,{a},{b},i{n}"
        for n, (a, b) in enumerate(cells)
    ]
    text = orders(shelf, "order_id,email,created_at,status,line_status,item", *rows)
    assert "group_by: [order_id]" in text
    assert text.count("to leave them out take the # away") == 2
    source, event = text.split("events:")
    assert "  # where: \"line_status <> 'storno'\"" in source
    assert "    # where: \"status <> 'void' OR status IS NULL\"" in event
    live = f"{source}events:{event.replace('    # where: ', '    where: ')}"
    _, found = shelf.check(Drafted(live, [], []))
    assert (found.rows.filtered, found.events()["ready"]) == (2, 2)


@pytest.mark.parametrize("name", ["refunds.csv", "cancelled_orders.csv"])
def test_what_was_cancelled_is_wanted_where_it_is_the_event(shelf, name):
    rows = [f"{n},a{n}@example.com,2024-01-{n + 1:02}T00:00:00Z,{('done', 'cancelled')[n % 2]}" for n in range(6)]
    assert "where:" not in shelf.draft(name, "\n".join(["id,email,created_at,status", *rows]) + "\n").text


@pytest.mark.parametrize("name", ["note", "event"])
def test_other_columns_say_nothing_of_tests(shelf, name):
    rows = [f"{n},a{n}@example.com,2024-01-{n + 1:02}T00:00:00Z,{('paid', 'cancelled')[n % 2]}" for n in range(6)]
    assert "where:" not in orders(shelf, f"id,email,created_at,{name}", *rows)


@pytest.mark.parametrize("word", ["k.A.", "N/A", "-", "null", "None", "n/a", "#N/A", "\u2013", "k. A."])
@pytest.mark.parametrize("cells", [("4.5", "5"), ("2024-02-01", "2024-02-02"), ("b@example.com", "c@example.com"), ("yes", "no"),
                                   ("+49 170 1234567", "+49 170 1234568")])  # fmt: skip
def test_words_for_null_where_the_rest_is_of_a_type(shelf, word, cells):
    rows = [
        f'{n},a{n}@example.com,2024-01-01T00:00:00Z,"{cell}"' for n, cell in enumerate([*cells, word, *cells, word])
    ]
    text = orders(shelf, "id,email,created_at,x", *rows)
    assert line_of(text, "csv:") == f'csv: {{null_values: ["{word}"]}}'
    assert f'taken for empty, in all columns: "{word}" in 2 cells (as in x)' in text
    _, found = shelf.check(shelf.draft("orders.csv"))
    assert (found.events()["ready"], [*found.problems]) == (6, [])


def test_words_that_may_be_values_are_none_for_null(shelf):
    rows = [f"{n},a{n}@example.com,2024-01-01T00:00:00Z,{cell}" for n, cell in enumerate(["red", "None", "-", "red"])]
    assert "null_values" not in orders(shelf, "id,email,created_at,gift", *rows)


def test_namibia_is_no_word_for_null(shelf):
    cells = ["DE,5", "NA,6", "DE,NA", "DE,7"]
    rows = [f"{n},a{n}@example.com,2024-01-01T00:00:00Z,{cell}" for n, cell in enumerate(cells)]
    text = orders(shelf, "id,email,created_at,country,points", *rows)
    assert "null_values" not in text
    assert line_of(text, "countryCode") == 'countryCode: "{country}"'


@pytest.mark.parametrize("bad", ["31.02.2023", "0000-00-00", "12.31.2023", "soon", "00.00.0000"])
def test_one_odd_date_is_told_by_its_place(shelf, bad):
    dates = [*(f"{n + 1:02}.03.2023" for n in range(28)), bad]
    rows = [f"{n},a{n}@example.com,{date}" for n, date in enumerate(dates)]
    text = orders(shelf, "id,email,datum", *rows)
    assert 'format: "%d.%m.%Y"' in line_of(text, "eventTimestamp")
    assert "which is right?" not in text
    assert f'no date: "{bad}" at orders.csv:30' in text.replace("\n    #", "")
    assert "28 of 29 are dates" in text


def test_a_bad_date_proves_nothing(shelf):
    rows = [f"{n},a{n}@example.com,{date}" for n, date in enumerate(["01/02/2023", "02/31/2023", "03/02/2023"])]
    assert "# TODO: the data can't tell whether day or month comes first" in orders(shelf, "id,email,date", *rows)


def test_dates_of_both_kinds_are_told_by_their_places(shelf):
    dates = ["13/01/2023", "14/01/2023", "01/15/2023", "01/16/2023"]
    text = orders(shelf, "id,email,date", *(f"{n},a{n}@example.com,{date}" for n, date in enumerate(dates)))
    todo = text.replace("\n    #  ", "")
    assert 'day first ("13/01/2023" at orders.csv:2) and some the month ("01/15/2023" at orders.csv:4)' in todo


def test_an_odd_date_that_may_be_personal_is_not_shown(shelf):
    births = [*(f"1980-01-{n + 10}" for n in range(9)), "a@example.com", "x"]
    rows = [f"{n},2024-01-01T00:00:00Z,b{n}@example.com,{birth},{birth}" for n, birth in enumerate(births)]
    text = orders(shelf, "id,created_at,email,birthday,checked", *rows)
    assert "no date: at orders.csv:11, at orders.csv:12" in text
    assert 'no date: at orders.csv:11, "x" at orders.csv:12' in text.replace("\n      #", "")


@pytest.mark.parametrize(
    "cells, lines",
    [
        (["DE", "at", "DE", "CH"], ['countryCode: "{land}"']),
        (["DE"] * 19 + ["??"], ["countryCode: {column: land, on_invalid: omit}"]),
        (
            ["Germany", "Deutschland", "Südkorea", "Côte d\u2019Ivoire"],
            ['country: "{land}"', 'map: {"Côte d\u2019Ivoire": CI, Deutschland: DE, Germany: DE, "Südkorea": KR}'],
        ),
        (["Germany"] * 19 + ["Atlantis"], ['country: "{land}"', "map: {Germany: DE}, on_invalid: omit}"]),
        (["DE"] * 19 + ["Germany"], ["map: {DE: DE, Germany: DE}, on_invalid: omit}"]),
        (["Northern realm", "Southern realm"] * 3, ['country: "{land}"']),
    ],
)
def test_countries_by_code_or_by_name(shelf, cells, lines):
    rows = [f"{n},a{n}@example.com,2024-01-01T00:00:00Z,{cell}" for n, cell in enumerate(cells)]
    text = orders(shelf, "id,email,created_at,land", *rows)
    assert [line for line in lines if line not in text] == []
    assert text.count("{land}") + text.count("column: land") == len(lines)
    assert ("1 of 20 cells have no country that is known" in text) == ("Atlantis" in cells)
    _, found = shelf.check(shelf.draft("orders.csv"))
    assert found.events()["ready"] == len(cells)


def test_more_countries_than_are_shown_are_known_by_their_codes(shelf):
    from backfill import api

    rows = [f"{n},a{n}@example.com,2024-01-01T00:00:00Z,{code}" for n, code in enumerate(sorted(api.COUNTRIES)[:60])]
    assert line_of(orders(shelf, "id,email,created_at,Land", *rows), "countryCode") == 'countryCode: "{Land}"'


def test_what_is_ragged_or_above_the_header_is_told(shelf):
    rows = [f"{n},a{n}@example.com,2024-01-01T00:00:00Z" for n in range(9)]
    rows[4:4] = ["broken,1", "1,2,3,4"]
    shelf.put("orders.csv", "Orders of the shop\n\n" + "\n".join(["id,email,created_at", *rows]) + "\n")
    looked = shelf.look("orders.csv")
    assert looked.seen.startswith("all 9 rows of orders.csv (")
    assert looked.seen.endswith("; 2 more rows are ragged and were skipped, from orders.csv:8 on")
    assert '# above the header, and skipped: "Orders of the shop"' in looked.draft({}).text
    shelf.put("orders.csv", "\n".join(["id,email,created_at", *rows[:5], *rows[6:]]) + "\n")
    assert shelf.look("orders.csv").seen.endswith("; 1 more row is ragged and was skipped, orders.csv:6")


def test_amounts_that_nearly_all_are_0_are_told(shelf):
    rows = [f"{n},a{n}@example.com,2024-01-01T00:00:00Z,{3 if n == 5 else '0.00'},0,$0.00" for n in range(20)]
    text = orders(shelf, "id,email,created_at,discount,tax,total", *rows)
    assert "0 in 19 of 20 rows, which the API does not store in data; " in text
    assert "The same in every row, left out: tax (0)." in text
    assert "0 in 20 of 20 rows; " in text
