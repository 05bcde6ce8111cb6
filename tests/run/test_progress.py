"""What a person or a program sees while a run goes on."""

from __future__ import annotations

import io
import json
import os
import pty

import pytest

from backfill.pipeline import Sending
from backfill.printable import printable
from backfill.progress import JsonLines, Plain, Terminal
from backfill.report.text import duration
from backfill.send import Snapshot
from backfill.tally import Survey


def state(**parts) -> Sending:
    plain = {"total": 1_000, "accepted": 190, "refused": 10, "pending": 800, "seconds": 2.0, "snapshot": Snapshot()}
    return Sending(**(plain | parts))


class Gone(io.StringIO):
    """A stream that nobody reads."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_plain_lines_are_few():
    out = io.StringIO()
    observer = Plain(out, every=3_600)
    for _ in range(100):
        observer.sending(state())
        observer.checking(Survey())
    assert out.getvalue() == ""
    observer.note("\x1b[31mred\u202e")
    assert out.getvalue() == "note: \\x1b[31mred\\u202e\n"


def test_a_plain_line_tells_all():
    out = io.StringIO()
    Plain(out, every=0).sending(state(snapshot=Snapshot(retries=3, rate_limited=1)))
    assert out.getvalue() == (
        "sending: 200 of 1,000 events, 100/s, 8 s left, 10 refused, 3 retries, slowed down by 1 answer of 429\n"
    )


def test_a_plain_line_tells_what_is_waited_for():
    """And how long that takes is in what is left; but no rate, as there is none."""
    out = io.StringIO()
    observer = Plain(out, every=0)
    observer.sending(state(snapshot=Snapshot(pause=30.0, reason="waiting 30 s: the API asked for it (429)")))
    observer.sending(state(seconds=3.0, snapshot=Snapshot(reason="the API is out of reach", outage=True)))
    assert out.getvalue().splitlines() == [
        "sending: 200 of 1,000 events, 40 s left, 10 refused; waiting 30 s: the API asked for it (429)",
        "sending: 200 of 1,000 events, 10 s left once it answers, 10 refused; the API is out of reach",
    ]


def test_quiet_says_only_what_matters():
    out = io.StringIO()
    observer = Plain(out, quiet=True, every=0)
    observer.sending(state())
    observer.checking(Survey())
    assert out.getvalue() == ""
    observer.note("x")
    assert out.getvalue() == "note: x\n"


def test_json_lines():
    out = io.StringIO()
    observer = JsonLines(out, every=0)
    observer.note("é\n\x1b")
    observer.checking(Survey())
    observer.checked(None, Survey(), None)
    observer.sending(state())
    JsonLines(out, every=0).sending(state(accepted=0, refused=0, pending=1_000, seconds=0.0))
    observer.emit("summary", exit=0)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["type"] for line in lines] == ["note", "checking", "checked", "sending", "sending", "summary"]
    assert lines[0]["text"] == "é\n\x1b"
    assert out.getvalue().isascii()
    assert "\x1b" not in out.getvalue()
    assert (lines[3]["accepted"], lines[3]["eta_seconds"], lines[4]["eta_seconds"]) == (190, 8, None)


@pytest.mark.parametrize("observer", [Plain(Gone(), every=0), JsonLines(Gone(), every=0)])
def test_a_reader_that_has_gone_stops_nothing(observer):
    observer.note("x")
    observer.checking(Survey())
    observer.sending(state())


def test_the_bar_on_a_terminal(monkeypatch):
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as stream, os.fdopen(master, "rb", buffering=0) as heard:
        monkeypatch.setattr("sys.stderr", stream)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "200")
        with Terminal() as observer:
            observer.checking(Survey())
            observer.checked(None, Survey(), None)
            observer.sending(state())
            observer.note("[bold]\x1b]0;title\x07")
            observer.sending(state(accepted=500))
        stream.flush()
        # A terminal gives some 4 KB at a time.
        os.set_blocking(heard.fileno(), False)
        said = b"".join(iter(lambda: heard.read(65536), None)).decode()
    assert "200 of 1,000 events" in said
    assert "[bold]\\x1b]0;title\\x07" in said


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "under a second"),
        (40, "40 s"),
        (89, "89 s"),
        (95, "2 min"),
        (720, "12 min"),
        (3_570, "1 h 0 min"),
        (10_020, "2 h 47 min"),
    ],
)
def test_duration(seconds, words):
    assert duration(seconds) == words


def test_printable():
    assert printable("a\tb\nc é “✓” \U0001f600") == "a\tb\nc é “✓” \U0001f600"
    assert printable("\x00\x1b\x7f\x9b\u200b\u202e\u2066\u2028\ufeff\ud800\ue000") == (
        "\\x00\\x1b\\x7f\\x9b\\u200b\\u202e\\u2066\\u2028\\ufeff\\ud800\\ue000"
    )
