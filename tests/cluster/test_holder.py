"""The process that has the ledger open for all workers."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

from backfill.cluster.holder import LedgerHolder
from backfill.errors import LockedError
from backfill.ledger import Ledger, Target

STORE = Target("https://api.example.com", "store")


class _OneLock:
    """A ledger that has a lock for each store, which the one before holds for two more tries."""

    def __init__(self) -> None:
        self.opened = self.tries = 0

    def beside(self, _target: Target) -> Any:
        self.tries += 1
        time.sleep(0.02)
        if self.opened or self.tries <= 2:
            raise LockedError("taken", hint="wait")
        self.opened += 1
        return self

    def is_empty(self) -> bool:
        return True


def test_calls_that_come_at_once_after_a_death_wait_for_the_store_s_lock() -> None:
    ledger = _OneLock()

    async def main() -> list[Any]:
        holder = LedgerHolder(lambda: cast("Ledger", ledger), follows=True)
        return await asyncio.gather(*(holder.call(STORE, "is_empty") for _ in range(4)))

    assert asyncio.run(main()) == [True] * 4
    assert ledger.opened == 1
