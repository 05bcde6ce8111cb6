"""One run of the benchmark: how large everything is, and what the measures share (exports, sink, states)."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.bench.export import make_orders, write_mapping
from tests.bench.sink import Sink, sink
from tests.bench.watch import BenchError, Ended, watch

__all__ = ["BATCH", "FULL", "QUICK", "STORE", "Bench", "Sizes", "command"]

STORE = "bench"
BATCH = 100
# Beyond what any of them reaches: the pace is not what is measured, but where the measure is about it.
RATE = 100_000
CONCURRENCY = 64


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many rows each measure takes.

    `limit`: seconds under the rate limit. `small`, `large`: the two exports by which memory is compared; the large one
    is then imported again. `known`, `new`: an export that has grown, its rows that were delivered before and those that
    were not; `known` is part of `large`. `prefill`: what a large ledger holds before. `rounds`: how often the senders
    take turns, of which the best counts.
    """

    limit: int
    check: int
    dict_reader: int
    bulk: int
    single: int
    httpx: int
    small: int
    large: int
    known: int
    new: int
    files: int
    ledger: int
    prefill: int
    trace: int
    rounds: int


FULL = Sizes(
    limit=60, check=2_000_000, dict_reader=200_000, bulk=500_000, single=60_000, httpx=2_000,
    small=1_000_000, large=10_000_000, known=7_500_000, new=800_000, files=10_000,
    ledger=1_000_000, prefill=50_000_000, trace=500_000, rounds=3,
)  # fmt: skip
QUICK = Sizes(
    limit=10, check=200_000, dict_reader=50_000, bulk=100_000, single=10_000, httpx=500,
    small=200_000, large=1_000_000, known=900_000, new=100_000, files=1_000,
    ledger=100_000, prefill=200_000, trace=100_000, rounds=1,
)  # fmt: skip


class Bench:
    """The sizes, a folder, a sink that is started when it is first needed, and the command."""

    def __init__(self, sizes: Sizes, folder: Path, stack: ExitStack) -> None:
        self.sizes = sizes
        self.folder = folder
        self._stack = stack
        self._states = 0

    @cached_property
    def sink(self) -> Sink:
        """The server that answers 202."""
        return self._stack.enter_context(sink(self.folder))

    def url(self, *, bulk: bool) -> str:
        """The address that a script posts to."""
        return f"{self.sink.base_url}/stores/{STORE}/events{'/bulk' if bulk else ''}"

    def export(self, rows: int) -> Path:
        """The export of so many rows."""
        return make_orders(self.folder, rows)

    def mapping(self, rows: int) -> Path:
        """Its mapping."""
        return write_mapping(self.folder, self.export(rows))

    def new_state(self) -> Path:
        """The name of a state folder that was never used."""
        self._states += 1
        return self.folder / f"state-{self._states}"

    @cached_property
    def delivered(self) -> tuple[Path, Ended]:
        """A state folder that knows the large export as delivered, and the bulk run that brought it there."""
        state = self.new_state()
        return state, self.deliver(self.sizes.large, state, bulk=True)

    def deliver(self, rows: int, state: Path, *, bulk: bool) -> Ended:
        """`backfill run` into the sink, of an export none of which was delivered before."""
        ended = self.run(self.mapping(rows), state, bulk=bulk)
        if ended.lines[-1].data()["events"]["accepted"] != rows:
            raise BenchError(f"not every event was accepted: {ended.lines[-1].text}")
        return ended

    def run(self, mapping: Path, state: Path, *rest: str, bulk: bool = True) -> Ended:
        """`backfill run` into the sink, as fast as it goes."""
        return self.backfill(
            "run", mapping, "--base-url", self.sink.base_url, "--store", STORE,
            "--endpoint", "bulk" if bulk else "single", "--rate", str(RATE), "--concurrency", str(CONCURRENCY),
            "--state", state, "--yes", "--json", *rest,
        )  # fmt: skip

    def check(self, mapping: Path, rows: int) -> Ended:
        """`backfill check` of an export whose rows are all ready."""
        ended = self.backfill("check", mapping, "--json")
        if ended.lines[-1].data()["events"]["ready"] != rows:
            raise BenchError(f"not every row is ready: {ended.lines[-1].text}")
        return ended

    def backfill(self, *arguments: str | Path) -> Ended:
        """The command, from a clean environment."""
        mine = ("REDO_", "BACKFILL_")
        env = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
        return watch([*command(), *arguments], env={**env, "REDO_API_SECRET": "bench"})

    def plain(self, name: str, rows: int, *rest: str) -> Ended:
        """One of the plain scripts."""
        ended = watch([sys.executable, "-m", "tests.bench.plain", name, self.export(rows), str(rows), *rest])
        done = ended.lines[-1].data()["events"]
        if done != rows:
            raise BenchError(f"a plain script dealt with {done:,} of {rows:,} events: it measures nothing")
        return ended


def command() -> list[str | Path]:
    """What a user starts, of this environment."""
    script = Path(sys.executable).with_name("backfill")
    return [script] if script.exists() else [sys.executable, "-c", "from backfill.cli import main; main()"]
