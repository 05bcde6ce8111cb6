"""One event of a mapping → expressions for its id, its time, its JSON, and the checks that it must pass."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl

from backfill import api
from backfill.errors import MappingProblem
from backfill.identity import DIGITS, canonical, sha256_digits
from backfill.mapping import Event, HashId, Mapping, Node, Path, Value
from backfill.shape.columns import Columns
from backfill.shape.convert import UTC, Target
from backfill.shape.joined import columns_of, joined
from backfill.shape.layers import Layers, roots
from backfill.shape.leaf import Branch, Check, Leaf, Leaves, label
from backfill.shape.texts import as_json, as_text, flat, key_text, needs_no_escape
from backfill.shape.where import Where, compile_where

__all__ = ["EventPlan", "compile_event"]

# JSON makes six bytes of one at the most (\u0000); the quotes and a hash's prefix are in no column.
LONGEST_ESCAPE = 6
LONGEST_PREFIX = 10_000


@dataclass(frozen=True, slots=True)
class EventPlan:
    """What makes one of the mapping's events from each row.

    The JSON is `head`, the member uniqueId, `tail`: an id with `occurrence` is known only when the whole export is.
    `value` is a Float64, null where there is none. The `id` of a hash is its digits: its prefix and a twin's number are
    still to come (`Shaper.finish_id`). `wanted` are the columns without which no chunk can do; those that a check needs
    come when it is suspected.
    """

    index: int
    where: Where | None
    numbers: list[pl.Expr]
    layers: Layers
    name: pl.Expr
    id: pl.Expr
    time: pl.Expr
    value: pl.Expr
    currency: pl.Expr
    head: pl.Expr
    tail: pl.Expr
    checks: list[Check]
    wanted: frozenset[str]


def compile_event(
    mapping: Mapping,
    index: int,
    columns: Columns,
    aggregated: dict[Path, str],
    group_checks: list[Check],
    now: datetime,
    hashed: list[str],
) -> tuple[EventPlan, list[MappingProblem]]:
    """The plan of event `index`, and what is wrong with it over these columns.

    `aggregated` and `group_checks` come from grouping; later times than `now` are refused;
    `hashed` are the columns that `"*"` means.
    """
    event = mapping.events[index]
    at: Path = ("events", index)
    leaves = Leaves(mapping, columns, aggregated=aggregated, checks=list(group_checks), latest=now)
    let = leaves.layers.let
    where = compile_where(leaves, (*at, "where"), event.where)
    name = leaves.leaf((*at, "eventName"), event.eventName, Target("string"))
    time = leaves.leaf((*at, "eventTimestamp"), event.eventTimestamp, Target("time"))
    customer = _customer(leaves, event, at)
    value = _optional(leaves, (*at, "value"), event.value, "number")
    currency = _optional(leaves, (*at, "valueCurrency"), event.valueCurrency, "currency")
    data = _data(leaves, event, at)
    identity = _identity(leaves, event, at, hashed)
    _check_event(leaves, event, name, time, identity)
    if value is not None:
        lacks = value.value.is_not_null() & (currency.value.is_null() if currency else pl.lit(value=True))
        leaves.check("value_without_currency", "value", lacks, as_text(value.value, value.dtype), "notice")
    members: list[tuple[str, Leaf | Branch]] = [("eventTimestamp", time)]
    members += [(key, leaf) for key, leaf in (("value", value), ("valueCurrency", currency)) if leaf]
    members += [("customer", customer), ("data", data)]
    head = let(_head(event, name))
    # A customer is always there, so that the members are never empty, nor their first comma without use.
    parts = [(key_text(key), inner.member) for key, inner in members]
    after = {column for _, part in parts for column in columns_of(part)}
    tail = leaves.layers.late(after, lambda frame: joined(frame, parts, "}"))
    rest = head.str.len_bytes() + tail.str.len_bytes() + len(',"uniqueId":')
    size = rest + _id_size(leaves, event, identity)
    maybe = rest + identity.str.len_bytes() * LONGEST_ESCAPE > api.EVENT_BYTES - LONGEST_PREFIX
    leaves.check("event_too_large", "", size > api.EVENT_BYTES, size.cast(pl.String), maybe=maybe)
    made = (name.value, identity, time.value, _amount(value), _text_of(currency), head, tail)
    wanted = roots([*made, *(check.suspected for check in leaves.checks)])
    plan = EventPlan(index, where, leaves.numbers(), leaves.layers, *made, leaves.checks, wanted)
    return plan, leaves.problems


def _amount(value: Leaf | None) -> pl.Expr:
    """`value` as a double, which is what the API's server makes of it, also where it stands there as JSON."""
    if value is None:
        return pl.lit(None, dtype=pl.Float64)
    return value.value if value.dtype == pl.Float64 else value.value.cast(pl.Float64, strict=False)


