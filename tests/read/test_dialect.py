"""How a CSV file is written, found by looking or declared; and the encodings that come with it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill.errors import ExportError, SettingsError
from backfill.read.dialect import sniff
from backfill.read.repaired import ReportCsv
from tests.read.support import content, opened, read_text

GERMAN = "Name;Ort;Betrag\nMüller;Köln;1,5\nGröße;Düsseldorf;2,25\n"
JAPANESE = "名前,都市\n佐藤さん,東京都千代田区\n鈴木さん,大阪府大阪市中央区\n高橋さん,北海道札幌市北区です\n" * 8


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "utf-8"), ("utf-8-sig", "utf-8"), ("utf-16", "utf-16-le"), ("utf-16-be", "utf-16-be"),
        ("utf-16-le", "utf-16-le"), ("utf-32", "utf-32-le"), ("cp1252", "cp1252"),
    ],
)  # fmt: skip
def test_encodings_are_found(tmp_path: Path, encoding: str, shown: str) -> None:
    found = read_text(tmp_path, (GERMAN * 3).encode(encoding))
    assert found.columns == ["Name", "Ort", "Betrag"]
    assert found.rows[:2] == [("Müller", "Köln", "1,5"), ("Größe", "Düsseldorf", "2,25")]
    assert str(found.export.files[0].dialect).startswith(shown + ", semicolon")


@pytest.mark.parametrize(
    "cells",
    [
        ["José Núñez,Logroño", "Begoña Ibáñez,Cádiz"], ["Frédéric Lefèvre,Besançon", "Zoé Gagné,Québec"], ["Anne,£5.00"],
        ["João Gonçalves,São Paulo"], ["Jim O\u2019Neil,size 6½"], ["déjà vu,€ 5"], ["größer,€ œ"], ["Søren Kjær,Ærøskøbing"],
    ],
)  # fmt: skip
def test_western_letters_are_those_of_cp1252(tmp_path: Path, cells: list[str]) -> None:
    text = "id,name,place\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate(cells * 20))
    found = read_text(tmp_path, text.encode("cp1252"))
    assert [",".join(row) for row in found.rows] == text.splitlines()[1:]


@pytest.mark.parametrize(
    ("encoding", "cell"),
    [("cp1251", "Иван Петров,Москва"), ("gb18030", "北京市朝阳区,王小明"), ("euc_kr", "서울특별시,김철수"), ("cp1250", "Ťapák,Šťastný")],
)  # fmt: skip
def test_other_letters_are_found(tmp_path: Path, encoding: str, cell: str) -> None:
    text = "id,name,place\n" + "".join(f"{i},{cell}\n" for i in range(20))
    assert [",".join(row) for row in read_text(tmp_path, text.encode(encoding)).rows] == text.splitlines()[1:]


def test_shift_jis_is_found(tmp_path: Path) -> None:
    found = read_text(tmp_path, JAPANESE.encode("shift_jis"))
    assert found.columns == ["名前", "都市"]
    assert found.rows[0] == ("佐藤さん", "東京都千代田区")


@pytest.mark.parametrize("encoding", ["shift_jis", "gb18030", "cp1251", "utf-16-be", "latin-1", "cp037"])
def test_declared_encodings(tmp_path: Path, encoding: str) -> None:
    text = "a,b\nx,é\n" if encoding in ("latin-1", "cp037") else "a,b\nx,Д\n"
    found = read_text(tmp_path, text.encode(encoding), encoding=encoding)
    assert found.rows == [("x", text[-2])]


@pytest.mark.parametrize(
    ("encoding", "bad"), [("cp1252", b"\x81"), ("utf-8", b"\xe9"), ("shift_jis", b"\xfd"), ("utf-8", b"\xed\xa0\x80")]
)
def test_a_byte_that_does_not_decode_costs_its_row(tmp_path: Path, encoding: str, bad: bytes) -> None:
    found = read_text(tmp_path, b"a,b\n1,x\n2," + bad + b"\n3,y\n", encoding=encoding)
    assert found.rows == [("1", "x"), ("3", "y")]
    assert found.problems == [(3, "undecodable")]
    assert encoding in found.bad[0].detail


def test_one_bad_byte_makes_no_other_encoding_of_utf8(tmp_path: Path) -> None:
    found = read_text(tmp_path, "a,b\nü,é\nà,è\n".encode() + b"x,\xe9\n")
    assert found.rows == [("ü", "é"), ("à", "è")]
    assert found.problems == [(4, "undecodable")]


@settings(max_examples=60)
@given(st.sampled_from(["utf-16-le", "utf-16-be", "utf-8", "gb18030"]), st.integers(1, 9),
       st.lists(st.text(alphabet="aé漢😀\n", max_size=5), max_size=9))  # fmt: skip
def test_any_cut_of_the_bytes_decodes_alike(encoding: str, size: int, parts: list[str]) -> None:
    from backfill.read.dialect import Utf8Stream

    stream = Utf8Stream(io.BytesIO("".join(parts).encode(encoding)), encoding)
    pieces = []
    while piece := stream.read(size):
        pieces.append(piece)
    assert b"".join(pieces).decode() == "".join(parts)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_are_found(tmp_path: Path, separator: str) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=separator).writerows([["id", "note"], ["1", "a,b;c"], ["2", 'say "x"'], ["3", ""]])
    found = read_text(tmp_path, out.getvalue())
    assert found.columns == ["id", "note"]
    assert found.rows == [("1", "a,b;c"), ("2", 'say "x"'), ("3", None)]


@pytest.mark.parametrize(
    ("header", "row", "ragged", "separator"),
    [
        ("Nr;Tag;Preis;Summe", "B{n};1.2.2024;1,5{n};1.234,50", "B7;1.2.2024", ";"),
        ("Nr;Tag;Preis;Summe", "B{n};1.2.2024;1,5{n};1.234,50", "B7;1.2.2024;1,50;2,50;x, y", ";"),
        ("id,tags,email", "{n},a;b;c;d;e,a{n}@example.com", "7,a;b;c;d;e", ","),
    ],
)
def test_what_is_in_the_cells_is_no_separator(
    tmp_path: Path, header: str, row: str, ragged: str, separator: str
) -> None:
    text = "\n".join([header, *(row.format(n=n) for n in range(20)), ragged, ""])
    found = read_text(tmp_path, text)
    assert found.columns == header.split(separator)
    assert len(found.rows) == 20


def test_single_quotes_are_found(tmp_path: Path) -> None:
    found = read_text(tmp_path, "id,name\n'1','a,b'\n'2','c'\n'3','d'\n")
    assert found.rows == [("1", "a,b"), ("2", "c"), ("3", "d")]


def test_declared_marks(tmp_path: Path) -> None:
    found = read_text(tmp_path, "a^b\n'x^y'^z\n", separator="^", quote="'")
    assert found.rows == [("x^y", "z")]
    assert read_text(tmp_path, 'a,b\n"x,y\n', quote="").rows == [('"x', "y")]


@pytest.mark.parametrize("setting", [{"separator": "é"}, {"quote": "“"}, {"encoding": "utf-9"}])
def test_settings_that_can_not_be(tmp_path: Path, setting: dict[str, str]) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SettingsError, match=next(iter(setting))):
        opened(tmp_path, "a.csv", **setting)


def test_lines_before_the_header(tmp_path: Path) -> None:
    found = read_text(tmp_path, "Sales report\n\n2024\nid,total,note\n1,5,x\n2,6,y\n3,7,z\n")
    assert found.columns == ["id", "total", "note"]
    assert found.lines == [5, 6, 7]
    assert found.export.files[0].dialect is not None
    assert "3 lines before it" in str(found.export.files[0].dialect)


def test_declared_lines_before_the_header(tmp_path: Path) -> None:
    found = read_text(tmp_path, "x,y\na\x0cb\u2028,c\r\nid,total\r\n1,5\r\n", skip_lines=2)
    assert found.columns == ["id", "total"]
    assert (found.rows, found.lines) == ([("1", "5")], [4])
    assert found.bad == []


def test_fewer_lines_than_are_to_be_left_out(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"a\.csv: is empty"):
        read_text(tmp_path, "a,b\n1,2\n", skip_lines=5)


def test_comments(tmp_path: Path) -> None:
    text = '# made "by" x\nid,note\n# 1,2\n1,"a\n# b"\n#\n2,c\n'
    found = read_text(tmp_path, text, comment="#")
    assert found.columns == ["id", "note"]
    assert found.rows == [("1", "a\n# b"), ("2", "c")]
    assert found.lines == [4, 7]


def test_comments_before_lines_before_the_header(tmp_path: Path) -> None:
    found = read_text(tmp_path, "# c\nReport\n# d\nid,total,x\n1,5,a\n2,6,b\n", comment="#")
    assert found.columns == ["id", "total", "x"]
    assert found.lines == [5, 6]


def test_a_header_may_span_lines(tmp_path: Path) -> None:
    found = read_text(tmp_path, 'id,"total\n(gross)"\n1,5\n2,6\n')
    assert found.columns == ["id", "total\n(gross)"]
    assert found.lines == [3, 4]


@pytest.mark.parametrize("text", ["1,2024-01-02,5\n2,2024-01-03,6\n3,2024-01-04,7\n", "a@b.de,x\nc@d.de,y\n"])
def test_a_missing_header_is_noticed(tmp_path: Path, text: str) -> None:
    found = read_text(tmp_path, text)
    assert found.columns[0] == "column_1"
    assert len(found.rows) == text.count("\n")
    assert found.lines[0] == 1


def test_a_declared_header(tmp_path: Path) -> None:
    assert read_text(tmp_path, "1,2\n3,4\n", header=True).columns == ["1", "2"]
    assert read_text(tmp_path, "a,b\n3,4\n", header=False).columns == ["column_1", "column_2"]
    named = read_text(tmp_path, "a,b\n3,4\n", columns=["x", "y"])
    assert (named.columns, len(named.rows)) == (["x", "y"], 2)
    renamed = read_text(tmp_path, "a,b\n3,4\n", columns=["x", "y"], header=True)
    assert (renamed.columns, renamed.rows) == (["x", "y"], [("3", "4")])


def test_duplicate_and_missing_names(tmp_path: Path) -> None:
    found = read_text(tmp_path, "a,a,,a (2),a\n1,2,3,4,5\n")
    assert found.columns == ["a", "a (3)", "column_3", "a (2)", "a (4)"]
    assert found.rows == [("1", "2", "3", "4", "5")]
    assert any('"a" stands more than once' in note for note in found.export.notes)


def test_names_that_look_like_positions(tmp_path: Path) -> None:
    found = read_text(tmp_path, "2,0,x\na,b,c\n", header=True)
    assert dict(zip(found.columns, found.rows[0], strict=True)) == {"2": "a", "0": "b", "x": "c"}


@pytest.mark.parametrize("name", [":file", ":row"])
def test_names_that_are_ours(tmp_path: Path, name: str) -> None:
    with pytest.raises(ExportError, match=name):
        read_text(tmp_path, f"{name},b\n1,2\n", header=True)


def test_null_values(tmp_path: Path) -> None:
    found = read_text(tmp_path, "a,b\nNULL,-\nnull,x\n,\n", null_values=["NULL", "-"])
    assert found.rows == [(None, None), ("null", "x"), (None, None)]


def test_texts_stay_as_they_are(tmp_path: Path) -> None:
    found = read_text(tmp_path, "a,b,c\n007,1e5,TRUE\n 1 ,NaN,2024-01-01\n")
    assert found.rows == [("007", "1e5", "TRUE"), (" 1 ", "NaN", "2024-01-01")]


def test_blank_lines_are_no_rows(tmp_path: Path) -> None:
    found = read_text(tmp_path, "\n\na,b\n\n1,2\n\r\n3,4\n\n\n")
    assert (found.rows, found.lines, found.bad) == ([("1", "2"), ("3", "4")], [5, 7], [])


@settings(max_examples=150)
@given(st.binary(max_size=300))
def test_sniffing_never_fails(head: bytes) -> None:
    for whole in (True, False):
        dialect = sniff(head, whole, ReportCsv())
        assert dialect is None or dialect.columns
        sniffed = sniff(head, whole, Undeclared())
        assert sniffed is None or (len(sniffed.separator) == 1 and sniffed.columns)


class Undeclared:
    separator = quote = encoding = header = columns = skip_lines = comment = None


def test_a_wide_file(tmp_path: Path) -> None:
    names = [f"c{i}" for i in range(10_000)]
    found = read_text(tmp_path, ",".join(names) + "\n" + ",".join("x" * 10_000) + "\n")
    assert found.columns == names
    assert found.rows == [("x",) * 10_000]


def test_a_cell_larger_than_the_beginning_that_is_looked_at(tmp_path: Path) -> None:
    cell = "é" * 1_000_000
    found = content(opened(tmp_path, "a.csv")) if (tmp_path / "a.csv").write_text(f"id,note\n1,{cell}\n") else None
    assert found is not None
    assert found.rows == [("1", cell)]
