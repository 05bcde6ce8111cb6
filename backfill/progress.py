"""What a person or a program sees while a run goes on: three small siblings, one for each kind of reader.

Everything goes to stderr, but `--json` lines, which are results and go to stdout.
"""

from __future__ import annotations

import json
import shlex
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from backfill.errors import BackfillError, as_told
from backfill.pipeline import Sending
from backfill.plan import Plan
from backfill.printable import printable
from backfill.report.text import duration, ready_text
from backfill.run import Observer
from backfill.settings import Settings
from backfill.tally import Survey

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["JsonLines", "Plain", "Terminal"]

LINE_SECONDS = 10.0


class Plain(Observer):
    """A line every ten seconds; nothing but notes when `quiet`."""

    def __init__(self, stream: IO[str] | None = None, *, quiet: bool = False, every: float = LINE_SECONDS) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._every = every
        self._next = time.monotonic() + every

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing more is shown."""

    def say(self, text: str) -> None:
        """A line on stderr. A stderr that is closed or full stops no run."""
        try:
            print(printable(text), file=self._stream, flush=True)
        except (OSError, ValueError):
            pass

    def note(self, text: str) -> None:
        self.say(f"note: {text}")

    def sandbox(self, page_url: str, database: Path) -> None:
        if not self._quiet:
            self.say(f"the sandbox listens at {page_url} while this runs; to look at what arrived, later:")
            self.say(f"  backfill sandbox --database {shlex.quote(str(database))}")

    def checking(self, found: Survey) -> None:
        if self._due():
            self.say(f"checking: {found.rows.read:,} rows read")

    def ready(self, found: Survey, settings: Settings, total: int) -> None:
        if not self._quiet:
            self.say(ready_text(found, settings, total))

    def sending(self, state: Sending) -> None:
        if self._due():
            self.say("sending: " + _words(state))

    def _due(self) -> bool:
        now = time.monotonic()
        if self._quiet or now < self._next:
            return False
        self._next = now + self._every
        return True


class JsonLines(Plain):
    """One JSON object a line on stdout, each with its `type` and `time`: `{"type": "checking", …}`, `{"type":
    "sending", …}`, an error that ended the command, the summary last.
    """

    def __init__(self, out: IO[str] | None = None, *, every: float = 1.0) -> None:
        super().__init__(every=every)
        self._out = out or sys.stdout

    def emit(self, kind: str, **fields: Any) -> None:
        """One object. A reader that has gone stops no run."""
        try:
            line = {"type": kind, "time": _now(), **fields}
            print(json.dumps(line, ensure_ascii=True), file=self._out, flush=True)
        except (OSError, ValueError):
            pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.failed(as_told(error))
        super().__exit__(kind, error, trace)

    def failed(self, error: BackfillError) -> None:
        """The error with which the command ends."""
        self.emit("error", exit=error.status, message=error.message, hint=error.hint)

    def note(self, text: str) -> None:
        self.emit("note", text=text)

    def sandbox(self, page_url: str, database: Path) -> None:
        self.emit("sandbox", url=page_url, database=str(database))

    def checking(self, found: Survey) -> None:
        if self._due():
            self.emit("checking", rows=found.rows.read)

    def checked(self, planned: Plan, found: Survey, settings: Settings | None) -> None:
        rows = found.rows
        self.emit(
            "checked",
            rows=rows.read,
            unreadable=rows.unreadable,
            filtered=rows.filtered,
            events=found.events(),
        )

    def ready(self, found: Survey, settings: Settings, total: int) -> None:
        self.emit("ready", events=total, requests=settings.requests(total), rate=settings.rate)

    def sending(self, state: Sending) -> None:
        if self._due():
            self.emit(
                "sending",
                total=state.total,
                accepted=state.accepted,
                refused=state.refused,
                pending=state.pending,
                requests=state.snapshot.requests,
                retries=state.snapshot.retries,
                rate_limited=state.snapshot.rate_limited,
                eta_seconds=_eta(state),
                waiting=state.snapshot.reason or None,
            )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Terminal(Plain):
    """A progress bar with events, rate, ETA, retries, and what is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def _progress(self, *, total: int | None, words: str, completed: int | None = None) -> None:
        # A terminal that goes away stops no run.
        with suppress(OSError):
            self._show(total=total, words=words, completed=completed)

    def _show(self, *, total: int | None, words: str, completed: int | None) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

            self._bar = Progress(
                SpinnerColumn(),
                BarColumn(bar_width=20),
                TextColumn("{task.description}", markup=False),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task(words, total=total)
            self._bar.start()
        assert self._task is not None
        self._bar.update(self._task, description=words, total=total, completed=completed)

    def say(self, text: str) -> None:
        self.close()
        super().say(text)

    def checking(self, found: Survey) -> None:
        rejected = found.rows.unreadable + found.invalid
        self._progress(total=None, words=f"checking: {found.rows.read:,} rows, {rejected:,} rejected")

    def checked(self, planned: Plan, found: Survey, settings: Settings | None) -> None:
        self.close()

    def sending(self, state: Sending) -> None:
        self._progress(total=state.total, words=_words(state), completed=state.accepted + state.refused)

    def close(self) -> None:
        bar, self._bar = self._bar, None
        if bar is not None:
            with suppress(OSError):
                bar.stop()


def _words(state: Sending) -> str:
    """`12,300 of 69,659 events, 95/s, 2 min left, 3 refused, 1 retry; waiting …`"""
    done = state.accepted + state.refused
    words = [f"{done:,} of {state.total:,} events"]
    if state.seconds > 1:
        words.append(f"{done / state.seconds:,.0f}/s")
    eta = _eta(state)
    if eta is not None:
        words.append(f"{duration(eta)} left")
    if state.refused:
        words.append(f"{state.refused:,} refused")
    if state.snapshot.retries:
        words.append(f"{state.snapshot.retries:,} retries")
    if state.snapshot.rate_limited:
        words.append(f"slowed down by {state.snapshot.rate_limited:,} answers of 429")
    line = ", ".join(words)
    return f"{line}; {state.snapshot.reason}" if state.snapshot.reason else line


def _eta(state: Sending) -> float | None:
    done = state.accepted + state.refused
    if not done or state.seconds < 1:
        return None
    return round(state.pending * state.seconds / done, 1)
