"""The sandbox in a process of its own, in the API's place: its rate limit, its delays, its faults, and what it counted."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin
from urllib.request import ProxyHandler, build_opener

from tests.bench.watch import BenchError

__all__ = ["Box", "Counted", "box", "steady_rate"]

EVERY = 0.25
# Of all requests, so many at either end are no steady state: the start, and the last ones that are tried again.
ENDS = 0.05


@dataclass(frozen=True, slots=True)
class Counted:
    """How many requests had come to the sandbox: monotonic seconds, and their number."""

    seconds: float
    requests: int


@dataclass
class Box:
    """A running sandbox; `counted` grows while it runs."""

    base_url: str
    counted: list[Counted] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """What it has seen so far, in its own words."""
        # No proxy: it is on this machine.
        with build_opener(ProxyHandler({})).open(urljoin(self.base_url, "/_sandbox/summary"), timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def watch(self, over: threading.Event) -> None:
        """Ask for its count again and again."""
        while not over.wait(EVERY):
            # It answers when it can: the count is of some moment between the question and the answer.
            asked = time.monotonic()
            requests = self.summary()["requests"]
            self.counted.append(Counted((asked + time.monotonic()) / 2, requests))


@contextlib.contextmanager
def box(faults: str) -> Iterator[Box]:
    """A sandbox with the vendor's rate limit."""
    command = [sys.executable, "-m", "backfill.sandbox", "--faults", faults]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        over = threading.Event()
        try:
            base_url = process.stdout.readline().removeprefix("base URL: ").strip()
            if not base_url:
                raise BenchError("the sandbox did not start")
            running = Box(base_url)
            watcher = threading.Thread(target=running.watch, args=(over,), daemon=True)
            watcher.start()
            try:
                yield running
            finally:
                over.set()
                watcher.join()
        finally:
            process.terminate()


def steady_rate(counted: Sequence[Counted]) -> float:
    """Requests/s in the middle, from counts that grow: what was counted there over the time that it took."""
    total = counted[-1].requests if counted else 0
    middle = [one for one in counted if total * ENDS <= one.requests <= total * (1 - ENDS) and one.requests]
    if len(middle) < 2:
        raise BenchError(f"too few requests for a rate: {total}")
    first, last = middle[0], middle[-1]
    return (last.requests - first.requests) / (last.seconds - first.seconds)