def _text_of(currency: Leaf | None) -> pl.Expr:
    if currency is None:
        return pl.lit(None, dtype=pl.String)
    # As JSON it stands between quotes.
    return currency.value.str.strip_chars('"') if currency.is_json else currency.value


def _head(event: Event, name: Leaf) -> pl.Expr:
    before, text = '{"eventName":', event.eventName.const
    if isinstance(text, str) and needs_no_escape(text):
        return pl.lit(f'{before}"{text}"')
    return name.json(before)


def _check_event(leaves: Leaves, event: Event, name: Leaf, time: Leaf, identity: pl.Expr) -> None:
    no_text = pl.lit("")
    unnamed = name.value.is_null() | (name.value == "")
    leaves.check("missing_name", "eventName", unnamed & ~_failed(leaves, "eventName"), no_text, maybe=unnamed)
    timeless = time.value.is_null()
    untold = timeless & ~_failed(leaves, "eventTimestamp")
    leaves.check("missing_time", "eventTimestamp", untold, no_text, maybe=timeless)
    leaves.check("time_in_future", "eventTimestamp", time.value > pl.lit(leaves.latest), as_text(time.value, UTC))
    # Blanks identify nothing either.
    nothing = identity.is_null() | (identity.str.strip_chars() == "")
    unidentified = nothing & ~_failed(leaves, "uniqueId")
    # A blank begins so.
    maybe = identity.is_null() | ~identity.is_between(pl.lit("!"), pl.lit("~"))
    leaves.check("missing_id", "uniqueId", unidentified, no_text, maybe=maybe)
    if not isinstance(event.uniqueId, HashId):
        long, maybe = (size > api.UNIQUE_ID_CHARACTERS for size in (identity.str.len_chars(), identity.str.len_bytes()))
        leaves.check("id_too_long", "uniqueId", long, identity, maybe=maybe)


def _id_size(leaves: Leaves, event: Event, identity: pl.Expr) -> pl.Expr:
    """The bytes of the whole id as JSON."""
    if isinstance(event.uniqueId, HashId):
        # A twin's digits are as many.
        return pl.lit(len(json.dumps(event.uniqueId.prefix, ensure_ascii=False).encode()) + DIGITS)
    return as_json(identity, pl.String(), leaves.layers).str.len_bytes()


def _optional(leaves: Leaves, path: Path, value: Value | None, kind: str) -> Leaf | None:
    return None if value is None else leaves.leaf(path, value, Target(kind))


def _customer(leaves: Leaves, event: Event, at: Path) -> Branch:
    kinds = {"email": "email", "phoneNumber": "phone"}
    path: Path = (*at, "customer")
    members: list[tuple[str, Leaf | Branch]] = []
    identifiers: list[pl.Expr] = []
    for key in api.CUSTOMER_TEXTS:
        leaf = _optional(leaves, (*path, key), getattr(event.customer, key), kinds.get(key, "string"))
        if leaf is None:
            continue
        if key == "id":
            # An empty id names nobody.
            leaf = replace(leaf, value=leaves.layers.let(pl.when(leaf.value != "").then(leaf.value)))
        members.append((key, leaf))
        if key in api.IDENTIFIERS:
            identifiers.append(leaf.value.is_null())
    if identifiers:
        leaves.check("no_identifier", "customer", pl.all_horizontal(identifiers), pl.lit(""))
    members.append(("location", _location(leaves, event, path)))
    fields = [
        (key, leaves.leaf((*path, "customFields", key), value, Target("own")))
        for key, value in sorted(event.customer.customFields.items())
    ]
    members.append(("customFields", Branch(fields, leaves.layers)))
    return Branch(members, leaves.layers)


def _location(leaves: Leaves, event: Event, path: Path) -> Branch:
    kinds = {"countryCode": "country", "ianaTimeZoneName": "time_zone"}
    members = []
    for key in (*api.LOCATION_TEXTS, *api.LOCATION_NUMBERS):
        value = getattr(event.customer.location, key)
        if value is not None:
            bound = api.LOCATION_NUMBERS.get(key)
            target = Target(kinds.get(key, "string") if bound is None else "number", bound=bound)
            members.append((key, leaves.leaf((*path, "location", key), value, target)))
    return Branch(members, leaves.layers)


