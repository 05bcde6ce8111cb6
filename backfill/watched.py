"""Who watches runs from outside: a file of metrics for Prometheus, and a dead man's switch.

That they can't be told is a note; it changes neither the run nor its exit status. A rehearsal tells them nothing: it
must not pass for a run. Nor does a run that is turned away by another: what is told is of that one, which goes on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from backfill import mapping as mappings
from backfill.attempt import write_down
from backfill.errors import BackfillError, InterruptedRun, LockedError, as_told
from backfill.metrics import Ended, write_metrics
from backfill.ping import ping, ping_said, ping_url
from backfill.run import Result
from backfill.settings import Flags
from backfill.signals import later

__all__ = ["Watched"]


class Watched:
    """Around a run, which calls `begun`, and whose `result` is to be set: tells at its end, however it ends.

    A signal at the end gives up the telling, and nothing else.
    """

    def __init__(
        self, mapping: Path, flags: Flags, note: Callable[[str], Any], *, metrics_file: Path | None, url: str | None
    ) -> None:
        self.result: Result | None = None
        self._mapping, self._flags, self._note = mapping, flags, note
        self._metrics, self._url = metrics_file, url
        self._began = time.time(), time.monotonic()

    def __enter__(self) -> Self:
        """Raises SettingsError for an address that can't be one."""
        try:
            said = self._url or ping_said()
            self._url = ping_url(said) if said else None
        except BackfillError as error:
            self._write(error.status)
            write_down(self._mapping, self._flags, error)
            raise
        if self._flags.sandbox and (self._url or self._metrics):
            self._note("a rehearsal is not told to --ping and --metrics-file")
            self._url = self._metrics = None
        return self

    def begun(self) -> None:
        """The ledger is this run's: no other goes on."""
        self._ping("start")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, LockedError):
            return
        told = as_told(error) if error is not None else self.result.error if self.result else None
        status = told.status if error is not None and told else self.result.status if self.result else 0
        try:
            with later() as arise:
                self._write(status)
                arise()
            warnings = self.result.summary.get("warnings", ()) if self.result else ()
            self._ping(
                "" if status == 0 else str(status), hurry=isinstance(told, InterruptedRun), body="\n".join(warnings)
            )
        except KeyboardInterrupt:
            # However the run ended, it had ended before.
            if self._url:
                self._note("--ping: given up at a signal")

    def _write(self, status: int) -> None:
        if self._metrics is None:
            return
        summary = self.result.summary if self.result else None
        store = (summary["store"] or "") if summary else self._store()
        seconds = time.monotonic() - self._began[1]
        ended = Ended(self._mapping.name, store, status, round(time.time(), 3), seconds, summary)
        try:
            write_metrics(self._metrics, ended)
        except OSError as error:
            self._note(f"--metrics-file: {self._metrics} can't be written: {error.strerror or error}")

    def _store(self) -> str:
        """The store, as far as it is known of a run that did not begin."""
        store = self._flags.store or os.environ.get("REDO_STORE_ID")
        if not store:
            with suppress(BackfillError):
                mapping = mappings.read(self._mapping).mapping
                declared = mapping.delivery.store if mapping else None
                store = declared if isinstance(declared, str) else None
        return store or ""

    def _ping(self, end: str, *, hurry: bool = False, body: str = "") -> None:
        """In a `hurry` once only: who stopped the run may not wait long until it kills it."""
        if self._url:
            url = ping_url(self._url, end)
            failed = ping(url, attempts=1, body=body) if hurry else ping(url, body=body)
            if failed:
                self._note(f"--ping: {failed}")
