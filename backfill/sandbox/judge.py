"""What the API would say about a request's body: a pure function from bytes to verdicts.

`parse` makes a document of bytes, `events_of` takes the events out of a bulk; both raise Malformed, and then
the whole request is a 400. `judge` says of one event whether it is Taken or Refused.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from hashlib import blake2b
from typing import NoReturn

import orjson

from backfill.sandbox.schema import (
    EVENT_VALIDATOR,
    MAX_BULK_EVENTS,
    MAX_EVENT_BYTES,
    MAX_STRING_BYTES,
    wording,
)

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

# A reason lists no more than this many broken rules: an event with 400 bad properties says it in one line.
_MAX_REASONS = 10


class Malformed(ValueError):
    """The body as a whole is no request the API takes; the text says why."""


@dataclass(frozen=True, slots=True)
class Taken:
    """An event that keeps all the rules.

    `body` is the event as JavaScript reads it, as JSON with sorted keys in UTF-8.
    `digest` is 16 bytes over it: two events have the same content when their digests are equal.
    `dropped` counts the values in `data` that the API treats as unset.
    """

    name: str
    unique_id: str | None
    body: bytes
    digest: bytes
    dropped: int


@dataclass(frozen=True, slots=True)
class Refused:
    """An event that breaks at least one rule; `reasons` say where and which, without the event's values."""

    name: str | None
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return "; ".join(self.reasons)


def parse(body: bytes) -> Json:
    """The JSON document in `body`; Malformed for what RFC 8259 refuses or what would silently lose data."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"the body is not UTF-8: byte {error.start} is {body[error.start]:#04x}") from None
    try:
        document: Json = _DECODER.decode(text)
    except Malformed:
        raise
    except json.JSONDecodeError as error:
        raise Malformed(f"the body is not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise Malformed("the body is nested too deeply") from None
    return document


def events_of(document: Json) -> list[Json]:
    """The events of a bulk request; Malformed unless it is {"events": [1 to 100 events]} and nothing else."""
    if not isinstance(document, dict):
        raise Malformed('the body is not an object with the key "events"')
    if unknown := sorted(document.keys() - {"events"}):
        raise Malformed(f"the body has keys that are not allowed: {', '.join(unknown)}")
    events = document.get("events")
    if not isinstance(events, list):
        raise Malformed("events: is required, and is an array")
    if not 1 <= len(events) <= MAX_BULK_EVENTS:
        raise Malformed(f"events: has {len(events)} events, not 1 to {MAX_BULK_EVENTS}")
    return events


def sizes_of(body: bytes) -> list[int] | None:
    """The bytes each event of a well-formed bulk takes in `body`; None when none can be over the limit."""
    if len(body) <= MAX_EVENT_BYTES:
        return None
    text = body.decode("utf-8")
    sizes: list[int] = []
    at = text.index("[") + 1
    while text[at := _skip(text, at)] != "]":
        _, end = _DECODER.raw_decode(text, at)
        sizes.append(len(text[at:end].encode("utf-8")))
        at = _skip(text, end)
        at += text[at] == ","
    return sizes


def judge(event: Json, size: int = 0) -> Taken | Refused:
    """Whether the API would take `event`, which took `size` bytes in its request (0: far below the limit)."""
    named = event.get("eventName") if isinstance(event, dict) else None
    name = named if isinstance(named, str) else None
    if size > MAX_EVENT_BYTES:
        return Refused(name, (f"the event is {size} bytes, over {MAX_EVENT_BYTES}",))
    try:
        body = orjson.dumps(event, option=orjson.OPT_SORT_KEYS)
        if not EVENT_VALIDATOR.is_valid(event):
            return Refused(name, _broken_rules(event))
    except (orjson.JSONEncodeError, ValueError) as error:
        return Refused(name, (_unencodable(error),))
    if not isinstance(event, dict):  # the schema has said so already; this tells the type checker
        return Refused(name, ("the event is not an object",))
    if len(body) > MAX_STRING_BYTES and (long := _long_strings(event)):
        return Refused(name, long)
    unique_id = event.get("uniqueId")
    data = event.get("data")
    return Taken(
        name=str(name),
        unique_id=unique_id if isinstance(unique_id, str) else None,
        body=body,
        digest=blake2b(body, digest_size=16).digest(),
        dropped=sum(map(is_unset, data.values())) if isinstance(data, dict) else 0,
    )


def is_unset(value: Json) -> bool:
    """Whether the API treats this value of `data` as not set: 0, "" and null, but not false."""
    return value is None or value == "" or (value == 0 and not isinstance(value, bool))


def _broken_rules(event: Json) -> tuple[str, ...]:
    reasons: dict[str, None] = {}
    for error in EVENT_VALIDATOR.iter_errors(event):
        where, rule = wording(error)
        reasons[f"{where}: {rule}" if where else f"the event {rule}"] = None
        if len(reasons) == _MAX_REASONS:
            break
    return tuple(reasons)


def _unencodable(error: Exception) -> str:
    if "surrogate" in str(error):
        return "a string holds a lone surrogate, which is not Unicode text"
    return "the event is nested too deeply"


def _long_strings(event: Json) -> tuple[str, ...]:
    """A reason for each key or value that is a string over the limit."""
    found: list[str] = []
    todo: list[tuple[str, Json]] = [("", event)]
    while todo and len(found) < _MAX_REASONS:
        where, value = todo.pop()
        if isinstance(value, str):
            # No character takes more than 4 bytes: most strings need no encoding to be known as short.
            if len(value) * 4 > MAX_STRING_BYTES and len(value.encode("utf-8")) > MAX_STRING_BYTES:
                found.append(f"{where}: is longer than {MAX_STRING_BYTES} bytes")
        elif isinstance(value, list):
            todo.extend((where, item) for item in value)
        elif isinstance(value, dict):
            for key, item in value.items():
                todo.append((f"a key in {where or 'the event'}", key))
                todo.append((f"{where}.{key[:80]}".lstrip("."), item))
    return tuple(found)


def _skip(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise Malformed(f"the body has the key {key[:80]!r} twice in one object")
            seen.add(key)
    return fields


def _integer(digits: str) -> int | float:
    # JavaScript has no integers: beyond 2^53 it keeps the nearest double. Fifteen digits never are.
    return int(digits) if len(digits) <= 15 else _float(digits)


def _float(digits: str) -> int | float:
    number = float(digits)
    if not math.isfinite(number):
        raise Malformed(f"the number {digits[:40]} is too large for a double")
    # 1.0 and 1 are one number to JavaScript, so they are one content here. orjson takes no int over 2^64.
    return int(number) if number.is_integer() and abs(number) < 2**63 else number


def _constant(name: str) -> NoReturn:
    raise Malformed(f"the body is not JSON: {name} is no JSON value")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant)
