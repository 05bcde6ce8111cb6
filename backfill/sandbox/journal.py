"""Group commit: the requests that arrive while one commit runs share the next."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from backfill.sandbox.kept import Batch
from backfill.sandbox.store import Store


class Journal:
    """Hands batches from the event loop to the store, in a thread of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sandbox-journal")
        self._waiting: list[tuple[Batch, asyncio.Future[list[int]]]] = []
        self._wake = asyncio.Event()

    async def add(self, batch: Batch) -> list[int]:
        """Keep the batch; the seq of each of its events, once they are committed. Raises StoreError."""
        kept: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self._waiting.append((batch, kept))
        self._wake.set()
        return await kept

    async def run(self) -> None:
        """Commit what waits, until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                waiting, self._waiting = self._waiting, []
                try:
                    seqs = await loop.run_in_executor(self._thread, self._store.add, [b for b, _ in waiting])
                except Exception as error:  # noqa: BLE001 - each waiting request reports it
                    for _, kept in waiting:
                        if not kept.done():
                            kept.set_exception(error)
                else:
                    for (_, kept), seq in zip(waiting, seqs, strict=True):
                        if not kept.done():
                            kept.set_result(seq)
        finally:
            self._thread.shutdown(wait=True)