def _data(leaves: Leaves, event: Event, at: Path) -> Branch:
    members: list[tuple[str, Leaf | Branch]] = []
    # Keys in one order whatever the mapping's: moving a line in it must not make every delivered event 'changed'.
    for key, value in sorted(event.data.items()):
        path: Path = (*at, "data", key)
        leaf = leaves.leaf(path, value, Target("own"))
        members.append((key, leaf))
        if value.const is None and not leaf.is_json and (leaf.dtype == pl.String or leaf.dtype.is_numeric()):
            unset = leaf.value == ("" if leaf.dtype == pl.String else 0)
            leaves.check("unset", label(path), unset, as_text(leaf.value, leaf.dtype), "notice")
    members.append(("$extra", extra(leaves, (*at, "data", "$extra"), event.extra)))
    if len(members) > api.DATA_PROPERTIES:
        count = pl.sum_horizontal(leaf.given for _, leaf in members)
        leaves.check("too_many_properties", "data", count > api.DATA_PROPERTIES, count.cast(pl.String))
    return Branch(members, leaves.layers)


def extra(leaves: Leaves, path: Path, node: Node) -> Leaf | Branch:
    """What `$extra` holds: values, objects, lists; none when nothing is left of it."""
    layers = leaves.layers
    if isinstance(node, Value):
        if node.collect is not None:
            return Leaf(pl.col(leaves.aggregated[path]), pl.String(), layers, is_json=True)
        leaf = leaves.leaf(path, node, Target("own", nested=True))
        if leaf.is_json:
            long = leaf.value.map_batches(_has_long, return_dtype=pl.Boolean)
            maybe = leaf.value.str.len_bytes() > api.TEXT_BYTES
            leaves.check("text_too_long", label(path), long, leaf.value, maybe=maybe)
        return leaf
    if isinstance(node, list):
        items = [extra(leaves, (*path, i), item).json().fill_null("null") for i, item in enumerate(node)]
        inner = pl.concat_str(items, separator=",") if items else pl.lit("")
        text = layers.let(pl.concat_str([pl.lit("["), inner, pl.lit("]")]))
        return Leaf(text, pl.String(), layers, is_json=True)
    return Branch([(key, extra(leaves, (*path, key), item)) for key, item in sorted(node.items())], layers)


def _has_long(texts: pl.Series) -> pl.Series:
    """Whether a text in the JSON is too long; most are known to be short without reading them."""
    long = texts.str.len_bytes() > api.TEXT_BYTES
    if not long.any():
        return long
    pairs = zip(texts.to_list(), long.to_list(), strict=True)
    return pl.Series(
        texts.name, [bool(is_long) and _longest(json.loads(text)) > api.TEXT_BYTES for text, is_long in pairs]
    )


def _longest(value: object) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, dict):
        return max((max(_longest(key), _longest(item)) for key, item in value.items()), default=0)
    return max((_longest(item) for item in value), default=0) if isinstance(value, list) else 0


def _identity(leaves: Leaves, event: Event, at: Path, hashed: list[str]) -> pl.Expr:
    """The id, or for a hash its digits."""
    path: Path = (*at, "uniqueId")
    if not isinstance(event.uniqueId, HashId):
        return leaves.layers.let(leaves.text(path, event.uniqueId.template)[0])
    names = hashed if event.uniqueId.hash == "*" else event.uniqueId.hash
    texts = []
    for name in names:
        found = leaves.columns.find(name)
        if found is None:
            leaves.problem((*path, "hash"), f'no column "{name}"')
        else:
            texts.append((name, as_text(*found)))
            if not flat(found[1]):
                # A NaN in a plain column leaves no trace, and ids that are so stay so.
                leaves.writable(path, *found, name)
    row = leaves.layers.let(canonical(texts))
    return leaves.layers.let(row.map_batches(sha256_digits, return_dtype=pl.String))


def _failed(leaves: Leaves, name: str) -> pl.Expr:
    """Whether a check of this field failed already: a time that is wrong is not one that is missing."""
    flags = [check.bad for check in leaves.checks if check.field == name]
    return pl.any_horizontal(flags) if flags else pl.lit(False)
