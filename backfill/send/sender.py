"""One request's life: its turn, its attempts, its split, its end."""

from __future__ import annotations

import random as dice
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import NoReturn, Self

import httpx

from backfill import api, pack, retry
from backfill.errors import AccessError, BackfillError, SettingsError, StoppedError
from backfill.pace import Clock, Pace, Pacing, SystemClock
from backfill.records import Events, Outcome, Refusal, Request
from backfill.retry import Answer, Gate, Kind, Problem, Verdict
from backfill.send.target import Target
from backfill.send.turns import GaveUp, Turns
from backfill.send.watch import Snapshot, Watch
from backfill.send.wire import Wire

__all__ = ["Sender"]

DEADLINE_SECONDS = 60.0
# Above it, a proxy in front of the API may cut a body off without a word; below it nobody does.
LARGE_BODY_BYTES = 65_536
UNEXPECTED_IN_A_ROW = 2

_RECORDED = "what was accepted is recorded and is not sent again"
_HINT_AGAIN = f"run again later: {_RECORDED}"
# What shows that the API is there, that it knows the store, and that it read the request.
_DEFINITE = (Kind.ACCEPTED, Kind.RESULTS, Kind.SPLIT, Kind.REFUSED, Kind.TOO_LARGE)


@dataclass(slots=True)
class _Life:
    """One request (or a part of one that was split) and what happened to it so far."""

    request: Request
    body: bytes
    sent: int = 0
    failures: int = 0
    rate_limited: int = 0
    fresh: bool = False
    closed_in_a_row: int = 0
    cut_off: int = 0
    accepted_before: int = 0


@dataclass(slots=True)
class _Ends:
    """The outcomes of one request as they come in."""

    events: Events
    accepted: list[int] = field(default_factory=list)
    refused: list[tuple[int, Refusal]] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)

    def outcome(self) -> Outcome:
        return Outcome(self.events, self.accepted, self.refused, sorted(self.pending))


