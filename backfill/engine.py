"""Who does a run's work on one store's part of an export: this process, or something larger that keeps its promises."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Protocol

from backfill.ledger import Ledger
from backfill.pipeline import Delivered, Delivery, deliver
from backfill.plan import Plan
from backfill.survey import Rejecter, Watcher, survey
from backfill.tally import Survey

__all__ = ["Engine", "Local"]


class Engine(Protocol):
    """Reads and checks an export, and sends what is ready; the two calls of a run that take long."""

    def ledger(self, open_ledger: Callable[[], Ledger]) -> Ledger:
        """The ledger that `open_ledger` opens, wherever that is to be; raises what it raises."""
        ...

    def survey(
        self,
        planned: Plan,
        ledger: Ledger | None,
        now: datetime,
        scratch: Path | None = None,
        *,
        watch: Watcher | None = None,
        reject: Rejecter | None = None,
        into: Survey | None = None,
        not_newer_than: str = "",
        retry_rejected: bool = False,
    ) -> Survey:
        """As `backfill.survey.survey`."""
        ...

    def deliver(self, delivery: Delivery) -> Delivered:
        """As `backfill.pipeline.deliver`: it returns in any case, with what stopped it. May be called in a thread."""
        ...


class Local:
    """This process."""

    def ledger(self, open_ledger: Callable[[], Ledger]) -> Ledger:
        """The ledger, opened here."""
        return open_ledger()

    survey = staticmethod(survey)
    deliver = staticmethod(deliver)
