"""Small files share a chunk, and what is not wanted of an export is passed over."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from backfill.errors import ExportError
from backfill.read import Export, pieces, records
from backfill.records import FILE, ROW, Chunk
from tests.read.support import content, opened

COLUMNS = ["id", "text"]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 2 KB and chunks of 50 rows or 1 KB."""
    monkeypatch.setattr(records.read_texts, "__defaults__", (2_000, None))
    monkeypatch.setattr("backfill.read.ndjson._blocks.__defaults__", (2_000,))
    monkeypatch.setattr("backfill.read.typed.BATCH_ROWS", 70)
    monkeypatch.setattr("backfill.read.fetched.DECODED_ROWS", 20)
    monkeypatch.setattr(pieces, "CHUNK_ROWS", 50)
    monkeypatch.setattr(pieces, "CHUNK_BYTES", 1_000)


def rows(count: int, seed: int) -> pl.DataFrame:
    pick = random.Random(seed)
    texts = ["plain", 'a "quoted" one', "two\nlines", "", "é" * 20, "a, b"]
    return pl.DataFrame(
        {"id": [f"{seed}-{i}" for i in range(count)], "text": [pick.choice(texts) for _ in range(count)]}
    )


def odd_csv(frame: pl.DataFrame) -> bytes:
    """With a row too many here and there, and quotes in doubt."""
    lines = frame.write_csv(include_header=False).encode().replace(b"plain", b'6" pipe')
    return b"\xef\xbb\xbfid,text\n" + b"x,y,z\n" + lines + b"a\xff,b\n\n" + b"last,one"


WRITERS: dict[str, Callable[[pl.DataFrame], bytes]] = {
    "csv": lambda frame: frame.write_csv().encode(),
    "odd.csv": odd_csv,
    "crlf.csv": lambda frame: frame.write_csv(line_terminator="\r\n").encode(),
    "cp1252.csv": lambda frame: frame.write_csv().encode("cp1252"),
    "csv.gz": lambda frame: gzip.compress(frame.write_csv().encode()),
    "ndjson": lambda frame: frame.write_ndjson().encode() + b"{]\n",
    "parquet": lambda frame: _binary(lambda path: frame.write_parquet(path, row_group_size=30)),
    "arrow": lambda frame: _binary(frame.write_ipc),
}


def _binary(write: Callable[[str], object]) -> bytes:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        write(file.name)
        return Path(file.name).read_bytes()


def fill(base: Path, *sizes: int, kinds: tuple[str, ...] = tuple(WRITERS)) -> None:
    for number, size in enumerate(sizes):
        kind = kinds[number % len(kinds)]
        (base / f"{number:04d}.{kind}").write_bytes(WRITERS[kind](rows(size, number)))


def numbered(export: Export) -> list[Chunk]:
    """What a whole reading gives that a later one may be asked for."""
    return [chunk for chunk in export.chunks() if chunk.frame.height or chunk.unread]


def same(one: Chunk, other: Chunk) -> None:
    assert_frame_equal(one.frame, other.frame)
    assert list(one.unreadable) == list(other.unreadable)
    assert one.unread == other.unread


def test_small_files_share_chunks(tmp_path: Path) -> None:
    fill(tmp_path, *[7] * 40, kinds=("csv",))
    export = opened(tmp_path)
    chunks = list(export.chunks())
    assert 4 <= len(chunks) <= 8
    whole = pl.concat([chunk.frame for chunk in chunks])
    assert whole[FILE].to_list() == [file for file in range(40) for _ in range(7)]
    assert whole["id"].to_list() == [f"{file}-{i}" for file in range(40) for i in range(7)]
    for file, of_file in whole.group_by(FILE, maintain_order=True):
        alone = content(opened(tmp_path, f"{file[0]:04d}.csv"))  # type: ignore[str-format]  # a number
        assert (alone.lines, alone.rows) == (of_file[ROW].to_list(), of_file.drop(FILE, ROW).rows())


def test_files_that_are_written_in_several_ways_share_chunks(tmp_path: Path) -> None:
    (tmp_path / "a=1").mkdir()
    (tmp_path / "a=2").mkdir()
    (tmp_path / "a=1" / "a.csv").write_text("id,text\n1,x\n")
    (tmp_path / "a=1" / "b.csv").write_text("text;id\ny;2\n;3\n1;2;3\n")
    (tmp_path / "a=2" / "c.csv").write_bytes("id,text,more\n4,\u00e9,-\n5,x\xff\n6,z,m\n".encode("latin-1"))
    (tmp_path / "a=2" / "d.ndjson").write_text('{"id": "7", "new": null}\n[]\n')
    (tmp_path / "a=2" / "e.csv").write_text("id,text\n\n8,n\n")
    export = opened(tmp_path, null_values=["n"])
    [chunk] = export.chunks()
    assert chunk.frame.select("id", "text", "more", "a", FILE, ROW).rows() == [
        ("1", "x", None, "1", 0, 2),
        ("2", "y", None, "1", 1, 2),
        ("3", None, None, "1", 1, 3),
        ("4", "é", "-", "2", 2, 2),
        ("6", "z", "m", "2", 2, 4),
        ("7", None, None, "2", 3, 1),
        ("8", None, None, "2", 4, 3),
    ]
    assert [(bad.file, bad.row, bad.problem) for bad in chunk.unreadable] == [
        (1, 4, "ragged"),
        (2, 3, "ragged"),
        (3, 2, "not_json"),
    ]


