"""A server that refuses what a test tells it to: the sandbox judges by the vendor's rules alone, and so would take it."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

Answer = tuple[int, dict[str, Any] | None]
DETAIL = "the moon is in the wrong house"


class PickyApi:
    """Answers 400 to a request with a uniqueId in `bad`, or what `answer` says to its events, else 202.

    `taken` counts the uniqueIds of what it answered with 202, `requests` all calls.
    """

    def __init__(
        self, bad: set[str] | None = None, answer: Callable[[list[dict[str, Any]]], Answer] | None = None
    ) -> None:
        self.bad = bad or set()
        self.answer = answer or self._judge
        self.requests = 0
        self.taken: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}/v2.2"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _judge(self, events: list[dict[str, Any]]) -> Answer:
        if any(event["uniqueId"] in self.bad for event in events):
            return 400, {"type": "about:blank", "title": "Bad Request", "detail": DETAIL}
        return 202, None

    def _post(self, body: bytes) -> Answer:
        content = json.loads(body)
        events = content.get("events", [content])
        with self._lock:
            self.requests += 1
            status, words = self.answer(events)
            if status == 202:
                self.taken.update(event["uniqueId"] for event in events)
        return status, words

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        post = self._post

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Without it each answer waits for the client's delayed acknowledgement.
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                status, words = post(self.rfile.read(int(self.headers["Content-Length"])))
                body = json.dumps(words).encode() if words is not None else b""
                self.send_response(status)
                self.send_header("Content-Type", "application/problem+json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words: object) -> None:
                """Say nothing."""

        return Handler
