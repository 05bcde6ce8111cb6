"""Mappings to start from."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import pytest

from backfill.mapping import Draft, parse

ORDERS = """\
# orders.yaml
source:
  files: exports/orders_*.csv          # path, glob, folder, list, or URL
  timezone: America/New_York
  where: "status <> 'test'"

events:
  - eventName: Order Placed
    uniqueId: "order:{order_id}"
    eventTimestamp: "{created_at}"
    value: "{total}"
    valueCurrency: "{currency}"
    customer:
      email: "{email}"
      phoneNumber: {column: phone, region: US}
      firstName: "{first_name}"
      location: {city: "{city}", countryCode: "{country_code}"}
      customFields:
        Loyalty Tier: {column: tier, map: {g: Gold, s: Silver}}
    data:
      Order ID: "{order_id}"
      Item Count: {column: items, type: integer}
      Discounted: {sql: "discount > 0"}
      $extra:
        Note: "{note}"

delivery:
  store: 64e5a8a1af49a89df37e4ee7
  endpoint: single
  rate: 95
  flows: acknowledged
"""

EVENT = """\
source: {{files: a.csv{source}}}
events:
  - eventName: Order Placed
    uniqueId: "{{id}}"
    eventTimestamp: "{{at}}"
{event}
    customer:
      email: "{{email}}"
{customer}
{more}
"""

Draw = Callable[..., Draft]


@pytest.fixture
def orders() -> str:
    """The mapping that the README explains."""
    return ORDERS


def event_text(event: str = "", customer: str = "", source: str = "", more: str = "") -> str:
    """A right mapping with lines added: `event` from line 6, column 5, or `customer` from column 7."""

    def indented(text: str, by: int) -> str:
        return textwrap.indent(textwrap.dedent(text).strip("\n"), " " * by)

    text = EVENT.format(
        source=f", {source}" if source else "",
        event=indented(event, 4),
        customer=indented(customer, 6),
        more=more,
    )
    return "\n".join(line for line in text.split("\n") if line.strip()) + "\n"


def messages(draft: Draft) -> list[str]:
    """What a user would read."""
    return [problem.render("m.yaml").removeprefix("m.yaml:") for problem in draft.problems]


@pytest.fixture
def draw() -> Draw:
    """The draft of a right mapping with lines added."""
    return lambda **parts: parse(event_text(**parts), "m.yaml")


@pytest.fixture
def said() -> Callable[..., list[str]]:
    """The messages about a right mapping with lines added, without the file's name."""
    return lambda **parts: messages(parse(event_text(**parts), "m.yaml"))
