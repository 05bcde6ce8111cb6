"""Who watches a check or a run: a protocol whose methods do nothing, for those that show something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backfill.pipeline import Sending
from backfill.plan import Plan
from backfill.settings import Settings
from backfill.tally import Survey

__all__ = ["Observer", "StoreReady"]


@dataclass(frozen=True, slots=True)
class StoreReady:
    """`total` events are about to be sent to a store, called `name` in words."""

    store: str
    name: str
    found: Survey
    total: int


class Observer:
    """Sees what a run does; one that shows nothing, to be extended by those that do."""

    def note(self, text: str) -> None:
        """Something the user should know."""

    def checking(self, found: Survey) -> None:
        """A chunk was checked."""

    def checked(self, planned: Plan, found: Survey, settings: Settings | None) -> None:
        """The whole export was checked."""

    def ready(self, found: Survey, settings: Settings, total: int) -> None:
        """`total` events are about to be sent."""

    def stores_ready(self, ready: Sequence[StoreReady], settings: Settings, at_once: int) -> None:
        """Events are about to be sent to many stores, `at_once` of them side by side, with the same `settings`."""

    def confirm(self) -> bool:
        """May they be sent? Only asked when neither flag nor mapping says so."""
        return False

    def sending(self, state: Sending) -> None:
        """The state of delivery, some times a second."""

    def sandbox(self, page_url: str, database: Path) -> None:
        """The sandbox inside the run listens, until the run ends; what it takes stays in the database."""
