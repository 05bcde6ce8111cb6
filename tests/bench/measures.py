"""What is measured: one function a measure, from a Bench to a section of the table."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.bench.export import COLUMNS, make_orders, write_mapping
from tests.bench.sink import Sink, sink
from tests.bench.table import Line, Section
from tests.bench.watch import BenchError, Ended, watch

__all__ = ["FULL", "MEASURES", "QUICK", "Bench", "Sizes"]

STORE = "bench"
BATCH = 100
# Beyond what any of them reaches: the pace is not what is measured.
RATE = 100_000
CONCURRENCY = 64
HELP_TIMES = 5


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many rows each measure takes; `rounds`: how often the senders take turns, of which the best counts."""

    check: int
    dict_reader: int
    bulk: int
    single: int
    httpx: int
    ledger: int
    rounds: int


FULL = Sizes(check=2_000_000, dict_reader=200_000, bulk=500_000, single=30_000, httpx=2_000, ledger=1_000_000, rounds=3)
QUICK = Sizes(check=200_000, dict_reader=50_000, bulk=100_000, single=10_000, httpx=500, ledger=200_000, rounds=1)


class Bench:
    """One run of the benchmark: its sizes, its folder, and its sink, started when it is first needed."""

    def __init__(self, sizes: Sizes, folder: Path, stack: ExitStack) -> None:
        self.sizes = sizes
        self.folder = folder
        self._stack = stack
        self._states = 0
        # A state folder that knows the whole bulk export as delivered, once there is one.
        self.delivered: Path | None = None

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

    def backfill(self, *arguments: str | Path) -> Ended:
        """The command, from a clean environment."""
        mine = ("REDO_", "BACKFILL_")
        env = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
        return watch([*_command(), *arguments], env={**env, "REDO_API_SECRET": "bench"})

    def run(self, rows: int, state: Path, *, bulk: bool) -> Ended:
        """`backfill run` into the sink."""
        return self.backfill(
            "run", self.mapping(rows), "--base-url", self.sink.base_url, "--store", STORE,
            "--endpoint", "bulk" if bulk else "single", "--rate", str(RATE), "--concurrency", str(CONCURRENCY),
            "--state", state, "--yes", "--json",
        )  # fmt: skip

    def plain(self, name: str, rows: int, *rest: str) -> Ended:
        """One of the plain scripts."""
        return watch([sys.executable, "-m", "tests.bench.plain", name, self.export(rows), str(rows), *rest])


def check(bench: Bench) -> Section:
    """`backfill check`: everything is read, mapped and validated."""
    rows, few = bench.sizes.check, bench.sizes.dict_reader
    ours = bench.backfill("check", bench.mapping(rows), "--json")
    if ours.lines[-1].data()["events"]["ready"] != rows:
        raise BenchError(f"not every row is ready: {ours.lines[-1].text}")
    plain = bench.plain("csv", few)
    _all_went(plain, few)
    return Section(
        f"check: {rows:,} rows of {COLUMNS} columns",
        [
            Line("backfill check", rows, ours.seconds, ours.cpu, ours.memory),
            Line("csv.DictReader + json.dumps, no checks", few, plain.seconds, plain.cpu, plain.memory),
        ],
    )


def show_help(bench: Bench) -> Section:
    """How soon the command answers."""

    def best(command: list[str | Path]) -> Ended:
        return min((watch(command) for _ in range(HELP_TIMES)), key=lambda ended: ended.seconds)

    ours, python = best([*_command(), "--help"]), best([sys.executable, "-c", "pass"])
    return Section(
        f"start: best of {HELP_TIMES}",
        [
            Line("backfill --help", 0, ours.seconds),
            Line("python -c pass", 0, python.seconds),
        ],
    )


def bulk(bench: Bench) -> Section:
    """A hundred events a request."""
    rows = bench.sizes.bulk
    lines = _send(bench, rows, batch=BATCH)
    return Section(f"bulk: {BATCH} events a request into {bench.sink.name}{_best(bench)}", lines)


def single(bench: Bench) -> Section:
    """One event a request."""
    few = bench.sizes.httpx
    lines = _send(bench, bench.sizes.single, batch=1)
    naive = bench.plain("httpx", few, bench.url(bulk=False))
    _all_went(naive, few)
    lines.insert(2, Line("httpx.AsyncClient script", few, naive.seconds, naive.cpu, naive.memory))
    return Section(f"single: one event a request into {bench.sink.name}{_best(bench)}", lines)


