"""Positions, and the columns that a file refers to."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from backfill.mapping import Draft, Reference, parse

Draw = Callable[..., Draft]


@pytest.mark.parametrize(
    "path,place",
    [
        ((), (2, 1)),
        (("source",), (3, 3)),
        (("source", "where"), (5, 10)),
        (("source", "csv", "separator"), (3, 3)),
        (("events",), (8, 3)),
        (("events", 0), (8, 5)),
        (("events", 0, "eventName"), (8, 16)),
        (("events", 0, "customer", "email"), (14, 14)),
        (("events", 0, "customer", "phoneNumber", "region"), (15, 44)),
        (("events", 0, "customer", "phoneNumber", "type"), (15, 20)),
        (("events", 0, "customer", "location", "countryCode"), (17, 47)),
        (("events", 0, "data", "$extra", "Note"), (25, 15)),
        (("events", 0, "data", "No such"), (21, 7)),
        (("events", 7), (8, 3)),
        (("delivery", "rate"), (30, 9)),
        (("nowhere",), (2, 1)),
    ],
)
def test_positions(orders: str, path: tuple[str | int, ...], place: tuple[int, int]) -> None:
    mapping = parse(orders, "m.yaml").mapping
    assert mapping is not None
    assert mapping.position(path) == place


def test_references_point_at_the_names(orders: str) -> None:
    lines = orders.split("\n")
    found = parse(orders, "m.yaml").references()
    assert [reference.column for reference in found] == [
        "status", "order_id", "created_at", "total", "currency", "email", "phone", "first_name", "city", "country_code",
        "tier", "order_id", "items", "discount", "note",
    ]  # fmt: skip
    for reference in found:
        assert lines[reference.line - 1][reference.column_no - 1 :].startswith(reference.column)
    assert found[5] == Reference(("events", 0, "customer", "email"), "email", 14, 16, "customer.email")
    assert found[6].context == "customer.phoneNumber"
    assert found[-1].context == "data.$extra.Note"


def test_references_of_every_kind(draw: Draw) -> None:
    written = """
    where: "w.x > 1 AND \\"Two Words\\" = 'x'"
    data:
      A: "{a} {b.c}"
      B: {column: d, map: {x: y}, otherwise: "{e}", default: {sql: "COALESCE(f, g)"}}
      $extra: {L: [{collect: {K: "{h}"}}, "{i}"]}
    """
    draft = draw(event=written, source="group_by: {columns: [j]}")
    assert [reference.column for reference in draft.references()] == [
        "j", "id", "at", "w.x", "Two Words", "a", "b.c", "d", "e", "f", "g", "h", "i", "email",
    ]  # fmt: skip


def test_references_of_a_hash(orders: str) -> None:
    draft = parse(orders.replace('"order:{order_id}"', "{hash: [k, l]}", 1), "m.yaml")
    assert [reference.column for reference in draft.references()][1:3] == ["k", "l"]


def test_references_and_source_survive_mistakes(orders: str) -> None:
    wrong = orders.replace("eventTimestamp", "eventTime").replace("type: integer", "type: whole")
    draft = parse(wrong.replace("timezone: America/New_York", "timezone: Mars"), "m.yaml")
    assert len(draft.problems) == 4
    assert draft.mapping is None
    assert draft.source is not None
    assert draft.source.files == ["exports/orders_*.csv"]
    assert draft.source.timezone is None
    assert {"email", "items", "note", "status"} <= {reference.column for reference in draft.references()}


def columns(draft: Draft, *known: str, nested: str = "") -> list[str]:
    found = draft.check_columns(known, lambda name: name == nested, "orders_2.csv")
    return [problem.render("m.yaml") for problem in found]


def test_missing_columns(draw: Draw) -> None:
    draft = draw(customer='firstName: "Dear {fist_name}"')
    assert columns(draft, "id", "at", "e-mail", "first_name") == [
        'm.yaml:7:16: no column "email" in orders_2.csv; did you mean "e-mail"?',
        'm.yaml:8:25: no column "fist_name" in orders_2.csv; did you mean "first_name"?',
    ]


def test_missing_columns_list_what_there_is(draw: Draw) -> None:
    few = columns(draw(), "id", "at", "x", "y")
    assert few == ['m.yaml:7:16: no column "email" in orders_2.csv; it has id, at, x and y']
    many = columns(draw(), "id", "at", *(f"{letter}{letter}" for letter in "qrstuvwxyz"))
    assert many[0].endswith("; it has id, at, qq, rr, ss, tt, uu, vv, ww, xx and 2 more")
    assert columns(draw(), "id", "at")[0].endswith("; it has id and at")


def test_nested_columns(draw: Draw) -> None:
    draft = draw(event='data: {A: "{a.b}", B: {sql: "a.b > 1"}}')
    known = ("id", "at", "email", "a")
    assert columns(draft, *known, nested="a.b") == []
    flat = columns(draft, *known, "a.b")
    hint = 'in SQL the column of that name is written "a.b", in double quotes'
    assert flat == [f'm.yaml:6:34: no nested column "a.b" in orders_2.csv; {hint}']
    assert len(columns(draft, *known)) == 2
