"""The page that shows what arrived, while it arrives: its files, and the JSON that its scripts ask for.

    /_sandbox/web/NAME     scripts, styles and the icon, from the folder `web`
    /_sandbox/look/…       overview, customers, events, duplicates, refused, unset; see `look`

The page asks for the overview every second and says what it has (ETag): while nothing changes, nothing is worked out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from importlib import resources
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web

from backfill import charts
from backfill.sandbox.answers import problem, to_json
from backfill.sandbox.index import Index
from backfill.sandbox.kept import StoreError
from backfill.sandbox.look import Filter, Look, NotThereError

if TYPE_CHECKING:
    from backfill.sandbox.faults import Faults
    from backfill.sandbox.options import Options
    from backfill.sandbox.store import Store
    from backfill.sandbox.tally import Summary

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    # Asked for anew each time, answered with 304: a page of an earlier release never runs on this one's data.
    "Cache-Control": "no-cache",
}
_TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_CHARTS = "charts.js"

# An answer waits so long for the index to catch up, that what has just arrived is in it.
_CATCH_UP_SECONDS = 0.03
# Between two steps of the index the API goes first.
_BREATH_SECONDS = 0.002


class Looked(Protocol):
    """What the page needs of the sandbox."""

    base_url: str
    options: Options

    @property
    def faults(self) -> Faults:
        """The faults in force."""

    def summary(self) -> Summary:
        """The counts."""


class Live:
    """Handlers; `guard` raises for a request that may not be answered."""

    def __init__(self, sandbox: Looked, store: Store, index: Index, guard: Callable[[web.Request], None]) -> None:
        self._sandbox = sandbox
        self._index = index
        self._look = Look(store, index)
        self._guard = guard
        self._following: asyncio.Task[None] | None = None

    def routes(self) -> list[web.RouteDef]:
        """The paths."""
        look = "/_sandbox/look"
        return [
            web.get("/_sandbox/web/{name}", self._file),
            web.get(look + "/overview", self._answering(self._overview)),
            web.get(look + "/events", self._answering(self._events)),
            web.get(look + "/events/{seq:[0-9]{1,15}}", self._answering(self._event)),
            web.get(look + "/customers", self._answering(self._customers)),
            web.get(look + "/customers/{who:[0-9]{1,15}}", self._answering(self._customer)),
            web.get(look + "/refused", self._answering(self._refused)),
            web.get(look + "/unset", self._answering(self._unset)),
        ]

    async def close(self, _app: web.Application | None = None) -> None:
        """Stop following, and give the memory back."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        await asyncio.to_thread(self._index.close)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        self._guard(request)
        name = request.match_info["name"]
        files = await asyncio.to_thread(_files)
        if name not in files:
            raise web.HTTPNotFound
        body, tag = files[name]
        headers = HEADERS | {"ETag": tag}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type=_TYPES[name.rpartition(".")[2]], charset="utf-8", headers=headers)

    def _answering(self, question: Callable[[web.Request], dict[str, Any]]) -> Callable[[web.Request], Any]:
        """A handler that answers a question, unless the answer is the one that the page has."""

        def answer(request: web.Request) -> tuple[str, bytes | None]:
            with self._index.still():
                tag = self._tag(request.path_qs)
                if request.headers.get("If-None-Match") == tag:
                    return tag, None
                return tag, to_json(question(request))

        async def handler(request: web.Request) -> web.StreamResponse:
            self._guard(request)
            try:
                await self._follow()
                tag, body = await asyncio.to_thread(answer, request)
            except ValueError:
                return problem(400, "a number in the address is none", request.path).response()
            except NotThereError as error:
                return problem(404, str(error), request.path).response()
            except StoreError as error:
                return problem(500, str(error), request.path).response()
            headers = HEADERS | {"ETag": tag}
            if body is None:
                return web.Response(status=304, headers=headers)
            return web.Response(body=body, content_type="application/json", headers=headers)

        return handler

    async def _follow(self) -> None:
        """See to it that the index takes in what is new, and wait for it, but not for long."""
        if self._following is None or self._following.done():
            ended, self._following = self._following, None
            if ended is not None:
                ended.result()  # raises what stopped it
            self._following = asyncio.create_task(self._catch_up())
        await asyncio.wait([self._following], timeout=_CATCH_UP_SECONDS)

    async def _catch_up(self) -> None:
        while await asyncio.to_thread(self._index.step):  # noqa: ASYNC110 - a step is work, not a look
            await asyncio.sleep(_BREATH_SECONDS)

    def _tag(self, path: str) -> str:
        summary = self._sandbox.summary()
        state = (path, self._index.mark, summary.stored, summary.duplicates, summary.requests, summary.refused)
        # What only the overview shows changes seldom, and with the requests.
        text = repr((*state, str(self._sandbox.faults), self._sandbox.base_url))
        return f'"{blake2b(text.encode("utf-8", "replace"), digest_size=12).hexdigest()}"'

    def _overview(self, request: web.Request) -> dict[str, Any]:
        summary = self._sandbox.summary()
        return self._look.overview(_filter(request)) | {
            "refused": summary.refused,
            "heldBack": summary.held_back,
            "reasons": summary.reasons,
            "requests": summary.requests,
            "statuses": summary.statuses,
            "played": summary.faults,
            "busiest": summary.busiest_second,
            "faults": str(self._sandbox.faults),
            "baseUrl": self._sandbox.base_url,
            "anySecret": self._sandbox.options.secrets is None,
        }

    def _events(self, request: web.Request) -> dict[str, Any]:
        query = request.query
        before = int(query["before"]) if "before" in query else None
        dropped = query.get("dropped", "")
        return self._look.events(
            _filter(request), before=before, dropped=bool(dropped), differing=dropped == "differing"
        )

    def _event(self, request: web.Request) -> dict[str, Any]:
        return self._look.event(int(request.match_info["seq"]))

    def _customers(self, request: web.Request) -> dict[str, Any]:
        query = request.query
        page = min(max(int(query.get("page", "1")), 1), 10**9)
        return self._look.customers(_filter(request), query.get("q", "")[:200], page)

    def _customer(self, request: web.Request) -> dict[str, Any]:
        before = None
        if "before" in request.query:
            ms, _, seq = request.query["before"].partition(",")
            before = (int(ms), int(seq))
        return self._look.customer(int(request.match_info["who"]), before)

    def _refused(self, request: web.Request) -> dict[str, Any]:
        reasons = self._sandbox.summary().reasons
        return {"reasons": reasons, "refused": self._look.refused(_filter(request))}

    def _unset(self, request: web.Request) -> dict[str, Any]:
        return self._look.unset(_filter(request))


def _filter(request: web.Request) -> Filter:
    return Filter(request.query.get("store"), request.query.get("name"))


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    """The files of the page by name, each with its ETag."""
    folder = resources.files(__package__) / "web"
    found = {one.name: one.read_bytes() for one in folder.iterdir() if one.name.rpartition(".")[2] in _TYPES}
    found[_CHARTS] = charts.libraries().encode()
    return {name: (body, f'"{blake2b(body, digest_size=12).hexdigest()}"') for name, body in found.items()}
