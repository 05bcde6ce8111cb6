"""uniqueId: the same rows give the same ids for ever.

On every machine, in every release, from CSV or from the same text in Parquet, whatever the files' names, the
order of files, the batch size or the path. Golden values in the tests hold that promise: nothing here may
change.

The canonical text of a row is, for each hashed column in the order of their names (by code point), when its
value is neither null nor the empty text: the length of the name in UTF-8 bytes, `:`, the name, the length of
the value, `:`, the value. A column without a value leaves no trace, so that a new column changes no id until
it has values. The lengths keep two different rows from having one text.

The value of a list or struct is its JSON, without spaces: the keys of a struct by code point, those that are null
left out at every depth, a struct with none left null too; so a field that only other rows have changes no id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import polars as pl

__all__ = ["DIGITS", "canonical", "sha256_digits", "twin"]

DIGITS = 32


def canonical(columns: Sequence[tuple[str, pl.Expr]]) -> pl.Expr:
    """The canonical text of a row over (name, text) columns; null when none has a value."""
    parts = []
    for name, text in sorted(columns, key=lambda item: item[0]):
        size = text.str.len_bytes().cast(pl.String)
        label = pl.lit(f"{len(name.encode())}:{name}")
        parts.append(pl.when(text != "").then(pl.concat_str([label, size, pl.lit(":"), text])))
    joined = pl.concat_str(parts, ignore_nulls=True)
    return pl.when(joined != "").then(joined)


def sha256_digits(texts: pl.Series) -> pl.Series:
    """SHA-256 of each text in UTF-8, its first DIGITS hex digits; null stays null."""
    sha256 = hashlib.sha256
    digests = [None if text is None else sha256(text.encode()).hexdigest()[:DIGITS] for text in texts.to_list()]
    return pl.Series(texts.name, digests, dtype=pl.String)


def twin(digits: str, occurrence: int) -> str:
    """The digits of a row's `occurrence`-th twin: the row itself (0) keeps its own, so that turning
    `occurrence` on changes no id that was there before.
    """
    if occurrence == 0:
        return digits
    return hashlib.sha256(f"{digits}#{occurrence}".encode()).hexdigest()[:DIGITS]
