"""What a run leaves behind: its folder, its summary, its page."""

from __future__ import annotations

import csv
import json
import os
import stat
from datetime import UTC, datetime
from html.parser import HTMLParser

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfill.errors import StorageError
from backfill.read import escape
from backfill.records import FILE, ROW, Events, Outcome, Refusal, Rejection
from backfill.report import RunFolder, describe, last_run, render, run_page, write_check
from tests.run import support

NOW = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
HOSTILE = "<script>alert('x')</script>&\"'\u202e{{ 7*7 }}"


def summary(**parts):
    """A summary of one accepted event, all files of which were read."""
    return support.summary(**parts)


@pytest.fixture
def folder(tmp_path):
    made = RunFolder(
        tmp_path / "state", NOW, lambda position: f"file{position}.csv", {"id": pl.Int64(), "note": pl.String()}
    )
    yield made
    made.close()


def frame(*rows: tuple[object, object], file: int = 0) -> pl.DataFrame:
    return pl.DataFrame({
        "id": [row[0] for row in rows], "note": [row[1] for row in rows],
        FILE: pl.Series([file] * len(rows), dtype=pl.UInt32), ROW: pl.Series(range(2, len(rows) + 2), dtype=pl.UInt64),
    })  # fmt: skip


def table(folder: RunFolder) -> list[list[str]]:
    with (folder.path / "rejected.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


# --------------------------------------------------------------------------------------------------------- folder


def test_modes_and_name(folder):
    folder.write("summary.json", "{}")
    folder.change([("a", 1, 2, "Order Placed")])
    assert folder.path.name.startswith("20240102T030405Z-")
    for path in (folder.path, *folder.path.parents[:2], *folder.path.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_rejected_rows_as_they_were(folder):
    rows = frame(("1", "fine"), ("2", "=1+1"), ("3", None), ("4", "-\x1b[0m"))
    folder.reject_rows(
        rows,
        [
            Rejection(0, 3, "not_a_number", "first"),
            Rejection(0, 3, "not_a_time", "second"),
            Rejection(0, 3, "not_a_time", "second"),
            Rejection(0, 5, "missing", "\x1b[31m=x"),
            Rejection(0, 9, "ragged", "a row without cells"),
        ],
    )
    assert table(folder) == [
        ["id", "note", "problem", "detail", "file", "row"],
        ["2", "'=1+1", "not_a_number", "first; second", "file0.csv", "3"],
        ["4", "'-\x1b[0m", "missing", "\\x1b[31m=x", "file0.csv", "5"],
        ["", "", "ragged", "a row without cells", "file0.csv", "9"],
    ]


def test_cells_of_other_types_are_their_canonical_text(tmp_path):
    """What comes back from there must make the same ids: as a template would write them, a nested field by its path."""
    rows = frame((-5, [1, 2]), (2, [3])).with_columns(
        f=pl.Series([1.0, 0.1]),
        s=pl.Series([{"a": "x", "b": {"c": True}}, None]),
        t=pl.Series([datetime(2024, 1, 2), None]),
    )
    folder = RunFolder(tmp_path, NOW, str, {name: rows.schema[name] for name in ("id", "note", "f", "s", "t")})
    folder.reject_rows(rows, [Rejection(0, 2, "missing", "")])
    folder.close()
    header, row = table(folder)
    assert header[:6] == ["id", "note", "f", "s.a", "s.b.c", "t"]
    assert row[:6] == ["-5", "[1,2]", "1", "x", "true", "2024-01-02T00:00:00"]


def test_every_row_of_a_group_tells_what_is_wrong_with_it(folder):
    rows = frame(("1", "a"), ("1", "b"), ("2", "c")).with_columns(pl.Series(":group", [0, 0, 1], dtype=pl.UInt32))
    folder.reject_rows(rows, [Rejection(0, 2, "group_incomplete", "a row is lost")])
    assert [row[1:4] for row in table(folder)[1:]] == [
        ["a", "group_incomplete", "a row is lost"],
        ["b", "group_incomplete", "a row is lost"],
    ]


def test_what_was_written_survives_a_kill(folder):
    """Each row is in the operating system's hands as soon as it is rejected."""
    folder.reject_rows(frame(("1", "x")), [Rejection(0, 2, "missing", "")])
    assert len(table(folder)) == 2


def test_refused_events(folder):
    events = Events(
        [b'{"uniqueId":"a"}', b'{"uniqueId":"b"}'], ["a", "b"], [b"", b""], [b"", b""], ["n", "n"], [0, 1], [2, 3]
    )
    folder.refuse(Outcome(events, accepted=[0], refused=[(1, Refusal(400, "Bad", "\x1b[31m no \u2028"))]))
    (line,) = (folder.path / "rejected.ndjson").read_text(encoding="utf-8").split("\n")[:-1]
    assert json.loads(line) == {
        "file": "file1.csv", "row": 3, "status": 400, "title": "Bad", "detail": "\x1b[31m no \u2028", "event": {"uniqueId": "b"},
    }  # fmt: skip


def test_the_old_file_or_the_new_one(folder, monkeypatch):
    folder.write("summary.json", "old")

    def fails(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(StorageError, match="No space left") as caught:
        folder.write("summary.json", "new")
    assert caught.value.status == 74
    assert (folder.path / "summary.json").read_text() == "old"


def test_a_state_folder_that_is_none(tmp_path):
    (tmp_path / "state").write_text("")
    with pytest.raises(StorageError) as caught:
        RunFolder(tmp_path / "state", NOW, str, {})
    assert str(tmp_path) in caught.value.message


def test_the_last_run_is_the_one_that_ended_last(tmp_path):
    """Two may begin within one second; one that was killed has no summary."""
    assert last_run(tmp_path) is None
    ended = []
    for _ in range(8):
        folder = RunFolder(tmp_path, NOW, str, {})
        folder.write("summary.json", "{}")
        os.utime(folder.path / "summary.json", ns=(0, len(ended)))
        ended.append(folder.path)
        assert last_run(tmp_path) == ended[-1]
    RunFolder(tmp_path, datetime(2025, 1, 1, tzinfo=UTC), str, {})
    assert last_run(tmp_path) == ended[-1]


# -------------------------------------------------------------------------------------------------------- the page


class Reader(HTMLParser):
    """The page's text, and its tags, of which it knows which never to see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href"} or name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def page(**parts: object) -> Reader:
    problems = parts.pop("problems", [])
    told = summary(**parts)
    reader = Reader()
    html = render(run_page(told, problems, *describe(told["exit"], told)))
    assert len(html) < 1_500_000
    reader.feed(html)
    return reader


def test_markup_is_inert():
    reader = page(
        mapping=HOSTILE, store=HOSTILE, notes=[HOSTILE], stopped_by=HOSTILE, exit=75,
        by_event_name={HOSTILE: {"ready": 1, "accepted": 1}},
        notices=[{"code": "unset", "field": HOSTILE, "count": 1}],
        files=[{"name": HOSTILE, "format": "csv", "read_as": HOSTILE}],
        unread=[{"name": HOSTILE, "why": HOSTILE}],
        problems=[{"code": "missing", "count": 1, "title": HOSTILE, "fix": HOSTILE,
                   "examples": [{"place": HOSTILE, "column": HOSTILE, "value": HOSTILE, "detail": HOSTILE}]}],
        events={"changed": 1, "total": 2},
    )  # fmt: skip
    assert reader.tags.count("script") == 2, "the numbers for charts, and our own"
    assert reader.links == []
    assert reader.text.count("alert('x')") >= 9
    assert "{{ 7*7 }}" in reader.text
    assert "\u202e" not in reader.text, "a mark that turns a line around is written out"


def test_a_page_of_many_names_and_files_stays_small():
    page(
        by_event_name={f"Name {i}": {"ready": 1} for i in range(2_000)},
        files=[
            {"name": f"part-{i:05}.csv", "format": "csv", "read_as": "utf-8", "unchanged": False} for i in range(2_000)
        ],
        problems=[
            {
                "code": f"code{i}",
                "count": 1,
                "title": "t",
                "fix": "f",
                "examples": [{"place": "p", "detail": "d" * 500}] * 5,
            }
            for i in range(50)
        ],
    )


def test_the_page_of_a_check_is_written_whole_or_not_at_all(tmp_path):
    state = tmp_path / "state"
    for text in ("old", "new"):
        path = write_check(state, "my orders", text)
        assert path == state / "check" / "my orders.html"
        assert path.read_text() == text
    assert [one.name for one in path.parent.iterdir()] == ["my orders.html"]
    assert [stat.S_IMODE(one.stat().st_mode) for one in (state, path.parent, path)] == [0o700, 0o700, 0o600]
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="writing the report"):
        write_check(tmp_path / "file", "orders", "text")


def test_the_page_tells_the_numbers():
    reader = page(events={"total": 1_234_567, "accepted": 1_234_567}, requests=12_346)
    assert "1,234,567" in reader.text
    assert "12,346" in reader.text
    assert "orders.yaml" in reader.text


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({}, "1 event"),
        ({"requests": 0, "events": {"accepted": 0, "already_delivered": 1}}, "delivered before"),
        ({"events": {"accepted": 3, "pending": 4, "total": 7}}, "--limit"),
        ({"exit": 3, "events": {"invalid": 2, "total": 3}}, "2 rejected"),
        ({"exit": 75, "stopped_by": "the cat", "events": {"pending": 5}}, "the cat"),
        ({"exit": 143, "stopped_by": "interrupted", "events": {"pending": 5}}, "interrupted"),
    ],
)
def test_a_sentence_says_how_it_ended(parts, words):
    told = summary(**parts)
    outcome, todo = describe(told["exit"], told)
    assert words in outcome
    assert todo.endswith(".")


# ------------------------------------------------------------------------------------------------ cells and sheets


@given(st.text(alphabet=st.sampled_from("'=+-@\t\r\nab,\" "), max_size=6))
def test_no_cell_can_be_run_and_each_comes_back(text):
    from backfill.read.repaired import plain

    safe = escape(text)
    assert safe[:1] not in {"=", "+", "-", "@", "\t", "\r"}
    assert plain(safe) == text
