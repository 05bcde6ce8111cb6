"""One attempt's meaning: an answer, or the exception in its place, becomes a Verdict.

Source: the vendor's reference (202, 400, 404, 429, the older bulk body); RFC 9110 for the rest.
"""

from __future__ import annotations

import enum
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

import httpx

from backfill.retry.waiting import retry_after
from backfill.retry.words import TITLE_CHARACTERS, Answer, Problem, loaded, problem, redacted, shown, text_of

__all__ = ["Kind", "Verdict", "item_results", "verdict"]


class Kind(enum.Enum):
    """What one attempt says about its events, or about the run."""

    ACCEPTED = "accepted"
    RESULTS = "an answer for each event"
    SPLIT = "at least one event is bad"
    REFUSED = "the one event is bad"
    TOO_LARGE = "too large"
    CUT_OFF = "closed while the body went out"
    RETRY = "not known to have arrived"
    RATE_LIMITED = "rate limited"
    RECONNECT = "a reused connection was closed"
    ACCESS = "access refused"
    NOT_FOUND = "not found"
    UNEXPECTED = "an answer that this call does not give"
    CERTIFICATE = "the server's certificate is not valid"


_SILENCE = Problem()


@dataclass(frozen=True, slots=True)
class Verdict:
    """`seen` says in a few words what came back. `status`: the answer's, 0 without one.

    `after`: Retry-After in seconds, None without one. `results` (RESULTS only): for each event in order None
    when it was accepted, else why not. `strained`: the server shows load (a time-out or a 5xx). `closed`: the
    connection ended without an answer.
    """

    kind: Kind
    seen: str
    problem: Problem = _SILENCE
    status: int = 0
    after: float | None = None
    results: Sequence[Problem | None] = ()
    strained: bool = False
    closed: bool = False


_ACCEPTED = Verdict(Kind.ACCEPTED, "202")


def verdict(outcome: Answer | Exception, *, events: int, bulk: bool, wall_now: float, redact: str = "") -> Verdict:
    """What an answer, or the exception in its place, means for a request of `events` events.

    `wall_now`: seconds since 1970, for a Retry-After that is a date. `redact`: the secret, which no text that
    an answer echoes may carry on.
    """
    if isinstance(outcome, Answer):
        return _of_answer(outcome, events, bulk, wall_now, redact)
    return _of_exception(outcome)


def _of_answer(answer: Answer, events: int, bulk: bool, wall_now: float, redact: str) -> Verdict:
    status = answer.status
    if status == 202:
        return _of_acceptance(answer, events, bulk, redact)
    words = problem(answer, redact)
    seen = f"{status} {words.title}".rstrip()
    after = retry_after(answer.headers, wall_now)
    if status in (400, 422):
        return Verdict(Kind.SPLIT if events > 1 else Kind.REFUSED, seen, words, status)
    if status == 413:
        return Verdict(Kind.TOO_LARGE, seen, words, status)
    if status == 429:
        return Verdict(Kind.RATE_LIMITED, seen, words, status, after)
    if status in (401, 403):
        return Verdict(Kind.ACCESS, seen, words, status)
    if status == 404:
        return Verdict(Kind.NOT_FOUND, seen, words, status)
    # 408 and 425 ask for the same request again.
    if status in (408, 425) or status >= 500:
        return Verdict(Kind.RETRY, seen, words, status, after, strained=status != 425)
    return Verdict(Kind.UNEXPECTED, f"{seen}{_media_type(answer, redact)}{_location(answer, redact)}", words, status)


def _of_acceptance(answer: Answer, events: int, bulk: bool, redact: str) -> Verdict:
    if "x-amzn-waf-action" in answer.headers:
        # AWS WAF's challenge to a client that may be a bot is a 202 without a body, and the API never saw the request:
        # https://docs.aws.amazon.com/waf/latest/APIReference/API_ChallengeAction.html
        return Verdict(Kind.UNEXPECTED, "202 from a firewall, which wants a browser (x-amzn-waf-action)", status=202)
    # Today's reference gives a 202 no body; the status' own words are what Express sends in its place.
    if not answer.body or answer.body.strip() in (b"", b"Accepted"):
        return _ACCEPTED
    if answer.cut:
        return Verdict(Kind.RETRY, "202 with an answer of more than 64 KiB", status=202)
    content = loaded(answer.body)
    if not bulk and content is not None and not (isinstance(content, dict) and "events" in content):
        return _ACCEPTED  # the call for one event never had results to tell
    results = item_results(answer.body, events, redact)
    if results is None:
        return Verdict(Kind.RETRY, "202 with an answer that does not say which events were accepted", status=202)
    if any(results):
        return Verdict(Kind.RESULTS, "202", results=results)
    return _ACCEPTED


