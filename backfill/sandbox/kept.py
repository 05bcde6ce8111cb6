"""What the sandbox keeps, as data: events, examples of what was refused, and their counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from backfill.sandbox.judge import Taken


class StoreError(OSError):
    """The database cannot be used; the message says which file and why."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One event that was answered with 202 (or would have been, had the answer not been lost).

    seq: 1, 2, ... in order of arrival. at: Unix seconds of arrival. timestamp: its own, or that of arrival.
    event: as the API keeps it, numbers as JavaScript reads them, without the values in `data` that count as
    unset. dropped: those values.
    duplicate: the store had this uniqueId before, so the API drops it without a word.
    differs: it is a duplicate whose content is not that of the first.
    bulk: it came by the bulk endpoint; None where an earlier release kept it and did not note it.
    """

    seq: int
    at: float
    store: str
    unique_id: str | None
    name: str
    timestamp: str
    duplicate: bool
    differs: bool
    event: dict[str, Any]
    dropped: dict[str, Any]
    bulk: bool | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """An example of what was refused: an event, or the whole body of a request, as JSON or as it came; perhaps cut."""

    name: str | None
    bulk: bool
    reasons: tuple[str, ...]
    body: str


@dataclass(frozen=True, slots=True)
class KeptRefusal:
    """A refusal in the database, with the Unix seconds of its arrival."""

    number: int
    at: float
    store: str
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one request to one store, with the Unix seconds of its arrival; and examples of those refused.

    `bulk`: it came by the bulk endpoint, if that is known.
    """

    store: str
    at: float
    events: Sequence[Taken]
    refused: Sequence[Refusal] = ()
    bulk: bool | None = None


@dataclass
class Counts:
    """Events in the store: `stored` kept, `duplicates` dropped, `differing` of these with other content."""

    stored: int = 0
    duplicates: int = 0
    differing: int = 0
    dropped_values: int = 0
    ids: int = 0