def test_a_byte_that_does_not_decode_costs_its_row_alone(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id\n1\n")
    (tmp_path / "b.csv").write_bytes("id\né\nü\n".encode() + b"\xff\n2\n")
    (tmp_path / "c.csv").write_bytes(b"id\n3\n")
    found = content(opened(tmp_path))
    assert found.rows == [("1",), ("é",), ("ü",), ("2",), ("3",)]
    assert [(bad.file, bad.row, bad.problem) for bad in found.bad] == [(1, 4, "undecodable")]


def test_an_unreadable_file_ends_its_own_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    (tmp_path / "b.csv").write_text("id\n" + "2\n" * 1_500 + '"3\n')
    (tmp_path / "c.csv").write_text("id\n4\n")
    chunks = list(opened(tmp_path).chunks())
    place = next(i for i, chunk in enumerate(chunks) if chunk.unread)
    assert {1} <= set(pl.concat([chunk.frame for chunk in chunks[:place]])[FILE]) <= {0, 1}
    assert set(pl.concat([chunk.frame for chunk in chunks[place:]])[FILE]) == {2}


def test_a_file_that_changes_before_its_chunk_is_full_is_not_given(tmp_path: Path) -> None:
    fill(tmp_path, 3, 3, kinds=("csv",))
    export = opened(tmp_path)
    with (tmp_path / "0001.csv").open("a") as file:
        file.write("more,x\n")
    with pytest.raises(ExportError, match=r"0001\.csv: changed while it was read"):
        next(iter(export.chunks()))


@pytest.mark.parametrize("kind", [*WRITERS, "all"])
def test_what_is_not_wanted_is_passed_over(tmp_path: Path, kind: str) -> None:
    """Whatever is skipped, the others are what they were."""
    pick = random.Random(kind)
    fill(
        tmp_path, *[pick.choice([0, 1, 30, 400]) for _ in range(16)], kinds=tuple(WRITERS) if kind == "all" else (kind,)
    )
    (tmp_path / "0007b.csv").write_text("id,text\n" + "1,2\n" * 700 + '"3\n')
    (tmp_path / "0007c.parquet").write_bytes(b"PAR1")
    export = opened(tmp_path)
    first = numbered(export)
    assert sum(chunk.unread is not None for chunk in first) == 2
    count = sum(bool(chunk.frame.height) for chunk in first)
    assert count > 5
    choices = [
        set(range(count)),
        {0},
        {count - 1},
        *(set(pick.sample(range(count), pick.randint(1, count))) for _ in range(8)),
    ]
    for skip in choices:
        wanted, number = [], 0
        for chunk in first:
            if chunk.unread or number not in skip:
                wanted.append(chunk)
            number += bool(chunk.frame.height)
        again = list(export.chunks(skip))
        assert len(again) == len(wanted)
        for one, other in zip(again, wanted, strict=True):
            same(one, other)
        # Also where no whole reading came before.
        fresh = [chunk for chunk in opened(tmp_path).chunks(skip) if chunk.frame.height or chunk.unread]
        assert len(fresh) == len(wanted)


def test_files_of_which_nothing_is_wanted_are_not_opened_but_must_be_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, 60, 60, 60, kinds=("csv",))
    export = opened(tmp_path)
    count = len(numbered(export))
    asked: list[str] = []
    real = pieces.open_bytes
    monkeypatch.setattr(pieces, "open_bytes", lambda file: asked.append(file.name) or real(file))
    last = list(export.chunks(set(range(count - 1))))
    assert [set(chunk.frame[FILE]) for chunk in last] == [{2}]
    assert asked == ["0002.csv"]
    assert list(export.chunks(set(range(count)))) == []
    assert asked == ["0002.csv"]
    with (tmp_path / "0000.csv").open("a") as file:
        file.write("more,x\n")
    with pytest.raises(ExportError, match=r"0000\.csv: changed while it was read"):
        list(export.chunks(set(range(count))))


def test_of_a_large_file_no_more_is_read_than_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, 5_000, kinds=("csv",))
    export = opened(tmp_path)
    first = numbered(export)
    read: list[int] = []
    real = pieces.Utf8Stream.read
    monkeypatch.setattr(pieces.Utf8Stream, "read", lambda self, size=-1: read.append(size) or real(self, size))
    [chunk] = export.chunks(set(range(len(first))) - {20})
    same(chunk, first[20])
    assert sum(read) <= 10_000


def test_notes_on_thousands_of_files_are_few(tmp_path: Path) -> None:
    for i in range(60):
        (tmp_path / f"{i:02d}.csv").write_text(("a,b\n1,2\n", "a,c\n1,2\n", "")[i % 3])
    notes = opened(tmp_path).notes
    assert len(notes) == 22
    assert notes[10] == "and 10 more such notes on files"


@pytest.mark.parametrize("name", WRITERS)
def test_how_far_it_is_read_is_known(tmp_path, name):
    """In bytes of the files as they are stored: it only grows, from nothing to all."""
    for number in range(3):
        (tmp_path / f"{number}.{name}").write_bytes(WRITERS[name](rows(400, number)))
    export = opened(tmp_path)
    whole = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert export.reached() == (0, whole)
    seen = [export.reached() for _ in export.chunks()]
    assert {of for _, of in seen} == {whole}
    done = [bytes_read for bytes_read, _ in seen]
    assert done == sorted(done)
    assert export.reached() == (whole, whole)
    assert len(set(done)) > 2
