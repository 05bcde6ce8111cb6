"""What the API says, read from bytes that may hold anything: bounded, inert, and without the secret.

Source: RFC 7807 problem details, which the vendor's reference promises and a proxy in front of it does not.
"""

from __future__ import annotations

import functools
import html
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

__all__ = ["TITLE_CHARACTERS", "Answer", "Problem", "loaded", "problem", "redacted", "shown", "text_of"]

TITLE_CHARACTERS = 200
DETAIL_CHARACTERS = 2000

# What text from outside may do to a terminal or to a reader: controls, bidi and other invisible formats, lone
# surrogates, line and paragraph separators.
_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: at most 64 KiB of its body, as bytes; `cut` when there was more."""

    status: int
    headers: httpx.Headers
    body: bytes = b""
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """The API's words, safe to show: a line each, escaped, shortened."""

    title: str = ""
    detail: str = ""

    def __str__(self) -> str:
        return ": ".join(text for text in (self.title, self.detail) if text)


def shown(text: str, most: int = DETAIL_CHARACTERS) -> str:
    r"""Text from outside, made inert: controls, bidi and invisibles as \x1b or \u202e; cut after `most`."""
    if len(text) > most:
        text = text[: most - 1] + "…"
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character if unicodedata.category(character) not in _ESCAPED else _escape(character) for character in text
    )


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def problem(answer: Answer, redact: str = "") -> Problem:
    """The words of an error's body: RFC 7807, another JSON object with a message, or text. Never raises."""
    content = loaded(answer.body)
    if isinstance(content, dict):
        title = _words(content, "title", "error", "code")
        detail = _words(content, "detail", "message", "error_description", "errors", "details")
        if not title and not detail:
            detail = text_of(content)
    elif content is not None:
        title, detail = "", text_of(content)
    else:
        # Without the secret before it is cut: a part of one is still a secret.
        title, detail = "", redacted(answer.body.decode("utf-8", "replace"), redact)[: 4 * DETAIL_CHARACTERS].strip()
        if "html" in answer.headers.get("content-type", "").lower() or detail[:1] == "<":
            detail = _page_title(detail)
    if not title:
        title = _PHRASES.get(answer.status, "")
    return Problem(shown(redacted(title, redact), TITLE_CHARACTERS), shown(redacted(detail, redact), DETAIL_CHARACTERS))


_PHRASES = {
    200: "OK",
    204: "No Content",
    301: "Moved Permanently",
    302: "Found",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


def _page_title(page: str) -> str:
    found = re.search(r"<title[^>]{0,200}>([^<]{1,300})", page, re.IGNORECASE)
    return f"a web page: {found.group(1).strip()}" if found else "a web page"


def _words(content: Mapping[str, Any], *names: str) -> str:
    for name in names:
        if (value := content.get(name)) not in (None, "", [], {}):
            # Some APIs nest: {"error": {"message": …}}.
            if isinstance(value, dict) and (inner := value.get("message") or value.get("detail")):
                value = inner
            return text_of(value)
    return ""


def text_of(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        return ""


def loaded(body: bytes) -> Any:
    """What the JSON text holds; None when it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):  # also: not UTF-8, a number of 5,000 digits
        return None


def redacted(text: str, secret: str) -> str:
    if not secret or not text:
        return text
    return _forms(secret).sub("[secret]", text)


@functools.lru_cache(maxsize=1)
def _forms(secret: str) -> re.Pattern[str]:
    """The secret with any of its letters escaped as JSON, URLs and HTML do, in any case: host names have none."""
    return re.compile(
        "".join(
            rf"(?:\\?{re.escape(letter)}|\\u{ord(letter):04x}|%{ord(letter):02x}|&\#{ord(letter)};"
            rf"|&\#x{ord(letter):x};|{re.escape(html.escape(letter))})"
            for letter in secret
        ),
        re.IGNORECASE,
    )
