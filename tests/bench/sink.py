"""Where the events go: a server on this machine that answers 202 to everything. nginx, or without it one of our own.

It writes down when each connection brought its first request: by that one sees when a run began to send.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from tests.bench.watch import BenchError

__all__ = ["Sink", "sink"]

START_SECONDS = 10.0
# Bodies stay in memory, connections stay open, a line a connection is logged: as little of a server as there can be.
NGINX = """\
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 4096; }}
http {{
  map $connection_requests $first {{ 1 1; default 0; }}
  log_format moment $msec;
  access_log {log} moment if=$first;
  keepalive_requests 1000000000;
  keepalive_timeout 300s;
  client_max_body_size 10m;
  client_body_buffer_size 1m;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 202; }} }}
}}
"""
ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


@dataclass(frozen=True, slots=True)
class Sink:
    """A running sink. `name` says what it is, and why."""

    name: str
    port: int
    log: Path

    @property
    def base_url(self) -> str:
        """What stands in the API's place."""
        return f"http://127.0.0.1:{self.port}/v2.2"

    def first_request(self, after: float) -> float:
        """When the first request came after a moment, both in Unix seconds (to the millisecond)."""
        moments = [float(line) for line in self.log.read_text(encoding="ascii").split()]
        came = [moment for moment in moments if moment > after]
        if not came:
            raise BenchError("no request came to the sink")
        return min(came)


@contextlib.contextmanager
def sink(folder: Path) -> Iterator[Sink]:
    """A sink in a process of its own; `folder` is for its files."""
    port, log = _free_port(), folder / "sink.log"
    log.touch()
    nginx = shutil.which("nginx")
    if nginx:
        place = folder / "nginx"
        place.mkdir()
        configuration = place / "nginx.conf"
        configuration.write_text(NGINX.format(folder=place, port=port, log=log))
        command: list[str | Path] = [nginx, "-p", place, "-e", "stderr", "-c", configuration]
        name = "nginx"
    else:
        command = [sys.executable, "-m", "tests.bench.sink", str(port), log]
        name = "a Python sink (no nginx here)"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _until_it_listens(process, port)
        yield Sink(name, port, log)
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port


def _until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    give_up = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < give_up:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise BenchError("the sink did not start")


class _Swallow(asyncio.Protocol):
    """Takes requests with a Content-Length, one after the other, and answers when the body is there."""

    def __init__(self, log: IO[str]) -> None:
        self._log = log
        self._seen = b""
        self._first = True
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not isinstance: uvloop's transports are none of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._seen += data
        while (end := self._seen.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self._seen, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._seen) < whole:
                return
            self._seen = self._seen[whole:]
            if self._first:
                self._first = False
                print(f"{time.time():.3f}", file=self._log, flush=True)
            if self._transport is not None:
                self._transport.write(ANSWER)


async def _serve(port: int, log: Path) -> None:
    with log.open("a", encoding="ascii") as file:
        server = await asyncio.get_running_loop().create_server(lambda: _Swallow(file), "127.0.0.1", port, backlog=4096)
        await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve(int(sys.argv[1]), Path(sys.argv[2])))
