"""What the ledger's tests share: events to record, runs in processes of their own, small disks."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from backfill.ledger import Target, content, key
from backfill.records import Events, Outcome, Refusal
from tests.conftest import Require

REPOSITORY = Path(__file__).parents[2]

# What a run does, for a process of its own: it commits batch after batch and says so after each.
RECORDER = """
    import sys
    from pathlib import Path
    from backfill.ledger import Ledger, RunInfo, Target, content, key
    from backfill.records import Events, Outcome

    folder, first, size, stop = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    with Ledger.open(folder, Target("https://api.example.com", "store")) as ledger:
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
        if sys.argv[5:] == ["hold"]:
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


@pytest.fixture
def recorder(state: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a run in a process of its own; whatever is left at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(first: int, size: int, stop: int, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", textwrap.dedent(RECORDER), str(state)),
                *map(str, (first, size, stop)),
                *words,
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