class Sender:
    """Delivers requests, many at a time.

        async with Sender(target, make_transport(), rate=95) as sender:
            outcome = await sender.deliver(request)

    `transport` carries the requests and is closed with the sender. `rate`: requests/s, `concurrency`: at most
    so many in flight, both shared by all callers of `deliver`. `pace` keeps the rate instead, where other
    machines send to the same store; the caller closes it. `deadline`: seconds for one attempt, answer
    included.

    `record` is told each event's end as soon as it is known (accepted or refused, each index once; what it is
    not told is pending), so that what half a split request achieved survives an error or a cancelling. It is
    called in the event loop and must not block.
    """

    def __init__(
        self,
        target: Target,
        transport: httpx.AsyncBaseTransport,
        *,
        rate: float,
        pace: Pacing | None = None,
        concurrency: int = 64,
        record: Callable[[Outcome], None] | None = None,
        clock: Clock | None = None,
        random: Callable[[], float] = dice.random,
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        self.target = target
        self._record = record
        self._clock = clock or SystemClock()
        self._random = random
        self._wire = Wire(target, transport, deadline)
        self._turns = Turns(pace or Pace(rate, self._clock), concurrency, self._clock)
        self._watch = Watch()
        self._accepted = 0  # requests that were, in this run
        self._accepted_at = 0.0  # when the last one was, by the time of day
        self._known = False  # has the store given an answer that only it can give
        self._unexpected = 0  # in a row
        self._last_trouble = ""
        self._pause_reason = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        await self._wire.aclose()

    # ----------------------------------------------------------------------------------------- for the caller

    def stop(self) -> None:
        """What is in flight may finish; no new attempt starts, and who waits for one is pending at once."""
        self._turns.stop()

    def stopped(self) -> bool:
        """Whether stop() was called, or an error that ends the run was raised."""
        return self._turns.stopped()

    async def deliver(self, request: Request) -> Outcome:
        """The request's whole life: each of its events ends accepted, refused or pending.

        Raises what ends a run, after `record` was told all that is known, and stops the sender: AccessError
        (the secret or the store was refused), SettingsError (certificate, base URL), StoppedError (outage, a
        Retry-After of over 5 minutes, answers that make no sense).
        """
        ends = _Ends(request.events)
        parts = [request]
        while parts:
            part = parts.pop()
            try:
                found = None if self.stopped() else await self._live(part)
            except BackfillError:
                self.stop()
                raise
            if found is None:
                ends.pending.extend(range(part.start, part.stop))
            elif found.kind in (Kind.ACCEPTED, Kind.RESULTS, Kind.REFUSED):
                self._end(part, found, ends)
            else:  # the left half first, so that outcomes come in the order of events
                parts.extend(reversed(pack.halves(part)))
        return ends.outcome()

    def snapshot(self) -> Snapshot:
        """The sender at this moment."""
        watch = self._watch
        pause, reason = self._pause()
        return Snapshot(
            requests=watch.requests,
            retries=watch.retries,
            rate_limited=watch.rate_limited,
            statuses=dict(watch.statuses),
            no_answer=watch.no_answer,
            bytes_sent=watch.bytes_sent,
            latency=watch.latency(),
            rate=self._turns.pace.state.rate,
            concurrency=self._turns.places.state.limit,
            in_flight=self._turns.places.in_flight,
            pause=pause,
            reason=reason,
            outage=self._turns.breaker.is_open,
            trouble=self._last_trouble,
        )

    def _pause(self) -> tuple[float, str]:
        now = self._clock.monotonic()
        if self._turns.breaker.is_open:
            pause = max(0.0, self._turns.breaker.next_probe - now)
            return (
                pause,
                f"waiting {pause:.0f} s, then one try: the API is out of reach ({self._last_trouble})",
            )
        pause = self._turns.pace.state.paused_until - now
        if pause <= 0:
            return 0.0, ""
        return pause, f"waiting {pause:.0f} s: {self._pause_reason}"

    # -------------------------------------------------------------------------------------------- one request

    def _end(self, part: Request, found: Verdict, ends: _Ends) -> None:
        """Notes how the events ended. No await between an answer and here: a cancelling can't lose it."""
        indexes = range(part.start, part.stop)
        accepted: list[int] = []
        refused: list[tuple[int, Refusal]] = []
        if found.kind is Kind.ACCEPTED:
            accepted.extend(indexes)
        elif found.kind is Kind.REFUSED:
            refused.append((part.start, Refusal(found.status, found.problem.title, found.problem.detail)))
        else:
            for index, words in zip(indexes, found.results, strict=True):
                if words is None:
                    accepted.append(index)
                else:
                    refused.append((index, Refusal(202, words.title, words.detail)))
        ends.accepted += accepted
        ends.refused += refused
        if self._record is not None:
            self._record(Outcome(part.events, accepted, refused))

    async def _live(self, part: Request) -> Verdict | None:
        """Attempts until there is a final word: ACCEPTED, RESULTS, REFUSED, or another kind for 'halve it'.

        None when the events stay pending.
        """
        life = _Life(part, pack.body(part, self.target.bulk), accepted_before=self._accepted)
        while True:
            gate = await self._turn()
            if gate is None:
                return None
            sent_at = self._clock.monotonic()
            judged = False
            try:
                found = await self._attempt(life)
                judged = True
            finally:
                self._turns.places.release()
                if gate is Gate.PROBE and not judged:
                    self._turns.breaker.not_probed()
            final, wait = self._judge(life, found, sent_at, probe=gate is Gate.PROBE)
            if final is not None:
                return final
            if wait is None or (wait > 0 and not await self._turns.sleep(wait)):
                return None
            if self._to_halve(life, found):
                return found

    def _judge(
        self, life: _Life, found: Verdict, sent_at: float, *, probe: bool
    ) -> tuple[Verdict | None, float | None]:
        """A final verdict; or else how long to wait before the next attempt, None for 'stay pending'."""
        now = self._clock.monotonic()
        if found.kind in _DEFINITE:
            return self._answered(life, found, now, probe=probe), None
        self._check_fatal(found)
        if found.kind is Kind.RECONNECT and not life.fresh:
            # It says nothing about the request. From now on it goes over new connections, where a loss does.
            life.fresh = True
            if probe:
                self._turns.breaker.not_probed()
            return None, 0.0
        self._last_trouble = found.seen
        if found.kind is Kind.RATE_LIMITED:
            self._limited(life, found, now, sent_at, probe=probe)
            return None, 0.0
        if found.strained:
            self._turns.places.state.failed(now, sent_at)
        if found.kind in (Kind.UNEXPECTED, Kind.NOT_FOUND):
            self._unforeseen(found)
        # The store was there before: these events are left for the next run, and are not retried in this one.
        left = None if found.kind is Kind.NOT_FOUND else 0.0
        life.closed_in_a_row = life.closed_in_a_row + 1 if found.closed else 0
        life.cut_off += found.kind is Kind.CUT_OFF
        after = found.after or 0.0
        if probe:
            # The outage's, not the event's: it goes back to the gate, uncounted.
            self._turns.breaker.probed(now, alive=False, after=after)
            return None, left
        if left is None or not self._turns.pay(now):
            return None, left
        life.failures += 1
        if life.failures < retry.ATTEMPTS:
            return None, max(after, retry.backoff(life.failures - 1, self._random))
        if len(life.request) == 1 and life.cut_off >= life.failures and self._accepted > life.accepted_before:
            # Five times closed while this body went out, and others were accepted meanwhile: it is this one.
            words = Problem("too large", f"the server closed the connection {life.cut_off} times while it went out")
            return Verdict(Kind.REFUSED, words.title, words, 413), None
        return None, None

    def _answered(self, life: _Life, found: Verdict, now: float, *, probe: bool) -> Verdict:
        """An answer that counts: the API is there, and has read the request."""
        self._known = True
        self._unexpected = 0
        if found.kind in (Kind.ACCEPTED, Kind.RESULTS):
            self._accepted += 1
            self._accepted_at = self._clock.wall()
        self._turns.budget.succeeded()
        self._turns.pace.state.succeeded(now)
        self._turns.places.state.succeeded()
        if probe:
            self._turns.reopen(now)
        if found.kind is Kind.TOO_LARGE and len(life.request) == 1:
            return Verdict(Kind.REFUSED, found.seen, found.problem, found.status)
        return found

    def _to_halve(self, life: _Life, found: Verdict) -> bool:
        """Several events, and the server closes while they go out: a part of them may get through.

        The kernel takes up to some MB at once, so that a server that stops reading mostly looks like a lost
        connection: two of these in a row with a large body count as well.
        """
        if len(life.request) == 1:
            return False
        large = len(life.body) > LARGE_BODY_BYTES
        return found.kind is Kind.CUT_OFF or (large and life.closed_in_a_row >= 2)

    async def _turn(self) -> Gate | None:
        try:
            return await self._turns.admit()
        except GaveUp:
            minutes = retry.GIVE_UP_AFTER / 60
            raise StoppedError(
                f"{self._place()}: out of reach for {minutes:.0f} minutes; last: {self._last_trouble}",
                hint=_HINT_AGAIN,
            ) from None

    async def _attempt(self, life: _Life) -> Verdict:
        self._watch.sent(len(life.body), again=life.sent > 0)
        life.sent += 1
        began = self._clock.monotonic()
        outcome = await self._wire.post(life.body, fresh=life.fresh)
        if isinstance(outcome, Answer):
            self._watch.answered(outcome.status, self._clock.monotonic() - began)
        else:
            self._watch.no_answer += 1
        return retry.verdict(
            outcome,
            events=len(life.request),
            bulk=self.target.bulk,
            wall_now=self._clock.wall(),
            redact=self.target.secret,
        )

    # ------------------------------------------------------------------------------------------------ trouble

    def _limited(self, life: _Life, found: Verdict, now: float, sent_at: float, *, probe: bool) -> None:
        """All workers pause. A 429 never counts against an event, but 429s without end open the breaker."""
        after = found.after or 0.0
        pause = max(after, retry.backoff(life.rate_limited, self._random, retry.BASE_AFTER_429))
        life.rate_limited += 1
        self._pause_reason = "the API asked for it (429)" if after else "too many requests (429)"
        # One cut, one token's worth: 64 answers to one full bucket are one event.
        cut = self._turns.pace.state.limited(now, pause, sent_at)
        if probe:
            self._turns.breaker.probed(now, alive=False, after=pause)
        elif cut:
            self._turns.pay(now)

    def _check_fatal(self, found: Verdict) -> None:
        """Raises what no waiting in this run can mend."""
        if found.kind is Kind.ACCESS:
            self._refuse_access(found, self._access_hint())
        if found.kind is Kind.NOT_FOUND and not self._known:
            self._refuse_access(found, f"check the store id {self.target.store} and the base URL, as in {api.BASE_URL}")
        if found.kind is Kind.CERTIFICATE:
            raise SettingsError(
                f"{self._place()}: the server's certificate is refused: {found.seen}",
                hint="check the base URL and this machine's clock; SSL_CERT_FILE names a private authority."
                " Nothing was sent, and there is no switch to turn checking off",
            )
        if found.after is not None and found.after > retry.LONGEST_RETRY_AFTER:
            raise StoppedError(
                f"{self._place()}: {found.seen}, and asks to wait {_minutes(found.after)}",
                hint=f"run again {_after(self._clock.wall() + found.after)}: {_RECORDED}",
            )

    def _access_hint(self) -> str:
        if not self._accepted:
            return "check the secret, that it is this store's, and its scope customer_events_write"
        until = datetime.fromtimestamp(self._accepted_at, UTC)
        return (
            f"the secret was accepted until {until:%H:%M:%S} UTC, in this run: it was probably rotated or revoked "
            f"meanwhile. Set the one that holds now, and run again: {_RECORDED}"
        )

    def _refuse_access(self, found: Verdict, hint: str) -> NoReturn:
        words = f" ({found.problem.detail})" if found.problem.detail else ""
        raise AccessError(f"{self._place()}: {found.seen}{words}", hint=hint)

    def _unforeseen(self, found: Verdict) -> None:
        """An answer that this call does not give is no acceptance; the second in a row ends the run."""
        self._unexpected += 1
        if self._unexpected < UNEXPECTED_IN_A_ROW:
            return
        words = f" ({found.problem.detail})" if found.problem.detail else ""
        message = f"{self._place()}: answered {found.seen}{words}, {self._unexpected} times in a row"
        if self._accepted:
            raise StoppedError(message, hint=_HINT_AGAIN)
        raise SettingsError(message, hint="the base URL is probably wrong: nothing was accepted there in this run")

    def _place(self) -> str:
        return f"POST {self.target.url}"


def _after(moment: float) -> str:
    """When a run may come again, by a time of day that it may not hold."""
    try:
        return f"after {datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return "later"


def _minutes(seconds: float) -> str:
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours" if seconds < 1e7 else "longer than a run can"
