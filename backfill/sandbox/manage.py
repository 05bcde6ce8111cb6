"""The sandbox's own pages, which the API does not have: the listing, the summary, faults and reset.

They show whole events, and customers in them, so only pages of this machine may ask for them: a site that the
user happens to visit could otherwise read them through the browser, by a name of its own for this address.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from aiohttp import web

from backfill.sandbox.answers import Answer, problem, to_json
from backfill.sandbox.faults import Faults, FaultsError
from backfill.sandbox.index import Index
from backfill.sandbox.live import HEADERS, Live
from backfill.sandbox.page import render

if TYPE_CHECKING:
    from backfill.sandbox.options import Options
    from backfill.sandbox.store import Store
    from backfill.sandbox.tally import Summary

_DEFAULT_LIMIT = 100
_MAX_LIMIT = 10_000
_LAST_EVENTS = 50
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Managed(Protocol):
    """What these pages need of the sandbox."""

    base_url: str
    options: Options

    @property
    def faults(self) -> Faults:
        """The faults in force."""

    def summary(self) -> Summary:
        """The counts."""

    def set_faults(self, faults: Faults) -> None:
        """Change the faults."""

    def reset(self) -> None:
        """Forget everything."""

    def redirect_followed(self) -> None:
        """Count a client that followed the redirect of a fault."""


class Manage:
    """Handlers over a sandbox and its store."""

    def __init__(self, sandbox: Managed, store: Store, host: str) -> None:
        self._sandbox = sandbox
        self._store = store
        # On another address than this machine's own, the user has asked to be reached by any name.
        self._hosts = _LOOPBACK if host in _LOOPBACK else None
        self.index = Index(store)
        self._live = Live(sandbox, store, self.index, self._guard)

    def attach(self, app: web.Application) -> None:
        """Answer all paths outside the API, until the app ends."""
        app.add_routes([*self._routes(), *self._live.routes()])
        app.on_cleanup.append(self._live.close)

    def _routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.page),
            web.get("/_sandbox/events", self.events),
            web.get("/_sandbox/summary", self.summary),
            web.post("/_sandbox/faults", self.faults),
            web.post("/_sandbox/reset", self.reset),
            web.route("*", "/_sandbox/redirected", self.redirected),
        ]

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The page; for browsers without scripts it holds the summary and the newest events."""
        self._guard(request)
        summary = await asyncio.to_thread(self._sandbox.summary)
        last = await asyncio.to_thread(self._store.last, _LAST_EVENTS)
        html = render(summary, last, str(self._sandbox.faults))
        return web.Response(text=html, content_type="text/html", headers=HEADERS)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Stored events as JSON lines: past ?after=SEQ, at most ?limit=, only of ?event_name= and ?store=."""
        self._guard(request)
        query = request.query
        try:
            after, limit = int(query.get("after", 0)), int(query.get("limit", _DEFAULT_LIMIT))
        except ValueError:
            return problem(400, "after and limit are whole numbers", request.path).response()
        if not 1 <= limit <= _MAX_LIMIT:
            return problem(400, f"limit is from 1 to {_MAX_LIMIT}", request.path).response()
        store, name = query.get("store"), query.get("event_name")

        def lines() -> bytes:
            found = self._store.events(after=after, limit=limit, store=store, event_name=name)
            return b"".join(to_json(dataclasses.asdict(event)) + b"\n" for event in found)

        return web.Response(body=await asyncio.to_thread(lines), content_type="application/x-ndjson")

    async def summary(self, request: web.Request) -> web.StreamResponse:
        """The summary as one JSON object."""
        self._guard(request)
        summary = await asyncio.to_thread(self._sandbox.summary)
        return web.Response(body=to_json(summary.as_dict()), content_type="application/json")

    async def faults(self, request: web.Request) -> web.StreamResponse:
        """Take the faults in the body, as text; an empty one ends all faults."""
        self._guard(request)
        try:
            faults = Faults.parse(await request.text())
        except FaultsError as error:
            return problem(400, str(error), request.path).response()
        self._sandbox.set_faults(faults)
        return web.Response(body=to_json({"faults": str(faults)}), content_type="application/json")

    async def reset(self, request: web.Request) -> web.StreamResponse:
        """Forget all events and counts."""
        self._guard(request)
        await asyncio.to_thread(self._sandbox.reset)
        return Answer(204).response()

    async def redirected(self, request: web.Request) -> web.StreamResponse:
        """Where the 302 fault points: nobody should come here."""
        self._sandbox.redirect_followed()
        return problem(404, "a redirect was followed, with its secret and its customers", request.path).response()

    def _guard(self, request: web.Request) -> None:
        if self._hosts is None:
            return
        origin = request.headers.get("Origin")
        for url in (f"//{request.host}", origin):
            try:
                known = url is None or urlsplit(url).hostname in self._hosts
            except ValueError:  # "[" and the like
                known = False
            if not known:
                raise web.HTTPForbidden(reason="only for pages of this machine")
