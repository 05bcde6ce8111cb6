"""The sums of `value` by event name and currency: to the cent, each id once."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from backfill import mapping as mappings
from backfill.index import State
from backfill.plan import plan
from backfill.report import checked_page, render
from backfill.report.summary import check_data
from backfill.report.text import check_text
from backfill.sums import MOST_NAMES, Sums, Worth, amount_words
from backfill.survey import survey
from backfill.tally import Survey

NOW = datetime(2024, 6, 1, tzinfo=UTC)
NAMES = ["Order Placed", "Order Refunded"]
MONEY = st.decimals(-(10**7), 10**7, places=2) | st.decimals(0, 10, places=4) | st.just(Decimal("1e10"))


def added(values: list[Any], currency: str = "USD", name: int = 0) -> Sums:
    sums = Sums()
    states = np.zeros(len(values), np.uint8)
    sums.add(name, pl.Series(values, dtype=pl.Float64), pl.Series([currency] * len(values)), states)
    return sums


@given(
    st.lists(
        st.tuples(
            st.none() | MONEY,
            st.sampled_from(["USD", "EUR", "KWD", None]),
            st.integers(0, 1),
            st.sampled_from(list(State)),
        )
    ),
    st.integers(1, 7),
)
def test_sums_are_those_of_decimals(events, size):
    """Whatever the chunks; floats alone would drift."""
    sums = Sums()
    for at in range(0, len(events), size):
        part = events[at : at + size]
        values, currencies, names, states = zip(*part, strict=True)
        sums.add(
            np.array(names, np.uint16),
            pl.Series([None if value is None else float(value) for value in values], dtype=pl.Float64),
            pl.Series(currencies, dtype=pl.String),
            np.array(states, np.uint8),
        )
    every: dict[tuple[str, str], Decimal] = {}
    ready: dict[tuple[str, str], Decimal] = {}
    for value, currency, name, state in events:
        if value is not None and state not in (State.DUPLICATE, State.INVALID):
            for table in (every, ready) if state == State.NEW else (every,):
                key = NAMES[name], currency or "none"
                table[key] = table.get(key, Decimal(0)) + value

    def told(of: str) -> dict[tuple[str, str], Decimal]:
        found = sums.by_name(NAMES).items()
        return {(name, one): Decimal(text) for name, worth in found for one, text in getattr(worth, of).items()}

    assert told("every") == every
    assert told("ready") == ready


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([0.1, 0.2], "0.30"),
        ([100.0, 200.0], "300.00"),
        ([0.125, 1.0], "1.125"),
        ([-5.0], "-5.00"),
        ([1.0, -1.0], "0.00"),
        ([100 / 3] * 3, "100.00"),
        ([1e16, 1.0, 0.01], "10000000000000001.01"),
        ([0.00001], "0.00"),
        ([1.5e308, 1.5e308, -1.5e308, -1.5e308, 1.0], "1.00"),
        ([2.5e9] * 20_000, "50000000000000.00"),
    ],
)
def test_how_a_sum_is_told(values, told):
    assert added(values).by_name(NAMES) == {"Order Placed": Worth({"USD": told}, {"USD": told})}


def test_names_beyond_the_first_hundred_share_their_sums():
    sums = Sums()
    for number in range(MOST_NAMES + 50):
        sums.add(number, pl.Series([1.5]), pl.Series(["USD"]), np.zeros(1, np.uint8))
    found = sums.by_name([f"n{i}" for i in range(MOST_NAMES + 50)])
    assert len(found) == MOST_NAMES + 1
    assert found[""].every == {"USD": "75.00"}


def test_words():
    assert amount_words({"none": "1.00", "USD": "1234567.50", "EUR": "-0.10"}) == (
        "-0.10 EUR, 1,234,567.50 USD, 1.00 without a currency"
    )


@pytest.fixture
def look(tmp_path: Path) -> Any:
    """`look(rows)`: what is found of rows of (id, at, name, total, currency), and its plan."""

    def survey_of(rows: list[str], source: dict[str, Any] | None = None, **event: Any) -> tuple[Any, Survey]:
        (tmp_path / "orders.csv").write_text("\n".join(["id,at,name,total,currency", *rows]) + "\n")
        tree = {
            "source": {"files": "orders.csv", "timezone": "UTC", **(source or {})},
            "events": [
                {
                    "eventName": "{name}", "uniqueId": "order:{id}", "eventTimestamp": "{at}", "value": "{total}",
                    "valueCurrency": "{currency}", "customer": {"email": {"const": "a@example.com"}}, **event,
                }
            ],
        }  # fmt: skip
        path = tmp_path / "orders.yaml"
        path.write_text(yaml.safe_dump({**tree, "events": [{k: v for k, v in tree["events"][0].items() if v}]}))
        planned = plan(mappings.read(path), NOW)
        return planned, survey(planned, None, NOW)

    return survey_of


ROWS = [
    "1,2024-01-01,Order Placed,10.10,USD",
    "2,2024-01-01,Order Placed,20.20,usd",
    "2,2024-01-01,Order Placed,20.20,usd",  # a duplicate
    "1,2024-01-01,Order Placed,99.99,USD",  # in conflict with the first
    "3,never,Order Placed,1000,USD",  # invalid
    "4,2024-01-01,Order Placed,5,EUR",
    "5,2024-01-01,Order Refunded,0.30,EUR",
    "6,2024-01-01,Order Placed,,EUR",
    "7,2024-01-01,Order Placed,2.5,",
]


def test_each_id_counts_once(look):
    planned, found = look(ROWS)
    assert {name: worth.every for name, worth in found.worth().items()} == {
        "Order Placed": {"EUR": "5.00", "USD": "30.30", "none": "2.50"},
        "Order Refunded": {"EUR": "0.30"},
    }
    assert all(worth.every == worth.ready for worth in found.worth().values())
    text = check_text(planned, found, None)
    assert "  Order Placed: 5.00 EUR, 30.30 USD, 2.50 without a currency\n  Order Refunded: 0.30 EUR\n" in text
    data = check_data(planned, found, None)
    assert data["value"]["Order Refunded"] == {"every": {"EUR": "0.30"}, "ready": {"EUR": "0.30"}}
    page = render(checked_page(planned, found, None, status=3, now=NOW))
    assert '<th scope="row"><bdi>Order Placed</bdi></th><td>USD</td><td class="n">30.30</td>' in page


def test_twins_count_each(look):
    rows = ["1,2024-01-01,Order Placed,10.10,USD"] * 3
    _, found = look(rows, uniqueId={"hash": "*", "occurrence": True})
    assert found.worth()["Order Placed"].every == {"USD": "30.30"}


def test_groups_that_stand_apart_do_not_count(look):
    rows = [f"{i},2024-01-01,Order Placed,{total},USD" for i, total in ((1, "1.01"), (2, "2.02"), (1, "4.04"))]
    _, found = look(rows, {"group_by": ["id"]})
    assert found.worth()["Order Placed"].every == {"USD": "2.02"}


def test_typed_and_constant_values(look):
    rows = ["1,2024-01-01,Order Placed,7,USD", "2,2024-01-01,Order Placed,,USD"]
    whole = {"column": "total", "type": "integer", "default": 3}
    _, found = look(rows, value=whole, valueCurrency={"const": "JPY"})
    assert found.worth()["Order Placed"].every == {"JPY": "10.00"}


def test_nothing_is_shown_without_value(look):
    planned, found = look(ROWS, value=None)
    assert found.worth() == {}
    assert "Value of" not in check_text(planned, found, None)
    page = checked_page(planned, found, None, status=0, now=NOW)
    assert page["value"] is None
    assert "worth" not in render(page)
