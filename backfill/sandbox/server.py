"""The sandbox itself: an HTTP server that answers as the API does, or as `Faults` wish."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from types import TracebackType
from typing import Self

from aiohttp import ClientPayloadError, web

from backfill.sandbox.answers import Answer, problem
from backfill.sandbox.api import Api
from backfill.sandbox.faults import Faults, Kind, Mischief, Turn
from backfill.sandbox.journal import Journal
from backfill.sandbox.kept import Stored, StoreError
from backfill.sandbox.manage import Manage
from backfill.sandbox.misbehave import INSTEAD, close_after, cut, gone, instead, lie, pause, reset, trickle
from backfill.sandbox.options import Options
from backfill.sandbox.schema import MAX_BULK_EVENTS, MAX_EVENT_BYTES
from backfill.sandbox.store import Store
from backfill.sandbox.tally import Summary

PREFIX = "/v2.2"

# No limit is documented for a bulk but that of its events: a full one, and room for its brackets.
_MAX_BODY = MAX_BULK_EVENTS * MAX_EVENT_BYTES + 1_000_000

# What was kept by a request that is being answered at shutdown is kept; the answer gets this long.
_SHUTDOWN_SECONDS = 1.0


class ListenError(OSError):
    """The address cannot be listened on; the message says which, why and what to do."""


class Sandbox:
    """A sandbox on the running asyncio loop, from `async with` to its end.

    summary, events, ids, set_faults and reset may be called from any thread, while the sandbox runs.
    """

    base_url: str
    page_url: str

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self._mischief = Mischief(self.options.faults, time.monotonic)
        self._closing = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Open the database and listen. Raises ListenError, StoreError."""
        self._store = await asyncio.to_thread(Store, self.options.database)
        try:
            journal = Journal(self._store)
            self._api = Api(self.options, journal, self._store.wants)
            self._runner = web.AppRunner(
                self._app(),
                access_log=None,
                # A compressed body is refused as such; to unpack it would be to guess what the API does.
                auto_decompress=False,
                shutdown_timeout=_SHUTDOWN_SECONDS,
            )
            await self._runner.setup()
            try:
                await self._listen()
            except BaseException:
                await self._runner.cleanup()
                raise
        except BaseException:
            await asyncio.to_thread(self._store.close)
            raise
        self._journal_task = asyncio.create_task(journal.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening, let running answers end, close the database."""
        self._closing.set()
        await self._runner.cleanup()
        self._journal_task.cancel()
        await asyncio.gather(self._journal_task, return_exceptions=True)
        await asyncio.to_thread(self._store.close)

    @property
    def faults(self) -> Faults:
        """The faults in force."""
        return self._mischief.faults

    def set_faults(self, faults: Faults) -> None:
        """Misbehave like this from the next request on; its counting and its seed begin anew."""
        self._mischief = Mischief(faults, time.monotonic)

    def summary(self) -> Summary:
        """What arrived, in numbers."""
        busiest = {store: bucket.peak for store, bucket in self._api.buckets.copy().items()}
        return self._api.tally.summary(*self._store.tally(), busiest)

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
        return self._store.events(after=after, limit=limit, store=store, event_name=event_name, duplicates=duplicates)

    def ids(self, store: str | None = None) -> set[str]:
        """The distinct uniqueIds that were taken, in one store or in all."""
        return self._store.ids(store)

    def reset(self) -> None:
        """Forget all events and counts; the faults stay and begin anew."""
        self._store.reset()
        self._api.reset()
        self.set_faults(self.faults)

    def redirect_followed(self) -> None:
        """Count a client that followed the redirect of a fault."""
        self._api.tally.statuses["302 followed"] += 1

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=_MAX_BODY, middlewares=[_problems])
        store = f"{PREFIX}/stores/{{store}}"
        app.add_routes([web.post(f"{store}/events", self._take), web.post(f"{store}/events/bulk", self._take)])
        self._manage = Manage(self, self._store, self.options.host)
        self._manage.attach(app)
        return app

    async def _listen(self) -> None:
        host, port = self.options.host, self.options.port
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            reason = error.strerror or str(error)
            failure = ListenError(
                f"the sandbox cannot listen on {host}:{port}: {reason}; give another port, or 0 for any free one"
            )
            failure.errno = error.errno
            raise failure from error
        bound = self._runner.addresses[0][1]
        self.page_url = f"http://{f'[{host}]' if ':' in host else host}:{bound}/"
        self.base_url = self.page_url.rstrip("/") + PREFIX

    async def _take(self, request: web.Request) -> web.StreamResponse:
        """Answer one call of the API, with whatever fault is due."""
        mischief = self._mischief
        turn = mischief.turn()
        faults, tally = mischief.faults, self._api.tally
        tally.requests += 1
        if turn.kind:
            tally.faults[turn.kind.value] += 1
        if turn.wait:
            await pause(turn.wait, self._closing)
        if turn.kind is Kind.RESET:
            tally.statuses["reset"] += 1
            return reset(request)
        if faults.max_body is not None and (request.content_length or 0) > faults.max_body:
            return self._slam(request, faults.max_body)
        try:
            body = await request.read()
        except (ConnectionError, ClientPayloadError, web.RequestPayloadError):
            tally.statuses["left"] += 1
            return reset(request)
        except web.HTTPRequestEntityTooLarge:
            return self._send(problem(413, f"the body is over {_MAX_BODY} bytes", request.path))
        if (early := await self._instead(request, turn, faults)) is not None:
            return early
        try:
            answer = await self._api.answer(request, body, lambda secret: mischief.refuses(secret, turn))
        except StoreError as error:
            return self._send(problem(500, str(error), request.path))
        return await self._deliver(request, answer, turn.kind, faults)

    async def _instead(self, request: web.Request, turn: Turn, faults: Faults) -> web.Response | None:
        """What the client gets of a fault that comes before the events are looked at, if one is due."""
        statuses = self._api.tally.statuses
        if turn.status:
            return self._send(problem(turn.status, "The first requests fail.", request.path))
        if turn.kind is Kind.RESET_UNSTORED:
            statuses["reset"] += 1
            return reset(request)
        if turn.kind in INSTEAD:
            return self._send(instead(turn.kind, faults, request.path))
        if turn.kind is Kind.HANG:
            await pause(faults.hang_seconds, self._closing)
            if gone(request) or self._closing.is_set():
                statuses["left"] += 1
                return reset(request)
        return None

    async def _deliver(
        self, request: web.Request, answer: Answer, kind: Kind | None, faults: Faults
    ) -> web.StreamResponse:
        """Send the answer to a request that was processed, if the fault lets it through."""
        statuses = self._api.tally.statuses
        match kind:
            case Kind.RESET_STORED:
                statuses["reset"] += 1
                return reset(request)
            case Kind.HANG_STORED:
                await pause(faults.hang_seconds, self._closing)
                if gone(request):
                    statuses["left"] += 1
                    return web.Response()
            case Kind.TRICKLE:
                statuses["trickle"] += 1
                return await trickle(request, answer, faults.trickle_seconds, self._closing)
            case Kind.CUT:
                statuses["cut"] += 1
                return cut(request, answer)
            case Kind.LIE:
                statuses["lie"] += 1
                return lie(request, answer)
            case Kind.CLOSE:
                statuses[str(answer.status)] += 1
                return await close_after(request, answer)
        return self._send(answer)

    def _send(self, answer: Answer) -> web.Response:
        self._api.tally.statuses[str(answer.status)] += 1
        return answer.response()

    def _slam(self, request: web.Request, limit: int) -> web.Response:
        """413 while the body is still on its way, and no wait for the rest of it."""
        self._api.tally.statuses["413"] += 1
        if request.transport is not None:
            request.transport.write(problem(413, f"the body is over {limit} bytes", request.path).raw())
            request.transport.close()
        return web.Response()


@web.middleware
async def _problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn aiohttp's own refusals, such as an unknown path, into problem details."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return problem(error.status, error.reason, request.path, allow).response()


async def serve(options: Options, *, started: Callable[[str], None]) -> None:
    """Run a sandbox until cancelled; `started` is told its base URL once it listens."""
    async with Sandbox(options) as sandbox:
        started(sandbox.base_url)
        await asyncio.Event().wait()
