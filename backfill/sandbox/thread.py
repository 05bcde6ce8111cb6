"""A sandbox for code that has no event loop, or wants its own left alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from backfill.sandbox.faults import Faults
from backfill.sandbox.kept import Stored
from backfill.sandbox.options import Options
from backfill.sandbox.server import Sandbox
from backfill.sandbox.tally import Summary


class SandboxThread:
    """A sandbox on an event loop of its own, in a thread of its own, from `with` to its end.

    The methods are those of Sandbox and may be called from any thread, while the sandbox runs.
    """

    base_url: str
    page_url: str

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)

    def __enter__(self) -> Self:
        """Start, and return once it listens. Raises ListenError, StoreError."""
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and return once it has. Raises what ended the sandbox before its time."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        if self._failure is not None and error is None:
            raise self._failure

    @property
    def faults(self) -> Faults:
        """The faults in force."""
        return self._sandbox.faults

    def set_faults(self, faults: Faults) -> None:
        """Misbehave like this from the next request on; its counting and its seed begin anew."""
        self._sandbox.set_faults(faults)

    def summary(self) -> Summary:
        """What arrived, in numbers."""
        return self._sandbox.summary()

    def events(
        self,
        *,
        after: int = 0,
        limit: int | None = None,
        store: str | None = None,
        event_name: str | None = None,
        duplicates: bool | None = None,
    ) -> Iterator[Stored]:
        """Stored events in order of arrival; `duplicates` False leaves them out, True gives only them."""
        return self._sandbox.events(after=after, limit=limit, store=store, event_name=event_name, duplicates=duplicates)

    def ids(self, store: str | None = None) -> set[str]:
        """The distinct uniqueIds that were taken, in one store or in all."""
        return self._sandbox.ids(store)

    def reset(self) -> None:
        """Forget all events and counts; the faults stay and begin anew."""
        self._sandbox.reset()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that entered
            self._failure = error
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with Sandbox(self.options) as self._sandbox:
            self.base_url, self.page_url = self._sandbox.base_url, self._sandbox.page_url
            self._ready.set()
            await self._stop.wait()
