"""Do the stages of sending work at the same time? One bulk delivery in this process, its stages' calls timed.

    python -m tests.bench.trace [--rows N] [--out trace.json] [--json]

Prints, for the time from the first request to the last, how long each stage was at work, and draws a second of it. `--out`
writes all calls for chrome://tracing or https://ui.perfetto.dev. A stage is at work while a call of it goes on, in
whichever thread; sending, while a request is on its way.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.export import make_orders, write_mapping
from tests.bench.sink import sink

__all__ = ["STAGES", "Call", "Span", "busy", "chrome", "overlapping", "timeline", "together"]

STAGES = ("read", "shape", "pack", "send", "record")
ROWS = 200_000
CELLS = 100

Span = tuple[float, float]
"""From when to when, in seconds."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a stage, and the thread it was in."""

    stage: str
    span: Span
    thread: int


class Calls(list[Call]):
    """The calls that were made; `timed` makes a function that adds its own."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: dict[int, str] = {}

    def add(self, stage: str, began: float) -> None:
        """A call that ends now."""
        thread = threading.current_thread()
        ident = threading.get_ident()
        self.threads[ident] = thread.name
        self.append(Call(stage, (began, time.perf_counter()), ident))

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function."""

        @functools.wraps(function)
        def call(*args: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **named)
            finally:
                self.add(stage, began)

        return call

    def timed_steps(self, stage: str, function: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        """The generator function: a call for each of its steps."""

        @functools.wraps(function)
        def steps(*args: Any, **named: Any) -> Iterator[Any]:
            step = self.timed(stage, functools.partial(next, function(*args, **named), steps))
            while (one := step()) is not steps:
                yield one

        return steps

    def timed_task(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The coroutine function."""

        @functools.wraps(function)
        async def task(*args: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return await function(*args, **named)
            finally:
                self.add(stage, began)

        return task


def watched() -> Calls:
    """From now on, in this process, the calls of all stages."""
    from backfill import pipeline, survey
    from backfill.ledger import Ledger
    from backfill.read import Export
    from backfill.send import Sender
    from backfill.shape import Shaper

    calls, pack = Calls(), survey.events_of
    patches: list[tuple[Any, str, Any]] = [
        (Export, "chunks", calls.timed_steps("read", Export.chunks)),
        (Shaper, "shape", calls.timed("shape", Shaper.shape)),
        (Sender, "deliver", calls.timed_task("send", Sender.deliver)),
        (Ledger, "record", calls.timed("record", Ledger.record)),
        (survey, "events_of", calls.timed("pack", pack)),
        (pipeline, "events_of", calls.timed("pack", pack)),
    ]
    for place, name, function in patches:
        setattr(place, name, function)
    return calls


def merged(spans: Sequence[Span], within: Span) -> list[Span]:
    """The times that the spans cover, in order, none twice."""
    result: list[Span] = []
    for start, stop in sorted((max(start, within[0]), min(stop, within[1])) for start, stop in spans):
        if start >= stop:
            continue
        if result and start <= result[-1][1]:
            result[-1] = result[-1][0], max(stop, result[-1][1])
        else:
            result.append((start, stop))
    return result


def busy(spans: Sequence[Span], within: Span) -> float:
    """For how long at least one of the spans went on."""
    return sum(stop - start for start, stop in merged(spans, within))


def together(stages: Sequence[Sequence[Span]], within: Span) -> float:
    """For how long at least two of the stages were at work."""
    edges = [
        edge for spans in stages for start, stop in merged(spans, within) for edge in ((start, 1), (stop, -1))
    ]  # fmt: skip
    total, at_work, since = 0.0, 0, 0.0
    for moment, change in sorted(edges):
        if at_work >= 2:
            total += moment - since
        at_work, since = at_work + change, moment
    return total


def overlapping(spans: Sequence[Span], others: Sequence[Span]) -> int:
    """How many of the spans share a moment with one of the others."""
    return sum(any(start < end and begin < stop for begin, end in others) for start, stop in spans)


def timeline(stages: dict[str, list[Span]], within: Span) -> str:
    """A row a stage: `#` where it was at work for most of the time, `-` for less, a blank for not at all."""
    step = (within[1] - within[0]) / CELLS
    rows = []
    for stage, spans in stages.items():
        cells = ""
        for i in range(CELLS):
            cell = within[0] + i * step, within[0] + (i + 1) * step
            share = busy(spans, cell) / step
            cells += "#" if share > 0.5 else "-" if share else " "
        rows.append(f"{stage:>8} |{cells}|")
    return "\n".join(rows)


def chrome(calls: Calls) -> dict[str, Any]:
    """The calls as chrome://tracing and Perfetto read them. Requests overlap in one thread: they are its tasks."""
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "thread_name", "pid": 1, "tid": ident, "args": {"name": name}}
        for ident, name in calls.threads.items()
    ]
    for number, call in enumerate(calls):
        begin, end = (round(moment * 1e6) for moment in call.span)
        event = {"name": call.stage, "cat": call.stage, "pid": 1, "tid": call.thread, "ts": begin}
        if call.stage == "send":
            events += [{**event, "ph": "b", "id": number}, {**event, "ph": "e", "id": number, "ts": end}]
        else:
            events.append({**event, "ph": "X", "dur": end - begin})
    return {"traceEvents": events}


