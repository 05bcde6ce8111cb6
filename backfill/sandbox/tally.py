"""What the sandbox has seen since it started: requests, answers, refusals."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import Any

from backfill.sandbox.kept import Counts

# A reason may name a key of the sender's; a run that errs in a new way each time must not fill the memory.
_MAX_REASONS = 1000


@dataclass(frozen=True, slots=True)
class Summary:
    """The sandbox in numbers. Events count since the database began, everything else since this process did.

    requests: calls to the two endpoints.
    statuses: their answers by status, and what took an answer's place ("reset"; "left": the client went).
    faults: the faults that were played, by kind.
    stored: events that were kept.
    duplicates: events dropped because the store had their uniqueId; differing: those with another content.
    ids: distinct uniqueIds, each store counted for itself.
    names: events kept, by event name.
    dropped_values: values of `data` in the events kept that count as unset.
    refused: events that broke a rule.
    held_back: events that broke none, in a bulk that was refused for others.
    reasons: broken rules, of events and of whole requests.
    busiest_second: the most requests a store got within a second, by store.
    """

    requests: int
    statuses: dict[str, int]
    faults: dict[str, int]
    stored: int
    duplicates: int
    differing: int
    ids: int
    names: dict[str, int]
    dropped_values: int
    refused: int
    held_back: int
    reasons: dict[str, int]
    busiest_second: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """The same, as JSON takes it."""
        return dataclasses.asdict(self)


class Tally:
    """Counts requests; only the event loop writes to it."""

    def __init__(self) -> None:
        self.requests = 0
        self.refused = 0
        self.held_back = 0
        self.statuses: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()

    def reason(self, text: str) -> None:
        """Count one broken rule."""
        known = text in self._reasons or len(self._reasons) < _MAX_REASONS
        self._reasons[text if known else "other"] += 1

    def summary(self, events: Counts, names: dict[str, int], busiest: dict[str, int]) -> Summary:
        """All counts as they are now."""
        return Summary(
            requests=self.requests,
            statuses=dict(self.statuses),
            faults=dict(self.faults),
            stored=events.stored,
            duplicates=events.duplicates,
            differing=events.differing,
            ids=events.ids,
            names=names,
            dropped_values=events.dropped_values,
            refused=self.refused,
            held_back=self.held_back,
            reasons=dict(self._reasons),
            busiest_second=busiest,
        )
