"""The lines of a terminal as they are laid out: at any width nothing wraps, and painting changes no letter."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfill import live, terminal
from backfill.live import Now

FULL = "18 %, 12,300 of 69,659 events, 95/s, 12 min left"
WORDS = (FULL, "18 %, 12,300 of 69,659 events, 12 min left", "18 %, 12,300 of 69,659, 12 min left", "18 %, 12 min left")
OUTAGE = "waiting 28 s, then one try: the API is out of reach (503 Service Unavailable), 3 refused, 12 retries"

CHECKED = """\
orders.csv: utf-8, comma, quote ", header

rows: 10 read, 9 mapped, 0 filtered, 1 unreadable
1,500 events: 1,490 ready, 10 invalid, 0 duplicates, 0 delivered before, 0 changed, 0 refused before

  Order Placed: 1,490 events, 2024-03-09 to 2024-03-15

Rejected:
  10 x not a time (not_a_time)
      orders.csv:4: eventTimestamp "never" in column "at": not a time
"""


@given(st.integers(1, 200), st.booleans())
def test_nothing_is_wider_than_the_terminal(width, known):
    bar, (first, *below) = live.laid_out(Now(WORDS, 0.18 if known else None, OUTAGE), width)
    whole = live.SPINNER_WIDTH + (bar + 1 if bar else 0) + len(first)
    assert whole <= max(width, live.SPINNER_WIDTH + 1)
    assert len(below) <= live.LINES_BELOW
    assert all(len(line) + 2 <= max(width, 3) for line in below)
    assert bool(bar) <= known


@pytest.mark.parametrize(
    ("width", "bar", "lines"),
    [
        (99, 20, [FULL, OUTAGE[:92], OUTAGE[93:]]),
        (79, 20, [FULL, OUTAGE[:75], OUTAGE[76:]]),
        (60, 9, [FULL, "waiting 28 s, then one try: the API is out of reach (503", "Service Unavailable), 3 refused, 12 retries"]),
        (39, 0, [WORDS[2], "waiting 28 s, then one try: the API", "is out of reach (503 Service Unavail…"]),
        (20, 0, ["18 %, 12 min left", "waiting 28 s, then", "one try: the API …"]),
    ],
)  # fmt: skip
def test_the_fullest_words_that_fit(width, bar, lines):
    found = live.laid_out(Now(WORDS, 0.18, OUTAGE), width)
    assert (found[0], found[1][0]) == (bar, lines[0])
    if width < 79:
        assert found[1] == lines


@given(st.integers(20, 120))
def test_text_is_laid_out_within_the_width(width):
    laid = terminal.laid_out(CHECKED, width)
    assert laid.split() == CHECKED.split()
    longest = max(map(len, CHECKED.split()))
    assert all(len(line) <= max(width, longest + 8) for line in laid.splitlines())
    assert terminal.laid_out(CHECKED, 1_000) == CHECKED


def test_a_path_stays_in_one_line():
    line = "report: /home/ada/my shop/.backfill/runs/20240101T000000Z-abcdef/report.html"
    assert terminal.laid_out(line, 40) == line


def test_painting_changes_no_letter():
    painted = terminal.painted(CHECKED)
    assert re.sub(r"\x1b\[[0-9;]*m", "", painted) == CHECKED
    for part in ("\x1b[1;31mRejected:\x1b[0m", "\x1b[1;32m1,490 ready\x1b[0m", "\x1b[1;31m10 invalid\x1b[0m"):
        assert part in painted
    assert "invalid\x1b" not in terminal.painted(CHECKED.replace("10 invalid", "0 invalid"))


def test_what_is_no_terminal_gets_the_text_as_it_is(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert terminal.for_terminal(CHECKED, io.StringIO()) == CHECKED
