"""Signals at any moment, terminals and readers that go away, clocks that jump, a machine that sleeps."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import random
import select
import signal
import termios
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from backfill.ledger import Ledger
from backfill.sandbox import Faults, SandboxThread
from tests.end_to_end.conftest import Start
from tests.end_to_end.support import STORE, Run, Shop, balanced, eventually, finish
from tests.faults.shim import SIGNALS, Call, Shim, calls
from tests.faults.test_disk import Forks, count_calls, forks, scene

__all__ = ["forks"]

STATUS = {"SIGINT": 130, "SIGTERM": 143}


def try_signal(shim: Shim, run: Forks, folder: Path, number: int, name: str, *, reporting: bool) -> int:
    """A run with a signal at a call that changes the disk, what it says, and the run after it."""
    with scene(folder, "bulk") as small:
        log = folder / "calls"
        done = run(small, shim.at(small.shop.state, log, number, name))
        where = f"{name} at call {number}, {calls(log)[number - 1 :][:1]}: {done.status}, {done.err}"
        # A run that writes its report has nothing left to interrupt: it ends as it would have.
        assert done.status in ({STATUS[name], 3} if reporting else {STATUS[name]}), where
        if reporting:
            assert [list(small.shop.state.glob(f"runs/*/{one}")) != [] for one in ("report.html", "summary.json")] == [
                True,
                True,
            ], where
        with Ledger.read(small.shop.state) as ledger:
            ledger.check_integrity()
            ended = [one.exit_status for one in ledger.runs()]
        for left in small.shop.run_folders():
            # Whole files or none.
            if (left / "summary.json").exists():
                balanced(json.loads((left / "summary.json").read_text()))
            if (left / "report.html").exists():
                assert (left / "report.html").read_text().rstrip().endswith("</html>"), where
        before = dict(small.api.taken)
        recorded = small.accepted() if ended else set()
        again = run(small, {})
        assert again.status == 3, (where, again)
        # What is in flight at a signal is waited for: nothing goes twice.
        assert Counter(small.api.taken) == Counter(small.ids), where
        assert set(before) == recorded, where
        return done.status


def first_of_each_kind(found: list[Call]) -> list[int]:
    return [found.index(call) + 1 for call in dict.fromkeys(found)]


@pytest.mark.slow
@pytest.mark.parametrize("reporting", [False, True])
def test_a_signal_at_a_call_that_changes_the_disk(shim: Shim, forks: Forks, tmp_path: Path, reporting: bool) -> None:
    found = count_calls(shim, forks, tmp_path / "counted", "bulk")
    # When nothing is waited for any more, nothing is left to interrupt.
    last = (".report.html", "waiting.json")
    report = next(i for i, call in enumerate(found, 1) if any(name in call.file for name in last))
    points = [number for number in first_of_each_kind(found) if (number >= report) == reporting]
    chance = random.Random(reporting)
    with ThreadPoolExecutor(2) as two:
        jobs = [
            two.submit(try_signal, shim, forks, tmp_path / f"{number}-{name}", number, name, reporting=reporting)
            for number in points
            for name in (SIGNALS if reporting else [chance.choice(SIGNALS)])
        ]
        print(f"{len(found)} calls, {len(jobs)} signals: {dict(Counter(job.result() for job in jobs))}")


@pytest.mark.slow
def test_a_server_that_hangs_is_waited_for_20_seconds(shop: Shop, start: Start) -> None:
    box = start("hang_stored=100%,hang_seconds=100")
    shop.env["REDO_BASE_URL"] = box.base_url
    ids = shop.orders(30)
    shop.mapping()
    running = []
    # Each with a ledger and a store of its own, at the same time.
    for name, store, words in (("SIGINT", "a" * 24, ["--json"]), ("SIGTERM", "b" * 24, ["--quiet"])):
        before = box.summary().stored
        options = ["--state", name, "--store", store]
        process = shop.start("run", "orders.yaml", "--concurrency", "4", *options, *words)
        eventually(lambda before=before: box.summary().stored == before + 4, "requests in flight", process)
        process.send_signal(getattr(signal, name))
        running.append((name, store, options, process, time.monotonic()))
    for name, store, _, process, since in running:
        done = finish(process, STATUS[name])
        assert 19 < time.monotonic() - since < 45
        (folder,) = shop.run_folders(shop.folder / name)
        assert Run.read(folder, done).events == {"total": 30, "pending": 30}
        assert "run the same command again" in done.err
        if name == "SIGINT":
            assert json.loads(done.out.splitlines()[-1])["exit"] == STATUS[name]
        assert f"exit {STATUS[name]}" in shop.do("status", "orders.yaml", "--state", name).out
        assert len(box.ids(store)) == 4
    box.set_faults(Faults())
    for _, store, options, *_ in running:
        shop.do("run", "orders.yaml", "--endpoint", "bulk", *options)
        assert box.ids(store) == ids
    assert box.summary().duplicates == 8


class Terminal:
    """A terminal with a run at it that has asked whether it may send."""

    def __init__(self, shop: Shop) -> None:
        self.mine, theirs = pty.openpty()
        self.heard = b""

        def take() -> None:
            os.setsid()
            fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
            # What is tried is a terminal that fails; the signal that its end sends besides would end the run.
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

        self.process = shop.start("run", "orders.yaml", stdin=theirs, stderr=theirs, preexec_fn=take)
        os.close(theirs)
        self.hear(b"Send them?")
        time.sleep(0.5)  # from what it says to where it waits for an answer

    def hear(self, what: bytes) -> None:
        """Listen until it says that, or ends."""
        while what not in self.heard:
            assert select.select([self.mine], [], [], 60)[0], self.heard
            try:
                self.heard += os.read(self.mine, 4096)
            except OSError:
                break

    def end(self, status: int) -> str:
        """Have it end within some seconds, though nobody presses Enter; what it said."""
        done = finish(self.process, status, 20)
        with contextlib.suppress(OSError):
            self.hear(b"\0")
            os.close(self.mine)
        return done.out + self.heard.decode()


@pytest.mark.parametrize(
    "how",
    [
        "SIGTERM",
        "SIGINT",
        "ctrl-c",
        "ctrl-d",
        "gone",
    ],
)
def test_interrupted_while_it_asks(shop: Shop, box: SandboxThread, how: str) -> None:
    shop.orders(30)
    shop.mapping(delivery={"flows": ...})
    terminal = Terminal(shop)
    match how:
        case "ctrl-c":
            os.write(terminal.mine, b"\x03")
        case "ctrl-d":
            os.write(terminal.mine, b"\x04")
        case "gone":
            os.close(terminal.mine)
        case _:
            terminal.process.send_signal(getattr(signal, how))
    # No answer is no consent.
    status = {"SIGTERM": 143, "SIGINT": 130, "ctrl-c": 130}.get(how, 2)
    said = terminal.end(status)
    assert "Traceback" not in said
    assert box.summary().requests == 0
    (folder,) = shop.run_folders()
    events = balanced(json.loads((folder / "summary.json").read_text()))["events"]
    assert events["pending"] == events["total"] == 30
    assert f"exit {status}" in shop.do("status", "orders.yaml").out


def test_a_terminal_that_goes_away_stops_no_run(shop: Shop, start: Start) -> None:
    box = start("latency=30")
    shop.env["REDO_BASE_URL"] = box.base_url
    ids = shop.orders(200)
    shop.mapping()
    mine, theirs = pty.openpty()
    process = shop.start(
        "run", "orders.yaml", "--concurrency", "4", "--rate", "5000", stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    heard = b""
    while box.summary().requests < 40:
        assert process.poll() is None, heard
        if select.select([mine], [], [], 0.05)[0]:
            heard += os.read(mine, 4096)
    assert b"200 events" in heard
    os.close(mine)
    done = finish(process, 0)
    (folder,) = shop.run_folders()
    assert Run.read(folder, done).events == {"total": 200, "accepted": 200}
    assert box.ids(STORE) == ids


@pytest.mark.slow
def test_a_reader_that_goes_away_stops_no_run(shop: Shop, start: Start) -> None:
    box = start("latency=60")
    shop.env["REDO_BASE_URL"] = box.base_url
    ids = shop.orders(200)
    shop.mapping()
    process = shop.start("run", "orders.yaml", "--json", "--concurrency", "4", "--rate", "5000")
    assert process.stdout is not None
    assert process.stderr is not None
    assert json.loads(process.stdout.readline())["type"]
    eventually(lambda: box.summary().requests > 20, "some requests", process)
    process.stdout.close()
    process.stderr.close()
    assert process.wait(60) == 0
    (folder,) = shop.run_folders()
    assert balanced(json.loads((folder / "summary.json").read_text()))["events"]["accepted"] == 200
    assert box.ids(STORE) == ids


def set_clock(link: Path, seconds: int) -> None:
    new = link.with_name("new")
    new.symlink_to(str(seconds))
    new.replace(link)


@pytest.mark.slow
@pytest.mark.parametrize("hours", [[-5], [30 * 24, -48]])
def test_a_clock_that_jumps_while_it_sends(shim: Shim, shop: Shop, start: Start, hours: list[int]) -> None:
    box = start("503=20%,429=5%,retry_after=1,seed=4")
    shop.env["REDO_BASE_URL"] = box.base_url
    ids = shop.orders(60)
    shop.mapping()
    link = shop.folder / "clock"
    began = time.monotonic()
    process = shop.start("run", "orders.yaml", "--rate", "40", "--json", env={**shop.env, **shim.clock(link)})
    for number, one in enumerate(hours):
        eventually(lambda number=number: box.summary().requests > 10 + 20 * number, "some requests", process)
        set_clock(link, one * 3_600)
    done = finish(process, 0)
    # 60 requests and their retries at 40 in a second: neither all at once, nor hours later.
    assert 1 < time.monotonic() - began < 45
    assert box.summary().busiest_second[STORE] <= 40 + 10 + 1
    (folder,) = shop.run_folders()
    run = Run.read(folder, done)
    assert run.events == {"total": 60, "accepted": 60}
    assert run.summary["retries"] > 0
    assert box.ids(STORE) == ids
    assert box.summary().duplicates == 0
    # It did jump.
    shift = datetime.fromisoformat(run.summary["finished"]) - datetime.fromisoformat(run.summary["started"])
    assert abs(shift - timedelta(hours=hours[-1])) < timedelta(minutes=2)
    # With the clock as it is by then, and with the right one again, all that is delivered is known.
    for clock in (shim.clock(link), {}):
        again = shop.do("run", "orders.yaml", "--json", env={**shop.env, **clock})
        assert json.loads(again.out.splitlines()[-1])["requests"] == 0
    assert "accepted" in shop.do("status", "orders.yaml").out


@pytest.mark.slow
def test_a_machine_that_sleeps_for_a_while(shop: Shop, start: Start) -> None:
    box = start("latency=100±100")
    shop.env["REDO_BASE_URL"] = box.base_url
    ids = shop.orders(120)
    shop.mapping()
    process = shop.start("run", "orders.yaml", "--concurrency", "8", "--rate", "500")
    eventually(lambda: box.summary().requests > 20, "some requests", process)
    process.send_signal(signal.SIGSTOP)
    time.sleep(1.5)
    process.send_signal(signal.SIGCONT)
    done = finish(process, 0)
    (folder,) = shop.run_folders()
    assert Run.read(folder, done).events == {"total": 120, "accepted": 120}
    assert box.ids(STORE) == ids
    assert box.summary().differing == 0
