"""The answers the API documents: 202, and RFC 7807 problem details for everything else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import orjson
from aiohttp import web

PROBLEM_TYPE = "application/problem+json"
_MAX_DETAIL = 2000


@dataclass(frozen=True)
class Answer:
    """A status, headers and a body, before they become a response: faults need them as bytes too."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> web.Response:
        """The response that says this."""
        return web.Response(status=self.status, body=self.body, headers=self.headers)

    def raw(self, *, length: int | None = None) -> bytes:
        """The same as HTTP/1.1 on the wire; `length` is a Content-Length to claim instead of the true one."""
        claimed = len(self.body) if length is None else length
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += [f"Content-Length: {claimed}", "", ""]
        return "\r\n".join(lines).encode("latin-1") + self.body


def accepted(body: object | None = None) -> Answer:
    """202: without a body, as today's reference says, or with the older one."""
    if body is None:
        return Answer(202)
    return Answer(202, to_json(body), {"Content-Type": "application/json"})


def to_json(value: object) -> bytes:
    """JSON in UTF-8; a lone surrogate, which a refused event may hold, becomes a question mark."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def problem(status: int, detail: str, instance: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Problem details; `instance` is the path that was asked for."""
    cut = detail if len(detail) <= _MAX_DETAIL else detail[:_MAX_DETAIL] + "..."
    details = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "detail": cut,
        "instance": instance,
    }
    return Answer(status, to_json(details), {"Content-Type": PROBLEM_TYPE, **(headers or {})})
