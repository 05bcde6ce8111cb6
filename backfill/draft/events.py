"""What an event of an export is called, by the words of its file and its columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from backfill.draft.columns import Column, harmless
from backfill.draft.names import read_name, title, value_rank

__all__ = ["EventName", "guess_event"]

# In this order: of "order_refunds" refunds count.
BY_WORD: tuple[tuple[str, str], ...] = (
    ("refund", "Order Refunded"), ("return", "Return Requested"), ("retoure", "Return Requested"),
    ("cancel", "Order Cancelled"), ("fulfillment", "Order Shipped"), ("shipment", "Order Shipped"),
    ("abandoned", "Checkout Started"), ("checkout", "Checkout Started"), ("cart", "Product Added"),
    ("wishlist", "Product Saved"), ("review", "Review Submitted"), ("rating", "Review Submitted"),
    ("unsubscri", "Unsubscribed"), ("subscription", "Subscription Started"), ("subscri", "Subscribed"),
    ("newsletter", "Subscribed"), ("mailing", "Subscribed"), ("optin", "Subscribed"),
    ("point", "Points Changed"), ("loyalty", "Points Changed"), ("reward", "Points Changed"),
    ("order", "Order Placed"), ("sale", "Order Placed"), ("purchase", "Order Placed"), ("transaction", "Order Placed"),
    ("bestell", "Order Placed"), ("auftr", "Order Placed"), ("umsatz", "Order Placed"), ("lineitem", "Order Placed"),
    ("pedido", "Order Placed"), ("commande", "Order Placed"),
    ("charge", "Payment Made"), ("payment", "Payment Made"), ("invoice", "Invoice Issued"),
    ("rechnung", "Invoice Issued"),
    ("ticket", "Ticket Opened"), ("survey", "Survey Answered"), ("feedback", "Feedback Given"),
    ("nps", "Survey Answered"),
    ("booking", "Booking Made"), ("reservation", "Booking Made"), ("appointment", "Appointment Booked"),
    ("login", "Logged In"), ("pageview", "Page Viewed"), ("visit", "Page Viewed"), ("gift", "Gift Card Issued"),
    ("customer", "Customer Created"), ("kunde", "Customer Created"), ("client", "Customer Created"),
    ("contact", "Customer Created"), ("profile", "Customer Created"), ("user", "Customer Created"),
    ("member", "Customer Created"), ("account", "Customer Created"), ("lead", "Customer Created"),
)  # fmt: skip
TYPES = ("event", "event_name", "event_type", "eventname", "eventtype", "metric", "metric_name", "event_event_name",
         "activity", "activity_type", "action")  # fmt: skip
MOST_TYPES = 20
# So many of the addresses are there once where an export is one of people.
MOSTLY = 0.9
PERSON = "Customer Created"
MOST_LETTERS = 60


@dataclass(frozen=True, slots=True)
class EventName:
    """The guess, and why. `column` tells the type of each event, where a column does, and `types` its values."""

    name: str
    reason: str
    sure: bool
    prefix: str
    column: Column | None = None
    types: tuple[tuple[str, str], ...] = ()


def guess_event(files: Sequence[str], columns: Sequence[Column]) -> EventName:
    """What the export's events are called."""
    stem = re.sub(r"(\.[A-Za-z]{2,8}){1,2}$", "", files[0]) if files else ""
    words = " ".join(read_name(stem).words)
    typed = _typed(columns)
    if typed is not None:
        return typed
    slugs = {column.name.slug for column in columns}
    ordered = any("order" in slug.split("_") or slug.startswith(("order", "lineitem", "bestell")) for slug in slugs)
    for word, name in BY_WORD:
        if name == PERSON and ordered:
            continue
        if any(one.startswith(word) for one in words.split()) or f"{word}s" in words.split():
            return EventName(name, f'the file\'s name has "{word}" in it', sure=True, prefix=_prefix(name))
    heard = " ".join(slugs)
    if ordered:
        return EventName("Order Placed", "a column is named after orders", sure=True, prefix="order")
    if "rating" in slugs or "review" in heard:
        return EventName("Review Submitted", "a column is named after reviews", sure=True, prefix="review")
    if "points" in slugs:
        return EventName("Points Changed", "there is a column of points", sure=True, prefix="points")
    valued = any(value_rank(column.name) is not None and column.kind in ("number", "integer") for column in columns)
    once = any(one.kind == "email" and one.distinct >= MOSTLY * one.filled for one in columns)
    if once and not valued:
        return EventName("Subscribed", "people, and no amounts", sure=False, prefix="subscribed")
    if valued:
        return EventName("Order Placed", "there are amounts", sure=False, prefix="order")
    name = f"{title(stem)} Recorded" if words and stem.isascii() else "Event Recorded"
    return EventName(name, "from the file's name alone" if words else "a guess", sure=False, prefix=_prefix(name))


def _typed(columns: Sequence[Column]) -> EventName | None:
    """A column that says what each event is."""
    for slug in TYPES:
        for column in columns:
            if column.name.slug == slug and column.kind == "text" and column.values and not column.secret:
                values = [value for value, _ in column.values]
                if 2 <= len(values) <= MOST_TYPES and all(harmless(value, MOST_LETTERS) for value in values):
                    types = tuple((value, title(value)) for value in values)
                    if len({name for _, name in types}) == len(types):
                        reason = f'column "{column.reference}" says what each is'
                        return EventName("", reason, sure=True, prefix="event", column=column, types=types)
    return None


def _prefix(name: str) -> str:
    """`Order Placed` → `order`: what stands before the colon of an id."""
    words = name.casefold().split()
    return re.sub(r"[^a-z0-9]+", "-", words[0] if words[0] != "customer" else "customer").strip("-") or "event"
