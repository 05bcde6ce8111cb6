"""A ledger that is damaged, restored, without its log, looked at, locked: through the real command."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from backfill.ledger import LEDGER_FILE, LOCK_FILE, Ledger, Target
from backfill.sandbox import SandboxThread
from tests.end_to_end.conftest import Start
from tests.end_to_end.support import STORE, Shop, eventually, finish, kill
from tests.faults.harness import ROOT
from tests.faults.shim import Shim, calls

BULK = {"endpoint": "bulk"}


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2 + 100)


def overwrite(file: Path) -> None:
    with file.open("r+b") as open_file:
        for place in range(4_096, file.stat().st_size, 4_096):
            open_file.seek(place)
            open_file.write(random.Random(place).randbytes(600))


def make_newer(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE meta SET value = '7.1.0' WHERE key = 'release'")
        database.execute("PRAGMA user_version = 7")


def make_anothers(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE precious (id)")


DAMAGE: dict[str, tuple[int, Callable[[Path], object]]] = {
    "cut": (74, cut),
    "overwritten": (74, overwrite),
    "empty": (74, lambda file: os.truncate(file, 0)),
    "no database": (74, lambda file: file.write_bytes(b"order_id,email\n" * 600)),
    "of another program": (74, make_anothers),
    "of a newer release": (78, make_newer),
}


@pytest.mark.slow
def test_a_ledger_that_is_of_no_use_stays_until_the_user_moves_it(shop: Shop, box: SandboxThread) -> None:
    ids = shop.orders(300)
    shop.mapping(delivery=BULK)
    shop.deliver()
    ledger = shop.state / LEDGER_FILE
    whole = ledger.read_bytes()
    for name, (status, damage) in DAMAGE.items():
        for leftover in shop.state.glob(f"{LEDGER_FILE}*"):
            leftover.unlink()
        ledger.write_bytes(whole)
        damage(ledger)
        before = ledger.read_bytes()
        done = shop.do("run", "orders.yaml", status=status)
        assert str(ledger) in done.err, name
        assert len(done.err.splitlines()) == 2, (name, done.err)
        assert ("7.1.0" if status == 78 else "by hand") in done.err, name
        assert done.out == ""
        assert ledger.read_bytes() == before, name
    assert shop.do("status", "orders.yaml", status=78).out == ""
    cut(ledger)
    assert "by hand" in shop.do("status", "orders.yaml", status=74).err
    assert box.summary().requests == 3

    # What the message says to do.
    for leftover in shop.state.glob(f"{LEDGER_FILE}*"):
        leftover.rename(shop.folder / leftover.name)
    assert shop.deliver().events == {"total": 300, "accepted": 300}
    seen = box.summary()
    assert (seen.stored, seen.duplicates, seen.differing) == (300, 300, 0)
    assert box.ids(STORE) == ids


@pytest.mark.slow
def test_yesterdays_copy_goes_twice_at_most(shop: Shop, box: SandboxThread) -> None:
    shop.mapping(delivery=BULK)
    shop.orders(100)
    shop.deliver()
    shutil.copy(shop.state / LEDGER_FILE, shop.folder / "yesterday.db")
    ids = shop.orders(250)
    shop.deliver()
    shutil.copy(shop.folder / "yesterday.db", shop.state / LEDGER_FILE)
    assert shop.deliver().events == {"total": 250, "already_delivered": 100, "accepted": 150}
    seen = box.summary()
    assert (box.ids(STORE), seen.duplicates, seen.differing) == (ids, 150, 0)
    assert shop.deliver().summary["requests"] == 0


@pytest.fixture
def killed(shop: Shop, start: Start) -> tuple[Shop, SandboxThread, set[str]]:
    """A shop whose run was killed: 100 events of a run before are in its ledger, some more in the log."""
    box = start("latency=20")
    shop.env["REDO_BASE_URL"] = box.base_url
    shop.mapping(delivery=BULK)
    shop.orders(100)
    shop.deliver()
    ids = shop.orders(400)
    process = shop.start("run", "orders.yaml", "--endpoint", "single", "--concurrency", "4", "--rate", "5000")
    eventually(lambda: box.summary().requests > 40, "some requests", process)
    assert kill(process)
    assert (shop.state / f"{LEDGER_FILE}-wal").stat().st_size > 0
    # What was in flight is stored nevertheless, a little later.
    time.sleep(0.1)
    while (seen := box.summary()).requests > sum(seen.statuses.values()):
        time.sleep(0.01)
    return shop, box, ids


def test_a_log_that_is_lost_goes_twice_at_most(killed: tuple[Shop, SandboxThread, set[str]]) -> None:
    shop, box, ids = killed
    before = box.summary().stored
    (shop.state / f"{LEDGER_FILE}-wal").unlink()
    (shop.state / f"{LEDGER_FILE}-shm").unlink()
    assert shop.deliver().events == {"total": 400, "already_delivered": 100, "accepted": 300}
    seen = box.summary()
    assert (box.ids(STORE), seen.duplicates, seen.differing) == (ids, before - 100, 0)


def test_a_log_of_another_ledger_is_noticed(killed: tuple[Shop, SandboxThread, set[str]]) -> None:
    shop, box, ids = killed
    log = shop.state / f"{LEDGER_FILE}-wal"
    other = shop.state / "other"
    shop.do("run", "orders.yaml", "--state", other)
    before = (other / LEDGER_FILE).read_bytes()
    arrived = box.summary().requests
    shutil.copy(log, other / log.name)
    (other / f"{LEDGER_FILE}-shm").unlink(missing_ok=True)
    assert "by hand" in shop.do("run", "orders.yaml", "--state", other, status=74).err
    assert (other / LEDGER_FILE).read_bytes() == before
    assert box.summary().requests == arrived
    assert box.ids(STORE) == ids


def test_a_network_disk_is_said(shim: Shim, shop: Shop, box: SandboxThread) -> None:
    shop.orders(5)
    shop.mapping(delivery=BULK)
    mounts = shop.write("mounts", f"/dev/sda1 / ext4 rw 0 0\nfiles:/export {shop.folder} nfs4 rw 0 0\n")
    env = {**shop.env, **shim.mounts(mounts)}
    said = shop.do("run", "orders.yaml", env=env).err
    assert "note: the state folder" in said
    assert "network file system (nfs4)" in said
    notes = [json.loads(line) for line in shop.do("run", "orders.yaml", "--json", env=env).out.splitlines()]
    assert any(note["type"] == "note" and "nfs4" in note["text"] for note in notes)
    assert "network" not in shop.do("run", "orders.yaml").err


@pytest.mark.slow
def test_the_lock_is_its_holders_as_long_as_it_lives(shop: Shop, start: Start) -> None:
    box = start("latency=100")
    shop.env["REDO_BASE_URL"] = box.base_url
    ids = shop.orders(60)
    shop.mapping()

    def timed(*words: str, status: int) -> float:
        began = time.monotonic()
        shop.do("run", *words, status=status)
        return time.monotonic() - began

    process = shop.start("run", "orders.yaml", "--concurrency", "2", "--rate", "5000")
    eventually(lambda: box.summary().requests > 4, "some requests", process)
    start_up = timed("missing.yaml", status=78)
    # Stopped, as by Ctrl-Z or a debugger, it still holds it.
    process.send_signal(signal.SIGSTOP)
    assert timed("orders.yaml", status=11) < 2 * start_up + 1
    assert f"process {process.pid} " in shop.do("run", "orders.yaml", status=11).err
    process.send_signal(signal.SIGCONT)
    eventually(lambda: box.summary().requests > 10, "more requests", process)
    assert kill(process)
    # What it left in the file locks nobody out.
    assert f'"pid": {process.pid}' in (shop.state / LOCK_FILE).read_text()
    assert shop.deliver("--endpoint", "bulk").events["total"] == 60
    assert box.ids(STORE) == ids


def test_a_lock_that_is_removed_under_a_run_stops_it(shop: Shop, start: Start) -> None:
    box = start("latency=50")
    shop.env["REDO_BASE_URL"] = box.base_url
    ids = shop.orders(400)
    shop.mapping()
    first = shop.start("run", "orders.yaml", "--concurrency", "2", "--rate", "5000")
    eventually(lambda: box.summary().requests > 10, "some requests", first)
    (shop.state / LOCK_FILE).unlink()
    done = finish(first, 74)
    assert "removed or replaced" in done.err
    assert box.summary().stored < 200
    seen = box.summary().stored
    run = shop.deliver("--endpoint", "bulk")
    assert run.events["already_delivered"] >= seen - 2 * 2
    assert box.ids(STORE) == ids


@pytest.mark.slow
def test_those_who_look_are_answered_and_hold_up_nobody(shop: Shop, start: Start) -> None:
    box = start("latency=30")
    shop.env["REDO_BASE_URL"] = box.base_url
    shop.orders(3, "few.csv", 5_000)
    shop.mapping("few.yaml", "few.csv", delivery=BULK)
    last = shop.deliver(mapping="few.yaml").folder
    ids = shop.orders(300)
    shop.mapping()
    process = shop.start("run", "orders.yaml", "--concurrency", "2", "--rate", "5000")
    eventually(lambda: box.summary().requests > 10, "some requests", process)
    rounds, known = 0, [0]
    while process.poll() is None:
        looks = [shop.start(*words, "orders.yaml") for words in (["status"], ["status", "--json"], ["report"])]
        looks.append(shop.start("check", "orders.yaml"))
        outs = [finish(look, 0).out for look in looks]
        assert "nothing was sent" not in outs[0]
        known.append(json.loads(outs[1])["stores"][0]["accepted"]["Order Placed"])
        assert Path(outs[2].strip()).parent in {last, *shop.run_folders()}
        rounds += 1
    finish(process, 0)
    assert rounds >= 2
    assert known == sorted(known)
    assert box.ids(STORE) == ids | {f"order:{5_000 + i}" for i in range(3)}
    assert box.summary().duplicates == 0


# ------------------------------------------------------------------------------------- the WAL-reset bug of SQLite


CHANGES = {"write", "truncate", "unlink", "rename"}


def changes_by_looking(shim: Shim, shop: Shop, log: Path) -> set[str]:
    """What `status`, `check` and `report` change of the ledger: calls on the database and its log."""
    log.unlink(missing_ok=True)
    env = {**shop.env, **shim.counting(shop.state, log)}
    shop.usual["LD_PRELOAD"] = env["LD_PRELOAD"]
    for words in (["status"], ["check"], ["report"]):
        shop.do(*words, "orders.yaml", env=env, status=None)
    assert any(call.file == f"{LEDGER_FILE}-shm" for call in calls(log))
    return {
        f"{call.name} {call.file}"
        for call in calls(log)
        if call.name in CHANGES and call.file in (LEDGER_FILE, f"{LEDGER_FILE}-wal", f"{LEDGER_FILE}-journal")
    }


@pytest.mark.slow
def test_who_looks_never_touches_database_or_log(
    shim: Shim, killed: tuple[Shop, SandboxThread, set[str]], tmp_path: Path
) -> None:
    shop, _, ids = killed
    log = tmp_path / "calls"
    files = [shop.state / LEDGER_FILE, shop.state / f"{LEDGER_FILE}-wal"]
    before = [file.read_bytes() for file in files]
    # The first and the last to have it open, with a log that a killed run left: neither folded in, nor cut, nor removed.
    assert changes_by_looking(shim, shop, log) == set()
    assert [file.read_bytes() for file in files] == before
    # Beside a run, and after its end.
    with Ledger.open(shop.state, Target(shop.env["REDO_BASE_URL"], STORE)):
        assert changes_by_looking(shim, shop, log) == set()
    assert changes_by_looking(shim, shop, log) == set()
    assert shop.deliver().events["total"] == len(ids)


WRITER = """
    import sys
    from pathlib import Path
    from backfill.ledger import Ledger, RunInfo, Target, content, key
    from backfill.records import Events, Outcome

    with Ledger.open(Path(sys.argv[1]), Target("https://api.example.com", "s")) as ledger:
        # A checkpoint every few pages, and so a log that begins anew as often as the readers let it.
        ledger._store.connection.execute("PRAGMA wal_autocheckpoint = 3")
        run = ledger.begin_run(RunInfo("m"))
        for start in range(0, int(sys.argv[2]), 20):
            keys = [key(f"order:{number}") for number in range(start, start + 20)]
            events = Events([b""] * 20, [""] * 20, keys, keys, ["Order Placed"] * 20, [0] * 20, [0] * 20)
            ledger.record([Outcome(events, accepted=range(20))], run)
