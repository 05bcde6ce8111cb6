"""Who does a run's work on one store's part of an export: this process, or something larger that keeps its promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from backfill.ledger import Ledger
from backfill.pipeline import Delivered, Delivery, deliver
from backfill.survey import Look, Rejecter, Watcher, survey_all
from backfill.tally import Survey

__all__ = ["Engine", "Local"]


class Engine(Protocol):
    """Reads and checks an export, and sends what is ready; the two calls of a run that take long."""

    def ledger(self, open_ledger: Callable[[], Ledger]) -> Ledger:
        """The ledger that `open_ledger` opens, wherever that is to be; raises what it raises."""
        ...

    def survey(self, look: Look, found: Survey, watch: Watcher | None = None, reject: Rejecter | None = None) -> None:
        """As `backfill.survey.survey_all`."""
        ...

    def deliver(self, delivery: Delivery) -> Delivered:
        """As `backfill.pipeline.deliver`: it returns in any case, with what stopped it. May be called in a thread."""
        ...


class Local:
    """This process."""

    def ledger(self, open_ledger: Callable[[], Ledger]) -> Ledger:
        """The ledger, opened here."""
        return open_ledger()

    survey = staticmethod(survey_all)
    deliver = staticmethod(deliver)
