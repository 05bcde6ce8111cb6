"""The messages about wrong mappings, as a user reads them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backfill.mapping import parse

Said = Callable[..., list[str]]

WRONG = """\
# A mapping with a mistake in nearly every line.
source:
  file: exports/*.csv
  format: cvs
  timezone: America/New_Yrok
  where: "SELECT * FROM orders"
  csv: {delimiter: ";"}
  csv: {separator: ","}
event:
events:
  - eventName: Order Placed
    uniqueId: order
    value: "12.50"
    valueCurrency: DOLLAR
    customer:
      emial: "{email}"
      firstName: 5
      location: {countryCode: UK, latitude: north}
      customFields:
        Tier: {column: tier, map: {1: one, 2: 2}}
    data:
      Order ID: {order_id}
      Items: {column: items, type: int}
      Placed: {column: day, format: "%Y-%m-%d"}
      Note: "{note"
      Lines: [1, 2]
      Total: {sql: "SUM(qty)"}
  - eventTimestamp: "{at}"
    uniqueId: {hash: []}
delivery:
  api_key: abc
  rate: 0
  flows: yes
"""

GOLDEN = """\
m.yaml:3:3: unknown key "file" in source; did you mean "files"?
m.yaml:3:3: source.files is missing; as in files: "exports/orders_*.csv"
m.yaml:4:11: format has to be csv, parquet, ndjson, arrow or excel, not "cvs"; did you mean "csv"?
m.yaml:5:13: "America/New_Yrok" is no time zone; did you mean "America/New_York"?
m.yaml:6:10: SQL here is one expression over the row's columns; leave out SELECT, FROM and all that follows them
m.yaml:7:9: unknown key "delimiter" in source.csv; did you mean "separator"?
m.yaml:8:3: the key "csv" is here twice; first in line 7
m.yaml:9:1: unknown key "event" in the mapping; did you mean "events"?
m.yaml:11:5: eventTimestamp is missing: left out, the API would stamp history with today; as in eventTimestamp: "{created_at}"
m.yaml:12:15: uniqueId has no column: all events would have one id, and the API keep the first; as in "order:{order_id}"
m.yaml:13:12: value has to be a number, not "12.50"; write 12.50 without quotes
m.yaml:14:20: "DOLLAR" is no currency; ISO 4217, as in USD
m.yaml:16:7: unknown key "emial" in customer; did you mean "email"?
m.yaml:16:7: customer has none of id, email and phoneNumber; the API needs at least one
m.yaml:17:18: customer.firstName has to be a text, not the number 5; write "5" in quotes
m.yaml:18:31: "UK" is no country; did you mean "GB"?
m.yaml:18:45: customer.location.latitude has to be a number, not "north"
m.yaml:20:47: a map's values are of one kind: the number 2 is not like "one"; texts, numbers or booleans
m.yaml:22:17: data.Order ID is an object here, because {order_id} has no quotes; write "{order_id}"
m.yaml:23:36: type has to be string, number, integer, boolean, datetime, date or json, not "int"; did you mean "integer"?
m.yaml:24:29: format is for times, and data.Placed has no type; add type: datetime or type: date
m.yaml:25:14: "{" is never closed; write "{{" for a brace that is text
m.yaml:26:14: data.Lines takes one value, not a list; lists and objects go under data.$extra
m.yaml:27:21: an aggregate needs several rows; say which in source.group_by
m.yaml:28:5: eventName is missing; as in eventName: Order Placed
m.yaml:28:5: customer is missing: the API takes no event without one; as in customer: {email: "{email}"}
m.yaml:29:22: hash is empty: every event would have one id; name columns, or "*" for all
m.yaml:31:3: "api_key" has no place in a mapping; the secret comes from REDO_API_SECRET or REDO_API_SECRET_FILE; replace it if it is real
m.yaml:32:9: rate has to be above 0, not the number 0; requests per second, as in 95
m.yaml:33:10: flows has to be acknowledged, not "yes"
"""


def test_every_mistake_at_once() -> None:
    problems = parse(WRONG, "m.yaml").problems
    assert [problem.render("m.yaml") for problem in problems] == GOLDEN.splitlines()


@pytest.mark.parametrize(
    "event,message",
    [
        ("emial: x", '6:5: unknown key "emial" in the event; did you mean "email", under customer?'),
        ("event_name: x", '6:5: unknown key "event_name" in the event; did you mean "eventName"?'),
        ("xyz: x", '6:5: unknown key "xyz" in the event; it takes eventName, uniqueId, eventTimestamp, value, valueCurrency, customer, data and where'),
        ("client_secret: x", '6:5: "client_secret" has no place in a mapping; the secret comes from REDO_API_SECRET or REDO_API_SECRET_FILE; replace it if it is real'),
        ("value: abc", '6:12: value has to be a number, not "abc"'),
        ("value: true", "6:12: value has to be a number, not true"),
        ("value:", "6:11: value has no value; leave the key out, or give it one"),
        ("value: null", "6:12: value has no value; leave the key out, or give it one"),
        ("value: {column: a, type: boolean}", "6:30: value is a number: it can't have type: boolean; leave type out"),
        ("value: {column: a, format: '%Y'}", "6:24: format is for times, and value is number"),
        ("valueCurrency: usd", '6:20: "usd" is no currency; did you mean "USD"?'),
        ("valueCurrency: {column: a, map: {x: EURO}}", '6:41: "EURO" is no currency; did you mean "EUR"?'),
        ("data: 5", '6:11: data has to be an object, not the number 5; as in "Order ID": "{order_id}"'),
        ("data: {A: {b: 1}}", "6:15: data.A takes one value, not an object; lists and objects go under data.$extra"),
        ("data: {A: {column: x, typ: integer}}", '6:27: unknown key "typ" in data.A; did you mean "type"?'),
        ("data: {A: {colum: x}}", '6:16: unknown key "colum" in data.A; did you mean "column"?'),
        ("data: {A: {column: x, sql: y}}", "6:27: column and sql can't both be the value; keep one"),
        ("data: {A: {type: integer}}", "6:15: data.A has no value; give one of column, sql, template and const"),
        ("data: {A: {column: '{x}'}}", '6:24: column takes the bare name; write "x"'),
        ("data: {A: {column: [x]}}", "6:24: column has to be a column's name, not a list"),
        ("data: {A: {template: 5}}", '6:26: template has to be a text, not the number 5; write "5" in quotes'),
        ("data: {A: {const: [1]}}", "6:23: data.A has to be a text, number or boolean, not a list"),
        ("data: {A: {const: x, type: integer}}", '6:23: data.A has to be a whole number, not "x"'),
        ("data: {A: {const: x, type: datetime}}", '6:23: data.A has to be a date-time, not "x"'),
        ("data: {A: {column: x, type: json}}", "6:33: type: json has no place outside data.$extra"),
        ("data: {A: {collect: {b: c}}}", "6:16: collect has no place outside data.$extra"),
        ("data: {$extra: {A: {collect: {b: c}}}}", "6:25: collect needs several rows; say which in source.group_by"),
        ("data: {$extra: [1]}", '6:20: data.$extra has to be an object, not a list; as in Note: "{note}"'),
        ("data: {'': 1}", "6:12: a name in data is empty"),
        ("data: {$extra: {A: {' ': 1}}}", "6:25: a name in data.$extra.A is empty"),
        ("data: {A: 012}", '6:15: 012 could be a text or a number; write "012" if it is a text, else 12'),
        ("data: {A: 1e3}", '6:15: 1e3 could be a text or a number; write "1e3" if it is a text, else 1000'),
        ("data: {A: .inf}", '6:15: .inf could be a text or a number; write ".inf" if it is a text'),
        ("data: {A: 9007199254740993}", '6:15: 9007199254740993 is too large for the API\'s numbers; write "9007199254740993", as a text'),
        ("data: {A: 'x}y'}", '6:17: "}" closes nothing; write "}}" for a brace that is text'),
        ("data: {A: {template: 'x {}'}}", '6:29: "{}" names no column; write "{{}}" for braces that are text'),
        ("data: {A: {column: x, required: yes}}", '6:37: required has to be true or false, not "yes"'),
        ("data: {A: {column: x, on_invalid: skip}}", '6:39: on_invalid has to be reject or omit, not "skip"; did you mean "omit"?'),
        ("data: {A: {column: x, otherwise: y}}", "6:27: otherwise belongs to map, and there is none; for nulls there is default"),
        ("data: {A: {column: x, map: {a: 1}, otherwise: y}}", "6:51: map gives a number and otherwise a text; one key holds one kind of value"),
        ("data: {A: {column: x, map: {}}}", "6:32: map has to be an object, not an empty one; as in {g: Gold, s: Silver}"),
        ("data: {A: {column: x, map: {a: ~}}}", "6:36: map gives \"a\" no value; for null use sql, as in NULLIF(column, 'x')"),
        ("data: {A: {column: x, map: {a: 1, b: true}}}", "6:42: a map's values are of one kind: true is not like the number 1; texts, numbers or booleans"),
        ("data: {A: {column: x, default: [1]}}", "6:36: data.A takes one value, not a list; lists and objects go under data.$extra"),
        ("data: {A: {column: x, type: integer, default: none}}", '6:51: data.A has to be a whole number, not "none"'),
        ("data: {A: {column: x, region: US}}", "6:27: region is for customer.phoneNumber, not for data.A"),
        ("data: {A: {column: x, type: date, format: YYYY-MM-DD}}", '6:47: this format has no directive; write "%Y-%m-%d"'),
        ("data: {A: {column: x, type: date, format: epoch}}", '6:47: this format has no directive; did you mean "epoch_s"?'),
        ("data: {A: {column: x, type: date, format: '%d.%Q.%Y'}}", '6:51: "%Q" is no directive of a time format; as in "%Y-%m-%d %H:%M:%S"'),
        ("data: {A: {column: x, type: date, format: '%Y-%m-%'}}", '6:54: "%" is no directive of a time format; as in "%Y-%m-%d %H:%M:%S"'),
        ("data: {A: {column: x, type: datetime, format: '%H:%M'}}", '6:52: this format reads no year; as in "%Y-%m-%d %H:%M:%S"'),
        ("data: {A: {column: x, type: datetime, timezone: New York}}", '6:53: "New York" is no time zone; did you mean "America/New_York"?'),
        ("data: {A: {column: x, type: datetime, timezone: PST}}", '6:53: "PST" is no time zone; did you mean "America/Los_Angeles"?'),
        ("data: {A: {column: x, type: datetime, timezone: '+02:00'}}", '6:53: "+02:00" is no time zone; a fixed offset is written "Etc/GMT-2" (the sign is reversed there)'),
        ("data: {A: {column: x, type: datetime, timezone: localtime}}", '6:53: "localtime" is no time zone; zones have names such as "America/New_York"'),
        ("data: {A: {column: x, type: datetime, format: epoch_s, timezone: UTC}}", "6:60: epochs count in UTC: they have no timezone; leave it out"),
        ("data: {A: !!python/name:os.system x}", "6:15: tags are not read: !!python/name:os.system; a text with ! goes in quotes"),
        ("data: {A: 1, A: 2}", '6:18: the key "A" is here twice; first in line 6'),
        ("data: {A: 1, ? [x] : 2}", "6:20: a key has to be a text"),
        ("data: {A: 1, <<: {B: 2}}", "6:18: merge keys (<<) are not read; write the keys out"),
        ("where: 5", '6:12: where has to be a text, not the number 5; write "5" in quotes'),
        ("where: ''", "6:12: where is empty; as in \"status <> 'test'\""),
    ],
)  # fmt: skip
def test_a_mistake_in_an_event(said: Said, event: str, message: str) -> None:
    assert said(event=event) == [message]


@pytest.mark.parametrize(
    "customer,message",
    [
        ("phone: x", '8:7: unknown key "phone" in customer; did you mean "phoneNumber"?'),
        ("loyalty: x", '8:7: unknown key "loyalty" in customer; the API takes id, email, phoneNumber, firstName, lastName, location and customFields; what else is known goes under customFields'),
        ("location: {zip: x}", '8:18: unknown key "zip" in customer.location; did you mean "postalCode"?'),
        ("location: {planet: x}", '8:18: unknown key "planet" in customer.location; the API takes street1, street2, city, state, stateCode, postalCode, country, countryCode, ianaTimeZoneName, latitude and longitude'),
        ("location: {latitude: 100}", "8:28: customer.location.latitude has to be from -90 to 90, not 100"),
        ("location: {ianaTimeZoneName: Berlin}", '8:36: "Berlin" is no time zone; did you mean "Europe/Berlin"?'),
        ("location: {countryCode: us}", '8:31: "us" is no country; did you mean "US"?'),
        ("location: {postalCode: 01234}", '8:30: customer.location.postalCode has to be a text, not the number 01234; write "01234" in quotes'),
        ("location: Berlin", '8:17: customer.location has to be an object, not "Berlin"; as in {city: "{city}"}'),
        ("customFields: {A: {b: 1}}", "8:25: customer.customFields.A takes one value, not an object; give one value"),
        ("phoneNumber: {column: x, region: Germany}", '8:40: "Germany" is no country; ISO 3166-1 alpha-2, as in US'),
        ("lastName: {column: x, type: integer}", "8:35: customer.lastName is a text: it can't have type: integer; leave type out"),
        ("lastName: {column: x, timezone: UTC}", "8:29: timezone is for times, and customer.lastName is string"),
        ("lastName: {column: x, default: 5}", '8:38: customer.lastName has to be a text, not the number 5; write "5" in quotes'),
        ("lastName: {column: x, map: {a: true}}", '8:38: customer.lastName has to be a text, not true; write "true" in quotes'),
    ],
)  # fmt: skip
def test_a_mistake_in_a_customer(said: Said, customer: str, message: str) -> None:
    assert said(customer=customer) == [message]


@pytest.mark.parametrize(
    "source,message",
    [
        ("timezone: EST5ED", '1:34: "EST5ED" is no time zone; did you mean "EST5EDT"?'),
        ("csv: {separator: ';;'}", '1:41: separator has to be one character, not ";;"'),
        ("csv: {separator: tab}", '1:41: separator has to be one character, not "tab"; a tab is written "\\t"'),
        ("csv: {header: yes}", '1:38: header has to be true or false, not "yes"'),
        ("csv: {skip_lines: -1}", "1:42: skip_lines has to be a whole number from 0, not the number -1"),
        ("csv: {skip_lines: 1.5}", "1:42: skip_lines has to be a whole number from 0, not the number 1.5"),
        ("csv: {encoding: utf9}", '1:40: "utf9" is no text encoding; did you mean "utf-8"?'),
        ("csv: {encoding: base64}", '1:40: "base64" is no text encoding; as in utf-8 or windows-1252'),
        ("csv: {columns: a}", '1:39: source.csv.columns has to be a list of columns, not "a"; write [a]'),
        ("csv: {columns: [a, a]}", '1:43: the column "a" is here twice'),
        ("csv: {null_values: [[a]]}", "1:44: null_values has to be a list of texts, not a list"),
        ("numbers: {decimal: ','  , thousands: ','}", "1:33: decimal and thousands can't be the same mark; say both"),
        ("numbers: {decimal: x}", '1:43: decimal has to be . or ,, not "x"'),
        ("numbers: {thousands: 0}", '1:45: "0" can\'t stand between thousands; as in , or .'),
        ("group_by: id", '1:34: source.group_by has to be a list of columns, not "id"; write [id]'),
        ("group_by: []", "1:34: source.group_by has to be a list of columns, not an empty list; as in [order_id]"),
        ("group_by: {adjacent: false}", "1:34: source.group_by.columns is missing; as in columns: [order_id]"),
        ("ambiguous: first", '1:35: ambiguous has to be reject, earliest or latest, not "first"'),
        ("where: 'SUM(a) > 1', group_by: [a]", "1:32: an aggregate needs several rows; say which in source.group_by"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_source(said: Said, source: str, message: str) -> None:
    assert said(source=source) == [message]


@pytest.mark.parametrize(
    "files,message",
    [
        ("[]", '3:10: source.files is empty; as in "exports/orders_*.csv"'),
        ("5", '3:10: source.files has to be a text, not the number 5; write "5" in quotes'),
        ("ftp://example.com/a.csv", "3:10: ftp:// is not read; a path, or s3://, gs://, az://, https://"),
        ("[a.csv, gcs://bucket]", '3:18: gcs:// is not read; did you mean "gs"?'),
    ],
)
def test_a_mistake_in_the_files(orders: str, files: str, message: str) -> None:
    draft = parse(orders.replace("exports/orders_*.csv", files), "m.yaml")
    assert [problem.render("m.yaml") for problem in draft.problems] == [f"m.yaml:{message}"]


@pytest.mark.parametrize(
    "unique_id,message",
    [
        ("{column: a}", 'uniqueId has to be a template or a hash; as in "order:{order_id}" or {hash: [id]}'),
        ("{hash: a}", 'hash has to be a list of columns or "*", not "a"; write [a]'),
        ("{hash: [a, a]}", 'the column "a" is here twice'),
        ("{hash: [a], prefix: '{b}'}", "prefix is a plain text, without columns; put the column under hash"),
        ("{hash: [a], prefx: b}", 'unknown key "prefx" in uniqueId; did you mean "prefix"?'),
        ("{hash: [a], prefix: " + "x" * 224 + "}", "this uniqueId is sure to have more than 255 characters; use hash, or a shorter text"),
        ("'{a}" + "x" * 256 + "'", "this uniqueId is sure to have more than 255 characters; use hash, or a shorter text"),
        ("'{a'", '"{" is never closed; write "{{" for a brace that is text'),
        ("5", 'uniqueId has to be a text, not the number 5; write "5" in quotes'),
    ],
)  # fmt: skip
def test_a_mistake_in_the_unique_id(orders: str, unique_id: str, message: str) -> None:
    draft = parse(orders.replace('"order:{order_id}"', unique_id, 1), "m.yaml")
    assert [problem.message + f"; {problem.hint}" * bool(problem.hint) for problem in draft.problems] == [message]
    assert draft.problems[0].line == 9


@pytest.mark.parametrize(
    "timestamp,message",
    [
        ("5", "10:21: eventTimestamp has to be a date-time, not the number 5"),
        ("yesterday", '10:21: eventTimestamp has to be a date-time, not "yesterday"'),
        ("{column: a, on_invalid: omit}", "10:33: eventTimestamp can't be omitted; every event needs one"),
        (
            "{column: a, type: number}",
            "10:39: eventTimestamp is a date-time: it can't have type: number; leave type out",
        ),
        (
            "{column: a, timezone: Mars}",
            '10:43: "Mars" is no time zone; zones have names such as "America/New_York"',
        ),
    ],
)
def test_a_mistake_in_the_timestamp(orders: str, timestamp: str, message: str) -> None:
    draft = parse(orders.replace('"{created_at}"', timestamp), "m.yaml")
    assert [problem.render("m.yaml") for problem in draft.problems] == [f"m.yaml:{message}"]


@pytest.mark.parametrize("timestamp", ["2024-01-31", "'2024-01-31T10:00:00Z'", "{const: 5, format: epoch_s}"])
def test_right_timestamps(orders: str, timestamp: str) -> None:
    assert parse(orders.replace('"{created_at}"', timestamp)).problems == []


@pytest.mark.parametrize(
    "delivery,message",
    [
        ("store: 64", '10:10: store has to be a text, not the number 64; write "64" in quotes'),
        ("store: a/b", '10:10: "a/b" is no store id; as in 64e5a8a1af49a89df37e4ee7'),
        ("endpoint: batch", '10:13: endpoint has to be single or bulk, not "batch"'),
        ("rate: fast", '10:9: rate has to be a number, not "fast"'),
        ("rate: .inf", "10:9: rate has to be above 0, not the number .inf"),
        ("concurrency: 0", "10:16: concurrency has to be a whole number from 1, not the number 0"),
        ("secret: x", '10:3: "secret" has no place in a mapping; the secret comes from REDO_API_SECRET or REDO_API_SECRET_FILE; replace it if it is real'),
        ("retries: 5", '10:3: unknown key "retries" in delivery; it takes store, secrets, stores_at_once, endpoint, rate, concurrency, flows and not_newer_than'),
        ("not_newer_than: 72", '10:19: not_newer_than: "72" is no duration; a whole number with s, m, h, d or w, as in 72h, 3d or 90m'),
        ("not_newer_than: 3 Days", '10:19: not_newer_than: "3 Days" is no duration; did you mean "3d"?'),
        ("not_newer_than: 9999w", '10:19: not_newer_than: "9999w" is more than 100 years; a whole number with s, m, h, d or w, as in 72h, 3d or 90m'),
        ("not_newer_than: [3d]", "10:19: not_newer_than: a list is no duration; a whole number with s, m, h, d or w, as in 72h, 3d or 90m"),
        ("not_newer_than:", "10:18: not_newer_than: nothing is no duration; a whole number with s, m, h, d or w, as in 72h, 3d or 90m"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_delivery(said: Said, delivery: str, message: str) -> None:
    found = said(more=f"delivery:\n  {delivery}")
    place, rest = message.split(": ", 1)
    assert len(found) == 1
    assert found[0].startswith(f"9:{place.split(':')[1]}: {rest}")


def test_an_event_that_is_no_list() -> None:
    draft = parse("source: {files: a.csv}\nevents:\n  eventNam: x\n", "m.yaml")
    found = [problem.message for problem in draft.problems]
    assert found[0] == "events has to be a list, not an object"
    assert 'unknown key "eventNam" in the event' in found


def test_parts_that_are_missing() -> None:
    assert [problem.message for problem in parse("delivery: {}").problems] == [
        "source is missing",
        "events is missing",
    ]
    assert parse("- a\n- b").problems[0].message == "a mapping is an object with source and events, not a list"
    for empty in ("", "# nothing\n", "---\n...\n"):
        [problem] = parse(empty).problems
        assert (problem.line, problem.column) == (1, 1)
        assert "mapping" in problem.message


def test_too_many_properties(said: Said) -> None:
    names = "\n".join(f"  P{number}: 1" for number in range(401))
    assert said(event=f"data:\n{names}") == [
        "407:7: data has 401 properties, and the API takes at most 400; put the others under $extra"
    ]
    assert said(event=f"data:\n{names.replace('P400', '$extra').replace('$extra: 1', '$extra: {A: 1}')}") == []


def test_collect_inside_collect(said: Said) -> None:
    written = "data: {$extra: {A: {collect: {B: {sql: 'SUM(x)'}, C: {collect: {D: 1}}}}}}"
    assert said(event=written, source="group_by: [id]") == [
        "6:45: each row stands alone inside collect; aggregates go outside of it",
        "6:59: collect has no place inside collect",
    ]


def test_no_message_shows_the_machinery() -> None:
    text = "\n".join(problem.render("m.yaml") for problem in parse(WRONG).problems).lower()
    for word in ("pydantic", "traceback", "input should", "field required", "valueerror", "nonetype"):
        assert word not in text
