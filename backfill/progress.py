"""What a person or a program sees while a run goes on: three small siblings, one for each kind of reader.

Everything goes to stderr, but `--json` lines, which are results and go to stdout.
"""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from backfill.errors import BackfillError, as_told
from backfill.eta import Estimate
from backfill.live import Lines, Now
from backfill.observer import Observer, StoreReady
from backfill.pipeline import Sending
from backfill.plan import Plan
from backfill.printable import plural, printable
from backfill.report import new_names_data, sends_data
from backfill.report.stores import longest, stores_text
from backfill.report.text import ready_text, slips_text
from backfill.settings import Settings
from backfill.tally import Survey
from backfill.terminal import for_terminal

__all__ = ["JsonLines", "Plain", "Terminal"]

LINE_SECONDS = 10.0


class Plain(Observer):
    """A line every ten seconds; nothing but notes when `quiet`."""

    def __init__(self, stream: IO[str] | None = None, *, quiet: bool = False, every: float = LINE_SECONDS) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._every = every
        self._next = time.monotonic() + every
        self._estimate: Estimate | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing more is shown."""

    def say(self, text: str) -> None:
        """Lines on stderr. A stderr that is closed or full stops no run."""
        try:
            print(for_terminal(printable(text), self._stream), file=self._stream, flush=True)
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
        self._expect(settings, total)
        if not self._quiet:
            self.say(ready_text(found, settings, total))
        elif slips := slips_text(found):
            self.note(slips)

    def stores_ready(self, ready: Sequence[StoreReady], settings: Settings, at_once: int) -> None:
        self._expect_of(ready, settings, at_once)
        if not self._quiet:
            self.say(stores_text([(one.name, one.found, one.total) for one in ready], settings, at_once))
        for one in ready:
            if self._quiet and (slips := slips_text(one.found)):
                self.note(f"{one.name}: {slips}")

    def sending(self, state: Sending) -> None:
        estimate = self._seen(state)
        if self._due():
            words = ", ".join(filter(None, (_fullest(state, estimate), state.stores, *_troubles(state))))
            self.say(f"sending: {words}" + (f"; {state.snapshot.reason}" if state.snapshot.reason else ""))

    def _expect(self, settings: Settings, total: int) -> None:
        """Until there is something to be seen, it is thought to go as fast as the settings say."""
        self._estimate = Estimate(total, settings.rate * total / settings.requests(total)) if total else None

    def _expect_of(self, ready: Sequence[StoreReady], settings: Settings, at_once: int) -> None:
        total = sum(one.total for one in ready)
        seconds = longest([one.total for one in ready], settings, at_once)
        self._estimate = Estimate(total, total / seconds) if total else None

    def _seen(self, state: Sending) -> Estimate:
        """The estimate, which sees every state, shown or not."""
        estimate = self._estimate = self._estimate or Estimate(state.total)
        snapshot = state.snapshot
        # When an outage ends, nobody knows.
        pause = 0.0 if snapshot.outage else snapshot.pause
        estimate.see(state.seconds, state.total - state.pending, pause=pause, waiting=bool(snapshot.reason))
        return estimate

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
        self._summed = False

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
        if error is not None and not self._summed:
            self.failed(as_told(error))
        super().__exit__(kind, error, trace)

    def failed(self, error: BackfillError) -> None:
        """The error with which the command ends."""
        self.emit("error", exit=error.status, message=error.message, hint=error.hint)

    def summary(self, summary: Mapping[str, Any], folder: Path) -> None:
        """The last object: what is noted later goes to stderr."""
        self.emit("summary", **summary, folder=str(folder))
        self._summed = True

    def note(self, text: str) -> None:
        if self._summed:
            super().note(text)
        else:
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
        self._expect(settings, total)
        self.emit("ready", **self._promised(found, settings, total))

    def stores_ready(self, ready: Sequence[StoreReady], settings: Settings, at_once: int) -> None:
        for one in ready:
            self.emit("ready", store=one.store, **self._promised(one.found, settings, one.total))
        self._expect_of(ready, settings, at_once)

    @staticmethod
    def _promised(found: Survey, settings: Settings, total: int) -> dict[str, Any]:
        return {
            "events": total,
            "requests": settings.requests(total),
            "rate": settings.rate,
            "names": sends_data(found),
            "new_names": new_names_data(found),
            "kept_back": found.events()["kept_back"],
        }

    def sending(self, state: Sending) -> None:
        left = self._seen(state).left()
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
                eta_seconds=None if left is None else round(left),
                waiting=state.snapshot.reason or None,
                **({"stores": state.stores} if state.stores else {}),
            )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Terminal(Plain):
    """Lines at the foot of the terminal: how much is done and left, how fast it goes, and what is waited for.

    `clock` gives seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._lines = Lines()
        self._clock = clock
        self._began = 0.0
        self._reading: Estimate | None = None

    def say(self, text: str) -> None:
        self.close()
        super().say(text)

    def checking(self, found: Survey) -> None:
        rows = f"{found.rows.read:,} rows"
        rejected = found.rows.unreadable + found.invalid
        words = [rows, f"{rejected:,} rejected"] if rejected else [rows]
        done, whole = found.reached
        if not 0 < done < whole:
            # How much there is is not known; or all is read, and how long the rest of the work takes is not.
            self._lines.show(Now([f"checking: {', '.join(words)}", rows]))
            return
        now = self._clock()
        if self._reading is None:
            self._began, self._reading = now, Estimate(whole)
        self._reading.see(now - self._began, done)
        share, left = _percent(done, whole), _left(self._reading.words())
        fewer = (["checking: " + share, *words, *left], [share, *words, *left], [share, rows, *left], [share, *left])
        self._lines.show(Now([", ".join(one) for one in fewer], done / whole))

    def checked(self, planned: Plan, found: Survey, settings: Settings | None) -> None:
        self.close()

    def sending(self, state: Sending) -> None:
        estimate = self._seen(state)
        done = state.total - state.pending
        share, left = _percent(done, state.total), _left(estimate.words())
        fewer = (
            [share, _fullest(state, estimate)],
            [share, f"{done:,} of {state.total:,} events", *left],
            [share, f"{done:,} of {state.total:,}", *left],
            [share, *left],
        )
        below = ", ".join(filter(None, (state.stores, state.snapshot.reason, *_troubles(state))))
        self._lines.show(Now([", ".join(one) for one in fewer], done / state.total if state.total else None, below))

    def close(self) -> None:
        self._lines.close()


def _fullest(state: Sending, estimate: Estimate) -> str:
    """`12,300 of 69,659 events, 95/s, 12 min left`."""
    words = [f"{state.total - state.pending:,} of {state.total:,} events"]
    if estimate.rate >= 1 and not state.snapshot.reason:
        words.append(f"{estimate.rate:,.0f}/s")
    after = " once it answers" if state.snapshot.outage else ""
    return ", ".join(words + [one + after for one in _left(estimate.words())])


def _left(words: str) -> list[str]:
    return [f"{words} left"] if words else []


def _percent(done: float, whole: float) -> str:
    """Rounded down: 100 % is the end."""
    return f"{int(100 * done / whole) if whole else 100} %"


def _troubles(state: Sending) -> list[str]:
    """`3 refused`, `1 retry`: what may want a look, when it is over."""
    snapshot = state.snapshot
    words = [f"{state.refused:,} refused"] if state.refused else []
    if snapshot.retries:
        words.append("1 retry" if snapshot.retries == 1 else f"{snapshot.retries:,} retries")
    if snapshot.rate_limited:
        words.append(f"slowed down by {plural(snapshot.rate_limited, 'answer')} of 429")
    return words