"""
READER = """
    import sys
    from pathlib import Path
    from backfill.ledger import Ledger, Target, key

    seen = 0
    while True:
        with Ledger.read(Path(sys.argv[1]), Target("https://api.example.com", "s")) as ledger:
            count = sum(ledger.totals().accepted.values())
            assert count >= seen, (count, seen)
            seen = count
            assert len(ledger.find([key(f"order:{number}") for number in range(seen)])) == seen
            print(seen, flush=True)
"""


@pytest.mark.slow
def test_a_writer_with_many_checkpoints_and_many_readers(tmp_path: Path) -> None:
    state, events = tmp_path / "state", 20_000
    Ledger.open(state, Target("https://api.example.com", "s")).close()

    def process(text: str, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", textwrap.dedent(text), str(state), *words]
        return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    readers = [process(READER) for _ in range(3)]
    writer = process(WRITER, str(events))
    try:
        finish(writer, 0)
        counts = []
        for reader in readers:
            assert reader.poll() is None, reader.communicate()
            reader.kill()
            counts.append([int(line) for line in reader.communicate()[0].split()])
    finally:
        for one in (*readers, writer):
            one.kill()
            one.communicate()
    # They did meet.
    assert all(len(set(seen)) > 3 for seen in counts)
    with Ledger.open(state, Target("https://api.example.com", "s")) as ledger:
        ledger.check_integrity()
        assert ledger.totals().accepted == {"Order Placed": events}
    print(f"SQLite {sqlite3.sqlite_version}: {[len(seen) for seen in counts]} looks while {events} were recorded")
