"""Where the events go: `python -m tests.prove.sink FOLDER STORES EVENTS RATE BURST REFUSING` stands in for the API.

It answers 202, and 429 for what is above a store's limit. When it is asked to end it writes down, for each store, when
each request came and how often each event did.
"""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np

__all__ = ["Arrived", "Sink", "sink", "store_name"]

ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
REFUSED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
LIMITED = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
PATH = re.compile(rb"POST \S*/stores/store-(\d+)/events")
ID = re.compile(rb'"uniqueId": ?"order:(\d+)"')
START_SECONDS = 20.0


def store_name(number: int) -> str:
    """The id of a store."""
    return f"store-{number}"


@dataclass
class Arrived:
    """What came for one store: `times` of its requests (Unix seconds), `counts` of arrivals by event, 429s given."""

    times: np.ndarray
    counts: np.ndarray
    limited: int


@dataclass(frozen=True)
class Sink:
    """A running sink."""

    base_url: str
    folder: Path
    process: subprocess.Popen[bytes]
    stores: int

    def end(self) -> list[Arrived]:
        """What came, by store."""
        self.process.terminate()
        self.process.wait(START_SECONDS)
        found = []
        for number in range(self.stores):
            with np.load(self.folder / f"{store_name(number)}.npz") as kept:
                found.append(Arrived(kept["times"], kept["counts"], int(kept["limited"])))
        return found


@contextmanager
def sink(folder: Path, stores: int, events: int, limit: tuple[float, float], refusing: int) -> Iterator[Sink]:
    """A sink in a process of its own, for `stores` with `events` each, numbered from 0; `folder` is for its files.

    `limit`: requests/s, and a burst. The last `refusing` stores answer 401 to everything.
    """
    folder.mkdir()
    words = [str(folder), *map(str, (stores, events, *limit, refusing))]
    process = subprocess.Popen([sys.executable, "-m", "tests.prove.sink", *words], cwd=Path(__file__).parents[2])
    try:
        until = time.monotonic() + START_SECONDS
        while not (folder / "port").exists():
            assert process.poll() is None, "the sink did not start"
            assert time.monotonic() < until, "the sink did not start in time"
            time.sleep(0.02)
        yield Sink(f"http://127.0.0.1:{(folder / 'port').read_text()}", folder, process, stores)
    finally:
        process.kill()
        process.wait()


@dataclass
class _Store:
    counts: np.ndarray
    left: float
    seen: float
    times: list[float] = field(default_factory=list)
    limited: int = 0


class _Api:
    def __init__(self, stores: int, events: int, rate: float, burst: float, refusing: int) -> None:
        now = time.monotonic()
        self.stores = [_Store(np.zeros(events, np.uint16), burst, now) for _ in range(stores)]
        self.rate, self.burst, self.open = rate, burst, stores - refusing

    def take(self, head: bytes, body: bytes) -> bytes:
        found = PATH.match(head)
        assert found, head[:80]
        if int(found[1]) >= self.open:
            return REFUSED
        store, now = self.stores[int(found[1])], time.monotonic()
        store.times.append(time.time())
        store.left = min(self.burst, store.left + (now - store.seen) * self.rate)
        store.seen = now
        if store.left < 1:
            store.limited += 1
            return LIMITED
        store.left -= 1
        # An event may stand twice in one request.
        np.add.at(store.counts, np.array(ID.findall(body), dtype=np.int64), 1)
        return ACCEPTED

    def save(self, folder: Path) -> None:
        for number, store in enumerate(self.stores):
            path = folder / f"{store_name(number)}.npz"
            np.savez(path, times=np.array(store.times), counts=store.counts, limited=store.limited)


class _Connection(asyncio.Protocol):
    def __init__(self, api: _Api) -> None:
        self._api = api
        self._seen = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._seen += data
        while (end := self._seen.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._seen[:end])
            length = LENGTH.search(head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._seen) < whole:
                return
            body = bytes(self._seen[end + 4 : whole])
            del self._seen[:whole]
            answer = self._api.take(head, body)
            if self._transport is not None:
                self._transport.write(answer)


async def _serve(folder: Path, api: _Api) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    server = await loop.create_server(lambda: _Connection(api), "127.0.0.1", 0, backlog=1024)
    (folder / "port.new").write_text(str(server.sockets[0].getsockname()[1]))
    (folder / "port.new").rename(folder / "port")
    await ended.wait()
    api.save(folder)


if __name__ == "__main__":
    place, stores, events, rate, burst, refusing = sys.argv[1:]
    asyncio.run(_serve(Path(place), _Api(int(stores), int(events), float(rate), float(burst), int(refusing))))