def rerun(bench: Bench) -> Section:
    """Everything was delivered before."""
    rows = bench.sizes.bulk
    if bench.delivered is None:
        bench.delivered = bench.new_state()
        bench.run(rows, bench.delivered, bulk=True)
    ours = bench.run(rows, bench.delivered, bulk=True)
    summary = ours.lines[-1].data()
    if summary["requests"] or summary["events"]["already_delivered"] != rows:
        raise BenchError(f"a rerun sent something: {ours.lines[-1].text}")
    again = bench.plain("aiohttp", rows, bench.url(bulk=True), str(BATCH))
    _all_went(again, rows)
    sent = -(-rows // BATCH)
    return Section(
        "rerun: everything was delivered before",
        [
            Line("backfill run", rows, ours.seconds, ours.cpu, ours.memory, f"{summary['requests']} requests"),
            Line("aiohttp script, which sends all again", rows, again.seconds, again.cpu, again.memory,
                 f"{sent:,} requests"),
        ],
    )  # fmt: skip


def ledger(bench: Bench) -> Section:
    """Remembering and asking, with nothing around it."""
    count = bench.sizes.ledger
    done = {}
    for name in ("ledger", "plain"):
        folder = bench.new_state()
        folder.mkdir(mode=0o700)
        ended = watch([sys.executable, "-m", "tests.bench.memory", name, folder, str(count)])
        done[name] = ended.lines[-1].data()
        size = sum(path.stat().st_size for path in folder.iterdir() if "db" in path.name)
        done[name]["note"] = f"{size / count:.0f} bytes an event"
    words = {"record": "record", "known": "look up what is known", "unknown": "look up what is not"}
    lines = []
    for step, text in words.items():
        for name, whose in (("ledger", "ledger"), ("plain", "plain SQLite table")):
            seconds, cpu = done[name][step]
            note = done[name]["note"] if step == "record" else ""
            lines.append(Line(f"{whose}: {text}", count, seconds, cpu, note=note, base=name == "ledger"))
    return Section(f"ledger: {count:,} events", lines)


MEASURES: dict[str, Callable[[Bench], Section]] = {
    "help": show_help,
    "check": check,
    "bulk": bulk,
    "single": single,
    "rerun": rerun,
    "ledger": ledger,
}


def _send(bench: Bench, rows: int, batch: int) -> list[Line]:
    """`backfill run` and the aiohttp script, taking turns, so that what else the machine does meets both."""
    is_bulk = batch > 1
    ours, theirs = [], []
    for _ in range(bench.sizes.rounds):
        state = bench.new_state()
        ended = bench.run(rows, state, bulk=is_bulk)
        if ended.lines[-1].data()["events"]["accepted"] != rows:
            raise BenchError(f"not every event was accepted: {ended.lines[-1].text}")
        if is_bulk:
            bench.delivered = state
        ours.append(ended)
        theirs.append(bench.plain("aiohttp", rows, bench.url(bulk=is_bulk), str(batch)))
        _all_went(theirs[-1], rows)
    best = min(ours, key=lambda ended: ended.seconds)
    sent = min((_sending(ended, rows) for ended in ours), key=lambda line: line.seconds)
    script = min(theirs, key=lambda ended: ended.seconds)
    inner = min((ended.lines[-1].data() for ended in theirs), key=lambda found: float(found["seconds"]))
    return [
        Line("backfill run: check and send", rows, best.seconds, best.cpu, best.memory),
        Line("aiohttp script, neither checks nor remembers", rows, script.seconds, script.cpu, script.memory),
        Line("backfill run: sending alone", rows, sent.seconds, sent.cpu, base=True),
        Line("aiohttp script without its imports", rows, inner["seconds"], inner["cpu"]),
    ]


def _sending(ended: Ended, rows: int) -> Line:
    """From the end of the check to the summary."""
    checked = next(said for said in ended.lines if said.data()["type"] == "checked")
    summary = ended.lines[-1]
    known = summary.cpu is not None and checked.cpu is not None
    cpu = (summary.cpu or 0.0) - (checked.cpu or 0.0) if known else None
    return Line("sending", rows, summary.seconds - checked.seconds, cpu)


def _all_went(ended: Ended, rows: int) -> None:
    done = ended.lines[-1].data()["events"]
    if done != rows:
        raise BenchError(f"a plain script dealt with {done:,} of {rows:,} events: it measures nothing")


def _best(bench: Bench) -> str:
    return f"; best of {bench.sizes.rounds}, in turn" if bench.sizes.rounds > 1 else ""


def _command() -> list[str | Path]:
    """What a user starts, of this environment."""
    script = Path(sys.executable).with_name("backfill")
    return [script] if script.exists() else [sys.executable, "-c", "from backfill.cli import main; main()"]