def delivered(folder: Path, rows: int) -> Calls:
    """Send an export of so many rows in bulk into a sink, in this process."""
    from backfill.observer import Observer
    from backfill.run import run
    from backfill.settings import Flags

    mapping = write_mapping(folder, make_orders(folder, rows))
    os.environ["REDO_API_SECRET"] = "bench"
    calls = watched()
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
        flags = Flags(
            store="bench", base_url=stack.enter_context(sink(place)).base_url, endpoint="bulk", rate=100_000,
            concurrency=64, yes=True, state=place / "state",
        )  # fmt: skip
        accepted = run(mapping, flags, Observer()).summary["events"]["accepted"]
    if accepted != rows:
        raise SystemExit(f"{accepted:,} of {rows:,} events were accepted: it shows nothing")
    return calls


def figures(calls: Calls) -> tuple[dict[str, Any], dict[str, list[Span]], Span]:
    """What was found, the spans of each stage, and when requests were sent."""
    stages = {stage: [call.span for call in calls if call.stage == stage] for stage in STAGES}
    sending = min(start for start, _ in stages["send"]), max(stop for _, stop in stages["send"])
    on_the_way = merged(stages["send"], sending)
    # A chunk has been read and shaped before there are requests of it: what is on its way then is of chunks before.
    chunks = {stage: [span for span in stages[stage] if span[1] > sending[0]] for stage in ("read", "shape")}
    found = {
        "seconds": sending[1] - sending[0],
        "busy": {stage: busy(spans, sending) for stage, spans in stages.items()},
        "together": together(list(stages.values()), sending),
        "chunks": len(chunks["shape"]),
        "ahead": min(overlapping(spans, on_the_way) for spans in chunks.values()),
    }
    return found, stages, sending


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.trace", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS, help="the export's, of which each is an event")
    parser.add_argument("--folder", type=Path, help="where the export is, or is made; else one that is deleted")
    parser.add_argument("--out", type=Path, metavar="FILE", help="all calls, for chrome://tracing or Perfetto")
    parser.add_argument("--json", action="store_true", help="the figures as one JSON object")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="backfill-trace-") as temporary:
        calls = delivered(chosen.folder or Path(temporary), chosen.rows)
    found, stages, sending = figures(calls)
    if chosen.out:
        chosen.out.write_text(json.dumps(chrome(calls)), encoding="utf-8")
    if chosen.json:
        print(json.dumps(found))
        return 0
    seconds, middle = found["seconds"], sum(sending) / 2
    print(f"{chosen.rows:,} events sent within {seconds:.2f} s, from the first request to the last; of these")
    for stage, took in found["busy"].items():
        print(f"{stage:>8}  {took:6.2f} s at work, {took / seconds:4.0%}")
    print(f"two stages or more at work: {found['together'] / seconds:.0%} of the time")
    print(f"chunks read or shaped while requests of others were in flight: {found['ahead']} of {found['chunks']}")
    half = min(1.0, seconds) / 2
    print(f"\n{half * 2:.2f} s in the middle, {half * 20:.0f} ms a character:")
    print(timeline(stages, (middle - half, middle + half)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
