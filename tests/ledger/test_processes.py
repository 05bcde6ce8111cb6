"""Runs that are killed, runs that meet, and those who look on."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from backfill.errors import BugError, LockedError, StorageError
from backfill.ledger import LOCK_FILE, Ledger, RunInfo, Target, key
from backfill.ledger.lock import Holder, holder, network_filesystem
from backfill.records import Outcome
from tests.ledger.conftest import Ledgers

Recorder = Callable[..., "subprocess.Popen[str]"]
Accept = Callable[..., Outcome]


def lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(count)]


def kill(process: subprocess.Popen[str]) -> list[str]:
    """Kills it without a warning; gives what it had still said."""
    process.kill()
    assert process.wait() == -signal.SIGKILL
    # Not `communicate`, which reads past what `readline` has taken from the pipe already.
    assert process.stdout is not None
    return process.stdout.read().split()


def kill_while_recording(ledgers: Ledgers, recorder: Recorder, state: Path, target: Target, seeds: range) -> None:
    """Kills a run per seed, at any moment; what each had said to be recorded must be there, of all of them."""
    done: dict[int, int] = {}
    for seed in seeds:
        chance = random.Random(seed)
        first = seed * 1_000_000
        process = recorder(first, chance.choice([1, 7, 100, 1_000]), first + 1_000_000, url=ledgers.url(state))
        assert lines(process, 1) == ["begun"]
        said = lines(process, chance.randrange(40))
        time.sleep(chance.random() * 0.01)
        said += kill(process)
        done[first] = int(said[-1]) if said else first
        # Every other time the next run opens the log as it was left, or a reader is there before it.
        if seed % 2:
            with ledgers.read(state, target) as ledger:
                ledger.check_integrity()
    with ledgers.open(state, target) as ledger:
        ledger.check_integrity()
        found = 0
        for first, end in done.items():
            ids = [f"order:{number}" for number in range(first, end)]
            assert len(ledger.find([key(text) for text in ids])) == len(ids)
            found += len(ids)
        # A batch whose commit was under way may be there too; no part of one.
        assert found <= sum(ledger.totals().accepted.values()) <= found + 1_000 * len(done)
        assert len(ledger.totals().unended) == len(done)


def test_a_kill_loses_nothing_that_was_recorded(
    ledgers: Ledgers, recorder: Recorder, state: Path, target: Target
) -> None:
    kill_while_recording(ledgers, recorder, state, target, range(4))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_many_kills_lose_nothing_that_was_recorded(
    ledgers: Ledgers, recorder: Recorder, state: Path, target: Target
) -> None:
    kill_while_recording(ledgers, recorder, state, target, range(100, 112 if ledgers.kind == "sqlite" else 105))


def test_a_second_run_is_turned_away_at_once(ledgers: Ledgers, recorder: Recorder, state: Path, target: Target) -> None:
    first = recorder(0, 10, 10, "hold", ledgers.url(state))
    assert lines(first, 2) == ["begun", "10"]
    began = time.monotonic()
    with pytest.raises(LockedError) as caught:
        ledgers.open(state, target)
    assert time.monotonic() - began < 1
    assert caught.value.status == 11
    assert f"process {first.pid} on {socket.gethostname()}" in str(caught.value)
    assert ", since 20" in str(caught.value)
    assert f"kill {first.pid}" in caught.value.hint
    # The one that was turned away left the name as it was.
    if ledgers.kind == "sqlite":
        named = holder(state)
        assert named is not None
        assert named.pid == first.pid
    with ledgers.read(state, target) as ledger:
        (run,) = ledger.runs(5)
        assert run.running
        assert ledger.totals().unended == ()

    kill(first)
    assert ledgers.kind != "sqlite" or holder(state) is None
    with ledgers.open(state, target) as ledger:
        (run,) = ledger.runs(5)
        assert not run.running
        assert [run.run for run in ledger.totals().unended] == [run.run]


def test_a_run_that_ends_gives_the_lock_back(ledgers: Ledgers, recorder: Recorder, state: Path, target: Target) -> None:
    first = recorder(0, 10, 10, url=ledgers.url(state))
    first.communicate(timeout=20)
    assert first.returncode == 0
    assert holder(state) is None
    with ledgers.open(state, target) as ledger, pytest.raises(LockedError, match=str(os.getpid())):
        ledgers.open(state, target)
    assert ledger.runs is not None
    ledgers.open(state, target).close()


def test_a_lock_file_left_behind_locks_nobody_out(state: Path, target: Target) -> None:
    state.mkdir()
    # It names a process that lives, as after a process id came round again.
    left = {"host": socket.gethostname(), "pid": os.getppid(), "since": "2020-01-01T00:00:00Z", "command": ""}
    (state / LOCK_FILE).write_text(json.dumps(left))
    Ledger.open(state, target).close()
    assert (state / LOCK_FILE).read_bytes() == b""


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', "\x00\xff"])
def test_a_lock_whose_file_says_nothing(state: Path, target: Target, text: str) -> None:
    with Ledger.open(state, target):
        (state / LOCK_FILE).write_text(text)
        began = time.monotonic()
        with pytest.raises(LockedError, match="has not named itself"):
            Ledger.open(state, target)
        assert time.monotonic() - began < 1


def test_a_lock_file_that_was_removed_stops_the_run(state: Path, target: Target, accept: Accept) -> None:
    with Ledger.open(state, target) as ledger:
        run = ledger.begin_run(RunInfo("m"))
        (state / LOCK_FILE).unlink()
        with pytest.raises(StorageError, match="removed"):
            ledger.record([accept(["a"])], run)
    with Ledger.open(state, target) as ledger:
        assert ledger.is_empty()


def test_a_run_that_lost_its_lock_leaves_the_log_to_the_other(state: Path, target: Target, accept: Accept) -> None:
    first = Ledger.open(state, target)
    first.record([accept(["a"])], first.begin_run(RunInfo("m")))
    (state / LOCK_FILE).unlink()
    with Ledger.open(state, target) as second:
        run = second.begin_run(RunInfo("m"))
        size = (state / "ledger.db-wal").stat().st_size
        assert size > 0
        # A checkpoint while another may commit is what must not be.
        first.close()
        assert (state / "ledger.db-wal").stat().st_size == size
        second.record([accept(["b"])], run)
        second.check_integrity()
        assert len(second.find([key("a"), key("b")])) == 2


def test_who_looks_can_neither_write_nor_checkpoint(state: Path, target: Target, accept: Accept) -> None:
    def size() -> int:
        return (state / "ledger.db-wal").stat().st_size

    with Ledger.open(state, target) as ledger:
        ledger.record([accept(["a"])], ledger.begin_run(RunInfo("m")))
        for folded_in in (False, True):
            if folded_in:
                ledger._store.connection.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
            before = size()
            assert before > 0
            for mode in ("PASSIVE", "FULL", "RESTART", "TRUNCATE"):
                with Ledger.read(state, target) as look:
                    assert look._store.connection is not None
                    for text in (f"PRAGMA wal_checkpoint({mode})", "PRAGMA wal_checkpoint", "DELETE FROM events"):
                        look._store.connection.execute("PRAGMA query_only = 0")
                        with pytest.raises(sqlite3.DatabaseError, match=r"not authorized|readonly"):
                            look._store.connection.execute(text).fetchall()
                assert size() == before
        ledger.check_integrity()


def test_a_lock_is_not_followed_out_of_the_folder(state: Path, target: Target, tmp_path: Path) -> None:
    state.mkdir()
    (tmp_path / "precious").write_text("untouched")
    (state / LOCK_FILE).symlink_to(tmp_path / "precious")
    with pytest.raises(StorageError):
        Ledger.open(state, target)
    assert (tmp_path / "precious").read_text() == "untouched"


def test_the_lock_names_the_program_and_not_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/backfill", "run", "orders.yaml", "--secret", "canary"])
    assert Holder.this_process().command == "backfill run"
    monkeypatch.setattr(sys, "argv", ["/usr/bin/backfill", "--secret=canary"])
    assert Holder.this_process().command == "backfill"


def _try_in_child(ledgers: Ledgers, ledger: Ledger, folder: Path, target: Target, answers: list[str]) -> None:
    try:
        ledger.is_empty()
    except BugError:
        answers.append("refused")
    try:
        ledgers.open(folder, target)
    except LockedError:
        answers.append("locked")
    ledger.close()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_holds_nothing(ledgers: Ledgers, state: Path, target: Target, accept: Accept) -> None:
    fork = multiprocessing.get_context("fork")
    with fork.Manager() as manager:
        ledger = ledgers.open(state, target)
        run = ledger.begin_run(RunInfo("m"))
        answers = manager.list()
        child = fork.Process(target=_try_in_child, args=(ledgers, ledger, state, target, answers))
        child.start()
        child.join()
        assert list(answers) == ["refused", "locked"]
        lingering = fork.Process(target=time.sleep, args=(60,))
        lingering.start()
        try:
            ledger.record([accept(["a"])], run)
            ledger.close()
            with ledgers.open(state, target) as ledger:  # the child that lives on does not have it
                assert not ledger.is_empty()
        finally:
            lingering.kill()
            lingering.join()
            lingering.close()


def test_those_who_look_on_never_meet_a_lock(ledgers: Ledgers, recorder: Recorder, state: Path, target: Target) -> None:
    writer = recorder(0, 50, 15_000, url=ledgers.url(state))
    assert lines(writer, 1) == ["begun"]
    counts = [0]
    first, last = key("order:0"), key("order:14999")
    kept_open = ledgers.read(state, target)
    with kept_open:
        while writer.poll() is None:
            with ledgers.read(state, target) as ledger:
                counts.append(ledger.totals().accepted.get("Order Placed", 0))
                assert counts[-1] % 50 == 0
                assert ledger.runs(1)[0].accepted >= counts[-1]
                ledger.find([first, last])
            assert kept_open.totals().accepted.get("Order Placed", 0) >= counts[-1]
        assert writer.returncode == 0
        assert kept_open.totals().accepted == {"Order Placed": 15_000}
    assert counts == sorted(counts)
    assert len(set(counts)) > 3


def test_only_its_owner_may_look(recorder: Recorder, state: Path, target: Target) -> None:
    umask = os.umask(0)
    try:
        writer = recorder(0, 10, 10, "hold")
        assert lines(writer, 2) == ["begun", "10"]
    finally:
        os.umask(umask)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [state, *state.iterdir()]}
    assert modes == {
        state.name: 0o700,
        "ledger.db": 0o600,
        "ledger.db-wal": 0o600,
        "ledger.db-shm": 0o600,
        "ledger.lock": 0o600,
    }


def test_a_folder_that_stood_open_is_closed_when_it_is_ours(state: Path, target: Target) -> None:
    state.mkdir()
    state.chmod(0o755)
    with Ledger.open(state, target) as ledger:
        assert ledger.warnings == ()
    (state / "ledger.db").chmod(0o644)
    state.chmod(0o755)
    with Ledger.open(state, target):
        assert stat.S_IMODE(state.stat().st_mode) == 0o700
        assert stat.S_IMODE((state / "ledger.db").stat().st_mode) == 0o600


def test_a_folder_that_holds_other_things_stays_as_it_is(state: Path, target: Target) -> None:
    state.mkdir()
    state.chmod(0o755)
    (state / "orders.yaml").touch()
    with Ledger.open(state, target) as ledger:
        assert stat.S_IMODE(state.stat().st_mode) == 0o755
        assert "chmod 700" in ledger.warnings[0]


MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
files:/export /srv nfs4 rw,vers=4.2 0 0
/dev/sdb1 /srv/local xfs rw 0 0
//nas/My\\040Share /mnt/My\\040Share cifs rw 0 0
tmpfs /over tmpfs rw 0 0
host:/ /over fuse.sshfs rw 0 0
broken
"""


@pytest.mark.parametrize(
    "path, kind",
    [
        ("/home/me/.backfill", None),
        ("/srv/.backfill", "nfs4"),
        ("/srvx/.backfill", None),
        ("/srv/local/.backfill", None),
        ("/mnt/My Share/.backfill", "cifs"),
        ("/over/.backfill", "fuse.sshfs"),
    ],
)
def test_a_network_file_system_is_noticed(path: str, kind: str | None) -> None:
    assert network_filesystem(Path(path), MOUNTS) == kind
