"""What is measured: one function a measure, from a Bench to a section of the table."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backfill.settings import DEFAULT_RATE
from tests.bench.bench import BATCH, STORE, Bench, command
from tests.bench.box import box, steady_rate
from tests.bench.export import COLUMNS, make_files, make_grown, write_mapping
from tests.bench.table import Line, Section
from tests.bench.watch import BenchError, Ended, watch

__all__ = ["MEASURES"]

HELP_TIMES = 5
# The API as it may be on a day like others.
FAULTS = "latency=80±40,503=1%"
ROWS_A_FILE = 100
FIRST = 100


def show_help(bench: Bench) -> Section:
    """How soon the command answers."""

    def best(words: list[str | Path]) -> Ended:
        return min((watch(words) for _ in range(HELP_TIMES)), key=lambda ended: ended.seconds)

    ours, python = best([*command(), "--help"]), best([sys.executable, "-c", "pass"])
    return Section(
        f"start: best of {HELP_TIMES}",
        [
            Line("backfill --help", 0, ours.seconds),
            Line("python -c pass", 0, python.seconds),
        ],
    )


def limit(bench: Bench) -> Section:
    """At the vendor's limit, with nothing said but where to send: what of the rate is used, and at what cost.

    The rate is the sandbox's: it counts all requests, those that it answers 503 or 429 too. CPU is that of the whole
    run, from its start to its report, over the whole time.
    """
    lines = [_limited(bench, endpoint, events) for endpoint, events in (("single", 1), ("bulk", BATCH))]
    return Section(f"limit: {DEFAULT_RATE:g} requests/s into the sandbox, {FAULTS}", lines)


def check(bench: Bench) -> Section:
    """`backfill check`: everything is read, mapped and validated."""
    rows, few = bench.sizes.check, bench.sizes.dict_reader
    ours = bench.check(bench.mapping(rows), rows)
    plain = bench.plain("csv", few)
    return Section(
        f"check: {rows:,} rows of {COLUMNS} columns",
        [
            _line("backfill check", rows, ours),
            _line("csv.DictReader + json.dumps, no checks", few, plain),
        ],
    )


def files(bench: Bench) -> Section:
    """Many small files beside a large one."""
    count = bench.sizes.files
    rows = count * ROWS_A_FILE
    folder = make_files(bench.folder, count, ROWS_A_FILE)
    one = bench.check(bench.mapping(rows), rows)
    many = bench.check(write_mapping(bench.folder, folder), rows)
    return Section(
        f"files: {rows:,} rows",
        [
            _line("backfill check, one file", rows, one),
            _line(f"backfill check, {count:,} files of {ROWS_A_FILE} rows", rows, many),
        ],
    )


def bulk(bench: Bench) -> Section:
    """A hundred events a request."""
    lines = _send(bench, bench.sizes.bulk, batch=BATCH)
    return Section(f"bulk: {BATCH} events a request into {bench.sink.name}{_best(bench)}", lines)


def single(bench: Bench) -> Section:
    """One event a request."""
    few = bench.sizes.httpx
    lines = _send(bench, bench.sizes.single, batch=1)
    naive = bench.plain("httpx", few, bench.url(bulk=False))
    lines.insert(2, _line("httpx.AsyncClient script", few, naive))
    return Section(f"single: one event a request into {bench.sink.name}{_best(bench)}", lines)


def trace(bench: Bench) -> Section:
    """Whether the stages of sending work at the same time: see `tests.bench.trace`."""
    rows = bench.sizes.trace
    folder = bench.folder
    ended = watch([sys.executable, "-m", "tests.bench.trace", "--json", "--rows", str(rows), "--folder", folder])
    found = ended.lines[-1].data()
    whole = found["seconds"]
    ahead = f"{found['ahead']} of {found['chunks']} chunks read or shaped while requests were in flight"
    note = f"two stages or more at work in {found['together'] / whole:.0%} of the time; {ahead}"
    stages = [Line(f"{stage}: at work", rows, seconds) for stage, seconds in found["busy"].items() if seconds]
    return Section(
        f"trace: {BATCH} events a request into {bench.sink.name}",
        [Line("sending, from the first request to the last", rows, whole, note=note), *stages],
    )


def memory(bench: Bench) -> Section:
    """Whether memory grows with the export."""
    small, large = bench.sizes.small, bench.sizes.large
    checks = [bench.check(bench.mapping(rows), rows) for rows in (small, large)]
    runs = [bench.deliver(small, bench.new_state(), bulk=True), bench.delivered[1]]
    lines = []
    for name, (few, many) in {"check": checks, "run": runs}.items():
        each = (many.memory - few.memory) * 1e6 / (large - small)
        lines.append(_line(f"backfill {name}, {small:,} rows", small, few, base=name == "run"))
        lines.append(_line(f"backfill {name}, {large:,} rows", large, many, f"{each:.0f} bytes an event more"))
    return Section(f"memory: from {small:,} rows to {large:,}, {BATCH} events a request", lines)


def rerun(bench: Bench) -> Section:
    """Everything was delivered before."""
    rows, sent = bench.sizes.large, bench.sizes.bulk
    state, _ = bench.delivered
    # Another time, and not this moment: a file that has just been written may still be being written.
    export = bench.export(rows)
    os.utime(export, (export.stat().st_mtime - 600,) * 2)
    touched = _again(bench, rows, state)
    untouched = _again(bench, rows, state)
    script = bench.plain("aiohttp", sent, bench.url(bulk=True), str(BATCH))
    return Section(
        "rerun: everything was delivered before",
        [
            _line("backfill run, the file was touched since", rows, touched, "0 requests"),
            _line("backfill run, the file is as it was", rows, untouched, "0 requests"),
            _line("aiohttp script, which sends all again", sent, script, f"{-(-sent // BATCH):,} requests"),
        ],
    )


def first(bench: Bench) -> Section:
    """How soon the first request goes out: of an export that has grown since it was delivered, and of one that is new.

    The first is nine tenths old. Both send no more than `FIRST` events: what comes after is the bulk measure's.
    """
    known, new = bench.sizes.known, bench.sizes.new
    rows, large = known + new, bench.sizes.large
    export = make_grown(bench.folder, known, new, after=large)
    mapping = write_mapping(bench.folder, export)
    checks: list[Line] = []
    requests: list[Line] = []
    for name, state, before in (
        (f"{known / rows:.0%} delivered before", bench.delivered[0], known),
        ("nothing delivered before", bench.new_state(), 0),
    ):
        ended = bench.run(mapping, state, "--limit", str(FIRST))
        checked = ended.said("checked")
        if checked.data()["events"]["already_delivered"] != before or ended.lines[-1].data()["requests"] != 1:
            raise BenchError(f"{before:,} events are not what was delivered before: {checked.text}")
        came = bench.sink.first_request(ended.began) - ended.began
        checks.append(Line(f"{name}: from the start to the end of the check", rows, checked.seconds, checked.cpu))
        requests.append(Line(f"{name}: from there to the first request", 0, came - checked.seconds, base=not requests))
    return Section(f"first: an export of {export.stat().st_size / 1e9:.2g} GB", [*checks, *requests])


def ledger(bench: Bench) -> Section:
    """Remembering and asking, with nothing around it."""
    count, many = bench.sizes.ledger, bench.sizes.prefill
    found = {
        "ledger": _remember(bench, "ledger", count),
        "plain SQLite table": _remember(bench, "plain", count),
        f"ledger of {many:,} events": _remember(bench, "ledger", count, many),
    }
    lines = []
    for step, words in {"record": "record", "known": "look up what is known", "unknown": "look up what is not"}.items():
        for name, done in found.items():
            seconds, cpu = done[step]
            note = f"{done['size']:.0f} bytes an event" if step == "record" else ""
            lines.append(Line(f"{name}: {words}", count, seconds, cpu, note=note, base=name == "ledger"))
    return Section(f"ledger: {count:,} events", lines)


MEASURES: dict[str, Callable[[Bench], Section]] = {
    "help": show_help,
    "limit": limit,
    "check": check,
    "files": files,
    "bulk": bulk,
    "single": single,
    "trace": trace,
    "memory": memory,
    "rerun": rerun,
    "first": first,
    "ledger": ledger,
}


def _line(name: str, count: int, ended: Ended, note: str = "", *, base: bool = False) -> Line:
    return Line(name, count, ended.seconds, ended.cpu, ended.memory, note, base)


def _limited(bench: Bench, endpoint: str, events: int) -> Line:
    rows = int(bench.sizes.limit * DEFAULT_RATE) * events
    mapping = bench.mapping(rows)
    with box(FAULTS) as sandbox:
        ended = bench.backfill(
            "run", mapping, "--base-url", sandbox.base_url, "--store", STORE, "--endpoint", endpoint,
            "--state", bench.new_state(), "--yes", "--json",
        )  # fmt: skip
        found = sandbox.summary()
    if ended.lines[-1].data()["events"]["accepted"] != rows or found["stored"] != rows:
        raise BenchError(f"not every event was accepted: {ended.lines[-1].text}")
    rate, cores = steady_rate(sandbox.counted), ended.cpu / ended.seconds
    note = (
        f"{rate:.1f} requests/s ({rate / DEFAULT_RATE:.1%}), {rate * events:,.0f} events/s, {cores:.2f} cores, "
        f"{found['statuses'].get('429', 0)} of {found['requests']:,} answers were 429"
    )
    return _line(f"backfill run, {events} event{'s' if events > 1 else ''} a request", rows, ended, note, base=True)


def _send(bench: Bench, rows: int, batch: int) -> list[Line]:
    """`backfill run` and the aiohttp script, taking turns, so that what else the machine does meets both."""
    is_bulk = batch > 1
    ours, theirs = [], []
    for _ in range(bench.sizes.rounds):
        ours.append(bench.deliver(rows, bench.new_state(), bulk=is_bulk))
        theirs.append(bench.plain("aiohttp", rows, bench.url(bulk=is_bulk), str(batch)))
    best = min(ours, key=lambda ended: ended.seconds)
    sent = min((_sending(ended, rows) for ended in ours), key=lambda line: line.seconds)
    script = min(theirs, key=lambda ended: ended.seconds)
    inner = min((ended.lines[-1].data() for ended in theirs), key=lambda found: float(found["seconds"]))
    return [
        _line("backfill run: check and send", rows, best),
        _line("aiohttp script, neither checks nor remembers", rows, script),
        Line("backfill run: sending alone", rows, sent.seconds, sent.cpu, base=True),
        Line("aiohttp script without its imports", rows, inner["seconds"], inner["cpu"]),
    ]


def _sending(ended: Ended, rows: int) -> Line:
    """From the end of the check to the summary."""
    checked, summary = ended.said("checked"), ended.lines[-1]
    known = summary.cpu is not None and checked.cpu is not None
    cpu = (summary.cpu or 0.0) - (checked.cpu or 0.0) if known else None
    return Line("sending", rows, summary.seconds - checked.seconds, cpu)


def _again(bench: Bench, rows: int, state: Path) -> Ended:
    ended = bench.run(bench.mapping(rows), state)
    summary = ended.lines[-1].data()
    if summary["requests"] or summary["events"]["already_delivered"] != rows:
        raise BenchError(f"a rerun sent something: {ended.lines[-1].text}")
    return ended


def _remember(bench: Bench, name: str, count: int, before: int = 0) -> dict[str, Any]:
    """What `tests.bench.memory` prints, and `size`: bytes an event on disk."""
    folder = bench.new_state()
    folder.mkdir(mode=0o700)
    rest = [str(before)] if before else []
    ended = watch([sys.executable, "-m", "tests.bench.memory", name, folder, str(count), *rest])
    size = sum(path.stat().st_size for path in folder.iterdir() if "db" in path.name)
    shutil.rmtree(folder)
    return {**ended.lines[-1].data(), "size": size / (count + before)}


def _best(bench: Bench) -> str:
    return f"; best of {bench.sizes.rounds}, in turn" if bench.sizes.rounds > 1 else ""
