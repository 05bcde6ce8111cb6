"""What the ledger remembers, as plain data, and the digests that stand for an id and a body."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any
from urllib.parse import urlsplit

from backfill.errors import SettingsError
from backfill.records import Refusal

__all__ = ["Entry", "RunInfo", "RunRecord", "Target", "Totals", "content", "contents", "key", "keys"]


def key(unique_id: str) -> bytes:
    """The 16 bytes that stand for a uniqueId, for ever: BLAKE2b of its UTF-8 (`b2sum --length 128`)."""
    return blake2b(unique_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def keys(unique_ids: Iterable[str]) -> list[bytes]:
    """`key` of each."""
    return [blake2b(one.encode("utf-8", "surrogatepass"), digest_size=16).digest() for one in unique_ids]


def contents(bodies: Iterable[bytes]) -> list[bytes]:
    """`content` of each."""
    return [blake2b(body, digest_size=16).digest() for body in bodies]


def content(body: bytes) -> bytes:
    """The 16 bytes that stand for an event's JSON, byte for byte: BLAKE2b, as `key`."""
    return blake2b(body, digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Target:
    """Where events went: a rehearsal in the sandbox never counts as delivery to the store.

    The ledger takes `base_url` by its meaning: without user, query and trailing slash, the host in lower
    case.
    """

    base_url: str
    store: str

    def plain(self) -> Target:
        """The same target as the ledger writes it; raises SettingsError."""
        try:
            parts = urlsplit(self.base_url)
            port = parts.port
        except ValueError as error:
            # Without the URL itself: it may hold a password.
            raise SettingsError(
                f"the base URL can't be read: {error}", hint="it looks like https://api.example.com/v2.2"
            ) from None
        host = (parts.hostname or "").lower()
        if ":" in host:
            host = f"[{host}]"
        if port is not None and port != {"http": 80, "https": 443}.get(parts.scheme):
            host = f"{host}:{port}"
        return Target(f"{parts.scheme}://{host}{parts.path.rstrip('/')}", self.store)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one event. `content` is the digest of the body that was accepted, or else refused
    last.
    """

    content: bytes
    accepted: bool
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a run says of itself: its mapping's name, its folder below `runs/`, the release that runs."""

    mapping: str
    folder: str = ""
    release: str = ""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run. `accepted` and `refused` count what it recorded and was not known before, up to now.

    `running` is true while its process holds the lock; a run that is neither running nor `finished` was
    killed.
    """

    run: int
    target: Target
    info: RunInfo
    host: str
    pid: int
    started: datetime
    finished: datetime | None
    exit_status: int | None
    summary: dict[str, Any] | None
    accepted: int
    refused: int
    last_accepted: datetime | None
    running: bool


@dataclass(frozen=True, slots=True)
class Totals:
    """All that is known of one target; `unended` are the runs that were killed, newest first."""

    target: Target
    accepted: Mapping[str, int]
    refused: int
    first_accepted: datetime | None
    last_accepted: datetime | None
    unended: tuple[RunRecord, ...]
