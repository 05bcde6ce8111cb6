"""A ledger that is of no use is said to be, and stays as it is; nothing but the user moves it aside."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from backfill.errors import SettingsError, StorageError
from backfill.ledger import LEDGER_FILE, LOCK_FILE, Ledger, RunInfo, Target, key
from backfill.records import Outcome

Accept = Callable[..., Outcome]
Recorder = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def ledger_file(state: Path, target: Target, accept: Accept) -> Path:
    with Ledger.open(state, target) as ledger:
        run = ledger.begin_run(RunInfo("m"))
        for part in range(10):
            ledger.record([accept([f"{part}:{number}" for number in range(1_000)])], run)
    return state / LEDGER_FILE


def refused(state: Path, target: Target) -> list[StorageError]:
    """Both ways in are closed, and what is there is left alone."""
    before = {path.name: path.read_bytes() for path in state.iterdir() if path.name.startswith(LEDGER_FILE)}
    errors = []
    for enter in (Ledger.open, Ledger.read):
        with pytest.raises(StorageError) as caught, enter(state, target) as ledger:
            ledger.check_integrity()
        assert caught.value.status == 74
        assert str(state / LEDGER_FILE) in str(caught.value)
        errors.append(caught.value)
    after = {path.name: path.read_bytes() for path in state.iterdir() if path.name.startswith(LEDGER_FILE)}
    assert {name: after[name] for name in before if not name.endswith("-shm")} == {
        name: data for name, data in before.items() if not name.endswith("-shm")
    }
    # The lock was given back.
    assert (state / LOCK_FILE).read_bytes() == b""
    return errors


@pytest.mark.parametrize("size", [0, 1, 50, 99, 100, 511, 4095, 4096, 4097, 20_000, -4096])
def test_a_ledger_that_was_cut(ledger_file: Path, state: Path, target: Target, size: int) -> None:
    os.truncate(ledger_file, size if size >= 0 else ledger_file.stat().st_size + size)
    for error in refused(state, target):
        assert "out of" in error.hint
        assert "by hand" in error.hint


def test_a_ledger_that_lost_its_last_byte(ledger_file: Path, state: Path, target: Target) -> None:
    os.truncate(ledger_file, ledger_file.stat().st_size - 1)
    with pytest.raises(StorageError, match="cut off"):
        Ledger.open(state, target)


@pytest.mark.parametrize("data", [b"PK\x03\x04" * 5_000, b"\x00" * 8_192, b"order_id,email\n1,a@b.c\n"])
def test_a_file_that_is_no_database(state: Path, target: Target, data: bytes) -> None:
    state.mkdir()
    (state / LEDGER_FILE).write_bytes(data)
    for error in refused(state, target):
        assert "by hand" in error.hint


def test_the_database_of_another_program(state: Path, target: Target) -> None:
    state.mkdir()
    with closing(sqlite3.connect(state / LEDGER_FILE)) as other:
        other.execute("CREATE TABLE events (id)")
    for error in refused(state, target):
        assert "another program" in str(error)


def test_pages_that_were_overwritten(ledger_file: Path, state: Path, target: Target) -> None:
    with ledger_file.open("r+b") as file:
        for page in range(5, 60):
            file.seek(page * 4_096)
            file.write(random.Random(page).randbytes(2_000))
    # A run is turned away before it sends; who only looks is told when it meets one.
    with pytest.raises(StorageError, match="damaged") as caught:
        Ledger.open(state, target)
    assert "by hand" in caught.value.hint
    with Ledger.read(state, target) as ledger:
        with pytest.raises(StorageError, match="damaged"):
            ledger.check_integrity()
        with pytest.raises(StorageError, match="damaged"):
            ledger.find([key(f"{part}:{number}") for part in range(10) for number in range(1_000)])


def test_after_it_was_moved_aside_by_hand_all_begins_anew(
    ledger_file: Path, state: Path, target: Target, tmp_path: Path
) -> None:
    ledger_file.write_bytes(b"no ledger")
    ledger_file.rename(tmp_path / "aside.db")
    with Ledger.open(state, target) as ledger:
        assert ledger.is_empty()


def crash(recorder: Recorder, first: int, size: int = 2_000) -> None:
    process = recorder(first, 100, first + size, "hold")
    assert process.stdout is not None
    while process.stdout.readline().strip() != str(first + size):
        pass
    process.kill()
    process.communicate()


def test_a_log_without_its_ledger(recorder: Recorder, state: Path, target: Target, tmp_path: Path) -> None:
    crash(recorder, 0)
    (state / LEDGER_FILE).rename(tmp_path / "aside.db")
    log = (state / f"{LEDGER_FILE}-wal").read_bytes()
    assert log
    with pytest.raises(StorageError, match=r"ledger\.db-wal of another ledger") as caught:
        Ledger.open(state, target)
    assert "ledger.db-wal" in caught.value.hint
    assert (state / f"{LEDGER_FILE}-wal").read_bytes() == log
    # Put back together, all is there.
    (tmp_path / "aside.db").rename(state / LEDGER_FILE)
    with Ledger.open(state, target) as ledger:
        assert ledger.totals().accepted == {"Order Placed": 2_000}


def test_yesterdays_backup(recorder: Recorder, state: Path, target: Target, tmp_path: Path) -> None:
    recorder(0, 100, 1_000).communicate()
    shutil.copy(state / LEDGER_FILE, tmp_path / "backup.db")
    recorder(1_000, 100, 2_000).communicate()
    shutil.copy(tmp_path / "backup.db", state / LEDGER_FILE)
    with Ledger.open(state, target) as ledger:
        ledger.check_integrity()
        assert ledger.totals().accepted == {"Order Placed": 1_000}


def test_a_ledger_that_lost_its_log(recorder: Recorder, state: Path, target: Target) -> None:
    recorder(0, 100, 1_000).communicate()
    crash(recorder, 1_000)
    for suffix in ("-wal", "-shm"):
        (state / f"{LEDGER_FILE}{suffix}").unlink()
    with Ledger.open(state, target) as ledger:
        ledger.check_integrity()
        # What is missing is sent again; what is there was sent.
        assert ledger.totals().accepted == {"Order Placed": 1_000}


def test_yesterdays_backup_under_todays_log(recorder: Recorder, state: Path, target: Target, tmp_path: Path) -> None:
    recorder(0, 100, 1_000).communicate()
    shutil.copy(state / LEDGER_FILE, tmp_path / "backup.db")
    recorder(1_000, 1_000, 21_000).communicate()
    # Few enough that the log holds some of the pages only: with all of them it would be a whole ledger.
    crash(recorder, 100_000, 300)
    shutil.copy(tmp_path / "backup.db", state / LEDGER_FILE)
    for error in refused(state, target):
        assert "ledger.db-wal" in error.hint


def test_a_ledger_of_a_newer_release(ledger_file: Path, state: Path, target: Target) -> None:
    with closing(sqlite3.connect(ledger_file)) as database, database:
        database.execute("UPDATE meta SET value = '2.7.0' WHERE key = 'release'")
        database.execute("ALTER TABLE events RENAME TO deliveries")
        database.execute("PRAGMA user_version = 9")
    before = ledger_file.read_bytes()
    for enter in (Ledger.open, Ledger.read):
        with pytest.raises(SettingsError, match="newer release") as caught:
            enter(state, target)
        assert caught.value.status == 78
        assert "2.7.0" in caught.value.hint
    assert ledger_file.read_bytes() == before


def test_a_link_in_place_of_the_ledger(ledger_file: Path, state: Path, target: Target, tmp_path: Path) -> None:
    ledger_file.rename(tmp_path / "elsewhere.db")
    ledger_file.symlink_to(tmp_path / "elsewhere.db")
    for error in refused(state, target):
        assert "not a regular file" in str(error)


def test_a_link_in_place_of_the_folder(state: Path, target: Target, tmp_path: Path, accept: Accept) -> None:
    (tmp_path / "elsewhere").mkdir()
    state.symlink_to(tmp_path / "elsewhere")
    with Ledger.open(state, target) as ledger:
        ledger.record([accept(["a"])], ledger.begin_run(RunInfo("m")))
    assert (tmp_path / "elsewhere" / LEDGER_FILE).exists()


def test_a_file_in_place_of_the_folder(state: Path, target: Target) -> None:
    state.write_text("")
    with pytest.raises(StorageError, match=r"\.backfill"):
        Ledger.open(state, target)
