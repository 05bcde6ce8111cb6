"""uniqueId: golden values that hold for ever, and that no two rows share a text."""

from __future__ import annotations

import hashlib

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backfill.identity import DIGITS, canonical, sha256_digits, twin

Row = dict[str, str | None]

# Each is `printf TEXT | sha256sum | cut -c1-32`. They may never change: events are known by them.
GOLDEN: list[tuple[Row, str | None, str | None]] = [
    ({"id": "1"}, "2:id1:1", "20eaf019e2e07d685c1be66510a30713"),
    ({"b": "x", "a": "y"}, "1:a1:y1:b1:x", "af48d9c600476fae8f39fed160d01d78"),
    ({"a": None, "b": ""}, None, None),
    ({"Größe": "42 €"}, "7:Größe6:42 €", "6a45f43b9f04be85e319cc40ae71d64f"),
    ({"B": "1", "a": "2", "é": "3", "": "4"}, "0:1:41:B1:11:a1:22:é1:3", "748b026f56b37966d9803412cb327a5b"),
    (
        {"date": "1997-01-01", "customer": "00001", "amount": "11.77"},
        "6:amount5:11.778:customer5:000014:date10:1997-01-01",
        "c4280eae268e8c5c223eb61824bc9204",
    ),
    ({"a": "1b", "b": None}, "1:a2:1b", "24f6aae41c4e2a02863435f3b71f37d5"),
    ({"note": 'say "hi"\n'}, '4:note9:say "hi"\n', "3f855626546839ff1099c7187b53d014"),
]


def text_of(row: Row) -> str | None:
    frame = pl.DataFrame({name: [value] for name, value in row.items()}, schema=dict.fromkeys(row, pl.String))
    found: str | None = frame.select(canonical([(name, pl.col(name)) for name in row]).alias("")).item()
    return found


def plainly(row: Row) -> str | None:
    """The definition once more, in plain Python."""
    parts = [
        f"{len(name.encode())}:{name}{len(value.encode())}:{value}" for name, value in sorted(row.items()) if value
    ]
    return "".join(parts) or None


@pytest.mark.parametrize(("row", "text", "digits"), GOLDEN)
def test_golden_values(row: Row, text: str | None, digits: str | None) -> None:
    assert text_of(row) == text
    assert sha256_digits(pl.Series([text], dtype=pl.String)).to_list() == [digits]


def test_golden_twins() -> None:
    first = "ba7816bf8f01cfea414140de5dae2223"
    assert twin(first, 0) == first
    assert twin(first, 1) == "13d3f5ec192f53dd084a834941d7f6a2"
    assert twin(first, 2) == "ee207b74b3cde66dd96a6daa4455b70c"
    assert len({twin(first, number) for number in range(1000)}) == 1000


NAMES = st.text(alphabet="ab1:é", min_size=1, max_size=3)
ROWS = st.dictionaries(NAMES, st.none() | st.text(alphabet="ab1:é\0", max_size=4), min_size=1, max_size=4)


@given(ROWS, ROWS)
@example({"a": "1b", "b": "2"}, {"a": "1", "b": "b2"})
@example({"a": "11:b", "c": None}, {"a": "1", "1:b": ""})
def test_two_rows_share_a_text_only_when_their_values_are_the_same(one: Row, two: Row) -> None:
    def filled(row: Row) -> Row:
        return {name: value for name, value in row.items() if value}

    assert (text_of(one) == text_of(two)) == (filled(one) == filled(two))


@given(ROWS)
def test_the_text_is_as_it_is_defined(row: Row) -> None:
    text = text_of(row)
    assert text == plainly(row)
    assert text == text_of(dict(reversed(row.items())))
    assert text == text_of({**row, "new column": None})


@given(st.lists(st.none() | st.text(max_size=5), max_size=5))
def test_digits(texts: list[str | None]) -> None:
    found = sha256_digits(pl.Series("x", texts, dtype=pl.String))
    assert (found.name, found.dtype) == ("x", pl.String)
    assert found.to_list() == [t if t is None else hashlib.sha256(t.encode()).hexdigest()[:DIGITS] for t in texts]
