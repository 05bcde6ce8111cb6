"""Every form that a mapping may have."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from backfill.errors import MappingError, SettingsError
from backfill.mapping import (
    CsvOptions,
    Draft,
    GroupBy,
    HashId,
    Mapping,
    Numbers,
    TemplateId,
    Value,
    load,
    parse,
    read,
)

Draw = Callable[..., Draft]


def right(draft: Draft) -> Mapping:
    assert draft.problems == []
    assert draft.mapping is not None
    return draft.mapping


def test_the_whole_example(orders: str) -> None:
    mapping = right(parse(orders, "orders.yaml"))
    assert mapping.path == pathlib.Path("orders.yaml")
    assert mapping.source.files == ["exports/orders_*.csv"]
    assert mapping.source.timezone == "America/New_York"
    assert mapping.source.where == "status <> 'test'"
    assert (mapping.source.format, mapping.source.ambiguous, mapping.source.group_by) == (
        None,
        "reject",
        None,
    )
    [event] = mapping.events
    assert event.eventName == Value(const="Order Placed")
    assert event.uniqueId == TemplateId(template="order:{order_id}")
    assert event.eventTimestamp == Value(column="created_at")
    assert event.value == Value(column="total")
    assert event.customer.phoneNumber == Value(column="phone", region="US")
    assert event.customer.location.city == Value(column="city")
    assert event.customer.location.street1 is None
    assert event.customer.customFields == {"Loyalty Tier": Value(column="tier", map={"g": "Gold", "s": "Silver"})}
    assert list(event.data) == ["Order ID", "Item Count", "Discounted"]
    assert event.data["Item Count"] == Value(column="items", type="integer")
    assert event.data["Discounted"] == Value(sql="discount > 0")
    assert event.extra == {"Note": Value(column="note")}
    assert event.where is None
    assert mapping.delivery.store == "64e5a8a1af49a89df37e4ee7"
    assert (mapping.delivery.endpoint, mapping.delivery.rate, mapping.delivery.flows) == (
        "single",
        95,
        "acknowledged",
    )


def test_delivery_may_be_left_out(draw: Draw) -> None:
    delivery = right(draw()).delivery
    assert (delivery.store, delivery.endpoint, delivery.rate, delivery.concurrency, delivery.flows) == (
        None, "single", None, None, None,
    )  # fmt: skip


@pytest.mark.parametrize(
    "written,value",
    [
        ("Shop", Value(const="Shop")),
        ("5", Value(const=5)),
        ("-2.50", Value(const=-2.5)),
        ("true", Value(const=True)),
        ('"5"', Value(const="5")),
        ('"012"', Value(const="012")),
        ("no", Value(const="no")),
        ("on", Value(const="on")),
        ("Yes", Value(const="Yes")),
        ("2024-01-31", Value(const="2024-01-31")),
        ("12:30:45", Value(const="12:30:45")),
        ("1_000", Value(const="1_000")),
        ('"{a}"', Value(column="a")),
        ('"{a.b}"', Value(column="a.b")),
        ('"{a}/{b}"', Value(template="{a}/{b}")),
        ('"{{a}}"', Value(const="{a}")),
        ('"{{{a}}}"', Value(template="{{{a}}}")),
        ("{column: a}", Value(column="a")),
        ("{column: 2024}", Value(column="2024")),
        ('{column: "{odd}name"}', Value(column="{odd}name")),
        ("{sql: \"UPPER(a) || '-'\"}", Value(sql="UPPER(a) || '-'")),
        ('{template: "{a}"}', Value(template="{a}")),
        ('{const: "{a}"}', Value(const="{a}")),
        ("{const: 5, type: string}", Value(const=5, type="string")),
        ('{column: a, type: datetime, format: "%d.%m.%Y", timezone: Europe/Berlin}',
         Value(column="a", type="datetime", format="%d.%m.%Y", timezone="Europe/Berlin")),
        ("{column: a, type: date, format: epoch_ms}", Value(column="a", type="date", format="epoch_ms")),
        ("{column: a, map: {no: Nein, true: Ja, 1: Eins, 012: Zwölf, 1e3: Tausend, NULL: nichts, True: x, on: An}}",
         Value(column="a", map={"no": "Nein", "true": "Ja", "1": "Eins", "012": "Zwölf", "1e3": "Tausend",
                                "NULL": "nichts", "True": "x", "on": "An"})),
        ("{column: a, map: {x: 1, y: 2.5}}", Value(column="a", map={"x": 1, "y": 2.5})),
        ("{column: a, map: {x: true, y: false}}", Value(column="a", map={"x": True, "y": False})),
        ('{column: a, map: {x: y}, otherwise: "{b}", default: none}',
         Value(column="a", map={"x": "y"}, otherwise=Value(column="b"), default=Value(const="none"))),
        ("{column: a, required: true, on_invalid: omit}", Value(column="a", required=True, on_invalid="omit")),
        ("{column: a, default: {column: b, default: {column: c}}}",
         Value(column="a", default=Value(column="b", default=Value(column="c")))),
    ],
)  # fmt: skip
def test_values(draw: Draw, written: str, value: Value) -> None:
    found = right(draw(event=f"data: {{X: {written}}}")).events[0].data["X"]
    assert found == value
    assert type(found.const) is type(value.const)


def test_texts_without_quotes(draw: Draw) -> None:
    assert right(draw(event="data:\n  X: order:{a}")).events[0].data["X"] == Value(template="order:{a}")


def test_texts_over_several_lines(draw: Draw) -> None:
    draft = draw(event="data:\n  A: >-\n    one {a}\n    two\n  B:\n    sql: |\n      a > 1\n      AND b < 2")
    assert right(draft).events[0].data == {
        "A": Value(template="one {a} two"),
        "B": Value(sql="a > 1\nAND b < 2\n"),
    }


def test_extra_holds_anything(draw: Draw) -> None:
    written = """
    data:
      $extra:
        Flat: 1
        List: ["{a}", 2, {column: b, type: json}, [x], {Nested: "{c}"}]
        Object: {Deep: {Deeper: "{d}"}, Empty: {}}
        column: "{e}"
        Looks: {column: c, other: x}
    """
    assert right(draw(event=written)).events[0].extra == {
        "Flat": Value(const=1),
        "List": [
            Value(column="a"), Value(const=2), Value(column="b", type="json"), [Value(const="x")],
            {"Nested": Value(column="c")},
        ],
        "Object": {"Deep": {"Deeper": Value(column="d")}, "Empty": {}},
        "column": Value(column="e"),
        "Looks": {"column": Value(const="c"), "other": Value(const="x")},
    }  # fmt: skip


def test_groups(draw: Draw) -> None:
    written = """
    where: "SUM(qty) > 0"
    data:
      Total: {sql: "SUM(qty * price)", type: number}
      $extra:
        Items: {collect: {Title: "{item}", Sizes: ["{size}"], Quantity: {column: qty, type: integer}}}
    """
    mapping = right(draw(event=written, source="group_by: [order_id]"))
    assert mapping.source.group_by == GroupBy(columns=["order_id"], adjacent=True)
    assert mapping.events[0].extra["Items"] == Value(
        collect={
            "Title": Value(column="item"),
            "Sizes": [Value(column="size")],
            "Quantity": Value(column="qty", type="integer"),
        }
    )
    apart = right(draw(source="group_by: {columns: [a, b], adjacent: false}"))
    assert apart.source.group_by == GroupBy(columns=["a", "b"], adjacent=False)


@pytest.mark.parametrize(
    "written,unique_id",
    [
        ('"{a}-{b}"', TemplateId(template="{a}-{b}")),
        ('{hash: "*"}', HashId(hash="*")),
        (
            "{hash: [a, b], prefix: 'cdnow:', occurrence: true}",
            HashId(hash=["a", "b"], prefix="cdnow:", occurrence=True),
        ),
        ("{hash: [2024]}", HashId(hash=["2024"])),
    ],
)
def test_unique_ids(written: str, unique_id: TemplateId | HashId, orders: str) -> None:
    draft = parse(orders.replace('"order:{order_id}"', written, 1), "m.yaml")
    assert right(draft).events[0].uniqueId == unique_id


@pytest.mark.parametrize(
    "written,key,expected",
    [
        ("format: parquet", "format", "parquet"),
        ("ambiguous: latest", "ambiguous", "latest"),
        ('numbers: {decimal: ",", thousands: "."}', "numbers", Numbers(decimal=",", thousands=".")),
        ("timezone: UTC", "timezone", "UTC"),
        ('csv: {separator: "\\t", quote: "", encoding: windows-1252, header: false, columns: [a, 2], skip_lines: 2}', "csv",
         CsvOptions(separator="\t", quote="", encoding="windows-1252", header=False, columns=["a", "2"], skip_lines=2)),
        ('csv: {comment: "#", null_values: [NULL, NA, -, ~, 0, ""]}', "csv",
         CsvOptions(comment="#", null_values=["NULL", "NA", "-", "~", "0", ""])),
    ],
)  # fmt: skip
def test_sources(draw: Draw, written: str, key: str, expected: Any) -> None:
    assert getattr(right(draw(source=written)).source, key) == expected


@pytest.mark.parametrize("written", ["a.csv", "[a.csv, 's3://bucket/b/*.parquet']", "C:\\exports"])
def test_files(orders: str, written: str) -> None:
    files = right(parse(orders.replace("exports/orders_*.csv", written), "m.yaml")).source.files
    assert files == ([written] if written[0] != "[" else ["a.csv", "s3://bucket/b/*.parquet"])


def test_two_events_of_one_row(orders: str) -> None:
    event = orders[orders.index("  - eventName") : orders.index("delivery:")]
    mapping = right(parse(orders.replace("delivery:", event + "    where: total > 5\n\ndelivery:"), "m.yaml"))
    assert [event.where for event in mapping.events] == [None, "total > 5"]


def test_anchors_are_copied(draw: Draw) -> None:
    data = right(draw(event="data: {A: &x {column: a, type: integer}, B: *x}")).events[0].data
    assert data["A"] == data["B"] == Value(column="a", type="integer")


def test_numbers_for_number_fields(draw: Draw) -> None:
    mapping = right(draw(event="value: 12.50", customer="location: {latitude: -5, longitude: '{lon}'}"))
    assert mapping.events[0].value == Value(const=12.5)
    assert mapping.events[0].customer.location.latitude == Value(const=-5)


@pytest.mark.parametrize("raw", [b"\xef\xbb\xbf", b"", b"--- \n", b"%YAML 1.2\n---\n"])
def test_load(tmp_path: pathlib.Path, orders: str, raw: bytes) -> None:
    path = tmp_path / "orders.yaml"
    path.write_bytes(raw + orders.replace("\n", "\r\n").encode())
    assert load(path).path == path


def test_load_raises_all_problems(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("source: {}\nevents: []\n")
    with pytest.raises(MappingError) as caught:
        load(path)
    assert len(caught.value.problems) == 2
    assert caught.value.status == 78


def test_no_file(tmp_path: pathlib.Path) -> None:
    with pytest.raises(SettingsError, match=r"can't read the mapping .*none\.yaml: No such file"):
        read(tmp_path / "none.yaml")
    with pytest.raises(SettingsError, match="can't read the mapping"):
        read(tmp_path)


def test_the_models_are_frozen_and_closed(orders: str) -> None:
    mapping = right(parse(orders, "m.yaml"))
    with pytest.raises(ValidationError):
        mapping.source.timezone = "UTC"
    for wrong in ({}, {"column": "a", "sql": "b"}, {"column": "a", "typ": "x"}):
        with pytest.raises(ValidationError):
            Value.model_validate(wrong)
