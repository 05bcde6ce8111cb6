"""The part of a mapping under `events`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from backfill import api
from backfill.mapping.findings import Findings
from backfill.mapping.leaf import Path, Value
from backfill.mapping.models import Customer, Event, HashId, Location, TemplateId, UniqueId
from backfill.mapping.places import Place, read_columns, read_sql_text, read_template
from backfill.mapping.tree import Entry, List, Object, Text, Tree, describe
from backfill.mapping.values import read_nodes, read_value, read_values
from backfill.mapping.words import listing, suggest

__all__ = ["read_events"]

EVENT_KEYS = (
    "eventName",
    "uniqueId",
    "eventTimestamp",
    "value",
    "valueCurrency",
    "customer",
    "data",
    "where",
)
CUSTOMER_KEYS = (*api.CUSTOMER_TEXTS, "location", "customFields")
LOCATION_KEYS = (*api.LOCATION_TEXTS, *api.LOCATION_NUMBERS)
HASH_KEYS = ("hash", "prefix", "occurrence")
EXTRA = "$extra"
DIGITS = 32

_MISSING = {
    "eventName": "eventName is missing",
    "uniqueId": "uniqueId is missing: without it a second run would send every event again",
    "eventTimestamp": "eventTimestamp is missing: left out, the API would stamp history with today",
    "customer": "customer is missing: the API takes no event without one",
}
_MISSING_HINTS = {
    "eventName": "as in eventName: Order Placed",
    "uniqueId": 'as in uniqueId: "order:{order_id}"',
    "eventTimestamp": 'as in eventTimestamp: "{created_at}"',
    "customer": 'as in customer: {email: "{email}"}',
}
_RULES = {
    "valueCurrency": "currency",
    "countryCode": "country",
    "ianaTimeZoneName": "zone",
    "phoneNumber": "phone",
}


def read_events(findings: Findings, tree: Tree, *, grouped: bool) -> list[Event]:
    """The events that are right; what is wrong with the others is noted."""
    findings.seen(("events",), tree)
    if not isinstance(tree, List):
        hint = 'put "- " before the event' if isinstance(tree, Object) else "as in - eventName: Order Placed"
        findings.wrong(tree, f"events has to be a list, not {describe(tree)}", hint)
        # What is in it can be checked all the same.
        items: list[Tree] = [tree] if isinstance(tree, Object) else []
    else:
        items = tree.items
        if not items:
            findings.wrong(tree, "events is empty", "give at least one event")
    events = [_EventReader(findings, ("events", at), grouped).read(item) for at, item in enumerate(items)]
    return [event for event in events if event is not None]


class _EventReader:
    def __init__(self, findings: Findings, path: Path, grouped: bool) -> None:
        self.findings, self.path, self.grouped = findings, path, grouped

    def place(self, *keys: str, kind: str | None = None, extra: bool = False) -> Place:
        rule = _RULES.get(keys[-1], keys[-1])
        return Place((*self.path, *keys), ".".join(keys), kind, rule, self.grouped, extra)

    def read(self, tree: Tree) -> Event | None:
        before = len(self.findings.problems)
        shape = self.findings.object(tree, self.path, "an event", "as in - eventName: Order Placed")
        if shape is None:
            return None
        for key, entry in shape.entries.items():
            if key not in EVENT_KEYS:
                self.findings.unknown(entry, "the event", EVENT_KEYS, _customers(key))
        for key, message in _MISSING.items():
            if key not in shape.entries:
                self.findings.wrong(shape, message, _MISSING_HINTS[key])
        fields: dict[str, Any] = {}
        readers: dict[str, Callable[[Tree], Any]] = {
            "uniqueId": self.unique_id,
            "customer": self.customer,
            "data": self.data,
            "where": lambda inner: read_sql_text(self.findings, inner, self.place("where")),
        }
        kinds = {"value": "number", "eventTimestamp": "datetime"}
        for key, entry in shape.entries.items():
            if key in readers:
                fields[key] = readers[key](entry.value)
            elif key in EVENT_KEYS:
                place = self.place(key, kind=kinds.get(key, "string"))
                fields[key] = read_value(self.findings, entry.value, place)
        if "data" in shape.entries:
            fields["extra"] = self.nested(shape.entries["data"].value)
        return Event(**fields) if len(self.findings.problems) == before else None

    def customer(self, tree: Tree) -> Customer | None:
        path = (*self.path, "customer")
        shape = self.findings.object(tree, path, "customer", 'as in {email: "{email}"}')
        if shape is None:
            return None
        takes = f"the API takes {listing(CUSTOMER_KEYS)}; what else is known goes under customFields"
        self.findings.closed(shape, "customer", CUSTOMER_KEYS, takes)
        if not any(key in shape.entries for key in api.IDENTIFIERS):
            self.findings.wrong(shape, "customer has none of id, email and phoneNumber", "the API needs at least one")
        fields: dict[str, Any] = {}
        for key, entry in shape.entries.items():
            place = self.place("customer", key, kind="string")
            if key == "location":
                fields[key] = self.location(entry.value)
            elif key == "customFields":
                fields[key] = read_values(self.findings, entry.value, self.place("customer", key))
            elif key in CUSTOMER_KEYS:
                fields[key] = read_value(self.findings, entry.value, place)
        return Customer(**{key: value for key, value in fields.items() if value is not None})

    def location(self, tree: Tree) -> Location | None:
        path = (*self.path, "customer", "location")
        shape = self.findings.object(tree, path, "customer.location", 'as in {city: "{city}"}')
        if shape is None:
            return None
        takes = f"the API takes {listing(LOCATION_KEYS, 20)}"
        self.findings.closed(shape, "customer.location", LOCATION_KEYS, takes)
        values: dict[str, Value | None] = {}
        for key, entry in shape.entries.items():
            if key in LOCATION_KEYS:
                kind = "number" if key in api.LOCATION_NUMBERS else "string"
                values[key] = read_value(self.findings, entry.value, self.place("customer", "location", key, kind=kind))
        return Location(**values)

    def data(self, tree: Tree) -> dict[str, Value]:
        place = self.place("data")
        values = read_values(self.findings, tree, place, skip=(EXTRA,))
        names = [entry for key, entry in tree.entries.items() if key != EXTRA] if isinstance(tree, Object) else []
        if len(names) > api.DATA_PROPERTIES:
            self.findings.wrong(
                names[api.DATA_PROPERTIES],
                f"data has {len(names)} properties, and the API takes at most {api.DATA_PROPERTIES}",
                "put the others under $extra",
            )
        return values

    def nested(self, tree: Tree) -> dict[str, Any]:
        if not isinstance(tree, Object) or EXTRA not in tree.entries:
            return {}
        return read_nodes(self.findings, tree.entries[EXTRA].value, self.place("data", EXTRA, extra=True))

    def unique_id(self, tree: Tree) -> UniqueId | None:
        path = (*self.path, "uniqueId")
        self.findings.seen(path, tree)
        if isinstance(tree, Object) and "hash" in tree.entries:
            return self.hash_id(tree, path)
        if isinstance(tree, Object):
            self.findings.wrong(
                tree, "uniqueId has to be a template or a hash", 'as in "order:{order_id}" or {hash: [id]}'
            )
            return None
        text = self.findings.text(tree, path, "uniqueId", 'as in "order:{order_id}"')
        if text is None or not isinstance(tree, Text):
            return None
        template = read_template(self.findings, tree, self.place("uniqueId"))
        if template is None:
            return None
        if not template.columns:
            message = "uniqueId has no column: all events would have one id, and the API keep the first"
            self.findings.wrong(tree, message, 'as in "order:{order_id}"')
        self.fits(tree, len(template.literal))
        return TemplateId(template=text)

    def hash_id(self, tree: Object, path: Path) -> HashId | None:
        self.findings.closed(tree, "uniqueId", HASH_KEYS)
        columns = self.hash_columns(tree.entries["hash"], (*path, "hash"))
        fields: dict[str, Any] = {}
        prefix = tree.entries.get("prefix")
        if prefix is not None:
            text = self.findings.text(prefix.value, (*path, "prefix"), "prefix", "leave it out for none")
            if text is not None and "{" in text:
                self.findings.wrong(
                    prefix.value, "prefix is a plain text, without columns", "put the column under hash"
                )
            self.fits(prefix.value, len(text or "") + DIGITS)
            fields["prefix"] = text
        if "occurrence" in tree.entries:
            value = tree.entries["occurrence"].value
            fields["occurrence"] = self.findings.boolean(value, (*path, "occurrence"), "occurrence")
        if columns is None or None in fields.values():
            return None
        return HashId(hash=columns, **fields)

    def hash_columns(self, entry: Entry, path: Path) -> Any:
        tree = entry.value
        self.findings.seen(path, tree)
        if isinstance(tree, Text) and tree.text == "*":
            return "*"
        if not isinstance(tree, List):
            hint = f"write [{tree.text}]" if isinstance(tree, Text) and tree.text else ""
            self.findings.wrong(tree, f'hash has to be a list of columns or "*", not {describe(tree)}', hint)
            return None
        if not tree.items:
            self.findings.wrong(tree, "hash is empty: every event would have one id", 'name columns, or "*" for all')
        return read_columns(self.findings, tree, path, "uniqueId.hash")

    def fits(self, tree: Tree, length: int) -> None:
        if length > api.UNIQUE_ID_CHARACTERS:
            message = f"this uniqueId is sure to have more than {api.UNIQUE_ID_CHARACTERS} characters"
            self.findings.wrong(tree, message, "use hash, or a shorter text")


def _customers(key: str) -> str:
    """A hint, when the key is one of the customer's."""
    near = (
        key if key in CUSTOMER_KEYS else suggest(key, CUSTOMER_KEYS).removeprefix('did you mean "').removesuffix('"?')
    )
    return f'did you mean "{near}", under customer?' if near else ""
