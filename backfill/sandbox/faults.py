"""Misbehaviour on purpose: what shall go wrong, how often, and whose turn it is.

`Faults` is the wish, as text or as data; `Mischief` deals it out, request by request, from one seeded
generator, so that the same requests in the same order meet the same faults.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from random import Random
from textwrap import wrap
from typing import Any


class FaultsError(ValueError):
    """A text or a value that describes no faults; the message names the word and the known ones."""


class Kind(StrEnum):
    """One way to answer wrongly; the value is the word in `Faults.parse`."""

    TOO_MANY = "429"
    TOO_MANY_ABSENT = "429_absent"
    TOO_MANY_DATE = "429_date"
    UNAVAILABLE = "503"
    BROKEN = "500"
    RESET = "reset"
    RESET_STORED = "reset_stored"
    RESET_UNSTORED = "reset_unstored"
    HANG = "hang"
    HANG_STORED = "hang_stored"
    TRICKLE = "trickle"
    HTML = "html"
    NO_CONTENT = "204"
    REDIRECT = "302"
    CUT = "cut"
    LIE = "lie"
    HUGE = "huge"
    BOMB = "bomb"
    GARBLED = "garbled"
    CLOSE = "close"


def _share(meaning: str) -> Any:
    return field(default=0.0, metadata={"share": True, "meaning": meaning})


def _setting(default: Any, meaning: str) -> Any:
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True)
class Faults:
    """How the sandbox misbehaves.

    Shares are of all requests, 0 to 1, and add up to at most 1: at most one of them hits a request. Under a
    fault that says "stored" the events are judged and kept like any others; under the rest nothing is kept.
    """

    latency: float = _setting(0.0, "mean wait before a request is looked at, in ms")
    jitter: float = _setting(0.0, "the wait is uniform in latency ± this, in ms")
    status_429: float = _share("429 with Retry-After in seconds")
    status_429_absent: float = _share("429 without Retry-After")
    status_429_date: float = _share("429 with Retry-After as an HTTP date")
    status_503: float = _share("503, problem details")
    status_500: float = _share("500, problem details")
    reset: float = _share("the connection resets before the body is read")
    reset_stored: float = _share("the events are stored, then the connection resets: the answer is lost")
    reset_unstored: float = _share("the body is read, nothing is stored, the connection resets")
    hang: float = _share("no answer for hang_seconds; stored then, if the client still waits")
    hang_stored: float = _share("stored at once, but no answer for hang_seconds")
    trickle: float = _share("stored; the answer comes a byte each trickle_seconds")
    html: float = _share("200 with an HTML page, nothing stored")
    status_204: float = _share("204, nothing stored")
    status_302: float = _share("302 to another path of this sandbox, nothing stored")
    cut: float = _share("stored; 202 with a body that ends before its Content-Length")
    lie: float = _share("stored; 202 with a body that is longer than its Content-Length")
    huge: float = _share("503 with 5 MB of problem details")
    bomb: float = _share("503 with problem details that gzip to 1/1000")
    garbled: float = _share("503 with problem details that are no JSON and hold terminal escapes")
    close: float = _share("stored and answered well, then the kept-alive connection closes unannounced")
    retry_after: float = _setting(1.0, "seconds in Retry-After of the 429 faults; below 0 is a date in the past")
    hang_seconds: float = _setting(30.0, "seconds of a hang")
    trickle_seconds: float = _setting(1.0, "seconds between two bytes of a trickle")
    unauthorized_after: int | None = _setting(
        None, "after this many requests, 401 for the secrets that came with them; a new one is taken"
    )
    outage_after: int | None = _setting(None, "an outage begins after this many requests")
    outage_seconds: float = _setting(0.0, "how long the outage lasts")
    outage_with: str = _setting(Kind.UNAVAILABLE.value, "the fault that every request in the outage meets")
    fail_first: int = _setting(0, "this many requests fail first")
    fail_status: int = _setting(503, "the status they get, 400 to 599")
    max_body: int | None = _setting(None, "a body over this many bytes gets 413 and a closed connection, unread")
    seed: int = _setting(0, "the same seed and requests give the same faults")

    def __post_init__(self) -> None:
        """Raise FaultsError for values that cannot be played."""
        total = 0.0
        for name, share in self.shares().items():
            if not 0 <= share <= 1:
                raise FaultsError(f"{name}={share:g}: a share is from 0 to 1, or from 0% to 100%")
            total += share
        if total > 1 + 1e-9:
            raise FaultsError(f"the shares add up to {total:.1%}; at most one fault can hit a request")
        for name in (
            "latency",
            "jitter",
            "hang_seconds",
            "trickle_seconds",
            "outage_seconds",
            "fail_first",
            "unauthorized_after",
        ):
            if (getattr(self, name) or 0) < 0:
                raise FaultsError(f"{name}={getattr(self, name):g}: cannot be below 0")
        if self.outage_with not in _KINDS:
            raise FaultsError(_unknown("outage_with: no fault", self.outage_with, sorted(_KINDS)))
        if not 400 <= self.fail_status <= 599:
            raise FaultsError(f"fail_status={self.fail_status}: is from 400 to 599")

    def shares(self) -> dict[str, float]:
        """Each kind of fault, by its word, with its share."""
        return {_word(f.name): getattr(self, f.name) for f in dataclasses.fields(self) if f.metadata.get("share")}

    @classmethod
    def parse(cls, text: str) -> Faults:
        """Faults from words such as `latency=80±40,503=1%,reset=2%,seed=7`.

        Shares are "2%" or "0.02"; latency is in ms, with "±" or "+-" before the jitter; all else in seconds.
        `unauthorized@200` is another way to write `unauthorized_after=200`.
        FaultsError names the word at fault and the known ones.
        """
        values: dict[str, Any] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            if "=" not in part:
                part = part.replace("@", "_after=", 1)  # noqa: PLW2901 (the same, in other words)
            word, equals, value = (piece.strip() for piece in part.partition("="))
            if word not in _FIELDS:
                raise FaultsError(_unknown("no fault", word, sorted(_FIELDS)))
            if not equals or not value:
                raise FaultsError(f"{word}: needs a value, as in {word}={_example(word)}")
            if _FIELDS[word].name in values:
                raise FaultsError(f"{word}: is given twice")
            if word == "latency":
                value, *rest = re.split(r"±|\+-", value, maxsplit=1)
                if rest:
                    values["jitter"] = _number("latency", rest[0])
            values[_FIELDS[word].name] = _value(word, value.strip())
        return cls(**values)

    @staticmethod
    def explained() -> str:
        """All words, each with an example and what it does."""
        lines = [
            "Words for --faults, with commas between them. Shares are of all requests: at",
            "most one fault hits a request.",
        ]
        for title, is_share in (("Faults", True), ("How and when", False)):
            lines += ["", f"{title}:"]
            for word, one in _FIELDS.items():
                if bool(one.metadata.get("share")) == is_share:
                    text = f"  {f'{word}={_example(word)}':<22}  {one.metadata['meaning']}"
                    lines += wrap(text, 79, subsequent_indent=" " * 26)
        return "\n".join([*lines, "", *_TOGETHER])

    def __str__(self) -> str:
        """The text that parses to these faults: only what differs from the defaults."""
        words = []
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if value != f.default:
                shown = f"{value:.10g}" if isinstance(value, float) else str(value)
                words.append(f"{_word(f.name)}={shown}")
        return ",".join(words)


_KINDS = frozenset(kind.value for kind in Kind)


def _word(name: str) -> str:
    return name.removeprefix("status_")


_FIELDS = {_word(f.name): f for f in dataclasses.fields(Faults)}


def _unknown(what: str, word: str, known: list[str]) -> str:
    near = get_close_matches(word, known, n=1)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    return f'{what} "{word}"{hint} Known: {", ".join(known)}'


_EXAMPLES = {
    "latency": "80±40", "jitter": "40", "outage_with": "reset", "outage_after": "200", "outage_seconds": "60",
    "fail_status": "401", "unauthorized_after": "200", "max_body": "100000", "seed": "7",
}  # fmt: skip
_TOGETHER = [
    "Together:",
    "  latency=80±40,503=1%,429=2%         a day with some trouble",
    "  outage_after=200,outage_seconds=60  a minute's outage, after 200 requests",
    "  unauthorized@200                    the secret is replaced after 200 requests",
]


def _example(word: str) -> str:
    return _EXAMPLES.get(word, "2%" if _FIELDS[word].metadata.get("share") else "10")


def _number(word: str, text: str) -> float:
    percent = text.endswith("%")
    bare = text.removesuffix("%") if percent else text.removesuffix("ms").removesuffix("s")
    try:
        number = float(bare)
    except ValueError:
        raise FaultsError(f'{word}: "{text}" is no number, as in {word}={_example(word)}') from None
    if percent and not _FIELDS[word].metadata.get("share"):
        raise FaultsError(f'{word}: "{text}" is a share, but this is none, as in {word}={_example(word)}')
    if number - number != 0:
        raise FaultsError(f'{word}: "{text}" is not finite')
    return number / 100 if percent else number


def _value(word: str, text: str) -> float | int | str:
    if word == "outage_with":
        return text
    number = _number(word, text)
    if "int" not in str(_FIELDS[word].type):
        return number
    if not number.is_integer():
        raise FaultsError(f'{word}: "{text}" is no whole number')
    return int(number)


@dataclass(frozen=True, slots=True)
class Turn:
    """What one request meets: a wait in seconds, then a fault, or a failure with `status`, or neither.

    `number`: the how many-th request it is.
    """

    wait: float
    kind: Kind | None = None
    status: int | None = None
    number: int = field(default=0, compare=False)


class Mischief:
    """Deals out `faults` in the order in which requests arrive; `clock` gives monotonic seconds."""

    def __init__(self, faults: Faults, clock: Callable[[], float]) -> None:
        self.faults = faults
        self._clock = clock
        self._random = Random(faults.seed)  # noqa: S311 - it must repeat, not be secret
        self._shares = [(Kind(word), share) for word, share in faults.shares().items() if share]
        self._requests = 0
        self._outage_began: float | None = None
        self._replaced: set[str] = set()

    def turn(self) -> Turn:
        """What the next request meets."""
        faults = self.faults
        self._requests += 1
        # Both numbers are drawn for every request, so that one fault more or less does not shift the others.
        kind = self._kind(self._random.random())
        wait = max(0.0, faults.latency + faults.jitter * (2 * self._random.random() - 1)) / 1000
        if self._requests <= faults.fail_first:
            return Turn(wait, status=faults.fail_status, number=self._requests)
        if self._in_outage():
            kind = Kind(faults.outage_with)
        return Turn(wait, kind, number=self._requests)

    def refuses(self, secret: str, turn: Turn) -> bool:
        """Whether this secret was replaced before the request of this turn."""
        after = self.faults.unauthorized_after
        if after is None:
            return False
        if turn.number <= after:
            self._replaced.add(secret)
            return False
        # Where there was none before, the first one is refused: somebody wants to see a 401.
        if after == 0 and not self._replaced:
            self._replaced.add(secret)
        return secret in self._replaced

    def _kind(self, drawn: float) -> Kind | None:
        for kind, share in self._shares:
            drawn -= share
            if drawn < 0:
                return kind
        return None

    def _in_outage(self) -> bool:
        after = self.faults.outage_after
        if after is None or self._requests <= after:
            return False
        if self._outage_began is None:
            self._outage_began = self._clock()
        return self._clock() - self._outage_began < self.faults.outage_seconds
