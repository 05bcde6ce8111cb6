"""Records of a CSV file: the csv module's, each with its physical line, none cut, none padded."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backfill.errors import ExportError
from backfill.read import records
from backfill.read.dialect import Dialect
from backfill.read.records import BadRecord, read_records

Row = tuple[str | None, ...]


def ours(
    data: bytes, width: int, block: int = 1 << 20, *, quote: str = '"', comment: str = ""
) -> tuple[list[tuple[int, Row]], list[BadRecord]]:
    """Rows and bad records of a file without a header, read in blocks of `block` bytes."""
    dialect = Dialect("utf-8", ",", quote, False, 0, tuple(str(i) for i in range(width)), comment)
    rows: list[tuple[int, Row]] = []
    bad: list[BadRecord] = []
    for part in read_records(io.BytesIO(data), dialect, "x.csv", block):
        rows += zip(part.lines.to_list(), part.frame.rows(), strict=True)
        bad += part.bad
    return rows, bad


def theirs(data: bytes, width: int) -> tuple[list[tuple[int, Row]], list[int]]:
    """What the csv module reads: rows of `width` cells by their first line, and the lines of the others."""
    lines = [line.decode() for line in data.splitlines(keepends=True)]
    reader = csv.reader(iter(lines))
    rows: list[tuple[int, Row]] = []
    ragged: list[int] = []
    line = 1
    for cells in reader:
        if len(cells) == width:
            rows.append((line, tuple(cell or None for cell in cells)))
        elif cells:
            ragged.append(line)
        line = reader.line_num + 1
    return rows, ragged


def is_strict(data: bytes) -> bool:
    """Whether the csv module finds nothing odd."""
    try:
        list(csv.reader(iter([line.decode() for line in data.splitlines(keepends=True)]), strict=True))
    except csv.Error:
        return False
    return True


def written(rows: list[list[str]]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()


CELLS = st.text(alphabet='ab",\n\r é;#', max_size=6)
TABLES = st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=8).map(written)
TEXTS = st.text(alphabet='ab",\n\r é', max_size=60)


@settings(max_examples=500)
@given(TEXTS | TABLES, st.integers(1, 4), st.integers(1, 30))
@example('a,b\r\n"c\r\nd",e\r\n', 2, 3)
@example('a,6" pipe\n"b",c\n', 2, 5)
@example('"a""",b\n"",""\n', 2, 1)
@example("a,b\rc,d\r", 2, 4)
def test_agrees_with_the_csv_module(text: str, width: int, block: int) -> None:
    """Any text, any block size: the same rows in the same lines, wherever the csv module is sure of them."""
    data = text.encode()
    expected, ragged = theirs(data, width)
    try:
        rows, bad = ours(data, width, block)
    except ExportError:
        assert not is_strict(data)
        return
    if any(record.problem == "quote" for record in bad):
        # Refused, where the csv module takes a quote in the middle of a field for one that closes it.
        assert not is_strict(data)
        assert all(row in expected for row in rows)
        assert len(rows) + len(bad) == len(expected) + len(ragged)
    else:
        assert rows == expected
        assert [record.line for record in bad] == ragged


@settings(max_examples=200)
@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=12), st.integers(1, 40))
def test_what_is_written_is_read(table: list[list[str]], block: int) -> None:
    # The csv module writes a lone \r without quotes before Python 3.13, and then reads it as a line's end.
    table = [[cell.replace("\r", "") for cell in row] for row in table]
    rows, bad = ours(written(table).encode(), 3, block)
    assert [row for _, row in rows] == [tuple(cell or None for cell in row) for row in table]
    assert bad == []


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=12).map(lambda cell: cell.translate(None, b'",\r\n')), min_size=1, max_size=20),
       st.integers(1, 40))  # fmt: skip
def test_undecodable_bytes_cost_their_row(cells: list[bytes], block: int) -> None:
    rows, bad = ours(b"".join(b"x," + cell + b"\n" for cell in cells), 2, block)
    good = {}
    for line, cell in enumerate(cells, 1):
        try:
            good[line] = ("x", cell.decode() or None)
        except UnicodeDecodeError:
            continue
    # Polars drops a byte order mark where a block begins with one; no cell here does, as each row begins with x.
    assert dict(rows) == good
    assert [record.line for record in bad] == [line for line in range(1, len(cells) + 1) if line not in good]
    assert {record.problem for record in bad} <= {"undecodable"}


@settings(max_examples=200)
@given(st.lists(st.sampled_from(["a,b", '# "c', '#,"\n#,"', '"x\n# y",z', "#", 'd"e,f', "", '# a,"']), max_size=8),
       st.integers(1, 30))  # fmt: skip
