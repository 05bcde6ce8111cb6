"""Runs of backfill in processes that start in a few milliseconds: forked off one that has imported everything.

Each line of stdin orders a run (or a command, by its words); when it has ended, a line of stdout says how. A run is the
real one, in a process of its own that a real signal 9 can end; only what it takes from outside (its World) has points
at which that happens.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import IO, Any

import aiohttp  # noqa: F401  imported here so that no run has to
import anyio._backends._asyncio  # noqa: F401
import httpx
import numpy.ma  # noqa: F401
import pyarrow as pa  # noqa: F401
import uvloop  # noqa: F401
import yaml.cyaml  # noqa: F401

from backfill import cli, mapping, run
from backfill.disk import Database, Disk
from backfill.mapping import document  # noqa: F401
from backfill.progress import Plain
from backfill.report import page  # noqa: F401
from backfill.settings import Flags
from backfill.transport import make_transport
from backfill.world import World

Reached = Callable[[str], None]
MAPPING = """
source: {files: orders.csv, where: a > 1, group_by: [a]}
events: [{eventName: A, uniqueId: "a:{a}", eventTimestamp: "{a}", customer: {email: "{b}"}, data: {A: {column: a}}}]
"""


class WatchedDisk(Disk):
    """The machine's disk, with a point before and after each call."""

    def __init__(self, reached: Reached) -> None:
        self._reached = reached

    def _at(self, what: str, call: Callable[[], Any]) -> Any:
        self._reached(f"before: {what}")
        result = call()
        self._reached(f"after: {what}")
        return result

    def make_folder(self, path: Path) -> None:
        # The run's own has a name by chance.
        self._at(f"make the folder {path.name if path.name in ('.backfill', 'runs') else 'of the run'}",
                 lambda: Disk.make_folder(self, path))  # fmt: skip

    def create(self, path: Path, *, instead: bool = False, encoding: str = "utf-8") -> IO[str]:
        file: IO[str] = self._at(
            f"create {path.name}", lambda: Disk.create(self, path, instead=instead, encoding=encoding)
        )
        return file

    def write(self, file: IO[str], text: str) -> None:
        name = Path(file.name).name

        def torn() -> None:
            # Half of it is on the disk when the process dies in between.
            file.write(text[: len(text) // 2])
            file.flush()
            self._reached(f"within: write {name}")
            file.write(text[len(text) // 2 :])

        self._at(f"write {name}", torn)

    def sync(self, file: IO[str]) -> None:
        self._at(f"sync {Path(file.name).name}", lambda: Disk.sync(self, file))

    def rename(self, source: Path, target: Path) -> None:
        self._at(f"rename {target.name}", lambda: Disk.rename(self, source, target))

    def commit(self, database: Database, doing: str) -> None:
        self._at(f"commit {doing}", lambda: Disk.commit(self, database, doing))


class WatchedTransport(httpx.AsyncBaseTransport):
    """The real transport, with a point before a request is sent, after its answer's head and after its body."""

    def __init__(self, inner: httpx.AsyncBaseTransport, reached: Reached) -> None:
        self._inner, self._reached = inner, reached

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._reached("before: send a request")
        response = await self._inner.handle_async_request(request)
        self._reached("after: read an answer's head")
        stream = response.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        return httpx.Response(response.status_code, headers=response.headers, stream=_Stream(stream, self._reached))

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Stream(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream, reached: Reached) -> None:
        self._inner, self._reached = inner, reached

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._inner:
            yield part
        self._reached("after: read an answer's body")

    async def aclose(self) -> None:
        await self._inner.aclose()


def _reached(order: dict[str, Any]) -> Reached:
    """Notes each point in the file `points`, or sends this process a signal when one is reached for the nth time."""
    if order.get("points"):
        log = Path(order["points"]).open("a", encoding="utf-8")  # noqa: SIM115  until the process ends
        return lambda point: print(point, file=log, flush=True)
    wanted, left = order.get("kill") or (None, 0)
    counts = {wanted: left}

    def reached(point: str) -> None:
        if point == wanted:
            counts[point] -= 1
            if counts[point] == 0:
                os.kill(os.getpid(), order["signal"])

    return reached


def _play(order: dict[str, Any]) -> int:
    os.chdir(order["folder"])
    os.environ.update(order["env"])
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{name}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    if "words" in order:
        return cli.guarded(lambda: cli.backfill.main(order["words"], standalone_mode=False), debug=False)
    reached = _reached(order)
    world = World(
        transport=lambda connections: WatchedTransport(make_transport(connections=connections), reached),
        disk=WatchedDisk(reached),
    )

    def work() -> int:
        result = run.run(Path(order["mapping"]), Flags(**order["flags"]), Plain(quiet=True), world)
        reached("after: the run")
        if result.error is not None:
            print(result.error.message, file=sys.stderr)
        return result.status

    return cli.guarded(work, debug=True)


def main() -> None:
    """Serve until stdin ends."""
    # What is made once, at the first mapping that is read.
    mapping.parse(MAPPING)
    for line in sys.stdin:
        process = os.fork()
        if not process:
            status = 99
            try:
                status = _play(json.loads(line))
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        _, ended = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(ended), flush=True)


if __name__ == "__main__":
    main()
