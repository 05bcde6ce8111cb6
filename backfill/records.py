"""What the stages hand to each other: plain frozen data, drawn in the order of its way.

files → read ─Chunk→ shape ─Shaped→ (ledger: drop the delivered) → pack ─Request→ send ─Outcome→ ledger → report
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

__all__ = ["FILE", "ROW", "Chunk", "Events", "Outcome", "Refusal", "Rejection", "Request", "UnreadFile"]

# Columns that `read` adds to each frame. No export has a colon-led name by chance; `read` refuses one that does.
FILE = ":file"
ROW = ":row"


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row or an event that can't be sent, and why.

    `file` is the position of the file in the export, `row` the physical line (CSV, NDJSON) or the row number
    (other formats), both as `read` counts them; `column` and `value` are the offending cell, where it is one cell.
    `text` is all that an unreadable row says: it tells which group the row may belong to.
    """

    file: int
    row: int
    problem: str
    detail: str
    column: str = ""
    value: str = ""
    text: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class UnreadFile:
    """A file that can't be read, or not to its end: `why`, and what to do (`hint`). Nothing of it is sent."""

    file: int
    name: str
    why: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some thousands of rows of the export, in the export's order.

    `frame` has the export's columns and FILE (UInt32, position of the file) and ROW (UInt64, counted from 1).
    `unreadable` are the rows that could not be read, whose text is in `detail`. `unread` says, in a chunk without
    rows, that the file whose chunks came before ends here because the rest of it can't be read. `lost` are rows that
    could not be read and are counted elsewhere, but may belong here.
    """

    frame: pl.DataFrame
    unreadable: Sequence[Rejection] = ()
    unread: UnreadFile | None = None
    lost: Sequence[Rejection] = ()


@dataclass(frozen=True, slots=True)
class Events:
    """Events that are ready to be sent: columns of one length, an event at each index.

    `bodies` are JSON texts in UTF-8; `keys` are the ledger's digests of the ids (16 bytes), `contents` its digests of
    the bodies (16 bytes); `names` are the eventNames; `files` and `rows` are where the event comes from.
    """

    bodies: Sequence[bytes]
    ids: Sequence[str]
    keys: Sequence[bytes]
    contents: Sequence[bytes]
    names: Sequence[str]
    files: Sequence[int]
    rows: Sequence[int]

    def __len__(self) -> int:
        return len(self.bodies)

    def part(self, start: int, stop: int) -> Events:
        """The events `start` to `stop` (exclusive)."""
        part = slice(start, stop)
        return Events(
            self.bodies[part],
            self.ids[part],
            self.keys[part],
            self.contents[part],
            self.names[part],
            self.files[part],
            self.rows[part],
        )


@dataclass(frozen=True, slots=True)
class Request:
    """The events `start` to `stop` (exclusive) of `events`, to be sent together."""

    events: Events
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def alone(self) -> Request:
        """The same events without their chunk: a request that waits for its next attempt must not hold 10 MB more."""
        return Request(self.events.part(self.start, self.stop), 0, len(self))


@dataclass(frozen=True, slots=True)
class Refusal:
    """The API's own words for an event that it will not take (`status` is the HTTP status, 202 for a bulk answer)."""

    status: int
    title: str
    detail: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the events of one request ended; every index of the request is in exactly one of the three.

    `accepted`: the API's 202. `refused`: its 400, 413 or 422. `pending`: not sent, or not known to have arrived.
    """

    events: Events
    accepted: Sequence[int] = ()
    refused: Sequence[tuple[int, Refusal]] = ()
    pending: Sequence[int] = ()
