"""What an answer means, when to try again, when to give up: pure decisions, told the time, given the dice.

Answer or exception → verdict → Verdict            one attempt
attempt → backoff → seconds                        one request
Budget, Breaker                                    the whole run
"""

from __future__ import annotations

from backfill.retry.meaning import Kind, Verdict, item_results, verdict
from backfill.retry.waiting import (
    ATTEMPTS,
    BASE_AFTER_429,
    GIVE_UP_AFTER,
    LONGEST_RETRY_AFTER,
    Breaker,
    Budget,
    Gate,
    backoff,
    retry_after,
)
from backfill.retry.words import Answer, Problem, problem, shown

__all__ = [
    "ATTEMPTS",
    "BASE_AFTER_429",
    "GIVE_UP_AFTER",
    "LONGEST_RETRY_AFTER",
    "Answer",
    "Breaker",
    "Budget",
    "Gate",
    "Kind",
    "Problem",
    "Verdict",
    "backoff",
    "item_results",
    "problem",
    "retry_after",
    "shown",
    "verdict",
]
