"""The two endpoints: who may write, how often, and what becomes of the events.

The checks, in order: secret (401, 403), store (404), rate (429), media type (415), body (400).
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web

from backfill.sandbox.answers import Answer, accepted, problem, to_json
from backfill.sandbox.journal import Journal
from backfill.sandbox.judge import Json, Malformed, Refused, Taken, events_of, judge, parse, sizes_of
from backfill.sandbox.kept import Batch, Refusal, StoreError
from backfill.sandbox.limit import Bucket
from backfill.sandbox.options import Options
from backfill.sandbox.tally import Tally

# How many bad events of a bulk its problem details name.
_MAX_NAMED = 5


class Api:
    """Judges requests as the API does and keeps what it takes."""

    def __init__(self, options: Options, journal: Journal, wants: Callable[[Sequence[str]], bool]) -> None:
        """`wants` says whether an example of what is refused for these reasons is still to be kept."""
        self._options = options
        self._journal = journal
        self._wants = wants
        self.tally = Tally()
        self.buckets: dict[str, Bucket] = {}

    def reset(self) -> None:
        """Forget the counts and fill the buckets."""
        self.tally = Tally()
        self.buckets = {}

    async def answer(self, request: web.Request, body: bytes, replaced: Callable[[str], bool]) -> Answer:
        """The answer to one POST whose body has been read; its events are kept before this returns.

        `replaced` says whether a fault makes this secret one that was replaced.
        """
        path = request.path
        if refusal := self._refusal(request, path, replaced):
            return refusal
        try:
            document = parse(body)
            if path.endswith("/bulk"):
                return await self._bulk(request, events_of(document), sizes_of(body))
        except Malformed as error:
            self.tally.reason(str(error))
            if self._wants([str(error)]):
                text = body.decode("utf-8", "replace")
                await self._note(request, [Refusal(None, path.endswith("/bulk"), (str(error),), text)])
            return problem(400, str(error), path)
        return await self._single(request, document, len(body))

    def _refusal(self, request: web.Request, path: str, replaced: Callable[[str], bool]) -> Answer | None:
        """Why the request is refused whatever its body is, if it is."""
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        known = self._options.secrets
        if scheme.lower() != "bearer" or not secret.strip():
            return self._refuse(401, "the Authorization header is not 'Bearer <secret>'", path)
        if secret in self._options.forbidden:
            return self._refuse(403, "the secret lacks the scope customer_events_write", path)
        if known is not None and secret not in known:
            return self._refuse(401, "the secret is not known", path)
        if replaced(secret):
            self.tally.faults["unauthorized"] += 1
            return self._refuse(401, "the secret was replaced by another", path)
        store = request.match_info["store"]
        if self._options.stores is not None and store not in self._options.stores:
            return self._refuse(404, "the store is not known", path)
        now = time.monotonic()
        bucket = self.buckets.get(store)
        if bucket is None:
            bucket = self.buckets[store] = Bucket(self._options.rate, now)
        if wait := bucket.take(now):
            detail = f"more than {self._options.rate:g} requests a second for this store"
            return self._refuse(429, detail, path, {"Retry-After": str(math.ceil(wait))})
        if request.content_type != "application/json" or "Content-Type" not in request.headers:
            return self._refuse(415, "the Content-Type is not application/json", path)
        if "Content-Encoding" in request.headers:
            return self._refuse(415, "no Content-Encoding is documented", path)
        return None

    def _refuse(self, status: int, detail: str, path: str, headers: dict[str, str] | None = None) -> Answer:
        self.tally.reason(detail)
        if status == 401:
            headers = {"WWW-Authenticate": "Bearer"}
        return problem(status, detail, path, headers)

    async def _single(self, request: web.Request, event: Json, size: int) -> Answer:
        # One event is the whole body, so that its size is that of the body, blanks and escapes included.
        verdict = judge(event, size)
        if isinstance(verdict, Refused):
            await self._refused(request, [(event, verdict)], bulk=False)
            return problem(400, str(verdict), request.path)
        await self._keep(request, [verdict])
        return accepted()

    async def _bulk(self, request: web.Request, events: Sequence[Json], sizes: Sequence[int] | None) -> Answer:
        verdicts = [judge(event, sizes[i] if sizes else 0) for i, event in enumerate(events)]
        good = [verdict for verdict in verdicts if isinstance(verdict, Taken)]
        bad = [(i, verdict) for i, verdict in enumerate(verdicts) if isinstance(verdict, Refused)]
        await self._refused(request, [(events[i], verdict) for i, verdict in bad], bulk=True)
        if self._options.bulk_body:
            return accepted(_results(verdicts, await self._keep(request, good)))
        if not bad:
            await self._keep(request, good)
            return accepted()
        if self._options.bulk_400_partial:
            await self._keep(request, good)
        else:
            self.tally.held_back += len(good)
        named = "; ".join(f"events[{i}]: {verdict}" for i, verdict in bad[:_MAX_NAMED])
        return problem(400, f"{len(bad)} of {len(verdicts)} events are invalid: {named}", request.path)

    async def _refused(self, request: web.Request, refused: Sequence[tuple[Json, Refused]], *, bulk: bool) -> None:
        """Count them, and keep examples."""
        self.tally.refused += len(refused)
        examples: list[Refusal] = []
        for event, verdict in refused:
            for reason in verdict.reasons:
                self.tally.reason(reason)
            if self._wants(verdict.reasons):
                examples.append(Refusal(verdict.name, bulk, verdict.reasons, _text(event)))
        await self._note(request, examples)

    async def _note(self, request: web.Request, examples: Sequence[Refusal]) -> None:
        # An example is worth less than the answer: where the disk is full, the 400 stays a 400.
        with contextlib.suppress(StoreError):
            if examples:
                await self._journal.add(Batch(request.match_info["store"], time.time(), (), examples))

    async def _keep(self, request: web.Request, events: Sequence[Taken]) -> list[int]:
        if not events:
            return []
        bulk = request.path.endswith("/bulk")
        return await self._journal.add(Batch(request.match_info["store"], time.time(), events, bulk=bulk))


def _text(event: Json) -> str:
    try:
        return to_json(event).decode("utf-8", "replace")
    except RecursionError:
        return "(nested too deeply to be shown)"


def _results(verdicts: Sequence[Taken | Refused], seqs: Sequence[int]) -> dict[str, Any]:
    """The older body of a bulk's 202: a verdict an event, in request order; duplicates are queued too."""
    left = iter(seqs)
    events: list[dict[str, Any]] = []
    for index, verdict in enumerate(verdicts):
        if isinstance(verdict, Taken):
            event_id = f"{next(left):024x}"
            events.append({"index": index, "status": "queued", "eventId": event_id, "eventName": verdict.name})
        else:
            event = {"index": index, "status": "rejected", "eventName": verdict.name, "error": str(verdict)}
            events.append(event)
    return {
        "total": len(verdicts),
        "accepted": len(seqs),
        "rejected": len(verdicts) - len(seqs),
        "events": events,
    }