def _of_exception(error: Exception) -> Verdict:
    if (reason := _certificate(error)) is not None:
        return Verdict(Kind.CERTIFICATE, reason)
    seen = shown(str(error), TITLE_CHARACTERS) or type(error).__name__
    if isinstance(error, httpx.TimeoutException):
        return Verdict(Kind.RETRY, seen, strained=True)
    if isinstance(error, httpx.WriteError):
        return Verdict(_reused(error) or Kind.CUT_OFF, seen, closed=True)
    if isinstance(error, (httpx.ReadError, httpx.CloseError, httpx.RemoteProtocolError)):
        return Verdict(_reused(error) or Kind.RETRY, seen, closed=True)
    return Verdict(Kind.RETRY, seen)


def _reused(error: httpx.RequestError) -> Kind | None:
    """RECONNECT when the transport says so: a connection that had served before, closed before an answer."""
    try:
        extensions = error.request.extensions
    except RuntimeError:  # httpx: the request was not set
        return None
    return Kind.RECONNECT if extensions.get("reused_connection") else None


def _certificate(error: BaseException | None) -> str | None:
    """Why the server's certificate was refused, when that is what is behind the error."""
    reason: str | None = None
    for _ in range(10):  # longer chains, or rings, hold nothing for us
        if error is None:
            break
        if isinstance(error, ssl.SSLCertVerificationError):
            # aiohttp's own subclass carries no words; the one it was made from, next in the chain, does.
            reason = getattr(error, "verify_message", "") or reason or "it can't be verified"
        error = error.__cause__ or error.__context__
    return None if reason is None else shown(reason, TITLE_CHARACTERS)


def _media_type(answer: Answer, redact: str) -> str:
    media = answer.headers.get("content-type", "").partition(";")[0].strip()
    return f", {shown(redacted(media, redact), 60)}" if media else ""


def _location(answer: Answer, redact: str) -> str:
    """Where a redirect points: host and path only, since a query may carry what is not to be shown."""
    target = answer.headers.get("location", "")
    if not target or answer.status not in range(300, 400):
        return ""
    try:
        url = httpx.URL(target)
        place = f"{url.scheme}://{url.host}{url.path}" if url.host else url.path
    except (httpx.InvalidURL, ValueError, UnicodeError):
        place = "an invalid place"
    return f", to {shown(redacted(place, redact), TITLE_CHARACTERS)}"


def item_results(body: bytes, events: int, redact: str = "") -> Sequence[Problem | None] | None:
    """The answers of the older bulk body, in order: None for an accepted event, else why not.

    Every count has to agree and every index to be there once; a body that is not exactly so gives None:
    unknown. An empty object says nothing about any event, and counts as no body.
    """
    content = loaded(body)
    if content == {} or body.strip() == b"null":
        return (None,) * events
    if not isinstance(content, dict) or not isinstance(content.get("events"), list):
        return None
    results: dict[int, Problem | None] = {}
    for item in content["events"]:
        index = item.get("index") if isinstance(item, dict) else None
        if not _is_count(index) or index in results or not 0 <= index < events:
            return None
        if item.get("status") == "queued":
            results[index] = None
        elif item.get("status") == "rejected":
            words = text_of(item.get("error") or "")
            results[index] = Problem("rejected", shown(redacted(words, redact)))
        else:
            return None
    refused = sum(1 for result in results.values() if result is not None)
    counts = (content.get("total"), content.get("accepted"), content.get("rejected"))
    if len(results) != events or not all(map(_is_count, counts)):
        return None
    if counts != (events, events - refused, refused):
        return None
    return [results[index] for index in range(events)]


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