def test_comments_are_left_out_whatever_is_in_them(parts: list[str], block: int) -> None:
    kept = [part for part in parts if part and not part.startswith("#")]
    expected = [tuple(next(csv.reader(io.StringIO(part, newline="")))) for part in kept]
    rows, bad = ours("".join(part + "\n" for part in parts).encode(), 2, block, comment="#")
    assert [row for _, row in rows] == expected
    assert bad == []


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_physical_lines(block: int) -> None:
    data = b'a,b\n\n"c\nd",e\r\n6" pipe,f\n"g\r\nh\n\ni",j\nk,l'
    rows, _ = ours(data, 2, block)
    assert rows == [
        (1, ("a", "b")),
        (3, ("c\nd", "e")),
        (5, ('6" pipe', "f")),
        (6, ("g\r\nh\n\ni", "j")),
        (10, ("k", "l")),
    ]


@pytest.mark.parametrize("block", [1, 5, 1000])
def test_ragged_rows_are_neither_cut_nor_padded(block: int) -> None:
    rows, bad = ours(b"a,b\nc\nd,e,f\ng,h\n", 2, block)
    assert rows == [(1, ("a", "b")), (4, ("g", "h"))]
    assert [(record.line, record.problem) for record in bad] == [(2, "ragged"), (3, "ragged")]
    assert bad[1].detail == "3 fields where the header has 2: d,e,f"


@pytest.mark.parametrize("block", [1, 5, 1000])
def test_the_text_of_a_bad_row_ends_before_its_line_end(block: int) -> None:
    """What its last cell holds may tell which group it is of."""
    _, bad = ours(b'a,b,A-17\r\n6" pipe,b,A-18\r\nx\xff,A-19\r\nc,d,A-20', 2, block)
    assert [record.text[-4:] for record in bad] == ["A-17", "A-18", "A-19", "A-20"]
    assert [record.problem for record in bad] == ["ragged", "ragged", "undecodable", "ragged"]


@pytest.mark.parametrize("header", [b'a,"b\n1,2\n3,4" c\n5,6\n', b"a,\xff\n1,2\n"])
@pytest.mark.parametrize("block", [1, 7, 1000])
def test_a_header_that_can_not_be_read_refuses_the_file(header: bytes, block: int) -> None:
    """It is no row, and what its columns are called would be a guess."""
    dialect = Dialect("utf-8", ",", '"', True, 0, ("a", "b"))
    with pytest.raises(ExportError, match=r"^x\.csv:1: the header can't be read: .*$"):
        list(read_records(io.BytesIO(header), dialect, "x.csv", block))


@pytest.mark.parametrize("block", [1, 11, 1000])
@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b'a,b\nc,"d\ne,f\n', 2),
        (b'"a","x\ny"\n"b', 3),
        (b'a,"b"\n\n"c,d\ne,f\n', 3),
        (b'a,b\rc,d\r"e,f\rg', 3),
        (b'a,"b""\r\n"\r\n6" x,"y', 3),
        (b'"",""""\n",', 2),
    ],
)
def test_a_quote_that_never_closes_refuses_the_file(data: bytes, line: int, block: int) -> None:
    with pytest.raises(ExportError, match=rf"^x\.csv:{line}: a quote that opens here never closes"):
        ours(data, 2, block)


def test_a_quote_that_swallows_lines_is_refused_with_its_text() -> None:
    rows, bad = ours(b'a,b\nc,"d\ne,f" g\nh,i\n', 2)
    assert rows == [(1, ("a", "b")), (4, ("h", "i"))]
    assert [(record.line, record.problem) for record in bad] == [(2, "quote")]
    assert '"d\ne,f" g' in bad[0].detail


def test_no_quote_character() -> None:
    rows, bad = ours(b'"a,b"\n"c\n', 2, quote="")
    assert rows == [(1, ('"a', 'b"'))]
    assert [record.line for record in bad] == [2]


def test_a_record_without_end_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", 100_000)
    stream = io.BytesIO(b'a,b\nc,"' + b"x\n" * 10_000_000)
    dialect = Dialect("utf-8", ",", '"', False, 0, ("a", "b"))
    with pytest.raises(ExportError, match=r"^x\.csv:2: a record longer than") as caught:
        list(read_records(stream, dialect, "x.csv", 10_000))
    assert "line 2" in caught.value.hint
    assert stream.tell() < 300_000
    with pytest.raises(ExportError) as caught:
        list(read_records(io.BytesIO(b'a,b\n6" x,' + b"x" * 1_000_000), dialect, "x.csv", 10_000))
    assert "quote" not in caught.value.hint


def test_nul_and_control_characters_are_kept() -> None:
    rows, bad = ours(b"a\0b,\x01\x1b\x7f\n\xef\xbf\xbf,\x0b\x0c\n", 2)
    assert [row for _, row in rows] == [("a\0b", "\x01\x1b\x7f"), ("\uffff", "\x0b\x0c")]
    assert bad == []
