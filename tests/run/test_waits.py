"""Long waits: told once when they are long and once when they are over, to whoever listens and to who looks."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime, timedelta

import pytest

from backfill.disk import Disk
from backfill.ledger import Ledger, RunInfo, Target
from backfill.pipeline import Sending
from backfill.progress import Plain
from backfill.report import RunFolder, waiting_in
from backfill.send import Snapshot
from backfill.settings import Flags
from backfill.status import status
from backfill.waits import Waits

START = datetime(2024, 3, 1, 3, 0, tzinfo=UTC)
OUTAGE = "waiting 12 s, then one try: the API is out of reach (503 Service Unavailable)"


def seen(*states: tuple[float, str], note=lambda _: None) -> tuple[list[str], list]:
    notes: list[str] = []
    kept: list[tuple[datetime, str] | None] = []
    at = 0.0
    waits = Waits(lambda text: notes.append(text) or note(text), kept.append, lambda: START + timedelta(seconds=at))
    for at, reason in states:
        waits.see(Sending(10, 4, 0, 6, at, Snapshot(reason=reason)))
    return notes, kept


def test_a_long_wait_is_told_once_and_its_end():
    notes, kept = seen(
        (0, ""), (5, OUTAGE), (64, OUTAGE), (65, OUTAGE), (66, OUTAGE), (300, OUTAGE), (305, ""), (306, "")
    )
    why = "the API is out of reach (503 Service Unavailable)"
    assert notes == [
        f"nothing could be sent since 03:00:05 UTC: {why}; 6 left, it waits",
        "sending goes on, after a wait of 5 min",
    ]
    assert kept == [(START + timedelta(seconds=5), why), None]


def test_pauses_that_are_short_are_progress():
    pause = "waiting 40 s: the API asked for it (429)"
    assert seen((0, pause), (40, pause), (41, ""), (50, pause), (90, pause)) == ([], [])


def test_who_wants_no_progress_hears_of_it(capsys):
    seen((0, OUTAGE), (60, OUTAGE), note=Plain(quiet=True).note)
    assert capsys.readouterr().err.startswith("note: nothing could be sent since 03:00:00 UTC: the API is out of reach")


def test_status_says_how_a_run_goes(tmp_path):
    state = tmp_path / ".backfill"
    folder = RunFolder(state, START, str, {})
    with Ledger.open(state, Target("https://api.example.com", "store")) as ledger:
        ledger.begin_run(RunInfo("orders.yaml", folder.path.name))
        line = f"orders.yaml: running as process {os.getpid()} on {socket.gethostname()}, 0 accepted\n      nothing accepted"
        assert line in status(tmp_path / "orders.yaml", Flags())
        folder.wait((START, "the API is out of reach (503)"))
        assert status(tmp_path / "orders.yaml", Flags()).endswith(
            "\n      nothing accepted yet\n      waiting since 2024-03-01T03:00:00Z: the API is out of reach (503)"
        )
        assert '"why": "the API is out of reach (503)"' in status(tmp_path / "orders.yaml", Flags(), as_json=True)
    # It has gone without a word: what it waited for is no news.
    told = status(tmp_path / "orders.yaml", Flags())
    assert told.endswith(": ended without a record (killed, or its disk failed); run it again, 0 accepted")
    folder.wait(None)
    folder.wait(None)
    assert waiting_in(state, folder.path.name) is None


def test_a_disk_that_does_not_take_it_stops_no_run(tmp_path):
    class Full(Disk):
        def write(self, *_):
            raise OSError(28, "No space left on device")

    folder = RunFolder(tmp_path, START, str, {}, Full())
    folder.wait((START, "the API is out of reach"))
    assert waiting_in(tmp_path, folder.path.name) is None
    (folder.path / "waiting.json").write_text("[1]")
    assert waiting_in(tmp_path, folder.path.name) is None


@pytest.mark.parametrize("ago, words", [(3, "3 s"), (150, "2 min"), (9000, "2 h")])
def test_how_long_ago(ago, words):
    from backfill.status import _ago

    assert _ago(timedelta(seconds=ago)) == words
