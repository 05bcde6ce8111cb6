"""What the ledger's tests share: events to record, runs in processes of their own, small disks."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from backfill.ledger import Ledger, Target, content, key
from backfill.records import Events, Outcome, Refusal
from tests.conftest import Require
from tests.ledger.server import Server, programs

REPOSITORY = Path(__file__).parents[2]

# What a run does, for a process of its own: it commits batch after batch and says so after each.
RECORDER = """
    import sys
    from pathlib import Path
    from backfill.ledger import Ledger, RunInfo, Target, content, key
    from backfill.records import Events, Outcome

    folder, first, size, stop = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    url = sys.argv[6] if sys.argv[6:] else None
    with Ledger.open(folder, Target("https://api.example.com", "store"), url=url) as ledger:
        run = ledger.begin_run(RunInfo("orders"))
        print("begun", flush=True)
        for start in range(first, stop, size):
            ids = [f"order:{number}" for number in range(start, start + size)]
            events = Events(
                bodies=[b"{}"] * size,
                ids=ids,
                keys=[key(text) for text in ids],
                contents=[content(text.encode()) for text in ids],
                names=["Order Placed"] * size,
                files=[0] * size,
                rows=list(range(size)),
            )
            ledger.record([Outcome(events, accepted=range(size))], run)
            print(start + size, flush=True)
        if sys.argv[5] == "hold":
            sys.stdin.read()
        ledger.end_run(run, 0, {})
"""


@pytest.fixture
def target() -> Target:
    return Target("https://api.example.com", "store")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / ".backfill"


@pytest.fixture
def accept() -> Callable[..., Outcome]:
    def accept(ids: Sequence[str], name: str = "Order Placed", version: str = "") -> Outcome:
        return Outcome(_events(ids, name, version), accepted=range(len(ids)))

    return accept


@pytest.fixture
def refuse() -> Callable[..., Outcome]:
    def refuse(ids: Sequence[str], why: Refusal, name: str = "Order Placed", version: str = "") -> Outcome:
        return Outcome(_events(ids, name, version), refused=[(index, why) for index in range(len(ids))])

    return refuse


def _events(ids: Sequence[str], name: str, version: str) -> Events:
    bodies = [f"{version}{text}".encode() for text in ids]
    return Events(
        bodies=bodies,
        ids=ids,
        keys=[key(text) for text in ids],
        contents=[content(body) for body in bodies],
        names=[name] * len(ids),
        files=[0] * len(ids),
        rows=list(range(len(ids))),
    )


class Ledgers:
    """Ledgers of one kind: each folder has its own, in it or in a database of its own."""

    def __init__(self, kind: str, server: Server | None) -> None:
        self.kind = kind
        self.server = server
        self._databases: dict[Path, str] = {}

    def url(self, folder: Path) -> str | None:
        """Where the ledger of a folder is, if not in it."""
        if self.server is None:
            return None
        if folder not in self._databases:
            self._databases[folder] = self.server.database()
        return self.server.url(self._databases[folder])

    def forget(self) -> None:
        """No more is asked of these folders."""
        for name in self._databases.values():
            assert self.server is not None
            self.server.take_back(name)
        self._databases.clear()

    def open(self, folder: Path, target: Target, **more: Any) -> Ledger:
        return Ledger.open(folder, target, url=self.url(folder), **more)

    def read(self, folder: Path, target: Target | None = None) -> Ledger:
        return Ledger.read(folder, target, url=self.url(folder))


def _started(require: Require) -> Server:
    require(importlib.util.find_spec("psycopg"), "psycopg is not installed")
    require(programs(), "PostgreSQL's server is not installed")
    require(
        os.geteuid() != 0 or shutil.which("runuser"),
        "PostgreSQL's server does not run as root, and there is no runuser",
    )
    return Server()


@pytest.fixture(scope="session")
def server(require: Require) -> Iterator[Server]:
    """A server for all tests of a process."""
    server = _started(require)
    yield server
    server.remove()


@pytest.fixture
def own_server(require: Require) -> Iterator[Server]:
    """A server that the test may kill."""
    server = _started(require)
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgres"])
def ledgers(request: pytest.FixtureRequest) -> Iterator[Ledgers]:
    """What holds for a ledger holds wherever it is kept."""
    server = request.getfixturevalue("server") if request.param == "postgres" else None
    ledgers = Ledgers(request.param, server)
    yield ledgers
    ledgers.forget()


@pytest.fixture
def recorder(state: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a run in a process of its own; whatever is left at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(first: int, size: int, stop: int, how: str = "end", url: str | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", textwrap.dedent(RECORDER), str(state)),
                *map(str, (first, size, stop)),
                how,
                *([url] if url else []),
            ],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


class Disk:
    """A small disk of its own, in memory."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def fill(self) -> None:
        """Leaves not one byte free."""
        block = b"x" * 4096
        with (self.place / "fill").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(block)
            except OSError:
                pass

    def clear(self) -> None:
        (self.place / "fill").unlink()

    def remount(self, how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.place)], check=True)


@pytest.fixture
def disk(tmp_path: Path, require: Require) -> Iterator[Disk]:
    """A tmpfs of 2 MB; skips where it can't be made."""
    require(sys.platform == "linux" and os.geteuid() == 0, "a disk that fills up needs root on Linux")
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    require(not made.returncode, f"a disk that fills up can't be made here: {made.stderr.strip()}")
    try:
        yield Disk(place)
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
