"""One file of an export with its columns known: how it is written, and whether it is a rejected.csv."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import polars as pl

from backfill.errors import ExportError
from backfill.read.dialect import HEAD_BYTES, CsvSettings, Dialect, rename, sniff
from backfill.read.files import ExportFile, fingerprint, open_bytes, unreadable
from backfill.read.remote import Fingerprint
from backfill.read.repaired import REPORT_COLUMNS, plain, seen_in
from backfill.read.typed import schema_of
from backfill.records import FILE, ROW

__all__ = ["OpenedFile", "open_file"]

FIRST_BYTES = 32_768


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A file whose columns are known; `dialect` for CSV; `repaired` for a rejected.csv that comes back; `groups` for
    some row groups of a Parquet file instead of all.
    """

    file: ExportFile
    schema: dict[str, pl.DataType]
    fingerprint: Fingerprint
    dialect: Dialect | None = None
    repaired: bool = False
    duplicates: tuple[str, ...] = ()
    groups: tuple[int, ...] | None = None


def open_file(file: ExportFile, csv: CsvSettings) -> OpenedFile | None:
    """Look at the file's beginning, or all of it where only that tells its columns; None when it is empty.

    Raises ExportError.
    """
    mark = fingerprint(file)
    if file.format != "csv":
        if mark.size == 0:
            return None
        return OpenedFile(file, _no_place(file, schema_of(file)), mark)
    try:
        with open_bytes(file) as raw:
            # Not all at once: making room for it takes longer than reading a small file.
            head = raw.read(FIRST_BYTES)
            if len(head) == FIRST_BYTES:
                head += raw.read(HEAD_BYTES - FIRST_BYTES)
            whole = len(head) < HEAD_BYTES
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(file, error, hint="fetch it again") from error
    style = seen_in(head, whole, csv.encoding)
    repaired = sniff(head, whole, style) if style else None
    if repaired is not None and repaired.columns[-len(REPORT_COLUMNS) :] == REPORT_COLUMNS:
        # A rejected.csv is ours: what the mapping declares about the export's own files is not true of it.
        dialect: Dialect | None = rename(repaired, [plain(name) for name in repaired.columns])
    else:
        dialect = sniff(head, whole, csv)
    if dialect is None:
        return None
    names, duplicates = _unique(dialect.columns)
    dialect = rename(dialect, names)
    is_repaired = len(names) > len(REPORT_COLUMNS) and names[-len(REPORT_COLUMNS) :] == REPORT_COLUMNS
    schema = _texts(names, tuple(key for key, _ in file.hive))
    return OpenedFile(file, _no_place(file, schema), mark, dialect, is_repaired, duplicates)


# Thousands of files have the same columns: named once, they take 2 KB a file less, and half the time.
@lru_cache(maxsize=64)
def _texts(names: tuple[str, ...], hive: tuple[str, ...]) -> dict[str, pl.DataType]:
    return dict.fromkeys([*names, *hive], pl.String())


@lru_cache(maxsize=64)
def _unique(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names without duplicates or blanks, and which were duplicates."""
    unique: dict[str, None] = {}
    duplicates: dict[str, None] = {}
    taken = set(names)
    for i, name in enumerate(names, 1):
        base = name if name.strip() else f"column_{i}"
        fresh, number = base, 1
        while fresh in unique or (number > 1 and fresh in taken):
            number += 1
            fresh = f"{base} ({number})"
        if number > 1:
            duplicates[base] = None
        unique[fresh] = None
    return tuple(unique), tuple(duplicates)


def _no_place(file: ExportFile, schema: dict[str, pl.DataType]) -> dict[str, pl.DataType]:
    if FILE in schema or ROW in schema:
        raise ExportError(f"{file.name}: columns can't be called {FILE} or {ROW}", hint="rename them in the export")
    return schema
