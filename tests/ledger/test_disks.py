"""Disks that are full or can't be written: real ones, made for the test."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from backfill.errors import StorageError
from backfill.ledger import Ledger, RunInfo, Target, key
from backfill.records import Outcome, Refusal

Accept = Callable[..., Outcome]


class Disk(Protocol):
    place: Path

    def fill(self) -> None: ...
    def clear(self) -> None: ...
    def remount(self, how: str) -> None: ...


def test_a_disk_that_fills_up_while_recording(disk: Disk, target: Target, accept: Accept) -> None:
    state = disk.place / "state"
    recorded: list[str] = []
    with Ledger.open(state, target) as ledger:
        run = ledger.begin_run(RunInfo("m"))
        ids: list[str] = []

        def record_for_ever() -> None:
            for number in itertools.count():
                ids[:] = [f"{number}:{each}" for each in range(200)]
                ledger.record([accept(ids, name=f"Name {number}")], run)
                recorded.extend(ids)

        with pytest.raises(StorageError) as caught:
            record_for_ever()
        assert caught.value.status == 74
        assert f"recording outcomes in {state}/ledger.db" in str(caught.value)
        assert "room" in caught.value.hint
        # None of the batch that failed, all of the others; and it goes on when there is room.
        assert len(ledger.find([key(text) for text in [*recorded, *ids]])) == len(recorded)
        with pytest.raises(StorageError):
            ledger.record([accept(ids)], run)
    with Ledger.read(state, target) as ledger:
        ledger.check_integrity()
        assert len(ledger.find([key(text) for text in recorded])) == len(recorded)
    with Ledger.open(state, target) as ledger:
        disk.fill()

        def begin_for_ever() -> None:  # what the batch that failed took of the log has room for some
            for _ in itertools.count():
                ledger.begin_run(RunInfo("m"))

        with pytest.raises(StorageError, match="beginning the run"):
            begin_for_ever()


def test_recording_goes_on_when_there_is_room_again(disk: Disk, target: Target, accept: Accept) -> None:
    state = disk.place / "state"
    ids = [str(number) for number in range(500)]
    with Ledger.open(state, target) as ledger:
        run = ledger.begin_run(RunInfo("m"))
        disk.fill()
        with pytest.raises(StorageError, match="recording outcomes"):
            ledger.record([accept(ids, name="New")], run)
        disk.clear()
        ledger.record([accept(ids, name="New")], run)
        ledger.end_run(run, 0, {})
        assert ledger.totals().accepted == {"New": 500}


def test_a_disk_that_is_full_from_the_start(disk: Disk, target: Target) -> None:
    disk.fill()
    with pytest.raises(StorageError) as caught:
        Ledger.open(disk.place / "state", target)
    assert str(disk.place) in str(caught.value)
    disk.clear()
    Ledger.open(disk.place / "state", target).close()


def test_a_disk_that_can_only_be_read(disk: Disk, target: Target, accept: Accept) -> None:
    state = disk.place / "state"
    with Ledger.open(state, target) as ledger:
        ledger.record([accept(["a", "b"])], ledger.begin_run(RunInfo("m")))
    disk.remount("ro")
    with pytest.raises(StorageError, match="Read-only"):
        Ledger.open(state, target)
    with pytest.raises(StorageError, match="Read-only"):
        Ledger.open(disk.place / "another", target)
    with Ledger.read(state, target) as ledger:
        assert ledger.totals().accepted == {"Order Placed": 2}
        ledger.check_integrity()
    disk.remount("rw")
    Ledger.open(state, target).close()


def test_a_closing_that_finds_no_room_loses_nothing(disk: Disk, target: Target, accept: Accept) -> None:
    state = disk.place / "state"
    ids = [str(number) for number in range(3_000)]
    with Ledger.open(state, target) as ledger:
        run = ledger.begin_run(RunInfo("m"))
        ledger.record([accept(ids[:2_000])], run)
        ledger.record([Outcome(accept(ids[2_000:]).events, refused=[(0, Refusal(400, "no", ""))])], run)
        disk.fill()
    with Ledger.read(state, target) as ledger:
        assert ledger.totals().accepted == {"Order Placed": 2_000}
        assert ledger.totals().refused == 1
    disk.clear()
    with Ledger.open(state, target) as ledger:
        ledger.check_integrity()
        assert ledger.totals().accepted == {"Order Placed": 2_000}
