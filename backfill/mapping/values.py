"""One value of an event, in any of its forms → Value, with every mistake noted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from backfill.mapping.constants import check_constant, check_map, family
from backfill.mapping.findings import Findings
from backfill.mapping.leaf import KINDS, LEAF_KEYS, Node, Scalar, Value
from backfill.mapping.places import Place, read_sql_text, read_template
from backfill.mapping.times import EPOCHS, bad_format, bad_zone
from backfill.mapping.tree import Entry, List, Object, Text, Tree, describe
from backfill.mapping.words import suggest

__all__ = ["read_node", "read_nodes", "read_value", "read_values"]

OPTIONS = ("type", "format", "timezone", "region", "map", "otherwise", "default", "required", "on_invalid")
KEYS = (*LEAF_KEYS, *OPTIONS)
TIMES = ("datetime", "date")
# Which types a field of the API can have.
_TYPES = {"string": ("string",), "number": ("number", "integer"), "datetime": TIMES}


def read_value(findings: Findings, tree: Tree, place: Place) -> Value | None:
    """The value, or None when something is wrong with it."""
    findings.seen(place.path, tree)
    before = len(findings.problems)
    fields: dict[str, Any] = {}
    if isinstance(tree, Text):
        fields = _short_form(findings, tree, place, place.kind)
    elif isinstance(tree, List):
        findings.wrong(tree, f"{place.name} takes one value, not a list", _nested_hint(place))
    elif _is_unquoted(tree):
        text = "{" + next(iter(tree.entries)) + "}"
        findings.wrong(tree, f"{place.name} is an object here, because {text} has no quotes", f'write "{text}"')
    elif _has_leaf(findings, tree, place):
        fields = _Options(findings, tree, place).read()
    return Value(**fields) if len(findings.problems) == before else None


def read_values(findings: Findings, tree: Tree, place: Place, skip: Sequence[str] = ()) -> dict[str, Value]:
    """Values by names that the store chooses."""
    values: dict[str, Value] = {}
    shape = findings.object(tree, place.path, place.name, 'as in "Order ID": "{order_id}"')
    for key, entry in shape.entries.items() if shape is not None else ():
        if key in skip or not _named(findings, entry, place):
            continue
        value = read_value(findings, entry.value, place.under(key))
        if value is not None:
            values[key] = value
    return values


def read_nodes(findings: Findings, tree: Tree, place: Place) -> dict[str, Node]:
    """What is under `$extra`, `collect`, or an object in them."""
    nodes: dict[str, Node] = {}
    shape = findings.object(tree, place.path, place.name, 'as in Note: "{note}"')
    for key, entry in shape.entries.items() if shape is not None else ():
        if _named(findings, entry, place):
            node = read_node(findings, entry.value, place.under(key))
            if node is not None:
                nodes[key] = node
    return nodes


def read_node(findings: Findings, tree: Tree, place: Place) -> Node | None:
    """A value, an object or a list; an object that looks like a value is one."""
    if isinstance(tree, List):
        findings.seen(place.path, tree)
        items = [read_node(findings, item, place.under(at)) for at, item in enumerate(tree.items)]
        return [item for item in items if item is not None]
    if isinstance(tree, Object) and not _is_unquoted(tree) and not _looks_like_value(tree):
        return read_nodes(findings, tree, place)
    return read_value(findings, tree, place)


def _looks_like_value(tree: Object) -> bool:
    leaves = [key for key in tree.entries if key in LEAF_KEYS]
    return len(leaves) == 1 and all(key in KEYS for key in tree.entries)


def _is_unquoted(tree: Object) -> bool:
    """`{email}` without quotes, which is YAML for an object with the key email and no value."""
    entries = list(tree.entries.values())
    if not tree.flow or len(entries) != 1 or not entries[0].key.plain:
        return False
    value = entries[0].value
    return isinstance(value, Text) and value.plain and value.text == ""


def _nested_hint(place: Place) -> str:
    return "lists and objects go under data.$extra" if place.name.startswith("data") else "give one value"


def _named(findings: Findings, entry: Entry, place: Place) -> bool:
    if entry.key.text.strip():
        return True
    findings.wrong(entry, f"a name in {place.name} is empty")
    return False


def _has_leaf(findings: Findings, tree: Object, place: Place) -> bool:
    """Whether exactly one of the LEAF_KEYS is there; else say what is missing."""
    leaves = [key for key in tree.entries if key in LEAF_KEYS]
    if len(leaves) == 1:
        return True
    if len(leaves) > 1:
        findings.wrong(tree.entries[leaves[1]], f"{leaves[0]} and {leaves[1]} can't both be the value", "keep one")
    elif any(key in OPTIONS or suggest(key, LEAF_KEYS) for key in tree.entries):
        findings.closed(tree, place.name, KEYS)
        if not any(suggest(key, LEAF_KEYS) for key in tree.entries if key not in OPTIONS):
            findings.wrong(tree, f"{place.name} has no value", "give one of column, sql, template and const")
    else:
        findings.wrong(tree, f"{place.name} takes one value, not {describe(tree)}", _nested_hint(place))
    return False


def _short_form(findings: Findings, tree: Text, place: Place, kind: str | None) -> dict[str, Any]:
    """A text with columns, or a constant."""
    if not isinstance(tree.value, str):
        return {"const": check_constant(findings, tree, place.name, kind, place.rule)}
    template = read_template(findings, tree, place)
    if template is None:
        return {}
    if template.columns:
        return {"template": tree.text} if template.only is None else {"column": template.only}
    check_constant(findings, replace(tree, value=template.literal), place.name, kind, place.rule)
    return {"const": template.literal}


class _Options:
    """The long form of a value."""

    def __init__(self, findings: Findings, tree: Object, place: Place) -> None:
        self.findings, self.tree, self.place = findings, tree, place
        self.kind = place.kind
        self.fields: dict[str, Any] = {}

    def read(self) -> dict[str, Any]:
        self.findings.closed(self.tree, self.place.name, KEYS)
        entries = self.tree.entries
        # `type` first: what the others mean hangs on it.
        for key in ("type", *LEAF_KEYS, *OPTIONS[1:]):
            if key in entries:
                self.fields[key] = getattr(self, f"_{key}")(entries[key], self.place.under(key, named=False))
        return {key: value for key, value in self.fields.items() if value is not None}

    def wrong(self, entry: Entry, message: str, hint: str = "") -> None:
        self.findings.wrong(entry, message, hint)

    def _type(self, entry: Entry, place: Place) -> str | None:
        word = self.findings.word(entry.value, place.path, "type", KINDS)
        if word is None:
            self.kind = None
        elif word == "json" and not place.extra:
            self.findings.wrong(entry.value, "type: json has no place outside data.$extra", "")
        elif place.kind is not None and word not in _TYPES[place.kind]:
            kind = {"string": "a text", "number": "a number", "datetime": "a date-time"}[place.kind]
            self.findings.wrong(entry.value, f"{place.name} is {kind}: it can't have type: {word}", "leave type out")
        else:
            self.kind = word
        return word

    def _column(self, entry: Entry, place: Place) -> str | None:
        tree = entry.value
        name = self.findings.name(tree, place.path, "column")
        if name is not None and isinstance(tree, Text):
            if name.startswith("{") and name.endswith("}"):
                self.findings.wrong(tree, "column takes the bare name", f'write "{name[1:-1]}"')
            self.findings.refer(place.path, name, tree.at(0), place.name)
        return name

    def _sql(self, entry: Entry, place: Place) -> str | None:
        return read_sql_text(self.findings, entry.value, place)

    def _template(self, entry: Entry, place: Place) -> str | None:
        text = self.findings.text(entry.value, place.path, "template", 'as in "order:{order_id}"')
        if text is not None and isinstance(entry.value, Text):
            read_template(self.findings, entry.value, place)
        return text

    def _const(self, entry: Entry, place: Place) -> Scalar | None:
        self.findings.seen(place.path, entry.value)
        stated = "type" in self.fields
        # With a format any text or number may be a time.
        kind = None if "format" in self.tree.entries and self.kind in TIMES else self.kind
        return check_constant(self.findings, entry.value, place.name, kind, place.rule, stated=stated)

    def _collect(self, entry: Entry, place: Place) -> dict[str, Node] | None:
        if not place.extra:
            self.wrong(entry, "collect has no place outside data.$extra")
        elif place.collecting:
            self.wrong(entry, "collect has no place inside collect")
        elif not place.grouped:
            self.wrong(entry, "collect needs several rows", "say which in source.group_by")
        return read_nodes(self.findings, entry.value, replace(place, collecting=True, extra=True, kind=None, rule=""))

    def _format(self, entry: Entry, place: Place) -> str | None:
        text = self.findings.text(entry.value, place.path, "format", 'as in "%Y-%m-%d %H:%M:%S"')
        self._only_times(entry)
        bad = bad_format(text) if text is not None else None
        if bad is not None and isinstance(entry.value, Text):
            self.findings.wrong(entry.value.at(bad[2]), bad[0], bad[1])
        return text

    def _timezone(self, entry: Entry, place: Place) -> str | None:
        text = self.findings.text(entry.value, place.path, "timezone", 'as in "America/New_York"')
        self._only_times(entry)
        bad = bad_zone(text) if text is not None else None
        if bad is not None:
            self.findings.wrong(entry.value, *bad)
        elif "format" in self.fields and self.fields["format"] in EPOCHS:
            self.wrong(entry, "epochs count in UTC: they have no timezone", "leave it out")
        return text

    def _only_times(self, entry: Entry) -> None:
        if self.kind not in TIMES and not ("type" in self.tree.entries and self.fields.get("type") is None):
            is_now = f"{self.place.name} is {self.kind}" if self.kind else f"{self.place.name} has no type"
            self.wrong(
                entry,
                f"{entry.key.text} is for times, and {is_now}",
                "add type: datetime or type: date" * (self.place.kind is None),
            )

    def _region(self, entry: Entry, place: Place) -> str | None:
        text = self.findings.text(entry.value, place.path, "region", "as in US")
        if place.rule != "phone":
            self.wrong(entry, f"region is for customer.phoneNumber, not for {self.place.name}")
        elif text is not None and isinstance(entry.value, Text):
            check_constant(self.findings, entry.value, "region", "string", "country")
        return text

    def _map(self, entry: Entry, place: Place) -> dict[str, Scalar] | None:
        self.findings.seen(place.path, entry.value)
        stated = "type" in self.fields
        return check_map(self.findings, entry.value, place.name, self.kind, place.rule, stated=stated)

    def _otherwise(self, entry: Entry, place: Place) -> Value | None:
        if "map" not in self.tree.entries:
            self.wrong(entry, "otherwise belongs to map, and there is none", "for nulls there is default")
        value = read_value(self.findings, entry.value, self._fallback(place))
        mapped = self.fields.get("map") or {}
        if value is not None and value.const is not None and self.kind is None and mapped:
            one = next(iter(mapped.values()))
            if family(one) != family(value.const):
                message = f"map gives a {family(one)} and otherwise a {family(value.const)}"
                self.findings.wrong(entry.value, message, "one key holds one kind of value")
        return value

    def _default(self, entry: Entry, place: Place) -> Value | None:
        return read_value(self.findings, entry.value, self._fallback(place))

    def _fallback(self, place: Place) -> Place:
        return replace(place, kind=place.kind or (self.kind if self.kind not in (None, "json") else None), extra=False)

    def _required(self, entry: Entry, place: Place) -> bool | None:
        return self.findings.boolean(entry.value, place.path, "required")

    def _on_invalid(self, entry: Entry, place: Place) -> str | None:
        word = self.findings.word(entry.value, place.path, "on_invalid", ("reject", "omit"))
        if word == "omit" and place.rule in ("eventName", "eventTimestamp"):
            self.wrong(entry, f"{self.place.name} can't be omitted", "every event needs one")
        return word
