"""What a sandbox is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from backfill.sandbox.faults import Faults


@dataclass(frozen=True)
class Options:
    """How the sandbox listens, whom it knows, and which of the vendor's documented behaviours it shows.

    host, port: where it listens; port 0 takes any free one.
    stores: the store ids it knows, None for any; another one gets a 404.
    secrets: the secrets it knows, None for any that is not empty; another one gets a 401.
    forbidden: secrets that are known but lack the scope to write events; they get a 403.
    rate: requests a second for each store, over both endpoints; None for no limit.
    database: an SQLite file that outlives the sandbox, None to keep events in memory.
    bulk_body: bulk answers 202 with a verdict for each event, and takes the good ones.
    bulk_400_partial: a bulk with a bad event answers 400, yet takes the good ones (without bulk_body).
    faults: what goes wrong on purpose.
    """

    host: str = "127.0.0.1"
    port: int = 0
    stores: frozenset[str] | None = None
    secrets: frozenset[str] | None = field(default=None, repr=False)
    rate: float | None = 100.0
    database: Path | None = None
    bulk_body: bool = False
    bulk_400_partial: bool = False
    faults: Faults = field(default_factory=Faults)
    forbidden: frozenset[str] = field(default=frozenset(), repr=False)

    def __post_init__(self) -> None:
        """Raise ValueError for a rate that lets nothing through."""
        if self.rate is not None and not self.rate > 0:
            raise ValueError(f"rate is {self.rate:g}: it is above 0, or None for no limit")
