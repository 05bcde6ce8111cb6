"""The harness for the long runs, for a moment: it runs, it says what broke, and what once broke does not any more."""

from __future__ import annotations

import pytest

from tests.fuzz import targets
from tests.fuzz.__main__ import Search

# As the CSV target takes them: a byte for the size of blocks, one for what is declared, the file.
ONCE_BROKEN = {
    "a byte order mark in a cell where a block begins": ("csv", b"\x02\x06a,b\n\xef\xbb\xbfc,d\n"),
    "a row that begins as zstandard's files do": ("csv", b"\x02\x06a,\xc3\xa4\xc3\xa4\n\x28\xb5\x2f\xfd,d\ne,f\n"),
    "a row that begins as gzip's files do": ("csv", b"\x02\x06a,\xc3\xa4\xc3\xa4\n\x1f\x8b\x08,d\ne,f\n"),
}


@pytest.mark.parametrize(("name", "runs"), [("mapping", 100), ("csv", 60), ("answers", 2_000)])
def test_nothing_is_found_in_a_moment(name, runs, tmp_path):
    search = Search(name, tmp_path)
    search.run(seed=1, seconds=60, most=runs)
    assert search.found == {}
    assert search.runs == runs


@pytest.mark.parametrize("what", ONCE_BROKEN)
def test_what_once_broke(what):
    name, data = ONCE_BROKEN[what]
    targets.TARGETS[name](data)


def test_what_breaks_is_kept_once_for_each_place(tmp_path, monkeypatch):
    def wrong(data: bytes) -> None:
        raise targets.Broken("never") if len(data) % 2 else ZeroDivisionError(data)

    monkeypatch.setitem(targets.TARGETS, "answers", wrong)
    search = Search("answers", tmp_path)
    search.run(seed=1, seconds=60, most=50)
    kept = {path.suffix: path for path in tmp_path.iterdir()}
    assert len(search.found) == 2
    assert len(list(tmp_path.iterdir())) == 4
    assert "never" in "".join(path.read_text() for path in tmp_path.glob("*.txt"))
    with pytest.raises((targets.Broken, ZeroDivisionError)):
        targets.TARGETS["answers"](kept[""].read_bytes())
